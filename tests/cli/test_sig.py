#!/usr/bin/env python3
"""`portcullis sig verify` beside `ssh-keygen -Y verify`: the same answer and exit status, and words where it is bad.

Usage: test_sig.py PORTCULLIS VECTORS
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

PORTCULLIS, VECTORS = (os.path.abspath(p) for p in sys.argv[1:3])
KEYGEN = shutil.which("ssh-keygen")
SANITIZED = b"__asan_init" in open(PORTCULLIS, "rb").read()  # its shadow memory alone is more than any limit
KINDS = ("ed25519", "ed25519_sk", "ecdsa", "ecdsa_sk", "ecdsa_sk_webauthn", "rsa")


class Sig(unittest.TestCase):
    def setUp(self):
        self.top = tempfile.mkdtemp(prefix="pc-sig-")
        self.data = self.read("sshsig/signed-data")

    def tearDown(self):
        shutil.rmtree(self.top)

    def read(self, name):
        with open(os.path.join(VECTORS, name), "rb") as f:
            return f.read()

    def path(self, name):
        return os.path.join(self.top, name)

    def write(self, name, data):
        with open(self.path(name), "wb") as f:
            f.write(data)
        return self.path(name)

    def ours(self, pub, sig, data, namespace="unittest", *more):
        words = [PORTCULLIS, "sig", "verify", "--namespace", namespace, "--key", pub, "--sig", sig, *more]
        return subprocess.run(words, input=data, capture_output=True, timeout=120)

    def theirs(self, pub, sig, data, namespace="unittest"):
        with open(pub, "rb") as f:
            allowed = self.write("allowed", b"u " + f.read())
        return subprocess.run([KEYGEN, "-Y", "verify", "-f", allowed, "-I", "u", "-n", namespace, "-s", sig],
                              input=data, capture_output=True, timeout=120)

    def vector(self, name, folder="sshsig"):
        return os.path.join(VECTORS, folder, name + ".pub"), os.path.join(VECTORS, folder, name + ".sig")

    def good(self, pub, sig, data, namespace="unittest"):
        r = self.ours(pub, sig, data, namespace)
        self.assertEqual((r.returncode, r.stderr), (0, b""), r)
        t = self.theirs(pub, sig, data, namespace)
        self.assertEqual(t.returncode, 0, t)
        # The one difference: ssh-keygen was told who u is.
        self.assertEqual(r.stdout, t.stdout.replace(b" for u with", b" with"))

    def bad(self, words, pub, sig, data, namespace="unittest", oracle=255):
        r = self.ours(pub, sig, data, namespace)
        self.assertEqual((r.returncode, r.stdout), (255, b"Could not verify signature.\n"), r)
        self.assertIn(words.encode(), r.stderr)
        self.assertTrue(r.stderr.startswith(b"portcullis: ") and r.stderr.count(b"\n") == 1, r.stderr)
        if oracle is not None:
            self.assertEqual(self.theirs(pub, sig, data, namespace).returncode, oracle)

    def test_vectors(self):
        for kind in KINDS:
            self.good(*self.vector(kind), self.data)

    def test_bad(self):
        pub, sig = self.vector("ed25519")
        self.bad("Signature verification failed: incorrect signature", pub, sig, self.data + b"\n")
        self.bad("namespace does not match", pub, sig, self.data, "file")
        self.bad("made with another key", self.vector("rsa")[0], sig, self.data)
        self.bad("Couldn't parse signature", pub, pub, self.data)
        self.bad("Couldn't read signature file", pub, self.path("none"), self.data)
        self.bad("no public key in 0 bytes", self.write("empty", b""), sig, self.data)
        self.bad("No such file", self.path("none"), sig, self.data, oracle=None)
        self.bad("Couldn't read signature file", pub, self.top, self.data)

    def test_unsupported(self):
        pub, sig = self.vector("mldsa44-ed25519")
        self.bad("key type ssh-mldsa44-ed25519@openssh.com is not supported", pub, sig, self.data)
        pub = self.vector("ed25519")[0]
        words = "unsupported version or algorithm (its key type is ssh-mldsa44-ed25519@openssh.com)"
        self.bad(words, pub, sig, self.data)

    def test_stricter_than_ssh_keygen(self):
        pub, sig = self.vector("rsa2048", "made")
        self.bad("the key is too weak", pub, sig, self.data, oracle=0)
        self.bad("the key is too weak", self.vector("rsa")[0], sig, self.data)
        pub = self.vector("ed25519")[0]
        long = self.write("long", self.read("sshsig/ed25519.sig") + b"x" * 65536)
        self.bad("too long", pub, long, self.data, oracle=0)

    def test_untouched_security_key(self):
        pub, sig = self.vector("ed25519_sk_untouched", "made")
        r = self.ours(pub, sig, self.data)
        self.assertEqual(r.returncode, self.theirs(pub, sig, self.data).returncode, r)
        self.assertIn(b"Good \"unittest\" signature with ED25519-SK key SHA256:", r.stdout)
        self.assertIn(b"nobody touched the security key", r.stderr)

    def test_json(self):
        pub, sig = self.vector("ecdsa_sk_webauthn")
        r = self.ours(pub, sig, self.data, "unittest", "--json")
        self.assertEqual((r.returncode, r.stderr), (0, b""))
        got = json.loads(r.stdout)
        fingerprint = subprocess.run([KEYGEN, "-l", "-f", pub], capture_output=True, text=True, check=True)
        self.assertEqual(got, {
            "good": True, "namespace": "unittest", "hash": "sha512", "webauthn": True, "user_present": True,
            "user_verified": False, "counter": 0x31f,
            "key": {"type": "sk-ecdsa-sha2-nistp256@openssh.com", "hardware": True,
                    "fingerprint": fingerprint.stdout.split()[1]}})
        for namespace, data, error in (("x", self.data, "namespace"), ("unittest", b"", "signature")):
            r = self.ours(pub, sig, data, namespace, "--json")
            self.assertEqual(r.returncode, 255)
            got = json.loads(r.stdout)
            self.assertEqual((got["good"], got["error"]), (False, error))
            self.assertIn(got["message"].encode(), r.stderr)

    def test_key_files(self):
        pub, sig = self.vector("ed25519")
        line = self.read("sshsig/ed25519.pub")
        for text in (b"# a comment\n\n" + line, line.rstrip(), b"  " + line, line + b"ssh-ed25519 AAAA\n",
                     line.replace(b"\n", b"\r\n")):
            r = self.ours(self.write("pub", text), sig, self.data)
            self.assertEqual(r.returncode, 0, (text, r))

    def test_usage(self):
        for args in (["sig"], ["sig", "sign"], ["sig", "verify"], ["sig", "verify", "--namespace", "x", "--key", "y"],
                     ["sig", "verify", "--namespace", "", "--key", "y", "--sig", "z"],
                     ["sig", "verify", "--namespace", "x", "--key", "y", "--sig", "z", "--max-data", "much"]):
            r = subprocess.run([PORTCULLIS, *args], stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
            self.assertEqual((r.returncode, r.stdout), (2, b""), r)

    def test_made_by_ssh_keygen(self):
        for kind, bits in (("ed25519", None), ("ecdsa", "256"), ("ecdsa", "384"), ("ecdsa", "521"), ("rsa", "3072")):
            key = self.path("key-%s-%s" % (kind, bits))
            subprocess.run([KEYGEN, "-q", "-t", kind, *(["-b", bits] if bits else []), "-N", "", "-f", key], check=True)
            for hashed in ("sha256", "sha512"):
                order = self.write("order", os.urandom(100))
                words = ["-q", "-Y", "sign", "-n", "order@portcullis", "-O", "hashalg=" + hashed, "-f", key, order]
                subprocess.run([KEYGEN, *words], check=True, capture_output=True)
                with open(order, "rb") as f:
                    self.good(key + ".pub", order + ".sig", f.read(), "order@portcullis")
                os.unlink(order + ".sig")

    @unittest.skipIf(SANITIZED, "a sanitizer's own memory is beyond the limit")
    def test_large_data_in_little_memory(self):
        """64 MiB through a process that may have 40 MiB beyond what it maps anyway; and the bound."""
        key = self.path("key")
        subprocess.run([KEYGEN, "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        large = self.path("large")
        with open(large, "wb") as f:
            f.truncate(64 << 20)
        subprocess.run([KEYGEN, "-q", "-Y", "sign", "-n", "file", "-f", key, large], check=True, capture_output=True)
        words = [PORTCULLIS, "sig", "verify", "--namespace", "file", "--key", key + ".pub", "--sig", large + ".sig"]
        with open(large, "rb") as f:
            r = subprocess.run(["prlimit", "--data=%d" % (40 << 20), *words], stdin=f, capture_output=True, timeout=120)
        self.assertEqual(r.returncode, 0, r)
        with open(large, "rb") as f:
            r = subprocess.run([*words, "--max-data", str((64 << 20) - 1)], stdin=f, capture_output=True, timeout=120)
        self.assertEqual(r.returncode, 255, r)
        self.assertIn(b"more than 67108863 bytes", r.stderr)
        with open(large, "rb") as f:
            r = subprocess.run([*words, "--max-data", "64M"], stdin=f, capture_output=True, timeout=120)
        self.assertEqual(r.returncode, 0, r)


if __name__ == "__main__":
    if not KEYGEN:
        print("skipped: there is no ssh-keygen (package openssh-client)")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1])
