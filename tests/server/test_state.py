#!/usr/bin/env python3
"""What the server keeps: over restarts, kill -9, full disks, backups; trust files, revocations and certificates that change under it.

`test_state.py --disk-full` is the part that needs a file system of its own; the test runs itself so in a mount namespace (root).
"""
import base64
import hashlib
import json
import os
import random
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import fleet
from fleet import Fleet, Host, Server, consistent, envelope, leaf_hash, order_document, tree_root, trust_document, until


class Keeping(unittest.TestCase):
    def test_a_restart_keeps_everything(self):
        with Fleet(heartbeat=20) as f:
            a, away = f.host("a"), f.host("away", connect=False)
            done, _ = f.order([a])
            a.bundle()
            a.ack(done)
            a.result(done, output=b"x")
            open_one, _ = f.order([away])
            waiting, _ = f.order([away], owners=f.owners[:1])
            until(lambda: f.server.get("/v1/orders/" + done)["state"] == "done")
            before = f.server.log()
            a.close()
            self.assertEqual(f.server.stop(), 0)
            f.server.start()
            self.assertEqual(f.server.log()[:len(before)], before)
            self.assertEqual(f.server.get("/v1/orders/" + done)["hosts"][0]["state"], "ok")
            self.assertEqual([h["name"] for h in f.server.get("/v1/hosts")], ["a", "away"])
            doc = base64.b64decode(f.server.get("/v1/orders/" + waiting)["document"])
            self.assertEqual(f.server.post("/v1/orders", envelope(doc, f.owners[2:]))["state"], "ready")
            away.connect()
            self.assertEqual({away.bundle()[0], away.bundle()[0]}, {open_one, waiting})
            away.close()
            a.connect()  # its proof of consistency starts where it was
            a.close()

    def test_the_log_is_signed_again_when_nothing_happens(self):
        with Fleet(heartbeat=2) as f:
            first = fleet.open_note(f.server.get("/log/checkpoint").decode(), f.server.vkey)
            second = until(lambda: (n := fleet.open_note(f.server.get("/log/checkpoint").decode(), f.server.vkey))[2] > first[2] and n)
            self.assertEqual(first[:2], second[:2])
            a = f.host("a")
            kind, body = a.read()
            while kind != "checkpoint":
                kind, body = a.read()
            a.accept_checkpoint(body)
            a.close()

    def test_tiles_are_the_log(self):
        with Fleet(heartbeat=20) as f:
            for i in range(5):
                f.host(f"h{i}", connect=False)
            log = f.server.log()
            size, _, _ = fleet.open_note(f.server.get("/log/checkpoint").decode(), f.server.vkey)
            raw = f.server.get(f"/log/tile/entries/000.p/{size}", role=None)
            entries = []
            while raw:
                n = int.from_bytes(raw[:2], "big")
                entries.append(raw[2:2 + n])
                raw = raw[2 + n:]
            self.assertEqual([json.loads(e) for e in entries], log)
            self.assertEqual(f.server.get(f"/log/tile/0/000.p/{size}", role=None), b"".join(leaf_hash(e) for e in entries))

    def test_what_was_acknowledged_survives_kill_9(self):
        with Fleet(heartbeat=20) as f:
            token = [f.server.enroll_token() for _ in range(200)]
            acknowledged, sizes, lock = [], [], threading.Lock()
            stop = threading.Event()

            def enroll(n):
                while not stop.is_set() and token:
                    host = Host(f.server, f"h{n}-{len(token)}")
                    try:
                        host.enroll(token.pop())
                    except Exception:  # the server is dead, which is the point
                        time.sleep(0.02)
                        continue
                    with lock:
                        acknowledged.append(host.ref)
            threads = [threading.Thread(target=enroll, args=(n,)) for n in range(4)]
            f.server.token("look")
            for t in threads:
                t.start()
            for _ in range(6):
                time.sleep(random.uniform(0.05, 0.4))
                f.server.stop(signal.SIGKILL)
                f.server.start()
                log = f.server.get("/log/checkpoint").decode()
                sizes.append(fleet.open_note(log, f.server.vkey)[:2])
            stop.set()
            for t in threads:
                t.join()
            entries = f.server.log()
            raw = [base64.b64decode(e["entry"]) for i in range(0, len(entries), 256) for e in f.server.get(f"/v1/entries?from={i}")]
            for size, root in sizes:
                self.assertEqual(tree_root([leaf_hash(e) for e in raw[:size]]), root)
            logged = [json.loads(base64.b64decode(e["body"]["envelope"]["document"])) for e in entries if e["type"] == "enroll"]
            names = [d["host"] for d in logged]
            self.assertEqual(len(names), len(set(names)))
            known = {f'{h["name"]}#{h["id"]}' for h in f.server.get("/v1/hosts")}
            self.assertGreater(len(acknowledged), 5)
            self.assertLessEqual(set(acknowledged), known)
            self.assertEqual({r.split("#")[0] for r in known}, set(names))

    def test_backup_while_it_runs_and_restore_elsewhere(self):
        with Fleet(heartbeat=20) as f:
            a = f.host("a")
            sha, _ = f.order([a])
            a.bundle()
            a.ack(sha)
            a.result(sha)
            a.close()
            path = os.path.join(f.folder, "backup.tar")
            f.server.token("look")
            f.server.command("backup", "--state", f.server.state, path)
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
            self.assertNotEqual(f.server.command("backup", "--state", f.server.state, path, ok=False).returncode, 0)
            names = subprocess.run(["tar", "-tf", path], capture_output=True, text=True, check=True).stdout.split()
            self.assertIn("server.db", names)
            entries = f.server.log()
            f.server.stop()
            new = os.path.join(f.folder, "restored")
            f.server.command("restore", "--state", new, path)
            self.assertEqual(os.stat(os.path.join(new, "log.key")).st_mode & 0o777, 0o600)
            self.assertNotEqual(f.server.command("restore", "--state", new, path, ok=False).returncode, 0)
            f.server.state = new
            f.server.start()
            self.assertEqual(f.server.log()[:len(entries)], entries)
            a.connect()
            a.close()

    def test_a_damaged_backup_is_refused(self):
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, "b")
            with open(path, "wb") as out:
                out.write(os.urandom(2048))
            p = subprocess.run([fleet.SERVER, "restore", "--state", os.path.join(d, "new"), path], capture_output=True, text=True, timeout=60)
            self.assertEqual(p.returncode, 1)

    def test_init_keeps_what_is_there(self):
        with Fleet() as f:
            with open(os.path.join(f.server.state, "log.key")) as k:
                key = k.read()
            p = f.server.command("init", "--state", f.server.state, "--tenant", "x", "--listen", ":1", "--link", ":2", ok=False)
            self.assertEqual(p.returncode, 1)
            self.assertIn("already", p.stderr)
            with open(os.path.join(f.server.state, "log.key")) as k:
                self.assertEqual(k.read(), key)
            for name in ("log.key", "ca.key", "server.key", "server.conf"):
                self.assertEqual(os.stat(os.path.join(f.server.state, name)).st_mode & 0o777, 0o600)
            p = f.server.command("run", "--state", f.server.state, ok=False)
            self.assertEqual(p.returncode, 1)
            self.assertIn("another server", p.stderr)

    def test_usage(self):
        for args in ((), ("nonsense",), ("init",), ("run", "--nonsense"), ("api-token", "--state", "x"), ("api-token", "--state", "/x", "n", "--role", "root"),
                     ("enroll-token", "--state", "/x", "--hours", "0"), ("backup", "--state", "/x")):
            p = subprocess.run([fleet.SERVER, *args], capture_output=True, text=True, timeout=60)
            self.assertEqual(p.returncode, 2, args)
        p = subprocess.run([fleet.SERVER, "run", "--state", "/nonexistent"], capture_output=True, text=True, timeout=60)
        self.assertEqual(p.returncode, 78)
        self.assertEqual(subprocess.run([fleet.SERVER, "-h"], capture_output=True, timeout=60).returncode, 0)

    def test_bad_settings_are_refused(self):
        with Fleet() as f:
            f.server.stop()
            for key, value in (("heartbeat", "0"), ("nonsense", "1"), ("connections", "many")):
                path = os.path.join(f.server.state, "server.conf")
                with open(path) as c:
                    good = c.read()
                f.server.set(key, value)
                p = f.server.command("run", "--state", f.server.state, ok=False)
                self.assertEqual(p.returncode, 78)
                self.assertIn(key, p.stderr)
                with open(path, "w") as c:
                    c.write(good)
            f.server.start()


class Owners(unittest.TestCase):
    def setUp(self):
        self.f = Fleet(heartbeat=20)

    def tearDown(self):
        self.f.close()

    def test_another_trust_file_needs_the_quorum(self):
        f = self.f
        a = f.host("a")
        new = trust_document(f.owners[:2], f.server.vkey, version=2)
        status, answer = f.server.call("POST", "/v1/trust", envelope(new, f.owners[:1], "trust@portcullis"))
        self.assertEqual((status, answer["error"]), (422, "quorum"))
        status, answer = f.server.call("POST", "/v1/trust", envelope(new, f.owners[:2], "order@portcullis"))
        self.assertEqual((status, answer["error"]), (422, "signature"))
        status, answer = f.server.call("POST", "/v1/trust", envelope(trust_document(f.owners, f.server.vkey, dwell=9), f.owners, "trust@portcullis"))
        self.assertEqual((status, answer["error"]), (422, "version"))
        f.server.post("/v1/trust", envelope(new, f.owners[:2], "trust@portcullis"))
        self.assertEqual(base64.b64decode(a.wait("trust")["document"]), new)
        doc = order_document([a.ref], 1)
        status, answer = f.server.call("POST", "/v1/orders", envelope(doc, f.owners[1:]))
        self.assertEqual((status, answer["error"]), (422, "signature"))
        a.close()
        a.connect()  # and whoever was away gets it too
        self.assertEqual(base64.b64decode(a.wait("trust")["document"]), new)
        a.close()
        entries = [e for e in f.server.log() if e["type"] == "trust"]
        self.assertEqual(len(entries), 2)
        # Who signed it stands in the log, not only in the database.
        signed = entries[1]["body"]
        self.assertEqual(signed["texts"], [o.sign(new, "trust@portcullis") for o in f.owners[:2]])
        self.assertEqual([hashlib.sha256(t.encode()).hexdigest() for t in signed["texts"]], signed["signatures"])

    def test_what_has_no_room_in_an_entry_comes_in_parts(self):
        f = self.f
        a = f.host("a")
        script = os.urandom(44000)
        doc = order_document([a.ref], 1, params={"script": base64.b64encode(script).decode(), "sha256": hashlib.sha256(script).hexdigest(),
                                                 "interpreter": ["/bin/sh"], "timeout": 60, "output": 0})
        signed = envelope(doc, f.owners[:2])
        f.server.post("/v1/orders", signed)
        self.assertEqual(a.bundle()[0], hashlib.sha256(doc).hexdigest())
        log = f.server.log()
        at = [e["type"] for e in log].index("order")
        self.assertNotIn("document", log[at]["body"])
        parts = [e["body"] for e in log[:at] if e["type"] == "part"]
        self.assertEqual([(p["part"], p["parts"], p["sha256"]) for p in parts], [(i, len(parts), hashlib.sha256(doc).hexdigest()) for i in range(len(parts))])
        self.assertEqual([e["type"] for e in log[at - len(parts):at]], ["part"] * len(parts))
        self.assertEqual(json.loads(b"".join(base64.b64decode(p["data"]) for p in parts)), signed)
        a.close()

    def test_from_the_command_line_under_a_running_server(self):
        f = self.f
        new = trust_document(f.owners, f.server.vkey, version=2, dwell=60)
        sha = f.server.install_trust(new, f.owners[:2])
        until(lambda: hashlib.sha256(base64.b64decode(f.server.get("/v1/trust", role=None)["document"])).hexdigest() == sha)
        with self.assertRaisesRegex(AssertionError, "quorum"):
            f.server.install_trust(trust_document(f.owners, f.server.vkey, version=3), f.owners[:1])
        f.server.log()

    def test_a_revoked_key_counts_no_more(self):
        f = self.f
        a = f.host("a")
        out = subprocess.run(["ssh-keygen", "-lf", f.owners[0].path + ".pub"], capture_output=True, text=True, check=True).stdout
        doc = json.dumps({"portcullis": "revoke/1", "tenant": fleet.TENANT, "owner": "alice", "key": out.split()[1], "created": fleet.now_text(),
                          "reason": "lost"}).encode()
        self.assertEqual(f.server.call("POST", "/v1/revoke", envelope(doc, f.owners[1:2], "revoke@portcullis"))[0], 422)
        f.server.post("/v1/revoke", envelope(doc, f.owners[:1], "revoke@portcullis"))
        self.assertEqual(base64.b64decode(a.wait("revoke")["document"]), doc)
        sha, answer = f.order([a], owners=f.owners[:2])
        self.assertEqual((answer["state"], answer["approvals"]), ("waiting", 1))
        f.server.stop()
        f.server.start()
        a.connect()
        self.assertEqual(base64.b64decode(a.wait("revoke")["document"]), doc)
        doc = base64.b64decode(f.server.get("/v1/orders/" + sha)["document"])
        self.assertEqual(f.server.post("/v1/orders", envelope(doc, f.owners[2:]))["state"], "ready")
        a.close()

    def test_where_the_server_is(self):
        f = self.f
        with open(os.path.join(f.server.state, "ca.pem")) as ca:
            doc = json.dumps({"portcullis": "server/1", "tenant": fleet.TENANT, "version": 1, "url": "https://example.org:7443", "link": "example.org:7444",
                              "ca": ca.read(), "created": fleet.now_text()}).encode()
        self.assertEqual(f.server.call("POST", "/v1/server-statement", envelope(doc, f.owners[:1], "server@portcullis"))[0], 422)
        a = f.host("a")
        f.server.post("/v1/server-statement", envelope(doc, f.owners[:2], "server@portcullis"))
        self.assertEqual(base64.b64decode(a.wait("server")["document"]), doc)
        self.assertEqual(base64.b64decode(f.server.get("/v1/server-statement", role=None)["document"]), doc)
        a.close()

    def test_witnesses(self):
        f = self.f
        key = fleet.Key()
        name = "witness.example"
        key_id = hashlib.sha256(name.encode() + b"\n\4" + key.public).digest()[:4]
        vkey = f"{name}+{key_id.hex()}+{fleet.b64(bytes([4]) + key.public)}"
        new = trust_document(f.owners, f.server.vkey, version=2, witnesses=[vkey], witnesses_needed=1)
        a = f.host("a")
        f.server.post("/v1/trust", envelope(new, f.owners[:2], "trust@portcullis"))
        sha, _ = f.order([a])
        f.server.post("/v1/looks", {"hosts": ["a"], "action": "metrics", "params": {}}, role="look")
        a.wait("look")
        self.assertNotIn("bundle", a.frames)  # not before a witness has seen the log with the order in it

        def cosign(key=key):
            note = f.server.get("/log/checkpoint", role=None).decode()
            text = note.split("\n\n")[0] + "\n"
            when = int(time.time())
            signature = key.sign(f"cosignature/v1\ntime {when}\n{text}".encode())
            line = f"\u2014 {name} {fleet.b64(key_id + when.to_bytes(8, 'big') + signature)}\n"
            return f.server.call("POST", "/v1/cosignatures", (note + line).encode(), role=None)
        status, answer = cosign(fleet.Key())
        self.assertEqual((status, answer["error"]), (400, "cosignature"))
        got = []

        def until_bundle():
            while not got:
                cosign()
                time.sleep(0.3)
        thread = threading.Thread(target=until_bundle)
        thread.start()
        try:
            got.append(a.bundle()[0])
        finally:
            got.append(None)
            thread.join()
        self.assertEqual(got[0], sha)
        a.close()

    def test_a_new_certificate(self):
        f = self.f
        with open(os.path.join(f.server.state, "server.pem")) as c:
            before = c.read()
        f.server.command("cert", "--state", f.server.state, "--name", "portcullis.example")
        f.server.process.send_signal(signal.SIGHUP)

        def served():
            return ssl.get_server_certificate(("127.0.0.1", f.server.api_port))
        until(lambda: served().strip() not in before)
        f.host("after").close()


class Full(unittest.TestCase):
    def test_a_full_disk(self):
        if os.geteuid() != 0:
            self.skipTest("a file system of a fixed size needs root")
        p = subprocess.run(["unshare", "-m", sys.executable, "-W", "ignore", __file__, "--disk-full"], capture_output=True, text=True, timeout=120)
        self.assertEqual(p.returncode, 0, p.stdout + p.stderr)


def disk_full():
    """In a mount namespace of its own."""
    mount = tempfile.mkdtemp(prefix="pc-full-")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", mount], check=True)
    os.environ["TMPDIR"] = tempfile.tempdir = mount
    with Fleet(heartbeat=2) as f:
        a = f.host("a")
        sha, _ = f.order([a])
        a.bundle()
        a.ack(sha)
        ballast = os.path.join(mount, "ballast")
        with open(ballast, "wb") as out:
            try:
                while True:
                    out.write(bytes(1 << 16))
                    out.flush()
            except OSError:
                pass
        a.result(sha, output=b"y" * 200000, wait=False)
        a.send("ping")
        status, answer = until(lambda: (s := f.server.call("GET", "/healthz", role=None))[0] == 503 and s)
        assert "No space" in answer["text"], answer
        body = envelope_in_memory(f, a)
        status, answer = f.server.call("POST", "/v1/orders", body)
        assert (status, answer["error"]) == (507, "disk-full"), (status, answer)
        os.unlink(ballast)
        until(lambda: f.server.call("GET", "/healthz", role=None)[0] == 200)
        a.result(sha, output=b"y" * 200000)  # what a host does that got no `got`
        f.server.post("/v1/orders", body)
        assert [e["type"] for e in f.server.log()].count("result") == 1
        a.close()
    subprocess.run(["umount", mount], check=True)
    os.rmdir(mount)


def envelope_in_memory(f, host):
    """Signing needs a little disk: elsewhere."""
    tempfile.tempdir = "/dev/shm"
    f.sequence += 1
    return envelope(order_document([host.ref], f.sequence), f.owners[:2])


if __name__ == "__main__":
    if "--disk-full" in sys.argv:
        disk_full()
    else:
        unittest.main(argv=sys.argv[:1], verbosity=2)
