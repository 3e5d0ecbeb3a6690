#!/usr/bin/env python3
"""Two server processes over one PostgreSQL: what one is told, the hosts of the other get. Run by tests/store/with_postgres.sh (PC_POSTGRES)."""
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import unittest

import fleet
from fleet import Fleet, Host, Server, until


class Shared(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if "PC_POSTGRES" not in os.environ:
            raise unittest.SkipTest("no PostgreSQL: run me by tests/store/with_postgres.sh")
        cls.f = Fleet(database=os.environ["PC_POSTGRES"], heartbeat=20)
        cls.one = cls.f.server
        # The second: a copy of the folder with addresses of its own.
        cls.two = object.__new__(Server)
        cls.two.__dict__.update(cls.one.__dict__)
        cls.two.state = os.path.join(cls.f.folder, "second")
        shutil.copytree(cls.one.state, cls.two.state)
        (cls.two.api_port, cls.two.link_port), cls.two.process = fleet.free_ports(2), None
        cls.two.set("listen", f"127.0.0.1:{cls.two.api_port}")
        cls.two.set("link", f"127.0.0.1:{cls.two.link_port}")
        cls.two.start()
        cls.a, cls.b = Host(cls.one, "a").enroll(), Host(cls.two, "b").enroll()

    @classmethod
    def tearDownClass(cls):
        cls.two.stop()
        cls.f.close()

    def setUp(self):
        self.b.server = self.two
        self.a.connect()
        self.b.connect()

    def tearDown(self):
        self.a.close()
        self.b.close()

    def test_two_processes_are_one_server(self):
        # Enrolled at one, known at the other; online wherever the link is.
        until(lambda: [h["name"] for h in self.one.get("/v1/hosts") if h["online"]] == ["a", "b"])
        # An order handed to one goes to the hosts of both.
        sha, _ = self.f.order([self.a, self.b])
        for host in (self.a, self.b):
            self.assertEqual(host.bundle()[0], sha)
            host.ack(sha)
            host.result(sha)
        until(lambda: self.two.get("/v1/orders/" + sha)["state"] == "done")
        # So does a stop, and a look.
        stop, _ = self.f.order([self.b], owners=self.f.owners[:1], action="host.isolate", params={"allow": [], "seconds": 60}, order_class="S")
        self.assertEqual(self.b.bundle()[0], stop)
        stops = self.b.frames.count("bundle")
        look = self.one.post("/v1/looks", {"hosts": ["*"], "action": "metrics", "params": {}}, role="look")["look"]
        for host in (self.a, self.b):
            self.assertEqual(host.wait("look")["look"], look)
            host.result(look=look, data={"x": 1})
        self.assertEqual(len(self.one.get("/v1/looks/" + look)["results"]), 2)
        self.assertEqual(self.b.frames.count("bundle"), stops)  # told ahead of the log, or with it: sent once
        # And the owners' documents.
        new = fleet.trust_document(self.f.owners, self.one.vkey, version=2)
        self.one.post("/v1/trust", fleet.envelope(new, self.f.owners[:2], "trust@portcullis"))
        self.b.wait("trust")
        # A ring whose hosts are at one process opens the next at the other.
        rings, _ = self.f.order([self.a, self.b], rings=[{"hosts": 1, "soak": 0}, {"hosts": 1, "soak": 0}])
        for host in (self.a, self.b):
            while host.bundle()[0] != rings:
                pass
            host.ack(rings)
        self.a.ring(rings, 0)
        self.assertEqual(self.b.check_logged(self.b.wait("continue"))["type"], "continue")
        until(lambda: self.one.log() == self.two.log())

    def announce(self, body, sha):
        """As a third server that took a stop and has not logged it yet."""
        value = json.dumps(body).encode().hex()
        sql = f"INSERT INTO setting VALUES('stop/{sha}', decode('{value}','hex')); SELECT pg_notify('portcullis', 'stop {sha} third');"
        subprocess.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", os.environ["PC_POSTGRES"]], input=sql.encode(), stdout=subprocess.DEVNULL, check=True)

    def test_a_stop_is_told_ahead_of_the_log(self):
        def stop(owners):
            document = fleet.order_document([self.b.ref], 1, action="host.isolate", params={"allow": [], "seconds": 60}, order_class="S")
            return fleet.envelope(document, owners), hashlib.sha256(document).hexdigest()
        forged, forged_sha = stop([])
        self.announce(forged, forged_sha)
        swapped, _ = stop(self.f.owners[:1])
        self.announce(swapped, "0" * 64)
        good, sha = stop(self.f.owners[:1])
        self.announce(good, sha)
        self.assertEqual(self.b.bundle()[0], sha)  # nothing before it
        self.assertNotIn(sha, [e["body"].get("order_sha256") for e in self.one.log()])
        # Handed in, it is logged, and a host that had it has no second one.
        bundles = self.b.frames.count("bundle")
        self.one.post("/v1/orders", good)
        until(lambda: sha in [e["body"].get("order_sha256") for e in self.two.log()])
        self.b.ack(sha)
        self.assertLessEqual(self.b.frames.count("bundle"), bundles + 1)
        # One that comes later gets it too.
        late, late_sha = stop(self.f.owners[1:2])
        self.b.close()
        self.one.post("/v1/orders", late)
        self.b.connect()
        while self.b.bundle()[0] != late_sha:
            pass
        self.b.ack(late_sha)

    def postgres_processes(self):
        """All of the database's: the one that began, and what it began."""
        folder = os.environ["PC_POSTGRES_CTL"].split("-D ")[1].split()[0]
        with open(os.path.join(folder, "postmaster.pid"), encoding="ascii") as f:
            first = int(f.readline())
        with open(f"/proc/{first}/task/{first}/children", encoding="ascii") as f:
            return [first] + [int(pid) for pid in f.read().split()]

    def test_the_database_stands_still(self):
        """It takes what it is sent and says nothing: links live, a stop leaves, and everything goes on when it does."""
        if os.geteuid() != 0:
            self.skipTest("only root may stop another user's PostgreSQL")
        self.f.order([self.a])
        self.a.ack(self.a.bundle()[0])
        self.assertEqual(self.one.call("GET", "/healthz", role=None)[0], 200)
        document = fleet.order_document([self.a.ref], 1, action="host.isolate", params={"allow": [], "seconds": 60}, order_class="S")
        sha, answers = hashlib.sha256(document).hexdigest(), []
        body = fleet.envelope(document, self.f.owners[:1])
        asked = threading.Thread(target=lambda: answers.append(self.one.call("POST", "/v1/orders", body, timeout=120)))
        stopped = self.postgres_processes()
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            asked.start()
            self.assertEqual(self.a.bundle()[0], sha)
            self.assertEqual(self.one.call("GET", "/healthz", role=None)[0], 503)
            self.assertEqual(self.one.call("GET", "/v1/hosts", role="look")[0], 503)
            for host in (self.a, self.b):
                host.send("ping")
                host.wait("pong")
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        asked.join()
        until(lambda: self.one.call("GET", "/healthz", role=None)[0] == 200)
        if answers[0][0] != 200:  # it may have taken too long for what was under way: handed in again, as it says
            self.one.post("/v1/orders", body)
        until(lambda: sha in [e["body"].get("order_sha256") for e in self.one.log()])
        after, _ = self.f.order([self.a, self.b])
        for host in (self.a, self.b):
            while host.bundle()[0] != after:
                pass
            host.ack(after)
        self.a.ack(sha)

    def test_one_dies_its_host_goes_to_the_other(self):
        sha, _ = self.f.order([self.b])
        self.b.bundle()
        self.two.stop(signal.SIGKILL)
        self.b.close()
        self.b.server = self.one
        self.b.connect()
        self.assertEqual(self.b.bundle()[0], sha)
        self.b.ack(sha)
        self.b.result(sha)
        until(lambda: self.one.get("/v1/orders/" + sha)["state"] == "done")
        self.two.start()
        until(lambda: self.two.log() == self.one.log())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
