#!/bin/sh
# Runs a drill test on a fresh xfs, ext4 or btrfs of its own: loopfs.sh FSTYPE PROGRAM ARGUMENT...
# Exits 77 (skipped) with the reason where it cannot: not root, no mkfs, no loop devices.
set -eu
fs=$1
shift

skip()
{
    echo "skipped: $1"
    exit 77
}

[ "$(id -u)" = 0 ] || skip "mounting needs root"
command -v "mkfs.$fs" >/dev/null || skip "no mkfs.$fs"

work=$(mktemp -d)
mounted=
cleanup()
{
    [ -z "$mounted" ] || umount "$work/mnt"
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

mkdir "$work/mnt"
truncate -s 512M "$work/image"
"mkfs.$fs" "$work/image" >"$work/mkfs.log" 2>&1 || skip "mkfs.$fs: $(tail -n 1 "$work/mkfs.log")"
mount -o loop "$work/image" "$work/mnt" 2>"$work/mount.log" || skip "mount: $(tail -n 1 "$work/mount.log")"
mounted=yes
DRILL_TEST_DIR=$work/mnt "$@"
