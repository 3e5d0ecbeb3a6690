"""A Portcullis server's HTTPS side that exists for tests: honest unless it is told to lie.

Owns the certificates, the routes and the bookkeeping of a server in one Python process; documents, keys and the log are tests/host/fleet.py's, the
protocol written down a second time. Must not share code with the real server.
"""
import base64
import http.server
import json
import os
import re
import secrets
import ssl
import subprocess
import sys
import threading
import time
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "host"))
from fleet import Fleet, HostKey, Log, b64, moment, sha256  # noqa: E402,F401

TOKEN = "pct_test-token"


def run(*words):
    subprocess.run(words, check=True, capture_output=True)


def certificates(folder, name="ca"):
    """A CA and a certificate for 127.0.0.1 by it: paths of (CA, certificate, key)."""
    path = lambda what: os.path.join(folder, "%s-%s" % (name, what))  # noqa: E731
    with open(path("ext"), "w") as f:
        f.write("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path("ca.key"), "-out", path("ca.pem"),
        "-subj", "/CN=" + name, "-days", "2")
    run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path("key.pem"), "-out", path("csr"), "-subj",
        "/CN=server")
    run("openssl", "x509", "-req", "-in", path("csr"), "-CA", path("ca.pem"), "-CAkey", path("ca.key"), "-CAcreateserial", "-days", "2", "-extfile",
        path("ext"), "-out", path("cert.pem"))
    return path("ca.pem"), path("cert.pem"), path("key.pem")


def checkpoint_seen(log, size=None):
    size = len(log.entries) if size is None else size
    return {"size": size, "root": b64(log.root(0, size))}


def ack(fleet, host, order_sha256, verdict="accepted", why="", seen=None):
    """Signed ack/1 of a host; seen: what it says the log is."""
    return host.seal(json.dumps({"portcullis": "ack/1", "tenant": "city", "host": host.ref, "order_sha256": order_sha256, "verdict": verdict, "why": why,
                                 "text": "", "time": moment(time.time()), "checkpoint": seen or checkpoint_seen(fleet.log)}).encode(), "ack")


def result(fleet, host, about, outcome="ok", exit_code=0, output=b"", data=None, seen=None, run_number=0):
    """Signed result/1 of a host; about: an order's SHA-256 or a look's id."""
    d = {"portcullis": "result/1", "tenant": "city", "host": host.ref, "order_sha256" if len(about) == 64 else "look": about, "run": run_number,
         "outcome": outcome, "exit": exit_code, "output": b64(output), "output_sha256": sha256(output), "truncated": False,
         "started": moment(time.time() - 5), "ended": moment(time.time()), "checkpoint": seen or checkpoint_seen(fleet.log)}
    if exit_code is None:
        del d["exit"]
    if data is not None:
        d["data"] = data
    return host.seal(json.dumps(d).encode(), "result")


def tile_path(parts):
    """tile/LEVEL/INDEX[.p/WIDTH] -> (level or "entries", index, width)."""
    m = re.fullmatch(r"/log/tile/(\d|entries)/((?:x\d{3}/)*\d{3})(?:\.p/(\d+))?", parts)
    if not m:
        return None
    return m.group(1), int(m.group(2).replace("x", "").replace("/", "")), int(m.group(3) or 256)


class Server:
    """Started at once on a port of its own. `lies` maps a path prefix to f(handler, path) that answers instead."""

    def __init__(self, folder):
        self.folder = folder
        self.fleet = Fleet(folder)
        self.hosts, self.orders, self.looks, self.requests, self.lies = [], {}, {}, [], {}
        self.events, self.latest, self.cosignatures = {}, {}, []
        self.on_look = lambda look, host: None
        self.ca, cert, key = certificates(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(cert, key)
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                server.answer(self, "GET", b"")

            def do_POST(self):
                server.answer(self, "POST", self.rfile.read(int(self.headers.get("Content-Length", 0))))

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # a client that hangs up in the middle is part of the tests

        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.http.socket = context.wrap_socket(self.http.socket, server_side=True, do_handshake_on_connect=False)
        self.url = "https://127.0.0.1:%d" % self.http.server_address[1]
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()

    # what it knows

    def add_host(self, name):
        host = HostKey(name)
        host.online = True
        self.hosts.append(host)
        return host

    def add_order(self, document, envelope, log=True, texts=True):
        """As if submitted and, with log, complete; texts=False: logged by an older server, without the signatures."""
        o = json.loads(document)
        row = {"id": o["id"], "order_sha256": sha256(document), "action": o["action"], "class": o["class"], "state": "running" if log else "waiting",
               "approvals": len(envelope["signatures"]), "needed": 1 if o["class"] == "S" else 2, "created": moment(time.time()), "expires": o["expires"],
               "sequence": o["sequence"], "count": o["count"], "document": b64(document), "signatures": envelope["signatures"],
               "hosts": [{"host": h, "state": "queued", "why": "", "outcome": "", "exit": -1, "ring": 0, "envelope": None, "ack": None}
                         for h in o.get("hosts", [])]}
        self.orders[row["order_sha256"]] = row
        if log:
            row["index"] = self.fleet.log_order(document, envelope, texts)
        return row

    def host_row(self, row, host):
        return [h for h in row["hosts"] if h["host"] == host.ref][0]

    def log_envelope(self, kind, envelope):
        return self.fleet.log.add(self.fleet.entry(kind, {"envelope": envelope}))

    def log_owners(self, kind, document, signers, texts=True, **changes):
        """A trust file, revocation or server statement, as the server logs it."""
        namespace = kind + "@portcullis"
        signatures = self.fleet.envelope(document, signers, namespace)["signatures"]
        body = {"sha256": sha256(document), "signatures": [sha256(s.encode()) for s in signatures], "document": b64(document)}
        if texts and signatures:
            body["texts"] = signatures
        body.update(changes)
        return self.fleet.log.add(self.fleet.entry(kind, body))

    def log_parts(self, document, signers, namespace, size=45000):
        """The parts of an envelope that has no room in an entry."""
        whole = json.dumps(self.fleet.envelope(document, signers, namespace)).encode()
        parts = [whole[i:i + size] for i in range(0, len(whole), size)]
        for i, part in enumerate(parts):
            self.fleet.log.add(self.fleet.entry("part", {"sha256": sha256(document), "part": i, "parts": len(parts), "data": b64(part)}))

    def run_order(self, row, host, outcome="ok", exit_code=0, output=b"", log=True):
        """A host takes the order and runs it."""
        a = ack(self.fleet, host, row["order_sha256"])
        if log:
            self.log_envelope("ack", a)
        r = result(self.fleet, host, row["order_sha256"], outcome, exit_code, output)
        if log:
            self.log_envelope("result", r)
        self.host_row(row, host).update(state=outcome, outcome=outcome, exit=exit_code, envelope=r, ack=a)

    # what it answers

    def send(self, handler, status, body, kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", kind)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def error(self, handler, status, word, text):
        self.send(handler, status, {"error": word, "text": text})

    def answer(self, handler, method, body):
        url = urllib.parse.urlsplit(handler.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        self.requests.append((method, handler.path, dict(handler.headers), body))
        for prefix, lie in self.lies.items():
            if url.path.startswith(prefix):
                return lie(handler, url.path)
        is_open = url.path.startswith("/log/") or url.path in ("/v1/cosignatures", "/v1/trust")
        if not is_open and handler.headers.get("Authorization") != "Bearer " + TOKEN:
            return self.error(handler, 401, "token", "a token of the API is needed")
        for pattern, found in self.routes():
            m = re.fullmatch(pattern, method + " " + url.path)
            if m:
                return found(handler, *m.groups(), query=query, body=body)
        return self.error(handler, 404, "path", "no such path")

    def routes(self):
        return [(r"GET /v1/hosts", self.get_hosts), (r"GET /v1/hosts/(.+)", self.get_host), (r"GET /v1/orders", self.get_orders),
                (r"GET /v1/orders/(.+)", self.get_order), (r"POST /v1/orders", self.post_order), (r"POST /v1/looks", self.post_look),
                (r"GET /v1/looks/(.+)", self.get_look), (r"GET /log/checkpoint", self.get_checkpoint), (r"GET (/log/tile/.+)", self.get_tile),
                (r"POST /v1/cosignatures", self.post_cosignature), (r"POST /v1/(trust|revoke|server-statement)", self.post_document)]

    def host_json(self, host):
        return {"name": host.name, "id": host.ref.split("#")[1], "key": b64(host.public), "online": host.online, "last_seen": moment(time.time()),
                "agent": "0.1.0", "address": "127.0.0.1", "sequence": 0, "checkpoint_size": 0, "enrolled": moment(time.time())}

    def get_hosts(self, handler, query, body):
        rows = sorted((self.host_json(h) for h in self.hosts), key=lambda h: h["name"])
        rows = [h for h in rows if h["name"] > query.get("after", "")][:int(query.get("max", 1000000))]
        self.send(handler, 200, rows)

    def get_host(self, handler, name, query, body):
        for host in self.hosts:
            if host.name == name:
                row = self.host_json(host)
                for action in ("inventory", "metrics", "incidents"):
                    envelope = self.latest.get((name, action))
                    row[action] = {"document": json.loads(base64.b64decode(envelope["document"])), "envelope": envelope} if envelope else None
                row["events"] = self.events.get(name, [])
                return self.send(handler, 200, row)
        return self.error(handler, 404, "not-found", "there is no such thing")

    def get_orders(self, handler, query, body):
        keep = ("id", "order_sha256", "action", "class", "state", "approvals", "needed", "created", "count")
        self.send(handler, 200, [{k: o[k] for k in keep} for o in self.orders.values()])

    def get_order(self, handler, ident, query, body):
        for o in self.orders.values():
            if ident in (o["id"], o["order_sha256"]):
                return self.send(handler, 200, o)
        return self.error(handler, 404, "not-found", "there is no such thing")

    def post_order(self, handler, query, body):
        envelope = json.loads(body)
        document = base64.b64decode(envelope["document"])
        row = self.orders.get(sha256(document)) or self.add_order(document, dict(envelope, signatures=[]), log=False)
        row["signatures"] = sorted(set(row["signatures"]) | set(envelope["signatures"]))
        row["approvals"] = len(row["signatures"])
        if row["approvals"] >= row["needed"]:
            row["state"] = "ready"
        row.setdefault("submitted", []).append(envelope)
        self.send(handler, 200, {k: row[k] for k in ("id", "order_sha256", "state", "approvals", "needed")})

    def post_document(self, handler, kind, query, body):
        self.send(handler, 200, {"sha256": sha256(base64.b64decode(json.loads(body)["document"]))})

    def post_look(self, handler, query, body):
        asked = json.loads(body)
        ident = secrets.token_hex(16)
        self.looks[ident] = asked
        self.send(handler, 200, {"look": ident})

    def get_look(self, handler, ident, query, body):
        asked, rows = self.looks[ident], []
        for host in self.hosts:
            if host.name in asked["hosts"] or "*" in asked["hosts"]:
                envelope = self.on_look(ident, host)
                rows.append({"host": host.ref, "state": "answered" if envelope else "asked", "envelope": envelope})
        self.send(handler, 200, {"look": ident, "results": rows})

    # the log

    def get_checkpoint(self, handler, query, body):
        self.send(handler, 200, self.fleet.log.note().encode(), "text/plain; charset=utf-8")

    def nodes(self, level, first, width):
        """The hashes of complete subtrees of 256^level leaves, as many as there are."""
        log, span = self.fleet.log, 256 ** level
        return [log.root(i * span, (i + 1) * span) for i in range(first, min(first + width, len(log.entries) // span))]

    def get_tile(self, handler, path, query, body):
        wanted = tile_path(path)
        if not wanted:
            return self.error(handler, 404, "tile", "no such tile")
        level, index, width = wanted
        if level == "entries":
            part = self.fleet.log.entries[index * 256:index * 256 + width]
            data = b"".join(len(e).to_bytes(2, "big") + e for e in part)
        else:
            part = self.nodes(int(level), index * 256, width)
            data = b"".join(part)
        if len(part) < width:
            return self.error(handler, 404, "tile", "no such tile")
        return self.send(handler, 200, data, "application/octet-stream")

    def post_cosignature(self, handler, query, body):
        self.cosignatures.append(body)
        self.send(handler, 200, {})
