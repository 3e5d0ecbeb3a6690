"""One measurement: a fresh file system, one condition, one workload. And the other figures of the table."""
import json
import os
import resource
import select
import statistics
import subprocess
import sys
import tempfile
import time

import conditions
import host

MODES = {"xfs": "ahead", "ext4": "on-open"}


def ends_within(process, seconds):
    """Popen.wait with a limit looks every 50 ms, which is a tenth of what is measured here: this returns at the end."""
    fd = os.pidfd_open(process.pid)
    try:
        return bool(select.select([fd], [], [], seconds)[0])
    finally:
        os.close(fd)


class Place(host.Host):
    """A Host whose image lies where the bench wants it, with what the workloads need to find."""

    def __init__(self, fs, extra):
        super().__init__(fs)
        self.extra = extra
        self.work_cpu = 0.0  # processor seconds of the last script and what it waited for

    def __enter__(self):
        super().__enter__()
        for folder in (self.dir, self.mount, self.tree):
            os.chmod(folder, 0o755)  # PostgreSQL works as a user of its own
        os.chmod(self.scratch, 0o777)
        return self

    def environment(self):
        return dict(super().environment(), **self.extra)

    def script(self, text, seconds=120, ask=None):
        """Runs it in the guarded folder: (seconds it took, its output). ask() says why it did not end in time."""
        with tempfile.TemporaryFile() as output:
            start, used = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
            process = subprocess.Popen(["bash", "-euo", "pipefail", "-c", text], cwd=self.tree,
                                       env=self.environment(), stdin=subprocess.DEVNULL, stdout=output,
                                       stderr=subprocess.STDOUT, start_new_session=True)
            while not ends_within(process, 20):
                why = ask() if ask else ""  # a frozen program would never end
                if not why and time.monotonic() - start < seconds:
                    continue
                host.kill_marked(self.mark, os.path.join(self.dir, "nowhere"))
                raise RuntimeError(why or "took longer than %d s" % seconds)
            took, status, now = time.monotonic() - start, process.wait(), resource.getrusage(resource.RUSAGE_CHILDREN)
            self.work_cpu = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
            output.seek(0)
            text = output.read().decode("utf-8", "replace")
            if status != 0:
                raise RuntimeError("status %d: %s" % (status, text[-500:]))
        return took, text


def once(work, condition, fs, extra):
    """{seconds, guard_cpu, work_cpu, why}: seconds is None when it could not be measured, and why says so."""
    with Place(fs, extra) as where:
        started = False
        try:
            where.script(work.prepare)
            os.sync()
            condition.start(where)
            started = True
            where.script(work.before)
            cpu = condition.cpu_seconds()
            took, text = where.script(work.run, ask=lambda: quiet_verdict(condition))
            work_cpu, cpu = where.work_cpu, condition.cpu_seconds() - cpu
            where.script(work.after)
            for line in text.splitlines():
                if line.startswith("work-per-second "):
                    took = 1 / float(line.split()[1])  # the time for one unit of work
            why = condition.verdict()
            return {"seconds": None if why else took, "guard_cpu": cpu, "work_cpu": work_cpu, "why": why}
        except (RuntimeError, OSError, subprocess.SubprocessError, ValueError, ZeroDivisionError) as e:
            return {"seconds": None, "guard_cpu": 0, "why": str(e)[:300]}
        finally:
            if started:
                condition.stop()


def quiet_verdict(condition):
    """What the guard says after a failure, when it still says anything."""
    try:
        return condition.verdict()
    except (RuntimeError, OSError, subprocess.SubprocessError, ValueError):
        return "the guard does not answer"


def alternate(works, others, systems, rounds, extra, say):
    """Every workload under every condition, round by round, the order turned in each. say(row) gets the results."""
    for fs in systems:
        for work in works:
            usable = [conditions.Nothing(), conditions.Portcullis()] + others
            runs = {c.name: [] for c in usable}
            once(work, conditions.Nothing(), fs, extra)  # not counted: whoever is first reads the programs from the disk
            for turn in range(rounds):
                for condition in usable[turn % 2:] + usable[:turn % 2]:
                    failed = condition in others and any(r["why"] for r in runs[condition.name])
                    if failed or turn >= condition.rounds:
                        continue
                    runs[condition.name].append(once(work, condition, fs, extra))
            say(summary(work, fs, runs))


def summary(work, fs, runs):
    row = {"fs": fs, "mode": MODES[fs], "workload": work.name, "conditions": {}}
    base = [r["seconds"] for r in runs["none"]]
    for name, results in runs.items():
        good = [r["seconds"] for r in results if r["seconds"]]
        entry = {"runs": [r["seconds"] for r in results], "why": next((r["why"] for r in results if r["why"]), "")}
        if good:
            entry["median"] = statistics.median(good)
            for key in ("guard_cpu", "work_cpu"):
                entry[key] = statistics.median(r[key] for r in results if r["seconds"])
            pairs = [r["seconds"] / b for r, b in zip(results, base) if r["seconds"] and b]
            if name != "none" and pairs:
                # Of pairs taken one after the other: what else the machine did weighs least in them.
                entry.update(ratio=statistics.median(pairs), lowest=min(pairs), highest=max(pairs))
        row["conditions"][name] = entry
    return row


def build_tool(folder):
    tool = os.path.join(folder, "tool")
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tool.c")
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-o", tool, source], check=True, timeout=60)
    return tool


def open_latency(fs, extra, tool, count):
    """Microseconds of open+close: without a guard, under it, and while its gate is down."""
    found = []
    with Place(fs, extra) as where:
        where.script("mkdir f; for i in $(seq 500); do head -c 8192 /usr/bin/python3 > f/$i; done; "
                     "seq 9999 > victim.txt")
        for state in ("no guard", "guarded, calm", "guarded, gate down"):
            if state == "guarded, calm":
                guard = conditions.Portcullis()
                guard.start(where)
            if state == "guarded, gate down":
                # One file of a third program turned into noise: evidence, but not yet a verdict.
                where.script("dd if=/dev/urandom of=victim.txt bs=32k count=1 conv=notrunc status=none")
                time.sleep(1)
            gate = guard.guard.json("status")["gate"] if state != "no guard" else ""
            for how in ("r", "w"):
                _, text = where.script("%s latency %s %d f" % (tool, how, count))
                p50, p99, highest = (int(v) / 1000 for v in text.split()[-3:])
                found.append({"fs": fs, "state": state, "gate": gate, "open": "read" if how == "r" else "write",
                              "p50_us": p50, "p99_us": p99, "max_us": highest})
    return found


def memory_kib(pids, field):
    total = 0
    for pid in pids:
        try:
            with open("/proc/%d/status" % pid) as status:
                total += sum(int(line.split()[1]) for line in status if line.startswith(field + ":"))
        except OSError:
            pass
    return total


def idle(fs, extra, seconds):
    """Share of one core that guarding 10,000 files costs when nothing happens."""
    with Place(fs, extra) as where:
        where.script("tar xf \"$TREE_TAR\"")
        guard = conditions.Portcullis()
        guard.start(where)
        time.sleep(3)
        before = guard.cpu_seconds()
        time.sleep(seconds)
        return {"fs": fs, "seconds": seconds, "cpu_percent": 100 * (guard.cpu_seconds() - before) / seconds,
                "rss_kib": memory_kib(guard.pids(), "VmRSS")}


def many_files(count, extra, tool):
    """First scan, memory and restart scan over very many small files, on xfs in a sparse image on disk."""
    host.IMAGE_BYTES, kept = 64 << 30, host.IMAGE_BYTES
    os.environ["PC_TEST_TMP"], tmp = "/var/tmp", os.environ["PC_TEST_TMP"]
    try:
        with Place("xfs", extra) as where:
            made, _ = where.script("%s make %d ." % (tool, count), 900)
            os.sync()
            result = {"files": count, "made_seconds": made}
            for name in ("first_scan", "restart_scan"):
                guard = host.Guard([where.tree], os.path.join(where.dir, "state"),
                                   os.path.join(where.dir, "guard.log"), where.environment())
                where.guards.append(guard)
                start = time.monotonic()
                guard.wait_ready(1800)
                result[name + "_seconds"] = time.monotonic() - start
                time.sleep(2)
                pids = conditions.with_children(guard.process.pid)
                covered = guard.json("status")["folders"][0]["covered"]
                before = conditions.cpu_of(pids)
                time.sleep(20)
                result.update({name + "_covered": covered, name + "_rss_kib": memory_kib(pids, "VmRSS"),
                               name + "_peak_kib": memory_kib(pids, "VmHWM"),
                               name + "_idle_percent": 100 * (conditions.cpu_of(pids) - before) / 20})
                guard.stop()
            result["index_bytes"] = os.path.getsize(os.path.join(where.dir, "state", "index.db"))
            return result
    finally:
        host.IMAGE_BYTES, os.environ["PC_TEST_TMP"] = kept, tmp


def attacks(systems, names):
    """The drill at the rates of TARGETS, by tests/attack/run: files damaged before the freeze, lost after rollback."""
    rows = []
    for name in names:
        with tempfile.NamedTemporaryFile(suffix=".json") as out:
            subprocess.run([sys.executable, os.path.join(host.ROOT, "tests/attack/run"), "--all", "--only", name,
                            "--fs", ",".join(systems), "--json", out.name],
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=600, check=False,
                           env={k: v for k, v in os.environ.items() if k != "PC_TEST_TMP"})
            with open(out.name, encoding="utf-8") as text:
                rows += json.loads(text.read() or "[]")
    return rows
