"""Runs scenarios against a guard that is really running on a real file system of its own, each under a hard time limit.

Owns: the list of scenarios of the program that imports it, one child process a scenario, and the end of everything that
was started (this process adopts orphans, so nothing escapes it). Must not know what a scenario does.
"""
import argparse
import ctypes
import errno
import functools
import os
import signal
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))
sys.dont_write_bytecode = True
import host    # noqa: E402
import judge   # noqa: E402
import scenario as tap  # noqa: E402
from patience import Failure  # noqa: E402
import patience  # noqa: E402

PR_SET_CHILD_SUBREAPER = 36
BUSY = 3  # a machine with other work takes so much longer; a scenario's limit only ends what hangs
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
ACTOR = [sys.executable, os.path.join(HERE, "actor.py")]
SCENARIOS = []
eventually = functools.partial(patience.eventually, pause=0.02)  # what is to be met in the act is soon over


class Skip(Exception):
    """This machine cannot run it, and why."""


def scenario(*file_systems, seconds=60, long=False, image=host.IMAGE_BYTES):
    """Registers a function(Bench), to be run on each file system (an image of so many bytes) within so many seconds of a quiet machine."""
    def register(function):
        for fs in file_systems:
            SCENARIOS.append({"name": "%s-%s" % (function.__name__.replace("_", "-"), fs), "fs": fs, "run": function,
                              "seconds": seconds * BUSY, "long": long, "image": image})
        return function
    return register


def check(condition, text, *words):
    if not condition:
        raise Failure(text % words if words else text)


def leave_network():
    """This scenario goes on in a network namespace of its own, where the kernel has no process connector."""
    if LIBC.unshare(CLONE_NEWNET) != 0:
        raise Skip("no network namespaces here")


def forget_ancestry():
    """This scenario goes on where nothing tells of forks: no process connector, and perf events are refused."""
    leave_network()
    seccomp = ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    allow, refuse = 0x7fff0000, 0x00050000 | errno.EPERM
    rules = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(allow)))
    call = seccomp.seccomp_syscall_resolve_name(b"perf_event_open")
    if seccomp.seccomp_rule_add(rules, ctypes.c_uint32(refuse), call, 0) != 0 or seccomp.seccomp_load(rules) != 0:
        raise Failure("perf_event_open could not be refused")
    seccomp.seccomp_release(rules)


class Guard(host.Guard):
    """A guard with settings of its own, and with a worker that may be replaced under us."""

    def __init__(self, bench, protect, settings=None, limit=None, state=None, within=()):
        self.bench, self.state, self.env = bench, state or os.path.join(bench.dir, "state"), bench.environment()
        self.config = os.path.join(bench.dir, "portcullis.conf")
        os.makedirs(self.state, mode=0o700, exist_ok=True)
        self.configure(settings or "")
        words = [os.path.join(host.BUILD, "portcullisd"), "guard", "--state", self.state, "--config", self.config]
        for folder in protect:
            words += ["--protect", folder]
        if limit:
            words = ["prlimit", "--nofile=%d:%d" % (limit, limit)] + words
        words = list(within) + words
        self.log_path = os.path.join(bench.dir, "guard.log")
        self.start_at = os.path.getsize(self.log_path) if os.path.exists(self.log_path) else 0
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT,
                                        env=self.env, start_new_session=True)

    def configure(self, settings):
        with open(self.config, "w", encoding="utf-8") as out:
            out.write("[log]\njournal = no\n" + settings)

    def log_text(self):
        """What this guard said, without what an earlier one of the same host did."""
        with open(self.log_path, "rb") as log:
            log.seek(self.start_at)
            return log.read().decode("utf-8", "replace")

    def status(self):
        """The status, or None while no worker answers."""
        try:
            return self.json("status")
        except (RuntimeError, ValueError):
            return None

    def worker(self):
        return eventually("a worker answers", self.status)["pid"]

    def wait_worker_other_than(self, old, seconds=20):
        """A new worker that has looked at everything: its status."""
        def probe():
            now = self.status()
            return now if now and now["pid"] != old and now["active"] else None
        return eventually("another worker guards", probe, seconds)

    def wait_quiet(self, seconds=45):
        """Until all that happened was looked at and preserved."""
        seen = [None]
        def probe():
            now = self.json("status")
            mark = (now["events"]["read"], now["events"]["captures"], [v["queue"] for v in now["volumes"]])
            quiet = now["active"] and mark == seen[0] and not any(mark[2])
            seen[0] = mark
            time.sleep(0.15)
            return quiet
        eventually(lambda: "the guard is quiet; reads, captures, waiting: %s; active: %s" %
                   (seen[0], self.json("status")["active"]), probe, seconds)

    def wait_asks(self, what="opens of files kept by a link", seconds=15):
        """Until that is whose opens wait (on-open)."""
        eventually("the guard asks about: " + what, lambda: self.json("status")["volumes"][0]["asks"] == what, seconds)

    def wait_incident(self, state="frozen", seconds=20):
        def probe():
            found = [i for i in self.incidents() if i["state"] == state]
            return found[0] if found else None
        return eventually("an incident is %s" % state, probe, seconds)

    def warnings(self):
        return "\n".join(self.json("status")["warnings"])

    def folder(self, path=None):
        return [f for f in self.json("status")["folders"] if f["path"] == (path or self.bench.tree)][0]


class Actor:
    """An unrelated program that destroys files one way (actor.py); waits for go() when it has what it needs."""

    def __init__(self, bench, method, paths, pause=0.0):
        words = ACTOR + [method, "--outside", bench.outside, "--pause", str(pause)]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=bench.environment(),
                                        cwd=bench.scratch, start_new_session=True)
        self.process.stdin.write(b"\0".join(os.fsencode(p) for p in paths) + b"\0\0\n")
        self.process.stdin.flush()
        check(self.process.stdout.readline() == b"ready\n", "the actor could not prepare: %s", method)
        self.pid = self.process.pid

    def go(self):
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()

    def finish(self, seconds=30):
        """Waits for its end; how many files it says it destroyed."""
        self.process.wait(seconds)
        check(self.process.returncode == 0, "the actor failed: %d", self.process.returncode)
        return int(self.process.stdout.read() or b"0")

    def finish_or_freeze(self, guard, seconds=30):
        """Waits until it has ended or is frozen by an incident; then ends it. True when it was frozen."""
        def probe():
            if self.process.poll() is not None:
                return "ended"
            mine = any(i["state"] == "frozen" and i["actor"]["pid"] == self.pid for i in guard.incidents())
            return "frozen" if mine else None
        how = eventually("the actor ends or is frozen", probe, seconds)
        if how == "ended":
            check(self.process.returncode == 0, "the actor failed: %d", self.process.returncode)
        else:
            self.kill()
        return how == "frozen"

    def stopped(self):
        return not host.running([self.pid])

    def kill(self):
        for number in (signal.SIGKILL, signal.SIGCONT):
            self.process.send_signal(number)
        self.process.wait(10)


class Bench(host.Host):
    """A host for one scenario."""

    def start_guard(self, settings=None, protect=None, limit=None, ready=True, within=()):
        """within: the command that starts the guard's, where it is to run elsewhere than here."""
        guard = Guard(self, protect or [self.tree], settings, limit, within=within)
        self.guards.append(guard)
        if ready:
            guard.wait_ready()
        return guard

    def look(self):
        return judge.look(self.tree)

    def check_same(self, before, what, ignore=()):
        now = self.look()
        for row in list(before.values()) + list(now.values()):
            for field in ignore:
                row.pop(field, None)
        strict, folder_times = judge.lost(before, now)
        check(not strict, "%s: %d differences: %s", what, len(strict), "; ".join(strict[:8]))
        return folder_times


def bring_back(bench, guard, before):
    """As an owner would: the incident when there is one, else file by file. Returns which."""
    incidents = guard.incidents()
    for incident in incidents:
        status, text = guard.command("rollback", str(incident["id"]))
        check(status == 0, "rollback %d: status %d: %s", incident["id"], status, text[-600:])
    if incidents:
        return "rollback"
    restore_rest(bench, guard, before)
    return "restore"


def restore_rest(bench, guard, before):
    """File by file, as an owner would who sees what is missing."""
    now = bench.look()
    for path in [p for p, row in before.items() if row.get("sha256") != now.get(p, {}).get("sha256")]:
        status, text = guard.command("restore", os.path.join(bench.tree, path))
        check(status == 0, "restore %r: status %d: %s", path, status, text[-600:])


def descendants():
    """Every process beneath this one, however deep."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name) as stat:
                    parents[int(name)] = int(stat.read().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found, more = set(), {os.getpid()}
    while more:
        more = {pid for pid, parent in parents.items() if parent in more} - found
        found |= more
    return found


def end_everything():
    until = time.monotonic() + 10
    while time.monotonic() < until:
        for pid in descendants():
            for number in (signal.SIGKILL, signal.SIGCONT):
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.05)


def in_time(number, frame):
    raise Failure("out of time")


def run_child(case, logs, out):
    """In the child: one scenario, its verdict as a line in `out`."""
    signal.signal(signal.SIGALRM, in_time)
    signal.alarm(case["seconds"])
    host.IMAGE_BYTES = case["image"]
    verdict, why = "pass", ""
    log = os.path.join(logs, case["name"] + ".log") if logs else None
    try:
        with Bench(case["fs"], log) as bench:
            try:
                why = case["run"](bench) or ""
            except (Failure, RuntimeError, subprocess.SubprocessError, OSError) as error:
                tail = [g.log_text()[-1500:] for g in bench.guards[-1:]]
                where = traceback.extract_tb(error.__traceback__)
                place = [f for f in where if f.filename.startswith(HERE)][-1]
                line = "%s:%d" % (os.path.basename(place.filename), place.lineno)
                verdict, why = "fail", "%s (%s)\n%s" % (error, line, "".join(tail))
    except Skip as reason:
        verdict, why = "skip", str(reason)
    except (Failure, OSError, subprocess.SubprocessError) as error:
        verdict, why = "fail", "setting up or cleaning up: %s" % error
    os.write(out, ("%s %s" % (verdict, why)).encode("utf-8", "backslashreplace"))


def run_case(case, logs):
    """(verdict, why, seconds): in a child, killed with all it started when it will not end."""
    reading, writing = os.pipe()
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        run_child(case, logs, writing)
        sys.stdout.flush()
        os._exit(0)
    os.close(writing)
    limit = started + case["seconds"] + 20
    try:
        while time.monotonic() < limit and os.waitpid(pid, os.WNOHANG)[0] == 0:
            time.sleep(0.02)
    finally:
        end_everything()  # also when this run itself is ended
    late = time.monotonic() >= limit
    with open(reading, "rb") as said:
        verdict, _, why = said.read().decode().partition(" ")
    if late or verdict not in ("pass", "fail", "skip"):
        verdict, why = "fail", "hung for %d s and was killed\n%s" % (case["seconds"] + 20, why)
    return verdict, why, time.monotonic() - started


def main(about):
    options = argparse.ArgumentParser(description=about)
    options.add_argument("--only", action="append", help="scenarios whose name contains this")
    options.add_argument("--fs", help="only these file systems, by comma")
    options.add_argument("--long", action="store_true", help="the long ones, too")
    options.add_argument("--list", action="store_true")
    options.add_argument("--logs", help="keep the guard's logs in this folder")
    options.add_argument("--out", help="results as JSON")
    args = options.parse_args()
    chosen = [c for c in SCENARIOS if (args.long or not c["long"]) and
              (not args.fs or c["fs"] in args.fs.split(",")) and
              (not args.only or any(word in c["name"] for word in args.only))]
    if args.list:
        print("\n".join(c["name"] for c in chosen))
        return 0
    missing = host.why_not(True)
    if missing:
        print("skipped: " + missing)
        return host.SKIP
    host.enter_private_mounts()
    host.clean_up_on_signals()
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    if args.logs:
        os.makedirs(args.logs, exist_ok=True)
    results = tap.Report(("seconds", "said"), len(chosen), args.out)
    for case in chosen:
        verdict, why, seconds = run_case(case, args.logs)
        results.add({"name": case["name"], "verdict": verdict, "why": why, "seconds": "%.1f" % seconds,
                     "said": why.split("\n")[0] if verdict == "pass" and why else None})
    return results.close()
