#!/usr/bin/env python3
"""truncate(2) by name on ext4 (on-open): it opens nothing, and from Linux 6.14 on waits all the same until the file is copied."""
import fcntl
import os
import re
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import files  # noqa: E402
import rig  # noqa: E402
from rig import check  # noqa: E402

CALM = "[action]\ngate = no\n[preserve]\ncopy-ahead = 0\n"
EVERY = "[action]\ngate = no\n[preserve]\ncopy-ahead = 0\nask-files = 0\n"
LINE = b"what was written here, line by line\n"
# More reads than one file, and all together, are asked about in a second; the rest that follows (gate_cuts.c).
MANY, MANY_FILES = 2000, 100
RESTED_S = 8


def held_here(function):
    """A scenario for kernels that can let truncate(2) wait."""
    def run(bench):
        release = tuple(int(n) for n in re.match(r"(\d+)\.(\d+)", os.uname().release).groups())
        if release < (6, 14):
            raise rig.Skip("Linux %d.%d: truncate(2) cannot be held before 6.14" % release)
        return function(bench)
    run.__name__ = function.__name__
    return run


def make(bench, count, size):
    return [files.write(os.path.join(os.fsencode(bench.tree), b"file %d" % n), b"%d: %s" % (n, LINE) * (size // len(LINE)))
            for n in range(count)]


def check_kept(bench, guard, before, changed):
    guard.wait_quiet()
    now = bench.look()
    count = sum(row.get("sha256") != now.get(p, {}).get("sha256") for p, row in before.items())
    check(count == changed, "%d files were changed, not %d", count, changed)
    check("cut by truncate(2)" not in guard.warnings(), "status says that content was lost: %s", guard.warnings())
    rig.restore_rest(bench, guard, before)
    bench.check_same(before, "restore")


def asked(guard):
    return guard.status()["events"]["permission"]


@rig.scenario("ext4")
@held_here
def held_from_the_first_moment(bench):
    """The guard says that it guards: what is cut then, to nothing, within a page or at its end, is kept, and so it says."""
    paths = make(bench, 300, 20000)
    before = bench.look()
    guard = bench.start_guard(CALM)
    for n, path in enumerate(paths):
        os.truncate(path, (0, 10, 4096, 9000)[n % 4])
    check("truncate(2)" not in str(guard.folder()["why"]), "the folder's line says that it is lost: %s", guard.folder()["why"])
    check_kept(bench, guard, before, 300)


@rig.scenario("ext4")
@held_here
def read_first_as_an_attacker_does(bench):
    """Read in pieces, cut by name, written anew: large files and small ones, by one program, which is frozen."""
    paths = make(bench, 30, 30000) + [files.write(os.path.join(os.fsencode(bench.tree), b"large"), LINE * (6 << 20 >> 5))]
    before = bench.look()
    guard = bench.start_guard("[preserve]\ncopy-ahead = 0\n")
    program = ("import os, sys\nfor name in sys.argv[1:]:\n"
               "    with open(name, 'rb', 0) as source:\n        size = 0\n"
               "        while piece := source.read(65536):\n            size += len(piece)\n"
               "    os.truncate(name, 0)\n    with open(name, 'r+b') as out:\n        out.write(os.urandom(size))\n")
    actor = subprocess.Popen([sys.executable, "-c", program, paths[-1]] + paths[:-1], start_new_session=True)
    incident = guard.wait_incident()
    guard.command("end", str(incident["id"]))
    actor.wait(20)
    guard.wait_quiet()
    check("cut by truncate(2)" not in guard.warnings(), "status says that content was lost: %s", guard.warnings())
    status, text = guard.command("rollback", str(incident["id"]))
    check(status == 0, "rollback: status %d: %s", status, text[-600:])
    bench.check_same(before, "rollback", ("links",))
    return "%d files were damaged" % incident["damaged"]


@rig.scenario("ext4")
@held_here
def cut_and_grown_again(bench):
    """To nothing and back, with the old time; of a file kept by a link, and of one kept by its length alone."""
    linked, length = make(bench, 2, 1 << 21)
    before = bench.look()
    guard = bench.start_guard(CALM)
    open(length, "ab").close()
    guard.wait_quiet()
    check(guard.json("history", os.fsdecode(length))[0]["how"] == "length", "not kept by its length")
    for path in (linked, length):
        was = os.stat(path)
        os.truncate(path, 0)
        os.truncate(path, was.st_size)
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    check_kept(bench, guard, before, 2)


@rig.scenario("ext4")
@held_here
def by_many_at_once(bench):
    """Sixteen threads cut different files, and four of them the same large one."""
    paths = make(bench, 160, 8000)
    large = files.write(os.path.join(os.fsencode(bench.tree), b"large"), LINE * (1 << 20))
    before = bench.look()
    guard = bench.start_guard(CALM)

    def cut(at):
        for path in paths[at::16] + ([large] if at < 4 else []):
            os.truncate(path, 5)
    threads = [threading.Thread(target=cut, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    check_kept(bench, guard, before, 161)


@rig.scenario("ext4")
@held_here
def who_reads_all_the_time_is_left_alone(bench):
    """Reads of a file that rests on a link are questions; of many there are few, and later the file is asked about again."""
    path = make(bench, 1, 1 << 20)[0]
    before = bench.look()
    guard = bench.start_guard(CALM)
    guard.wait_quiet()
    first = asked(guard)
    with open(path, "rb", 0) as source:
        for n in range(MANY):
            os.pread(source.fileno(), 512, n * 100)
        seen = asked(guard) - first
        check(10 < seen < MANY / 2, "%d questions for %d reads", seen, MANY)
        time.sleep(RESTED_S)
        os.truncate(path, 100)
    check_kept(bench, guard, before, 1)
    return "%d questions for %d reads" % (seen, MANY)


@rig.scenario("ext4")
@held_here
def many_files_read_all_the_time(bench):
    """None of them often enough to be left alone by itself: together they are."""
    paths = make(bench, MANY_FILES, 4000)
    guard = bench.start_guard(CALM)
    guard.wait_quiet()
    reading = [os.open(path, os.O_RDONLY) for path in paths]
    first = asked(guard)
    for n in range(200):
        for fd in reading:
            os.pread(fd, 16, n)
    seen = asked(guard) - first
    check(seen < 200 * MANY_FILES / 4, "%d questions for %d reads", seen, 200 * MANY_FILES)
    return "%d questions for %d reads" % (seen, 200 * MANY_FILES)


@rig.scenario("ext4")
@held_here
def evidence_ends_the_rest(bench):
    """Who reads a file often to have it left alone, and cuts it when somebody was frozen, finds it asked about again."""
    victims = make(bench, 40, 8000)
    bait = [files.write(os.path.join(os.fsencode(bench.tree), b"bait %d" % n), LINE * 300) for n in range(30)]
    before = bench.look()
    guard = bench.start_guard("[preserve]\ncopy-ahead = 0\n")
    guard.wait_quiet()
    for path in victims:
        with open(path, "rb", 0) as source:
            for n in range(300):
                os.pread(source.fileno(), 16, n)
    actor = rig.Actor(bench, "write", bait)
    actor.go()
    incident = guard.wait_incident()
    for path in victims:
        os.truncate(path, 0)
    guard.command("end", str(incident["id"]))
    actor.kill()
    guard.wait_quiet()
    check("cut by truncate(2)" not in guard.warnings(), "status says that content was lost: %s", guard.warnings())
    for one in guard.incidents():
        guard.command("rollback", str(one["id"]))
    rig.restore_rest(bench, guard, before)
    bench.check_same(before, "rollback and restore", ("links",))


@rig.scenario("ext4", seconds=90)
@held_here
def held_after_a_restart_with_somebody_frozen(bench):
    """An incident nobody has decided on may last for days: files are marked all the same."""
    victims = make(bench, 20, 8000)
    bait = [files.write(os.path.join(os.fsencode(bench.tree), b"bait %d" % n), LINE * 300) for n in range(30)]
    guard = bench.start_guard("[preserve]\ncopy-ahead = 0\n")
    guard.wait_quiet()
    actor = rig.Actor(bench, "write", bait)
    actor.go()
    guard.wait_incident()
    worker = guard.worker()
    os.kill(worker, signal.SIGKILL)
    guard.wait_worker_other_than(worker)
    guard.wait_asks()
    check([i["state"] for i in guard.incidents()] == ["frozen"], "it is not frozen any more: %s", guard.incidents())
    for path in victims:
        os.truncate(path, 0)
    guard.wait_quiet()
    check("cut by truncate(2)" not in guard.warnings(), "status says that content was lost: %s", guard.warnings())
    actor.kill()


@rig.scenario("ext4")
@held_here
def who_writes_is_asked_once(bench):
    """Whose file was copied when he opened it for writing reads and writes it without further questions."""
    path = make(bench, 1, 1 << 20)[0]
    guard = bench.start_guard(CALM)
    guard.wait_quiet()
    with open(path, "r+b", 0) as table:
        first = asked(guard)
        for n in range(100):
            os.pwrite(table.fileno(), b"x" * 100, n * 100)
            os.pread(table.fileno(), 100, n * 5000)
        seen = asked(guard) - first
    check(seen == 0, "%d questions for 200 reads and writes", seen)


@rig.scenario("ext4")
def a_lease_stops_nobody(bench):
    """The kernel waits for who holds a lease on a file before it tells us of an open: the guard lives, others go on."""
    leased, other = make(bench, 2, 5000)
    guard = bench.start_guard(CALM)
    guard.wait_quiet()
    worker = guard.worker()
    signal.signal(signal.SIGIO, signal.SIG_IGN)  # it is asked to give it up, and does not
    fd = os.open(leased, os.O_RDONLY)
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    opener = subprocess.Popen(["cat", leased], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    for _ in range(5):
        with open(other, "rb") as source:
            check(source.read(2) == b"1:", "read something else")
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    os.close(fd)
    opener.wait(20)
    time.sleep(1)
    check(guard.worker() == worker, "the worker was replaced")


@rig.scenario("ext4")
@held_here
def reading_copies_nothing(bench):
    """Who reads, maps, sends or copies a file does not have it copied into the vault."""
    paths = make(bench, 5, 100000)
    guard = bench.start_guard(CALM)
    guard.wait_quiet()
    words = ["dd if=%s of=/dev/null bs=512 status=none", "cp %s copy", "sha256sum %s", "grep -c zzz %s", "wc -c < %s"]
    for command, path in zip(words, paths):
        subprocess.run(command % ("'%s'" % os.fsdecode(path)), shell=True, cwd=bench.scratch, stdout=subprocess.DEVNULL, timeout=20)
    with open(paths[0], "rb") as source, open(os.path.join(bench.outside, "sent"), "wb") as out:
        os.sendfile(out.fileno(), source.fileno(), 0, 4000)
        os.copy_file_range(source.fileno(), out.fileno(), 4000)
    copied = guard.status()["events"]["copied"]
    check(copied == 0, "%d copies for readers", copied)


@rig.scenario("ext4")
@held_here
def a_running_program_is_not_written(bench):
    """Under such a mark the kernel would let it: programs are asked about by their opens alone."""
    program = os.path.join(bench.tree, "serve")
    subprocess.run(["cp", "/bin/sleep", program], check=True, timeout=20)
    guard = bench.start_guard(CALM)
    guard.wait_quiet()
    server = subprocess.Popen([program, "60"], start_new_session=True)
    rig.eventually("it runs", lambda: os.readlink("/proc/%d/exe" % server.pid) == program)
    try:
        os.close(os.open(program, os.O_WRONLY))
        why = "opened for writing"
    except OSError as e:
        why = os.strerror(e.errno)
    server.kill()
    server.wait(10)
    check(why == "Text file busy", "a running program: %s", why)


@rig.scenario("ext4")
@held_here
def made_a_program_and_started(bench):
    """chmod +x and start, in one go: the mark was made when it was no program by its rights."""
    guard = bench.start_guard(CALM)
    guard.wait_asks()
    program = os.path.join(bench.tree, "app")
    with open("/bin/sleep", "rb") as source:
        files.write(os.fsencode(program), source.read() + b"\0" * (3 << 20))
    rig.eventually("it rests on a link", lambda: os.stat(program).st_nlink == 2)
    os.chmod(program, 0o755)
    server = subprocess.Popen([program, "60"], start_new_session=True)
    rig.eventually("it runs", lambda: os.readlink("/proc/%d/exe" % server.pid) == program)
    try:
        os.close(os.open(program, os.O_WRONLY))
        why = "opened for writing"
    except OSError as e:
        why = os.strerror(e.errno)
    server.kill()
    server.wait(10)
    check(why == "Text file busy", "a running program: %s", why)


@rig.scenario("ext4")
@held_here
def nobody_waits_for_a_stopped_guard(bench):
    """The guard is stopped, and then killed, while somebody cuts files: each cut returns within a second or so."""
    paths = make(bench, 40, 8000)
    guard = bench.start_guard(CALM)
    for number, some in ((signal.SIGSTOP, paths[:20]), (signal.SIGKILL, paths[20:])):
        worker = guard.worker()
        os.kill(worker, number)
        done = []

        def cut(some=some, done=done):
            for path in some:
                began = time.monotonic()
                os.truncate(path, 5)
                done.append(time.monotonic() - began)
        thread = threading.Thread(target=cut)
        thread.start()
        rig.eventually("all are cut", lambda done=done, some=some: len(done) == len(some), 20)
        thread.join(10)
        check(max(done) < 5, "one took %.1f s", max(done))  # 0.8 s on a quiet machine
        guard.wait_worker_other_than(worker)


@rig.scenario("ext4")
def told_where_it_is_not_held(bench):
    """Where every open is asked about, it is not held: the folder's line says so before it happens, and it is counted."""
    paths = make(bench, 3, 5000)
    guard = bench.start_guard(EVERY)
    guard.wait_quiet()
    check("truncate(2)" in str(guard.folder()["why"]), "the folder's line does not say it: %s", guard.folder()["why"])
    for path in paths:
        os.truncate(path, 10)
    rig.eventually("status counts them", lambda: "3 times a file was cut by truncate(2)" in guard.warnings())


@rig.scenario("ext4")
@held_here
def told_of_a_file_system_that_cannot(bench):
    """tmpfs has no such events on any kernel: a newer one is no help, and the folder's line does not say so."""
    folder = os.path.join(bench.scratch, "memory")
    os.mkdir(folder)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "memory", folder], check=True, timeout=10)
    try:
        files.write(os.path.join(os.fsencode(folder), b"doc"), LINE * 100)
        guard = bench.start_guard(CALM, protect=[folder])
        why = str(guard.folder(folder)["why"])
        guard.stop()
    finally:
        subprocess.run(["umount", folder], check=True, timeout=10)
    check("truncate(2)" in why and "this file system cannot" in why and "6.14" not in why, "the folder's line: %s", why)


if __name__ == "__main__":
    raise SystemExit(rig.main(__doc__))
