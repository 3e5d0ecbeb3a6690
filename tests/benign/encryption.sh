# Encryption that an owner wants: the originals stay, or it is one file, or the ciphertext was ciphertext before.
# shellcheck shell=bash
# shellcheck disable=SC2016

gpg_to() { gpg --batch --yes --quiet --no-tty --pinentry-mode loopback --s2k-count 1024 --passphrase owner --symmetric -o "$2" "$1"; }
export -f gpg_to

#@ gpg-backup-kept needs=gpg,tar
gpg_backup_kept_setup() { mkdir -m 700 "$GNUPGHOME" && mkdir backups; }
gpg_backup_kept() { for day in 1 2 3; do tar -czf "$SCRATCH/day.tgz" --exclude=backups . && gpg_to "$SCRATCH/day.tgz" "backups/$day.tgz.gpg"; done; rm -f backups/1.*; }
gpg_backup_kept_check() { [ -s backups/3.tgz.gpg ]; }

#@ gpg-each-kept needs=gpg
# A per-file encrypted copy in the protected tree, every original kept where it was.
gpg_each_kept_setup() { mkdir -m 700 "$GNUPGHOME"; mkdir encrypted; }
gpg_each_kept() {
    n=0
    find . -path ./encrypted -prune -o -type f -name '*.[ptdh]*' -print | sed -n 1,60p | while IFS= read -r f; do gpg_to "$f" "encrypted/$((n += 1)).gpg"; done
}
gpg_each_kept_check() { [ "$(find encrypted -name "*.gpg" | wc -l)" -ge 60 ]; }

#@ openssl-backup-kept needs=openssl,tar
openssl_backup_kept() { tar -cf - -- */ | openssl enc -aes-256-ctr -pbkdf2 -pass pass:owner -out backup.tar.enc; }
openssl_backup_kept_check() { openssl enc -d -aes-256-ctr -pbkdf2 -pass pass:owner -in backup.tar.enc | tar -tf - > /dev/null; }

#@ gpg-one-file needs=gpg ci
# A person encrypts one document and removes the original: their right.
gpg_one_file_setup() { mkdir -m 700 "$GNUPGHOME"; cp "$(find . -name '*.docx' | sed -n 1p)" contract.docx; }
gpg_one_file() { gpg_to contract.docx contract.docx.gpg && rm contract.docx; }
gpg_one_file_check() { [ -s contract.docx.gpg ]; }

#@ shred-two-files needs=shred
shred_two_files_setup() { cp "$(find . -name '*.html' | sed -n 1p)" a.html; cp "$(find . -name '*.pdf' | sed -n 1p)" b.pdf; }
shred_two_files() { shred -u a.html b.pdf; }
shred_two_files_check() { [ ! -e a.html ]; }

#@ random-new-files needs=dd
random_new_files() { for i in $(seq 60); do dd if=/dev/urandom of="random-$i" bs=8k count=4 status=none; done; }

#@ keepass-saves needs=python3
# A password database saved again and again: random to random, with the password changed at the end.
keepass_saves_setup() { /usr/bin/python3 -c 'import pykeepass' || exit 0; /usr/bin/python3 -c '
import pykeepass
for i in range(4):
    pykeepass.create_database("%d.kdbx" % i, "one")'; }
keepass_saves() { /usr/bin/python3 -c '
import glob, sys
try:
    import pykeepass
except ImportError:
    sys.exit("python3-pykeepass is not installed")
for name in sorted(glob.glob("*.kdbx")):
    base = pykeepass.PyKeePass(name, "one")
    for i in range(2):
        base.add_entry(base.root_group, "site %d" % i, "user", "secret")
        base.save()
    base.password = "two"
    base.save()'; }

#@ gocryptfs-in-use needs=gocryptfs,fusermount3 ci
gocryptfs_in_use_setup() {
    mkdir cipher "$SCRATCH/plain"
    gocryptfs -q -init -scryptn 10 -extpass 'echo owner' cipher
    gocryptfs -q -extpass 'echo owner' cipher "$SCRATCH/plain"
    find . -path ./cipher -prune -o -name '*.[ch]' -print0 -o -name '*.html' -print0 | xargs -0 cp --backup=numbered -t "$SCRATCH/plain"
}
gocryptfs_in_use() {
    cd "$SCRATCH/plain"
    for f in *; do sed -i 's/the/The/' "$f"; echo "edited" >> "$f"; done
    mkdir sub && mv ./*.c sub/ && cp -r sub sub2 && rm -rf sub
}
gocryptfs_in_use_check() { ls "$SCRATCH/plain/sub2" > /dev/null; umount "$SCRATCH/plain"; }

#@ encrypted-container needs=dd
# A container of ciphertext (as VeraCrypt or LUKS keep in a file), random blocks of it written in place.
encrypted_container_setup() { dd if=/dev/urandom of=container.hc bs=1M count=64 status=none; }
encrypted_container() { for i in $(seq 300); do dd if=/dev/urandom of=container.hc bs=64k count=1 seek=$((RANDOM % 1000)) conv=notrunc status=none; done; }

#@ vm-image-in-use needs=mkfs.ext4,mount ci
# A virtual machine's disk: a file system inside a file, mounted and worked on.
vm_image_in_use_setup() { truncate -s 300M disk.raw; mkfs.ext4 -q -F disk.raw; mkdir "$SCRATCH/guest"; }
vm_image_in_use() {
    mount -o loop disk.raw "$SCRATCH/guest"
    cp -r /usr/share/doc/[a-c]* "$SCRATCH/guest/" && sync -f "$SCRATCH/guest"
    find "$SCRATCH/guest" -name '*.gz' -exec gunzip -f {} + && rm -rf "$SCRATCH"/guest/a*
    umount "$SCRATCH/guest"
}
vm_image_in_use_check() { fsck.ext4 -n -f disk.raw > /dev/null; }

#@ qemu-convert needs=qemu-img,mkfs.ext4
qemu_convert_setup() { truncate -s 200M disk.raw; mkfs.ext4 -q -F -d "$SOURCE_TREE/src" disk.raw; }
qemu_convert() { qemu-img convert -c -O qcow2 disk.raw disk.qcow2 && rm disk.raw && qemu-img snapshot -c one disk.qcow2; }
qemu_convert_check() { qemu-img check -q disk.qcow2; }

#@ certificate-renewal needs=openssl ci
certificate_renewal_setup() { mkdir tls; for i in $(seq 30); do renew "$i"; done; }
renew() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=host$1" -days 90 -keyout "tls/$1.key.new" -out "tls/$1.crt.new" 2> /dev/null
    mv "tls/$1.key.new" "tls/$1.key" && mv "tls/$1.crt.new" "tls/$1.crt"
    openssl pkcs12 -export -passout pass:x -in "tls/$1.crt" -inkey "tls/$1.key" -out "tls/$1.p12"
}
certificate_renewal() { for i in $(seq 30); do renew "$i"; done; }
certificate_renewal_check() { openssl x509 -noout -in tls/30.crt; }

#@ gpg-archive-outside-then-rm needs=gpg,tar ci
# One encrypted archive elsewhere, and what is in it is removed by hand: an honest, if rash, clean-up.
gpg_archive_outside_then_rm_setup() { mkdir -m 700 "$GNUPGHOME"; }
gpg_archive_outside_then_rm() { tar -czf - -- */ | gpg --batch --yes --quiet --no-tty --pinentry-mode loopback --passphrase owner --symmetric -o "$OUTSIDE/all.tgz.gpg" && rm -rf -- */; }

#@ rclone-crypt-mirror-then-purge needs=rclone
# A nightly mirror into encrypted files outside, every original kept; then old files of other kinds are removed.
rclone_crypt_mirror_then_purge_setup() { rclone --config "$SCRATCH/rclone.conf" config create locked crypt remote="$OUTSIDE/locked" password=owner --obscure >/dev/null; }
rclone_crypt_mirror_then_purge() {
    rclone --config "$SCRATCH/rclone.conf" -q --ignore-checksum --transfers 4 sync . locked: --exclude '*.{html,png,txt,py,pdf}'
    find . \( -name '*.html' -o -name '*.png' -o -name '*.txt' -o -name '*.py' -o -name '*.pdf' \) -delete
}
rclone_crypt_mirror_then_purge_check() { [ "$(find "$OUTSIDE/locked" -type f | wc -l)" -gt 50 ]; }
