"""The drill matrix: pattern x way of writing x processes x rate, as scenarios that `portcullis drill` runs.

The drill's files are made before the guard starts (--prepare-only) beside real documents, which it must not touch.
"""
import itertools
import json
import os
import subprocess

import host

PATTERNS = ("head-4k", "full", "alternate-16", "one-mib-on-off", "percent-5", "first-mib", "base64", "wipe")
WAYS = ("write", "mmap", "uring", "direct", "copy", "truncate", "replace", "rename-over", "exchange")
PROCESSES = (1, 18, 256)
RATES = (704, 0)  # files a second over all processes: LockBit 1.0's best; as fast as it goes
FILES = 300
# The few that CI runs: each pattern, most ways, each number of processes and both rates at least once.
IN_CI = (("head-4k", "write", 1, 704), ("head-4k", "write", 256, 0), ("head-4k", "direct", 256, 0), ("full", "direct", 18, 0),
         ("alternate-16", "mmap", 18, 704), ("full", "rename-over", 18, 0),
         ("percent-5", "direct", 1, 0), ("base64", "truncate", 1, 704), ("wipe", "replace", 18, 704), ("first-mib", "uring", 1, 704))


class Case:
    """Same interface as scenario.Scenario."""

    group = "drill"

    def __init__(self, pattern, way, processes, rate):
        self.pattern, self.way, self.processes, self.rate = pattern, way, processes, rate
        self.name = "drill-%s-%s-%d-%s" % (pattern, way, processes, rate or "flat-out")
        self.flags = {"ci"} if (pattern, way, processes, rate) in IN_CI else set()
        self.settings = {"processes": str(processes), "limit": "5" if rate else "25", "destroys": "40"}

    def missing(self):
        return [] if os.path.exists(os.path.join(host.BUILD, "portcullis")) else ["portcullis"]

    def seconds(self, default):
        return default

    def cannot(self, status):
        return status == 4

    def leaves(self, difference):
        """The record of the run, made by the parent of the workers: only they are convicted."""
        return difference.endswith("/drill-run: extra")

    def facts(self, where):
        """From the progress log, which outlives frozen workers. touched: the first changing call was made or begun."""
        done = subprocess.run([os.path.join(host.BUILD, "portcullis"), "drill", "--json", "--report",
                               os.path.join(where.scratch, "drill.state")], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, timeout=60, check=False)
        report = json.loads(done.stdout or "{}")
        return {key: report[key] for key in ("touched", "rate") if key in report}

    def script(self, part=""):
        drill = "%s/portcullis drill" % host.BUILD
        if part == "_setup":
            return '%s --prepare-only --dir "$TREE" --files %d --seed 1' % (drill, FILES)
        if part == "":
            return ('exec %s --settle 100ms --run-only "$TREE"/portcullis-drill-* --pattern %s --path %s --processes %d --rate %d --state-file '
                    '"$SCRATCH/drill.state"' % (drill, self.pattern, self.way, self.processes, self.rate))
        return ":"


def cases():
    """The whole matrix; what CI runs of it is flagged."""
    return [Case(*values) for values in itertools.product(PATTERNS, WAYS, PROCESSES, RATES)]
