#!/usr/bin/env python3
"""An incident of a real guard in an early ring halts the rest, and no human has to do anything.

Two hosts of a real fleet (fleet.py). On the first a guard watches a folder on a loop-mounted xfs; an order with two rings runs there, and while it soaks a
drill damages files in that folder. The guard freezes the drill; the host's own signed report says so; nobody gives the second ring its continue. The same
order without a drill opens the second ring: so it is the incident that holds it. Needs root, loop devices and network namespaces.
"""
import base64
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "own-the-server")]
import fleet as machines  # noqa: E402
import test_faults as faults  # noqa: E402

SOAK_S = 20  # a drill whose files lie there is frozen after one; with forty others at work, after some
check = faults.check


class GuardedFolder(machines.single.Host):
    """A loop-mounted xfs whose guard keeps its state where the runner of a fleet's host looks for it."""

    def __init__(self, host):
        super().__init__("xfs")
        self.host = host

    def guard(self):
        guard = machines.single.Guard([self.tree], os.path.join(self.host.dir, "guard"), os.path.join(self.dir, "guard.log"), self.environment())
        self.guards.append(guard)
        guard.wait_ready()
        return guard

    def lay_out(self):
        """Three hundred files for drill()."""
        folder = os.path.join(self.tree, "drill")
        os.mkdir(folder)
        machines.must([os.path.join(machines.BUILD, "portcullis"), "drill", "--prepare-only", "--dir", folder], env=self.environment())
        return os.path.join(folder, os.listdir(folder)[0])

    def drill(self, folder):
        """Damages them until it is frozen."""
        return subprocess.Popen([os.path.join(machines.BUILD, "portcullis"), "drill", "--run-only", folder, "--settle", "0s", "--state-file",
                                 os.path.join(self.scratch, "drill-state")], env=self.environment(), stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


def submit(fleet, name, soak):
    """An order for both hosts in two rings; it leaves the host's address in a file."""
    script, runs = os.path.join(fleet.dir, name + ".sh"), os.path.join(fleet.dir, name + ".runs")
    with open(script, "w", encoding="ascii") as out:
        out.write("#!/bin/sh\nhostname -I >>%s\n" % runs)
    path, digest = fleet.order(name, "script.run", "--script", script, "--timeout", "20", "--ring", "1:%ds" % soak, "--ring", "1:0")
    return path, digest, runs


def ran(fleet, runs):
    """The hosts that ran it, by name."""
    if not os.path.exists(runs):
        return []
    with open(runs, encoding="ascii") as lines:
        addresses = [line.strip() for line in lines]
    return [h.name for h in fleet.hosts for a in addresses if a == h.space.address]


def documents(fleet, kind, digest):
    """What the log has of this kind for the order: the hosts' documents, opened."""
    found = []
    for entry in faults.log_entries(fleet):
        if entry["type"] != kind:
            continue
        body = entry["body"]
        document = json.loads(base64.b64decode(body["envelope"]["document"])) if "envelope" in body else body
        if document.get("order_sha256") == digest:
            found.append(document)
    return found


def quiet_soak(fleet):
    path, digest, runs = submit(fleet, "quiet", 1)
    fleet.wait_outcome(path)
    check(ran(fleet, runs) == ["web1", "web2"], "no incident: the second ring follows the first by itself")
    reports = documents(fleet, "ring", digest)
    check([(r["host"].split("#")[0], r["ring"], r["incidents"]) for r in reports][:1] == [("web1", 0, 0)], "the host of ring 0 reported 0 incidents")
    check(len(documents(fleet, "continue", digest)) == 1, "and the log has one continue")


def incident_in_the_soak(fleet, folder, guard):
    host = fleet.hosts[0]
    before, drilled = len(guard.incidents()), folder.lay_out()
    path, digest, runs = submit(fleet, "halted", SOAK_S)
    machines.eventually("ring 0 runs", lambda: ran(fleet, runs) == ["web1"], 20)
    drill = folder.drill(drilled)
    machines.eventually(lambda: "the guard has an incident: %s" % guard.log_text()[-800:], lambda: len(guard.incidents()) > before, 30)
    check(len(documents(fleet, "ring", digest)) == 0, "a drill, in the soak: the guard of ring 0 froze it (incident %s)" % guard.incidents()[0]["id"])
    host.said("ring 0 reported: ok, %d incidents" % (len(guard.incidents()) - before), 20)
    status = machines.eventually(lambda: "the server says halted: %s" % fleet.order_status(path), lambda: (
        lambda s: s if s["state"] == "halted" else None)(fleet.order_status(path)), 20)
    told = fleet.owners[0].must("order", "status", status["id"])
    check("ring 1 reported 0 failures (0 allowed) and 1 guard incident (0 allowed): no later ring starts" in told, "order status says why:\n%s" % "".join("#   %s\n" % line for line in told.splitlines()))
    server = fleet.server_program.text()
    check("halted in ring 0: 0 failures, 1 incidents" in server, "the server's log says why")
    reports = documents(fleet, "ring", digest)
    check([(r["host"], r["incidents"], r["outcome"]) for r in reports] == [(host.ref, 1, "ok")], "the log has the host's signed report: ok, 1 incident")
    time.sleep(2)  # nothing more comes
    check(documents(fleet, "continue", digest) == [] and ran(fleet, runs) == ["web1"], "no continue was given; ring 1 never ran")
    check("the guard of this host has 1 incidents, 1 more than before" in host.program.text(), "the host's log says that its guard stopped something")
    check(drill.poll() is None, "and the drill is still frozen")
    done = fleet.owners[0].portcullis("log", "verify")
    check(done.returncode == 0, "portcullis log verify agrees%s" % ("" if done.returncode == 0 else " NOT: " + (done.stdout + done.stderr)[-600:]))


def run():
    with machines.Fleet(hosts=2, silence=900) as fleet, GuardedFolder(fleet.hosts[0]) as folder:
        folder.fill(20)
        guard = folder.guard()
        quiet_soak(fleet)
        incident_in_the_soak(fleet, folder, guard)


def main():
    why = machines.why_not() or machines.single.why_not(True)
    if why:
        print("skipped: " + why)
        return machines.single.SKIP
    machines.single.enter_private_mounts()
    machines.single.clean_up_on_signals()
    try:
        run()
    except machines.Failure as e:
        print("not ok - %s" % e)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
