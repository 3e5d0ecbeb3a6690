# Compressing, packing and unpacking: originals vanish and random-looking files appear, all of it readable by anyone.
# shellcheck shell=bash
# shellcheck disable=SC2016

sums() { find . -type f -print0 | sort -z | xargs -0 sha256sum; } # of the tree before, to prove nothing was lost

#@ gzip-tree needs=gzip ci
gzip_tree_setup() { find . -type f ! -name '*.gz' ! -name '*.tgz' -links 1 | wc -l > "$SCRATCH/count"; }
gzip_tree() { gzip -q -r . || [ $? -eq 2 ]; }
gzip_tree_check() { [ "$(find . -name '*.gz' -exec gzip -t {} \; -print | wc -l)" -ge "$(cat "$SCRATCH/count")" ]; }

#@ gunzip-tree needs=gzip ci
gunzip_tree_setup() { gzip -q -r . || [ $? -eq 2 ]; }
gunzip_tree() { gunzip -q -r . || [ $? -eq 2 ]; }
gunzip_tree_check() { [ "$(find . -name '*.html' | wc -l)" -gt 5 ]; }

#@ xz-tree needs=xz seconds=300
# Listed before there is a guard: on ext4 the vault holds another name of each file.
xz_tree_setup() { find . -type f -links 1 -print0 > "$SCRATCH/list"; }
xz_tree() { xargs -0 -a "$SCRATCH/list" xz -q -1 -T2 || [ $? -ge 1 ]; }
xz_tree_check() { find . -name '*.xz' -print0 | xargs -0 xz -q -t; [ "$(find . -name '*.xz' | wc -l)" -gt 200 ]; }

#@ zstd-rm needs=zstd ci
zstd_rm() { zstd -q -r --rm -T2 . || [ $? -eq 1 ]; }
zstd_rm_check() { [ "$(find . -name '*.zst' | wc -l)" -gt 200 ]; }

#@ bzip2-parallel needs=bzip2
# -f: it refuses files with several names, of which the vault makes one on ext4.
bzip2_parallel_setup() { find . -type f -links 1 ! -name '*.bz2' -print0 > "$SCRATCH/list"; }
bzip2_parallel() { xargs -0 -a "$SCRATCH/list" -P 4 -n 8 bzip2 -q -f || true; }
bzip2_parallel_check() { find . -name '*.bz2' -print0 | xargs -0 bzip2 -q -t; [ "$(find . -name '*.bz2' | wc -l)" -gt 200 ]; }

#@ zip-move needs=zip,unzip ci
zip_move() { for folder in */; do [ -L "${folder%/}" ] || zip -q -r -m "${folder%/}.zip" "$folder" || [ $? -eq 18 ]; done; }
zip_move_check() { for box in *.zip; do unzip -q -t "$box" > /dev/null || [ $? -le 2 ]; done; }

#@ zip-each-move needs=zip ci
zip_each_move_setup() { find . -type f -links 1 -size +0 -print0 > "$SCRATCH/list"; }
zip_each_move() { xargs -0 -a "$SCRATCH/list" -I{} zip -q -m {}.zip {} ; }
zip_each_move_check() { [ "$(find . -name '*.zip' | wc -l)" -gt 200 ]; }

#@ 7z-move needs=7z
7z_move() { for folder in */; do [ -L "${folder%/}" ] || 7z a -bso0 -bsp0 -mx=1 -sdel "${folder%/}.7z" "$folder" || true; done; }
7z_move_check() { for box in *.7z; do 7z t -bso0 -bsp0 "$box"; done; }

#@ tar-create needs=tar,zstd
tar_create() { tar -czf all.tgz -- */ && tar --zstd -cf "$OUTSIDE/all.tzst" -- */ ; }
tar_create_check() { tar -tzf all.tgz > /dev/null; }

#@ tar-restore-over needs=tar ci
# A backup restored over files that changed meanwhile: every file replaced by other content.
tar_restore_over_setup() {
    tar --acls --xattrs -cf "$OUTSIDE/backup.tar" . && sums > "$SCRATCH/sums"
    find . -name '*.txt' -o -name '*.html' -o -name '*.py' | while IFS= read -r f; do echo "edited since" >> "$f"; done
}
tar_restore_over() { tar --acls --xattrs -xpf "$OUTSIDE/backup.tar"; }
tar_restore_over_check() { sha256sum --quiet -c "$SCRATCH/sums"; }

#@ unzip-over needs=zip,unzip
unzip_over_setup() { zip -q -r "$OUTSIDE/all.zip" . || [ $? -le 18 ]; }
unzip_over() { unzip -q -o "$OUTSIDE/all.zip" > /dev/null || [ $? -le 2 ]; }

#@ container-layers needs=tar ci
# A container image unpacked layer by layer: a root file system, upgrades over it, white-outs that delete.
container_layers_setup() {
    for layer in 1 2 3; do
        mkdir -p "$SCRATCH/l$layer"
        cp -r /usr/share/doc/g* "$SCRATCH/l$layer/"
        find "$SCRATCH/l$layer" -type f -name "*[$layer-9]*" -delete
        tar -C "$SCRATCH/l$layer" -czf "$OUTSIDE/layer$layer.tgz" .
    done
}
container_layers() {
    for id in a b c; do
        mkdir -p "overlay/$id"
        for layer in 1 2 3; do
            tar -C "overlay/$id" -xzf "$OUTSIDE/layer$layer.tgz"
            find "overlay/$id" -name "copyright" -path "*$layer*" -delete
        done
    done
    rm -rf overlay/a
}
container_layers_check() { [ -d overlay/b ] && [ ! -e overlay/a ]; }

#@ borg-backup needs=borg ci
borg_backup_setup() { export BORG_PASSPHRASE=x; borg init -e repokey "$TREE/borg"; }
borg_backup() {
    export BORG_PASSPHRASE=x BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes
    for run in 1 2 3; do
        borg create --exclude '*/borg' "borg::run$run" . 2>&1 || [ $? -eq 1 ]
        find . -path ./borg -prune -o -name '*.txt' -exec sh -c 'date >> "$1"' _ {} \;
    done
    borg prune --keep-last 1 borg
    borg compact borg
}
borg_backup_check() { export BORG_PASSPHRASE=x; borg check borg; }

#@ restic-backup needs=restic
restic_backup_setup() { export RESTIC_PASSWORD=x; restic -q init -r "$TREE/restic"; }
restic_backup() {
    export RESTIC_PASSWORD=x
    for run in 1 2; do
        restic -q -r restic backup --exclude restic .
        find . -path ./restic -prune -o -name '*.html' -exec sh -c 'date >> "$1"' _ {} \;
    done
    restic -q -r restic forget --keep-last 1 --prune
    restic -q -r restic restore latest --target "$TREE/restored"
}
restic_backup_check() { export RESTIC_PASSWORD=x; restic -q -r restic check; [ -d restored ]; }

#@ gzip-outside-then-rm needs=gzip
# Each file compressed to a place outside, the original removed: its content is there.
gzip_outside_then_rm() { n=0; find . -type f -size +0 -print | while IFS= read -r f; do gzip -c -- "$f" > "$OUTSIDE/$((n += 1)).gz" && rm -f -- "$f"; done; }

#@ tar-remove-files-outside needs=tar ci
tar_remove_files_outside() { for d in */; do tar --remove-files --zstd -cf "$OUTSIDE/${d%/}.tar.zst" -- "$d"; done; }
