#!/usr/bin/env python3
"""The owner's commands on the owner's own disk, with real SSH keys: what is written, shown, signed and refused.

Usage: test_owner.py PORTCULLIS
"""
import base64
import hashlib
import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
import unittest

PORTCULLIS = os.path.abspath(sys.argv[1])
IDS = {name: f"{i:032x}" for i, name in enumerate(["web1", "web2", "web3"], 1)}


def vkey(name, algorithm=1, key=bytes(range(32))):
    ident = hashlib.sha256(name.encode() + b"\n" + bytes([algorithm]) + key).digest()[:4]
    return f"{name}+{ident.hex()}+{base64.b64encode(bytes([algorithm]) + key).decode()}"


class Owner(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keys = tempfile.mkdtemp(prefix="pc-owner-keys-")
        for name in ("ann", "bob", "cid", "eve"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", f"{cls.keys}/{name}"], check=True)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.keys)

    def setUp(self):
        self.top = tempfile.mkdtemp(prefix="pc-owner-")
        os.mkdir(self.path("owner"))
        self.run_it("trust", "new", "--tenant", "city", *self.owners("ann", "bob", "cid"), "--log-key", vkey("log.example.org"),
                    "--dwell", "0", "--cap", "C=300", "-o", self.path("trust.json"))
        shutil.copy(self.path("trust.json"), self.path("owner/trust.json"))
        with open(self.path("owner/hosts"), "w") as f:
            f.write("# pinned\n" + "".join(f"{n}#{i}\n" for n, i in IDS.items()))

    def tearDown(self):
        shutil.rmtree(self.top)

    def path(self, name):
        return os.path.join(self.top, name)

    def key(self, name):
        return os.path.join(self.keys, name)

    def owners(self, *names):
        return [w for n in names for w in ("--owner", f"{n}={self.key(n)}.pub:BCST")]

    def start(self, *args, **more):
        env = {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC", "PORTCULLIS_OWNER": self.path("owner"), "HOME": self.top, "SSH_AUTH_SOCK": ""}
        return subprocess.run([PORTCULLIS, *args], env=env, capture_output=True, text=True, timeout=60, **more)

    def run_it(self, *args, **more):
        r = self.start(*args, **more)
        self.assertEqual((r.returncode, r.stderr), (0, ""), r)
        return r.stdout

    def bad(self, status, words, *args, **more):
        r = self.start(*args, **more)
        self.assertEqual(r.returncode, status, r)
        self.assertIn(words, r.stderr)
        return r

    def order(self, name="o.json", *more, hosts="web1,web2,web3"):
        args = ["order", "new", "service", "--service", "nginx.service", "--do", "restart", "--hosts", hosts, *more, "-o", self.path(name), "--json"]
        return json.loads(self.run_it(*args))

    def document(self, name):
        with open(self.path(name)) as f:
            return json.load(f)

    # orders

    def test_order_is_what_was_asked_for(self):
        made = self.order("o.json", "--ring", "1:10m", "--halt-failures", "1", "--dwell", "1h", "--expires", "3h", "--says", "Restart nginx")
        o = self.document("o.json")
        self.assertEqual(list(o)[0], "portcullis")
        self.assertEqual((o["class"], o["action"], o["tenant"], o["says"]), ("C", "service", "city", "Restart nginx"))
        self.assertEqual(o["params"], {"service": "nginx.service", "do": "restart"})
        self.assertEqual(o["hosts"], [f"{n}#{i}" for n, i in IDS.items()])
        self.assertEqual(o["rings"], [{"hosts": 1, "soak": 600}, {"hosts": 2, "soak": 0}])
        self.assertEqual((o["halt"], o["dwell"], o["sequence"]), ({"failures": 1, "incidents": 0}, 3600, 1))
        with open(self.path("o.json"), "rb") as f:
            self.assertEqual(made["order_sha256"], hashlib.sha256(f.read()).hexdigest())
        self.assertEqual(self.order("p.json")["sequence"], 2)
        self.assertEqual(self.order("q.json", "--sequence", "70")["sequence"], 70)
        self.assertEqual(self.order("r.json")["sequence"], 71)
        self.assertNotEqual(self.document("p.json")["id"], self.document("q.json")["id"])

    def test_order_refused(self):
        new = ["order", "new", "service", "--service", "nginx", "--do", "restart", "-o", self.path("x.json")]
        self.bad(2, "no hosts", *new)
        self.bad(4, "web9: its identity is not pinned", *new, "--hosts", "web9")
        self.bad(2, "a host's name", *new, "--hosts", "web1#abc")
        self.bad(4, "(count): a host's name or identity is listed twice", *new, "--hosts", "web1,web1")
        self.bad(2, "the rings have 4 hosts, the order 1", *new, "--hosts", "web1", "--ring", "4:1m")
        self.bad(2, "--ring 4", *new, "--hosts", "web1", "--ring", "4")
        self.bad(4, "(window)", *new, "--hosts", "web1", "--expires", "31d")
        self.bad(2, "--expires soon", *new, "--hosts", "web1", "--expires", "soon")
        self.bad(2, "\"do\" must be start, stop or restart", "order", "new", "service", "--service", "x", "--do", "explode", "--hosts", "web1", "-o", self.path("x"))
        self.bad(2, "unknown key \"pid\"", *new, "--hosts", "web1", "--pid", "7")
        self.bad(2, "a stop: `portcullis stop host.isolate`", "order", "new", "host.isolate", "--hosts", "web1", "-o", self.path("x"))
        self.bad(2, "needs no order", "order", "new", "inventory", "--hosts", "web1", "-o", self.path("x"))
        self.bad(2, "unknown action; there are: script.run", "order", "new", "format.disk", "--hosts", "web1", "-o", self.path("x"))
        self.bad(2, "-o FILE", "order", "new", "service", "--service", "x", "--do", "stop", "--hosts", "web1")
        self.assertFalse(os.path.exists(self.path("x.json")))
        self.order("o.json")
        self.bad(1, "exists already", *new[:-1], self.path("o.json"), "--hosts", "web1")

    def test_script(self):
        script = "#!/bin/sh\necho \x1b[2Jhi\nrm -rf /srv/old"
        with open(self.path("s.sh"), "w") as f:
            f.write(script)
        self.run_it("order", "new", "script.run", "--script", self.path("s.sh"), "--interpreter", "/bin/bash", "--interpreter", "-eu", "--timeout", "60", "--hosts",
                    "web2", "-o", self.path("o.json"))
        p = self.document("o.json")["params"]
        self.assertEqual(base64.b64decode(p["script"]).decode(), script)
        self.assertEqual((p["sha256"], p["interpreter"], p["timeout"]), (hashlib.sha256(script.encode()).hexdigest(), ["/bin/bash", "-eu"], 60))
        shown = self.run_it("order", "show", self.path("o.json"))
        self.assertIn("    | echo \\x1b[2Jhi\n    | rm -rf /srv/old\n", shown)
        self.assertNotIn("\x1b", shown)
        self.run_it("order", "new", "script.run", "--argv", "/bin/touch", "--argv", "-x", "--argv", "/x", "--hosts", "web2", "-o", self.path("a.json"))
        self.assertEqual(self.document("a.json")["params"], {"argv": ["/bin/touch", "-x", "/x"], "timeout": 300, "output": 65536})

    def test_standing(self):
        self.run_it("order", "new", "package.update", "--security", "--standing", "tue,wed 01:00-05:30 24h", "--hosts", "web1", "-o", self.path("b.json"))
        o = self.document("b.json")
        self.assertEqual((o["class"], o["standing"]), ("B", {"days": ["tue", "wed"], "from": "01:00", "until": "05:30", "every": 86400}))
        self.assertIn("Again and again: tue wed from 01:00 until 05:30", self.run_it("order", "show", self.path("b.json")))

    def test_many_hosts(self):
        names = [f"n{i}#{i:032x}" for i in range(300)]
        with open(self.path("list"), "w") as f:
            f.write("\n".join(names) + "\n")
        self.run_it("order", "new", "host.unisolate", "--hosts-file", self.path("list"), "-o", self.path("o.json"))
        o = self.document("o.json")
        self.assertNotIn("hosts", o)
        self.assertEqual((o["count"], len(o["hosts_root"])), (300, 44))
        leaves = [hashlib.sha256(b"\0" + n.encode()).digest() for n in names]

        def root(h):
            if len(h) == 1:
                return h[0]
            k = 1 << (len(h) - 1).bit_length() - 1
            return hashlib.sha256(b"\1" + root(h[:k]) + root(h[k:])).digest()

        self.assertEqual(base64.b64decode(o["hosts_root"]), root(leaves))
        self.assertIn(names[299], self.run_it("order", "show", self.path("o.json")))
        self.run_it("approve", self.path("o.json"), "--key", self.key("ann"), "--yes")
        with open(self.path("o.json.hosts"), "a") as f:
            f.write("evil#" + "e" * 32 + "\n")
        self.bad(4, "the order names a root over 300 hosts, FILE.hosts has 301", "approve", self.path("o.json"), "--key", self.key("bob"), "--yes")
        with open(self.path("o.json.hosts"), "w") as f:
            f.write("\n".join(names[:299] + ["evil#" + "e" * 32]) + "\n")
        self.bad(4, "does not have the hosts whose root", "approve", self.path("o.json"), "--key", self.key("bob"), "--yes")

    # approving

    def verify(self, name, who, namespace):
        """ssh-keygen's own opinion."""
        with open(self.path("allowed"), "w") as f, open(self.key(who) + ".pub") as pub:
            f.write(f"{who} {pub.read()}")
        with open(self.path(name), "rb") as data:
            return subprocess.run(["ssh-keygen", "-Y", "verify", "-f", self.path("allowed"), "-I", who, "-n", namespace, "-s",
                                   self.path(f"{name}.{who}.sig")], stdin=data, capture_output=True).returncode == 0

    def test_approve(self):
        self.order()
        for who in ("ann", "bob"):
            answer = json.loads(self.run_it("approve", self.path("o.json"), "--key", self.key(who), "--yes", "--json"))
            self.assertEqual((answer["signed_by"], answer["signature"]), (who, self.path(f"o.json.{who}.sig")))
            self.assertTrue(self.verify("o.json", who, "order@portcullis"))
        shown = json.loads(self.run_it("order", "show", self.path("o.json"), "--json"))
        self.assertEqual([(s["good"], s["owner"]) for s in shown["signatures"]], [(True, "ann"), (True, "bob")])
        text = self.run_it("order", "show", self.path("o.json"))
        self.assertRegex(text, r"Signed so far:\n  ann  SHA256:\S+\n  bob  SHA256:")
        self.assertIn("Needs: 2 of the owners for class C", text)

    def test_approve_asks(self):
        self.order()
        for answer in ("no\n", "y\n", "", "YES\n", "yes please\n"):
            self.bad(4, "not signed", "approve", self.path("o.json"), "--key", self.key("ann"), input=answer)
        self.assertFalse(os.path.exists(self.path("o.json.ann.sig")))
        out = self.run_it("approve", self.path("o.json"), "--key", self.key("ann"), input="yes\n")
        for words in ("Order ", "nginx.service", "restart", *(f"{n}#{i}" for n, i in IDS.items()), "Type yes:", "Signed: "):
            self.assertIn(words, out)
        self.assertTrue(self.verify("o.json", "ann", "order@portcullis"))
        self.bad(2, "--json asks nothing", "approve", self.path("o.json"), "--key", self.key("ann"), "--json")

    def test_approve_warns(self):
        self.order(hosts="web1,db#" + "d" * 32 + ",web2#" + "f" * 32)
        out = self.run_it("approve", self.path("o.json"), "--key", self.key("eve"), "--yes")
        self.assertIn("(not pinned by you)", out)
        self.assertIn("NOT the identity that you have pinned", out)
        self.assertIn("no owner's in the trust file", out)
        self.assertTrue(os.path.exists(self.path("o.json.eve.sig")))
        self.assertIn("somebody who is no owner", self.run_it("order", "show", self.path("o.json")))

    def test_approve_refuses(self):
        self.order()
        o = self.document("o.json")
        for change, words in (({"count": 2}, "(count)"), ({"action": "format.disk"}, "(action)"), ({"x": 1}, "(syntax)"), ({"class": "S"}, "(class)")):
            with open(self.path("bad.json"), "w") as f:
                json.dump({**o, **change}, f)
            self.bad(4, words, "approve", self.path("bad.json"), "--key", self.key("ann"), "--yes")
        with open(self.path("bad.json"), "w") as f:
            f.write("{}")
        self.bad(1, "not an order", "approve", self.path("bad.json"), "--key", self.key("ann"), "--yes")
        self.bad(1, "ssh-keygen did not sign", "approve", self.path("o.json"), "--key", self.path("nokey"), "--yes")
        self.bad(2, "no SSH key in ~/.ssh", "approve", self.path("o.json"), "--yes")
        self.assertEqual([n for n in os.listdir(self.top) if n.endswith(".sig")], [])

    def test_passphrase_through_the_terminal(self):
        """ssh-keygen has the terminal: it asks for the passphrase itself, and we never see it."""
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret phrase", "-f", self.path("locked")], check=True)
        self.order()
        env = {**os.environ, "PORTCULLIS_OWNER": self.path("owner"), "HOME": self.top, "SSH_AUTH_SOCK": "", "DISPLAY": "", "SSH_ASKPASS": ""}
        pid, fd = pty.fork()
        if pid == 0:
            os.execve(PORTCULLIS, [PORTCULLIS, "approve", self.path("o.json"), "--key", self.path("locked"), "--yes"], env)
        seen = b""
        try:
            while b"assphrase" not in seen:
                seen += os.read(fd, 4096)
            os.write(fd, b"secret phrase\n")
            while True:
                seen += os.read(fd, 4096)
        except OSError:
            pass
        os.close(fd)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), 0, seen)
        self.assertIn(b"o.json.locked.sig", seen)
        self.assertTrue(os.path.exists(self.path("o.json.locked.sig")))

    def test_agent(self):
        agent = subprocess.Popen(["ssh-agent", "-D", "-a", self.path("agent")], stdout=subprocess.PIPE)
        agent.stdout.readline()  # it listens
        try:
            env = {**os.environ, "SSH_AUTH_SOCK": self.path("agent"), "PORTCULLIS_OWNER": self.path("owner")}
            subprocess.run(["ssh-add", "-q", self.key("cid")], env=env, check=True, capture_output=True)
            shutil.copy(self.key("cid") + ".pub", self.path("only.pub"))
            self.order()
            subprocess.run([PORTCULLIS, "approve", self.path("o.json"), "--key", self.path("only.pub"), "--yes"], env=env, check=True, capture_output=True)
            self.assertTrue(self.verify("o.json", "cid", "order@portcullis"))
        finally:
            agent.terminate()
            agent.wait(timeout=30)
            agent.stdout.close()

    def test_hostile_text(self):
        """Nothing of a document can move the cursor, hide, or look like another line."""
        self.order("o.json", "--says", "Restart\x1b[8m nginx\r\nSigned so far:\n  ann\u202e")
        shown = self.run_it("order", "show", self.path("o.json"))
        self.assertIn("    | Restart\\x1b[8m nginx\\x0d\n    | Signed so far:\n    |   ann\\xe2\\x80\\xae\n", shown)
        self.assertNotIn("\x1b", shown)

    # stops

    def test_stop(self):
        answer = json.loads(self.run_it("stop", "host.isolate", "--hosts", "web1", "--allow", "192.0.2.0/24", "--seconds", "600", "--key", self.key("bob"),
                                        "--yes", "--offline", "-o", self.path("stop"), "--json"))
        self.assertEqual((answer["signed_by"], answer["action"], answer["hosts"]), ("bob", "host.isolate", 1))
        bundle = self.document("stop")
        self.assertEqual(list(bundle), ["order"])
        document = base64.b64decode(bundle["order"]["document"])
        self.assertEqual(hashlib.sha256(document).hexdigest(), answer["order_sha256"])
        o = json.loads(document)
        self.assertEqual((o["class"], o["params"]), ("S", {"allow": ["192.0.2.0/24"], "seconds": 600}))
        self.assertEqual(len(bundle["order"]["signatures"]), 1)
        self.assertTrue(self.verify("stop.order", "bob", "order@portcullis"))
        self.assertFalse(os.path.exists(self.path("owner/sequence")))

    def test_stop_asks(self):
        args = ["stop", "host.isolate", "--hosts", "web1", "--key", self.key("bob"), "--offline", "-o", self.path("stop")]
        self.bad(4, "not signed", *args, input="no\n")
        self.assertEqual([n for n in os.listdir(self.top) if n.startswith("stop")], [])
        self.run_it(*args, input="yes\n")
        self.bad(2, "not a stop; there are: actor.freeze", "stop", "script.run", "--hosts", "web1", "--offline", "-o", self.path("t"))

    def test_halt_is_for_the_orders_hosts(self):
        made = self.order()
        self.run_it("stop", "rollout.halt", "--order", self.path("o.json"), "--key", self.key("cid"), "--yes", "--offline", "-o", self.path("halt"))
        o = json.loads(base64.b64decode(self.document("halt")["order"]["document"]))
        self.assertEqual((o["params"], o["count"]), ({"order_sha256": made["order_sha256"]}, 3))

    # trust files

    def test_trust(self):
        t = self.document("trust.json")
        self.assertEqual((t["tenant"], t["version"], t["thresholds"], t["cap"]), ("city", 1, {"B": 2, "C": 2, "S": 1, "T": 2}, {"C": 300, "S": 10}))
        self.assertIn("Trust file of city, version 1", self.run_it("trust", "show", self.path("trust.json")))
        self.run_it("approve", self.path("trust.json"), "--key", self.key("ann"), "--yes")
        self.assertTrue(self.verify("trust.json", "ann", "trust@portcullis"))
        self.run_it("trust", "rotate", self.path("trust.json"), "--remove", "cid", *self.owners("eve"), "--threshold", "C=3", "--witness",
                    vkey("w.example.org", 4, bytes(32)), "--witnesses-needed", "1", "-o", self.path("t2.json"))
        t = self.document("t2.json")
        self.assertEqual((t["version"], [o["name"] for o in t["owners"]], t["thresholds"]["C"], t["witnesses_needed"]), (2, ["ann", "bob", "eve"], 3, 1))
        shown = self.run_it("trust", "show", self.path("t2.json"))
        for words in ("+ owner eve", "- owner cid", "class C needs 3 owners, not 2"):
            self.assertIn(words, shown)
        self.bad(2, "--remove zoe: no such owner", "trust", "rotate", self.path("trust.json"), "--remove", "zoe", "-o", self.path("t3.json"))
        self.bad(4, "the threshold for C is 4, but 3 owners", "trust", "rotate", self.path("trust.json"), "--threshold", "C=4", "-o", self.path("t3.json"))
        self.bad(4, "have the same key", "trust", "rotate", self.path("trust.json"), "--owner", f"zoe={self.key('ann')}.pub:C", "-o", self.path("t3.json"))
        self.bad(4, "\"hardware\" is set, but the key is not in a security key", "trust", "rotate", self.path("trust.json"), "--owner",
                 f"zoe={self.key('eve')}.pub:C:hardware", "-o", self.path("t3.json"))
        self.assertFalse(os.path.exists(self.path("t3.json")))

    def test_revoke_and_statement(self):
        self.run_it("trust", "revoke", "bob", "--reason", "laptop stolen", "-o", self.path("r.json"))
        r = self.document("r.json")
        self.assertEqual((r["owner"], r["reason"]), ("bob", "laptop stolen"))
        self.assertIn("laptop stolen", self.run_it("approve", self.path("r.json"), "--key", self.key("bob"), "--yes"))
        self.assertTrue(self.verify("r.json", "bob", "revoke@portcullis"))
        self.bad(2, "no such owner", "trust", "revoke", "zoe", "-o", self.path("z.json"))
        with open(self.path("ca.pem"), "w") as f:
            f.write("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
        statement = ["trust", "statement", "--url", "https://10.0.0.1:7443", "--link", "10.0.0.1:7444", "--ca", self.path("ca.pem"), "--version", "2"]
        self.run_it(*statement, "-o", self.path("s.json"))
        self.run_it("approve", self.path("s.json"), "--key", self.key("ann"), "--yes")
        self.assertTrue(self.verify("s.json", "ann", "server@portcullis"))
        statement[3] = "http://10.0.0.1"
        self.bad(4, "\"url\" must be https://HOST:PORT", *statement, "-o", self.path("s2.json"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
