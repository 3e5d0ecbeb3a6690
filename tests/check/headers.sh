#!/bin/sh
# Every header compiles alone, so that no file depends on the order of its includes.
#
#   tests/check/headers.sh SOURCE_DIR COMPILER...
set -u
src=$1
shift
bad=0
count=0
for header in $(find "$src" -name '*.h' | sort); do
    count=$((count + 1))
    "$@" -std=gnu17 -D_GNU_SOURCE -DPC_VERSION='""' -Wall -Wextra -Werror -I"$src" -fsyntax-only -x c "$header" || bad=1
done
[ $count -gt 0 ] || bad=1
echo "$count headers"
exit $bad
