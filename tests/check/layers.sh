#!/bin/sh
# Holds the layer rule: who may include whom (over #include), and what the finished libraries may call (over symbols).
#
#   tests/check/layers.sh SOURCE_DIR BUILD_DIR
set -eu
src=$1 build=$2
bad=0

complain() {
    echo "$*" >&2
    bad=1
}

# may LAYER ALLOWED...: files of src/LAYER include "ALLOWED/..." only.
may() {
    layer=$1
    shift
    pattern="^\"($(echo "$*" | tr ' ' '|'))[/\"]"
    for file in $(find "$src/$layer" -name '*.[ch]' | sort); do
        wrong=$(sed -n 's/^[[:space:]]*#[[:space:]]*include[[:space:]]*\("[^"]*"\).*/\1/p' "$file" | grep -Ev "$pattern" || true)
        [ -z "$wrong" ] || complain "$file: includes $(echo $wrong): $layer may include: $*"
    done
}
may base base
may core base core
may trust base trust
may wire base wire
may kern base kern
may preserve base preserve
may proc base proc
may store base store
may net base wire net
may server base net proc store trust wire server
may agent base core kern preserve proc agent host/options.h
may host base trust wire kern proc agent host
may cli/drill base cli/drill cli/drill.h
may cli base core trust wire kern preserve agent cli

# The pure layers do no I/O and read no clock: these headers have no business there (snprintf does: symbols tell).
for file in $(find "$src/core" "$src/trust" "$src/wire" -name '*.[ch]' | sort); do
    wrong=$(grep -En '#[[:space:]]*include <(unistd|fcntl|dirent|time|pthread|signal|poll|sys/(stat|socket|ioctl|mman|time|syscall|file|wait))\.h>' "$file" || true)
    [ -z "$wrong" ] || complain "$file: $wrong: a pure layer does no I/O"
done

# calls LAYER PATTERN WHY: the library of LAYER must not call what matches PATTERN.
calls() {
    lib="$build/src/$1/libpc_$1.a"
    [ -f "$lib" ] || { complain "$lib: not built"; return; }
    wrong=$(nm --undefined-only "$lib" 2>/dev/null | sed -n 's/^ *U //p' | sort -u | grep -Ex "$2" | tr '\n' ' ' || true)
    [ -z "$wrong" ] || complain "$lib: calls $wrong: $3"
}
io='open(at)?(64)?|creat(64)?|p?read(64)?|p?write(v)?(64)?|f(open|read|write|puts|printf|gets|close)(64)?|__f?printf_chk|close|socket|connect|send.*|recv.*|ioctl|stat.*|fstat.*|unlink.*|rename.*|clock_gettime|gettimeofday|time|getrandom|rand(om)?|usleep|nanosleep|pthread_.*|getenv|RAND_.*'
programs='exit|_exit|abort|puts|putchar|printf|__printf_chk|__vprintf_chk|perror|syslog|err[xc]?|warnx?|sd_.*'
for layer in core trust wire; do
    calls $layer "$io" "a pure layer does no I/O, reads no clock, draws no random numbers"
done
for layer in base core trust wire kern preserve proc store net; do
    calls $layer "$programs" "only programs log or exit"
done

# The libraries meet in one program: no name twice among them.
twice=$(find "$build/src" -name 'libpc_*.a' -exec nm --defined-only --extern-only {} + 2>/dev/null | awk 'NF == 3 {print $3}' | sort | uniq -d | tr '\n' ' ')
[ -z "$twice" ] || complain "in two libraries: $twice"
exit $bad
