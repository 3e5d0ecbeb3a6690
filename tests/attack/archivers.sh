# Archivers and file encryptors from Debian with a password the owner does not have, originals deleted by the program itself.
# shellcheck shell=bash
# shellcheck disable=SC2016

KEY=correct-horse-battery

#@ 7z-each-sdel needs=7z processes=1 limit=5 ci
7z_each_sdel() { find . -type f -size +0 -exec 7z a -bso0 -bsp0 -p$KEY -sdel -- {}.7z {} \; ; }

#@ 7z-each-mhe needs=7z processes=1 limit=5
7z_each_mhe() { find . -type f -size +0 -exec 7z a -bso0 -bsp0 -p$KEY -mhe=on -sdel -- {}.7z {} \; ; }

#@ 7z-all-sdel needs=7z processes=1 limit=none destroys=60 archive ci
# One archive for everything; 7z deletes all originals in one go once it is complete.
7z_all_sdel() { 7z a -bso0 -bsp0 -mx=1 -p$KEY -sdel -- all.7z ./* ; }

#@ 7z-all-mhe needs=7z processes=1 limit=none destroys=60 archive
7z_all_mhe() { 7z a -bso0 -bsp0 -mx=1 -mhe=on -p$KEY -sdel -- all.7z ./* ; }

#@ zip-each-move needs=zip processes=1 limit=5 ci
zip_each_move() { find . -type f -size +0 -exec zip -q -m -P $KEY {}.zip {} \; ; }

#@ zip-all-move needs=zip processes=1 limit=none destroys=60 archive ci
zip_all_move() { zip -q -y -r -m -P $KEY all.zip . || [ $? -le 18 ]; }

#@ ccrypt-recursive needs=ccrypt processes=1 limit=25 ci
# In place, then renamed to .cpt: flat out in one process.
ccrypt_recursive() { ccrypt -q -f -r -e -K $KEY . || [ $? -le 11 ]; }

#@ ccrypt-each needs=ccrypt processes=1 limit=5
ccrypt_each() { find . -type f -size +0 -exec ccrypt -q -f -e -K $KEY -- {} \; ; }

#@ ccrypt-xargs-18 needs=ccrypt processes=18 limit=25
ccrypt_xargs_18() { find . -type f -size +0 -print0 | xargs -0 -P 18 -n 8 ccrypt -q -f -e -K $KEY -- ; }

#@ age-loop needs=age,age-keygen processes=1 limit=5
age_loop_setup() { age-keygen -o "$SCRATCH/key" 2>"$SCRATCH/public"; }
age_loop() {
    RECIPIENT=$(sed 's/.*: //' "$SCRATCH/public")
    export RECIPIENT
    find . -type f -size +0 -exec bash -c 'age -r "$RECIPIENT" -o "$1.age" "$1" && rm -f -- "$1"' _ {} \;
}

#@ rclone-crypt-move needs=rclone processes=1 limit=25 destroys=60
# What copies data out in real cases, here moving it into an encrypted folder on the same server.
rclone_crypt_move_setup() {
    rclone --config "$SCRATCH/rclone.conf" config create locked crypt remote="$OUTSIDE/locked" password=$KEY --obscure >/dev/null
}
rclone_crypt_move() { rclone --config "$SCRATCH/rclone.conf" -q --ignore-checksum --transfers 4 move . locked: || true; }

#@ gocryptfs-move needs=gocryptfs,fusermount3 processes=1 limit=none destroys=60 observed
# The folder is moved through an encrypting mount: gocryptfs writes, mv deletes. Owners do the same, so it is told, not
# stopped.
gocryptfs_move_setup() {
    mkdir "$OUTSIDE/cipher" "$SCRATCH/plain"
    gocryptfs -q -init -scryptn 10 -extpass "echo $KEY" "$OUTSIDE/cipher"
    gocryptfs -q -extpass "echo $KEY" "$OUTSIDE/cipher" "$SCRATCH/plain"
}
gocryptfs_move() {
    find . -type f -size +0 -exec bash -c 'mv -- "$1" "$SCRATCH/plain/$RANDOM$RANDOM"' _ {} \;
}
