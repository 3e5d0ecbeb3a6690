#!/bin/sh
# No line of the sources is wider than 120 columns (HACKING.md), but those of the macro tables, which cannot be broken.
# usage: columns.sh SRC
set -u
bad=$(find "$1" -name '*.[ch]' -exec awk 'length($0) > 120 && !/\\$/ { print FILENAME ":" FNR ": " length($0) " columns" }' {} +)
[ -z "$bad" ] && exit 0
printf '%s\n' "$bad"
exit 1
