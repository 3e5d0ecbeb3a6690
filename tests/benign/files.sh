# What administrators and users do to whole trees: edit, rename, chown, copy, delete, sync, deduplicate.
# shellcheck shell=bash
# shellcheck disable=SC2016

#@ sed-tree needs=sed ci
sed_tree() { find . -type f \( -name '*.html' -o -name '*.txt' -o -name '*.[ch]' -o -name '*.py' -o -name '*.xml' -o -name '*.json' \) -exec sed -i 's/the/THE/g; s/a/A/' {} + ; }
sed_tree_check() { grep -rq THE . ; }

#@ perl-edit-tree needs=perl
perl_edit_tree() { find . -type f \( -name '*.html' -o -name '*.txt' -o -name '*.py' -o -name '*.p[lm]' \) -print0 | xargs -0 perl -pi -e 's/\t/    /g; s/\r?\n/\r\n/'; }

#@ iconv-tree needs=iconv
# Every text re-encoded to UTF-16: no byte stays where it was.
iconv_tree() { find . -type f -name '*.txt' -exec sh -c 'iconv -f latin1 -t utf-16 "$1" -o "$1.new" && mv "$1.new" "$1"' _ {} \; ; }

#@ chmod-chown needs=chown ci
chmod_chown() { chmod -R g+w . && chown -R 1000:1000 . && chmod -R o-rwx . && chown -R 0:0 . ; }

#@ touch-tree needs=touch
touch_tree() { find . -exec touch -h -d 2020-02-02 {} + ; }

#@ mass-rename needs=mv ci
mass_rename() { find . -depth -type f -exec sh -c 'mv -- "$1" "$1.bak"' _ {} \; ; find . -depth -type d -name '20*' -exec sh -c 'mv "$1" "$(dirname "$1")/year-$(basename "$1")"' _ {} \; ; }
mass_rename_check() { [ "$(find . -name '*.bak' | wc -l)" -gt 300 ]; }

#@ move-tree needs=mv
move_tree() { mkdir archived && find . -mindepth 1 -maxdepth 1 ! -name archived -exec mv -t archived {} + && mv archived "$OUTSIDE/" && cp -a "$OUTSIDE/archived" . ; }

#@ rm-build needs=rm ci
rm_build_setup() { mkdir build && cp -a /usr/include/linux /usr/share/perl/5* build/; }
rm_build() { rm -rf build; find . -name '*.png' -delete; }
rm_build_check() { [ ! -e build ]; }

#@ rm-everything needs=rm
# The owner's right; preserved all the same.
rm_everything() { rm -rf ./* ; }

#@ copy-tree needs=cp
copy_tree() { mkdir copy && find . -mindepth 1 -maxdepth 1 ! -name copy -exec cp -a --reflink=auto -t copy {} + && rm -rf copy; }

#@ rsync-sync needs=rsync ci
rsync_sync_setup() { cp -a . "$OUTSIDE/source"; find "$OUTSIDE/source" -name '*.txt' -exec sh -c 'sed -i s/e/E/ "$1"' _ {} \; ; find "$OUTSIDE/source" -name '*.gif' -delete; }
rsync_sync() { rsync -aHAX --delete "$OUTSIDE/source/" ./ ; }
rsync_sync_check() { diff -rq --no-dereference "$OUTSIDE/source" . ; }

#@ rsync-inplace needs=rsync
rsync_inplace_setup() { # other versions of everything: edited texts, and for each binary kind the content of its neighbour
    cp -a . "$OUTSIDE/source"
    find "$OUTSIDE/source" -name '*.txt' -o -name '*.html' -o -name '*.py' | while IFS= read -r f; do sed -i 's/the/THE/' "$f"; done
    for kind in jpg png pdf gz zip sqlite so wav; do
        local before=
        while IFS= read -r -d '' f; do [ -z "$before" ] || cp "$f" "$before"; before=$f; done < <(find "$OUTSIDE/source" -name "*.$kind" -print0)
    done
}
rsync_inplace() { rsync -a --inplace "$OUTSIDE/source/" ./ ; }
rsync_inplace_check() { diff -rq --no-dereference "$OUTSIDE/source" . ; }

#@ unison-sync needs=unison
unison_sync_setup() { cp -a . "$OUTSIDE/home"; HOME=$SCRATCH unison -batch -silent "$TREE" "$OUTSIDE/home" || [ $? -le 1 ]; find "$OUTSIDE/home" -name '*.html' -exec sh -c 'date >> "$1"' _ {} \; ; }
unison_sync() { HOME=$SCRATCH unison -batch -silent "$TREE" "$OUTSIDE/home" || [ $? -le 1 ]; }
unison_sync_check() { diff -rq --no-dereference "$OUTSIDE/home" . ; }

#@ rclone-sync needs=rclone
rclone_sync_setup() { cp -a . "$OUTSIDE/cloud"; find "$OUTSIDE/cloud" -name '*.[ch]' -exec sh -c 'date >> "$1"' _ {} \; ; }
rclone_sync() { rclone --config /dev/null -q sync --links "$OUTSIDE/cloud" . || true; }

#@ jdupes-link needs=jdupes
jdupes_link_setup() { find . -maxdepth 1 -type d -name '[a-m]*' -exec cp -r {} {}-again \; ; }
jdupes_link() { jdupes -q -r -L . ; }
jdupes_link_check() { [ "$(find . -type f -links +1 | wc -l)" -gt 100 ]; }

#@ rdfind-link needs=rdfind
rdfind_link_setup() { find . -maxdepth 1 -type d -name '[n-z]*' -exec cp -r {} {}-again \; ; }
rdfind_link() { rdfind -makehardlinks true -outputname /dev/null . > /dev/null; }
rdfind_link_check() { [ "$(find . -type f -links +1 | wc -l)" -gt 100 ]; }

#@ duperemove needs=duperemove not=ext4
duperemove_setup() { find . -maxdepth 1 -type d -name '[a-m]*' -exec cp -r --reflink=never {} {}-again \; ; }
duperemove() { command duperemove -q -d -r . > /dev/null; }

#@ updatedb needs=updatedb.plocate
updatedb() { updatedb.plocate --require-visibility no --database-root "$TREE" --output "$TREE/locate.db" --prunefs '' --prunepaths '' ; }
updatedb_check() { [ -s locate.db ]; }

#@ vim-saves needs=vim
vim_saves() { find . -name '*.txt' -o -name '*.conf' | sed -n 1,40p | while IFS= read -r f; do vim -es -u NONE -c 'set backup' -c 'normal Gohello' -c 'wq!' "$f" < /dev/null; done; }

#@ editor-saves needs=python3
# Every other way in which editors save: write beside and rename, truncate and rewrite, backup and exchange.
editor_saves() { /usr/bin/python3 -c '
import os, random, shutil
random.seed(1)
texts = [os.path.join(r, n) for r, _, ns in os.walk(".") for n in ns if n.endswith((".html", ".py", ".md", ".rst", ".sql"))]
for i, path in enumerate(sorted(texts)):
    lines = open(path, "rb").read().split(b"\n")
    random.shuffle(lines)
    data = b"\n".join(lines)
    if i % 3 == 0:
        open(path + "~", "wb").write(data); os.replace(path + "~", path)
    elif i % 3 == 1:
        open(path, "wb").write(data)
    else:
        shutil.copy2(path, path + ".bak"); open(path, "r+b").write(data)'; }

#@ download-resume needs=curl,python3
download_resume_setup() { find . -name '*.deb' -o -name '*.ttf' -o -name '*.pdf' | sed -n 1,20p | xargs -d "\n" cp -t "$OUTSIDE"; }
download_resume() {
    /usr/bin/python3 -m http.server -b 127.0.0.1 -d "$OUTSIDE" 18080 > /dev/null 2>&1 &
    server=$!
    sleep 0.7
    mkdir downloads
    for f in "$OUTSIDE"/*.*; do
        head -c 5000 "$f" > "downloads/$(basename "$f")"
        curl -s -C - -o "downloads/$(basename "$f")" "http://127.0.0.1:18080/$(basename "$f")" || true
    done
    kill $server
}

#@ log-writers needs=logger
log_writers_setup() { mkdir log; for i in 1 2 3 4; do seq 20000 > log/app$i.log; done; }
log_writers() { for i in 1 2 3 4; do (for n in $(seq 400); do echo "$(date) app$i request $n took $RANDOM ms" >> log/app$i.log; done) & done; wait; for i in 1 2 3 4; do : > log/app$i.log; done; }

#@ logrotate-compress needs=logrotate ci
logrotate_compress_setup() {
    mkdir log
    for i in $(seq 25); do seq -f "Nov 21 10:00:00 host app[$i]: request %g served" 20000 > "log/app$i.log"; done
    # On ext4 the vault's link is a second name, which logrotate refuses unless it is told (SECURITY.md).
    local links=; [ "$(stat -f -c %T .)" = xfs ] || links=allowhardlink
    printf '%s/log/*.log {\n rotate 3\n compress\n copytruncate\n %s\n su root root\n}\n' "$TREE" "$links" > "$SCRATCH/rotate.conf"
}
logrotate_compress() { for _ in 1 2 3 4 5; do logrotate -f -s "$SCRATCH/rotate.state" "$SCRATCH/rotate.conf"; seq 5000 | tee log/app{1..25}.log > /dev/null; done; }
logrotate_compress_check() { [ "$(find log -name '*.gz' | wc -l)" -ge 50 ]; }

#@ maildir-delivery needs=python3
maildir_delivery() { /usr/bin/python3 -c '
import mailbox, email.message, base64, os
box = mailbox.Maildir("mail", create=True)
for i in range(400):
    m = email.message.EmailMessage()
    m["Subject"] = "message %d" % i; m["From"] = "a@example.org"; m["To"] = "b@example.org"
    m.set_content("hello\n" * 40)
    m.add_attachment(os.urandom(3000), maintype="application", subtype="octet-stream", filename="x.bin")
    box.add(m)
for key in list(box.keys())[::2]:
    m = box[key]; m.set_subdir("cur"); m.add_flag("S"); box[key] = m
for key in list(box.keys())[::3]:
    box.discard(key)
mbox = mailbox.mbox("inbox.mbox")
for m in box: mbox.add(m)
mbox.flush()
for key in list(mbox.keys())[::2]: mbox.discard(key)
mbox.flush()'; }

#@ rsync-move-outside needs=rsync
# Moved out file by file: plain copies of every kind elsewhere on the same file system, the originals deleted.
rsync_move_outside() { rsync -aHAX --remove-source-files ./ "$OUTSIDE/moved/"; }
rsync_move_outside_check() { [ "$(find "$OUTSIDE/moved" -type f | wc -l)" -gt 300 ]; }

#@ cp-outside-then-rm needs=cp
cp_outside_then_rm() { find . -type f -exec sh -c 'cp -a -- "$1" "$OUTSIDE/$(basename "$1")" && rm -f -- "$1"' _ {} \; ; }
