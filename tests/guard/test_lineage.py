#!/usr/bin/python3
"""Where neither process connector nor perf events tell of forks (a container): whose a process is has to be learnt from /proc, and may be learnt too late."""
import os
import signal
import subprocess
import sys
import time

import files
import rig
from rig import check

# The guard's own timer kills it when it does not move for 0.8 s.
STOPPED_SECONDS = 0.4


REPLACE = "import os, sys; os.write(os.open(sys.argv[1] + '.locked', os.O_WRONLY | os.O_CREAT), os.urandom(30000)); os.unlink(sys.argv[1])"


def encrypt_unseen(bench, guard, path):
    """A program puts ciphertext beside the file and deletes it, and is gone before the guard, which is stopped meanwhile, reads what it did."""
    worker = guard.worker()
    started = time.monotonic()
    os.kill(worker, signal.SIGSTOP)
    try:
        subprocess.run([sys.executable, "-S", "-E", "-c", REPLACE, path], check=True, env=bench.environment())
    finally:
        os.kill(worker, signal.SIGCONT)
    return time.monotonic() - started < STOPPED_SECONDS and guard.worker() == worker


@rig.scenario("xfs", "btrfs", seconds=60)  # on ext4 an open waits for the guard, and whoever waits is met
def gone_before_it_was_met(bench):
    """Its file belongs to the attack that is stopped a moment later: it is counted with it, and comes back with the rest."""
    rig.forget_ancestry()
    tree = os.fsencode(bench.tree)
    paths = [files.write(tree + b"/doc%02d" % n, files.words(files.random.Random(n), 30000)) for n in range(40)]
    before = bench.look()
    guard = bench.start_guard()
    guard.wait_quiet()
    check("no process connector" in guard.warnings(), "forks are told here: %s", guard.warnings())
    if not encrypt_unseen(bench, guard, paths[0]):
        raise rig.Skip("this machine is too busy to stop the guard for so short a time")
    guard.wait_quiet()
    check(not guard.incidents(), "one file is no incident: %s", guard.incidents())
    attack = rig.Actor(bench, "write", paths[1:])
    attack.go()
    incident = guard.wait_incident()
    attack.kill()
    told = guard.json("incident", str(incident["id"]))
    check(any("1 processes destroyed files at the same time" in note["text"] for note in told["timeline"]), "timeline: %s", told["timeline"])
    status, text = guard.command("rollback", str(incident["id"]))
    check(status == 0, "rollback: status %d: %s", status, text[-800:])
    bench.check_same(before, "rollback")


if __name__ == "__main__":
    raise SystemExit(rig.main(__doc__))
