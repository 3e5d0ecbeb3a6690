#!/usr/bin/env python3
"""Whose opens wait on ext4 (on-open): of files that rest on a hard link alone, one by one, or of all when these are many."""
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import files  # noqa: E402
import rig  # noqa: E402
from rig import check  # noqa: E402

EVERY = "every open"
# More than is copied at once when it is new.
LARGE = 3 << 20
CALM = "[action]\ngate = no\n"


def large(bench, name, seed):
    return files.write(os.path.join(os.fsencode(bench.tree), name), (b"page %d of the great ledger\n" % seed) * (LARGE // 28))


def read(path):
    with open(path, "rb") as file:
        return file.read()


def asked(guard):
    return guard.status()["events"]["permission"]


def overwrite(path):
    """In place, by its name or another one."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    os.pwrite(fd, os.urandom(1 << 20), 4096)
    os.close(fd)


def check_kept(bench, guard, before, paths):
    """What was overwritten has its old content in the vault."""
    guard.wait_quiet()
    now = bench.look()
    changed = [p for p, row in before.items() if row.get("sha256") != now.get(p, {}).get("sha256")]
    check(len(changed) == len(paths), "%d files were overwritten, not %d", len(changed), len(paths))
    rig.restore_rest(bench, guard, before)
    bench.check_same(before, "restore")


@rig.scenario("ext4")
def small_files_are_not_asked_about(bench):
    """Once they are copied, nobody waits to open them, and they have the one name that their owner made."""
    paths = [files.write(os.path.join(os.fsencode(bench.tree), b"%d" % n), b"a line of %d\n" % n * 400) for n in range(60)]
    big = large(bench, b"big", 1)
    for path in paths + [big]:
        os.utime(path, (1500000000, 1500000000))
    before = bench.look()
    guard = bench.start_guard("[preserve]\nspace-budget = 50%\n[action]\ngate = no\n")
    rig.eventually("all are copied", lambda: guard.status()["events"]["links_dropped"] == 61, 30)
    guard.wait_asks()
    guard.wait_quiet()
    first = asked(guard)
    for _ in range(3):
        for path in paths + [big]:
            read(path)
    check(asked(guard) == first, "%d questions for files that have a copy", asked(guard) - first)
    names = {os.stat(path).st_nlink for path in paths + [big]}
    check(names == {1}, "the vault still has links: %s", names)
    captures = guard.status()["events"]["captures"]
    guard.stop()
    guard = bench.start_guard(CALM)
    guard.wait_quiet()
    again = guard.status()["events"]["captures"]
    check(again < 20, "after a restart %d files were preserved anew, %d at first", again, captures)
    for path in paths[:10] + [big]:
        overwrite(path)
    check_kept(bench, guard, before, paths[:10] + [big])


@rig.scenario("ext4", seconds=90)
def who_reads_sees_one_ctime(bench):
    """tar calls a file changed whose ctime changes while it reads: the vault's link of a file just opened goes later."""
    paths = [files.write(os.path.join(os.fsencode(bench.tree), b"%d" % n), b"a line of %d\n" % n * 400) for n in range(60)]
    for path in paths:
        os.utime(path, (1500000000, 1500000000))
    guard = bench.start_guard("[preserve]\nspace-budget = 50%\n" + CALM)
    reading = [open(path, "rb") for path in paths]
    first = [os.fstat(file.fileno()).st_ctime_ns for file in reading]
    rig.eventually("all are copied", lambda: guard.status()["events"]["copied_ahead"] == 60, 30)
    time.sleep(4)  # twice what it takes until links go
    changed = sum(os.fstat(file.fileno()).st_ctime_ns != then for file, then in zip(reading, first))
    check(changed == 0, "%d of 60 files changed while they were read", changed)
    for file in reading:
        file.close()
    rig.eventually("their links go", lambda: guard.status()["events"]["links_dropped"] == 60, 40)


@rig.scenario("ext4")
def only_links_are_asked_about(bench):
    """A new file is nobody's question; one that rests on a link is, from the moment it does, by whatever name."""
    old = large(bench, b"old", 1)
    guard = bench.start_guard(CALM)
    guard.wait_asks()
    first = asked(guard)
    for n in range(50):
        files.write(os.path.join(os.fsencode(bench.tree), b"new %d" % n), b"a line of %d\n" % n * 400)
    check(asked(guard) == first, "%d questions for new files", asked(guard) - first)
    young, moved, linked = large(bench, b"young", 2), large(bench, b"moved", 3), large(bench, b"linked", 4)
    rig.eventually("they rest on links", lambda: {os.stat(p).st_nlink for p in (young, moved, linked)} == {2})
    guard.wait_quiet()
    outside = os.path.join(os.fsencode(bench.outside), b"another name")
    os.link(linked, outside)
    os.mkdir(os.path.join(os.fsencode(bench.tree), b"folder"))
    os.rename(moved, os.path.join(os.fsencode(bench.tree), b"folder/moved"))
    moved = os.path.join(os.fsencode(bench.tree), b"folder/moved")
    guard.wait_quiet()
    before = bench.look()
    for path in (old, young, moved, outside):
        overwrite(path)
    check(guard.status()["events"]["copied"] >= 4, "no copies: %s", guard.status()["events"])
    check_kept(bench, guard, before, [old, young, moved, linked])


@rig.scenario("ext4", seconds=120)
def too_many_to_mark(bench):
    """Beyond ask-files everybody waits again, and nothing is lost on the way there and back."""
    settings = CALM + "[preserve]\ncopy-ahead = 0\nask-files = 40\n"
    few = [large(bench, b"few %d" % n, n) for n in range(10)]
    guard = bench.start_guard(settings)
    guard.wait_asks()
    many = [files.write(os.path.join(os.fsencode(bench.tree), b"many %d" % n), b"a line of %d\n" % n * 400) for n in range(60)]
    guard.wait_quiet()
    guard.wait_asks(EVERY)
    check("more files are kept by a link than ask-files" in guard.warnings(), "status does not say why: %s", guard.warnings())
    before = bench.look()
    for path in few + many:
        overwrite(path)
    check_kept(bench, guard, before, few + many)
    for path in many:
        os.unlink(path)
    guard.wait_quiet()
    guard.stop()
    guard = bench.start_guard(settings)
    guard.wait_asks()
    guard.wait_quiet()
    before = bench.look()
    for path in few:
        overwrite(path)
    check_kept(bench, guard, before, few)


@rig.scenario("ext4")
def restored_and_overwritten_at_once(bench):
    """What comes back by the link that kept it rests on it again: its next opener is asked before any walk has seen it."""
    for n in range(5000):  # a walk takes its time
        files.write(os.path.join(os.fsencode(bench.tree), b"empty %d" % n), b"")
    paths = [large(bench, b"%d" % n, n) for n in range(4)]
    guard = bench.start_guard(CALM)
    guard.wait_asks()
    guard.wait_quiet()
    before = bench.look()
    for path in paths:
        os.unlink(path)
    guard.wait_quiet()
    guard.stop()
    guard = bench.start_guard(CALM)
    guard.wait_asks()
    for path in paths:
        status, text = guard.command("restore", os.fsdecode(path))
        overwrite(path)
        check(status == 0, "restore: status %d: %s", status, text[-600:])
    check_kept(bench, guard, before, paths)


@rig.scenario("ext4")
def a_link_that_is_gone(bench):
    """A power failure can leave an index that knows of a link, and a vault without it: the file is no deleted one."""
    paths = [large(bench, b"%d" % n, n) for n in range(3)]
    guard = bench.start_guard(CALM)
    guard.wait_quiet()
    before = bench.look()
    worker = guard.worker()
    for pid in (guard.process.pid, worker):
        os.kill(pid, signal.SIGKILL)
    guard.process.wait(10)
    rig.eventually("the guard is dead", lambda: not rig.host.running([worker]))
    links = [os.path.join(folder, name) for folder, _, names in os.walk(os.path.join(bench.mount, ".portcullis"))
             for name in names if "/links/" in folder + "/"]
    check(len(links) == 3, "the vault has other links: %s", links)
    for link in links:
        os.unlink(link)
    guard = bench.start_guard(CALM)
    guard.wait_asks()
    guard.wait_quiet()
    check({os.stat(path).st_nlink for path in paths} == {2}, "no new links: %s", [os.stat(p).st_nlink for p in paths])
    overwrite(paths[0])
    os.unlink(paths[1])
    guard.wait_quiet()
    rig.restore_rest(bench, guard, before)
    bench.check_same(before, "restore")


@rig.scenario("ext4", seconds=90)
def large_files_are_not_copied_for_everyone(bench):
    """A table that is opened, written and closed by one program after another is copied now and then, not each time."""
    path = files.write(os.path.join(os.fsencode(bench.tree), b"table"), b"a row of many\n" * (10 << 20))
    guard = bench.start_guard(CALM + "[preserve]\nspace-budget = 50%\n")
    guard.wait_quiet()
    guard.wait_asks()
    for n in range(12):
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        os.pwrite(fd, b"row %d" % n, 1 << 20)
        os.close(fd)
        time.sleep(0.4)  # long enough for a capture, and a link, if there were no pause
    copied = guard.status()["events"]["copied"]
    check(1 <= copied <= 4, "copied %d times for 12 openers", copied)


# Opens a file for writing, all at once, and each writes a line of its own.
MANY_OPENERS = """
import os, sys
start, go = os.pipe()
for n in range(8):
    if not os.fork():
        os.close(go)
        os.read(start, 1)
        fd = os.open(sys.argv[1], os.O_RDWR)
        os.pwrite(fd, b"opener %d" % n, n << 20)
        os._exit(0)
os.close(go)
for n in range(8):
    assert os.waitpid(-1, 0)[1] == 0
"""


@rig.scenario("ext4", seconds=90)
def one_copy_for_all_who_wait(bench):
    """Several who open a large file for writing at the same time wait for one copy, and none writes before it is made."""
    path = files.write(os.path.join(os.fsencode(bench.tree), b"table"), b"a row of many\n" * (10 << 20))
    before = bench.look()
    guard = bench.start_guard(CALM + "[preserve]\nspace-budget = 80%\n")
    guard.wait_quiet()
    guard.wait_asks()
    subprocess.run([sys.executable, "-c", MANY_OPENERS, path], check=True, timeout=60)
    copied = guard.status()["events"]["copied"]
    check(copied == 1, "copied %d times for 8 openers", copied)
    check_kept(bench, guard, before, [path])


@rig.scenario("ext4")
def opened_and_closed_as_it_was(bench):
    """A file that is opened for writing again and again, and not written, is copied once; what is written at last is not lost."""
    path = files.write(os.path.join(os.fsencode(bench.tree), b"catalogue"), b"a table, an index\n" * 4000)
    before = bench.look()
    guard = bench.start_guard(CALM + "[preserve]\ncopy-ahead = 0\n")
    guard.wait_quiet()
    guard.wait_asks()
    for _ in range(6):
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        guard.wait_quiet()
    copied = guard.status()["events"]["copied"]
    check(copied == 1, "copied %d times for one content", copied)
    check(os.stat(path).st_nlink == 1, "it has a link again")
    was = os.stat(path)
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    os.pwrite(fd, b"A", 100)
    os.utime(fd, ns=(was.st_atime_ns, was.st_mtime_ns))  # so that only the content tells
    os.close(fd)
    check_kept(bench, guard, before, [path])


@rig.scenario("ext4")
def everybody_is_asked_when_told_to(bench):
    """ask-files = 0: as on kernels and file systems where it would not do."""
    path = large(bench, b"old", 1)
    before = bench.look()
    guard = bench.start_guard(CALM + "[preserve]\nask-files = 0\n")
    guard.wait_quiet()
    guard.wait_asks(EVERY)
    first = asked(guard)
    for n in range(20):
        files.write(os.path.join(os.fsencode(bench.outside), b"new %d" % n), b"a line\n")
    check(asked(guard) >= first + 20, "%d questions for 20 opens", asked(guard) - first)
    overwrite(path)
    check_kept(bench, guard, before, [path])


@rig.scenario("ext4")
def compressed_after_it_was_held(bench):
    """A file that has a copy from the start, because somebody had it open, and our link: gzip sees one name all the same."""
    path = files.write(os.path.join(os.fsencode(bench.tree), b"log"), b"one more line\n" * 4000)
    with open(path, "r+b"):
        guard = bench.start_guard(CALM)
        guard.wait_asks()
        check(guard.status()["events"]["held_at_start"] == 1, "it was not copied: %s", guard.status()["events"])
    check(os.stat(path).st_nlink == 2, "there is no link of ours: the test shows nothing")
    subprocess.run(["gzip", path], check=True, timeout=20)


def brought_back(bench, method):
    """All of a folder of every kind of file was copied, and no link of ours is left: destroyed, and brought back."""
    paths = files.make(os.path.join(os.fsencode(bench.tree), b"x"))
    for path in paths:
        os.utime(path, (1500000000, 1500000000))
    small = [p for p in paths if os.path.isfile(p) and not os.path.islink(p) and 0 < os.path.getsize(p) <= 4 << 20]
    before = bench.look()
    guard = bench.start_guard("[preserve]\nspace-budget = 50%\n[judge]\nmin-files = 12\nconvict-score = 50\n" + CALM)
    least = len({os.stat(p).st_ino for p in small})
    rig.eventually("all are copied", lambda: guard.status()["events"]["links_dropped"] >= least, 30)
    guard.wait_quiet()
    guard.wait_asks()
    actor = rig.Actor(bench, method, paths)
    actor.go()
    if not actor.finish_or_freeze(guard):
        guard.wait_quiet()
    damaged = rig.judge.damage(before, bench.look())["damaged"]
    check(damaged >= 10, "the actor destroyed only %d files", damaged)
    how = rig.bring_back(bench, guard, before)
    bench.check_same(before, how, () if how == "rollback" else ("links",))  # one by one, names are files


def register():
    for method in ("write", "mmap", "unlink", "rename-over", "exchange", "ftruncate"):
        def scenario(bench, method=method):
            brought_back(bench, method)
        scenario.__name__ = "copied_then_" + method.replace("-", "_")
        rig.scenario("ext4")(scenario)


register()


@rig.scenario("ext4")
def compressed_with_one_name(bench):
    """Programs that refuse files with several names (logrotate, bzip2) see one where the content was copied."""
    path = files.write(os.path.join(os.fsencode(bench.tree), b"log"), b"one more line\n" * 4000)
    os.utime(path, (1500000000, 1500000000))
    guard = bench.start_guard(CALM)
    rig.eventually("it is copied", lambda: guard.status()["events"]["links_dropped"] == 1)
    subprocess.run(["bzip2", path], check=True, timeout=20)
    check(os.path.exists(path + b".bz2") and not os.path.exists(path), "bzip2 did not compress it")


if __name__ == "__main__":
    raise SystemExit(rig.main(__doc__))
