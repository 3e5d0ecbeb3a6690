#!/usr/bin/env python3
"""The server with 200 simulated hosts: orders to all, a stop to all, a crash under load; and a log that names every answer once.

    tests/fleet/test_sim.py [--agents N]           over SQLite
    tests/store/with_postgres.sh tests/fleet/test_sim.py    two servers over one PostgreSQL

bench/fleet measures with the same parts; here nothing is timed.
"""
import argparse
import base64
import collections
import json
import os
import signal
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import simulated  # noqa: E402


def check(ok, text):
    if not ok:
        raise simulated.Failure(text)
    print("ok - " + text)


def a_sample_enrols_properly(fleet):
    ref = fleet.enrol_properly(fleet.agents)
    check(ref.startswith("sim-%06d#" % fleet.agents), "a host enrols over the API: " + ref)


def orders_reach_all(fleet):
    for class_, kinds in (("C", ("ack", "result")), ("S", ("ack",))):
        sha256, body = fleet.order(class_)
        since, _, _ = fleet.submit(body)
        seen = fleet.wait_stored(sha256, since, kinds)
        check(sum(s["refused"] for s in seen) == 0, "an order of class %s: every host has it, every %s is stored, no host refuses" % (class_, " and ".join(kinds)))
        yield sha256


def crash_under_load(fleet):
    """The first server dies just after it took an order: what it said `got` to is there, the rest comes again."""
    sha256, body = fleet.order("C")
    since, _, _ = fleet.submit(body)
    fleet.servers[0].stop(signal.SIGKILL)
    fleet.servers[0].start()
    fleet.wait_welcomed()
    fleet.wait_stored(sha256, since, ("ack", "result"))
    check(True, "kill -9 under load: all hosts are back and every answer is stored")
    return sha256


def log_is_whole(fleet, shas, stop):
    """Also what came again, because the server died between the commit and its `got`, is in the log once."""
    count = collections.Counter()
    for entry in fleet.log_entries():
        if entry["type"] in ("ack", "result", "refusal"):
            document = json.loads(base64.b64decode(entry["body"]["envelope"]["document"]))
            count[entry["type"], document["order_sha256"], document["host"]] += 1
    check(not [k for k in count if k[0] == "refusal"], "no refusal in the log")
    check(max(count.values()) == 1, "no answer twice in the log")
    for sha256 in shas:
        for kind in ("ack",) if sha256 == stop else ("ack", "result"):
            check(sum(n for k, n in count.items() if k[:2] == (kind, sha256)) == fleet.agents, "%d of %s.. in the log, whose tree has the signed root" % (fleet.agents, kind + " " + sha256[:8]))


def other_servers_know(fleet, sha256):
    order = fleet.api("GET", "/v1/orders/%s?envelopes=0" % sha256, server=len(fleet.servers) - 1)
    states = collections.Counter(h["state"] for h in order["hosts"])
    check(states == {"ok": fleet.agents}, "the %s server tells the state of every host: %s" % ("other" if len(fleet.servers) > 1 else "restarted", dict(states)))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--agents", type=int, default=200)
    o = p.parse_args()
    database = os.environ.get("PC_POSTGRES")
    with simulated.Simulated(o.agents, servers=2 if database else 1, database=database, full_every=10) as fleet:
        for server in fleet.servers:
            server.start()
        a_sample_enrols_properly(fleet)
        for sim in fleet.sims:
            sim.start()
        fleet.wait_welcomed()
        check(True, "%d hosts are connected to %d server(s)" % (o.agents, len(fleet.servers)))
        shas = list(orders_reach_all(fleet))
        shas.append(crash_under_load(fleet))
        log_is_whole(fleet, shas, shas[1])
        other_servers_know(fleet, shas[-1])
        status = fleet.status()
        check(sum(s["checkpoints_refused"] + s["unknown_frames"] for s in status) == 0, "no checkpoint was refused, no frame unknown")
    return 0


if __name__ == "__main__":
    sys.exit(main())
