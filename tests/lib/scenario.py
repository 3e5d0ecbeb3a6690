"""Tables of scenarios, written as shell functions with a header line each, and the results of running them.

A scenario file holds, for each scenario, a line

    #@ gzip-tree needs=gzip,find ci limit=5

followed by functions named after it: gzip_tree_setup (before the guard starts, optional), gzip_tree (under guard) and
gzip_tree_check (afterwards, optional). They run in bash -euo pipefail, in the protected tree, with the variables that
host.py's environment() names. Words with "=" are settings, words without are flags.
"""
import glob
import json
import os
import shutil

import host


class Scenario:
    def __init__(self, path, words):
        self.path, self.name = path, words[0]
        self.group = os.path.basename(path)[:-3]
        self.settings = dict(w.split("=", 1) for w in words[1:] if "=" in w)
        self.flags = {w for w in words[1:] if "=" not in w}
        self.function = self.name.replace("-", "_")

    def missing(self):
        """Programs it needs that are not installed."""
        return [p for p in self.settings.get("needs", "").split(",") if p and not shutil.which(p, path=host.PATH)]

    def script(self, part=""):
        """Bash text that runs one of its functions, or nothing when an optional part does not exist."""
        name = self.function + part
        return "set -euo pipefail; . '%s'; if declare -F %s >/dev/null; then %s; fi" % (self.path, name, name)

    def seconds(self, default):
        return int(self.settings.get("seconds", default))

    def cannot(self, status):
        """Does this exit status say that the kernel or file system has no such thing?"""
        return False

    def leaves(self, difference):
        """Is this a trace that a rollback leaves by design? An archive finished before the first damage is such a file."""
        return "archive" in self.flags and difference.endswith(": extra")

    def facts(self, where):
        """What the scenario itself can tell about a run on this host, as further columns."""
        return {}


def load(folder):
    found = []
    for path in sorted(glob.glob(os.path.join(folder, "*.sh"))):
        with open(path, encoding="utf-8") as lines:
            text = lines.read()
        for line in text.split("\n"):
            if line.startswith("#@ "):
                scenario = Scenario(path, line[3:].split())
                if "\n%s() {" % scenario.function not in text:
                    raise SystemExit("%s: no function %s" % (path, scenario.function))
                found.append(scenario)
    names = [s.name for s in found]
    if len(names) != len(set(names)):
        raise SystemExit("two scenarios of the same name: %s" % sorted(n for n in names if names.count(n) > 1))
    return found


def sample(items, count):
    """count of them, evenly spread, the ones flagged ci first."""
    first = [s for s in items if "ci" in s.flags]
    rest = [s for s in items if "ci" not in s.flags]
    if count <= len(first):
        return [first[i * len(first) // count] for i in range(count)]
    need = min(count - len(first), len(rest))
    return first + [rest[i * len(rest) // need] for i in range(need)]


class Report:
    """TAP lines as results come, and counts at the end."""

    def __init__(self, columns, total, out):
        self.columns, self.out, self.rows = columns, out, []
        self.commit = host.commit()
        self.counts = {"pass": 0, "fail": 0, "skip": 0}
        print("TAP version 13\n1..%d" % total, flush=True)

    def add(self, row):
        """row: a dict with at least name, verdict (pass, fail, skip) and why."""
        self.rows.append(dict(row, commit=self.commit))
        self.save()
        self.counts[row["verdict"]] += 1
        number = len(self.rows)
        facts = ", ".join("%s %s" % (c, row[c]) for c in self.columns if row.get(c) is not None)
        tail = " # SKIP %s" % row["why"] if row["verdict"] == "skip" else ""
        print("%s %d - %s (%s)%s" % ("not ok" if row["verdict"] == "fail" else "ok", number, row["name"], facts, tail),
              flush=True)
        if row["verdict"] == "fail":
            for line in str(row["why"]).split("\n")[:40]:
                print("  # " + line, flush=True)

    def save(self):
        """After every row: a run that is ended early has told what it found."""
        if self.out:
            with open(self.out, "w", encoding="utf-8") as file:
                json.dump(self.rows, file, indent=1)

    def close(self):
        print("%(pass)d passed, %(fail)d failed, %(skip)d skipped" % self.counts, flush=True)
        return 1 if self.counts["fail"] else 0 if self.counts["pass"] else host.SKIP
