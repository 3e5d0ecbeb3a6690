#!/usr/bin/env python3
"""A real fleet (server, hosts, owners; fleet.py) whose parts fail while orders are under way: nothing lost, nothing run twice, the log whole.

    test_faults.py kills            kill -9 of server, link, runner and whole hosts at random moments of 40 orders on 3 hosts
    test_faults.py kills --long     the same during 1,000
    test_faults.py disk             the server's disk is full
    test_faults.py postgres         PostgreSQL restarts under load
    test_faults.py clock            a host's clock is wrong by a day

Every order appends one line, with the host's address, to a file of its own: what ran, and how often, is read there and not from what
anybody says. The log is fetched and hashed by the Python implementation (own-the-server/tree.py). Needs root.
"""
import argparse
import base64
import collections
import glob
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "own-the-server")]
import fleet as machines  # noqa: E402
import tree  # noqa: E402

FINAL = ("ok", "failed", "timeout", "unknown", "halted", "refused")
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
DAY = 86400


def check(ok, text):
    if not ok:
        raise machines.Failure(text)
    print("ok - " + text, flush=True)


class Orders:
    """Orders that count their runs, and what became of them."""

    def __init__(self, fleet):
        self.fleet, self.runs, self.made = fleet, os.path.join(fleet.dir, "runs"), []
        os.mkdir(self.runs)

    def make(self, hosts=None, seconds=0):
        name = "count-%d" % (len(self.made) + 1)
        script = os.path.join(self.fleet.dir, name + ".sh")
        with open(script, "w", encoding="ascii") as out:
            out.write("#!/bin/sh\nsleep %s\nhostname -I >>%s\n" % (seconds, os.path.join(self.runs, name)))
        path, _ = self.fleet.order(name, "script.run", "--script", script, "--timeout", "60", hosts=hosts, submit=False)
        self.made.append((name, path, hosts or list(self.fleet.hosts)))
        return path

    def submit(self, path):
        return self.fleet.owners[0].portcullis("submit", path)

    def submit_until_taken(self, path, seconds=60):
        """As an owner does whose server is away for a moment: the same file again."""
        machines.eventually("the server takes an order", lambda: self.submit(path).returncode == 0, seconds)

    def lines(self, name):
        path = os.path.join(self.runs, name)
        if not os.path.exists(path):
            return collections.Counter()
        with open(path, encoding="ascii") as lines:
            return collections.Counter(line.strip() for line in lines)

    def states(self, path):
        return {h["host"].split("#")[0]: h["outcome"] or h["state"] for h in self.fleet.order_status(path)["hosts"]}

    def wait_final(self, seconds):
        """Until every host has reported the end of every order."""
        left = {path for _, path, _ in self.made}

        def probe():
            for path in sorted(left):
                if not all(state in FINAL for state in self.states(path).values()):
                    return False
                left.discard(path)
            return True
        machines.eventually(lambda: "every order ends on every host; left: %s" % {p: self.states(p) for p in sorted(left)[:3]}, probe, seconds)

    def judge(self):
        """What ran against what was reported. Answers how many of each outcome."""
        outcomes = collections.Counter()
        for name, path, hosts in self.made:
            states, lines = self.states(path), self.lines(name)
            for host in hosts:
                state, runs = states[host.name], lines[host.space.address]
                outcomes[state] += 1
                if runs > 1:
                    raise machines.Failure("%s ran %d times on %s" % (name, runs, host.name))
                if (state == "ok" and runs != 1) or (state in ("failed", "refused", "halted") and runs):
                    raise machines.Failure("%s is called %s on %s, and it ran %d times" % (name, state, host.name, runs))
        return outcomes


    def all_ok(self, wanted):
        """And nothing else: who was refused is named, with the host's reason."""
        outcomes = self.judge()
        if outcomes != {"ok": wanted}:
            for _, path, _ in self.made:
                print([(h["host"], h["outcome"] or h["state"], h["why"]) for h in self.fleet.order_status(path)["hosts"]], file=sys.stderr)
        check(outcomes == {"ok": wanted}, "none lost, none run twice%s" % ("" if outcomes == {"ok": wanted} else " NOT: %s" % dict(outcomes)))


# --- the log, by another implementation

def fetch(fleet, path):
    with open(os.path.join(fleet.owners[0].home, "token"), encoding="ascii") as secret:
        token = secret.read().strip()
    return machines.must(fleet.owners_space.words(["curl", "-sS", "--fail", "--cacert", fleet.ca, "-H", "Authorization: Bearer " + token, fleet.url + path]))


def log_entries(fleet):
    note = fetch(fleet, "/log/checkpoint").splitlines()
    size, entries = int(note[1]), []
    while len(entries) < size:
        for one in json.loads(fetch(fleet, "/v1/entries?from=%d" % len(entries))):
            check_index = one["index"]
            if check_index != len(entries):
                raise machines.Failure("the log has entry %d where %d belongs" % (check_index, len(entries)))
            entries.append(base64.b64decode(one["entry"]))
    if tree.b64(tree.root([tree.leaf_hash(e) for e in entries[:size]])) != note[2]:
        raise machines.Failure("the log's entries do not have the root that its checkpoint names")
    return [json.loads(e) for e in entries[:size]]


def log_is_whole(fleet, orders):
    """Each order once; of each host one ack and one result for it; and the root that the checkpoint names."""
    entries, count = log_entries(fleet), collections.Counter()
    for entry in entries:
        if entry["type"] == "order":
            count["order", entry["body"]["order_sha256"]] += 1
        if entry["type"] in ("ack", "result"):
            document = json.loads(base64.b64decode(entry["body"]["envelope"]["document"]))
            count[entry["type"], document["order_sha256"], document["host"]] += 1
    for _, path, hosts in orders.made:
        digest = fleet.order_status(path)["order_sha256"]
        wanted = [("order", digest)] + [(kind, digest, host.ref) for kind in ("ack", "result") for host in hosts]
        for key in wanted:
            if count[key] != 1:
                raise machines.Failure("the log has %d entries %s of %s" % (count[key], key, os.path.basename(path)))
    check(True, "the log: %d entries under the signed root; every order, ack and result once" % len(entries))
    done = fleet.owners[0].portcullis("log", "verify")
    check(done.returncode == 0, "portcullis log verify agrees%s" % ("" if done.returncode == 0 else " NOT: " + (done.stdout + done.stderr)[-600:]))


# --- kill -9

def children(pid, role):
    """The processes that this one started with that word on the command line."""
    found = []
    with open("/proc/%d/task/%d/children" % (pid, pid), encoding="ascii") as pids:
        for child in pids.read().split():
            try:
                with open("/proc/%s/cmdline" % child, "rb") as words:
                    if role.encode() in words.read().split(b"\0")[1:2]:
                        found.append(int(child))
            except OSError:
                pass
    return found


class Killer(threading.Thread):
    """Kills one part after the other, at random moments; starts again what nobody else starts."""

    def __init__(self, fleet, seed, pause):
        super().__init__(daemon=True)
        self.fleet, self.random, self.pause, self.enough = fleet, random.Random(seed), pause, threading.Event()
        self.killed, self.failure = collections.Counter(), None

    def run(self):
        try:
            while not self.enough.wait(self.random.uniform(*self.pause)):
                victim = self.random.choice(("server", "server", "link", "runner", "runner", "host"))
                getattr(self, "kill_" + victim)()
                self.killed[victim] += 1
        except Exception as e:  # pylint: disable=broad-except
            self.failure = e

    def end(self):
        self.enough.set()
        self.join()
        if self.failure:
            raise self.failure

    def kill_server(self):
        self.fleet.server_program.stop(signal.SIGKILL)
        time.sleep(self.random.uniform(0, 0.5))
        self.fleet.server_program.start().wait_said("ready")

    def kill_link(self):
        self.kill_part("link")

    def kill_runner(self):
        self.kill_part("runner")

    def kill_part(self, role):
        host = self.random.choice(self.fleet.hosts)
        for pid in children(host.program.process.pid, role):
            os.kill(pid, signal.SIGKILL)

    def kill_host(self):
        """All of it at once, as a power cut does."""
        host = self.random.choice(self.fleet.hosts)
        host.program.stop(signal.SIGKILL)
        host.program.start()


def kills(o):
    with machines.Fleet(hosts=3, silence=900) as fleet:
        orders, killer = Orders(fleet), Killer(fleet, o.seed, (0.1, 1.0) if not o.long else (0.1, 3.0))
        print("# seed %d" % o.seed, flush=True)
        killer.start()
        for n in range(o.orders):
            orders.submit_until_taken(orders.make())
            if o.long and n % 50 == 49:
                print("# %d orders, killed so far: %s" % (n + 1, dict(killer.killed)), flush=True)
        killer.end()
        check(sum(killer.killed.values()) > 0, "%d orders on 3 hosts; kill -9 of %s meanwhile" % (
            o.orders, ", ".join("%s %d x" % k for k in sorted(killer.killed.items()))))
        orders.wait_final(600 if o.long else 90)
        outcomes = orders.judge()
        check(outcomes["ok"] > 0 and not set(outcomes) - {"ok", "unknown"},
              "none lost, none run twice: %s (unknown: killed between start and end, not run again)" % dict(outcomes))
        log_is_whole(fleet, orders)


# --- the disk

class SmallDisk(machines.Fleet):
    """The server's folder is a file system of 24 MiB."""

    def make_server(self):
        self.server_state = os.path.join(self.dir, "server")
        os.mkdir(self.server_state, 0o700)
        machines.must(["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "portcullis-faults", self.server_state])
        super().make_server()

    def close(self):
        for program in reversed(self.programs):
            program.stop()
        machines.run(["umount", "-l", self.server_state])
        super().close()

    def fill(self):
        path = os.path.join(self.server_state, "filler")
        with open(path, "wb", buffering=0) as out:
            try:
                while True:
                    out.write(b"\0" * 4096)
            except OSError:
                return path


def disk(o):
    with SmallDisk(hosts=1, silence=900) as fleet:
        orders = Orders(fleet)
        orders.submit_until_taken(orders.make())
        slow = orders.make(seconds=2)
        orders.submit_until_taken(slow)
        machines.eventually("the slow order is accepted", lambda: orders.states(slow)["web1"] in ("accepted", "running"), 20)
        filler, pid = fleet.fill(), fleet.server_program.process.pid
        late = orders.make()

        def refused():
            done = orders.submit(late)
            return done if done.returncode != 0 else None
        done = machines.eventually("an order is refused", refused, 10)
        check(True, "disk full: an order is refused, and its owner is told: %s" % done.stderr.strip().splitlines()[-1][:120])
        machines.eventually("the slow order has run", lambda: orders.lines("count-2"), 20)
        check(orders.states(slow)["web1"] not in FINAL, "a result that comes now is not taken, so the host keeps it")
        check(fleet.server_program.process.poll() is None and fleet.server_program.process.pid == pid and fleet.online("web1"),
              "the server lives, answers, and keeps the link")
        os.unlink(filler)
        orders.submit_until_taken(late)
        for pid in children(fleet.hosts[0].program.process.pid, "link"):
            os.kill(pid, signal.SIGKILL)  # a host sends again what is not stored after a minute, or with a new link
        orders.wait_final(60)
        check(orders.judge() == {"ok": 3}, "room again: the order is taken, the kept result arrives, each ran once")
        log_is_whole(fleet, orders)


# --- PostgreSQL

def postgres(o):
    url, control = os.environ.get("PC_POSTGRES"), os.environ.get("PC_POSTGRES_CTL")
    if not url:
        os.execv(os.path.join(os.path.dirname(HERE), "store", "with_postgres.sh"), ["with_postgres.sh", os.path.abspath(__file__)] + sys.argv[1:])
    with machines.Fleet(hosts=2, silence=900, database=url) as fleet:
        orders, restarts, enough = Orders(fleet), [], threading.Event()

        def restart():
            while not enough.wait(o.pause):
                # Not through pipes: the new PostgreSQL keeps them open.
                restarts.append(subprocess.run(control.split() + ["restart", "-m", "fast", "-w"], cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                               stderr=subprocess.DEVNULL, timeout=60, check=False).returncode)
        thread = threading.Thread(target=restart, daemon=True)
        thread.start()
        for _ in range(o.orders):
            orders.submit_until_taken(orders.make())
        enough.set()
        thread.join()
        check(restarts and not any(restarts), "PostgreSQL restarted %d times during %d orders" % (len(restarts), o.orders))
        check(fleet.server_program.process.poll() is None, "the server lives through it")
        for host in fleet.hosts:  # what was answered while the database was away is sent again with a new link, or after a minute
            for pid in children(host.program.process.pid, "link"):
                os.kill(pid, signal.SIGKILL)
        orders.wait_final(90)
        orders.all_ok(2 * o.orders)
        log_is_whole(fleet, orders)


# --- the clock

def faketime_leftovers():
    return set(glob.glob("/dev/shm/*faketime*"))


def at(host, offset):
    """The host again, with its clock off by so many seconds (its steady clocks go on as ever)."""
    host.program.stop()
    faked = {"LD_PRELOAD": FAKETIME, "FAKETIME": "%+ds" % offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    for name, value in faked.items():
        host.program.env.pop(name, None)
        if offset:
            host.program.env[name] = value
    host.start()


def clocks(o):
    with machines.Fleet(hosts=1, silence=900) as fleet:
        orders, host = Orders(fleet), fleet.hosts[0]
        at(host, DAY)
        path = orders.make()
        orders.submit_until_taken(path)
        host.said("check expired")
        machines.eventually("the refusal is known", lambda: orders.states(path)["web1"] == "refused", 20)
        check(not orders.lines("count-1"), "a clock a day ahead: the order is refused as expired, nothing runs")
        at(host, -DAY)
        path = orders.make()
        orders.submit_until_taken(path)
        time.sleep(3)
        check(not orders.lines("count-2"), "a clock a day behind: nothing runs; %s" % host.program.text().strip().splitlines()[-1][-160:])
        at(host, 0)
        path = orders.make()
        orders.submit_until_taken(path)
        fleet.wait_outcome(path)
        check(sum(orders.lines("count-3").values()) == 1, "the clock is right again: a new order runs, once")
        check(sum(orders.lines("count-1").values()) == 0 and sum(orders.lines("count-2").values()) <= 1, "and what was refused did not run")
        log_entries(fleet)
        check(True, "the log's entries have the signed root")


def clock(o):
    if not os.path.exists(FAKETIME):
        print("skipped: %s is not installed (apt-get install libfaketime)" % FAKETIME)
        return machines.single.SKIP
    before = faketime_leftovers()
    try:
        clocks(o)
    finally:
        for path in faketime_leftovers() - before:
            os.unlink(path)
    return 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("fault", choices=("kills", "disk", "postgres", "clock"))
    p.add_argument("--orders", type=int)
    p.add_argument("--pause", type=float, default=0.05, help="between restarts of PostgreSQL, s")
    p.add_argument("--long", action="store_true")
    p.add_argument("--seed", type=int, default=int(time.time()))
    o = p.parse_args()
    o.orders = o.orders or {"kills": 1000 if o.long else 40, "postgres": 25}.get(o.fault, 0)
    why = machines.why_not()
    if why:
        print("skipped: " + why)
        return machines.single.SKIP
    machines.single.enter_private_mounts()
    machines.single.clean_up_on_signals()
    try:
        return globals()[o.fault](o) or 0
    except machines.Failure as e:
        print("not ok - %s" % e)
        return 1


if __name__ == "__main__":
    sys.exit(main())
