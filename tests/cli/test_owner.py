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
import termios
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

    def test_invisible_text(self):
        """What takes no room on the screen, or turns its direction, is shown by its bytes."""
        for c in "\u00ad\u061c\u180e\u200b\u200d\u2060\ufeff\ufff9\u115f\u3164\uffa0\ufe0f\U000e0041\U000e0100":
            with self.subTest(hex(ord(c))):
                self.order(f"o{ord(c)}.json", "--says", f"Rest{c}art")
                shown = self.run_it("order", "show", self.path(f"o{ord(c)}.json"))
                self.assertIn("    | Rest" + "".join("\\x%02x" % b for b in c.encode()) + "art\n", shown)

    def test_each_argument_is_one(self):
        """["/bin/rm", "a b"] and ["/bin/rm", "a", "b"] are not the same, and do not look the same."""
        for i, argv in enumerate((["/bin/rm", "a  b"], ["/bin/rm", "a", "b"], ["/bin/rm", "a", "", "b\nc"], ["/bin/rm", "x" * 100, "When:  from today"])):
            words = [w for a in argv for w in ("--argv", a)]
            self.run_it("order", "new", "script.run", *words, "--hosts", "web2", "-o", self.path(f"a{i}.json"))
        shown = [self.run_it("order", "show", self.path(f"a{i}.json")) for i in range(4)]
        self.assertIn("  argv         /bin/rm  a  b\n", shown[1])
        self.assertIn("    | /bin/rm\n    | a  b\n", shown[0])
        self.assertIn("    | /bin/rm\n    | a\n    | \n    | b\\x0ac\n", shown[2])
        self.assertIn("    | " + "x" * 100 + "\n    | When:  from today\n", shown[3])

    def on_screen(self, columns, *args):
        """The lines of a screen of so many columns, as a terminal wraps them."""
        env = {**os.environ, "LC_ALL": "C.UTF-8", "PORTCULLIS_OWNER": self.path("owner"), "HOME": self.top, "NO_COLOR": "1"}
        master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (50, columns))
        p = subprocess.Popen([PORTCULLIS, *args], stdin=slave, stdout=slave, stderr=slave, env=env)
        os.close(slave)
        seen = b""
        try:
            while True:
                seen += os.read(master, 4096)
        except OSError:
            pass
        os.close(master)
        self.assertEqual(p.wait(timeout=60), 0, seen)
        lines = [line for line in seen.decode().replace("\r\n", "\n").split("\n")]
        return [line[i:i + columns] for line in lines for i in range(0, max(len(line), 1), columns)]

    def test_wrapped_text_is_marked(self):
        """A long line cannot run on at the left edge of the screen, where it would look like one of ours."""
        self.order("o.json", "--says", "Restart nginx".ljust(74) + "When:  from now on" + "x" * 150)
        lines = self.on_screen(80, "order", "show", self.path("o.json"))
        self.assertIn("    | Restart nginx", [line.rstrip() for line in lines])
        self.assertEqual([line for line in lines if "from now on" in line], ["    : When:  from now on" + "x" * 56])
        self.assertEqual([line for line in lines if line.startswith("x")], [])
        with open(self.path("s.sh"), "w") as f:
            f.write("true".ljust(74) + "What:  host.unisolate")
        self.run_it("order", "new", "script.run", "--script", self.path("s.sh"), "--hosts", "web2", "-o", self.path("s.json"))
        self.assertEqual([line for line in self.on_screen(80, "order", "show", self.path("s.json")) if "host.unisolate" in line],
                         ["    : What:  host.unisolate"])

    def test_not_shown_is_not_signed(self):
        """A full disk behind standard output: the owner saw nothing."""
        self.order()
        for more in ({"input": "yes\n"}, {"yes": True}):
            env = {**os.environ, "PORTCULLIS_OWNER": self.path("owner"), "HOME": self.top, "SSH_AUTH_SOCK": ""}
            with open("/dev/full", "w") as full:
                r = subprocess.run([PORTCULLIS, "approve", self.path("o.json"), "--key", self.key("ann"), *(["--yes"] if "yes" in more else [])], env=env,
                                   stdout=full, stderr=subprocess.PIPE, text=True, input=more.get("input", ""), timeout=60)
            self.assertEqual(r.returncode, 1, r)
            self.assertIn("could not be shown", r.stderr)
        self.assertFalse(os.path.exists(self.path("o.json.ann.sig")))
        for args in (["--version"], ["help"], ["help", "approve"], ["approve", "--help"]):
            with open("/dev/full", "w") as full:
                self.assertEqual(subprocess.run([PORTCULLIS, *args], stdout=full, stderr=subprocess.DEVNULL, timeout=60).returncode, 1, args)

    def test_names_of_files_are_text(self):
        self.order("o\x1b[2J.json")
        for args in (["approve", self.path("o\x1b[2J.json"), "--key", self.key("ann"), "--yes"], ["order", "new", "host.unisolate", "--hosts", "web1", "-o",
                     self.path("p\x1b[2J.json")], ["trust", "revoke", "bob", "-o", self.path("r\x1b[2J.json")]):
            self.assertNotIn("\x1b", self.run_it(*args))
        self.assertIn("Signed: " + self.path("o\\x1b[2J.json.ann.sig"), self.run_it("approve", self.path("o\x1b[2J.json"), "--key", self.key("ann"), "--yes"))
        shown = self.run_it("order", "show", self.path("o\x1b[2J.json"), "--json")
        self.assertEqual(json.loads(shown)["file"], self.path("o\x1b[2J.json"))
        self.order("c1.json", "--says", "Restart\u009b31m\u202e")
        self.assertTrue(self.run_it("order", "show", self.path("c1.json"), "--json").isascii())

    def keygen(self, script):
        """A folder with an ssh-keygen of our own making."""
        os.makedirs(self.path("bin"), exist_ok=True)
        with open(self.path("bin/ssh-keygen"), "w") as f:
            f.write("#!/bin/sh\n" + script)
        os.chmod(self.path("bin/ssh-keygen"), 0o755)
        return {**os.environ, "PATH": self.path("bin") + ":" + os.environ["PATH"], "PORTCULLIS_OWNER": self.path("owner"), "HOME": self.top, "SSH_AUTH_SOCK": ""}

    def test_garbage_of_ssh_keygen(self):
        self.order()
        real = shutil.which("ssh-keygen")
        self.run_it("approve", self.path("o.json"), "--key", self.key("ann"), "--yes")
        shutil.copy(self.path("o.json.ann.sig"), self.path("old"))
        os.unlink(self.path("o.json.ann.sig"))
        for script, words in ((f"{real} \"$@\"; printf '\\000%2000s' x", "not a text"), ("echo hello", "not a signature"), ("exit 0", "not a signature"),
                              (f"{real} \"$@\"; exit 3", "did not sign"), ("head -c 99999 /dev/zero", "longer than"), (f"{real} -Y sign -q -n file -f {self.key('ann')}",
                               "not a signature that hosts accept"), ("echo x | " + f"{real} -Y sign -q -n order@portcullis -f {self.key('ann')}", "not a signature")):
            r = subprocess.run([PORTCULLIS, "approve", self.path("o.json"), "--key", self.key("ann"), "--yes"], env=self.keygen(script), capture_output=True,
                               text=True, timeout=60)
            self.assertEqual(r.returncode, 1, (script, r))
            self.assertIn(words, r.stderr)
        self.assertEqual([n for n in os.listdir(self.top) if n.endswith(".sig")], [])

    def test_nothing_is_dropped(self):
        """What was typed is in the document, or nothing is made."""
        bad = os.fsdecode(b"/x\xff")
        new = ["order", "new", "script.run", "--hosts", "web1", "-o", self.path("x.json")]
        self.bad(2, "not UTF-8", *new, "--argv", "/bin/rm", "--argv", "-r", "--argv", bad)
        self.bad(2, "--standing tue 01:00-05:00 24h +0200", "order", "new", "package.update", "--hosts", "web1", "-o", self.path("x.json"), "--standing",
                 "tue 01:00-05:00 24h +0200")
        self.bad(2, "--ring 1500ms", *new, "--argv", "/bin/true", "--ring", "1:1500ms")
        with open(self.path("list"), "wb") as f:
            f.write(b"web1\n\0web2\nweb3\n")
        self.bad(1, "not a text", "order", "new", "host.unisolate", "--hosts-file", self.path("list"), "-o", self.path("x.json"))
        with open(self.path("latin1"), "wb") as f:
            f.write(b"log\xe9+00000000+AAAA\n")
        for option in ("--log-key", "--witness"):
            self.bad(2, "not UTF-8", "trust", "rotate", self.path("trust.json"), option, self.path("latin1"), "-o", self.path("x.json"))
        self.bad(2, "not UTF-8", "trust", "rotate", self.path("trust.json"), "--owner", f"eve={self.key('eve')}.pub:BC" + os.fsdecode(b"\xff"), "-o",
                 self.path("x.json"))
        self.bad(2, "not UTF-8", "trust", "rotate", self.path("trust.json"), "--cap", "C=5," + os.fsdecode(b"\xff") + "=7", "-o", self.path("x.json"))
        self.assertFalse(os.path.exists(self.path("x.json")))

    def test_twice_beneath_a_root(self):
        """A list too long for the document may no more name a host twice than a short one."""
        names = [f"n{i}#{i:032x}" for i in range(299)]
        for more in ("n7#" + f"{7:032x}", "n7#" + "f" * 32, "zz#" + f"{7:032x}"):
            with open(self.path("list"), "w") as f:
                f.write("\n".join(names + [more]) + "\n")
            self.bad(4, "listed twice", "order", "new", "host.unisolate", "--hosts-file", self.path("list"), "-o", self.path("o.json"))
            self.assertFalse(os.path.exists(self.path("o.json")))

    # the folder

    def test_two_at_once(self):
        """A sequence number is given once, whoever runs beside."""
        env = {**os.environ, "PORTCULLIS_OWNER": self.path("owner")}
        for p in [subprocess.Popen([PORTCULLIS, "order", "new", "host.unisolate", "--hosts", "web1", "-o", self.path(f"n{i}.json")], env=env,
                                   stdout=subprocess.DEVNULL) for i in range(40)]:
            self.assertEqual(p.wait(timeout=60), 0)
        self.assertEqual(sorted(self.document(f"n{i}.json")["sequence"] for i in range(40)), list(range(1, 41)))

    def test_number_is_kept_before_the_order_is_there(self):
        """No disk, no number, no order: one that exists can be approved and sent."""
        os.mkdir(self.path("owner/sequence"))
        self.assertEqual(self.start("order", "new", "host.unisolate", "--hosts", "web1", "--sequence", "9", "-o", self.path("o.json")).returncode, 1)
        self.assertFalse(os.path.exists(self.path("o.json")))

    def test_half_an_order_is_none(self):
        """A list of hosts whose order could not be written is not left in the way of the next try."""
        with open(self.path("list"), "w") as f:
            f.write("".join(f"n{i}#{i:032x}\n" for i in range(300)))
        open(self.path("o.json"), "w").close()
        new = ["order", "new", "host.unisolate", "--hosts-file", self.path("list"), "-o", self.path("o.json")]
        self.bad(1, "o.json: exists already", *new)
        self.assertFalse(os.path.exists(self.path("o.json.hosts")))
        os.unlink(self.path("o.json"))
        self.run_it(*new)

    def test_killed_before_the_rename(self):
        """What one that was killed left behind is in nobody's way, though process numbers come again."""
        env = {**os.environ, "PORTCULLIS_OWNER": self.path("owner")}
        r = subprocess.run(["sh", "-c", "echo 7 > $PORTCULLIS_OWNER/sequence.$$.new; exec \"$@\"", "sh", PORTCULLIS, "order", "new", "host.unisolate", "--hosts",
                            "web1", "-o", self.path("o.json")], env=env, capture_output=True, text=True, timeout=60)
        self.assertEqual((r.returncode, self.document("o.json")["sequence"]), (0, 1), r)

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

    def test_halt_of_a_root(self):
        """The hosts beside the order must be the order's: else the halt goes to others."""
        names = [f"n{i}#{i:032x}" for i in range(300)]
        with open(self.path("list"), "w") as f:
            f.write("\n".join(names) + "\n")
        self.run_it("order", "new", "host.unisolate", "--hosts-file", self.path("list"), "-o", self.path("o.json"))
        with open(self.path("o.json.hosts"), "w") as f:
            f.write("\n".join(names[:299]) + "\n")
        self.bad(4, "FILE.hosts has 299", "stop", "rollout.halt", "--order", self.path("o.json"), "--key", self.key("cid"), "--yes", "--offline", "-o",
                 self.path("halt"))

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
        for words in ("+ owner eve", "- owner cid", "class C needs 3 owners, not 2", "+ witness w.example.org", "of the witnesses must cosign 1, not 0"):
            self.assertIn(words, shown)
        self.bad(2, "--remove zoe: no such owner", "trust", "rotate", self.path("trust.json"), "--remove", "zoe", "-o", self.path("t3.json"))
        self.bad(4, "the threshold for C is 4, but 3 owners", "trust", "rotate", self.path("trust.json"), "--threshold", "C=4", "-o", self.path("t3.json"))
        self.bad(4, "have the same key", "trust", "rotate", self.path("trust.json"), "--owner", f"zoe={self.key('ann')}.pub:C", "-o", self.path("t3.json"))
        self.bad(4, "\"hardware\" is set, but the key is not in a security key", "trust", "rotate", self.path("trust.json"), "--owner",
                 f"zoe={self.key('eve')}.pub:C:hardware", "-o", self.path("t3.json"))
        self.assertFalse(os.path.exists(self.path("t3.json")))

    def test_every_change_of_trust_is_told(self):
        shutil.copy(self.path("trust.json"), self.path("t9.json"))
        for i, (args, words) in enumerate(((["--dwell", "600"], "waits 600 s, not 0"), (["--cap", "C=5000,S=9"], "an act may have 5000 hosts, not 300"),
                                           (["--cap", "S=9"], "a stop may have 9 hosts, not 10"), (["--silence", "600000"], "silence is 600000 s, not "),
                                           (["--log-key", vkey("other.example.org")], "another log"))):
            self.run_it("trust", "rotate", self.path("trust.json"), *args, "-o", self.path(f"r{i}.json"))
            self.assertIn(words, self.run_it("trust", "show", self.path(f"r{i}.json")))
        self.run_it("trust", "rotate", self.path("trust.json"), "-o", self.path("same.json"))
        self.assertIn("nothing but the version", self.run_it("trust", "show", self.path("same.json")))
        one = ["trust", "rotate", self.path("trust.json"), "--witness", vkey("w.example.org", 4, bytes(32)), "-o", self.path("w1.json")]
        self.run_it(*one)
        self.run_it("trust", "rotate", self.path("w1.json"), "--witness", vkey("w.example.org", 4, bytes([7] * 32)), "-o", self.path("w2.json"))
        shown = self.run_it("trust", "show", self.path("w2.json"), "--trust", self.path("w1.json"))
        self.assertIn("! witness w.example.org has another key", shown)
        self.assertIn("- witness w.example.org", self.run_it("trust", "show", self.path("trust.json"), "--trust", self.path("w1.json")))
        with open(self.path("trust.json")) as f, open(self.path("alien.json"), "w") as g:
            g.write(f.read().replace('"city"', '"town"').replace('"version": 1', '"version": 2'))
        self.assertIn("another tenant", self.run_it("trust", "show", self.path("alien.json")))

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
        for name in ("r", "s"):
            with open(self.path(name + ".json")) as f, open(self.path(name + "-alien.json"), "w") as g:
                g.write(f.read().replace('"city"', '"town"'))
            self.assertIn("another tenant than yours", self.run_it("trust", "show", self.path(name + "-alien.json")))
            self.assertNotIn("another tenant", self.run_it("trust", "show", self.path(name + ".json")))
        statement[3] = "http://10.0.0.1"
        self.bad(4, "\"url\" must be https://HOST:PORT", *statement, "-o", self.path("s2.json"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
