#!/usr/bin/env python3
"""Owners with hardware keys: approve by ssh-keygen, by ssh-agent, with a security key that exists in software (sk_provider.c) and may misbehave.

Usage: test_hardware.py PORTCULLIS PROVIDER
"""
import base64
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

PORTCULLIS, PROVIDER = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
HOST = "web1#%032x" % 1


def sk_parts(signature):
    """Flags and counter at the end of an armoured sk signature."""
    raw = base64.b64decode("".join(signature.split("\n")[1:-2]))
    at, fields = 10, []
    for _ in range(5):  # key, namespace, reserved, hash, signature
        n = struct.unpack(">I", raw[at:at + 4])[0]
        fields.append(raw[at + 4:at + 4 + n])
        at += 4 + n
    return fields[4][-5], struct.unpack(">I", fields[4][-4:])[0]


class Hardware(unittest.TestCase):
    def setUp(self):
        self.top = tempfile.mkdtemp(prefix="pc-hardware-")
        self.addCleanup(shutil.rmtree, self.top)
        self.env = {**os.environ, "LC_ALL": "C.UTF-8", "PORTCULLIS_OWNER": self.path("owner"), "HOME": self.top, "SSH_AUTH_SOCK": "",
                    "SSH_SK_PROVIDER": PROVIDER, "PC_SK_COUNTER": self.path("counter")}
        os.mkdir(self.path("owner"))
        self.make_key("ann")
        self.make_key("bob")
        self.must(PORTCULLIS, "trust", "new", "--tenant", "city", "--owner", "ann=%s.pub:BCST" % self.path("ann"), "--owner", "bob=%s.pub:BCST" % self.path("bob"),
                  "--log-key", self.log_key(), "--dwell", "0", "--cap", "C=10", "-o", self.path("owner/trust.json"))
        with open(self.path("owner/hosts"), "w") as f:
            f.write(HOST + "\n")
        self.must(PORTCULLIS, "order", "new", "service", "--service", "nginx.service", "--do", "restart", "--hosts", "web1", "-o", self.path("o.json"))

    def log_key(self):
        import hashlib
        name, key = "log.example.org", bytes(range(32))
        return "%s+%s+%s" % (name, hashlib.sha256(name.encode() + b"\n\x01" + key).digest()[:4].hex(), base64.b64encode(b"\x01" + key).decode())

    def path(self, name):
        return os.path.join(self.top, name)

    def make_key(self, name, *more):
        self.must("ssh-keygen", "-q", "-t", "ed25519-sk", "-N", "", "-C", name, "-w", PROVIDER, *more, "-f", self.path(name))

    def run_it(self, *words, **env):
        return subprocess.run(words, env={**self.env, **env}, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)

    def must(self, *words, **env):
        done = self.run_it(*words, **env)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        return done.stdout

    def approve(self, key="ann", **env):
        return self.run_it(PORTCULLIS, "approve", self.path("o.json"), "--key", self.path(key), "--yes", **env)

    def signature(self, name="ann"):
        with open(self.path("o.json.%s.sig" % name)) as f:
            return f.read()

    def refused(self, done, words):
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(words, done.stderr)
        self.assertEqual([name for name in os.listdir(self.top) if name.endswith(".sig")], [])

    def test_touched(self):
        done = self.approve()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sk_parts(self.signature()), (1, 1))
        self.assertEqual(self.approve("bob").returncode, 0)
        self.assertEqual(sk_parts(self.signature("bob")), (1, 2))  # one security key, one counter
        with open(self.path("o.json"), "rb") as f:
            document = f.read()
        for name in ("ann", "bob"):
            for program in ([PORTCULLIS, "sig", "verify", "--namespace", "order@portcullis", "--key", self.path(name + ".pub"), "--sig",
                             self.path("o.json.%s.sig" % name)],
                            ["ssh-keygen", "-Y", "check-novalidate", "-n", "order@portcullis", "-s", self.path("o.json.%s.sig" % name)]):
                done = subprocess.run(program, input=document, env=self.env, capture_output=True, timeout=60)
                self.assertEqual(done.returncode, 0, done.stderr)
        shown = self.must(PORTCULLIS, "order", "show", self.path("o.json"))
        self.assertIn("ann", shown)
        self.assertIn("bob", shown)

    def test_a_key_that_counts_nothing(self):
        self.assertEqual(self.approve(PC_SK_COUNTER="/nonexistent/counter").returncode, 0)
        self.assertEqual(sk_parts(self.signature()), (1, 0))

    def test_untouched_is_refused(self):
        self.refused(self.approve(PC_SK_UNTOUCHED="1"), "the hardware key was not touched")

    def test_a_key_made_without_touch_is_refused(self):
        """no-touch-required: sshd may allow it, an approval is a person's act."""
        self.make_key("lazy", "-O", "no-touch-required")
        trust = self.path("owner/trust.json")
        os.unlink(trust)
        self.must(PORTCULLIS, "trust", "new", "--tenant", "city", "--owner", "lazy=%s.pub:BCST" % self.path("lazy"), "--owner", "bob=%s.pub:BCST" % self.path("bob"),
                  "--log-key", self.log_key(), "--dwell", "0", "--cap", "C=10", "-o", trust)
        self.refused(self.approve("lazy"), "the hardware key was not touched")

    def test_an_untouched_signature_that_is_there_does_not_count(self):
        """Made by ssh-keygen alone, beside the command line: shown as no approval."""
        with open(self.path("o.json"), "rb") as f:
            document = f.read()
        for name, env in (("ann", {"PC_SK_UNTOUCHED": "1"}), ("bob", {})):
            made = subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", "order@portcullis", "-f", self.path(name)], input=document, env={**self.env, **env},
                                  capture_output=True, timeout=60)
            self.assertEqual(made.returncode, 0, made.stderr)
            with open(self.path("o.json.%s.sig" % name), "wb") as f:
                f.write(made.stdout)
        shown = json.loads(self.must(PORTCULLIS, "order", "show", self.path("o.json"), "--json"))
        self.assertEqual([(s["owner"], s["good"], s["why"]) for s in shown["signatures"]],
                         [("ann", False, "the hardware key was not touched"), ("bob", True, None)])

    def test_not_plugged_in(self):
        done = self.approve(PC_SK_ABSENT="1")
        self.refused(done, "ssh-keygen did not sign")

    def test_agent(self):
        """The agent holds the keys; what is on disk is the public half."""
        socket = self.path("agent")
        agent = subprocess.Popen(["ssh-agent", "-D", "-a", socket, "-P", PROVIDER], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.addCleanup(agent.stdout.close)
        self.addCleanup(agent.wait)
        self.addCleanup(agent.kill)
        agent.stdout.readline()
        self.must("ssh-add", "-q", "-S", PROVIDER, self.path("ann"), SSH_AUTH_SOCK=socket)
        os.unlink(self.path("ann"))
        done = self.approve("ann.pub", SSH_AUTH_SOCK=socket, SSH_SK_PROVIDER="/nonexistent")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sk_parts(self.signature()), (1, 1))
        self.must("ssh-add", "-q", "-D", SSH_AUTH_SOCK=socket)
        os.unlink(self.path("o.json.ann.sig"))
        self.refused(self.approve("ann.pub", SSH_AUTH_SOCK=socket), "ssh-keygen did not sign")


if __name__ == "__main__":
    for program in ("ssh-keygen", "ssh-agent", "ssh-add"):
        if not shutil.which(program):
            print("skipped: %s is not installed" % program)
            sys.exit(77)
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
