#!/usr/bin/env python3
"""Makes the corpus of fuzz_link and fuzz_api anew, into corpus/ beside it: inputs that go through to the end, for mutations to start from. For people, not for the suite."""
import json
import os
import struct

HERE = os.path.dirname(os.path.abspath(__file__))
SHA = "ab" * 32
SEEN = {"size": 0, "root": "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}
CONNECT, HELLO, RAW, ACK, RESULT, RING, HANG_UP, TICK, SETTLE, MANY = range(10)
HELLO_FRAME, PING, PONG, SEEN_FRAME, EVENT = 1, 10, 11, 15, 16
ENVELOPE = {"document": "e30=", "key": "A" * 43 + "=", "signature": "A" * 86 + "=="}


def put(kind, name, data):
    os.makedirs(os.path.join(HERE, "corpus", kind), exist_ok=True)
    with open(os.path.join(HERE, "corpus", kind, name), "wb") as out:
        out.write(data)


def step(what, which=0, text=None, frame=None):
    data = bytes([which << 4 | what]) + (bytes([frame]) if frame else b"")
    if text is not None:
        raw = text if isinstance(text, bytes) else json.dumps(text).encode()
        data += struct.pack(">H", len(raw)) + raw
    return data


def ack(verdict="accepted", why=""):
    return {"portcullis": "ack/1", "tenant": "acme", "host": "$H", "order_sha256": SHA, "verdict": verdict, "why": why, "text": "", "time": "2026-11-22T00:00:00Z",
            "checkpoint": SEEN}


def result(**which):
    return {"portcullis": "result/1", "tenant": "acme", "host": "$H", **which, "run": 0, "outcome": "ok", "exit": 0, "output": "eA==",
            "output_sha256": "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881", "truncated": False, "started": "2026-11-22T00:00:00Z",
            "ended": "2026-11-22T00:00:01Z", "checkpoint": SEEN}


def ring():
    return {"portcullis": "ring/1", "tenant": "acme", "host": "$H", "order_sha256": SHA, "run": 0, "ring": 0, "outcome": "ok", "incidents": 0,
            "started": "2026-11-22T00:00:00Z", "ended": "2026-11-22T00:00:01Z", "soaked": "2026-11-22T00:00:02Z"}


def links():
    up = step(CONNECT) + step(HELLO)
    event = {"time": "2026-11-22T00:00:00Z", "kind": "silence", "text": "t"}
    yield "hello", up + step(TICK) + step(RAW, text={"checkpoint_size": 0}, frame=SEEN_FRAME) + step(RAW, text=b"", frame=PING) + step(HANG_UP)
    yield "documents", up + step(ACK, text=ack()) + step(RESULT, text=result(order_sha256=SHA)) + step(RING, text=ring()) + step(RESULT, text=result(look="0" * 32))
    yield "refused", up + step(ACK, text=ack("refused", "space")) + step(ACK, text=ack("refused", "quorum"))
    yield "event", up + step(RAW, text=event, frame=EVENT) + step(RAW, text=b"", frame=PONG)
    yield "forged", up + step(RAW, text=ENVELOPE, frame=12) + step(SETTLE) + step(ACK, text=ack())
    yield "another-host", up + step(ACK, text=dict(ack(), host="web2#" + "0" * 32))
    yield "many", up + step(MANY, text=ack()) + step(RAW, text=b"", frame=PING) + step(SETTLE) + step(ACK, text=ack())
    yield "many-and-gone", up + step(MANY, text=ack()) + step(HANG_UP) + up + step(ACK, text=ack())
    yield "many-then-bad", up + step(MANY, text=ack()) + step(RAW, text=b"x", frame=PING) + step(SETTLE)
    yield "twice", up + step(CONNECT, 3) + step(HELLO, 3) + step(ACK, 3, ack()) + step(ACK, text=ack())
    yield "no-hello", step(CONNECT, 1) + step(ACK, 1, ack()) + step(CONNECT, 2) + step(RAW, 2, b"", PING)
    yield "hello-twice", up + step(HELLO)
    yield "raw-hello", step(CONNECT) + step(RAW, frame=HELLO_FRAME, text={"protocol": 1, "host": "$H", "agent": "1", "checkpoint_size": 9, "sequence": 1, "boot": "0" * 16}) + step(TICK) * 5


def order(hosts=("$0", "$1"), **changes):
    return {"portcullis": "order/1", "id": "0" * 32, "tenant": "acme", "class": "C", "action": "script.run",
            "params": {"argv": ["/bin/true"], "timeout": 60, "output": 1000}, "hosts": list(hosts), "count": len(hosts), "not_before": "2099-11-22T00:00:00Z",
            "expires": "2099-11-23T00:00:00Z", "sequence": 1, "says": "s", **changes}


POST, LOOK, OPERATE, SIGNED, ANN, BOB = 1, 2, 4, 8, 16, 32


def request(flags, path, body=b""):
    return bytes([flags]) + path.encode() + b"\n" + (body if isinstance(body, bytes) else json.dumps(body).encode())


def requests():
    stop = order(["$0"], **{"class": "S", "action": "host.isolate", "params": {"allow": [], "seconds": 60}, "id": "1" * 32})
    both = POST | OPERATE | SIGNED | ANN | BOB
    yield "order", request(both, "/v1/orders", order()) + b"\0" + request(LOOK, "/v1/orders/" + "0" * 32) + b"\0" + request(LOOK, "/v1/orders")
    yield "order-approved-later", request(POST | OPERATE | SIGNED | ANN, "/v1/orders", order(id="2" * 32, sequence=2)) + b"\0" + request(
        POST | OPERATE | SIGNED | BOB, "/v1/orders", order(id="2" * 32, sequence=2))
    yield "stop", request(POST | OPERATE | SIGNED | ANN, "/v1/orders", stop) + b"\0" + request(LOOK, "/v1/orders/" + "1" * 32)
    rings = [{"hosts": 1, "soak": 0}, {"hosts": 1, "soak": 0}]
    yield "rings", request(both, "/v1/orders", order(id="3" * 32, sequence=3, rings=rings, halt={"failures": 0, "incidents": 0}))
    yield "hosts", b"\0".join(request(LOOK, p) for p in ("/v1/hosts", "/v1/hosts/web1", "/v1/sequence", "/v1/entries?from=0", "/metrics", "/healthz"))
    yield "log", b"\0".join(request(0, p) for p in ("/log/checkpoint", "/log/tile/0/000.p/1", "/log/tile/entries/000.p/1", "/log/tile/9/x", "/openapi.json",
                                                     "/v1/trust", "/v1/server-statement"))
    yield "look", request(POST | LOOK, "/v1/looks", {"hosts": ["*"], "action": "metrics", "params": {}}) + b"\0" + request(LOOK, "/v1/looks/" + "0" * 32)
    yield "enroll", request(POST, "/v1/enroll", {"token": "x", "statement": ENVELOPE})
    yield "revoke", request(POST | OPERATE | SIGNED | ANN, "/v1/revoke", {"portcullis": "revoke/1", "tenant": "acme", "owner": "zed", "key": "SHA256:" + "A" * 43,
                                                                          "created": "2026-11-22T00:00:00Z", "reason": "r"})
    yield "statement", request(both, "/v1/server-statement", {"portcullis": "server/1", "tenant": "acme", "version": 1, "url": "https://h:1", "link": "h:2", "ca": "x",
                                                              "created": "2026-11-22T00:00:00Z"})
    yield "start", request(POST | OPERATE, "/v1/starts", {"order_sha256": SHA})
    yield "cosign", request(POST, "/v1/cosignatures", b"o\n1\nAAAA\n\n\xe2\x80\x94 w AAAA\n")
    yield "roles", request(0, "/v1/hosts") + b"\0" + request(POST | LOOK, "/v1/orders", {}) + b"\0" + request(POST, "/healthz") + b"\0" + request(0, "/nothing")
    yield "files", request(0, "/files/../server.key") + b"\0" + request(0, "/files/x") + b"\0" + request(LOOK, "/v1/reports/" + SHA) + b"\0" + request(LOOK, "/v1/events")


for title, content in links():
    put("link", title, content)
for title, content in requests():
    put("api", title, content)
