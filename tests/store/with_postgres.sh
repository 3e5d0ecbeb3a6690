#!/bin/sh
# Runs a command with a PostgreSQL of its own: PC_POSTGRES is its URL. Nothing of it is left afterwards. Status 77 (skipped)
# where PostgreSQL is not installed or cannot run.
#
#   tests/store/with_postgres.sh COMMAND [ARGUMENT...]
set -u
skip() {
    echo "skipped: $*" >&2
    exit 77
}

bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
[ -n "$bin" ] && [ -x "$bin/initdb" ] || bin=$(dirname "$(command -v initdb 2>/dev/null || echo /nonexistent/x)")
[ -x "$bin/initdb" ] || skip "PostgreSQL is not installed"

# It refuses to run as root.
as=
if [ "$(id -u)" = 0 ]; then
    id postgres >/dev/null 2>&1 || skip "no user postgres to run PostgreSQL as"
    as="runuser -u postgres --"
fi

dir=$(mktemp -d) || exit 1
stop() {
    [ ! -f "$dir/data/postmaster.pid" ] || (cd / && $as "$bin/pg_ctl" -D "$dir/data" -m immediate -w stop >/dev/null 2>&1)
    rm -rf "$dir"
}
trap stop EXIT
trap 'exit 1' INT TERM HUP
# Group root: a server that is root without capabilities comes in like any member of its group.
[ -z "$as" ] || { chown postgres:0 "$dir" && chmod 750 "$dir"; }

# The data need not survive a power cut, the connection goes over a socket in a folder that only its owner can enter.
(cd / && $as "$bin/initdb" -D "$dir/data" -U portcullis -A trust -E UTF8 --no-locale --no-sync) >"$dir/log" 2>&1 ||
    { cat "$dir/log" >&2; skip "initdb failed"; }
(cd / && $as "$bin/pg_ctl" -D "$dir/data" -w -t 60 -l "$dir/data/server.log" \
    -o "-c listen_addresses='' -c unix_socket_directories='$dir' -c fsync=off -c max_connections=200 -c dynamic_shared_memory_type=mmap" start) >"$dir/log" 2>&1 ||
    { cat "$dir/log" "$dir/data/server.log" >&2; exit 1; }

PC_POSTGRES="postgresql:///postgres?host=$dir&user=portcullis"
PC_POSTGRES_CTL="$as $bin/pg_ctl -D $dir/data"
export PC_POSTGRES PC_POSTGRES_CTL
"$@"
