#!/usr/bin/python3
"""A disk that takes its time keeps nobody waiting but those who write to it: the guard goes on judging meanwhile."""
import fcntl
import os
import subprocess
import sys
import time

import files
import rig
from rig import check

FREEZE, THAW = 0xC0045877, 0xC0045878  # linux/fs.h: FIFREEZE, FITHAW
MANY = 24
BIG = 8 << 20


class SlowDisk:
    """A file system on an image that lies on another one, which can be told to take no writes for a while."""

    def __init__(self, bench, fs):
        self.below, self.folder = (os.path.join(bench.scratch, name) for name in ("below", "folder"))
        for image, at, command, size in ((bench.scratch + "/outer", self.below, rig.host.MKFS["ext4"], 900),
                                         (self.below + "/inner", self.folder, rig.host.MKFS[fs], 600)):
            os.mkdir(at)
            with open(image, "wb") as f:
                f.truncate(size << 20)
            subprocess.run(command + [image], check=True, timeout=60, stdout=subprocess.DEVNULL)
            subprocess.run(["mount", "-o", "loop", image, at], check=True, timeout=30)
        self.tree = os.path.join(self.folder, "data")
        os.mkdir(self.tree)

    def __enter__(self):
        return self

    def _tell(self, what):
        fd = os.open(self.below, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, what, 0)
        finally:
            os.close(fd)

    def stand_still(self):
        self._tell(FREEZE)

    def go_on(self):
        self._tell(THAW)

    def __exit__(self, *unused):
        try:
            self.go_on()
        except OSError:
            pass  # it goes on already
        for at in (self.folder, self.below):
            subprocess.run(["umount", at], check=True, timeout=30)


@rig.scenario("xfs", "btrfs")
def judged_while_a_disk_stands_still(bench):
    """Documents are destroyed while a dump on another disk cannot be written out, which a clone of it would wait for."""
    paths = [os.path.join(os.fsencode(bench.tree), b"doc%d" % i) for i in range(MANY)]
    for i, path in enumerate(paths):
        files.write(path, b"line %d of a document that somebody needs\n" % i * 400)
    before = bench.look()
    with SlowDisk(bench, bench.fs) as disk:
        guard = bench.start_guard(protect=[bench.tree, disk.tree])
        guard.wait_quiet()
        disk.stand_still()
        dump = os.path.join(disk.tree, "dump")
        with open(dump, "wb") as f:  # what a clone of it would wait for
            f.write(os.urandom(BIG))
        time.sleep(2)  # new files are preserved after 0.7 s
        actor = rig.Actor(bench, "write", paths)
        actor.go()
        frozen = actor.finish_or_freeze(guard)
        disk.go_on()
        check(frozen, "not stopped while the other disk stood still: %s", guard.log_text()[-400:])
        guard.wait_quiet(60)
        status, text = guard.command("history", dump)
        check(status == 0 and "clone" in text, "the dump was not preserved when the disk went on: %s", text[-400:])
        rig.bring_back(bench, guard, before)
        bench.check_same(before, "rollback")
        incident = guard.incidents()[0]
        guard.command("end", str(incident["id"]))
        check("has not moved" not in guard.log_text(), "the guard was restarted: %s", guard.log_text()[-400:])
        guard.stop()
    return "stopped with %d of %d damaged" % (incident["damaged"], MANY)


if __name__ == "__main__":
    sys.exit(rig.main(__doc__))
