#!/usr/bin/python3
"""Whatever way a file is destroyed, it comes back: every write path, every kind of file, on every file system.

In most of these the guard convicts late, so that the actor destroys much before it is frozen, and all must come back.
"""
import fcntl
import mmap
import os
import subprocess
import sys
import time

import files
import rig
from rig import check

# The mechanism is the one of xfs: everyday tests take a sample on btrfs, --long all.
ON_BTRFS = ("write", "copy-file-range", "truncate", "rename-over", "outside-link", "held-mapping")
# Convicted only when this many are destroyed: a strict test of what is preserved, and still a real freeze.
LATE = "[judge]\nmin-files = 12\nconvict-score = 50\n[action]\ngate = no\n"
PATHS = ("write", "pwritev2", "mmap", "mmap-after-close", "direct", "copy-file-range", "sendfile", "splice",
         "truncate", "ftruncate", "o-trunc", "replace", "unlink", "rename-over", "exchange", "punch",
         "rename-and-write", "outside-link")
# On ext4 see test_cuts.py: not every kernel can hold it.
NOT_ON_OPEN = ("truncate",)


def one_path(bench, method, before_guard=False):
    """Destroys a folder of every kind of file by one path and brings it back."""
    paths = files.make(os.path.join(os.fsencode(bench.tree), method.encode()))
    before, sparse = bench.look(), files.holes(paths[10])
    actor = rig.Actor(bench, method, paths) if before_guard else None
    guard = bench.start_guard(LATE)
    guard.wait_quiet()
    if bench.fs == "ext4":
        guard.wait_asks()
    actor = actor or rig.Actor(bench, method, paths)
    actor.go()
    frozen = actor.finish_or_freeze(guard)
    if not frozen:
        guard.wait_quiet()
    damaged = judge_damage(before, bench.look())
    check(damaged >= 10, "the actor destroyed only %d files", damaged)
    how = rig.bring_back(bench, guard, before)
    # One file at a time, nobody can know that two names were one file.
    times = bench.check_same(before, how, () if how == "rollback" else ("links",))
    room = files.holes(paths[10])
    check(room <= sparse + (256 << 10), "holes were filled: %d, then %d", sparse, room)
    return "%s of %d files%s; %d folder times differ" % (how, damaged, ", frozen" if frozen else "", times)


def judge_damage(before, now):
    return rig.judge.damage(before, now)["damaged"]


def register_paths():
    for method in PATHS:
        run = lambda bench, method=method: one_path(bench, method)  # noqa: E731
        run.__name__ = method
        rig.scenario("xfs")(run)
        rig.scenario("btrfs", long=method not in ON_BTRFS)(run)
        if method not in NOT_ON_OPEN:
            rig.scenario("ext4")(run)
    for method in ("held-write", "held-mmap", "held-mapping"):
        run = lambda bench, method=method: one_path(bench, method, True)  # noqa: E731
        run.__name__ = method
        rig.scenario("xfs", "ext4")(run)
        rig.scenario("btrfs", long=method not in ON_BTRFS)(run)


register_paths()


@rig.scenario("xfs", "ext4")
def linked_name_replaced(bench):
    """Both names are one file again after one of them was renamed over."""
    folder = os.fsencode(bench.tree) + b"/x"
    paths = files.make(folder)
    before = bench.look()
    guard = bench.start_guard(LATE)
    guard.wait_quiet()
    actor = rig.Actor(bench, "rename-over", [folder + b"/deep/linked"] + [p for p in paths if b"linked" not in p])
    actor.go()
    if not actor.finish_or_freeze(guard):
        guard.wait_quiet()
    bench.check_same(before, rig.bring_back(bench, guard, before))

@rig.scenario("xfs", "ext4", seconds=60)
def changed_and_deleted_in_one_event(bench):
    """Overwritten and unlinked by one, while another name is left: the kernel tells of both in one event. Both are undone."""
    tree = os.fsencode(bench.tree)
    names = [tree + b"/%d" % n for n in range(100)]
    for n, name in enumerate(names):
        files.write(name, b"line %d of many\n" % n * 500)
        os.link(name, name + b".other")
    before = bench.look()
    guard = bench.start_guard(LATE)
    guard.wait_quiet()
    worker = guard.worker()
    program = ("import os, sys\nfor name in sys.argv[1:]:\n    fd = os.open(name, os.O_WRONLY)\n"
               "    os.write(fd, os.urandom(8000))\n    os.unlink(name)\n    os.close(fd)\n")
    words = [sys.executable, "-c", program] + [os.fsdecode(name) for name in names]
    actor = subprocess.Popen(words, env=bench.environment(), cwd=bench.scratch, start_new_session=True)
    incident = guard.wait_incident()
    guard.command("end", str(incident["id"]))
    actor.wait(20)
    guard.wait_quiet()
    status, text = guard.command("rollback", str(incident["id"]))
    check(status == 0, "rollback: status %d: %s", status, text[-600:])
    check(guard.worker() == worker, "the worker was replaced")
    bench.check_same(before, "rollback", ("links",))


@rig.scenario("ext4", seconds=90)
def copied_ahead(bench):
    """On ext4, what was copied in quiet times comes back after truncate(2), and after writes while no guard ran."""
    tree = os.fsencode(bench.tree)
    first, second = files.make(tree + b"/first"), files.make(tree + b"/second")
    before = bench.look()
    wanted = [p for p in first + second if os.path.isfile(p) and not os.path.islink(p) and 0 < os.path.getsize(p) <= 4 << 20]
    least = len({os.stat(p).st_ino for p in wanted})
    guard = bench.start_guard("[preserve]\ncopy-ahead = 1s\nspace-budget = 50%\n")
    guard.wait_quiet()
    ahead = lambda: guard.json("status")["events"]["copied_ahead"]  # noqa: E731
    rig.eventually("all small files are copied ahead", lambda: ahead() >= least, 30)
    done = ahead()
    for path in wanted:
        if path.startswith(tree + b"/first"):
            os.truncate(path, 0)
    guard.wait_quiet()
    for incident in guard.incidents():
        guard.command("rollback", str(incident["id"]))
    guard.stop()
    for path in wanted:
        if path.startswith(tree + b"/second"):
            files.write(path, os.urandom(64))
    guard = bench.start_guard()
    guard.wait_quiet()
    rig.restore_rest(bench, guard, before)
    now = bench.look()
    lost = [p for p, row in before.items() if row.get("sha256") != now.get(p, {}).get("sha256")]
    check(not lost, "%d are not back: %s", len(lost), lost[:5])
    return "%d files were copied ahead" % done


@rig.scenario("xfs", "ext4", "btrfs")
def new_things(bench):
    """New files, new folders and trees moved in are covered once they are closed."""
    guard = bench.start_guard(LATE)
    moved = files.make(os.path.join(os.fsencode(bench.outside), b"moved"), 2)
    tree = os.fsencode(bench.tree)
    os.makedirs(tree + b"/a/b/c")
    made = files.make(tree + b"/a/b/c/made", 3)
    os.rename(os.path.dirname(moved[0]), tree + b"/moved-in")
    moved = [p.replace(os.fsencode(bench.outside) + b"/moved", tree + b"/moved-in") for p in moved]
    guard.wait_quiet()
    before = bench.look()
    for paths in (made, moved):
        actor = rig.Actor(bench, "write", paths)
        actor.go()
        if not actor.finish_or_freeze(guard):
            guard.wait_quiet()
    rig.bring_back(bench, guard, before)
    rig.restore_rest(bench, guard, before)
    bench.check_same(before, "rollback and restore", ("links",))


@rig.scenario("xfs", "ext4", "btrfs", seconds=120, long=True)
def beyond_4_gib(bench):
    """A sparse file of more than 4 GiB, emptied and overwritten."""
    big = os.path.join(os.fsencode(bench.tree), b"sparse")
    size = (4 << 30) + 4097
    os.close(os.open(big, os.O_WRONLY | os.O_CREAT))
    os.truncate(big, size)
    for offset in (0, 4096, 2 << 30, (4 << 30) - 5, size - 100):
        files.write(big, b"known words, again and again. " * 3, offset)
    os.utime(big, ns=(1, 1400000000000000123))
    paths = files.make(os.path.join(os.fsencode(bench.tree), b"others"))
    before, room = bench.look(), files.holes(big)
    guard = bench.start_guard(LATE + "[preserve]\ncopy-limit = 16G\n")
    guard.wait_quiet()
    actor = rig.Actor(bench, "o-trunc", [big] + paths)
    actor.go()
    if not actor.finish_or_freeze(guard, 60):
        guard.wait_quiet()
    bench.check_same(before, rig.bring_back(bench, guard, before))
    check(files.holes(big) <= room + (1 << 20), "holes were filled: %d, then %d", room, files.holes(big))


@rig.scenario("ext4", seconds=90)
def small_copies_beside_a_large_one(bench):
    """While one large file is copied for its opener, hundreds of small ones are copied, destroyed and judged."""
    large = files.write(os.path.join(os.fsencode(bench.tree), b"large"), b"words and words " * (5 << 20))
    small = [files.write(os.path.join(os.fsencode(bench.tree), b"small-%d" % n), b"%d, a line of text\n" % n * 300)
             for n in range(400)]
    os.sync()
    before = bench.look()
    guard = bench.start_guard("[judge]\nmin-files = 300\nconvict-score = 50\n[action]\ngate = no\n")
    guard.wait_quiet()
    slow, fast = rig.Actor(bench, "write", [large]), rig.Actor(bench, "write", small)
    slow.go()
    fast.go()
    check(fast.finish_or_freeze(guard), "not frozen")
    slow.finish()
    guard.wait_quiet()
    rig.bring_back(bench, guard, before)
    now = bench.look()
    lost = [p for p in before if p != "large" and before[p] != now.get(p)]
    check(not lost, "%d small files are not as they were: %s", len(lost), lost[:5])
    rig.restore_rest(bench, guard, before)
    bench.check_same(before, "rollback and restore")


def rewrite(path, content):
    """In place: the inode, and what the guard knows of it, stays."""
    with open(path, "r+b") as out:
        out.write(content)


@rig.scenario("ext4")
def asked_again_when_linked_again(bench):
    """A file that has its copy is opened without a question; once it rests on a link again, it is copied again."""
    path = files.write(os.path.join(os.fsencode(bench.tree), b"ledger"), b"the first year, line by line\n" * 300)
    guard = bench.start_guard("[action]\ngate = no\n")
    for year in range(3):
        guard.wait_quiet()
        first = guard.status()["events"]["permission"]
        for month in range(20):
            rewrite(path, b"year %d, month %02d, line by line\n" % (year, month) * 300)
        asked = guard.status()["events"]["permission"] - first
        check(1 <= asked <= 10, "year %d: %d questions for 20 openings", year, asked)
    guard.wait_quiet()
    before = bench.look()
    rewrite(path, os.urandom(8192))
    guard.wait_quiet()
    status, text = guard.command("restore", os.fsdecode(path))
    check(status == 0, "restore: status %d: %s", status, text[-600:])
    bench.check_same(before, "restore")


@rig.scenario("ext4")
def new_files_keep_their_ctime(bench):
    """What is at work (git in a rebase) takes a changed ctime for somebody else's change, so new files are copied, not linked."""
    guard = bench.start_guard()
    guard.wait_quiet()
    path = files.write(os.path.join(os.fsencode(bench.tree), b"plan"), b"what git wrote a moment ago\n" * 300)
    made = os.stat(path)
    rig.eventually("it is preserved", lambda: guard.folder()["covered"] == 1)
    now = os.stat(path)
    check((now.st_ctime_ns, now.st_nlink) == (made.st_ctime_ns, 1), "the guard touched it: %s, then %s", made, now)
    before = bench.look()
    os.unlink(path)
    guard.wait_quiet()
    status, text = guard.command("restore", os.fsdecode(path))
    check(status == 0, "restore: status %d: %s", status, text[-600:])
    bench.check_same(before, "restore")


@rig.scenario("ext4")
def searched_not_copied(bench):
    """
    grep -r reads with O_NOFOLLOW as gzip does, but minds no second name: its files are not copied for it. (What cannot be
    found out about an open in time counts as writing, and costs a copy: one or two of 50 on an idle machine.)
    """
    for n in range(50):
        files.write(os.path.join(os.fsencode(bench.tree), b"%d" % n), b"a needle, and much hay\n" * 50)
    guard = bench.start_guard()
    guard.wait_quiet()
    subprocess.run(["grep", "-r", "-q", "no such thing", bench.tree], check=False, timeout=30)
    copied = guard.status()["events"]["copied"]
    check(copied <= 5, "copied for a search: %d", copied)
    one = os.path.join(bench.tree, "7")
    subprocess.run(["gzip", one], check=True, timeout=30)
    if not copied:  # then not "7" either, and gzip, which takes no file with two names, had to wait for a copy
        check(guard.status()["events"]["copied"] == 1, "gzip got no file with one name")


@rig.scenario("ext4")
def new_files_are_read_unasked(bench):
    """A file that has its copy, or none to lose yet, and one name: its readers are asked once, its next writer too when it is linked."""
    guard = bench.start_guard()
    guard.wait_quiet()
    for n in range(50):
        files.write(os.path.join(os.fsencode(bench.tree), b"%d" % n), b"a needle, and much hay\n" * 50)
    guard.wait_quiet()
    search = lambda: subprocess.run(["grep", "-r", "-q", "no such thing", bench.tree], check=False, timeout=30)  # noqa: E731
    search()
    guard.wait_quiet()
    first = guard.status()["events"]["permission"]
    search()
    asked = guard.status()["events"]["permission"] - first
    check(asked < 20, "%d questions for the second reading of 50 files", asked)
    subprocess.run(["gzip", os.path.join(bench.tree, "7")], check=True, timeout=30)
    before = bench.look()
    rewrite(os.path.join(os.fsencode(bench.tree), b"8"), os.urandom(1150))
    guard.wait_quiet()
    status, text = guard.command("restore", os.path.join(bench.tree, "8"))
    check(status == 0, "restore: status %d: %s", status, text[-600:])
    bench.check_same(before, "restore")


@rig.scenario("ext4")
def rewritten_after_an_append(bench):
    """An append over append-limit keeps the length alone: who opens the file to write afterwards still waits for a copy."""
    content = b"what was logged, line by line\n" * (2 << 15)
    idle, grown, twice = [files.write(os.path.join(os.fsencode(bench.tree), name), content)
                          for name in (b"idle", b"grown", b"twice")]
    guard = bench.start_guard(LATE)
    guard.wait_quiet()
    for path, times in ((idle, 1), (grown, 1), (twice, 2)):
        for _ in range(times):
            with open(path, "ab") as log:
                log.write(b"" if path == idle else b"and one line more\n")
    copied = guard.status()["events"]["copied"]
    check(copied >= 3, "%d pre-images for appends to three files", copied)
    before = bench.look()
    actor = rig.Actor(bench, "write", [idle, grown, twice])
    actor.go()
    check(not actor.finish_or_freeze(guard), "three files are no attack here")
    guard.wait_quiet()
    check(judge_damage(before, bench.look()) == 3, "not every file was destroyed")
    rig.restore_rest(bench, guard, before)
    bench.check_same(before, "restore")


@rig.scenario("ext4")
def overwritten_unwatched_after_an_append(bench):
    """Only the length was kept, and while no guard ran the file was overwritten: nothing is brought back in its name."""
    path = files.write(os.path.join(os.fsencode(bench.tree), b"log"), b"what was logged, line by line\n" * (2 << 15))
    guard = bench.start_guard()
    guard.wait_quiet()
    with open(path, "ab"):
        pass
    guard.stop()
    files.write(path, os.urandom(3 << 20))
    guard = bench.start_guard()
    guard.wait_quiet()
    status, text = guard.command("restore", os.fsdecode(path))
    check(status != 0 and "was not kept" in text, "restore: status %d: %s", status, text[-600:])


def check_not_kept(guard, path, before):
    """Restore says that it cannot, and puts nothing else there; history says which versions have no content."""
    status, text = guard.command("restore", os.fsdecode(path))
    check(status != 0 and "was not kept" in text, "restore: status %d: %s", status, text[-600:])
    with open(path, "rb") as now:
        check(now.read() != before, "nothing was changed")
    # Preserved in the middle of it, what is there now is preserved again, seconds later.
    versions = lambda: guard.json("history", os.fsdecode(path))  # noqa: E731
    rig.eventually("what is there now is kept", lambda: versions()[0]["kept"], 20)
    check(not any(v["kept"] for v in versions()[1:]), "history says of an old version that it is kept: %s", versions())


@rig.scenario("ext4")
def overwritten_by_who_said_append(bench):
    """O_APPEND taken off again (fcntl): of the file only the length was kept, and nothing is brought back in its name."""
    content = b"what was logged, line by line\n" * (2 << 15)
    path = files.write(os.path.join(os.fsencode(bench.tree), b"log"), content)
    guard = bench.start_guard("[action]\ngate = no\n")
    guard.wait_quiet()
    fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    fcntl.fcntl(fd, fcntl.F_SETFL, 0)
    os.pwrite(fd, os.urandom(len(content) + 5), 0)
    os.close(fd)
    guard.wait_quiet()
    check_not_kept(guard, path, content)


@rig.scenario("ext4")
def mapped_by_who_said_append(bench):
    """A mapping knows no O_APPEND: who can make one waits for a copy."""
    path = files.write(os.path.join(os.fsencode(bench.tree), b"log"), b"what was logged, line by line\n" * (2 << 15))
    before = bench.look()
    guard = bench.start_guard("[action]\ngate = no\n")
    guard.wait_quiet()
    fd = os.open(path, os.O_RDWR | os.O_APPEND)
    with mmap.mmap(fd, 1 << 20) as view:
        view[:] = os.urandom(1 << 20)
    os.close(fd)
    guard.wait_quiet()
    rig.restore_rest(bench, guard, before)
    bench.check_same(before, "restore")


@rig.scenario("ext4")
def cut_and_grown_again(bench):
    """Cut where it is not held (test_cuts.py), grown again, the old time: what rests on a link or a length is lost, and it is said."""
    content = b"what was logged, line by line\n" * (2 << 15)
    linked, length = [files.write(os.path.join(os.fsencode(bench.tree), name), content) for name in (b"linked", b"length")]
    guard = bench.start_guard("[action]\ngate = no\n[preserve]\nask-files = 0\n")
    guard.wait_quiet()
    open(length, "ab").close()
    guard.wait_quiet()
    for path in (linked, length):
        was = os.stat(path)
        os.truncate(path, 0)
        os.truncate(path, len(content))
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
        guard.wait_quiet()
        check_not_kept(guard, path, content)
    guard.stop()
    was = os.stat(linked)
    os.truncate(linked, 0)
    files.write(linked, content)
    os.utime(linked, ns=(was.st_atime_ns, was.st_mtime_ns))
    guard = bench.start_guard("[action]\ngate = no\n")
    guard.wait_quiet()
    check_not_kept(guard, linked, b"\0" * len(content))
    os.unlink(linked)
    guard.wait_quiet()
    status, text = guard.command("restore", os.fsdecode(linked))
    check(status == 0, "restore: status %d: %s", status, text[-600:])
    with open(linked, "rb") as now:
        check(now.read() == content, "the deleted file came back as another")


@rig.scenario("ext4")
def length_alone_is_made_more_of(bench):
    """What was opened for appending, and not appended to, is kept by more than its length again after the next walk."""
    path = files.write(os.path.join(os.fsencode(bench.tree), b"log"), b"what was logged, line by line\n" * (2 << 15))
    guard = bench.start_guard()
    guard.wait_quiet()
    open(path, "ab").close()
    guard.wait_quiet()
    check(guard.json("history", os.fsdecode(path))[0]["how"] == "length", "not kept by its length")
    guard.stop()
    guard = bench.start_guard("[preserve]\ncopy-ahead = 2s\nspace-budget = 50%\n")
    guard.wait_quiet()
    check(guard.json("history", os.fsdecode(path))[0]["how"] in ("link", "copy"), "kept by its length still")


@rig.scenario("ext4")
def deleted_with_a_copy_and_a_link(bench):
    """Kept by a copy or by its length, and by a link besides: its own last name gone, the file is gone, whatever ours says."""
    tree = os.fsencode(bench.tree)
    paths = [files.write(tree + b"/%s" % name, b"what was logged, line by line\n" * (2 << 15))
             for name in (b"copied", b"length", b"under-copied", b"under-length")]
    before = bench.look()
    guard = bench.start_guard("[action]\ngate = no\n")
    guard.wait_quiet()
    for path, mode in zip(paths, ("r+b", "ab") * 2):
        open(path, mode).close()
    guard.wait_quiet()
    hows = [guard.json("history", os.fsdecode(path))[0]["how"] for path in paths]
    check(hows == ["copy", "length"] * 2, "kept by %s", hows)
    covered = guard.folder()["covered"]
    for path in paths[:2]:
        os.unlink(path)
    for path in paths[2:]:
        os.rename(files.write(path + b".new", b"the new file\n"), path)
    guard.wait_quiet()
    check(guard.folder()["covered"] == covered - 2, "%d files were covered, now %d", covered, guard.folder()["covered"])
    superseded = guard.json("status")["volumes"][0]["superseded_bytes"]
    check(superseded >= 4 * 30 * (2 << 15), "what is deleted is not what makes room first: only %d bytes are", superseded)
    for path in paths:
        status, text = guard.command("restore", os.fsdecode(path))
        check(status == 0, "restore: status %d: %s", status, text[-600:])
    bench.check_same(before, "restore")


@rig.scenario("ext4")
def compressed_with_a_copy(bench):
    """gzip takes no file with two names: our link goes before it opens, also when the file has its copy already."""
    path = files.write(os.path.join(os.fsencode(bench.tree), b"copied"), b"a needle, and much hay\n" * 50)
    before = bench.look()
    guard = bench.start_guard()
    guard.wait_quiet()
    open(path, "r+b").close()
    guard.wait_quiet()
    versions = guard.json("history", os.fsdecode(path))
    check(versions[0]["how"] == "copy", "it has no copy: %s; %s", versions, guard.status()["events"])
    done = subprocess.run(["gzip", os.fsdecode(path)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=30)
    check(done.returncode == 0, "gzip: %s", done.stdout)
    guard.wait_quiet()
    os.unlink(path + b".gz")
    status, text = guard.command("restore", os.fsdecode(path))
    check(status == 0, "restore: status %d: %s", status, text[-600:])
    bench.check_same(before, "restore")


@rig.scenario("ext4")
def written_by_who_cannot_be_seen(bench):
    """The guard runs in a container, the writer outside: the kernel gives it no number here. It waits for a copy all the same."""
    paths = files.make(os.path.join(os.fsencode(bench.tree), b"x"))
    before = bench.look()
    guard = bench.start_guard("[action]\ngate = no\n", within=("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"))
    guard.wait_quiet()
    check("pid namespace" in guard.warnings(), "status does not say it: %s", guard.warnings())
    for _ in range(2):  # a verdict over nobody known must keep nobody waiting for ever
        actor = rig.Actor(bench, "write", paths)
        actor.go()
        actor.finish()
        guard.wait_quiet()
    check(judge_damage(before, bench.look()) >= 10, "too few files were destroyed")
    rig.bring_back(bench, guard, before)
    rig.restore_rest(bench, guard, before)
    bench.check_same(before, "rollback and restore", ("links",))
    guard.process.kill()  # unshare passes no other signal on


@rig.scenario("ext4")
def over_the_copy_limit(bench):
    """Too large to be copied while its opener waits: counted and named, not claimed."""
    big = os.path.join(os.fsencode(bench.tree), b"big")
    files.write(big, b"x" * 100, 2 << 20)
    guard = bench.start_guard("[preserve]\ncopy-limit = 1M\n")
    guard.wait_quiet()
    files.write(big, b"y")
    rig.eventually("status names it", lambda: guard.folder()["uncovered"] == 1 and "big" in str(guard.folder()["why"]))


@rig.scenario("xfs", "ext4")
def io_uring(bench):
    """The drill writes through io_uring; what it destroyed before it was stopped comes back."""
    drill = [os.path.join(rig.host.BUILD, "portcullis"), "drill", "--path", "uring"]
    made = subprocess.run(drill + ["--prepare-only", "--files", "60", "--dir", bench.tree, "--seed", "7"],
                          env=bench.environment(),
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30, check=False)
    if made.returncode == 4:
        raise rig.Skip("no io_uring here: " + made.stdout.decode("utf-8", "replace")[-200:])
    check(made.returncode == 0, "drill: %s", made.stdout[-400:])
    folder = [os.path.join(bench.tree, name) for name in os.listdir(bench.tree)][0]
    before = bench.look()
    guard = bench.start_guard("[judge]\nmin-files = 20\nconvict-score = 50\n[action]\ngate = no\n")
    guard.wait_quiet()
    state = os.path.join(bench.scratch, "drill-state")
    run = subprocess.Popen(drill + ["--run-only", folder, "--state-file", state, "--keep"], env=bench.environment(),
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                           start_new_session=True)
    try:
        rig.eventually("the drill is frozen", lambda: run.poll() is not None or guard.incidents())
        said = run.stderr.read()[-400:] if run.poll() is not None else ""
        check(guard.incidents(), "not frozen; the drill says: %s", said)
        for incident in guard.incidents():
            guard.command("end", str(incident["id"]))
        check(judge_damage(before, bench.look()) >= 10, "fewer than 10 files were destroyed")
        rig.bring_back(bench, guard, before)
        os.unlink(os.path.join(folder, "drill-run"))  # made by its parent, who destroyed nothing and was not convicted
        bench.check_same(before, "rollback", ("links",))
    finally:
        run.kill()


@rig.scenario("xfs", "ext4")
def closed_by_the_kernel(bench):
    """A file that a killed program had open is closed by a kernel thread: that is nobody else's change of it."""
    tree = os.fsencode(bench.tree)
    paths = [files.write(tree + b"/%d" % n, b"%d, and many words after it. " % n * 300) for n in range(12)]
    before = bench.look()
    guard = bench.start_guard("[judge]\nmin-files = 12\nconvict-score = 50\n[action]\ngate = no\n")
    guard.wait_quiet()
    actor = rig.Actor(bench, "left-to-kernel", paths + paths[:1] * 500, 0.01)
    actor.go()
    incident = guard.wait_incident()
    read = guard.json("status")["events"]["read"]
    guard.command("end", str(incident["id"]))
    rig.eventually("the kernel has closed the files", lambda: guard.json("status")["events"]["read"] >= read + len(paths))
    guard.wait_quiet()
    rig.bring_back(bench, guard, before)
    bench.check_same(before, "rollback")


@rig.scenario("xfs", "ext4")
def changed_without_an_event(bench):
    """What a frozen program did through mappings that it still has is rolled back with the rest, also while it is frozen."""
    tree = os.fsencode(bench.tree)
    paths = [files.write(tree + b"/%d" % n, b"%d, and many words after it. " % n * 300) for n in range(24)]
    os.sync()
    before = bench.look()
    guard = bench.start_guard("[judge]\nmin-files = 12\nconvict-score = 50\n[action]\ngate = no\n")
    guard.wait_quiet()
    actor = rig.Actor(bench, "mapped-and-written", paths)
    actor.go()
    incident = guard.wait_incident()
    check(judge_damage(before, bench.look()) == 24, "not every file was destroyed")
    rig.bring_back(bench, guard, before)
    bench.check_same(before, "rollback")
    guard.command("end", str(incident["id"]))
    guard.wait_quiet()
    bench.check_same(before, "rollback, and the end")
    check(len(guard.incidents()) == 1, "%d incidents", len(guard.incidents()))


@rig.scenario("xfs", "ext4")
def a_busy_file_outside(bench):
    """A database beside the guarded folders costs no event a write; linked into one of them, it is preserved as any file is."""
    path = files.write(os.path.join(os.fsencode(bench.outside), b"table"), b"a row of many\n" * 20000)
    guard = bench.start_guard()
    guard.wait_quiet()
    first = guard.status()["events"]["read"]
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    for n in range(1500):
        os.pwrite(fd, b"row %d" % n, n * 100)
        time.sleep(0.001)
    read = guard.status()["events"]["read"] - first
    check(read < 150, "%d events for 1500 writes", read)
    os.link(path, os.path.join(os.fsencode(bench.tree), b"table"))
    guard.wait_quiet()
    before = bench.look()
    os.pwrite(fd, b"overwritten" * 2000, 0)
    os.close(fd)
    guard.wait_quiet()
    check(bench.look() != before, "nothing was overwritten")
    rig.restore_rest(bench, guard, before)
    bench.check_same(before, "restore", ("links",))


@rig.scenario("xfs", seconds=60)
def a_large_file_that_is_written(bench):
    """Who writes to a large file all the time pays for each clone, so it is seldom made, whoever else closes the file."""
    path = files.write(os.path.join(os.fsencode(bench.tree), b"table"), b"a row of many\n" * (64 << 20 >> 4))
    guard = bench.start_guard()
    guard.wait_quiet()
    captures = lambda: guard.status()["events"]["captures"]
    first, until = captures(), time.monotonic() + 4
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    while time.monotonic() < until:
        for n in range(20):
            os.pwrite(fd, b"row %d" % n, n << 16)
            time.sleep(0.005)
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))  # a client of the database that ends
    during = captures() - first
    check(during <= 3, "cloned %d times in 4 s", during)  # a look may have ended its being busy just then
    os.pwrite(fd, b"the last row", 0)
    os.close(fd)
    before = bench.look()
    rig.eventually("it is preserved once it is not written any more", lambda: captures() > first + during, 20)
    os.unlink(path)
    guard.wait_quiet()
    rig.restore_rest(bench, guard, before)
    bench.check_same(before, "restore")


@rig.scenario("xfs", "btrfs")
def written_by_one_and_destroyed_by_another(bench):
    """A busy file is looked at by timer, as its writer's; what another program has done and closed meanwhile is not."""
    paths = [files.write(os.path.join(os.fsencode(bench.tree), b"%d" % n), b"a line of %d\n" % n * 4000) for n in range(20)]
    guard = bench.start_guard(LATE + "on-verdict = observe\n")  # so that it closes each file
    guard.wait_quiet()
    for path in paths:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        for n in range(3):
            os.pwrite(fd, b"line %d" % n, n * 1000)
            time.sleep(0.002)
        os.close(fd)
    # Soon: the timer has not looked at them yet.
    rig.eventually("they are preserved", lambda: not any(v["queue"] for v in guard.status()["volumes"]))
    before = bench.look()
    actor = rig.Actor(bench, "write", paths)
    actor.go()
    check(not actor.finish_or_freeze(guard), "it was frozen")
    time.sleep(1)  # the timer has looked
    guard.wait_quiet()
    check(rig.bring_back(bench, guard, before) == "rollback", "there was no incident")
    bench.check_same(before, "rollback")


if __name__ == "__main__":
    raise SystemExit(rig.main(__doc__))
