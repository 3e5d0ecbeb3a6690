#!/usr/bin/python3
"""The power fails in the middle of an attack, of a rollback, of the first walk: what was on the disk is what a host finds when it boots again.

The file system is shut down by its own ioctl (as xfstests does): nothing more reaches the disk, also nothing of its journal that was not written
yet. The guard's state lies on the same disk, so its index loses its newest rows, too. Then everything is killed, mounted again, and an owner does what
owners do.
"""
import fcntl
import os
import random
import signal
import subprocess
import sys
import time

import files
import rig
from rig import check

GOINGDOWN = 0x8004587D  # XFS_IOC_GOINGDOWN and EXT4_IOC_SHUTDOWN are the same number
NO_LOG_FLUSH = 2
# Destroys each file in place and waits for the disk, as one does who fears that somebody pulls the plug.
ATTACKER = """
import os, sys
for path in sys.stdin.buffer.read().split(b"\\0"):
    if os.path.isfile(path):
        fd = os.open(path, os.O_RDWR)
        os.pwrite(fd, os.urandom(max(os.fstat(fd).st_size, 1)), 0)
        os.fsync(fd)
        os.close(fd)
"""


class Host:
    """A guard whose state is on the guarded disk, and the switch."""

    def __init__(self, bench):
        self.bench, self.victims = bench, []

    def boot(self, settings=None):
        guard = rig.Guard(self.bench, [self.bench.tree], settings, state=os.path.join(self.bench.mount, "state"))
        self.bench.guards.append(guard)
        guard.wait_ready()
        guard.wait_quiet()
        return guard

    def quiet_moment(self):
        """All is on the disk and nothing happens: a time to go back to."""
        os.sync()
        time.sleep(1.1)
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

    def cut(self, guard):
        fd = os.open(self.bench.mount, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.ioctl(fd, GOINGDOWN, NO_LOG_FLUSH.to_bytes(4, "little"))
        os.close(fd)
        for child in self.victims + [guard.process]:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
            child.wait(10)
        self.victims = []
        rig.eventually("everything has let go", lambda: subprocess.run(["umount", self.bench.mount], check=False, stderr=subprocess.DEVNULL).returncode == 0)
        subprocess.run(["mount", "-o", "loop", os.path.join(self.bench.dir, "image"), self.bench.mount], check=True)

    def attack(self, paths):
        child = subprocess.Popen([sys.executable, "-c", ATTACKER], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=self.bench.environment(),
                                 start_new_session=True)
        self.victims.append(child)
        child.stdin.write(b"\0".join(paths))
        child.stdin.close()
        return child


def come_back(bench, guard, before, at):
    """
    Incidents are ended and rolled back; what no incident knows is restored file by file, as of a time before the attack where the newest version is
    what the attacker had written already. (restored singly, paths said to be lost)
    """
    for incident in guard.incidents():
        guard.command("end", str(incident["id"]))
        guard.command("rollback", str(incident["id"]))
    guard.wait_quiet()
    now, single, lost = bench.look(), 0, []
    for path in [p for p, row in before.items() if row.get("sha256") != now.get(p, {}).get("sha256")]:
        status, text = guard.command("restore", os.path.join(bench.tree, path))
        if status:
            check("verified" not in text, "restore %r: status %d: %s", path, status, text)
            lost.append(path)
        single += status == 0
    now = bench.look()
    for path in [p for p, row in before.items() if p not in lost and row.get("sha256") != now.get(p, {}).get("sha256")]:
        status, text = guard.command("restore", os.path.join(bench.tree, path), "--at", at)
        if status:
            lost.append(path)
    now = bench.look()
    wrong = [p for p, row in before.items() if p not in lost and row.get("sha256") != now.get(p, {}).get("sha256")]
    check(not wrong, "said to be back, and other content: %s", wrong)
    return single, lost


def prepared(bench, name, folders):
    """Fresh files, so that no version of them is of an earlier round; (their paths, what they are)."""
    paths = [p for n in range(folders) for p in files.make(os.path.join(os.fsencode(bench.tree), b"%s-%d" % (name, n)), n)]
    os.sync()
    return [p for p in paths if os.path.isfile(p)], {p: row for p, row in bench.look().items() if p.startswith(name.decode())}


def rounds(bench, settings, seed, longest):
    """The power fails at a random moment of an attack, some times over."""
    rng, told, gone = random.Random(seed), [], 0
    host = Host(bench)
    for number in range(4):
        paths, before = prepared(bench, b"round%d" % number, 6)
        guard = host.boot(settings)
        at = host.quiet_moment()
        host.attack(paths)
        time.sleep(rng.uniform(0.02, longest))
        host.cut(guard)
        damaged = rig.judge.damage(before, bench.look())["damaged"]
        guard = host.boot()
        single, lost = come_back(bench, guard, before, at)
        # A clone is in the journal before what is written after it. A copy is on the disk only from the first evidence on.
        check(len(lost) <= (0 if bench.fs == "xfs" else 3), "%d of %d damaged files are lost: %s", len(lost), damaged, lost[:5])
        gone += len(lost)
        guard.stop()
        told.append("%d damaged, %d restored singly, %d lost" % (damaged, single, len(lost)))
    check(gone <= 4, "%d lost in all: %s", gone, told)
    return "; ".join(told)


@rig.scenario("xfs", "ext4", seconds=180)
def in_an_attack(bench):
    return rounds(bench, None, 7, 0.2)


@rig.scenario("xfs", "ext4", seconds=180)
def in_an_attack_that_nothing_stops(bench):
    """No gate, and a verdict only after many files: many copies are young when the power fails."""
    return rounds(bench, "[judge]\nmin-files = 600\nconvict-score = 5000\n[action]\ngate = no\n", 8, 0.5)


@rig.scenario("xfs", "ext4", seconds=120)
def in_a_rollback(bench):
    """The incident may be forgotten or half rolled back: everything still comes back."""
    host = Host(bench)
    paths, before = prepared(bench, b"rollback", 6)
    guard = host.boot("[judge]\nmin-files = 40\nconvict-score = 50\n[action]\ngate = no\n")
    at = host.quiet_moment()
    host.attack(paths)
    incident = guard.wait_incident()
    guard.command("end", str(incident["id"]))
    words = [os.path.join(rig.host.BUILD, "portcullis"), "rollback", str(incident["id"]), "--state", guard.state]
    rollback = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    time.sleep(0.05)
    host.cut(guard)
    rollback.wait(20)
    guard = host.boot()
    single, lost = come_back(bench, guard, before, at)
    check(not lost, "lost: %s", lost)
    return "%d restored singly" % single


if __name__ == "__main__":
    raise SystemExit(rig.main(__doc__))
