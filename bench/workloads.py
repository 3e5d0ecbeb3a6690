"""The measured work: what is laid out before, what is timed, what is cleaned up after.

Every script runs in bash in the guarded folder of a fresh file system. `prepare` runs before any guard is there,
`before` and `after` under the guard but outside the measured time. `run` is timed as a whole; a workload that measures
itself for a fixed time prints `work-per-second NUMBER` instead. Needs nothing but Debian packages and this source tree.
"""
import glob
import os

import host

PG = (sorted(glob.glob("/usr/lib/postgresql/*/bin")) or ["/nonexistent"])[-1]
# As the user postgres, who refuses to be root; the socket lies in a folder of its own outside the guarded one.
AS_PG = "setpriv --reuid=postgres --regid=postgres --clear-groups env HOME=/ PGHOST=\"$SCRATCH/pg\""

SQLITE = """
import sqlite3, sys
kind, transactions, rows = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
db = sqlite3.connect(kind + ".db", isolation_level=None)
db.execute("PRAGMA journal_mode=" + kind)
db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, name TEXT, amount INT)")
db.execute("CREATE INDEX by_name ON t(name)")
for i in range(transactions):
    db.execute("BEGIN")
    values = (("customer %d" % (i * 7919 + j), j) for j in range(rows))
    db.executemany("INSERT INTO t(name, amount) VALUES(?, ?)", values)
    db.execute("COMMIT")
db.close()
"""


class Workload:
    def __init__(self, name, what, run, prepare=":", before=":", after=":", needs=()):
        self.name, self.what, self.run = name, what, run
        self.prepare, self.before, self.after, self.needs = prepare, before, after, needs

    def missing(self):
        """Programs that are not there."""
        import shutil
        return [n for n in self.needs if not (os.path.exists(n) if n[0] == "/" else shutil.which(n, path=host.PATH))]


def all_workloads(scale):
    """scale 1: about 2 s each on a small machine; less for a quick look."""

    def times(n):
        return max(1, int(n * scale))

    return [
        Workload("untar", "tar x of 10,000 headers and Python modules, %d times" % times(4),
                 "for i in $(seq %d); do mkdir $i; tar xf \"$TREE_TAR\" -C $i; done" % times(4)),
        Workload("git", "git add, commit, checkout of 2,500 files in a fresh tree",
                 "git add -A && git commit -qm all && rm -rf usr && git checkout -q -f HEAD -- .",
                 prepare="tar xf \"$GIT_TAR\"; git init -q .; git config gc.auto 0; "
                         "git config user.name b; git config user.email b@b",
                 needs=("git",)),
        Workload("compile", "two gcc at a time over Portcullis' own C files",
                 "find src/core src/base src/preserve -name '*.c' %s| xargs -P2 -I{} sh -c "
                 "'gcc -D_GNU_SOURCE -O1 -MD -Isrc -c {} -o o/$(echo {} | tr / _).o'" %
                 ("" if scale >= 1 else "| head -20 "),
                 prepare="cp -r \"$SOURCE_TREE/src\" . && mkdir o", needs=("gcc",)),
        Workload("sqlite", "SQLite: %d transactions with a rollback journal, %d in WAL mode, 20 rows each" %
                 (times(1500), times(3000)),
                 "python3 sqlite.py delete %d 20; python3 sqlite.py wal %d 20" % (times(1500), times(3000)),
                 prepare="cat > sqlite.py <<'EOF'\n%s\nEOF" % SQLITE),
        Workload("pgbench", "PostgreSQL: %d transactions of pgbench (TPC-B), 4 clients" % (times(1000) * 4),
                 "%s %s/pgbench -n -c 4 -j 2 -t %d postgres >/dev/null 2>&1" % (AS_PG, PG, times(1000)),
                 prepare="mkdir pg \"$SCRATCH/pg\"; chown postgres pg \"$SCRATCH/pg\"; "
                         "%s %s/initdb -A trust -D pg >/dev/null 2>&1; %s && "
                         "%s %s/pgbench -i -q -s 5 postgres >/dev/null 2>&1; %s" %
                         (AS_PG, PG, pg_start(), AS_PG, PG, pg_stop()),
                 before=pg_start(), after=pg_stop(), needs=(PG + "/initdb", PG + "/pgbench")),
        Workload("dbench", "dbench, 2 clients, %d s: the load of a file server" % (times(4) + 1),
                 "dbench -D . -t %d 2 | sed -n 's/^Throughput \\([0-9.]*\\).*/work-per-second \\1/p'" % (times(4) + 1),
                 needs=("dbench",)),
        Workload("fio", "fio: %d MiB of random 4 KiB writes into a file of 256 MiB, buffered, fsync every 1,000" %
                 times(768),
                 "fio --name=w --filename=f --rw=randwrite --bs=4k --size=256m --io_size=%dm --fsync=1000 --randseed=1 "
                 "--output-format=terse >/dev/null" % times(768), prepare="head -c 256M /dev/urandom > f",
                 needs=("fio",)),
        Workload("grep", "grep -r of 10,000 files in the page cache, %d times" % times(8),
                 "for i in $(seq %d); do grep -r no-such-text-anywhere t || :; done" % times(8),
                 prepare="mkdir t; tar xf \"$TREE_TAR\" -C t", before="grep -r no-such-text-anywhere t || :"),
    ]


def pg_start():
    options = "-c listen_addresses= -k $SCRATCH/pg"
    return "%s %s/pg_ctl -s -w -D pg -l \"$SCRATCH/pg/log\" -o \"%s\" start" % (AS_PG, PG, options)


def pg_stop():
    return "%s %s/pg_ctl -s -w -m fast -D pg stop" % (AS_PG, PG)


def make_archives(folder):
    """The trees to unpack: real files that every Debian with a compiler has."""
    import subprocess
    made = {}
    for key, words in (("TREE_TAR", "/usr/include /usr/lib/python3.11 /usr/lib/python3.12 /usr/lib/python3.13"),
                       ("GIT_TAR", "/usr/include/linux /usr/include/x86_64-linux-gnu /usr/include/c++")):
        made[key] = os.path.join(folder, key)
        there = [w.lstrip("/") for w in words.split() if os.path.exists(w)]
        subprocess.run(["tar", "cf", made[key], "-C", "/", "--exclude=__pycache__", *there], check=True, timeout=120)
    return made
