#!/usr/bin/env python3
"""Enrolment, link and supervisor against a TLS server of the test's own: pinned CA, client key, statement, restart, proxy, upgrade."""
import base64
import http.server
import json
import os
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

import rig
from fleet import FRAMES, NAMES, PORTCULLIS, PORTCULLISD, Fleet, Log, Runner, moment, open_envelope, sha256


class Authority:
    """A CA with one server certificate for 127.0.0.1, made by openssl."""

    def __init__(self, folder, name):
        self.ca, self.cert, self.key = (os.path.join(folder, name + end) for end in (".ca.pem", ".crt", ".key"))
        ca_key, csr, ext = (os.path.join(folder, name + end) for end in (".ca.key", ".csr", ".ext"))
        with open(ext, "w") as f:
            f.write("subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:fleet.test\n")
        new = ["openssl", "req", "-newkey", "ed25519", "-nodes", "-subj"]
        rig.run(*new, "/CN=test CA " + name, "-x509", "-days", "30", "-keyout", ca_key, "-out", self.ca)
        rig.run(*new, "/CN=server", "-keyout", self.key, "-out", csr)
        rig.run("openssl", "x509", "-req", "-in", csr, "-CA", self.ca, "-CAkey", ca_key, "-CAcreateserial", "-days", "30", "-extfile", ext, "-out", self.cert)


class Server:
    """One API port and one link port on 127.0.0.1. What it answers is in self.files; hosts that connect are in self.hosts."""

    def __init__(self, authority, api_port=0, link_port=0):
        self.files, self.enrolments, self.hosts, self.refused = {}, [], [], 0
        self.use(authority)
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def reply(self, status, body):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                body = outer.files.get(self.path)
                self.reply(200 if body is not None else 404, body or b"")

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                statement = open_envelope(body["statement"], "enroll")
                outer.enrolments.append((body, statement))
                if outer.enrols != 200:
                    self.reply(outer.enrols, b'{"error":"token"}')
                    return
                key = base64.b64decode(body["statement"]["key"])
                ref = "%s#%s" % (statement["host"], sha256(key)[:32])
                # By name: the link has to look it up, in a thread, under its list of system calls.
                self.reply(200, json.dumps({"host": ref, "link": "%s:%d" % (outer.link_name, outer.link_port), "heartbeat": outer.heartbeat or Connection.heartbeat}).encode())

            def log_message(self, *unused):
                pass

        self.api = http.server.ThreadingHTTPServer(("127.0.0.1", api_port), Handler)
        self.api.handle_error = lambda *unused: None  # a client that does not like our certificate
        self.api.socket = self.context.wrap_socket(self.api.socket, server_side=True, do_handshake_on_connect=False)
        self.api_port = self.api.server_address[1]
        self.listener = socket.create_server(("127.0.0.1", link_port))
        self.link_port = self.listener.getsockname()[1]
        for target in (self.api.serve_forever, self.accept):
            threading.Thread(target=target, daemon=True).start()

    def use(self, authority, client=None):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.load_cert_chain(authority.cert, authority.key)

    def accept(self):
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.greet, args=(plain,), daemon=True).start()

    def greet(self, plain):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self.authority_of(self.context).cert, self.authority_of(self.context).key)
        if self.client_cert:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.client_cert)
        try:
            plain.settimeout(Connection.patience)
            self.hosts.append(Connection(context.wrap_socket(plain, server_side=True), self.heartbeat))
        except (OSError, AssertionError):
            self.refused += 1
            plain.close()

    def authority_of(self, unused):
        return self.authority

    def url(self):
        return "https://127.0.0.1:%d" % self.api_port

    def close(self):
        if self.listener.fileno() < 0:
            return
        self.api.shutdown()
        self.api.server_close()
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self.listener.close()
        for host in self.hosts:
            host.close()

    authority = None
    client_cert = None
    enrols = 200  # the status of its answers to an enrolment
    heartbeat = None  # seconds; what is usual when None
    link_name = "localhost"


class Connection:
    """A host's link, from the server's side."""
    heartbeat, patience = 20, 20  # seconds; a server of these tests says nothing by itself, and is left after three heartbeats

    def __init__(self, tls, heartbeat=None):
        self.tls, self.buffer = tls, b""
        self.subject = tls.getpeercert(True)
        self.hello = self.read("hello")
        self.send("welcome", {"protocol": 1, "time": moment(time.time()), "heartbeat": heartbeat or self.heartbeat})

    def send(self, kind, body):
        data = json.dumps(body).encode() if body is not None else b""
        self.tls.sendall(struct.pack(">IB", len(data) + 1, FRAMES[kind]) + data)

    def read(self, kind):
        while True:
            while len(self.buffer) >= 5 and len(self.buffer) >= 4 + struct.unpack(">I", self.buffer[:4])[0]:
                length, number = struct.unpack(">IB", self.buffer[:5])
                body, self.buffer = self.buffer[5:4 + length], self.buffer[4 + length:]
                if NAMES[number] == kind:
                    return json.loads(body) if body else {}
            data = self.tls.recv(65536)
            assert data, "the host hung up before %s" % kind
            self.buffer += data

    def close(self):
        try:
            self.tls.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.tls.close()


class Case(rig.Case):
    def setUp(self):
        super().setUp()
        self.authority = Authority(self.folder, "first")
        self.config = self.path("host.conf")
        with open(self.config, "w") as f:
            f.write("[fleet]\nlink-user = nobody\n[log]\njournal = no\n")
        self.server = self.serve(self.authority)
        self.state = self.path("state")
        self.program = PORTCULLISD

    def serve(self, authority, *ports):
        server = Server(authority, *ports)
        server.authority = authority
        self.addCleanup(server.close)
        return server

    def enroll(self, *more, expect=0, ca=None):
        done = subprocess.run([PORTCULLISD, "enroll", "--fleet-state", self.state, "--config", self.config, "--server", self.server.url(),
                               "--ca", ca or self.authority.ca, "--trust", self.fleet.trust_path, "--name", "web1", "--token", "secret"] + list(more),
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, expect, done.stderr)
        return done.stdout + done.stderr

    def start(self):
        self.server.client_cert = os.path.join(self.state, "link.crt")
        self.log_path = self.path("host.log")
        log = open(self.log_path, "ab")
        self.process = subprocess.Popen([self.program, "host", "--fleet-state", self.state, "--state", self.path("guard"), "--config", self.config],
                                        stdout=log, stderr=log)
        log.close()
        self.addCleanup(self.end)

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def host(self, n=1, seconds=30):
        """The n-th connection of the host to the server."""
        until = time.monotonic() + seconds
        while len(self.server.hosts) < n:
            self.assertLess(time.monotonic(), until, "no connection %d; log: %s" % (n, self.log()[-3000:]))
            time.sleep(0.02)
        return self.server.hosts[n - 1]

    def children(self, role):
        found = []
        for pid in rig.run("pgrep", "-P", str(self.process.pid)).split():
            with open("/proc/%s/cmdline" % pid) as f:
                if f.read().split("\0")[1] == role:
                    found.append(int(pid))
        return found


class Enrolment(Case):
    def test_keys_and_pins(self):
        text = self.enroll()
        body, statement = self.server.enrolments[0]
        with open(self.fleet.trust_path, "rb") as f:
            trust = sha256(f.read())
        self.assertEqual((body["token"], statement["token_sha256"], statement["trust_sha256"]), ("secret", sha256(b"secret"), trust))
        self.assertIn(trust, text)
        self.assertIn(rig.run("openssl", "x509", "-in", self.authority.ca, "-noout", "-fingerprint", "-sha256").strip().split("=")[1], text)
        modes = {name: (os.stat(os.path.join(self.state, name)).st_mode & 0o777, os.stat(os.path.join(self.state, name)).st_uid)
                 for name in ("identity.seed", "link.key", "fleet.db")}
        self.assertEqual(modes, {"identity.seed": (0o600, 0), "link.key": (0o400, 65534), "fleet.db": (0o600, 0)})
        self.assertIn("enrolled already", self.enroll(expect=1))
        first = text.split("host: ")[1].split()[0]
        self.assertEqual(self.enroll("--again").split("host: ")[1].split()[0], first)  # the identity stays

    def test_another_ca_is_refused(self):
        other = Authority(self.folder, "other")
        self.assertIn("not of the given CA", self.enroll(expect=1, ca=other.ca))
        self.assertEqual(self.server.enrolments, [])
        self.enroll()  # and a second try is a first one

    def files(self):
        found = {}
        for name in sorted(os.listdir(self.state)):
            if not name.startswith(("fleet.db", "runner.lock")):
                with open(os.path.join(self.state, name), "rb") as f:
                    found[name] = f.read()
        return found

    def test_one_that_is_refused_leaves_the_one_before_as_it_was(self):
        self.enroll()
        before = self.files()
        other = Authority(self.folder, "other")
        self.enroll("--again", expect=1, ca=other.ca)
        self.server.enrols = 403
        self.enroll("--again", expect=1)
        self.assertEqual(self.files(), before)

    def test_one_whose_answer_was_lost_asks_again_with_the_same_keys(self):
        """The server knows a host by both, and refuses a name that other keys enrolled."""
        self.server.enrols = 500
        self.enroll(expect=1)
        self.server.enrols = 200
        self.enroll()
        self.enroll("--again")
        self.assertEqual(len({(statement["link_key"], body["statement"]["key"]) for body, statement in self.server.enrolments}), 1)
        with open(os.path.join(self.state, "link.key"), "w") as f:
            f.write("half a")
        self.enroll("--again")
        key = rig.run("openssl", "pkey", "-in", os.path.join(self.state, "link.key"), "-pubout")
        self.assertEqual(key, rig.run("openssl", "x509", "-in", os.path.join(self.state, "link.crt"), "-noout", "-pubkey"))

    def test_another_user_holds_the_connection_later(self):
        self.enroll()
        with open(self.config, "w") as f:
            f.write("[fleet]\nlink-user = daemon\n[log]\njournal = no\n")
        self.start()
        self.host()
        self.assertEqual(os.stat("/proc/%d" % self.children("link")[0]).st_uid, os.stat(os.path.join(self.state, "link.key")).st_uid)


class Link(Case):
    def test_an_order_through_all_of_it(self):
        self.server.heartbeat = 5
        self.enroll()
        self.start()
        host = self.host()
        ref = host.hello["host"]
        document = self.fleet.order([ref], "script.run", {"argv": ["/bin/echo", "hello"], "timeout": 5, "output": 100})
        bundle, digest = self.fleet.bundle(document, 0)
        host.send("bundle", bundle)
        self.assertEqual(open_envelope(host.read("ack"), "ack")["verdict"], "accepted")
        result = open_envelope(host.read("result"), "result")
        self.assertEqual((result["order_sha256"], base64.b64decode(result["output"])), (digest, b"hello\n"))
        host.send("ping", None)
        host.read("pong")
        host.read("ping")  # it says something every heartbeat
        status = json.loads(subprocess.run([PORTCULLIS, "status", "--json", "--state", os.path.dirname(self.state)], capture_output=True).stdout or b"{}")
        self.assertEqual(status, {})  # the folder is not called fleet
        os.symlink(self.state, self.path("fleet"))
        status = json.loads(subprocess.run([PORTCULLIS, "status", "--json", "--state", self.folder], capture_output=True).stdout)
        self.assertEqual((status["active"], status["fleet"]["connected"], status["fleet"]["host"]), (False, True, ref))

    def test_link_is_nobody_and_may_do_nothing_else(self):
        self.enroll()
        self.start()
        self.host()
        link = self.children("link")[0]
        with open("/proc/%d/status" % link) as f:
            facts = dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)
        self.assertEqual((facts["Uid"].split(), facts["Seccomp"], facts["NoNewPrivs"], int(facts["CapEff"], 16)), (["65534"] * 4, "2", "1", 0))

    def test_parts_that_are_killed_come_back(self):
        self.enroll()
        self.start()
        self.host()
        os.kill(self.children("link")[0], signal.SIGKILL)
        self.host(2)
        os.kill(self.children("runner")[0], signal.SIGKILL)
        host = self.host(3)
        self.assertEqual(host.hello["host"].split("#")[0], "web1")

    def test_a_server_that_goes_silent_is_left(self):
        self.server.heartbeat = 1
        self.enroll()
        self.start()
        self.host()  # says nothing after welcome: after three heartbeats of one second the host tries again
        self.host(2)
        self.assertIn("nothing heard for three heartbeats", self.log())

    def test_garbage_from_the_server(self):
        self.enroll()
        self.start()
        self.host().tls.sendall(b"\xff" * 64)
        self.host(2).tls.sendall(struct.pack(">IB", 2, FRAMES["hello"]) + b"x")
        self.host(3)

    def statement(self, authority, server, signers, version=1):
        with open(authority.ca) as f:
            document = json.dumps({"portcullis": "server/1", "tenant": "city", "version": version, "url": server.url(),
                                   "link": "127.0.0.1:%d" % server.link_port, "ca": f.read(), "created": moment(time.time())}).encode()
        return json.dumps(self.fleet.envelope(document, signers, "server@portcullis")).encode()

    def test_a_server_rebuilt_elsewhere_needs_the_quorum(self):
        self.enroll()
        ports = self.server.api_port, self.server.link_port
        self.server.close()
        elsewhere = Authority(self.folder, "elsewhere")
        self.server = self.serve(elsewhere, *ports)
        self.server.files["/v1/server-statement"] = self.statement(elsewhere, self.server, self.fleet.owners[:1])
        self.start()
        until = time.monotonic() + 30
        while "check quorum: server statement" not in self.log():
            self.assertLess(time.monotonic(), until, self.log())
            time.sleep(0.1)
        self.assertEqual(self.server.hosts, [])
        self.end()
        self.server.files["/v1/server-statement"] = self.statement(elsewhere, self.server, self.fleet.owners[:2])
        self.start()
        self.host()
        self.assertIn("the owners' statement 1 is followed", self.log())

    def test_trust_replaced_by_order(self):
        self.enroll()
        self.start()
        host = self.host()
        trust = dict(self.fleet.trust, version=2, dwell=1)
        document = json.dumps(trust).encode()
        self.server.files["/v1/trust"] = json.dumps(self.fleet.envelope(document, self.fleet.owners[1:], "trust@portcullis")).encode()
        order = self.fleet.order([host.hello["host"]], "trust.replace", {"sha256": sha256(document)})
        host.send("bundle", self.fleet.bundle(order, 0)[0])
        result = open_envelope(host.read("result"), "result")
        self.assertEqual((result["outcome"], base64.b64decode(result["output"])), ("ok", b"trust file version 2 is pinned"))

    def test_a_trust_file_that_names_another_log(self):
        """Its proofs start at nothing; what was seen of the old one is forgotten, and is no evidence against it."""
        self.enroll()
        self.start()
        host = self.host()
        order = self.fleet.order([host.hello["host"]], "script.run", {"argv": ["/bin/true"], "timeout": 5, "output": 100})
        host.send("bundle", self.fleet.bundle(order, 0)[0])
        self.assertEqual(open_envelope(host.read("result"), "result")["outcome"], "ok")
        self.fleet.log = Log("newlog.test")
        trust = json.dumps(dict(self.fleet.trust, version=2, log=self.fleet.log.vkey())).encode()
        host.send("trust", self.fleet.envelope(trust, self.fleet.owners[1:], "trust@portcullis"))
        for n, size in ((2, 0), (3, 1)):
            host = self.host(n)
            self.assertEqual(host.hello["checkpoint_size"], size)
            order = self.fleet.order([host.hello["host"]], "script.run", {"argv": ["/bin/true"], "timeout": 5, "output": 100})
            bundle, digest = self.fleet.bundle(order, size)
            host.send("bundle", bundle)
            while True:
                result = open_envelope(host.read("result"), "result")
                if result["order_sha256"] == digest:
                    break
            self.assertEqual(result["outcome"], "ok")
            os.kill(self.children("runner")[0], 9)
        self.assertNotIn("split-log", self.log())

    def test_stop_file_with_no_server(self):
        self.enroll()
        self.start()
        ref = self.host().hello["host"]
        self.server.close()
        os.symlink(self.state, self.path("fleet"))
        document = self.fleet.order([ref], "rollout.halt", {"order_sha256": "ab" * 32}, class_="S")
        with open(self.path("stop.json"), "wb") as f:
            f.write(document)
        apply = [PORTCULLIS, "apply-stop", self.path("stop.json"), "--state", self.folder]
        done = subprocess.run(apply, capture_output=True, text=True)
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assertIn("check quorum", done.stderr)
        with open(self.path("stop.json.carol.sig"), "w") as f:
            f.write(self.fleet.owners[2].sign(document, "order@portcullis"))
        done = subprocess.run(apply, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout.split(":")[0]), (0, "accepted"), done.stderr)
        self.assertIn("accepted before", subprocess.run(apply, capture_output=True, text=True).stdout)
        self.assertIn("is halted", self.log())


class Upgrade(Case):
    def newer(self, path, version, fault=(b"", b"")):
        """This very program with another version in it, which is as long; and perhaps with a fault, as long too."""
        old = rig.run(PORTCULLISD, "--version").split()[1]
        with open(PORTCULLISD, "rb") as f:
            program = f.read()
        self.assertIn(b"portcullisd %s" % old.encode(), program)
        with open(path, "wb") as f:
            program = program.replace(b"portcullisd %s" % old.encode(), b"portcullisd %s" % version.encode())
            program = program.replace(b"\0%s\0" % old.encode(), b"\0%s\0" % version.encode())
            f.write(program.replace(*fault) if fault[0] else program)
        with open(path, "rb") as f:
            return f.read()

    def upgrade(self, host, version, digest, answer=None):
        """answer: the connection on which the result is awaited; a new program brings it along on its own."""
        order = self.fleet.order([host.hello["host"]], "agent.upgrade", {"version": version, "sha256": digest, "url_path": "/files/portcullisd"})
        bundle, order_sha256 = self.fleet.bundle(order, host.hello["checkpoint_size"])
        host.send("bundle", bundle)
        host = answer() if answer else host
        result = {}
        while result.get("order_sha256") != order_sha256:
            result = open_envelope(host.read("result"), "result")
        return result["outcome"], base64.b64decode(result["output"]).decode()

    def setUp(self):
        super().setUp()
        os.mkdir(self.path("bin"), 0o755)
        self.program = self.path("bin/portcullisd")
        shutil.copy(PORTCULLISD, self.program)
        with open(self.config, "a") as f:
            f.write("[fleet]\nupgrade-wait = 2s\n")
        self.enroll()
        self.start()

    def test_only_to_what_was_signed_and_only_upwards(self):
        host = self.host()
        program = self.newer(self.path("newer"), "0.9.0")
        self.server.files["/files/portcullisd"] = program + b"one byte more"
        outcome, text = self.upgrade(host, "0.9.0", sha256(program))
        self.assertEqual(outcome, "failed", text)
        self.assertIn("not the one that the owners signed", text)
        host.hello["checkpoint_size"] = 1
        self.assertEqual(self.upgrade(host, "0.0.9", sha256(program))[0], "refused")
        host.hello["checkpoint_size"] = 2
        self.server.files["/files/portcullisd"] = program
        pid = self.process.pid
        outcome, text = self.upgrade(host, "0.9.0", sha256(program), lambda: self.host(3))
        self.assertEqual(outcome, "ok", text)
        self.assertEqual([self.host(n).hello["agent"] for n in (2, 3)], ["0.9.0", "0.9.0"])  # its trial, and then for good
        self.assertEqual(rig.run(self.program, "--version"), "portcullisd 0.9.0\n")
        self.assertEqual(rig.run(self.program + ".previous", "--version"), rig.run(PORTCULLISD, "--version"))
        self.assertFalse(os.path.exists(self.program + ".new"))
        self.assertEqual((self.process.pid, self.process.poll()), (pid, None))  # the same process: systemd sees no restart

    def script(self, text):
        """A program that calls itself 0.9.0; whatever else is asked of it, it notes down and does this."""
        return b"#!/bin/sh\ncase $1 in --version) echo portcullisd 0.9.0; exit;; esac\necho \"$1\" >>%s\n%s\n" % (self.path("trials").encode(), text.encode())

    def fails(self, program, reason, connection=2):
        """One that does not come up: the old one goes on, and says why."""
        self.server.files["/files/portcullisd"] = program
        host = self.host()
        outcome, text = self.upgrade(host, "0.9.0", sha256(program), lambda: self.host(connection))
        self.assertEqual(outcome, "failed", text)
        self.assertIn(reason, text)
        back = self.host(connection)
        self.assertEqual(back.hello["agent"], rig.run(PORTCULLISD, "--version").split()[1])
        self.assertEqual(rig.run(self.program, "--version"), rig.run(PORTCULLISD, "--version"))
        self.assertEqual(sorted(os.listdir(self.path("bin"))), ["portcullisd"])
        self.assertIn(reason, self.log())
        self.assertEqual(self.log().count("trying the new program"), 1)
        self.assertIn(rig.lines(self.path("trials")), ([], ["host"]))
        back.hello["checkpoint_size"] = 1  # and it works: the same host takes the next order
        document = self.fleet.order([back.hello["host"]], "script.run", {"argv": ["/bin/echo", "still here"], "timeout": 5, "output": 100})
        bundle, digest = self.fleet.bundle(document, 1)
        back.send("bundle", bundle)
        result = {}
        while result.get("order_sha256") != digest:
            result = open_envelope(back.read("result"), "result")
        self.assertEqual(base64.b64decode(result["output"]), b"still here\n")

    def test_one_that_ends_at_once(self):
        self.fails(self.script("exit 3"), "it ended with status 3;")

    def test_one_that_crashes(self):
        self.fails(self.script("kill -SEGV $$"), "it was ended by signal 11;")

    def test_one_that_hangs_and_will_not_end(self):
        self.fails(self.script("trap '' TERM; while :; do sleep 1; done"), "it was not connected to the server within 2 s;")

    def test_one_whose_runner_does_not_start(self):
        self.fails(self.newer(self.path("newer"), "0.9.0", (b"runner.lock\0", b"run/er.lock\0")), "it ended with status 1;")

    def test_one_whose_link_never_connects(self):
        self.fails(self.newer(self.path("newer"), "0.9.0", (b"\0link.crt\0", b"\0link.crx\0")), "it was not connected to the server within 2 s;")

    def test_a_host_killed_during_the_trial(self):
        self.server.files["/files/portcullisd"] = program = self.script("exec sleep 60")
        host = self.host()

        def killed():
            until = time.monotonic() + 20
            while not rig.lines(self.path("trials")):
                self.assertLess(time.monotonic(), until, self.log())
                time.sleep(0.02)
            self.process.kill()
            self.process.wait()
            self.start()
            return self.host(2)
        outcome, text = self.upgrade(host, "0.9.0", sha256(program), killed)
        self.assertEqual(outcome, "failed", text)
        self.assertIn("the host ended before its trial was over", text)
        self.assertEqual(rig.lines(self.path("trials")), ["host"])  # not tried again
        self.assertEqual(sorted(os.listdir(self.path("bin"))), ["portcullisd"])


if __name__ == "__main__":
    rig.main()
