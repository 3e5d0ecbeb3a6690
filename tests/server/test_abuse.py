#!/usr/bin/env python3
"""Peers that do not behave: malformed frames and HTTP, forged documents, slow and flooding peers, bad tokens. The server stays up and serves others."""
import base64
import http.client
import json
import os
import socket
import ssl
import struct
import sys
import time
import unittest

import fleet
from fleet import Fleet, Host, Key, seal, until


class Abuse(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.f = Fleet(heartbeat=30, patience=2, handshakes=40, handshakes_per_address=20, api_per_address=20)
        cls.good = cls.f.host("good")

    @classmethod
    def tearDownClass(cls):
        cls.good.close()
        cls.f.close()

    def tearDown(self):
        # Whatever happened: the server runs, others are served.
        self.assertIsNone(self.f.server.process.poll())
        self.good.send("ping")
        while self.good.next()[0] != "pong":
            pass

    def metric(self, name):
        for line in self.f.server.get("/metrics").decode().splitlines():
            if line.startswith("portcullis_" + name + " "):
                return float(line.split()[1])
        raise AssertionError("no metric " + name)

    def closed(self, host, timeout=20):
        while True:
            frame = host.read(timeout)
            if frame is None:
                host.close()
                return True

    # --- links ---
    def test_frames_that_are_none(self):
        bad = [b"\0\0\0\0", struct.pack(">IB", 1, 0), struct.pack(">IB", 1, 99), struct.pack(">IB", 1 << 24, 1), b"\xff" * 64, b"GET / HTTP/1.1\r\n\r\n",
               struct.pack(">IB", 3, 1) + b"{", struct.pack(">IB", 3, 12) + b"{}", struct.pack(">IB", 3, 2) + b"{}"]
        for data in bad:
            host = Host(self.f.server, "bad" + os.urandom(3).hex()).enroll().dial()
            host.send_raw(data + b"\0" * 8)
            self.assertTrue(self.closed(host), data)

    def test_malformed_after_hello(self):
        host = Host(self.f.server, "malformed").enroll()
        for kind, body in (("ack", b"{}"), ("ack", b"[]"), ("result", b"{\"document\":\"\",\"key\":\"\",\"signature\":\"\"}"), ("seen", b"{}"),
                           ("seen", b"{\"checkpoint_size\":-1}"), ("seen", b"{\"checkpoint_size\":1,\"x\":2}"), ("event", b"{\"time\":\"x\"}"),
                           ("hello", b"{}"), ("bundle", b"{}"), ("ring", b"\xff\xfe"), ("ping", b"{}"), ("ack", b"{\"a\":" * 400 + b"1" + b"}" * 400)):
            host.connect()
            host.send(kind, body)
            self.assertTrue(self.closed(host), kind)

    def test_hello_must_fit_the_key(self):
        other = Host(self.f.server, "other").enroll()
        host = Host(self.f.server, "claims").enroll()
        host.dial().hello(host=other.ref)
        self.assertTrue(self.closed(host))
        stranger = Host(self.f.server, "stranger")
        stranger.dial().hello()
        self.assertTrue(self.closed(stranger))

    def test_no_certificate_no_link(self):
        ctx = self.f.server.context()
        with socket.create_connection(("127.0.0.1", self.f.server.link_port)) as raw:
            with self.assertRaises((ssl.SSLError, ConnectionResetError)):
                with ctx.wrap_socket(raw, server_hostname="127.0.0.1") as s:
                    s.recv(1)  # TLS 1.3: the server's refusal comes after our side of the handshake
                    s.recv(1)
                    raise ssl.SSLError("closed")

    def test_documents_of_another_host(self):
        thief = Host(self.f.server, "thief").enroll().connect()
        before = self.metric("reports_forged_total")
        doc = {"portcullis": "ack/1", "tenant": fleet.TENANT, "host": self.good.ref, "order_sha256": "0" * 64, "verdict": "accepted", "why": "", "text": "",
               "time": fleet.now_text(), "checkpoint": self.good.seen()}
        thief.send("ack", seal("ack", doc, self.good.key))  # even signed by the other one: not its link
        self.assertTrue(self.closed(thief))
        thief.connect()
        thief.send("ack", seal("ack", doc, thief.key))  # signed by itself about another
        self.assertTrue(self.closed(thief))
        thief.connect()
        forged = seal("ack", doc, self.good.key)
        forged["signature"] = fleet.b64(bytes(64))
        thief.send("ack", forged)
        self.assertTrue(self.closed(thief))
        self.assertGreaterEqual(self.metric("reports_forged_total"), before + 2)
        self.assertNotIn("ack", [e["type"] for e in self.f.server.log()])

    def test_a_flood_ends_the_link(self):
        host = Host(self.f.server, "flood").enroll().connect()
        try:
            for _ in range(60):
                host.send("event", {"time": fleet.now_text(), "kind": "x", "text": "y" * 1000})
            self.assertLessEqual(len(self.f.server.get("/v1/hosts/flood")["events"]), 100)
            for _ in range(100):
                host.send_raw(struct.pack(">IB", 1 + 65000, 13) + b" " * 65000)
        except OSError:
            pass
        self.assertTrue(self.closed(host))

    def runs_logged(self, host):
        """`run` of every result of this host, as the log has them."""
        documents = [base64.b64decode(e["body"]["envelope"]["document"]) for e in self.f.server.log() if e["type"] == "result"]
        return [d["run"] for d in map(json.loads, documents) if d["host"] == host.ref]

    def test_a_burst_is_stored_whole_and_in_order(self):
        """More at once than the server checks of one link (64): the link is not read meanwhile, nothing is lost, nothing overtakes."""
        host = Host(self.f.server, "burst").enroll().connect()
        shas = [host.result("0" * 64, run=n, wait=False) for n in range(300)]
        host.send("ping")  # waits behind them
        while not host.got.issuperset(shas):
            self.assertIsNotNone(host.next()[0])
        self.assertIn("pong", host.frames)
        self.assertEqual(self.runs_logged(host), list(range(300)))
        self.assertEqual((self.metric("links_held"), self.metric("reports_checking")), (0, 0))
        host.close()

    def test_a_forged_one_among_many(self):
        host = Host(self.f.server, "spoilt").enroll().connect()
        for n in range(100):
            host.result("0" * 64, run=n, wait=False)
        host.send("result", dict(seal("result", {}, host.key), signature=fleet.b64(bytes(64))))
        self.assertTrue(self.closed(host))
        self.assertEqual(until(lambda: len(self.runs_logged(host)) == 100 and self.runs_logged(host)), list(range(100)))

    def test_a_second_link_ends_the_first(self):
        host = Host(self.f.server, "twice").enroll().connect()
        again = Host(self.f.server, "twice")
        again.key, again.link_key, again.ref, again.folder = host.key, host.link_key, host.ref, host.folder
        again.connect()
        self.assertTrue(self.closed(host))
        again.send("ping")
        self.assertEqual(again.next()[0], "pong")
        again.close()

    def test_peers_that_say_nothing(self):
        silent = [socket.create_connection(("127.0.0.1", self.f.server.link_port)) for _ in range(60)]
        until(lambda: self.metric("links_refused_address_total") > 0)
        until(lambda: self.metric("links_pending") == 0, timeout=40)  # the rest ran out of time
        for s in silent:
            s.close()
        Host(self.f.server, "after-the-silence").enroll().connect().close()

    def test_no_hello(self):
        host = Host(self.f.server, "mute").enroll().dial()
        self.assertTrue(self.closed(host, timeout=30))

    def test_half_a_frame_holds_nobody(self):
        host = Host(self.f.server, "half").enroll().connect()
        host.send_raw(struct.pack(">IB", 100000, 13) + b"{")
        self.assertEqual(self.f.server.get("/healthz", role=None)["status"], "ok")
        host.close()

    # --- API ---
    def test_tokens_and_roles(self):
        call = self.f.server.call
        for path in ("/v1/hosts", "/v1/orders", "/metrics", "/v1/entries", "/v1/events", "/v1/sequence"):
            self.assertEqual(call("GET", path, role=None)[0], 401)
        for path in ("/v1/orders", "/v1/trust", "/v1/revoke", "/v1/server-statement", "/v1/starts"):
            self.assertEqual(call("POST", path, {}, role=None)[0], 401)
            self.assertEqual(call("POST", path, {}, role="look")[0], 403)
        self.f.server.tokens["wrong"] = "x" * 43
        self.assertEqual(call("GET", "/v1/hosts", role="wrong")[0], 401)
        self.f.server.tokens["enroll"] = self.f.server.enroll_token()
        self.assertEqual(call("GET", "/v1/hosts", role="enroll")[0], 401)
        for path in ("/healthz", "/openapi.json", "/log/checkpoint", "/v1/trust"):
            self.assertEqual(call("GET", path, role=None)[0], 200)

    def test_paths_and_methods(self):
        call = self.f.server.call
        self.assertEqual(call("GET", "/nothing")[0], 404)
        self.assertEqual(call("POST", "/v1/hosts", {})[0], 405)
        self.assertEqual(call("GET", "/v1/hosts/nobody")[0], 404)
        self.assertEqual(call("GET", "/v1/orders/" + "0" * 64)[0], 404)
        self.assertEqual(call("GET", "/v1/looks/" + "0" * 32)[0], 404)
        self.assertEqual(call("GET", "/v1/server-statement")[0], 404)
        self.assertEqual(call("GET", "/v1/orders?before=x")[0], 400)
        self.assertEqual(call("GET", "/v1/entries?from=-1")[0], 400)
        for path in ("/files/../server.key", "/files/%2e%2e/server.key", "/files//etc/passwd", "/files/.", "/log/tile/../x", "/log/tile/9/000",
                     "/log/tile/0/999", "/log/tile/0/000.p/0"):
            self.assertEqual(call("GET", path)[0], 404, path)

    def test_every_route_is_in_the_openapi_document(self):
        doc = self.f.server.get("/openapi.json", role=None)
        with open(os.path.join(os.path.dirname(__file__), "../../src/server/api.c")) as f:
            for line in f:
                if line.startswith('    {"/'):
                    path = line.split('"')[1]
                    method = "post" if ", true, false, O" in line or ", true, false, L" in line else "get"
                    known = [p for p in doc["paths"] if (p.startswith(path) and "{" in p if path.endswith("/") else p == path)]
                    self.assertTrue(known and any(method in doc["paths"][p] for p in known), line)

    def test_bodies(self):
        call = self.f.server.call
        for body in (b"", b"{", b"[]", b"{} {}", b"{\"a\":1,\"a\":2}", b"\xff", b"{\"document\":1}", b"[" * 100000):
            self.assertIn(call("POST", "/v1/orders", body)[0], (400, 422), body[:20])
            self.assertIn(call("POST", "/v1/trust", body)[0], (400, 422), body[:20])
            self.assertIn(call("POST", "/v1/enroll", body, role=None)[0], (400, 403, 413), body[:20])
            self.assertIn(call("POST", "/v1/looks", body)[0], (400, 422), body[:20])
            self.assertIn(call("POST", "/v1/cosignatures", body, role=None)[0], (400, 409), body[:20])
        try:
            self.assertEqual(call("POST", "/v1/orders", b" " * (5 << 20))[0], 413)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
            pass  # it did not even read it

    def raw_http(self, data, wait=True):
        with socket.create_connection(("127.0.0.1", self.f.server.api_port)) as raw:
            with self.f.server.context().wrap_socket(raw, server_hostname="127.0.0.1") as s:
                s.sendall(data)
                s.settimeout(60)
                try:
                    return s.recv(65536) if wait else b""
                except (ConnectionResetError, ssl.SSLError):
                    return b""

    def test_http_that_is_none(self):
        for data in (b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\0" * 100 + b"\r\n\r\n", b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n",
                     b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
                     b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 5000 + b"\r\n"):
            answer = self.raw_http(data)
            self.assertFalse(answer.startswith(b"HTTP/1.1 2"), data[:40])

    def test_plain_http_gets_nothing(self):
        with socket.create_connection(("127.0.0.1", self.f.server.api_port)) as s:
            s.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            s.settimeout(30)
            try:
                self.assertNotIn(b"HTTP/1.1 200", s.recv(4096))
            except ConnectionResetError:
                pass

    def test_a_slow_request_runs_out_of_time(self):
        before = self.metric("api_timeouts_total")
        with socket.create_connection(("127.0.0.1", self.f.server.api_port)) as silent:
            raw = socket.create_connection(("127.0.0.1", self.f.server.api_port))
            s = self.f.server.context().wrap_socket(raw, server_hostname="127.0.0.1")
            s.sendall(b"GET /healthz HTTP/1.1\r\n")
            until(lambda: self.metric("api_timeouts_total") >= before + 1, timeout=40)
            silent.settimeout(30)
            self.assertEqual(silent.recv(10), b"")
            s.close()

    def download(self, size):
        """The socket of a request for a file of so many bytes; nothing is read yet."""
        folder = os.path.join(self.f.server.state, "files")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "package"), "wb") as f:
            f.write(b"x" * size)
        os.chmod(f.name, 0o644)
        raw = socket.create_connection(("127.0.0.1", self.f.server.api_port))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        s = self.f.server.context().wrap_socket(raw, server_hostname="127.0.0.1")
        s.sendall(b"GET /files/package HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return s

    def test_a_slow_download_goes_on(self):
        """A line that takes longer for an agent's package than a request may take: as long as it takes something, it gets all."""
        s = self.download(16 << 20)
        s.settimeout(60)
        taken = 0
        while True:
            data = s.recv(65536)
            if not data:
                break
            taken += len(data)
            time.sleep(0.012)
        s.close()
        self.assertGreaterEqual(taken, 16 << 20)

    def test_a_download_that_nobody_takes_ends(self):
        s = self.download(32 << 20)
        with_it = self.metric("api_connections")
        until(lambda: self.metric("api_connections") < with_it, timeout=60)
        s.close()

    def test_too_many_from_one_address(self):
        before = self.metric("api_refused_address_total")
        held = []
        for _ in range(30):
            raw = socket.create_connection(("127.0.0.1", self.f.server.api_port))
            try:
                held.append(self.f.server.context().wrap_socket(raw, server_hostname="127.0.0.1"))
            except (ssl.SSLError, ConnectionResetError):
                raw.close()
        self.assertLessEqual(len(held), 20)
        for s in held:
            s.close()
        until(lambda: self.try_metric("api_refused_address_total") > before)

    def try_metric(self, name):
        try:
            return self.metric(name)
        except (ssl.SSLError, OSError, http.client.HTTPException):
            return -1

    # --- enrolment ---
    def test_enrolment_needs_a_fresh_token(self):
        token = self.f.server.enroll_token()
        host = Host(self.f.server, "fresh")
        host.enroll(token)
        host.enroll(token)  # its answer was lost: the same keys, the same host
        other = Host(self.f.server, "second")
        self.refused(other, token, "token")
        self.refused(other, "nonsense", "token")
        taken = Host(self.f.server, "fresh")
        self.refused(taken, self.f.server.enroll_token(), "name")
        self.assertEqual(self.f.server.get("/v1/hosts/fresh")["id"], host.key.id)

    def refused(self, host, token, word, statement=None):
        status, answer = self.f.server.call("POST", "/v1/enroll", {"token": token, "statement": statement or host.statement(token)}, role=None)
        self.assertEqual((status, answer["error"]), (403, word))

    def test_a_token_for_one_name(self):
        token = self.f.server.enroll_token("--name", "this-one")
        self.refused(Host(self.f.server, "another"), token, "token")
        Host(self.f.server, "this-one").enroll(token)

    def test_statements_that_do_not_fit(self):
        token, host = self.f.server.enroll_token(), Host(self.f.server, "unfit")
        self.refused(host, token, "tenant", host.statement(token, tenant="village"))
        self.refused(host, token, "token", host.statement("another token"))
        self.refused(host, token, "trust", host.statement(token, trust_sha256="1" * 64))
        bad = host.statement(token)
        bad["key"] = fleet.b64(Key().public)
        self.refused(host, token, "signature", bad)
        stolen = Host(self.f.server, "stolen")
        stolen.link_key = self.good.link_key
        self.refused(stolen, token, "key")
        host.enroll(token)  # none of that spent it


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
