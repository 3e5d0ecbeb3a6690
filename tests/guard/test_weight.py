#!/usr/bin/python3
"""What the guard costs while nothing happens: memory for very many files, and no processor time."""
import os
import time

import files
import rig
from rig import check

RSS_MAX_KIB = 32 << 10
IDLE_SECONDS = 10
IDLE_TICKS = 10  # a hundredth of a processor


def rss_kib(pid):
    with open("/proc/%d/status" % pid, encoding="utf-8") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))


def ticks(pid):
    """Processor time used so far, in ticks (10 ms)."""
    with open("/proc/%d/stat" % pid, encoding="utf-8") as stat:
        words = stat.read().rpartition(")")[2].split()
    return int(words[11]) + int(words[12])


def weigh(bench, count, settings=None):
    for number in range(count // 1000):
        folder = os.path.join(os.fsencode(bench.tree), b"%d" % number)
        os.mkdir(folder)
        for name in range(1000):
            files.write(os.path.join(folder, b"file-%d" % name), b"%d" % name)
    guard = bench.start_guard(settings, ready=False)
    guard.wait_ready(900)
    guard.wait_quiet(60)
    pid = guard.worker()
    covered = guard.folder()["covered"]
    check(covered >= count, "%d of %d files are covered", covered, count)
    size = rss_kib(pid)
    check(size <= RSS_MAX_KIB, "the worker takes %d KiB for %d files", size, count)
    before = ticks(pid) + ticks(guard.process.pid)
    time.sleep(IDLE_SECONDS)
    used = ticks(pid) + ticks(guard.process.pid) - before
    check(used <= IDLE_TICKS, "%d ticks in %d idle seconds", used, IDLE_SECONDS)
    return "%d files: RSS %.1f MiB, %d ticks in %d idle seconds" % (covered, size / 1024, used, IDLE_SECONDS)


@rig.scenario("xfs", seconds=300)
def hundred_thousand_files(bench):
    return weigh(bench, 100000)


@rig.scenario("ext4", seconds=300, long=True)
def hundred_thousand_on_open(bench):
    return weigh(bench, 100000)


@rig.scenario("xfs", seconds=3000, long=True, image=16 << 30)
def million_files(bench):
    return weigh(bench, 1000000)


if __name__ == "__main__":
    raise SystemExit(rig.main(__doc__))
