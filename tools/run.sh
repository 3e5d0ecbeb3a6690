#!/usr/bin/env bash
# `make run` and `make demo`: guard a folder, show what the guard does to a drill and to somebody else's program, and (run)
# go on guarding. Everything it damages lies on a small xfs image that it makes itself and throws away; the owner's own
# folder (PROTECT=/srv/data make run) is only guarded, never touched.
set -euo pipefail

BUILD=${BUILD:-build}
HERE=$(cd "$(dirname "$0")/.." && pwd)
case $BUILD in /*) ;; *) BUILD=$HERE/$BUILD ;; esac
DEMO_ONLY=0
[ "${1:-}" = --demo ] && DEMO_ONLY=1
WORK=
GUARD=
FAILED=0

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then BOLD=$'\e[1m' GREEN=$'\e[32m' RED=$'\e[31m' OFF=$'\e[0m'; else BOLD= GREEN= RED= OFF=; fi
say() { printf '%s\n' "$*"; }
step() { printf '\n%s== %s%s\n' "$BOLD" "$*" "$OFF"; }
good() { printf '%s  ok  %s%s\n' "$GREEN" "$OFF" "$*"; }
bad() { printf '%s FAIL %s%s\n' "$RED" "$OFF" "$*"; FAILED=1; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }
# This host cannot show it (77: "skipped" to the test runner).
cannot() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 77; }

cleanup() {
    set +e
    stop_fleet
    if [ -n "$GUARD" ]; then
        kill -TERM "$GUARD" 2>/dev/null
        wait "$GUARD" 2>/dev/null
    fi
    if [ -n "$WORK" ]; then
        mountpoint -q "$WORK/disk" && { umount "$WORK/disk" || umount -l "$WORK/disk"; }
        rm -rf "$WORK"
    fi
}

. "$HERE/tools/fleet-here.sh"

check_host() {
    [ "$(id -u)" = 0 ] || cannot "guarding needs root (it watches and preserves everybody's files): run it with sudo"
    [ -x "$BUILD/portcullisd" ] && [ -x "$BUILD/portcullis" ] || die "$BUILD/portcullisd is missing: run make first"
    [ -e /proc/sys/fs/fanotify ] || cannot "this kernel has no fanotify (or is older than 5.13): the guard cannot see file events"
    command -v mkfs.xfs >/dev/null || cannot "mkfs.xfs is missing: apt-get install xfsprogs"
    losetup -f >/dev/null 2>&1 || cannot "no loop device can be had here (a container without /dev/loop-control?): set PROTECT and run portcullisd by hand"
}

make_disk() {
    WORK=$(mktemp -d /var/tmp/portcullis-demo.XXXXXX)
    mkdir "$WORK/disk" "$WORK/state"
    truncate -s 1G "$WORK/disk.img"
    mkfs.xfs -q "$WORK/disk.img"
    mount -o loop "$WORK/disk.img" "$WORK/disk"
    DEMO=$WORK/disk/documents
    STATE=$WORK/state
    export PORTCULLIS_STATE=$STATE
    "$HERE/tools/corpus" --small --plain --files 400 --make "$DEMO" --quiet
}

start_guard() {
    local folders=(--protect "$DEMO")
    [ -n "${PROTECT:-}" ] && folders+=(--protect "$PROTECT")
    # Its own session: what this script runs must not be an ancestor's other child in the eyes of a terminal's Ctrl-C.
    setsid "$BUILD/portcullisd" guard "${folders[@]}" --state "$STATE" >"$WORK/guard.log" 2>&1 &
    GUARD=$!
    for _ in $(seq 600); do
        grep -q '^portcullis: guarding' "$WORK/guard.log" && break
        kill -0 "$GUARD" 2>/dev/null || { cat "$WORK/guard.log" >&2; die "the guard did not start"; }
        sleep 0.1
    done
    grep '^portcullis: guarding' "$WORK/guard.log" || die "the guard was not ready within a minute: $(tail -3 "$WORK/guard.log")"
}

field() { python3 -c 'import json,sys
d = json.load(sys.stdin)
for k in sys.argv[1:]:
    d = d[int(k) if k.isdigit() else k] if d else ""
print(d)' "$@"; }

newest_incident() { "$BUILD/portcullis" incidents --json | field 0 id 2>/dev/null || true; }

# Waits for an incident newer than $1, as long as $2 seconds.
wait_incident() {
    for _ in $(seq $((${2:-20} * 10))); do
        local id
        id=$(newest_incident)
        [ -n "$id" ] && [ "$id" != "$1" ] && { echo "$id"; return 0; }
        sleep 0.1
    done
    return 1
}

# The act: program in the background, until it is frozen; then the report, the rollback, the proof.
act() {
    local title=$1 limit=$2 before=$WORK/before.json frozen=$WORK/frozen.json after=$WORK/after.json last id damaged attacker
    shift 2
    step "$title"
    "$HERE/tools/fingerprint" "$DEMO" >"$before"
    last=$(newest_incident)
    setsid bash -c "$*" >"$WORK/attack.log" 2>&1 &
    attacker=$!
    if ! id=$(wait_incident "$last" 30); then
        bad "the program was not frozen within 30 s"
        kill -KILL -- "-$attacker" 2>/dev/null || true
        return
    fi
    sleep 1
    "$HERE/tools/fingerprint" "$DEMO" >"$frozen"
    damaged=$({ "$HERE/tools/fingerprint" --compare "$before" "$frozen" --ignore dir-mtime || true; } | grep -c . || true)
    "$BUILD/portcullis" incident "$id"
    good "frozen; $damaged lines of difference to the folder as it was"
    if "$BUILD/portcullis" rollback "$id"; then good "rolled back, every file verified"; else bad "rollback of incident $id"; fi
    "$HERE/tools/fingerprint" "$DEMO" >"$after"
    if "$HERE/tools/fingerprint" --compare "$before" "$after" --ignore dir-mtime; then
        good "the folder is identical again: content, names, owners, modes, times"
    else
        bad "the folder differs from what it was"
    fi
    [ "$("$BUILD/portcullis" incidents --json | field 0 damaged)" -le "$limit" ] || bad "more than $limit files were damaged before the freeze"
    "$BUILD/portcullis" end "$id" >/dev/null || bad "ending incident $id"
    wait "$attacker" 2>/dev/null || true
}

drill() {
    local state=$WORK/drill.progress last id drill_pid folder
    step "1. A drill: 18 processes damage 704 files a second (the fastest LockBit measured)"
    last=$(newest_incident)
    # It works in a folder of its own, inside the guarded one, and its damage is reversible by itself.
    folder=$("$BUILD/portcullis" drill --prepare-only --dir "$DEMO" --files 600 2>"$WORK/drill.log" | head -n 1)
    sleep 1 # the guard preserves new files within a second
    setsid "$BUILD/portcullis" drill --run-only "$folder" --processes 18 --rate 704 --settle 0 --state-file "$state" >"$WORK/drill.log" 2>&1 &
    drill_pid=$!
    if ! id=$(wait_incident "$last" 30); then
        bad "the drill was not frozen"
        cat "$WORK/drill.log"
        return
    fi
    sleep 1
    "$BUILD/portcullis" drill --report "$state" --verify --json >"$WORK/drill.json" || true
    local touched
    touched=$(field now damaged <"$WORK/drill.json" 2>/dev/null || echo some)
    "$BUILD/portcullis" drill --report "$state" --verify | head -8 || true
    if "$BUILD/portcullis" rollback "$id" >"$WORK/rollback.log" 2>&1; then
        good "rolled back: $(tail -1 "$WORK/rollback.log")"
    else
        bad "rollback of incident $id"
        tail -5 "$WORK/rollback.log"
    fi
    if "$BUILD/portcullis" drill --report "$state" --verify >"$WORK/drill-after.log"; then
        good "every file of the drill is what it was ($touched had been damaged)"
    else
        bad "files of the drill are still damaged"
        head -8 "$WORK/drill-after.log"
    fi
    "$BUILD/portcullis" end "$id" >/dev/null || bad "ending incident $id"
    wait "$drill_pid" 2>/dev/null || true
}

main() {
    check_host
    trap cleanup EXIT
    trap 'exit 130' INT TERM
    step "A folder of real documents on a file system of its own"
    make_disk
    say "$(find "$DEMO" -type f | wc -l) files in $DEMO"
    start_guard
    "$BUILD/portcullis" status
    drill
    act "2. Somebody else's program: openssl encrypts every document, as an intruder's shell would" 10 \
        "cd '$DEMO' && find . -type f -not -path './portcullis-drill-*' | while read -r f; do openssl enc -aes-256-cbc -pbkdf2 -k secret -in \"\$f\" -out \"\$f.locked\" && rm -- \"\$f\"; done"
    step "Result"
    "$BUILD/portcullis" incidents
    if [ "$FAILED" = 0 ]; then good "all that was shown was verified"; else bad "not all that was shown could be verified"; fi
    [ "$DEMO_ONLY" = 1 ] && exit "$FAILED"
    start_fleet
    step "Guarding until Ctrl-C"
    say "  $BUILD/portcullis --state $STATE status       what is guarded"
    say "  $BUILD/portcullis --state $STATE incidents    what was stopped"
    say "  try to destroy something in $DEMO"
    how_to_look_at_fleet
    tail -n 0 -f "$WORK/guard.log" --pid "$GUARD" &
    wait "$GUARD" || true
}

main
