# Version control, builds and package managers: thousands of files made, replaced and deleted within seconds.
# shellcheck shell=bash
# shellcheck disable=SC2016

git_identity() { export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b GIT_CONFIG_GLOBAL=/dev/null; }

make_history() { # DIR: a repository with 40 commits of real files
    git_identity
    git init -q -b main "$1"
    cp -r /usr/include/linux "$1/linux"
    for i in $(seq 40); do
        find "$1/linux" -name "*[$((i % 10))]*.h" -exec sh -c 'echo "/* change '"$i"' */" >> "$1"' _ {} \;
        git -C "$1" add -A && git -C "$1" commit -q --allow-empty -m "change $i" && [ $((i % 10)) -ne 0 ] || git -C "$1" tag "v$i"
    done
}

#@ git-clone needs=git ci
git_clone_setup() { make_history "$OUTSIDE/repo"; }
git_clone() { git_identity; git clone -q "$OUTSIDE/repo" work && git clone -q --no-local "$OUTSIDE/repo" packed && rm -rf packed; }
git_clone_check() { git -C work fsck --strict; }

#@ git-checkout needs=git
git_checkout_setup() { make_history "$TREE/work"; }
git_checkout() { git_identity && cd work && for tag in v10 v20 v30 v10 v40; do git checkout -q $tag; done; git rm -rq linux/netfilter && git stash -q && git stash pop -q && git reset -q --hard v10 && git clean -fdxq; }
git_checkout_check() { git -C work fsck --strict; }

#@ git-gc needs=git
git_gc_setup() { make_history "$TREE/work"; }
git_gc() { git_identity; git -C work gc -q --aggressive --prune=now; git -C work repack -adfq --depth=20; git -C work pack-refs --all; git -C work rebase -q --force-rebase v30 main; }
git_gc_check() { git -C work fsck --strict; }

#@ git-lfs needs=git,git-lfs
git_lfs() {
    git_identity
    export HOME=$SCRATCH
    mkdir lfs && cd lfs && git init -q -b main && git lfs install --local && git lfs track '*.png' '*.jpg' '*.pdf'
    find .. -name '*.png' -o -name '*.jpg' -o -name '*.pdf' | sed -n 1,60p | xargs -d '\n' cp --backup=numbered -t .
    git add -A && git commit -q -m one && git rm -q '*.png' && git commit -q -m two && git checkout -q HEAD~1 && git lfs prune -f
}
git_lfs_check() { git -C lfs lfs fsck; }

#@ meson-compile needs=meson,ninja,gcc seconds=240
meson_compile_setup() { mkdir src && tar -C "$SOURCE_TREE" --exclude='./build*' --exclude=./.git -cf - . | tar -C src -xf - ; }
meson_compile() { meson setup build src && ninja -C build -j2 portcullis portcullisd | tail -3 && rm -rf build; }

#@ cmake-make needs=cmake,make,gcc
cmake_make_setup() {
    mkdir proj && cp "$SOURCE_TREE"/src/base/*.[ch] proj/ && mkdir proj/base && cp "$SOURCE_TREE"/src/base/*.h proj/base/
    printf 'cmake_minimum_required(VERSION 3.10)\nproject(p C)\nadd_compile_definitions(_GNU_SOURCE)\ninclude_directories(.)\nfile(GLOB S *.c)\nadd_library(base ${S})\n' > proj/CMakeLists.txt
}
cmake_make() { for _ in 1 2; do cmake -S proj -B proj/build > /dev/null && make -s -j2 -C proj/build > /dev/null && make -s -C proj/build clean && rm -rf proj/build; done; }

#@ ccache-build needs=ccache,gcc
ccache_build() { export CCACHE_DIR=$TREE/ccache; for _ in 1 2 3; do for f in "$SOURCE_TREE"/src/base/*.c; do ccache gcc -D_GNU_SOURCE -I"$SOURCE_TREE/src" -c "$f" -o "$(basename "$f").o"; done; done; ccache -C > /dev/null; }

#@ dpkg-install needs=dpkg,dpkg-deb ci
# Debian's own package manager into a root of its own: install, then the same packages over themselves, then remove.
# Without scripts of their maintainers: those need a shell in that root, and dpkg fails for want of it, guard or no guard.
dpkg_install_setup() {
    mkdir -p sys/var/lib/dpkg/{info,updates,triggers} && touch sys/var/lib/dpkg/{status,available}
    find . -name '*_all.deb' | sort | while IFS= read -r deb; do
        dpkg-deb --info "$deb" | grep -qwE '(pre|post)(inst|rm)' || printf '%s\n' "$deb"
    done | sed -n 1,12p > "$SCRATCH/debs"; [ -s "$SCRATCH/debs" ]
}
dpkg_install() { for _ in 1 2; do xargs -d "\n" -a "$SCRATCH/debs" dpkg --root="$TREE/sys" --force-all --log=/dev/null --unpack > /dev/null 2>&1; done; dpkg --root="$TREE/sys" --log=/dev/null --force-all --purge "$(basename "$(head -1 "$SCRATCH/debs")" | cut -d_ -f1)" > /dev/null 2>&1; }
dpkg_install_check() { [ -d sys/usr/share/doc ]; }

#@ npm-install needs=npm seconds=180
npm_install() { mkdir app && cd app && npm init -y > /dev/null && npm install --no-audit --no-fund --cache "$SCRATCH/npm" express@4 lodash@4 > /dev/null && npm uninstall express > /dev/null; }
npm_install_check() { [ -d app/node_modules/lodash ]; }

#@ python-venv needs=python3
python_venv() { for _ in 1 2; do /usr/bin/python3 -m venv --without-pip --clear venv; cp -r /usr/lib/python3/dist-packages venv/lib/python3*/site-packages/ ; /usr/bin/python3 -m compileall -q venv || true; done; rm -rf venv; }
