#!/usr/bin/python3
"""What the guard records while it judges ([log] trace) replays to the same verdict, without the guard and its files."""
import json
import os
import subprocess

import files
import rig
from rig import check


@rig.scenario("xfs", seconds=60)
def replays_to_the_same_verdict(bench):
    paths = [p for n in range(4) for p in files.make(os.path.join(os.fsencode(bench.tree), b"%d" % n), n)]
    trace = os.path.join(bench.dir, "trace")
    guard = bench.start_guard("trace = %s\n" % trace)
    guard.wait_quiet()
    actor = rig.Actor(bench, "write", paths)
    actor.go()
    guard.wait_incident()
    actor.kill()
    guard.stop()
    binary = os.path.join(rig.host.BUILD, "portcullis")
    out = subprocess.run([binary, "replay", trace, "--json"], capture_output=True, text=True, timeout=30, check=False)
    check(out.returncode == 0, "replay: %s", out.stderr)
    replay = json.loads(out.stdout)
    check(len(replay["verdicts"]) >= 1, "the trace holds no verdict: %s", out.stdout[:300])
    return "%d records, %d acts" % (replay["records"], replay["acts"])


if __name__ == "__main__":
    raise SystemExit(rig.main(__doc__))
