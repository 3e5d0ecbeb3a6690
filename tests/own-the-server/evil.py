"""The server in the hands of an attacker: its TLS key, its log key, its whole log, and a free hand on every frame.

Owns: a listener at the server's own address with the server's own certificate, which real agents connect to and which tells
them whatever an attack says. Must not: know which attack it plays, or decide whether it worked.
"""
import hashlib
import json
import os
import socket
import ssl
import struct
import threading
import time

from tree import b64

TYPES = {"hello": 1, "welcome": 2, "bundle": 3, "continue": 4, "start": 5, "look": 6, "checkpoint": 7, "trust": 8, "revoke": 9, "ping": 10,
         "pong": 11, "ack": 12, "result": 13, "ring": 14, "seen": 15, "event": 16, "got": 17}
NAMES = {number: name for name, number in TYPES.items()}
HEARTBEAT = 60


def now(offset=0):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + offset))


class Agent:
    """One connected host, as the stolen server sees it."""

    def __init__(self, evil, stream):
        self.evil, self.stream, self.frames, self.name, self.hello = evil, stream, [], None, {}
        self.changed, self.alive = threading.Condition(), True

    def send(self, kind, body=None):
        data = b"" if body is None else (body if isinstance(body, bytes) else json.dumps(body).encode())
        self.raw(struct.pack(">IB", 1 + len(data), TYPES[kind] if isinstance(kind, str) else kind) + data)

    def raw(self, data):
        try:
            self.stream.sendall(data)
        except OSError:
            self.alive = False

    def exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.stream.recv(count - len(data))
            if not more:
                raise ConnectionError("closed")
            data += more
        return data

    def serve(self):
        try:
            while True:
                length, kind = struct.unpack(">IB", self.exactly(5))
                body = self.exactly(length - 1)
                self.got(NAMES.get(kind, str(kind)), json.loads(body) if body else {})
        except (OSError, ValueError, ConnectionError):
            pass
        finally:
            with self.changed:
                self.alive = False
                self.changed.notify_all()
            self.evil.forget(self)
            self.stream.close()

    def got(self, kind, body):
        if kind == "hello":
            self.hello, self.name = body, body["host"].split("#")[0]
            self.send("welcome", {"protocol": 1, "time": now(), "heartbeat": HEARTBEAT})
            self.evil.remember(self)
        elif kind == "ping":
            self.send("pong")
        elif kind in ("ack", "result", "ring") and self.evil.acknowledges:
            document = opened(body)
            self.send("got", {"sha256": hashlib.sha256(document).hexdigest()})
        with self.changed:
            self.frames.append((kind, body))
            self.changed.notify_all()

    def wait(self, kind, accept=lambda document: True, seconds=15):
        """The first frame of that kind whose document is accepted; None after so many seconds, or when the host hangs up."""
        until = time.monotonic() + seconds
        with self.changed:
            while True:
                for name, body in self.frames:
                    if name == kind:
                        document = json.loads(opened(body)) if "document" in body else body
                        if accept(document):
                            return document
                left = until - time.monotonic()
                if left <= 0 or not self.alive:
                    return None
                self.changed.wait(left)

    def seen(self):
        """The size of the tree that this host last accepted."""
        sizes = [body["checkpoint_size"] for kind, body in self.frames if kind in ("hello", "seen")]
        return sizes[-1] if sizes else 0


def opened(envelope):
    import base64
    return base64.b64decode(envelope["document"])


class Evil:
    """Listens where the server listened. `log` is what it tells; attacks replace it at will."""

    def __init__(self, address, port, certificate, key, log, namespace=None):
        self.log, self.agents, self.lock, self.acknowledges = log, {}, threading.Condition(), True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(certificate, key)
        self.context, self.namespace = context, namespace
        self.socket = self.listen(address, port)
        threading.Thread(target=self.accept, daemon=True).start()

    def listen(self, address, port):
        """A socket lives in the namespace that it was made in: go there, make it, come back."""
        home = None
        if self.namespace:
            libc = __import__("ctypes").CDLL(None, use_errno=True)
            home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            there = os.open("/run/netns/" + self.namespace, os.O_RDONLY)
            if libc.setns(there, 0) != 0:
                raise OSError("setns: cannot enter %s" % self.namespace)
        try:
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            listener.listen(64)
        finally:
            if home is not None:
                libc.setns(home, 0)
                os.close(home)
                os.close(there)
        return listener

    def accept(self):
        while True:
            try:
                plain, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.welcome, args=(plain,), daemon=True).start()

    def welcome(self, plain):
        plain.settimeout(300)
        try:
            stream = self.context.wrap_socket(plain, server_side=True)
        except (OSError, ssl.SSLError):
            plain.close()
            return
        Agent(self, stream).serve()

    def remember(self, agent):
        with self.lock:
            self.agents[agent.name] = agent
            self.lock.notify_all()

    def forget(self, agent):
        with self.lock:
            if self.agents.get(agent.name) is agent:
                del self.agents[agent.name]

    def agent(self, name, seconds=60):
        """The host's connection; waits for it to (re)connect."""
        until = time.monotonic() + seconds
        with self.lock:
            while name not in self.agents:
                left = until - time.monotonic()
                if left <= 0:
                    raise TimeoutError("%s did not connect to the stolen server within %d s" % (name, seconds))
                self.lock.wait(left)
            return self.agents[name]

    def log_order(self, document, signatures, kind="order", tenant="city", log=None):
        """Logs it as an honest server would; its index."""
        body = {"order_sha256": hashlib.sha256(document).hexdigest(), "id": json.loads(document)["id"],
                "approvals": [hashlib.sha256(s.encode()).hexdigest() for s in signatures], "document": b64(document), "texts": signatures}
        entry = {"portcullis": "entry/1", "tenant": tenant, "type": kind, "time": now(), "body": body}
        return (log or self.log).append(json.dumps(entry).encode())

    def bundle(self, agent, document, signatures, index=None, log=None, **changes):
        """A complete bundle for that host; changes replace its parts (None takes one out)."""
        log = log or self.log
        if index is None:
            index = self.log_order(document, signatures, log=log)
        parts = {"order": {"document": b64(document), "signatures": signatures}}
        parts.update(log.proven(index, agent.seen()))
        parts.update(changes)
        return {key: value for key, value in parts.items() if value is not None}

    def close(self):
        self.socket.close()
        with self.lock:
            agents = list(self.agents.values())
        for agent in agents:
            try:
                agent.stream.close()
            except OSError:
                pass
