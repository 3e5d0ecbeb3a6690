#!/usr/bin/python3
"""The worker dies at the worst moments: in the middle of an attack, of a rollback, of a walk; nothing is lost."""
import os
import random
import re
import signal
import subprocess
import time

import files
import rig
from rig import check


def said_lost(guard):
    """How many files status says were changed without a copy: while no guard ran, or opened then and written now."""
    return sum(int(n) for n in re.findall(r"(\d+) (?:files were changed while the guard was down|times a file was overwritten)",
                                          guard.warnings()))


def come_back(bench, guard, before, at=None):
    """Everything an owner would do to have all files back: the incidents, then single files for what is left.

    Returns how many were restored singly, and how many could not be: on ext4, what is overwritten without a guard.
    """
    for incident in guard.incidents():
        guard.command("end", str(incident["id"]))
    for incident in guard.incidents():
        guard.command("rollback", str(incident["id"]))
    guard.wait_quiet()
    now, single, unkept = bench.look(), 0, []
    for path in [p for p, row in before.items() if row.get("sha256") != now.get(p, {}).get("sha256")]:
        status, text = guard.command("restore", os.path.join(bench.tree, path))
        if status != 0 and bench.fs == "ext4" and ("not found" in text or "not kept" in text):
            unkept.append(before.pop(path))
            continue
        check(status == 0, "restore %r: %s", path, text[-300:])
        single += 1
    now = bench.look()
    for path in [p for p, row in before.items() if row.get("sha256") != now.get(p, {}).get("sha256")]:
        if bench.fs != "ext4" and at:  # half overwritten when the guard was back: its newest version is that half; the owner says when
            status, text = guard.command("restore", os.path.join(bench.tree, path), "--at", at)
            check(status == 0, "restore %r --at %s: %s", path, at, text[-300:])
        if bench.fs == "ext4":  # half overwritten when the guard was back: what it then preserved is no whole file
            unkept.append(before.pop(path))
    counted = said_lost(guard)
    lost = {str(row.get("links", row)) for row in unkept}  # a file with two names is one
    # One more may have been opened without a guard and be written under the new one, which saw no change then.
    check(len(lost) <= counted + 1, "%d are lost, and status counts %d", len(lost), counted)
    for row in unkept:
        for path in row.get("links", ()):
            before.pop(path, None)
    now = bench.look()
    kept = {p: r for p, r in now.items() if p in before}
    differ = [d for d in rig.judge.lost(kept, before)[0] if not d.endswith(": links")]
    check(not differ, "rollback and restore: %s", differ[:8])
    return single, len(unkept)


@rig.scenario("xfs", "ext4", seconds=60)
def killed_in_an_attack(bench):
    """What goes on after the restart is frozen; what was destroyed before it and while nobody looked comes back too."""
    paths = [p for n in range(12) for p in files.make(os.path.join(os.fsencode(bench.tree), b"%d" % n), n)]
    before = bench.look()
    guard = bench.start_guard()
    guard.wait_quiet()
    old = guard.worker()
    actor = rig.Actor(bench, "write", paths, 0.02)
    actor.go()
    time.sleep(0.05)
    os.kill(old, signal.SIGKILL)
    guard.wait_worker_other_than(old)
    guard.wait_incident()
    actor.kill()
    damaged = rig.judge.damage(before, bench.look())["damaged"]
    check(damaged < len(paths) - 12, "%d of %d files were destroyed: nothing was stopped", damaged, len(paths))
    single, unkept = come_back(bench, guard, before)
    return "%d damaged, %d restored singly, %d overwritten while there was no guard" % (damaged, single, unkept)


@rig.scenario("xfs", "ext4", seconds=120)
def killed_at_a_verdict(bench):
    """However far the freeze had got: who was stopped is stopped by an incident that people can see, and end."""
    guard = bench.start_guard()
    frozen = 0
    for n, wait in enumerate((0.004, 0.007, 0.01, 0.013, 0.017, 0.022, 0.03, 0.05)):
        paths = files.make(os.path.join(os.fsencode(bench.tree), b"%d" % n), n)
        guard.wait_quiet()
        old = guard.worker()
        actor = rig.Actor(bench, "write", paths)
        actor.go()
        time.sleep(wait)
        os.kill(old, signal.SIGKILL)
        guard.wait_worker_other_than(old)
        actor.finish_or_freeze(guard)
        for incident in guard.incidents():
            if incident["state"] == "frozen":
                frozen += 1
                status, text = guard.command("end", str(incident["id"]))
                check(status == 0, "end: %s", text[-300:])
        actor.kill()
    return "%d of 8 frozen" % frozen


@rig.scenario("xfs", "ext4", seconds=60)
def killed_before_a_verdict(bench):
    """What it destroyed before the guard was killed belongs to the incident that a later guard opens."""
    paths = [p for n in range(8) for p in files.make(os.path.join(os.fsencode(bench.tree), b"%d" % n), n)]
    before = bench.look()
    guard = bench.start_guard("[judge]\nmin-files = 30\nconvict-score = 50\n[action]\ngate = no\n")
    guard.wait_quiet()
    time.sleep(1)
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    old, begun = guard.worker(), guard.json("status")["events"]["read"]
    actor = rig.Actor(bench, "write", paths, 0.02)
    actor.go()
    rig.eventually("ten files are destroyed", lambda: guard.json("status")["events"]["read"] >= begun + 20)
    time.sleep(0.2)  # what the index learns, it writes down after 50 ms: the first of them are in it
    os.kill(old, signal.SIGKILL)
    guard.wait_worker_other_than(old)
    incident = guard.wait_incident()
    guard.command("end", str(incident["id"]))
    actor.kill()
    status, text = guard.command("rollback", str(incident["id"]))
    failed = [line for line in text.splitlines() if "FAILED" in line]
    lost = [line for line in failed if bench.fs == "ext4" and "preserved content cannot be read" in line]
    check(status == 0 or failed == lost, "status %d: %s", status, text[-800:])
    now = bench.look()
    first = [os.path.relpath(os.fsdecode(path), bench.tree) for path in paths[:4]]
    differ = [p for p in first if before[p]["sha256"] != now.get(p, {}).get("sha256")]
    check(not differ, "not in the incident: %s", differ)
    single, unkept = come_back(bench, guard, before, at)
    return "%d restored singly, %d overwritten while there was no guard" % (single, unkept)


@rig.scenario("xfs", "ext4", "btrfs", seconds=90)
def killed_in_a_rollback(bench):
    """Wherever the rollback was, running it again finishes it."""
    paths = [p for n in range(6) for p in files.make(os.path.join(os.fsencode(bench.tree), b"%d" % n), n)]
    before = bench.look()
    guard = bench.start_guard("[judge]\nmin-files = 60\nconvict-score = 50\n[action]\ngate = no\n")
    guard.wait_quiet()
    actor = rig.Actor(bench, "write", paths)
    actor.go()
    incident = guard.wait_incident()
    guard.command("end", str(incident["id"]))
    actor.kill()
    interrupted = 0
    for wait in (0.01, 0.03, 0.06, 0.1):
        old = guard.worker()
        words = [os.path.join(rig.host.BUILD, "portcullis"), "rollback", str(incident["id"]), "--state", guard.state]
        rolling = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=guard.env)
        time.sleep(wait)
        os.kill(old, signal.SIGKILL)
        interrupted += rolling.wait(30) != 0
        guard.wait_worker_other_than(old)
    status, text = guard.command("rollback", str(incident["id"]))
    check(status == 0, "the last rollback: status %d: %s", status, text[-800:])
    bench.check_same(before, "rollback after %d interruptions" % interrupted)
    status, text = guard.command("rollback", str(incident["id"]))
    check(status == 0, "once more: status %d: %s", status, text[-800:])
    bench.check_same(before, "once more")
    check(interrupted, "no rollback was interrupted")
    return "%d of 4 interrupted" % interrupted


@rig.scenario("xfs", "ext4", seconds=90)
def killed_after_a_verdict(bench):
    """Whose work it was is known for each of many files, whatever of it had been preserved when the guard died."""
    folder = os.path.join(os.fsencode(bench.tree), b"many")
    os.mkdir(folder)
    text = b"number %d, and some words\n"
    paths = [files.write(os.path.join(folder, b"%d.txt" % n), text % n * 40) for n in range(1000)]
    before = bench.look()
    guard = bench.start_guard("[judge]\nmin-files = 950\nconvict-score = 50\n[action]\ngate = no\n")
    guard.wait_quiet()
    actor = rig.Actor(bench, "write", paths)
    actor.go()
    incident = guard.wait_incident()
    old = guard.worker()
    os.kill(old, signal.SIGKILL)
    guard.wait_worker_other_than(old)
    actor.kill()
    # Its very last writes may have been seen by nobody: those, and no others, come back singly.
    unseen = set(re.findall(r"damaged-unseen: (\S+) was", guard.log_text()))
    seen = {row["path"] for row in guard.json("incident", str(incident["id"]))["files"]}
    check(len(seen) >= 950, "the incident has %d files", len(seen))
    check(not seen & unseen, "told as unseen: %s", sorted(seen & unseen)[:8])
    guard.command("end", str(incident["id"]))
    status, text = guard.command("rollback", str(incident["id"]))
    check(status == 0, "status %d: %s", status, text[-800:])
    for path in unseen:
        status, text = guard.command("restore", path)
        check(bench.fs == "ext4" or status == 0, "restore %s: %s", path, text[-300:])
        if status != 0:
            before.pop(os.path.relpath(path, bench.tree))
    now = bench.look()
    differ = rig.judge.lost({path: row for path, row in now.items() if path in before}, before)[0]
    check(not differ, "rollback: %s", differ[:8])
    return "%d of %d came back singly" % (len(unseen), len(seen))


def opened_in_time(bench, guard, paths, wait):
    """One attack, the guard killed within it. How many of the files were opened while it lived, and were destroyed at all."""
    actor = subprocess.Popen([rig.sys.executable, os.path.join(rig.HERE, "clockactor.py"), *paths], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, env=bench.environment(), start_new_session=True)
    old = guard.worker()
    actor.stdin.write(b"go\n")
    actor.stdin.flush()
    first = actor.stdout.readline()
    time.sleep(wait)
    killed = time.monotonic()
    os.kill(old, signal.SIGKILL)
    actor.kill()
    opened = [float(line) for line in [first] + actor.stdout.read().split()]
    actor.wait(10)
    return len([t for t in opened if t < killed]), len(opened)


def copies_survive(bench, rounds):
    """
    A file whose open returned while the guard lived had been copied by then: it comes back, though the guard was killed
    before it wrote down that there is a copy. What was opened later comes back, or is counted.
    """
    names = ["%d.txt" % n for n in range(60)]
    guard, rng = bench.start_guard("[judge]\nmin-files = 1000\n[action]\ngate = no\n"), random.Random(4)
    covered = lost = 0
    for n in range(rounds):
        folder = os.path.join(bench.tree, "%d" % n)
        os.mkdir(folder)
        paths = [os.path.join(folder, name) for name in names]
        for k, path in enumerate(paths):
            files.write(path, b"round %d, number %d, and more words\n" % (n, k) * 200)
        guard.wait_quiet()
        before = {path: open(path, "rb").read() for path in paths}
        old = guard.worker()
        in_time, done = opened_in_time(bench, guard, paths, rng.random() * 0.06)
        guard.wait_worker_other_than(old)
        guard.wait_quiet()
        gone = []
        for path in [p for p in paths[:done + 1] if open(p, "rb").read() != before[p]]:
            status, _ = guard.command("restore", path)
            if status != 0 or open(path, "rb").read() != before[path]:
                gone.append(path)
        early = [p for p in gone if p in paths[:in_time]]
        check(not early, "round %d: %d of %d files that were opened before the kill are lost: %s", n, len(early), in_time,
              early[:4])
        counted = said_lost(guard)
        check(len(gone) <= counted + 1, "round %d: %d are lost, and status counts %d", n, len(gone), counted)
        covered, lost = covered + in_time, lost + len(gone)
    return "%d kills: %d files opened before came back, %d opened after are lost and counted" % (rounds, covered, lost)


@rig.scenario("ext4", seconds=120)
def killed_with_fresh_copies(bench):
    return copies_survive(bench, 8)


@rig.scenario("ext4", seconds=600, long=True)
def killed_fifty_times_with_fresh_copies(bench):
    return copies_survive(bench, 50)


@rig.scenario("xfs", "ext4", seconds=60)
def killed_while_it_walks(bench):
    """A first walk that never ended is begun again, and all files are covered."""
    folder = os.path.join(os.fsencode(bench.tree), b"many")
    os.mkdir(folder)
    for number in range(3000):
        files.write(os.path.join(folder, b"%d" % number), b"number %d\n" % number * 30)
    guard = bench.start_guard(ready=False)
    for _ in range(3):
        old = guard.worker()
        os.kill(old, signal.SIGKILL)
        rig.eventually("another worker", lambda old=old: (guard.status() or {"pid": old})["pid"] != old)
    guard.wait_ready()
    guard.wait_quiet()
    covered = guard.folder()["covered"]
    check(covered >= 3000, "%d of 3000 files are covered", covered)


if __name__ == "__main__":
    raise SystemExit(rig.main(__doc__))
