"""A server under test, owners with ordinary SSH keys, and hosts made of Python's ssl module: everything a test of portcullis-server needs.

Nothing in here shares code with the product: notes and envelopes are written again from PROTOCOL.md (the Merkle tree: tests/lib/merkle.py), so that
a mistake of the server's cannot hide behind the same mistake here.
"""
import base64
import ctypes
import hashlib
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))
from merkle import consistent, inclusion_root, leaf_hash, root as tree_root  # noqa: E402,F401
from ports import free_ports  # noqa: E402

BUILD = os.environ.get("PC_BUILD", os.path.join(os.path.dirname(__file__), "../../build"))
SERVER = os.path.join(BUILD, "portcullis-server")
FRAMES = {n: i + 1 for i, n in enumerate("hello welcome bundle continue start look checkpoint trust revoke ping pong ack result ring seen event got server".split())}
NAMES = {v: k for k, v in FRAMES.items()}
TENANT = "city"


def b64(data):
    return base64.b64encode(data).decode()


def now_text(offset=0):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + offset))


class Key:
    """A raw Ed25519 key, through libcrypto."""
    lib = ctypes.CDLL("libcrypto.so.3")
    for name in ("EVP_PKEY_new_raw_private_key", "EVP_PKEY_new_raw_public_key", "EVP_MD_CTX_new"):
        getattr(lib, name).restype = ctypes.c_void_p
    ED25519 = 1087

    def __init__(self, seed=None):
        self.seed = seed or secrets.token_bytes(32)
        self.pkey = ctypes.c_void_p(self.lib.EVP_PKEY_new_raw_private_key(self.ED25519, None, self.seed, ctypes.c_size_t(32)))
        out, size = ctypes.create_string_buffer(32), ctypes.c_size_t(32)
        self.lib.EVP_PKEY_get_raw_public_key(self.pkey, out, ctypes.byref(size))
        self.public = out.raw
        self.id = hashlib.sha256(self.public).hexdigest()[:32]

    def sign(self, data):
        ctx = ctypes.c_void_p(self.lib.EVP_MD_CTX_new())
        out, size = ctypes.create_string_buffer(64), ctypes.c_size_t(64)
        self.lib.EVP_DigestSignInit(ctx, None, None, None, self.pkey)
        ok = self.lib.EVP_DigestSign(ctx, out, ctypes.byref(size), data, ctypes.c_size_t(len(data)))
        self.lib.EVP_MD_CTX_free(ctx)
        assert ok == 1
        return out.raw

    @classmethod
    def verify(cls, public, data, signature):
        pkey = ctypes.c_void_p(cls.lib.EVP_PKEY_new_raw_public_key(cls.ED25519, None, public, ctypes.c_size_t(32)))
        ctx = ctypes.c_void_p(cls.lib.EVP_MD_CTX_new())
        cls.lib.EVP_DigestVerifyInit(ctx, None, None, None, pkey)
        ok = cls.lib.EVP_DigestVerify(ctx, signature, ctypes.c_size_t(len(signature)), data, ctypes.c_size_t(len(data)))
        cls.lib.EVP_MD_CTX_free(ctx)
        cls.lib.EVP_PKEY_free(pkey)
        return ok == 1

    def pem(self):
        der = bytes.fromhex("302e020100300506032b657004220420") + self.seed
        return "-----BEGIN PRIVATE KEY-----\n" + b64(der) + "\n-----END PRIVATE KEY-----\n"


def seal(kind, document, key):
    """A host's envelope (PROTOCOL 1.2) around a document."""
    raw = json.dumps(document).encode() if isinstance(document, dict) else document
    return {"document": b64(raw), "key": b64(key.public), "signature": b64(key.sign(b"portcullis " + kind.encode() + b"/1\n" + raw))}


# --- the log ----------------------------------------------------------------------------------------------------------------
def open_note(note, vkey):
    """The checkpoint of a note signed by vkey, as (size, root, time)."""
    name, key_id, key = vkey.split("+", 2)
    raw = base64.b64decode(key)
    assert raw[0] == 1
    text, signatures = note.split("\n\n")
    text += "\n"
    good = False
    for line in signatures.splitlines():
        dash, signer, blob = line.split(" ")
        blob = base64.b64decode(blob)
        if signer == name and blob[:4].hex() == key_id:
            assert Key.verify(raw[1:], text.encode(), blob[4:]), "the log's signature does not verify"
            good = True
    assert good, "not signed by the log"
    lines = text.splitlines()
    assert lines[0] == name
    when = [int(line.split()[1]) for line in lines[3:] if line.startswith("time ")]
    return int(lines[1]), base64.b64decode(lines[2]), when[0] if when else 0


# --- owners ------------------------------------------------------------------------------------------------------------------
class Owner:
    def __init__(self, folder, name):
        self.name, self.path = name, os.path.join(folder, name)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", self.path], check=True)
        with open(self.path + ".pub") as f:
            self.public = " ".join(f.read().split()[:2])

    def sign(self, document, namespace):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "doc")
            with open(path, "wb") as f:
                f.write(document)
            subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-f", self.path, "-n", namespace, path], check=True, stderr=subprocess.DEVNULL)
            with open(path + ".sig") as f:
                return f.read()


def trust_document(owners, vkey, version=1, **changes):
    doc = {"portcullis": "trust/1", "tenant": TENANT, "version": version, "created": now_text(),
           "owners": [{"name": o.name, "key": o.public, "classes": ["B", "C", "S", "T"], "hardware": False} for o in owners],
           "thresholds": {"B": 2, "C": 2, "S": 1, "T": 2}, "dwell": 0, "cap": {"C": 20000, "S": 20000},
           "log": vkey, "witnesses": [], "witnesses_needed": 0, "silence": 900}
    doc.update(changes)
    return json.dumps(doc).encode()


def order_document(hosts, sequence, action="script.run", params=None, order_class="C", expires=3600, **changes):
    doc = {"portcullis": "order/1", "id": secrets.token_hex(16), "tenant": TENANT, "class": order_class, "action": action,
           "params": params if params is not None else {"argv": ["/bin/true"], "timeout": 60, "output": 1000}, "hosts": hosts, "count": len(hosts),
           "not_before": now_text(-60), "expires": now_text(expires), "sequence": sequence, "says": "a test"}
    doc.update(changes)
    return json.dumps({k: v for k, v in doc.items() if v is not None}).encode()


def envelope(document, owners, namespace="order@portcullis"):
    return {"document": b64(document), "signatures": [o.sign(document, namespace) for o in owners]}


# --- the server --------------------------------------------------------------------------------------------------------------
class Server:
    def __init__(self, folder, database=None, user=None, ports=None):
        self.folder, self.state = folder, os.path.join(folder, "state")
        self.api_port, self.link_port = ports or free_ports(2)
        self.user = ["--user", user] if user else []
        self.database, self.process, self.lines = database, None, []
        args = ["init", "--state", self.state, "--tenant", TENANT, "--listen", f"127.0.0.1:{self.api_port}", "--link", f"127.0.0.1:{self.link_port}"]
        out = self.command(*args, *(["--database", database] if database else []), *self.user)
        self.vkey = out.strip().removeprefix("log key: ")
        self.tokens, self.trust_sha256 = {}, "0" * 64

    def command(self, *args, ok=True):
        p = subprocess.run([SERVER, *args], capture_output=True, text=True, timeout=60)
        assert not ok or p.returncode == 0, f"{args}: {p.returncode}: {p.stderr}"
        return p.stdout if ok else p

    def set(self, key, value):
        path = os.path.join(self.state, "server.conf")
        with open(path) as f:
            lines = [line for line in f if not line.startswith(key + " ")]
        with open(path, "w") as f:
            f.writelines(lines + [f"{key} = {value}\n"])

    def start(self):
        self.process = subprocess.Popen([SERVER, "run", "--state", self.state, *self.user], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if line.strip() != "portcullis-server: ready":
            raise AssertionError(f"the server did not start: {line} {self.process.stderr.read()}")
        self.lines = []
        self.reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self.reader.start()
        return self

    def _read(self, process):
        for line in process.stderr:
            self.lines.append(line.rstrip())
            if os.environ.get("PC_VERBOSE"):
                print("  server:", line.rstrip(), flush=True)

    def stop(self, sig=signal.SIGTERM):
        if not self.process:
            return None
        self.process.send_signal(sig)
        status = self.process.wait(timeout=60)
        self.process.stdout.close()
        self.reader.join(timeout=10)
        self.process.stderr.close()
        self.process = None
        return status

    def token(self, role):
        if role not in self.tokens:
            self.tokens[role] = self.command("api-token", "--state", self.state, "tester", "--role", role).strip()
        return self.tokens[role]

    def enroll_token(self, *args):
        return self.command("enroll-token", "--state", self.state, *args).strip()

    def context(self):
        ctx = ssl.create_default_context(cafile=os.path.join(self.state, "ca.pem"))
        ctx.minimum_version = ssl.TLSVersion.TLSv1_3
        return ctx

    def call(self, method, path, body=None, role="operate", timeout=60):
        """(status, JSON or text)"""
        conn = http.client.HTTPSConnection("127.0.0.1", self.api_port, context=self.context(), timeout=timeout)
        headers = {"Authorization": "Bearer " + self.token(role)} if role else {}
        data = body if isinstance(body, (bytes, str, type(None))) else json.dumps(body)
        conn.request(method, path, body=data, headers=headers)
        r = conn.getresponse()
        raw = r.read()
        conn.close()
        kind = r.getheader("Content-Type") or ""
        return r.status, json.loads(raw) if kind.startswith("application/json") else raw

    def get(self, path, role="look"):
        status, body = self.call("GET", path, role=role)
        assert status == 200, (path, status, body)
        return body

    def post(self, path, body, role="operate"):
        status, answer = self.call("POST", path, body, role=role)
        assert status == 200, (path, status, answer)
        return answer

    def install_trust(self, document, owners=()):
        path = os.path.join(self.folder, f"trust-{secrets.token_hex(4)}.json")
        with open(path, "wb") as f:
            f.write(document)
        for o in owners:
            with open(f"{path}.{o.name}.sig", "w") as f:
                f.write(o.sign(document, "trust@portcullis"))
        self.trust_sha256 = self.command("trust", "--state", self.state, path).split()[-1]
        return self.trust_sha256

    def log(self):
        """All entries, and the checkpoint, verified against each other by the tree of this file."""
        size, root, when = open_note(self.get("/log/checkpoint").decode(), self.vkey)
        entries = []
        while len(entries) < size:
            part = self.get(f"/v1/entries?from={len(entries)}")
            assert part and part[0]["index"] == len(entries)
            entries += [base64.b64decode(e["entry"]) for e in part]
        assert tree_root([leaf_hash(e) for e in entries[:size]]) == root, "the checkpoint's root is not that of the entries"
        return [json.loads(e) for e in entries[:size]]


# --- hosts -------------------------------------------------------------------------------------------------------------------
class Host:
    """An agent that believes nothing: every proof it is sent is checked."""

    def __init__(self, server, name):
        self.server, self.name, self.key, self.link_key = server, name, Key(), Key()
        self.ref, self.trust_sha256 = f"{name}#{self.key.id}", server.trust_sha256
        self.folder = tempfile.mkdtemp(dir=server.folder)
        self.sock, self.buffer = None, b""
        self.size, self.root, self.sequence = 0, b"", 0
        self.orders, self.frames, self.got = {}, [], set()

    def statement(self, token, **changes):
        doc = {"portcullis": "enroll/1", "tenant": TENANT, "host": self.name, "link_key": b64(self.link_key.public),
               "token_sha256": hashlib.sha256(token.encode()).hexdigest(), "trust_sha256": self.trust_sha256, "created": now_text()}
        doc.update(changes)
        return seal("enroll", doc, self.key)

    def enroll(self, token=None):
        token = token or self.server.enroll_token()
        answer = self.server.post("/v1/enroll", {"token": token, "statement": self.statement(token)}, role=None)
        assert answer["host"] == self.ref and answer["link"] == f"127.0.0.1:{self.server.link_port}"
        return self

    def certificate(self, key=None):
        path = os.path.join(self.folder, "link.pem")
        if not os.path.exists(path):
            with open(path, "w") as f:
                f.write((key or self.link_key).pem())
            cert = subprocess.run(["openssl", "req", "-x509", "-key", path, "-subj", "/CN=link", "-days", "30"], capture_output=True, text=True, check=True)
            with open(path, "a") as f:
                f.write(cert.stdout)
        return path

    def dial(self):
        ctx = self.server.context()
        ctx.load_cert_chain(self.certificate())
        raw = socket.create_connection(("127.0.0.1", self.server.link_port), timeout=30)
        self.sock, self.buffer = ctx.wrap_socket(raw, server_hostname="127.0.0.1"), b""
        return self

    def hello(self, **changes):
        body = {"protocol": 1, "host": self.ref, "agent": "1.0.0", "checkpoint_size": self.size, "sequence": self.sequence, "boot": "0" * 16}
        body.update(changes)
        self.send("hello", body)
        return self

    def connect(self):
        self.dial().hello()
        kind, body = self.next()
        assert kind == "welcome" and body["protocol"] == 1, (kind, body)
        return self

    def close(self):
        if self.sock:
            self.sock.close()
        self.sock = None

    def send_raw(self, data):
        self.sock.sendall(data)

    def send(self, kind, body=None):
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_raw(struct.pack(">IB", len(data) + 1, FRAMES[kind]) + data)

    def read(self, timeout=30):
        """The next frame as (name, JSON), or None when the server closed, or raises TimeoutError."""
        self.sock.settimeout(timeout)
        while len(self.buffer) < 4 or len(self.buffer) < 4 + struct.unpack(">I", self.buffer[:4])[0]:
            try:
                data = self.sock.recv(65536)
            except (ConnectionResetError, ssl.SSLError) as e:
                if "timed out" in str(e):
                    raise TimeoutError from e
                return None
            if not data:
                return None
            self.buffer += data
        size = struct.unpack(">I", self.buffer[:4])[0]
        frame, self.buffer = self.buffer[4:4 + size], self.buffer[4 + size:]
        return NAMES[frame[0]], json.loads(frame[1:]) if size > 1 else None

    # What an honest host does with what it gets.
    def accept_checkpoint(self, body):
        size, root, _ = open_note(body["checkpoint"], self.server.vkey)
        proof = [base64.b64decode(p) for p in body["consistency"]]
        if size > self.size:
            assert body["from"] == self.size, f"proof from {body['from']}, seen {self.size}"
        assert consistent(self.size, self.root, size, root, proof), f"log at {size} does not continue {self.size}"
        self.size, self.root = size, root
        return size, root

    def check_logged(self, body):
        size, root = self.accept_checkpoint(body)
        entry = base64.b64decode(body["entry"])
        assert inclusion_root(body["index"], size, leaf_hash(entry), [base64.b64decode(p) for p in body["proof"]]) == root
        return json.loads(entry)

    def seen(self):
        return {"size": self.size, "root": b64(self.root or hashlib.sha256(b"").digest())}

    def next(self, timeout=30):
        """The next frame that is not a checkpoint; those are checked and answered."""
        end = time.monotonic() + timeout
        while True:
            frame = self.read(max(0.1, end - time.monotonic()))
            if frame is None:
                return None, None
            kind, body = frame
            self.frames.append(kind)
            if kind == "checkpoint":
                self.accept_checkpoint(body)
                self.send("seen", {"checkpoint_size": self.size})
            elif kind == "got":
                self.got.add(body["sha256"])
                return kind, body
            else:
                return kind, body

    def wait(self, wanted, timeout=30):
        end = time.monotonic() + timeout
        while True:
            kind, body = self.next(max(0.1, end - time.monotonic()))
            assert kind is not None, f"the server closed the link while {wanted} was awaited"
            if kind == wanted:
                return body

    def bundle(self, timeout=30):
        """The next order, its log part checked; (sha256, document)."""
        body = self.wait("bundle", timeout)
        document = base64.b64decode(body["order"]["document"])
        sha = hashlib.sha256(document).hexdigest()
        if "entry" in body:
            entry = self.check_logged(body)
            assert entry["body"]["order_sha256"] == sha
            assert sorted(entry["body"]["approvals"]) == sorted(hashlib.sha256(s.encode()).hexdigest() for s in body["order"]["signatures"])
        return sha, json.loads(document)

    def report(self, kind, document, wait=True):
        raw = json.dumps(document).encode()
        self.send(kind, seal(kind, raw, self.key))
        sha = hashlib.sha256(raw).hexdigest()
        while wait and sha not in self.got:
            k, _ = self.next()
            assert k is not None, "the server closed the link before it said got"
        return sha

    def ack(self, order_sha256, verdict="accepted", why="", **kw):
        return self.report("ack", {"portcullis": "ack/1", "tenant": TENANT, "host": self.ref, "order_sha256": order_sha256, "verdict": verdict, "why": why,
                                   "text": "", "time": now_text(), "checkpoint": self.seen()}, **kw)

    def result(self, order_sha256=None, look=None, outcome="ok", output=b"", run=0, exit=0, data=None, **kw):
        doc = {"portcullis": "result/1", "tenant": TENANT, "host": self.ref}
        doc.update({"look": look} if look else {"order_sha256": order_sha256})
        doc.update({"run": run, "outcome": outcome, "exit": exit, "output": b64(output), "output_sha256": hashlib.sha256(output).hexdigest(),
                    "truncated": False})
        if data is not None:
            doc["data"] = data
        doc.update({"started": now_text(), "ended": now_text(), "checkpoint": self.seen()})
        return self.report("result", doc, **kw)

    def ring(self, order_sha256, ring, outcome="ok", incidents=0, run=0, **kw):
        return self.report("ring", {"portcullis": "ring/1", "tenant": TENANT, "host": self.ref, "order_sha256": order_sha256, "run": run, "ring": ring,
                                    "outcome": outcome, "incidents": incidents, "started": now_text(), "ended": now_text(), "soaked": now_text()}, **kw)


def until(what, timeout=30, step=0.1):
    """Waits for what() to be true; its value."""
    end = time.monotonic() + timeout
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(step)


class Fleet:
    """A server with trust file, three owners, and hosts."""

    def __init__(self, database=None, user=None, ports=None, **settings):
        self.folder = tempfile.mkdtemp(prefix="pc-server-")
        if user:
            os.chmod(self.folder, 0o711)
        self.owners = [Owner(self.folder, n) for n in ("alice", "bob", "carol")]
        self.server = Server(self.folder, database, user, ports)
        for k, v in settings.items():
            self.server.set(k, v)
        self.trust = trust_document(self.owners, self.server.vkey)
        self.server.install_trust(self.trust)
        self.server.start()
        self.sequence = 0

    def host(self, name, connect=True):
        h = Host(self.server, name).enroll()
        return h.connect() if connect else h

    def order(self, hosts, owners=None, **kw):
        """Submits an order; (sha256, answer)."""
        self.sequence += 1
        doc = order_document([h.ref for h in hosts], kw.pop("sequence", self.sequence), **kw)
        return hashlib.sha256(doc).hexdigest(), self.server.post("/v1/orders", envelope(doc, owners or self.owners[:2]))

    def close(self):
        self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
