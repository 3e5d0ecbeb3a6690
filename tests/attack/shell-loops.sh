# Programs every server has, in the loops an intruder types: gpg and openssl, one file after the other or many at a time.
# Nobody here wrote them, and a signed program is doing the work: the judge may not trust names.
# shellcheck shell=bash
# shellcheck disable=SC2016  # the inner shells expand what is in single quotes

export KEY=correct-horse-battery

each_file() { # FUNCTION: called with every regular file of the tree; what it cannot do (a name too long) it skips
    local file
    while IFS= read -r -d '' file; do "$1" "$file" || true; done < <(find . -type f -size +0 -print0 | sort -z)
}

gpg_home() { mkdir -m 700 "$GNUPGHOME"; }
symmetric() { gpg --batch --yes --quiet --no-tty --pinentry-mode loopback --passphrase "$KEY" --symmetric -o "$1.gpg" -- "$1"; }
enc() { openssl enc -aes-256-ctr -pbkdf2 -iter 1 -pass env:KEY "$@"; }
export -f enc symmetric

#@ gpg-loop-rm needs=gpg processes=1 limit=5 ci
gpg_loop_rm_setup() { gpg_home; }
gpg_loop_rm_one() { symmetric "$1" && rm -f -- "$1"; }
gpg_loop_rm() { each_file gpg_loop_rm_one; }

#@ gpg-loop-shred needs=gpg,shred processes=1 limit=5
gpg_loop_shred_setup() { gpg_home; }
gpg_loop_shred_one() { symmetric "$1" && shred -f -u -- "$1"; }
gpg_loop_shred() { each_file gpg_loop_shred_one; }

#@ gpg-move-back needs=gpg processes=1 limit=5
gpg_move_back_setup() { gpg_home; }
gpg_move_back_one() { symmetric "$1" && mv -f -- "$1.gpg" "$1"; }
gpg_move_back() { each_file gpg_move_back_one; }

#@ gpg-xargs-18 needs=gpg processes=18 limit=25
gpg_xargs_18_setup() { gpg_home; }
gpg_xargs_18() { find . -type f -size +0 -print0 | xargs -0 -P 18 -n 1 bash -c 'symmetric "$0" && rm -f -- "$0"'; }

#@ gpg-public-key needs=gpg processes=1 limit=5 seconds=180
gpg_public_key_setup() {
    gpg_home
    gpg --batch --quiet --passphrase '' --quick-gen-key intruder@example.org rsa2048 encr never
}
gpg_public_key_one() { gpg --batch --yes --quiet --trust-model always -r intruder@example.org -e -- "$1" && rm -f -- "$1"; }
gpg_public_key() { each_file gpg_public_key_one; }

#@ openssl-temp-mv needs=openssl processes=1 limit=5 ci
openssl_temp_mv_one() { enc -in "$1" -out "$1.tmp" && mv -f -- "$1.tmp" "$1"; }
openssl_temp_mv() { each_file openssl_temp_mv_one; }

#@ openssl-enc-rm needs=openssl processes=1 limit=5 ci
openssl_enc_rm_one() { enc -in "$1" -out "$1.enc" && rm -f -- "$1"; }
openssl_enc_rm() { each_file openssl_enc_rm_one; }

#@ openssl-elsewhere-rm needs=openssl processes=1 limit=5 ci
# The ciphertext leaves the protected folder, the original goes: only the deletion is seen there.
openssl_elsewhere_rm_one() { enc -in "$1" -out "$OUTSIDE/$((n += 1)).enc" && rm -f -- "$1"; }
openssl_elsewhere_rm() { n=0; each_file openssl_elsewhere_rm_one; }

#@ openssl-xargs-18 needs=openssl processes=18 limit=25 ci
openssl_xargs_18() {
    find . -type f -size +0 -print0 | xargs -0 -P 18 -n 1 bash -c 'enc -in "$0" -out "$0.x" && mv -f -- "$0.x" "$0"'
}

#@ openssl-xargs-256 needs=openssl processes=256 limit=25
openssl_xargs_256() {
    find . -type f -size +0 -print0 | xargs -0 -P 256 -n 1 bash -c 'enc -in "$0" -out "$0.x" && rm -f -- "$0"'
}

#@ openssl-find-exec needs=openssl processes=1 limit=5 ci
openssl_find_exec() { find . -type f -size +0 -exec bash -c 'enc -in "$1" -out "$1.locked" && rm -f -- "$1"' _ {} \; ; }

#@ openssl-cat-back needs=openssl processes=1 limit=5
# O_TRUNC on the original, its old content only in another process's pipe.
openssl_cat_back_one() { enc -in "$1" -out "$SCRATCH/x" && cat "$SCRATCH/x" > "$1"; }
openssl_cat_back() { each_file openssl_cat_back_one; }

#@ openssl-head-4k needs=openssl,dd processes=1 limit=5 ci
openssl_head_4k_one() { dd if="$1" bs=4096 count=1 status=none | enc -nosalt | dd of="$1" bs=4096 conv=notrunc status=none; }
openssl_head_4k() { each_file openssl_head_4k_one; }

#@ openssl-base64 needs=openssl processes=1 limit=5
openssl_base64_one() { enc -base64 -in "$1" -out "$1.tmp" && mv -f -- "$1.tmp" "$1"; }
openssl_base64() { each_file openssl_base64_one; }

#@ openssl-rename-first needs=openssl processes=1 limit=5
openssl_rename_first_one() { mv -- "$1" "$1.lockbit" && enc -in "$1.lockbit" -out "$SCRATCH/x" && cat "$SCRATCH/x" > "$1.lockbit"; }
openssl_rename_first() { each_file openssl_rename_first_one; }

#@ openssl-cms needs=openssl processes=1 limit=5
openssl_cms_setup() {
    openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=intruder -keyout "$SCRATCH/key" -out "$SCRATCH/cert" 2>/dev/null
}
openssl_cms_one() { openssl cms -encrypt -binary -aes256 -outform DER -in "$1" -out "$1.cms" "$SCRATCH/cert" && rm -f -- "$1"; }
openssl_cms() { each_file openssl_cms_one; }

#@ tar-openssl-rm needs=openssl,tar processes=1 limit=none destroys=70 archive ci
# A folder at a time into one encrypted archive, then rm -rf of the folder: deletes many files at once by nature.
tar_openssl_rm() {
    find . -mindepth 1 -maxdepth 2 -depth -type d -print0 | while IFS= read -r -d '' folder; do
        tar -C "$folder" -czf - . | enc -out "$folder.tgz.enc" && rm -rf -- "$folder"
    done
}

#@ shred-tree needs=shred processes=1 limit=25
shred_tree() { find . -type f -exec shred -n 1 -f {} \; ; }

#@ urandom-over needs=dd processes=1 limit=25 ci
urandom_over_one() { dd if=/dev/urandom of="$1" bs=64k count=1 conv=notrunc status=none; }
urandom_over() { each_file urandom_over_one; }

#@ zero-over needs=dd processes=1 limit=5
zero_over_one() { dd if=/dev/zero of="$1" bs="$(stat -c %s -- "$1")" count=1 conv=notrunc status=none; }
zero_over() { each_file zero_over_one; }

#@ truncate-all needs=truncate processes=1 limit=25
truncate_all() { find . -type f -print0 | xargs -0 truncate -s 0; }
