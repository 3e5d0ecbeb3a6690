"""A Merkle log of one's own making, with signed checkpoints by a stolen log key.

Owns: an independent implementation, in another language and written from PROTOCOL.md alone, of what the hosts check (the tree itself is
tests/lib/merkle.py). Must not: share code with the product: two implementations that agree are the point.
"""
import base64
import hashlib
import os
import subprocess
import sys
import tempfile
import time

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))
from merkle import consistency, inclusion, leaf_hash, root  # noqa: E402


def b64(data):
    return base64.b64encode(data).decode()


class Signer:
    """An Ed25519 key in the form that C2SP signed notes use: PRIVATE+KEY+name+hash+base64(0x01 || seed)."""

    def __init__(self, secret=None, name=None):
        if secret:
            _, _, self.name, _, seed = secret.strip().split("+", 4)
            self.seed = base64.b64decode(seed)[1:]
        else:
            self.name, self.seed = name, os.urandom(32)
        self.pem = tempfile.NamedTemporaryFile(prefix="own-the-server.", suffix=".pem")
        der = bytes.fromhex("302e020100300506032b657004220420") + self.seed
        self.pem.write(b"-----BEGIN PRIVATE KEY-----\n" + base64.b64encode(der) + b"\n-----END PRIVATE KEY-----\n")
        self.pem.flush()
        done = subprocess.run(["openssl", "pkey", "-in", self.pem.name, "-pubout", "-outform", "DER"], stdout=subprocess.PIPE, check=True)
        self.public = done.stdout[-32:]
        self.key_id = hashlib.sha256(self.name.encode() + b"\n\x01" + self.public).digest()[:4]

    def sign(self, data):
        with tempfile.NamedTemporaryFile(prefix="own-the-server.") as text:
            text.write(data)
            text.flush()
            return subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.pem.name, "-in", text.name],
                                  stdout=subprocess.PIPE, check=True).stdout

    def note(self, text):
        return text + "\n\u2014 %s %s\n" % (self.name, b64(self.key_id + self.sign(text.encode())))

    def host_id(self):
        return hashlib.sha256(self.public).hexdigest()[:32]

    def host_envelope(self, kind, document):
        return {"document": b64(document), "key": b64(self.public),
                "signature": b64(self.sign(b"portcullis " + kind.encode() + b"/1\n" + document))}


class Log:
    """A history that can be told to hosts; fork() starts another one that shares the beginning."""

    def __init__(self, signer, entries=()):
        self.signer, self.entries = signer, list(entries)

    def leaves(self, size=None):
        return [leaf_hash(e) for e in self.entries[:size]]

    def fork(self, at):
        return Log(self.signer, self.entries[:at])

    def append(self, entry):
        self.entries.append(entry)
        return len(self.entries) - 1

    def checkpoint(self, size=None, when=None, signer=None):
        size = len(self.entries) if size is None else size
        text = "%s\n%d\n%s\ntime %d\n" % (self.signer.name, size, b64(root(self.leaves(size))), when or int(time.time()))
        return (signer or self.signer).note(text)

    def proven(self, index, seen, size=None):
        """The part of a bundle that proves entry `index` to a host that last accepted a tree of `seen` entries."""
        leaves = self.leaves(size)
        return {"entry": b64(self.entries[index]), "index": index, "proof": [b64(h) for h in inclusion(index, leaves)],
                "checkpoint": self.checkpoint(size), "from": seen, "consistency": self.consistency(seen, size)}

    def consistency(self, seen, size=None):
        leaves = self.leaves(size)
        return [b64(h) for h in consistency(seen, leaves)] if 0 < seen < len(leaves) else []
