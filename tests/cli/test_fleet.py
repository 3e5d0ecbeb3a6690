#!/usr/bin/env python3
"""The owner's networked commands against an HTTPS server of our own that also lies.

Usage: test_fleet.py PORTCULLIS
"""
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import fake_server  # noqa: E402
from fake_server import HostKey, ack, b64, moment, result, sha256  # noqa: E402
import merkle  # noqa: E402

PORTCULLIS = os.path.abspath(sys.argv[1])


class Case(unittest.TestCase):
    """One server and one owner's folder for all tests of a class; orders are each test's own."""

    @classmethod
    def setUpClass(cls):
        cls.top = tempfile.mkdtemp(prefix="pc-fleet-cli-")
        cls.other_ca = fake_server.certificates(cls.top, "other")[0]

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.top)

    def setUp(self):
        self.dir = tempfile.mkdtemp(dir=self.top)
        self.server = fake_server.Server(self.dir)
        self.fleet = self.server.fleet
        self.web1, self.web2 = self.server.add_host("web1"), self.server.add_host("web2")
        self.home = os.path.join(self.dir, "owner")
        os.mkdir(self.home)
        self.write("owner.conf", "[server]\nurl = %s\nca = %s\ntoken = token\n" % (self.server.url, self.server.ca))
        self.write("token", fake_server.TOKEN + "\n")
        os.chmod(os.path.join(self.home, "token"), 0o600)
        self.write("hosts", "# by hand\n%s\n%s\n" % (self.web1.ref, self.web2.ref))
        shutil.copy(self.fleet.trust_path, os.path.join(self.home, "trust.json"))

    def tearDown(self):
        self.server.close()

    def write(self, name, text):
        with open(os.path.join(self.home, name), "w", encoding="utf-8") as f:
            f.write(text)

    def read(self, name):
        with open(os.path.join(self.home, name), encoding="utf-8") as f:
            return f.read()

    def run_it(self, *args, **more):
        env = {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC", "PORTCULLIS_OWNER": self.home, "NO_PROXY": "127.0.0.1"}
        more.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run([PORTCULLIS, *args], env=env, capture_output=True, text=True, timeout=60, **more)

    def good(self, *args, **more):
        r = self.run_it(*args, **more)
        self.assertEqual(r.returncode, 0, r)
        return r.stdout

    def json(self, *args):
        return json.loads(self.good(*args, "--json"))

    def bad(self, status, words, *args, **more):
        r = self.run_it(*args, **more)
        self.assertEqual(r.returncode, status, r)
        self.assertIn(words, r.stderr)
        return r

    def order_file(self, document, owners=(0, 1), namespace="order@portcullis", name="order.json"):
        path = os.path.join(self.dir, name)
        with open(path, "wb") as f:
            f.write(document)
        for i in owners:
            with open("%s.%s.sig" % (path, self.fleet.owners[i].name), "w") as f:
                f.write(self.fleet.owners[i].sign(document, namespace))
        return path

    def script(self, hosts=None, **more):
        refs = [h.ref for h in (hosts or [self.web1, self.web2])]
        return self.fleet.order(refs, "script.run", {"argv": ["/bin/true"], "timeout": 60, "output": 1000}, **more)

    def running(self, **more):
        """An order that is logged and shown by the server; its row."""
        document = self.script(**more)
        return self.server.add_order(document, self.fleet.envelope(document, self.fleet.owners[:2], "order@portcullis"))


class Submit(Case):
    def test_submit(self):
        document = self.script()
        path = self.order_file(document, owners=(0,))
        out = self.good("submit", path)
        self.assertIn("waiting, 1 of 2 approvals", out)
        self.order_file(document, owners=(1,))
        answer = self.json("submit", path)
        self.assertEqual((answer["state"], answer["approvals"]), ("ready", 2))
        method, where, headers, body = self.server.requests[-1]
        self.assertEqual((method, where), ("POST", "/v1/orders"))
        self.assertEqual(len(json.loads(body)["signatures"]), 2)
        self.assertNotIn("hosts", json.loads(body))

    def test_refused_here(self):
        """What hosts would refuse never leaves the owner's machine."""
        n = len(self.server.requests)
        cases = {"tenant": self.script(tenant="other"), "cap": self.script([HostKey("h%d" % i) for i in range(11)]),
                 "expired": self.script(not_before=moment(time.time() - 7200), expires=moment(time.time() - 3600)),
                 "syntax": self.script(extra=1), "count": self.script(count=3), "action": self.fleet.order([self.web1.ref], "rm", {}),
                 "class": self.fleet.order([self.web1.ref], "script.run", {"argv": ["/x"], "timeout": 60, "output": 1}, class_="S"),
                 "window": self.script(expires=moment(time.time() + 86400 * 40))}
        for word, document in cases.items():
            with self.subTest(word):
                path = self.order_file(document, name=word)
                self.bad(4, "check %s:" % word, "submit", path)
        path = self.order_file(self.script(), owners=())
        self.bad(4, "check quorum: no owner has approved it", "submit", path)
        path = self.order_file(self.script(), namespace="trust@portcullis", name="wrong-namespace")
        self.bad(4, "check signature:", "submit", path)
        with open(path + ".mallory.sig", "w") as f:
            f.write("no signature")
        self.bad(4, "check signature:", "submit", path)
        self.assertEqual(len(self.server.requests), n)

    def test_many_hosts(self):
        """An order with a root: the hosts go along, and must be those of the root."""
        refs = ["h%03d#%032x" % (i, i) for i in range(9)]
        document = json.loads(self.script())
        del document["hosts"]
        document.update(hosts_root=b64(merkle.root([merkle.leaf_hash(r.encode()) for r in refs])), count=9)
        path = self.order_file(json.dumps(document).encode())
        self.bad(4, "check count", "submit", path)
        with open(path + ".hosts", "w") as f:
            f.write("\n".join(reversed(refs)) + "\n")
        self.bad(4, "check count", "submit", path)
        with open(path + ".hosts", "w") as f:
            f.write("\n".join(refs) + "\n")
        self.good("submit", path)
        self.assertEqual(json.loads(self.server.requests[-1][3])["hosts"], refs)

    def test_other_documents(self):
        trust = dict(self.fleet.trust, version=2)
        path = self.order_file(json.dumps(trust).encode(), namespace="trust@portcullis", name="trust2.json")
        self.assertIn("submitted trust file", self.good("submit", path))
        self.assertEqual(self.server.requests[-1][1], "/v1/trust")
        path = self.order_file(json.dumps(trust).encode(), owners=(0,), namespace="trust@portcullis", name="trust3.json")
        self.bad(4, "check quorum", "submit", path)
        carol = self.fleet.owners[2]
        revoke = {"portcullis": "revoke/1", "tenant": "city", "owner": "carol", "key": carol.fingerprint(), "created": moment(time.time()), "reason": "lost"}
        path = self.order_file(json.dumps(revoke).encode(), owners=(2,), namespace="revoke@portcullis", name="revoke.json")
        self.good("submit", path)
        self.assertEqual(self.server.requests[-1][1], "/v1/revoke")
        path = self.order_file(json.dumps(revoke).encode(), owners=(1,), namespace="revoke@portcullis", name="revoke2.json")
        self.bad(4, "check quorum", "submit", path)
        self.bad(4, "check syntax", "submit", os.path.join(self.home, "owner.conf"))
        self.bad(1, "No such file", "submit", os.path.join(self.home, "nothing"))

    def test_server_talks_of_another(self):
        path = self.order_file(self.script())
        self.server.lies["/v1/orders"] = lambda h, p: self.server.send(h, 200, {"id": "x", "order_sha256": "0" * 64, "state": "ready", "approvals": 2, "needed": 2})
        self.bad(1, "answers about another document", "submit", path)


class Connection(Case):
    def test_no_server(self):
        self.write("owner.conf", "[server]\nurl = https://127.0.0.1:1\nca = %s\n" % self.server.ca)
        self.bad(3, "https://127.0.0.1:1", "hosts")
        self.write("owner.conf", "")
        self.bad(2, "no server: say url and ca", "hosts")
        self.assertEqual(len(self.json("hosts", "--server", self.server.url, "--ca", self.server.ca, "--token", os.path.join(self.home, "token"))), 2)
        self.bad(2, "http://127.0.0.1: not https://HOST:PORT", "hosts", "--server", "http://127.0.0.1", "--ca", self.server.ca)

    def test_another_ca(self):
        self.bad(1, "this is not the server whose CA you pinned", "hosts", "--ca", self.other_ca)
        self.assertEqual(self.server.requests, [])

    def test_configuration(self):
        self.write("owner.conf", "[server]\nurl = x\nurl = y\n")
        self.bad(2, "owner.conf: line 3: [server] url is unknown or given twice", "hosts")
        self.write("owner.conf", "[sever]\nurl = x\n")
        self.bad(2, "[sever] url", "hosts")

    def test_token(self):
        self.write("token", "pct_wrong\n")
        self.bad(4, "does not take your token", "orders")
        os.chmod(os.path.join(self.home, "token"), 0o644)
        self.bad(1, "others may read this token", "orders")

    def test_endless(self):
        def endless(handler, path):
            handler.send_response(200)
            handler.end_headers()
            block = b"[" * (1 << 20)
            while True:
                handler.wfile.write(block)
        self.server.lies["/v1/orders"] = endless
        self.bad(1, "refused an answer without end", "orders")

    def test_headers_without_end(self):
        def endless(handler, path):
            handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while True:
                handler.wfile.write(b"X-Y: " + b"y" * 1000 + b"\r\n")
        self.server.lies["/v1/orders"] = endless
        self.bad(1, "refused an answer without end", "orders")

    def test_not_an_answer(self):
        for body, words in ((b"", "not one of a Portcullis server"), (b"{", "not one of a Portcullis server"), (b"{}", "not a list of orders"),
                            (b"[" + b"[]," * 700000 + b"[]]", "not one of a Portcullis server"), (b'{"a":1,"a":2}', "not one of"), (b"[1] x", "not one of")):
            with self.subTest(body[:20]):
                self.server.lies["/v1/orders"] = lambda h, p, body=body: self.server.send(h, 200, body)
                self.bad(1, words, "orders")
        self.server.lies["/v1/orders"] = lambda h, p: self.server.error(h, 500, "store", "on \x1b[31mfire\u202e")
        r = self.bad(1, "answers 500 to /v1/orders: store: on ", "orders")
        self.assertNotIn("\x1b", r.stderr)
        self.assertNotIn("\u202e", r.stderr)
        self.server.lies["/v1/orders"] = lambda h, p: self.server.error(h, 403, "role", "this token may look")
        self.bad(4, "role: this token may look", "orders")

    def test_redirect(self):
        def away(handler, path):
            handler.send_response(302)
            handler.send_header("Location", "https://example.invalid/")
            handler.send_header("Content-Length", "0")
            handler.end_headers()
        self.server.lies["/v1/orders"] = away
        self.bad(4, "answers 302", "orders")


class Orders(Case):
    def test_orders(self):
        row = self.running()
        out = self.good("orders")
        self.assertIn(row["id"], out)
        self.assertIn("2 of 2", out)
        self.assertEqual(self.json("orders")[0]["order_sha256"], row["order_sha256"])

    def test_proven(self):
        row = self.running()
        self.server.run_order(row, self.web1, output=b"hello \x1b[31m\xff\n")
        view = self.json("order", "status", row["id"])
        one, two = view["hosts"]
        self.assertEqual((one["proven"], one["outcome"], one["exit"], one["ack"]["verdict"]), (True, "ok", 0, "accepted"))
        self.assertEqual((two["proven"], two["outcome"], two["ack"]), (False, "", None))
        self.assertEqual(view["approved_by"], ["alice", "bob"])
        out = self.good("order", "status", row["order_sha256"], "--output")
        self.assertIn("signed by the host", out)
        self.assertIn("by alice, bob (2 needed)", out)
        self.assertIn("hello \\x1b[31m\\xff", out)

    def test_hearsay(self):
        """The server may say what it likes: without the host's signature it is only said."""
        row = self.running()
        self.server.host_row(row, self.web1).update(state="ok", outcome="ok", exit=0)
        one = self.json("order", "status", row["id"])["hosts"][0]
        self.assertEqual((one["proven"], one["outcome"]), (False, "ok"))
        self.assertIn("the server says", self.good("order", "status", row["id"]))

    def forged(self, envelope, words):
        row = self.running()
        self.server.host_row(row, self.web1).update(state="ok", outcome="ok", exit=0, envelope=envelope(row["order_sha256"]))
        r = self.bad(1, "the server shows what is not so", "order", "status", row["id"])
        self.assertIn(words, r.stdout)
        one = json.loads(self.bad(1, "", "order", "status", row["id"], "--json").stdout)["hosts"][0]
        self.assertFalse(one["proven"])
        self.assertIn(words, one["problem"])

    def test_forged_by_another_key(self):
        stranger = HostKey("web1")
        stranger.ref = self.web1.ref
        self.forged(lambda order: result(self.fleet, stranger, order), "forged result: another key")

    def test_forged_signature(self):
        def tampered(order):
            envelope = result(self.fleet, self.web1, order, "failed", 1)
            document = base64.b64decode(envelope["document"]).replace(b'"failed"', b'"ok"')
            return dict(envelope, document=b64(document))
        self.forged(tampered, "forged result: the signature does not verify")

    def test_result_of_another_order(self):
        self.forged(lambda order: result(self.fleet, self.web1, "0" * 64), "forged result: it is about another order")

    def test_result_of_another_host(self):
        self.forged(lambda order: result(self.fleet, self.web2, order), "forged result: another key")

    def test_ack_as_result(self):
        self.forged(lambda order: ack(self.fleet, self.web1, order), "forged result: the signature does not verify")

    def test_garbage_as_result(self):
        self.forged(lambda order: ["x"], "forged result: not an envelope")

    def test_contradiction(self):
        row = self.running()
        self.server.run_order(row, self.web1, "failed", 3)
        self.server.host_row(row, self.web1).update(state="ok", outcome="ok", exit=0)
        r = self.bad(1, "", "order", "status", row["id"], "--json")
        one = json.loads(r.stdout)["hosts"][0]
        self.assertEqual((one["proven"], one["outcome"], one["exit"], one["server_says"]), (True, "failed", 3, "ok"))

    def test_why_a_ring_halted(self):
        row = self.running()
        row["state"] = "halted"
        self.server.run_order(row, self.web1)
        self.server.host_row(row, self.web1)["report"] = self.web1.ring(row["order_sha256"], 0, incidents=2)
        view = self.json("order", "status", row["id"])
        self.assertEqual(view["reported"], [{"ring": 0, "reports": 1, "failures": 0, "incidents": 2}])
        self.assertEqual((view["hosts"][0]["report"]["incidents"], view["hosts"][1]["report"]), (2, None))
        out = self.good("order", "status", row["id"])
        self.assertIn("halted    ring 1 reported 0 failures (0 allowed) and 2 guard incidents (0 allowed): no later ring starts", out)
        self.server.host_row(row, self.web1)["report"] = self.web1.ring(row["order_sha256"], 0)
        self.assertNotIn("no later ring starts", self.good("order", "status", row["id"]))

    def test_forged_ring_report(self):
        row = self.running()
        self.server.host_row(row, self.web1)["report"] = self.web2.ring(row["order_sha256"], 0, incidents=2)
        one = json.loads(self.bad(1, "", "order", "status", row["id"], "--json").stdout)
        self.assertIn("forged ring report: another key", one["hosts"][0]["problem"])
        self.assertEqual(one["reported"], [])

    def test_hidden_host(self):
        row = self.running()
        del row["hosts"][1]
        r = self.bad(1, "", "order", "status", row["id"], "--json")
        self.assertEqual(json.loads(r.stdout)["hosts"][1]["state"], "missing")

    def test_extra_host(self):
        row = self.running()
        web3 = self.server.add_host("web3")
        row["hosts"].append({"host": web3.ref, "state": "ok", "why": "", "outcome": "ok", "exit": 0, "ring": 0,
                             "envelope": result(self.fleet, web3, row["order_sha256"]), "ack": None})
        r = self.bad(1, "", "order", "status", row["id"], "--json")
        three = json.loads(r.stdout)["hosts"][2]
        self.assertEqual((three["proven"], three["problem"]), (False, "this host is not in the order"))

    def test_another_document(self):
        row, other = self.running(), self.running()
        row["document"] = other["document"]
        self.bad(1, "it shows another order than was asked for", "order", "status", row["id"])
        row["document"] = "AAAA"
        self.bad(1, "the document is not an order", "order", "status", row["id"])
        del row["document"]
        self.bad(1, "it has no document", "order", "status", row["id"])

    def test_made_up_approvals(self):
        """The server shows an order with a document of its own: nobody approved that."""
        document = self.script()
        row = self.server.add_order(document, {"signatures": []})
        row.update(approvals=2)
        self.assertEqual(self.json("order", "status", row["id"])["approved_by"], [])
        self.assertIn("by nobody", self.good("order", "status", row["id"]))
        os.unlink(os.path.join(self.home, "trust.json"))
        self.assertIsNone(self.json("order", "status", row["id"])["approved_by"])
        self.assertIn("2 of 2, the server says", self.good("order", "status", row["id"]))

    def test_by_file(self):
        row = self.running()
        path = self.order_file(base64.b64decode(row["document"]))
        self.assertEqual(self.json("order", "status", path)["id"], row["id"])
        self.bad(2, "neither the id of an order", "order", "status", "nonsense")
        self.bad(1, "not-found", "order", "status", "0" * 32)

    def test_watch(self):
        row = self.running()
        shows = [0]

        def later(handler, path):
            shows[0] += 1
            if shows[0] == 3:
                self.server.run_order(row, self.web1)
            if shows[0] == 4:
                self.server.run_order(row, self.web2, "failed", 1)
                row["state"] = "done"
            self.server.send(handler, 200, row)
        self.server.lies["/v1/orders/"] = later
        out = self.bad(1, "1 of 2 hosts refused it or failed", "order", "status", row["id"], "--watch").stdout
        for line in (self.web1.ref + ": queued (the server says)", self.web1.ref + ": ok, ok, exit 0 (signed by the host)", "failed, exit 1"):
            self.assertIn(line, out)
        self.assertEqual(out.count(self.web1.ref + ": queued"), 1)

    def test_watch_to_a_good_end(self):
        row = self.running()
        self.server.run_order(row, self.web1)
        self.server.run_order(row, self.web2)
        row["state"] = "done"
        self.good("order", "status", row["id"], "--watch")

    def test_watch_of_hearsay(self):
        """That all went well is said by the hosts, or not at all."""
        row = self.running()
        self.server.run_order(row, self.web1)
        self.server.host_row(row, self.web2).update(state="ok", outcome="ok", exit=0)
        row["state"] = "done"
        self.bad(1, "1 of 2 hosts have not signed how it ended", "order", "status", row["id"], "--watch")

    def test_no_hosts_of_a_root(self):
        """An order whose hosts are beneath a root, and a server that shows none of them."""
        refs = ["n%d#%032x" % (i, i) for i in range(300)]
        path = os.path.join(self.dir, "many.json")
        with open(os.path.join(self.dir, "list"), "w") as f:
            f.write("\n".join(refs) + "\n")
        self.good("order", "new", "host.unisolate", "--hosts-file", os.path.join(self.dir, "list"), "-o", path)
        with open(path, "rb") as f:
            document = f.read()
        row = self.server.add_order(document, self.fleet.envelope(document, self.fleet.owners[:2], "order@portcullis"))
        for args in (["order", "status", row["id"]], ["order", "status", row["id"], "--watch"]):
            r = self.bad(1, "what is not so", *args)
            self.assertIn("the server does not show the hosts of the order", r.stdout)
        r = self.bad(1, "the server shows what is not so", "order", "status", row["id"], "--json")
        self.assertEqual(json.loads(r.stdout)["problems"], 1)

    def test_other_identity_in_order(self):
        self.write("hosts", "web1#%032x\n%s\n" % (7, self.web2.ref))
        row = self.running()
        r = self.bad(1, "", "order", "status", row["id"], "--json")
        self.assertIn("another identity of this host than you pinned", json.loads(r.stdout)["hosts"][0]["problem"])


class Hosts(Case):
    def test_hosts(self):
        rows = self.json("hosts")
        self.assertEqual([(h["name"], h["pin"], h["online"]) for h in rows], [("web1", "pinned", True), ("web2", "pinned", True)])
        self.web2.online = False
        out = self.good("hosts")
        self.assertRegex(out, r"web2 +[0-9a-f]{32} +pinned +no")

    def test_pin(self):
        web3 = self.server.add_host("web3")
        self.assertEqual(self.json("hosts")[2]["pin"], "new")
        self.bad(4, "nothing was pinned: there is no terminal to ask", "hosts", "--pin")
        self.assertNotIn("web3", self.read("hosts"))
        self.good("hosts", "--pin", "--yes")
        self.assertEqual(self.read("hosts").splitlines(), ["# by hand", self.web1.ref, self.web2.ref, web3.ref])
        self.assertEqual([h["pin"] for h in self.json("hosts")], ["pinned"] * 3)
        os.unlink(os.path.join(self.home, "hosts"))
        self.good("hosts", "--pin", "--yes")
        self.assertEqual(len(self.read("hosts").splitlines()), 3)

    def test_not_shown_is_not_pinned(self):
        self.server.add_host("web3")
        env = {**os.environ, "PORTCULLIS_OWNER": self.home, "NO_PROXY": "127.0.0.1"}
        with open("/dev/full", "w") as full:
            r = subprocess.run([PORTCULLIS, "hosts", "--pin", "--yes"], env=env, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
        self.assertEqual(r.returncode, 1, r)
        self.assertNotIn("web3", self.read("hosts"))

    def test_another_identity(self):
        self.server.hosts[0] = HostKey("web1")
        self.server.hosts[0].online = True
        r = self.bad(1, "web1 HAS ANOTHER IDENTITY THAN YOU PINNED", "hosts", "--json")
        self.assertEqual(json.loads(r.stdout)[0]["pin"], "changed")
        before = self.read("hosts")
        self.bad(1, "ANOTHER IDENTITY", "hosts", "--pin", "--yes")
        self.assertEqual(self.read("hosts"), before)

    def test_hidden(self):
        del self.server.hosts[1]
        r = self.bad(1, "does not list 1 of the hosts that you pinned", "hosts", "--json")
        self.assertEqual(json.loads(r.stdout)[1]["pin"], "missing")

    def test_key_of_another(self):
        self.server.lies["/v1/hosts"] = lambda h, p: self.server.send(h, 200, [dict(self.server.host_json(self.web1), key=b64(self.web2.public))])
        self.bad(1, "do not belong together", "hosts")

    def test_round_in_circles(self):
        page = [self.server.host_json(self.web1)] * 1000
        self.server.lies["/v1/hosts"] = lambda h, p: self.server.send(h, 200, page)
        self.bad(1, "the list of hosts is not in order", "hosts")

    def test_pins_file(self):
        self.write("hosts", self.web1.ref + "\nweb1#%032x\n" % 5)
        self.bad(1, "web1 is pinned with two identities", "hosts")
        self.write("hosts", "web1\n")
        self.bad(1, "hosts: line 1: not a host", "hosts")


class LogVerify(Case):
    def setUp(self):
        super().setUp()
        fleet = self.fleet
        with open(fleet.trust_path, "rb") as f:
            trust = f.read()
        fleet.log.add(fleet.entry("trust", {"sha256": sha256(trust), "signatures": [], "document": b64(trust)}))
        for host in (self.web1, self.web2):
            self.server.log_envelope("enroll", host.seal(json.dumps({
                "portcullis": "enroll/1", "tenant": "city", "host": host.name, "link_key": b64(b"k" * 32), "token_sha256": "0" * 64,
                "trust_sha256": sha256(trust), "created": moment(time.time())}).encode(), "enroll"))
        self.row = self.running()
        self.server.run_order(self.row, self.web1)
        self.server.run_order(self.row, self.web2, "failed", 1)

    def verified(self, *args):
        report = self.json("log", "verify", *args)
        self.assertTrue(report["ok"])
        return report

    def broken(self, words, *args):
        """Fails, with words in a problem or on standard error; the saved checkpoint stays as it was."""
        path = os.path.join(self.home, "checkpoint")
        before = self.read("checkpoint") if os.path.exists(path) else None
        r = self.run_it("log", "verify", *args, "--json")
        self.assertEqual(r.returncode, 1, r)
        report = json.loads(r.stdout) if r.stdout else {"ok": False, "problems": []}
        self.assertFalse(report["ok"])
        self.assertIn(words, r.stderr + "\n".join(p["what"] for p in report["problems"]))
        self.assertEqual(self.read("checkpoint") if os.path.exists(path) else None, before)
        return report

    def add(self, kind, body):
        return self.fleet.log.add(self.fleet.entry(kind, body))

    def test_whole(self):
        report = self.verified()
        self.assertEqual(report["size"], len(self.fleet.log.entries))
        self.assertEqual(report["entries"], {"trust": 1, "enroll": 2, "order": 1, "ack": 2, "result": 2})
        self.assertEqual((report["orders_checked"], report["checkpoints_of_hosts"], report["answers_to_orders_outside"]), (1, 4, 0))
        self.assertEqual(self.read("checkpoint").split("\n")[1], str(report["size"]))
        self.server.run_order(self.row, self.web1)
        out = self.good("log", "verify")
        self.assertIn("verified", out)
        self.assertIn("8 entries verified", out)

    def test_many_entries(self):
        """More than one tile on two levels; partial ones at the end."""
        for i in range(700):
            self.server.log_envelope("ack", ack(self.fleet, self.web1, self.row["order_sha256"], seen={"size": 0, "root": b64(b"\0" * 32)}))
        self.assertEqual(self.verified()["size"], 708)

    def test_far_back(self):
        """A host that was away for longer than roots are remembered: its checkpoint's tile is fetched again, and not believed."""
        self.fleet.log.entries += [self.fleet.entry("start", {"order_sha256": self.row["order_sha256"], "run": 1})] * (65536 + 600)
        self.server.log_envelope("ack", ack(self.fleet, self.web1, self.row["order_sha256"], seen=fake_server.checkpoint_seen(self.fleet.log, 300)))
        tiles = lambda: [r[1] for r in self.server.requests if r[1] == "/log/tile/0/001"]  # noqa: E731
        before = len(tiles())
        self.assertEqual(self.verified("--log-only")["checkpoints_of_hosts"], 5)
        self.assertEqual(len(tiles()) - before, 2)
        self.fleet.log.entries.pop()
        self.server.log_envelope("ack", ack(self.fleet, self.web1, self.row["order_sha256"], seen={"size": 300, "root": b64(b"\7" * 32)}))
        os.unlink(os.path.join(self.home, "checkpoint"))
        self.broken("SPLIT VIEW: web1 was shown another log: its first 300 entries", "--log-only")

    def test_log_only(self):
        os.unlink(os.path.join(self.home, "token"))
        self.write("owner.conf", "[server]\nurl = %s\nca = %s\n" % (self.server.url, self.server.ca))
        report = self.verified("--log-only")
        self.assertEqual((report["orders_checked"], report["orders_unchecked"]), (1, 0))
        self.assertTrue(self.verified()["ok"])
        document = self.script()
        self.server.add_order(document, self.fleet.envelope(document, self.fleet.owners[:2], "order@portcullis"), texts=False)
        report = self.verified("--log-only")
        self.assertEqual((report["orders_checked"], report["orders_unchecked"]), (1, 1))
        self.bad(4, "does not take your token", "log", "verify")

    def test_older_log(self):
        """Written before signatures stood in the log: orders' are fetched, the others' are the server's word."""
        document, owners = self.script(), self.fleet.owners
        self.server.add_order(document, self.fleet.envelope(document, owners[:2], "order@portcullis"), texts=False)
        self.server.log_owners("revoke", self.revocation(owners[2]), owners[:2], texts=False)
        report = self.verified()
        self.assertEqual((report["orders_checked"], report["orders_unchecked"], report["changes_of_trust_checked"], report["changes_of_trust_unchecked"]), (2, 0, 0, 1))
        self.assertIn("1 NOT CHECKED (logged without signatures)", self.good("log", "verify"))

    def test_another_log_key(self):
        self.fleet.log.key = HostKey("x").key
        self.broken("not one of the log of your trust file")

    def test_wrong_root(self):
        root = self.fleet.log.root
        self.fleet.log.root = lambda low=0, high=None: b"\1" * 32 if low == 0 and high in (None, len(self.fleet.log.entries)) else root(low, high)
        self.broken("do not have the root that the log signed")
        self.assertTrue(os.listdir(os.path.join(self.home, "evidence")))

    def test_changed_entry(self):
        lie = dict(self.server.lies)
        good = list(self.fleet.log.entries)

        def changed(handler, path):
            bundle = b"".join(len(e).to_bytes(2, "big") + e for e in good[:-1] + [good[-1].replace(b"city", b"town")])
            self.server.send(handler, 200, bundle, "application/octet-stream")
        self.server.lies["/log/tile/entries/"] = changed
        self.broken("do not have the root that the log signed")
        self.assertEqual(lie, {})

    def test_truncated_entries(self):
        self.server.lies["/log/tile/entries/"] = lambda h, p: self.server.send(h, 200, b"\0\5abc", "application/octet-stream")
        self.broken("entries 0 of the log are cut off: 0 of 8 are there")
        self.server.lies["/log/tile/entries/"] = lambda h, p: self.server.error(h, 404, "tile", "no such tile")
        self.broken("does not show a part of the log that its checkpoint covers")

    def test_truncated_tiles(self):
        self.server.lies["/log/tile/0/"] = lambda h, p: self.server.send(h, 200, b"\0" * 31, "application/octet-stream")
        self.broken("holds other hashes than the entries beneath it have")

    def test_endless_tile(self):
        def endless(handler, path):
            handler.send_response(200)
            handler.end_headers()
            while True:
                handler.wfile.write(b"\0" * (1 << 20))
        self.server.lies["/log/tile/entries/"] = endless
        self.broken("refused an answer without end")

    def test_shrunk(self):
        self.verified()
        kept = self.fleet.log.entries
        self.fleet.log.entries = kept[:-1]
        self.broken("THE LOG HAS SHRUNK")
        names = sorted(n.split("-")[0] for n in os.listdir(os.path.join(self.home, "evidence")))
        self.assertEqual(names, ["before", "shown"])

    def test_other_history(self):
        self.verified()
        self.fleet.log.entries[3:] = [self.fleet.entry("continue", {"order_sha256": self.row["order_sha256"], "n": i}) for i in range(9)]
        self.broken("THIS IS ANOTHER LOG")
        self.assertEqual(len(os.listdir(os.path.join(self.home, "evidence"))), 2)

    def test_split_view(self):
        """A host signed that it saw another log: the server showed it another."""
        other = fake_server.Log()
        other.entries = [b"x", b"y", b"z"]
        self.server.log_envelope("ack", ack(self.fleet, self.web1, self.row["order_sha256"], seen=fake_server.checkpoint_seen(other)))
        self.broken("SPLIT VIEW: web1 was shown another log")

    def test_split_view_ahead(self):
        seen = {"size": len(self.fleet.log.entries) + 5, "root": b64(b"\7" * 32)}
        self.server.log_envelope("result", result(self.fleet, self.web2, self.row["order_sha256"], seen=seen))
        self.broken("SPLIT VIEW: web2 saw a log of 13 entries")

    def test_no_quorum(self):
        for signers, words in ((self.fleet.owners[:1], "NO QUORUM: 1 of 2 owners"), ([self.fleet.owners[0]] * 2, "NO QUORUM: 1 of 2 owners")):
            document = self.script()
            envelope = self.fleet.envelope(document, signers, "order@portcullis")
            self.server.add_order(document, envelope)
            self.broken(words)

    def test_forged_approval(self):
        document = self.script()
        envelope = self.fleet.envelope(document, self.fleet.owners[:2], "trust@portcullis")
        self.server.add_order(document, envelope)
        self.broken("an approval does not verify")

    def test_hidden_approvals(self):
        """The log alone tells; of what an older server logged the server must show them."""
        self.server.orders.clear()
        self.verified()
        document = self.script()
        row = self.server.add_order(document, self.fleet.envelope(document, self.fleet.owners[:2], "order@portcullis"), texts=False)
        self.verified()
        row["signatures"] = row["signatures"][:1]
        self.broken("does not show the approvals that it logged")
        self.server.orders.clear()
        self.broken("does not show the approvals that it logged")

    def test_exchanged_approvals(self):
        """Texts that are not those that the entry names, too few, one twice."""
        document = self.script()
        signatures = [o.sign(document, "order@portcullis") for o in self.fleet.owners]
        for named, texts, words in ((signatures[:2], signatures[1:], "does not hold the signatures that it names"),
                                    (signatures[:2], signatures[:1], "does not hold the signatures that it names"),
                                    ([signatures[0]] * 2, [signatures[0]] * 2, "a signature is named twice")):
            self.add("order", {"order_sha256": sha256(document), "id": json.loads(document)["id"], "approvals": [sha256(s.encode()) for s in named],
                               "document": b64(document), "texts": texts})
            self.broken(words)
            self.fleet.log.entries.pop()

    def test_parts(self):
        """An envelope that has no room in an entry stands ahead of it, in parts."""
        document, owners = self.script(), self.fleet.owners[:2]
        names = {"order_sha256": sha256(document), "id": json.loads(document)["id"],
                 "approvals": [sha256(o.sign(document, "order@portcullis").encode()) for o in owners]}
        self.server.log_parts(document, owners, "order@portcullis", 500)
        first = len(self.fleet.log.entries)
        self.add("ack", {})
        self.broken("the parts before this entry belong to no entry")
        self.fleet.log.entries.pop()
        self.add("order", names)
        report = self.verified("--log-only")
        self.assertEqual((report["orders_checked"], report["orders_unchecked"]), (2, 0))
        self.assertGreater(report["entries"]["part"], 2)
        whole = list(self.fleet.log.entries)
        os.unlink(os.path.join(self.home, "checkpoint"))
        del self.fleet.log.entries[first - 2]  # one is missing
        self.broken("does not follow the entry before it")
        self.fleet.log.entries = whole[:-1] + [self.fleet.entry("order", dict(names, approvals=names["approvals"][:1] + ["0" * 64]))]
        self.broken("does not show the document that it logged")
        self.fleet.log.entries = whole[:-1] + whole[first - 3:first] + whole[-1:]
        self.broken("the parts before this one belong to no entry")

    def ring_report(self, row, host, outcome="ok", incidents=0, ring=0):
        envelope = host.seal(json.dumps({
            "portcullis": "ring/1", "tenant": "city", "host": host.ref, "order_sha256": row["order_sha256"], "run": 0, "ring": ring, "outcome": outcome,
            "incidents": incidents, "started": moment(time.time() - 9), "ended": moment(time.time() - 5), "soaked": moment(time.time())}).encode(), "ring")
        self.server.log_envelope("ring", envelope)
        return sha256(base64.b64decode(envelope["document"]))

    def halt(self, row, because, failures=0, incidents=0, ring=0):
        return self.add("halt", {"order_sha256": row["order_sha256"], "run": 0, "ring": ring, "failures": failures, "incidents": incidents, "because": because})

    def test_halt(self):
        """A halt stands on reports that hosts signed and that were logged before it."""
        rings = {"rings": [{"hosts": 1, "soak": 0}, {"hosts": 1, "soak": 0}], "halt": {"failures": 0, "incidents": 1}}
        row = self.running(**rings)
        failed, hit = self.ring_report(row, self.web1, "failed"), self.ring_report(row, self.web2, incidents=2)
        for because, told, words in ((["0" * 64], (1, 0), "by a report that is not in the log before it"),
                                     ([failed, failed], (2, 0), "by a report that is not in the log before it"),
                                     ([failed], (2, 0), "have 1 failures and 0 incidents, not 2 and 0"),
                                     ([hit], (0, 3), "have 0 failures and 2 incidents, not 0 and 3")):
            self.halt(row, because, *told)
            self.broken(words)
            self.fleet.log.entries.pop()
        self.halt(row, [failed, hit], 1, 2)
        self.assertEqual(self.verified("--log-only")["entries"]["halt"], 1)
        self.add("continue", {"order_sha256": row["order_sha256"], "run": 0, "ring": 1, "count": 0, "reports": "0" * 64})
        self.broken("which was halted before")

    def test_halt_without_reason(self):
        row = self.running(rings=[{"hosts": 1, "soak": 0}, {"hosts": 1, "soak": 0}], halt={"failures": 1, "incidents": 0})
        self.halt(row, [self.ring_report(row, self.web1, "failed")], 1)
        self.broken("whose halt rule allows what ring 0 reported")
        self.fleet.log.entries.pop()
        self.add("halt", {"order_sha256": "0" * 64, "run": 0, "ring": 0, "failures": 1, "incidents": 0, "because": ["0" * 64]})
        self.broken("halt: of an order that was not logged before")
        self.fleet.log.entries.pop()
        self.add("halt", {"order_sha256": "0" * 64, "run": 0, "ring": 0, "failures": 1, "incidents": 0, "because": []})
        self.broken("halt: ")

    def test_stop_needs_one(self):
        document = self.fleet.order([self.web1.ref], "host.isolate", {"allow": [], "seconds": 60}, class_="S")
        self.server.add_order(document, self.fleet.envelope(document, self.fleet.owners[:1], "order@portcullis"))
        self.verified()

    def revocation(self, owner):
        return json.dumps({"portcullis": "revoke/1", "tenant": "city", "owner": owner.name, "key": owner.fingerprint(), "created": moment(time.time()),
                           "reason": "lost"}).encode()

    def test_revoked_approver(self):
        alice = self.fleet.owners[0]
        self.server.log_owners("revoke", self.revocation(alice), [alice])
        self.assertEqual(self.verified()["changes_of_trust_checked"], 1)
        self.running()
        self.broken("NO QUORUM: 1 of 2 owners approved it (signatures by keys that the log says are revoked do not count)")

    def test_revocation_of_others(self):
        """By enough of the others, or nobody takes it: the revoked owner goes on to count."""
        alice, bob, carol = self.fleet.owners
        self.server.log_owners("revoke", self.revocation(alice), [bob])
        self.running()
        problems = self.broken("revoke: a revocation that no host takes: quorum")["problems"]
        self.assertEqual(len(problems), 1, problems)
        self.fleet.log.entries[-2:] = []
        self.server.log_owners("revoke", self.revocation(alice), [bob, carol])
        self.verified("--log-only")

    def test_server_statement(self):
        with open(self.server.ca) as f:
            ca = f.read()
        say = lambda version: json.dumps({"portcullis": "server/1", "tenant": "city", "version": version, "url": "https://10.0.0.1:7443",  # noqa: E731
                                          "link": "10.0.0.1:7444", "ca": ca, "created": moment(time.time())}).encode()
        self.server.log_owners("server", say(2), self.fleet.owners[:2])
        self.assertEqual(self.verified("--log-only")["changes_of_trust_checked"], 1)
        for signers, version, words in ((self.fleet.owners[:1], 3, "quorum"), (self.fleet.owners[:2], 2, "version")):
            self.server.log_owners("server", say(version), signers)
            self.broken("server: a statement that no host follows: " + words)
            self.fleet.log.entries.pop()

    def test_forged_host(self):
        stranger = HostKey("web1")
        stranger.ref = self.web1.ref
        self.server.log_envelope("result", result(self.fleet, stranger, self.row["order_sha256"]))
        self.broken("not signed by " + self.web1.ref)

    def test_another_identity(self):
        stranger = HostKey("web1")
        self.server.log_envelope("result", result(self.fleet, stranger, self.row["order_sha256"]))
        self.broken("web1 has another identity here")

    def test_bad_signature(self):
        envelope = result(self.fleet, self.web1, self.row["order_sha256"])
        self.server.log_envelope("result", dict(envelope, signature=b64(b"\1" * 64)))
        self.broken("the host's signature does not verify")

    def test_verdict_turned(self):
        self.server.log_envelope("ack", ack(self.fleet, self.web1, self.row["order_sha256"], "refused", "quorum"))
        self.broken("the host's word was the other one")

    def test_large_result(self):
        envelope = result(self.fleet, self.web1, self.row["order_sha256"], output=b"x" * 60000)
        digest = sha256(base64.b64decode(envelope["document"]))
        self.add("result", {"document_sha256": digest, "key": envelope["key"], "signature": envelope["signature"]})
        self.broken("does not show the document whose hash it logged")
        self.server.lies["/v1/reports/" + digest] = lambda h, p: self.server.send(h, 200, envelope)
        self.verified()
        other = result(self.fleet, self.web1, self.row["order_sha256"])
        self.server.lies["/v1/reports/" + digest] = lambda h, p: self.server.send(h, 200, other)
        self.broken("does not show the document whose hash it logged")

    def test_not_entries(self):
        for entry, words in ((b"", "not an entry"), (b"{}", "not an entry"), (b"\x1b[2J", "not an entry"),
                             (self.fleet.entry("surprise", {}), "an entry of an unknown type"),
                             (self.fleet.entry("ack", {}), "neither an envelope nor the hash of one"),
                             (self.fleet.entry("order", {"order_sha256": "0"}), "not the body of an order"),
                             (self.fleet.entry("continue", {"order_sha256": "0" * 64}), "of an order that was not logged before"),
                             (self.fleet.entry("trust", {"sha256": "0" * 64, "signatures": [], "document": "AAAA"}), "does not hold the document"),
                             (self.fleet.entry("ack", {}).replace(b"city", b"town"), "an entry of another tenant")):
            with self.subTest(words):
                self.fleet.log.entries.append(entry)
                self.broken(words)
                self.fleet.log.entries.pop()
        self.fleet.log.entries.append(b"\x1b[2J")
        self.assertNotIn("\x1b", self.run_it("log", "verify").stdout)

    def test_carried_stop(self):
        """A stop that came by hand: the host tells of it, the log has no order. Said, not condemned."""
        self.server.log_envelope("ack", ack(self.fleet, self.web1, "ab" * 32))
        self.assertEqual(self.verified()["answers_to_orders_outside"], 1)
        self.assertIn("stops that were carried by hand?", self.good("log", "verify"))

    def test_later_trust(self):
        """Trust files change: orders count under the one in force, a later one than ours is not taken from the server."""
        trust = json.dumps(dict(self.fleet.trust, version=2)).encode()
        self.server.log_owners("trust", trust, self.fleet.owners[:2])
        self.running()
        report = self.broken("version 2 came into force, yours is version 1")
        self.assertIn("approved under a trust file that you do not have", report["problems"][1]["what"])
        old = self.read("trust.json")
        self.write("trust.json", trust.decode())
        self.assertIn("trust file version 1 is not in your folder", self.verified()["notes"][0])
        self.write("trust.1.json", old)
        report = self.verified("--log-only")
        self.assertEqual((report["notes"], report["changes_of_trust_unchecked"]), ([], 0))

    def test_trust_without_quorum(self):
        """A server that names owners of its own: no host takes it, and the log shows it."""
        for signers, changes, words in ((self.fleet.owners[:1], {"version": 2}, "quorum"), ([], {"version": 2}, "quorum"),
                                        (self.fleet.owners[:2], {"version": 2, "tenant": "town"}, "tenant"), (self.fleet.owners[:2], {"dwell": 9}, "version")):
            self.server.log_owners("trust", json.dumps(dict(self.fleet.trust, **changes)).encode(), signers)
            self.running()
            problems = self.broken("trust: a trust file that those before it do not let in: " + words)["problems"]
            self.assertEqual(len(problems), 1, problems)
            self.fleet.log.entries[-2:] = []

    def test_former_trust_is_followed(self):
        """Ours is version 3; 1 and 2 come out of the log, each let in by the one before."""
        first, owners = self.fleet.trust, self.fleet.owners
        two, three = [json.dumps(dict(first, version=n)).encode() for n in (2, 3)]
        self.write("trust.json", three.decode())
        self.server.log_owners("trust", two, owners[:2])
        self.server.log_owners("trust", three, owners[1:])
        report = self.verified("--log-only")
        self.assertEqual((report["changes_of_trust_checked"], len(report["notes"])), (2, 2))
        self.server.log_owners("trust", two, owners[:2])  # and not back again
        self.broken("those before it do not let in: version")

    def test_stands_still(self):
        note = self.fleet.log.note
        self.fleet.log.note = lambda: note(when=time.time() - 4000)
        self.broken("the log stands still, or newer entries are withheld")
        self.fleet.log.note = lambda: note(when=time.time() + 4000)
        self.broken("from the future")

    def test_memory_does_not_go_back(self):
        """A server that stalls one of two cannot have the newer checkpoint forgotten."""
        asked, go = threading.Event(), threading.Event()
        self.good("log", "verify")
        note = self.fleet.log.note().encode()
        order = self.script()
        self.server.add_order(order, self.fleet.envelope(order, self.fleet.owners[:2], "order@portcullis"))

        def stall(handler, path):
            asked.set()
            go.wait(60)
            self.server.send(handler, 200, note, "text/plain")
        self.server.lies["/log/checkpoint"] = stall
        env = {**os.environ, "PORTCULLIS_OWNER": self.home, "NO_PROXY": "127.0.0.1"}
        first = subprocess.Popen([PORTCULLIS, "log", "verify"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.assertTrue(asked.wait(60))
        del self.server.lies["/log/checkpoint"]
        self.good("log", "verify")
        newer = self.read("checkpoint")
        go.set()
        words = first.communicate(timeout=60)[1]
        self.assertEqual((first.returncode, self.read("checkpoint")), (1, newer), words)
        self.assertIn("meanwhile", words)

    def test_damaged_memory(self):
        self.write("checkpoint", "garbage")
        self.broken("what you verified last cannot be read")


class Looks(Case):
    def answer(self, host, data, **more):
        return lambda look, h: result(self.fleet, h, look, data=data, **more) if h is host else None

    def test_look(self):
        self.server.on_look = lambda look, h: result(self.fleet, h, look, data={"load": [1, 2], "name": h.name + "\x1b[2J", "disks": [{"device": "sda", "free": 5}]})
        out = self.good("look", "metrics", "--hosts", "web1,web2")
        self.assertIn("signed by the host", out)
        self.assertIn("device sda, free 5", out)
        self.assertNotIn("\x1b", out)
        answers = json.loads(self.good("look", "metrics", "--hosts", "web1", "--hosts", self.web2.ref, "--json"))
        self.assertEqual((answers["web1"]["proven"], answers["web1"]["data"]["load"], answers["web2"]["pin"]), (True, [1, 2], "pinned"))
        asked = json.loads([r for r in self.server.requests if r[1] == "/v1/looks"][-1][3])
        self.assertEqual(asked, {"hosts": ["web1", "web2"], "action": "metrics", "params": {}})

    def test_not_written(self):
        """A full disk behind standard output is a failure, also when each answer was flushed by itself."""
        self.server.on_look = self.answer(self.web1, {})
        env = {**os.environ, "PORTCULLIS_OWNER": self.home, "NO_PROXY": "127.0.0.1"}
        for more in ([], ["--json"]):
            with open("/dev/full", "w") as full:
                r = subprocess.run([PORTCULLIS, "look", "metrics", "--hosts", "web1", *more], env=env, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
            self.assertEqual(r.returncode, 1, r)

    def test_all(self):
        self.server.on_look = lambda look, h: result(self.fleet, h, look, data={})
        self.assertEqual(sorted(self.json("look", "metrics", "--hosts", "*", "--wait", "1")), ["web1", "web2"])

    def test_hidden_from_all(self):
        """Who asks all is told of the hosts that are pinned and were kept back."""
        self.server.on_look = self.answer(self.web1, {})
        self.bad(1, "web2: no answer", "look", "metrics", "--hosts", "*", "--wait", "1")
        self.server.lies["/v1/looks"] = lambda h, p: self.server.send(h, 200, {"look": "0" * 32, "reached": 0, "results": []})
        self.bad(1, "web1: no answer", "look", "metrics", "--hosts", "*", "--wait", "1")
        self.write("hosts", "")
        self.bad(1, "no host answered", "look", "metrics", "--hosts", "*", "--wait", "1")

    def test_by_identity(self):
        """NAME#HOSTID means that host, also when it is not pinned."""
        self.write("hosts", "")
        self.server.on_look = lambda look, h: result(self.fleet, h, look, data={})
        self.good("look", "metrics", "--hosts", self.web1.ref, "--wait", "1")
        r = self.bad(1, "answers that no host of yours gave", "look", "metrics", "--hosts", "web1#%032x" % 7, "--wait", "1")
        self.assertIn("another identity than you asked for", r.stdout)
        self.bad(2, "names of hosts are wanted", "look", "metrics", "--hosts", "web1#12")
        self.write("hosts", self.web1.ref + "\n")
        self.bad(4, "you pinned", "look", "metrics", "--hosts", "web1#%032x" % 7)

    def test_log_excerpt(self):
        self.server.on_look = lambda look, h: result(self.fleet, h, look, output=b"one\ntwo\x1b\n")
        self.assertIn("    two\\x1b", self.good("look", "log.excerpt", "--log", "auth", "--hosts", "web1"))
        asked = json.loads([r for r in self.server.requests if r[1] == "/v1/looks"][-1][3])
        self.assertEqual(asked["params"], {"log": "auth", "lines": 100})

    def test_usage(self):
        self.bad(2, "not a look; there are: inventory", "look", "script.run", "--hosts", "web1")
        self.bad(2, "--hosts NAME,... says whom to ask", "look", "metrics")
        self.bad(2, "names of hosts are wanted", "look", "metrics", "--hosts", "Web 1")
        self.bad(2, "look: service.status:", "look", "service.status", "--hosts", "web1")
        self.bad(2, "not a number", "look", "log.excerpt", "--log", "auth", "--lines", "x", "--hosts", "web1")

    def test_silence(self):
        self.server.on_look = self.answer(self.web1, {})
        r = self.bad(1, "web2: no answer", "look", "metrics", "--hosts", "web1,web2", "--wait", "1")
        self.assertIn("web1", r.stdout)

    def test_forged(self):
        stranger = HostKey("web1")
        stranger.ref = self.web1.ref
        for envelope, words in ((lambda look, h: result(self.fleet, stranger, look, data={}), "FORGED: another key"),
                                (lambda look, h: result(self.fleet, h, "0" * 32, data={}), "FORGED: it is about another order"),
                                (lambda look, h: result(self.fleet, HostKey("web1"), look, data={}), "another identity than you pinned"),
                                (lambda look, h: {"document": "AAAA"}, None)):
            self.server.on_look = envelope
            r = self.bad(1, "answers that no host of yours gave", "look", "metrics", "--hosts", "web1", "--wait", "1")
            if words:
                self.assertIn(words, r.stdout)


class OneHost(Case):
    def show(self, host, action, data):
        self.server.latest[(host.name, action)] = result(self.fleet, host, "%032x" % 7, data=data)

    def test_host(self):
        self.show(self.web1, "inventory", {"os": "Debian", "packages": [{"name": "a", "version": "1"}, {"name": "b", "version": "2\x1b"}]})
        self.server.events["web1"] = [{"time": moment(time.time()), "kind": "incident", "text": "a thing\x1b[1m"}] * 30
        out = self.good("host", "web1")
        for words in ("(pinned)", "inventory, signed by the host", "os  Debian", "name b, version 2\\x1b", "metrics: no answer yet", "a thing\\x1b[1m",
                      "10 older ones"):
            self.assertIn(words, out)
        answer = self.json("host", "web1")
        self.assertEqual((answer["pin"], answer["inventory"]["proven"], answer["inventory"]["data"]["os"], answer["metrics"]), ("pinned", True, "Debian", None))
        self.bad(1, "not-found", "host", "web9")
        self.bad(2, "not a host's name", "host", "../x")

    def test_forged(self):
        self.show(self.web2, "metrics", {})
        self.server.latest[("web1", "metrics")] = self.server.latest[("web2", "metrics")]
        r = self.bad(1, "answers that this host did not give", "host", "web1")
        self.assertIn("metrics: FORGED: another key", r.stdout)

    def test_another_identity(self):
        self.server.hosts[0] = HostKey("web1")
        self.server.hosts[0].online = True
        self.bad(1, "web1 HAS ANOTHER IDENTITY THAN YOU PINNED", "host", "web1")

    def test_another_host(self):
        self.server.lies["/v1/hosts/web1"] = lambda h, p: self.server.send(h, 200, self.server.host_json(self.web2))
        self.bad(1, "the answer is about another host", "host", "web1")


class Stop(Case):
    def stop(self, *args):
        return ["stop", "host.isolate", "--hosts", "web1", "--seconds", "600", "--key", self.fleet.owners[2].key, "--yes", *args]

    def test_stop(self):
        """Made, signed by one owner and sent at once; the hosts' words as they come."""
        def taken(handler, path):
            row = [o for o in self.server.orders.values()][0]
            if len(self.server.requests) > 3:
                self.server.host_row(row, self.web1).update(state="accepted", ack=ack(self.fleet, self.web1, row["order_sha256"]))
            self.server.send(handler, 200, row)
        self.server.lies["/v1/orders/"] = taken
        out = self.good(*self.stop())
        self.assertIn(self.web1.ref + ": accepted (the server says; taking it: signed)", out)
        row = [o for o in self.server.orders.values()][0]
        self.assertEqual((row["class"], row["action"], row["approvals"]), ("S", "host.isolate", 1))
        self.assertEqual(len(os.listdir(os.path.join(self.home, "stops"))), 2)

    def after(self, **row):
        def shown(handler, path):
            o = [o for o in self.server.orders.values()][0]
            self.server.host_row(o, self.web1).update({k: v(o["order_sha256"]) if callable(v) else v for k, v in row.items()})
            self.server.send(handler, 200, o)
        self.server.lies["/v1/orders/"] = shown

    def test_hearsay(self):
        """A stolen server says that everybody stopped."""
        for state in ("accepted", "ok"):
            self.after(state=state, outcome="ok" if state == "ok" else "")
            self.bad(1, "1 of 1 hosts have not signed that they took it", *self.stop())
            self.server.orders.clear()

    def test_refused_by_the_host(self):
        self.after(state="refused", why="expired", ack=lambda order: ack(self.fleet, self.web1, order, "refused", "expired"))
        self.bad(1, "1 of 1 hosts refused it or failed", *self.stop())
        self.server.orders.clear()
        self.after(state="failed", outcome="failed", ack=lambda order: ack(self.fleet, self.web1, order),
                   envelope=lambda order: result(self.fleet, self.web1, order, "failed", 1))
        self.bad(1, "1 of 1 hosts refused it or failed", *self.stop())

    def test_offline_for_many(self):
        """A file that is carried by hand cannot prove to 300 hosts that they are beneath a root: none would take it."""
        path = os.path.join(self.dir, "list")
        with open(path, "w") as f:
            f.write("".join("n%d#%032x\n" % (i, i) for i in range(300)))
        self.bad(2, "at most 256", "stop", "host.isolate", "--hosts-file", path, "--key", self.fleet.owners[2].key, "--yes", "--offline", "-o",
                 os.path.join(self.dir, "many"))
        self.assertEqual([n for n in os.listdir(self.dir) if n.startswith("many")], [])

    def test_offline(self):
        path = os.path.join(self.dir, "stop.json")
        self.good(*self.stop("--offline", "-o", path))
        self.assertEqual(self.server.requests, [])
        with open(path) as f:
            self.assertEqual(list(json.load(f)), ["order"])

    def test_unreachable(self):
        self.server.close()
        self.bad(3, "https://127.0.0.1", *self.stop())
        self.assertEqual(len(os.listdir(os.path.join(self.home, "stops"))), 2)


class Witness(Case):
    def setUp(self):
        super().setUp()
        self.key = os.path.join(self.dir, "witness.key")
        self.vkey = self.good("log", "witness", "--make", "witness.test", "-o", self.key).strip()
        for i in range(3):
            self.fleet.log.add(b"entry %d" % i)

    def once(self):
        return self.run_it("log", "witness", "--key", self.key, "--once")

    def cosigners(self, note):
        return [line.split()[1] for line in note.decode().split("\n\n")[1].splitlines()]

    def test_key(self):
        self.assertRegex(self.vkey, r"^witness\.test\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+$")
        self.assertEqual(os.stat(self.key).st_mode & 0o777, 0o600)
        self.bad(1, "File exists", "log", "witness", "--make", "w", "-o", self.key)
        self.bad(2, "cannot be the name", "log", "witness", "--make", "a b", "-o", self.key + "2")
        self.bad(2, "--key FILE says", "log", "witness")

    def test_cosign(self):
        for n in (3, 4, 300):
            while len(self.fleet.log.entries) < n:
                self.fleet.log.add(b"more %d" % len(self.fleet.log.entries))
            r = self.once()
            self.assertEqual((r.returncode, r.stdout), (0, "cosigned %d entries of log.test as witness.test\n" % n), r)
            self.assertEqual(self.cosigners(self.server.cosignatures[-1]), ["log.test", "witness.test"])

    def test_counts_for_owner(self):
        """A checkpoint that this witness cosigned is what a trust file with a witness wants."""
        self.write("trust.json", json.dumps(dict(self.fleet.trust, witnesses=[self.vkey], witnesses_needed=1)))
        self.fleet.log.entries = []
        r = self.run_it("log", "verify")
        self.assertIn("cosigned by fewer than 1 of the witnesses", r.stderr)
        self.assertEqual(self.once().returncode, 0)
        self.server.lies["/log/checkpoint"] = lambda h, p: self.server.send(h, 200, self.server.cosignatures[-1], "text/plain")
        self.assertIn("verified: 0 entries", self.good("log", "verify"))

    def test_other_history(self):
        """It signs no second history, whatever proof the server makes up."""
        self.assertEqual(self.once().returncode, 0)
        self.fleet.log.entries = [b"other %d" % i for i in range(7)]
        r = self.once()
        self.assertEqual(r.returncode, 1)
        self.assertIn("NOT SIGNED", r.stderr)
        self.fleet.log.entries = [b"entry 0"]
        self.assertIn("NOT SIGNED", self.once().stderr)
        self.fleet.log.entries = [b"x"] * 3
        self.assertIn("NOT SIGNED", self.once().stderr)
        self.assertEqual(len(self.server.cosignatures), 1)

    def test_two_at_once(self):
        """One key's memory is one witness's: a server that stalls one of two could have both histories signed."""
        asked, go = threading.Event(), threading.Event()

        def stall(handler, path):
            note = self.fleet.log.note().encode()
            asked.set()
            go.wait(60)
            self.server.send(handler, 200, note, "text/plain")
        self.server.lies["/log/checkpoint"] = stall
        env = {**os.environ, "PORTCULLIS_OWNER": self.home, "NO_PROXY": "127.0.0.1"}
        first = subprocess.Popen([PORTCULLIS, "log", "witness", "--key", self.key, "--once"], env=env, stdout=subprocess.DEVNULL)
        self.assertTrue(asked.wait(60))
        del self.server.lies["/log/checkpoint"]
        self.fleet.log.entries = [b"other %d" % i for i in range(7)]
        r = self.once()
        go.set()
        first.wait(60)
        self.assertEqual((r.returncode, len(self.server.cosignatures)), (1, 1), r)
        self.assertIn(b"\n3\n", self.server.cosignatures[0])
        self.assertIn("another witness", r.stderr)

    def test_another_log(self):
        self.fleet.log.key = HostKey("x").key
        self.assertIn("not one of the log log.test", self.once().stderr)

    def test_changed_meanwhile(self):
        """The server signs anew all the time: a checkpoint that is gone is cosigned again."""
        times = []

        def late(handler, path):
            times.append(path)
            self.server.send(handler, 409 if len(times) < 3 else 200, {})
        self.server.lies["/v1/cosignatures"] = late
        self.assertEqual(self.once().returncode, 0)
        self.server.lies["/v1/cosignatures"] = lambda h, p: self.server.error(h, 409, "checkpoint", "gone")
        self.assertIn("faster than they can be cosigned", self.once().stderr)
        self.server.lies["/v1/cosignatures"] = lambda h, p: self.server.error(h, 400, "cosignature", "no witness of ours")
        self.assertEqual(self.once().returncode, 4)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:], verbosity=2)
