#!/usr/bin/python3
"""Whatever way a file is destroyed, it comes back: every write path, every kind of file, on every file system.

The guard only observes in most of these, so that the actor destroys everything it wants to and everything must come back.
"""
import os

import files
import rig
from rig import check

# Convicted only when this many are destroyed: a strict test of what is preserved, and still a real freeze.
LATE = "[judge]\nmin-files = 12\nconvict-score = 50\n[action]\ngate = no\n"
PATHS = ("write", "pwritev2", "mmap", "mmap-after-close", "direct", "copy-file-range", "sendfile", "splice", "truncate", "ftruncate",
         "o-trunc", "replace", "unlink", "rename-over", "exchange", "punch", "rename-and-write", "outside-link")
# What a permission event for opens cannot see coming (docs/decisions/0004).
NOT_ON_OPEN = ("truncate",)
# One of two names of a file taken by another file: a scenario of its own, below.
NEW_INODE = ("rename-over", "exchange")


def bring_back(bench, guard, before):
    """As an owner would: the incident when there is one, else file by file. Returns which."""
    incidents = guard.incidents()
    for incident in incidents:
        status, text = guard.command("rollback", str(incident["id"]))
        check(status == 0, "rollback %d: status %d: %s", incident["id"], status, text[-600:])
    if incidents:
        return "rollback"
    now = bench.look()
    for path in [p for p, row in before.items() if row.get("sha256") != now.get(p, {}).get("sha256")]:
        status, text = guard.command("restore", os.path.join(bench.tree, path))
        check(status == 0, "restore %r: status %d: %s", path, status, text[-600:])
    return "restore"


def one_path(bench, method, before_guard=False):
    """Destroys a folder of every kind of file by one path and brings it back."""
    paths = files.make(os.path.join(os.fsencode(bench.tree), method.encode()))
    before, sparse = bench.look(), files.holes(paths[10])
    if method in NEW_INODE:
        paths = [p for p in paths if not p.endswith(b"/linked")]
    actor = rig.Actor(bench, method, paths) if before_guard else None
    guard = bench.start_guard(LATE)
    guard.wait_quiet()
    actor = actor or rig.Actor(bench, method, paths)
    actor.go()
    frozen = actor.finish_or_freeze(guard)
    if not frozen:
        guard.wait_quiet()
    damaged = judge_damage(before, bench.look())
    check(damaged >= 10, "the actor destroyed only %d files", damaged)
    how = bring_back(bench, guard, before)
    # One file at a time, nobody can know that two names were one file.
    times = bench.check_same(before, how, () if how == "rollback" else ("links",))
    check(files.holes(paths[10]) <= sparse + (256 << 10), "holes were filled: %d, then %d", sparse, files.holes(paths[10]))
    return "%s of %d files%s; %d folder times differ" % (how, damaged, ", frozen" if frozen else "", times)


def judge_damage(before, now):
    return rig.judge.damage(before, now)["damaged"]


def register_paths():
    for method in PATHS:
        run = lambda bench, method=method: one_path(bench, method)  # noqa: E731
        run.__name__ = method
        rig.scenario("xfs", "btrfs")(run)
        if method not in NOT_ON_OPEN:
            rig.scenario("ext4")(run)
    for method in ("held-write", "held-mmap", "held-mapping"):
        run = lambda bench, method=method: one_path(bench, method, True)  # noqa: E731
        run.__name__ = method
        rig.scenario("xfs", "ext4", "btrfs")(run)


register_paths()


@rig.scenario("xfs", "ext4", long=True)
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
    bench.check_same(before, bring_back(bench, guard, before))

if __name__ == "__main__":
    raise SystemExit(rig.main(__doc__))
