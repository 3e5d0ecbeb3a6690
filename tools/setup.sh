#!/bin/sh
# Installs the Debian packages that building and testing need, when some are missing. Quiet when there is nothing to do.
#
#   tools/setup.sh          tools/packages.txt
#   tools/setup.sh --full   and tests/packages-full.txt: what the whole attack, benign and bench suites use
set -eu
cd "$(dirname "$0")/.."

lists=tools/packages.txt
[ "${1:-}" != --full ] || lists="$lists tests/packages-full.txt"

if ! command -v dpkg-query >/dev/null; then
    echo "setup: this is not Debian: nothing installed. Needed are the equivalents of: $(sort -u $lists | tr '\n' ' ')" >&2
    exit 0 # meson says what is really missing
fi

# A package counts as there when it, or one that provides it, is installed.
there=$(dpkg-query -W -f '${db:Status-Abbrev} ${binary:Package} ${Provides}\n' |
    sed -n 's/^ii *//p' | sed 's/([^)]*)//g; s/:[a-z0-9]*//g' | tr ', ' '\n\n' | sort -u)
missing=$(sort -u $lists | while read -r package; do
    echo "$there" | grep -qxF "$package" || echo "$package"
done)
[ -n "$missing" ] || exit 0

missing=$(echo "$missing" | tr '\n' ' ')
if [ "$(id -u)" != 0 ]; then
    echo "setup: packages are missing, and only root can install them. Please run:" >&2
    echo "    sudo apt-get install $missing" >&2
    exit 1
fi
echo "setup: installing $missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
# Tests start servers (PostgreSQL, Samba) by themselves, on ports of their own: what is installed for them must not become a service of this machine.
policy=/usr/sbin/policy-rc.d
if [ -e "$policy" ]; then
    policy=
else
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
fi
trap 'rm -f "$log" $policy' EXIT
trap 'exit 1' HUP INT TERM
install() {
    # shellcheck disable=SC2086 # a list of words
    apt-get -q -y --no-install-recommends install $missing >"$log" 2>&1
}
# The lists on a fresh image are stale or absent: fetch them when the first try fails.
if ! install && ! { apt-get -q update >"$log" 2>&1 && install; }; then
    tail -n 20 "$log" >&2
    echo "setup: apt-get could not install them: see above" >&2
    exit 1
fi
