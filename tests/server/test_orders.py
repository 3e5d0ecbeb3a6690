#!/usr/bin/env python3
"""Orders through a real server: approvals, delivery, acks, results, stops, looks, rings. Needs PC_BUILD, ssh-keygen, openssl."""
import base64
import hashlib
import json
import sys
import unittest

import fleet
from fleet import Fleet, Host, envelope, order_document, trust_document, until


class Orders(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.f = Fleet(heartbeat=20)
        cls.a, cls.b = cls.f.host("web1"), cls.f.host("web2")

    @classmethod
    def tearDownClass(cls):
        cls.a.close()
        cls.b.close()
        cls.f.close()

    def state(self, sha):
        return self.f.server.get("/v1/orders/" + sha)

    def test_from_approval_to_result(self):
        sha, answer = self.f.order([self.a], owners=self.f.owners[:1])
        self.assertEqual((answer["state"], answer["approvals"], answer["needed"]), ("waiting", 1, 2))
        doc = base64.b64decode(self.state(sha)["document"])
        answer = self.f.server.post("/v1/orders", envelope(doc, self.f.owners[1:2]))
        self.assertEqual((answer["state"], answer["approvals"]), ("ready", 2))
        got, order = self.a.bundle()
        self.assertEqual((got, order["hosts"]), (sha, [self.a.ref]))
        self.a.ack(sha)
        until(lambda: self.state(sha)["state"] == "running")
        self.a.result(sha, output=b"hello")
        until(lambda: self.state(sha)["state"] == "done")
        order = self.state(sha)
        host = order["hosts"][0]
        self.assertEqual((host["host"], host["state"], host["outcome"], host["exit"]), (self.a.ref, "ok", "ok", 0))
        self.assertEqual(base64.b64decode(host["output"]), b"hello")
        self.assertEqual(len(order["signatures"]), 2)
        types = [e["type"] for e in self.f.server.log() if e["body"].get("order_sha256") == sha]
        self.assertEqual(types, ["order"])
        self.assertIn(sha, [o["order_sha256"] for o in self.f.server.get("/v1/orders")])

    def test_the_same_owner_twice_is_one(self):
        alice = self.f.owners[0]
        sha, answer = self.f.order([self.a], owners=[alice])
        doc = base64.b64decode(self.state(sha)["document"])
        for _ in range(2):
            answer = self.f.server.post("/v1/orders", envelope(doc, [alice]))
        self.assertEqual((answer["state"], answer["approvals"]), ("waiting", 1))

    def refused(self, document, owners=None, word=None):
        before = len(self.f.server.get("/v1/orders"))
        status, answer = self.f.server.call("POST", "/v1/orders", envelope(document, owners or self.f.owners[:2]))
        self.assertEqual((status, answer["error"]), (422, word))
        self.assertEqual(len(self.f.server.get("/v1/orders")), before)

    def test_what_hosts_would_refuse_is_refused(self):
        n = 5000
        refs = [self.a.ref]
        self.refused(order_document(refs, n, tenant="elsewhere"), word="tenant")
        self.refused(order_document(refs, n, action="rm"), word="action")
        self.refused(order_document(refs, n, params={"argv": ["/bin/true"]}), word="action")
        self.refused(order_document(refs, n, order_class="S"), word="class")
        self.refused(order_document(refs, n, count=2), word="count")
        self.refused(order_document(refs, n, expires=-10), word="expired")
        self.refused(order_document(refs, 1000000000), word="sequence-gap")
        self.refused(order_document(refs, n)[:-1], word="syntax")
        stranger = fleet.Owner(self.a.folder, "mallory")
        self.refused(order_document(refs, n), owners=[stranger, self.f.owners[0]], word="signature")

    def test_a_lower_sequence_is_refused(self):
        self.f.order([self.b])
        self.refused(order_document([self.b.ref], 1), word="sequence")

    def test_delivered_again_until_acked(self):
        host = self.f.host("late", connect=False)
        sha, _ = self.f.order([host])
        for _ in range(2):
            host.connect()
            self.assertEqual(host.bundle()[0], sha)
            host.close()
        host.connect()
        host.bundle()
        host.ack(sha)
        host.close()
        until(lambda: self.state(sha)["hosts"][0]["state"] == "accepted")
        host.connect()
        host.send("ping")
        self.assertEqual(host.next()[0], "pong")
        self.assertNotIn("bundle", host.frames[-2:])
        host.result(sha, outcome="failed", exit=3)
        host.close()
        until(lambda: self.state(sha)["state"] == "done")
        self.assertEqual(self.state(sha)["hosts"][0]["exit"], 3)

    def test_an_ack_that_comes_again_takes_nothing_back(self):
        sha, _ = self.f.order([self.b])
        while self.b.bundle()[0] != sha:
            pass
        self.b.ack(sha)
        self.b.result(sha)
        size = len(self.f.server.log())
        self.b.got.clear()
        self.b.ack(sha)
        self.assertEqual(self.state(sha)["hosts"][0]["state"], "ok")
        self.assertLessEqual(len([e for e in self.f.server.log()[size:] if e["type"] == "ack"]), 1)

    def test_refusals_are_logged_and_shown(self):
        sha, _ = self.f.order([self.b])
        while self.b.bundle()[0] != sha:
            pass
        self.b.ack(sha, verdict="refused", why="dwell")
        until(lambda: self.state(sha)["state"] == "done")
        host = self.state(sha)["hosts"][0]
        self.assertEqual((host["state"], host["why"]), ("refused", "dwell"))
        self.assertIn("refusal", [e["type"] for e in self.f.server.log()])

    def test_a_full_host_gets_it_again(self):
        host = self.f.host("full")
        sha, _ = self.f.order([host])
        host.bundle()
        host.ack(sha, verdict="refused", why="space")
        host.close()
        host.connect()
        self.assertEqual(host.bundle()[0], sha)
        host.close()

    def test_a_stop_needs_one_owner(self):
        sha, answer = self.f.order([self.a, self.b], owners=self.f.owners[2:], action="host.isolate", params={"allow": [], "seconds": 60}, order_class="S")
        self.assertEqual(answer["state"], "ready")
        for host in (self.a, self.b):
            while host.bundle()[0] != sha:
                pass
            host.ack(sha)
        stops = [e for e in self.f.server.log() if e["type"] == "stop"]
        self.assertIn(sha, [e["body"]["order_sha256"] for e in stops])

    def test_a_stop_of_nobody_is_not_sent(self):
        stranger = fleet.Owner(self.b.folder, "eve")
        doc = order_document([self.b.ref], 1, action="host.isolate", params={"allow": [], "seconds": 60}, order_class="S")
        status, answer = self.f.server.call("POST", "/v1/orders", envelope(doc, [stranger]))
        self.assertEqual((status, answer["error"]), (422, "signature"))
        self.b.send("ping")
        while self.b.next()[0] != "pong":
            self.assertNotEqual(self.b.frames[-1:], ["bundle"])

    def test_looks(self):
        answer = self.f.server.post("/v1/looks", {"hosts": ["web1"], "action": "inventory", "params": {}}, role="look")
        self.assertEqual(answer["reached"], 1)
        asked = self.a.wait("look")
        self.assertEqual((asked["look"], asked["action"], asked["params"]), (answer["look"], "inventory", {}))
        self.a.result(look=asked["look"], data={"kernel": "6.1"})
        got = self.f.server.get("/v1/looks/" + answer["look"])
        self.assertEqual(got["results"][0]["document"]["data"], {"kernel": "6.1"})
        self.assertEqual(self.f.server.get("/v1/hosts/web1")["inventory"]["document"]["data"], {"kernel": "6.1"})
        status, _ = self.f.server.call("POST", "/v1/looks", {"hosts": ["web1"], "action": "script.run", "params": {}})
        self.assertEqual(status, 400)

    def test_a_rooted_order(self):
        hosts = [self.f.host(f"r{i}") for i in range(3)]
        leaves = [fleet.leaf_hash(h.ref.encode()) for h in hosts]
        self.f.sequence += 1
        plain = json.loads(order_document(["x#" + "0" * 32], self.f.sequence))
        doc = json.dumps({**{k: v for k, v in plain.items() if k != "hosts"}, "hosts_root": fleet.b64(fleet.tree_root(leaves)),
                          "count": 3}).encode()
        body = envelope(doc, self.f.owners[:2])
        status, answer = self.f.server.call("POST", "/v1/orders", body)
        self.assertEqual((status, answer["error"]), (422, "count"))
        status, answer = self.f.server.call("POST", "/v1/orders", {**body, "hosts": [h.ref for h in reversed(hosts)]})
        self.assertEqual((status, answer["error"]), (422, "count"))
        self.f.server.post("/v1/orders", {**body, "hosts": [h.ref for h in hosts]})
        for i, h in enumerate(hosts):
            bundle = h.wait("bundle")
            place = bundle["place"]
            self.assertEqual((place["host"], place["index"]), (h.ref, i))
            root = fleet.inclusion_root(i, 3, leaves[i], [base64.b64decode(p) for p in place["proof"]])
            self.assertEqual(root, fleet.tree_root(leaves))
            h.check_logged(bundle)
            h.close()


class Rings(unittest.TestCase):
    def setUp(self):
        self.f = Fleet(heartbeat=20)
        self.hosts = [self.f.host(f"h{i}") for i in range(3)]

    def tearDown(self):
        for h in self.hosts:
            h.close()
        self.f.close()

    def start(self, **halt):
        sha, _ = self.f.order(self.hosts, rings=[{"hosts": 2, "soak": 0}, {"hosts": 1, "soak": 0}], **({"halt": halt} if halt else {}))
        for h in self.hosts:
            self.assertEqual(h.bundle()[0], sha)
            h.ack(sha)
        return sha

    def continued(self, host, sha, timeout=30):
        body = host.wait("continue", timeout)
        entry = host.check_logged(body)
        self.assertEqual((body["order_sha256"], body["ring"], entry["type"], entry["body"]["ring"]), (sha, 1, "continue", 1))
        hashes = [hashlib.sha256(base64.b64decode(r["envelope"]["document"])).digest() for r in body["reports"]]
        self.assertEqual(entry["body"]["reports"], hashlib.sha256(b"".join(hashes)).hexdigest())
        return body

    def test_a_ring_opens_the_next(self):
        sha = self.start()
        self.hosts[0].result(sha)
        self.hosts[0].ring(sha, 0)
        self.hosts[1].result(sha)
        self.hosts[1].ring(sha, 0)
        self.assertEqual(len(self.continued(self.hosts[2], sha)["reports"]), 2)
        # A host that was away gets the very same one.
        self.hosts[2].close()
        self.hosts[2].connect()
        self.continued(self.hosts[2], sha)
        self.hosts[2].result(sha)
        until(lambda: self.f.server.get("/v1/orders/" + sha)["state"] == "done")

    def test_a_failure_halts(self):
        sha = self.start()
        self.hosts[0].result(sha, outcome="failed", exit=1)
        self.hosts[0].ring(sha, 0, outcome="failed")
        until(lambda: self.f.server.get("/v1/orders/" + sha)["state"] == "halted")
        self.hosts[1].ring(sha, 0)
        self.hosts[2].send("ping")
        self.assertEqual(self.hosts[2].next()[0], "pong")
        log = self.f.server.log()
        self.assertNotIn("continue", [e["type"] for e in log])
        halts = [e["body"] for e in log if e["type"] == "halt"]
        reports = [base64.b64decode(e["body"]["envelope"]["document"]) for e in log if e["type"] == "ring"]
        failed = [hashlib.sha256(r).hexdigest() for r in reports if json.loads(r)["outcome"] == "failed"]
        self.assertEqual(halts, [{"order_sha256": sha, "run": 0, "ring": 0, "failures": 1, "incidents": 0, "because": failed}])

    def test_an_incident_halts(self):
        sha = self.start()
        self.hosts[0].ring(sha, 0, incidents=1)
        until(lambda: self.f.server.get("/v1/orders/" + sha)["state"] == "halted")
        halts = [e["body"] for e in self.f.server.log() if e["type"] == "halt"]
        self.assertEqual([(h["failures"], h["incidents"], len(h["because"])) for h in halts], [(0, 1, 1)])

    def test_a_continue_survives_a_restart(self):
        sha = self.start(failures=1, incidents=0)
        self.hosts[2].close()
        self.hosts[0].ring(sha, 0, outcome="failed")
        self.hosts[1].ring(sha, 0)
        until(lambda: "continue" in [e["type"] for e in self.f.server.log()])
        self.f.server.stop()
        self.f.server.start()
        self.hosts[2].connect()
        self.continued(self.hosts[2], sha)

    def test_standing_orders_start_when_asked(self):
        params = {"security": True, "timeout": 600}
        sha, _ = self.f.order(self.hosts[:1], order_class="B", action="package.update", params=params,
                              standing={"days": ["mon"], "from": "01:00", "until": "05:00", "every": 3600})
        self.hosts[0].bundle()
        self.hosts[0].ack(sha)
        for run in (1, 2):
            self.assertEqual(self.f.server.post("/v1/starts", {"order_sha256": sha})["run"], run)
            body = self.hosts[0].wait("start")
            entry = self.hosts[0].check_logged(body)
            self.assertEqual((body["run"], entry["type"], entry["body"]["run"]), (run, "start", run))
            self.hosts[0].result(sha, run=run)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
