"""A fleet in a folder: owners with ordinary SSH keys, a log, a trust file, and a server that exists only as a peer on the runner's socket.

Owns what the real server and owners' tools would make, written down a second time from PROTOCOL.md: so that the host is tested against the document and
not against its own code. Must not know what a test wants to show.
"""
import base64
import hashlib
import json
import os
import secrets
import select
import signal
import socket
import struct
import subprocess
import sys
import time

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))
import merkle  # noqa: E402

FRAMES = {"hello": 1, "welcome": 2, "bundle": 3, "continue": 4, "start": 5, "look": 6, "checkpoint": 7, "trust": 8, "revoke": 9, "ping": 10, "pong": 11,
          "ack": 12, "result": 13, "ring": 14, "seen": 15, "event": 16, "got": 17, "server": 18}
NAMES = {number: name for name, number in FRAMES.items()}
PORTCULLISD = os.path.join(os.environ.get("PC_BUILD", "build"), "portcullisd")
PORTCULLIS = os.path.join(os.environ.get("PC_BUILD", "build"), "portcullis")


def b64(data):
    return base64.b64encode(data).decode()


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def moment(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


class Log:
    """Everything recomputed from the entries each time: tests have few."""

    def __init__(self, name="log.test"):
        self.key = Ed25519PrivateKey.generate()
        self.name = name
        self.entries = []

    def public(self):
        return b"\x01" + self.key.public_key().public_bytes_raw()

    def key_id(self):
        return hashlib.sha256(self.name.encode() + b"\n" + self.public()).digest()[:4]

    def vkey(self):
        return "%s+%s+%s" % (self.name, self.key_id().hex(), b64(self.public()))

    def add(self, entry):
        self.entries.append(entry)
        return len(self.entries) - 1

    def leaves(self, low=0, high=None):
        return [merkle.leaf_hash(entry) for entry in self.entries[low:high]]

    def root(self, low=0, high=None):
        return merkle.root(self.leaves(low, high))

    def note(self, when=None, size=None):
        size = len(self.entries) if size is None else size
        text = "%s\n%d\n%s\ntime %d\n" % (self.name, size, b64(self.root(0, size)), int(time.time() if when is None else when))
        return text + "\n\u2014 %s %s\n" % (self.name, b64(self.key_id() + self.key.sign(text.encode())))

    def proofs(self, seen, index=None, when=None):
        """checkpoint, from, consistency, and with an index its entry and inclusion: for somebody who saw the first `seen` entries."""
        size = len(self.entries)
        out = {"checkpoint": self.note(when), "from": seen,
               "consistency": [b64(h) for h in merkle.consistency(seen, self.leaves())]}
        if index is not None:
            out.update(entry=b64(self.entries[index]), index=index, proof=[b64(h) for h in merkle.inclusion(index, self.leaves())])
        return out


class Owner:
    def __init__(self, folder, name, classes="BCST"):
        self.name, self.classes, self.key = name, list(classes), os.path.join(folder, name)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self.key], check=True)

    def public(self):
        with open(self.key + ".pub") as f:
            return " ".join(f.read().split()[:2])

    def fingerprint(self):
        return subprocess.run(["ssh-keygen", "-lf", self.key + ".pub"], check=True, capture_output=True, text=True).stdout.split()[1]

    def sign(self, document, namespace):
        return subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", self.key], input=document, check=True,
                              capture_output=True).stdout.decode()


class Fleet:
    """Three owners, a log, a trust file."""

    def __init__(self, folder, owners=("alice", "bob", "carol"), **trust):
        self.folder, self.log, self.sequence = folder, Log(), 0
        self.owners = [Owner(folder, name) for name in owners]
        self.trust = {"portcullis": "trust/1", "tenant": "city", "version": 1, "created": moment(time.time()),
                      "owners": [{"name": o.name, "key": o.public(), "classes": o.classes} for o in self.owners],
                      "thresholds": {"B": 2, "C": 2, "S": 1, "T": 2}, "dwell": 0, "cap": {"C": 10, "S": 10}, "log": self.log.vkey(), "witnesses": [],
                      "witnesses_needed": 0, "silence": 600}
        self.trust.update(trust)
        self.trust_path = os.path.join(folder, "trust.json")
        with open(self.trust_path, "w") as f:
            json.dump(self.trust, f)

    def envelope(self, document, signers, namespace):
        return {"document": b64(document), "signatures": [o.sign(document, namespace) for o in signers]}

    def order(self, hosts, action, params, class_="C", **more):
        self.sequence += 1
        o = {"portcullis": "order/1", "id": secrets.token_hex(16), "tenant": "city", "class": class_, "action": action, "params": params,
             "hosts": hosts, "count": len(hosts), "not_before": moment(time.time() - 60), "expires": moment(time.time() + 3600),
             "sequence": self.sequence, "says": "a test"}
        o.update(more)
        return json.dumps({k: v for k, v in o.items() if v is not None}).encode()

    def entry(self, kind, body):
        return json.dumps({"portcullis": "entry/1", "tenant": "city", "type": kind, "time": moment(time.time()), "body": body}).encode()

    def log_order(self, document, envelope, texts=True):
        """texts=False: as an older server wrote it."""
        o = json.loads(document)
        body = {"order_sha256": sha256(document), "id": o["id"], "approvals": [sha256(s.encode()) for s in envelope["signatures"]], "document": b64(document)}
        if texts:
            body["texts"] = envelope["signatures"]
        return self.log.add(self.entry("stop" if o["class"] == "S" else "order", body))

    def bundle(self, document, seen, signers=None, logged=True, when=None):
        """A bundle for somebody who saw `seen` entries. Returns (bundle, order_sha256)."""
        signers = self.owners[:2] if signers is None else signers
        envelope = self.envelope(document, signers, "order@portcullis")
        out = {"order": envelope}
        if logged:
            out.update(self.log.proofs(seen, self.log_order(document, envelope), when))
        return out, sha256(document)

    def continue_(self, order_sha256, ring, reports, seen, run=0):
        digest = b"".join(hashlib.sha256(base64.b64decode(r["envelope"]["document"])).digest() for r in reports)
        index = self.log.add(self.entry("continue", {"order_sha256": order_sha256, "run": run, "ring": ring, "count": len(reports), "reports": sha256(digest)}))
        out = {"order_sha256": order_sha256, "run": run, "ring": ring, "reports": reports}
        out.update(self.log.proofs(seen, index))
        return out

    def start(self, order_sha256, run, seen):
        index = self.log.add(self.entry("start", {"order_sha256": order_sha256, "run": run}))
        out = {"order_sha256": order_sha256, "run": run}
        out.update(self.log.proofs(seen, index))
        return out


def open_envelope(envelope, kind):
    """A host's document, its signature checked."""
    document = base64.b64decode(envelope["document"])
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(envelope["key"]))
    key.verify(base64.b64decode(envelope["signature"]), b"portcullis " + kind.encode() + b"/1\n" + document)
    return json.loads(document)


class HostKey:
    """A host that exists only as a key: signs ring reports of hosts that a test does not run."""

    def __init__(self, name):
        self.name, self.key = name, Ed25519PrivateKey.generate()
        self.public = self.key.public_key().public_bytes_raw()
        self.ref = "%s#%s" % (name, sha256(self.public)[:32])

    def seal(self, document, kind):
        return {"document": b64(document), "key": b64(self.public),
                "signature": b64(self.key.sign(b"portcullis " + kind.encode() + b"/1\n" + document))}

    def ring(self, order_sha256, ring, outcome="ok", incidents=0, run=0, soaked=None):
        now = time.time()
        return self.seal(json.dumps({"portcullis": "ring/1", "tenant": "city", "host": self.ref, "order_sha256": order_sha256, "run": run, "ring": ring,
                                     "outcome": outcome, "incidents": incidents, "started": moment(now - 100), "ended": moment(now - 90),
                                     "soaked": moment(now if soaked is None else soaked)}).encode(), "ring")


class HungUp(AssertionError):
    """The runner closed the connection while something was awaited."""


class Runner:
    """A runner on a fleet folder, and the connection that its link would hold."""

    def __init__(self, fleet, name="web1", folder=None, env=None, config=None, wrap=()):
        self.fleet, self.name, self.env, self.wrap = fleet, name, env, list(wrap)
        self.folder = folder or os.path.join(fleet.folder, name)
        self.config = config or os.path.join(fleet.folder, "host.conf")
        self.process, self.peer, self.buffer, self.frames = None, None, b"", []
        self.log_path = os.path.join(fleet.folder, name + ".log")
        if not os.path.exists(self.config):
            with open(self.config, "w") as f:
                f.write("[fleet]\nlink-user = nobody\n[log]\njournal = no\n")

    def enroll(self):
        """What `enroll` leaves behind, without a server: keys, and the pinned trust file in the runner's memory."""
        import sqlite3
        os.makedirs(self.folder, mode=0o711, exist_ok=True)
        key = Ed25519PrivateKey.generate()
        with open(os.open(os.path.join(self.folder, "identity.seed"), os.O_WRONLY | os.O_CREAT, 0o600), "wb") as f:
            f.write(key.private_bytes_raw())
        self.ref = "%s#%s" % (self.name, sha256(key.public_key().public_bytes_raw())[:32])
        db = sqlite3.connect(os.path.join(self.folder, "fleet.db"))
        db.execute("CREATE TABLE IF NOT EXISTS value(name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID")
        with open(self.fleet.trust_path, "rb") as f:
            db.execute("INSERT INTO value VALUES('trust',?)", (f.read(),))
        db.execute("INSERT INTO value VALUES('name',?)", (self.name.encode(),))
        db.commit()
        db.close()
        with open(os.path.join(self.folder, "link.json"), "w") as f:
            json.dump({"host": self.ref, "link": "127.0.0.1:7444", "url": "https://127.0.0.1:7443", "heartbeat": 30, "statement": 0}, f)
        return self

    def start(self, ready=True):
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen(self.wrap + [PORTCULLISD, "runner", "--fleet-state", self.folder, "--state", os.path.join(self.fleet.folder, "guard"),
                                                     "--config", self.config], stdout=log, stderr=log, env=self.env)
        log.close()
        if ready:
            self.connect()
        return self

    def kill(self, signo=signal.SIGKILL):
        self.process.send_signal(signo)
        self.process.wait()
        self.hang_up()

    def hang_up(self):
        if self.peer:
            self.peer.close()
        self.peer, self.buffer, self.frames = None, b"", []

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.hang_up()

    def connect(self, seconds=20):
        """Connects as the link does, takes hello, says welcome.

        The socket of a runner that was killed may live on for a moment, in a child that it had forked and that has not reached its exec:
        who connects to that is cut off before any hello. Like the link, come again.
        """
        self.hang_up()
        until = time.monotonic() + seconds
        while True:
            try:
                self.peer = socket.socket(socket.AF_UNIX)
                self.peer.connect(os.path.join(self.folder, "runner.sock"))
                self.hello = self.wait("hello")
                break
            except (OSError, HungUp):
                self.hang_up()
                if time.monotonic() > until or self.process.poll() is not None:
                    raise AssertionError("the runner is not there: %s" % self.log_text()[-2000:])
                time.sleep(0.02)
        self.send("welcome", {"protocol": 1, "time": moment(time.time()), "heartbeat": 30})
        return self.hello

    def log_text(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def send(self, kind, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.peer.sendall(struct.pack(">IB", len(data) + 1, FRAMES[kind]) + data)

    def pump(self, seconds):
        """Reads what is there within the time; frames go to self.frames. False at the end of the stream."""
        ready, _, _ = select.select([self.peer], [], [], seconds)
        if not ready:
            return True
        data = self.peer.recv(1 << 20)
        self.buffer += data
        while len(self.buffer) >= 5:
            length, kind = struct.unpack(">IB", self.buffer[:5])
            if len(self.buffer) < 4 + length:
                break
            body = self.buffer[5:4 + length]
            self.buffer = self.buffer[4 + length:]
            self.frames.append((NAMES[kind], json.loads(body) if body else None))
        return bool(data)

    def wait(self, kind, match=lambda body: True, seconds=20):
        """The next frame of a kind that matches; others stay. Host documents come opened (under "opened") and are confirmed."""
        until = time.monotonic() + seconds
        while True:
            for i, (name, body) in enumerate(self.frames):
                if name == kind and (kind not in ("ack", "result", "ring") or match(open_envelope(body, kind))) and \
                        (kind in ("ack", "result", "ring") or match(body)):
                    del self.frames[i]
                    if kind in ("ack", "result", "ring"):
                        self.send("got", {"sha256": sha256(base64.b64decode(body["document"]))})
                        return dict(open_envelope(body, kind), envelope=body)
                    return body
            if time.monotonic() > until:
                raise AssertionError("no %s within %d s; log: %s" % (kind, seconds, self.log_text()[-3000:]))
            if not self.pump(0.2):
                raise HungUp("the runner hung up while %s was awaited; log: %s" % (kind, self.log_text()[-3000:]))

    def seen(self):
        return self.hello["checkpoint_size"] if not hasattr(self, "_seen") else self._seen

    def deliver(self, document, signers=None, logged=True, when=None, signed=None):
        """Sends an order as a bundle; returns its hash and the ack."""
        bundle, digest = self.fleet.bundle(document, self.checkpoint_size(), signers, logged, when)
        self.send("bundle", bundle)
        return digest, self.wait("ack", lambda a: a["order_sha256"] == digest)

    def checkpoint_size(self):
        """What this runner believes: the newest `seen` or ack, else its hello."""
        while self.pump(0) and select.select([self.peer], [], [], 0)[0]:
            pass
        size = self.hello["checkpoint_size"]
        for name, body in self.frames:
            if name == "seen":
                size = max(size, body["checkpoint_size"])
        self.hello["checkpoint_size"] = size
        return size

    def result(self, digest, seconds=20):
        return self.wait("result", lambda r: r.get("order_sha256") == digest, seconds)

    def look(self, action, params=None, seconds=35):
        ident = secrets.token_hex(16)
        self.send("look", {"look": ident, "action": action, "params": params or {}})
        return self.wait("result", lambda r: r.get("look") == ident, seconds)
