#!/usr/bin/env python3
"""Orders against a real runner: what starts, what is refused and with which word, what is told."""
import base64
import json
import os
import socket
import threading
import time

import rig
from fleet import Fleet, HostKey, Log, Owner, moment, sha256


class Refusals(rig.Case):
    def refused(self, runner, document, word, **more):
        _, ack = runner.deliver(document, **more)
        self.assertEqual((ack["verdict"], ack["why"]), ("refused", word), ack["text"])
        self.assertIn("check %s" % word, runner.log_text())

    def test_each_check_refuses_with_its_own_word(self):
        runner = self.host()
        touch = "touch %s" % self.path("ran")
        now = time.time()
        stranger = Owner(self.folder, "mallory")
        self.refused(runner, self.script(runner, touch), "quorum", signers=self.fleet.owners[:1])
        self.refused(runner, self.script(runner, touch), "quorum", signers=[])
        self.refused(runner, self.script(runner, touch), "signature", signers=self.fleet.owners[:1] + [stranger])
        self.refused(runner, self.script(runner, touch, tenant="village"), "tenant")
        self.refused(runner, self.script(runner, touch, hosts=["web2#" + runner.ref.split("#")[1]]), "not-me")
        self.refused(runner, self.script(runner, touch, hosts=["web1#" + "0" * 32]), "not-me")
        self.refused(runner, self.script(runner, touch, count=2), "count")
        self.refused(runner, self.script(runner, touch, class_="S"), "class")
        self.refused(runner, self.script(runner, touch, expires=moment(now - 10)), "expired")
        self.refused(runner, self.script(runner, touch, not_before=moment(now + 900)), "future")
        self.refused(runner, self.script(runner, touch, expires=moment(now + 40 * 86400)), "window")
        self.refused(runner, self.script(runner, touch), "log", logged=False)
        self.refused(runner, self.script(runner, touch, hosts=[runner.ref] + ["h%d#%032x" % (i, i) for i in range(10)]), "cap")
        self.assertFalse(os.path.exists(self.path("ran")))
        _, ack = runner.deliver(self.script(runner, touch))
        self.assertEqual(ack["verdict"], "accepted")
        self.refused(runner, self.script(runner, touch, sequence=1 << 40), "sequence-gap")
        self.refused(runner, self.script(runner, touch, sequence=1), "sequence")

    def test_one_owner_twice_is_one_owner(self):
        runner = self.host()
        document = self.script(runner, "true")
        alice = self.fleet.owners[0]
        bundle, digest = self.fleet.bundle(document, 0, [alice, alice])
        runner.send("bundle", bundle)
        # The same Ed25519 signature twice is malformed already; either way nothing runs.
        self.assertTrue(runner.wait("event", lambda e: e["kind"] == "refused"))
        self.assertNotIn("start: order %s" % digest[:12], runner.log_text())

    def test_changed_by_one_byte(self):
        runner = self.host()
        document = self.script(runner, "touch %s" % self.path("ran"))
        bundle, _ = self.fleet.bundle(document, 0)
        changed = document.replace(b"touch", b"touCh")
        bundle["order"]["document"] = base64.b64encode(changed).decode()
        runner.send("bundle", bundle)
        ack = runner.wait("ack")
        self.assertEqual((ack["verdict"], ack["order_sha256"]), ("refused", sha256(changed)))

    def test_another_history_is_evidence(self):
        runner = self.host()
        runner.deliver(self.script(runner, "true"))
        true_log, key = self.fleet.log, self.fleet.log.key
        self.fleet.log = Log()
        self.fleet.log.key = key
        for i in range(3):
            self.fleet.log.add(b"another history %d" % i)
        _, ack = runner.deliver(self.script(runner, "touch %s" % self.path("ran")))
        self.assertEqual(ack["why"], "consistency")
        runner.stop()
        text = rig.run("sqlite3", os.path.join(runner.folder, "fleet.db"), "select ours, theirs from evidence")
        self.assertEqual(text.count("log.test\n"), 2)
        self.assertIn(true_log.note(size=1).split("\n")[2], text)
        self.assertFalse(os.path.exists(self.path("ran")))


class Runs(rig.Case):
    def test_output_exit_and_environment(self):
        runner = self.host()
        digest, ack = runner.deliver(self.script(runner, "echo out; echo err >&2; env | sort; test ! -t 0; cat; exit 7"))
        self.assertEqual(ack["verdict"], "accepted")
        result = runner.result(digest)
        output = base64.b64decode(result["output"])
        self.assertEqual((result["outcome"], result["exit"], result["run"], result["truncated"]), ("failed", 7, 1, False))
        self.assertIn(b"out\nerr\n", output)
        self.assertEqual(sorted(line.split(b"=")[0] for line in output.split(b"\n") if b"=" in line), [b"HOME", b"LANG", b"PATH", b"PORTCULLIS_ORDER", b"PWD"])
        self.assertEqual(result["output_sha256"], sha256(output))

    def test_a_redelivery_gets_the_recorded_state(self):
        runner = self.host()
        document = self.script(runner, "echo once >>%s" % self.path("ran"))
        bundle, digest = self.fleet.bundle(document, 0)
        runner.send("bundle", bundle)
        runner.wait("ack")
        runner.result(digest)
        for _ in range(3):
            runner.send("bundle", bundle)
            self.assertEqual(runner.wait("ack")["verdict"], "accepted")
            self.assertEqual(runner.result(digest)["outcome"], "ok")
        self.assertEqual(rig.lines(self.path("ran")), ["once"])

    def test_script_bytes_from_a_sealed_file(self):
        runner = self.host()
        script = b"echo \"$0\" >%s\nid -u\n" % self.path("ran").encode()
        params = {"script": base64.b64encode(script).decode(), "sha256": sha256(script), "interpreter": ["/bin/sh"], "timeout": 20, "output": 1000}
        digest, _ = runner.deliver(self.fleet.order([runner.ref], "script.run", params))
        result = runner.result(digest)
        self.assertEqual((result["outcome"], base64.b64decode(result["output"])), ("ok", b"0\n"))
        self.assertTrue(rig.lines(self.path("ran"))[0].startswith("/dev/fd/"))
        params["sha256"] = sha256(b"other")
        _, ack = runner.deliver(self.fleet.order([runner.ref], "script.run", params))
        self.assertEqual(ack["why"], "action")

    def test_another_user(self):
        runner = self.host()
        digest, _ = runner.deliver(self.script(runner, "id -un; id -G; grep NoNewPrivs /proc/self/status", params={"user": "nobody"}))
        self.assertEqual(base64.b64decode(runner.result(digest)["output"]), b"nobody\n65534\nNoNewPrivs:\t1\n")
        digest, _ = runner.deliver(self.script(runner, "true", params={"user": "nosuchuser"}))
        self.assertEqual(runner.result(digest)["outcome"], "failed")

    def test_timeout_ends_the_whole_group(self):
        runner = self.host()
        digest, _ = runner.deliver(self.script(runner, "setsid sleep 300 & (trap '' TERM; sleep 300) & sleep 300", timeout=1))
        result = runner.result(digest)
        self.assertEqual((result["outcome"], result["signal"]), ("timeout", 9))
        self.assert_no_group_left()

    def test_what_a_program_leaves_behind_ends_with_it(self):
        runner = self.host()
        digest, _ = runner.deliver(self.script(runner, "setsid sleep 300 >/dev/null 2>&1 & echo $!"))
        pid = int(base64.b64decode(runner.result(digest)["output"]))
        self.assertFalse(os.path.exists("/proc/%d" % pid) and "Z" not in open("/proc/%d/stat" % pid).read().split()[2])
        self.assert_no_group_left()

    def test_output_flood(self):
        runner = self.host()
        digest, _ = runner.deliver(self.script(runner, "yes", timeout=60, output=1000))
        result = runner.result(digest, 60)
        self.assertEqual((result["outcome"], result["truncated"], len(base64.b64decode(result["output"]))), ("failed", True, 1000))
        digest, _ = runner.deliver(self.script(runner, "head -c 300000 /dev/zero", output=1 << 20))
        result = runner.result(digest)
        self.assertEqual((result["outcome"], result["truncated"], len(base64.b64decode(result["output"]))), ("ok", True, 256 << 10))
        self.assertEqual(result["output_sha256"], sha256(b"\0" * 300000))

    def test_what_the_runner_is_worth_when_memory_runs_out_is_its_own(self):
        """The unit says -500, so that it is ended late; a program of an order is as everybody. (500 here: less takes a right that a container has not.)"""
        runner = self.host(wrap=["sh", "-c", "echo 500 >/proc/self/oom_score_adj; exec \"$@\"", "-"])
        digest, _ = runner.deliver(self.script(runner, "cat /proc/self/oom_score_adj"))
        self.assertEqual(base64.b64decode(runner.result(digest)["output"]), b"0\n")

    def test_no_such_program(self):
        runner = self.host()
        params = {"argv": ["/nowhere/program"], "timeout": 5, "output": 100}
        digest, _ = runner.deliver(self.fleet.order([runner.ref], "script.run", params))
        self.assertEqual(runner.result(digest)["outcome"], "failed")


class Waiting(rig.Case):
    def test_halt_before_the_start(self):
        self.fleet = Fleet(self.folder, owners=("dora", "emil", "frida"), dwell=3)
        runner = self.host()
        digest, ack = runner.deliver(self.script(runner, "touch %s" % self.path("ran")))
        self.assertEqual(ack["verdict"], "accepted")
        stop = self.fleet.order([runner.ref], "rollout.halt", {"order_sha256": digest}, class_="S", sequence=1)
        halted, ack = runner.deliver(stop, self.fleet.owners[2:], logged=False)
        self.assertEqual(ack["verdict"], "accepted")
        self.assertEqual(runner.result(halted)["outcome"], "ok")
        self.assertEqual(runner.result(digest)["outcome"], "halted")
        self.assertFalse(os.path.exists(self.path("ran")))

    def test_dwell_and_a_key_revoked_meanwhile(self):
        self.fleet = Fleet(self.folder, owners=("dora", "emil", "frida"), dwell=3)
        runner = self.host()
        digest, _ = runner.deliver(self.script(runner, "touch %s" % self.path("ran")))
        emil = self.fleet.owners[1]
        document = json.dumps({"portcullis": "revoke/1", "tenant": "city", "owner": "emil", "key": emil.fingerprint(), "created": moment(time.time()),
                               "reason": "lost"}).encode()
        runner.send("revoke", self.fleet.envelope(document, [emil], "revoke@portcullis"))
        result = runner.result(digest)
        self.assertEqual(result["outcome"], "refused")
        self.assertIn(b"check quorum", base64.b64decode(result["output"]))
        self.assertFalse(os.path.exists(self.path("ran")))
        runner.kill()
        runner.start()  # remembered
        _, ack = runner.deliver(self.script(runner, "true"))
        self.assertEqual(ack["why"], "quorum")

    def test_nothing_acts_without_a_fresh_checkpoint(self):
        runner = self.host()
        digest, ack = runner.deliver(self.script(runner, "touch %s" % self.path("ran")), when=time.time() - 700)
        self.assertEqual(ack["verdict"], "accepted")
        runner.look("metrics")  # time goes by: had it been going to start, it would have
        self.assertFalse(os.path.exists(self.path("ran")))
        runner.send("checkpoint", self.fleet.log.proofs(1))
        self.assertEqual(runner.result(digest)["outcome"], "ok")

    def test_a_ring_waits_for_the_signed_word_of_the_one_before(self):
        runner = self.host()
        early, forged = HostKey("early"), HostKey("early")
        document = self.script(runner, "touch %s" % self.path("ran"), hosts=[early.ref, runner.ref],
                               rings=[{"hosts": 1, "soak": 1}, {"hosts": 1, "soak": 1}])
        digest, ack = runner.deliver(document)
        self.assertEqual(ack["verdict"], "accepted")

        def go_on(report):
            runner.send("continue", self.fleet.continue_(digest, 1, [{"envelope": report}] if report else [], runner.checkpoint_size()))
        for report in (None, forged.ring(digest, 0), early.ring(digest, 0, outcome="failed"), early.ring(digest, 0, incidents=1), early.ring("0" * 64, 0)):
            go_on(report)
            self.assertIn("check ring", runner.wait("event", lambda e: e["kind"] == "refused")["text"])
            self.assertFalse(os.path.exists(self.path("ran")))
        go_on(early.ring(digest, 0))
        self.assertEqual(runner.result(digest)["outcome"], "ok")
        report = runner.wait("ring")
        self.assertEqual((report["ring"], report["outcome"], report["incidents"]), (1, "ok", 0))

    def guard(self, incidents):
        """Something that answers for the guard of this host; ends by .close()."""
        os.makedirs(self.path("guard"), exist_ok=True)
        path = os.path.join(self.path("guard"), "control.sock")
        if os.path.exists(path):
            os.unlink(path)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen(8)

        def serve():
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                peer.recv(4096)
                peer.sendall(json.dumps({"ok": True, "result": {"incidents": {"total": incidents}}}).encode() + b"\n")
                peer.close()
        threading.Thread(target=serve, daemon=True).start()
        self.addCleanup(listener.close)
        return listener

    def test_old_incidents_are_not_those_of_a_ring(self):
        """The guard does not answer when the order starts, and does when its ring is over: what it has on record is older than the order."""
        guard = self.guard(3)
        runner = self.host()
        while "3 incidents" not in runner.log_text():
            time.sleep(0.05)
        guard.shutdown(socket.SHUT_RDWR)
        guard.close()
        digest, _ = runner.deliver(self.script(runner, "true", hosts=[runner.ref, HostKey("late").ref], rings=[{"hosts": 1, "soak": 2}, {"hosts": 1, "soak": 1}]))
        self.assertEqual(runner.result(digest)["outcome"], "ok")
        self.guard(3)
        self.assertEqual(runner.wait("ring")["incidents"], 0)
        digest, _ = runner.deliver(self.script(runner, "true", hosts=[runner.ref, HostKey("late").ref], rings=[{"hosts": 1, "soak": 2}, {"hosts": 1, "soak": 1}]))
        self.assertEqual(runner.result(digest)["outcome"], "ok")
        self.guard(4)
        self.assertEqual(runner.wait("ring")["incidents"], 1)

    def halted_in_a_ring(self, runner):
        """What the ring is told of an order that an owner halted before it started."""
        rings = [{"hosts": 1, "soak": 1}, {"hosts": 1, "soak": 1}]
        digest, _ = runner.deliver(self.script(runner, "true", hosts=[runner.ref, HostKey("late").ref], rings=rings))
        stop = self.fleet.order([runner.ref], "rollout.halt", {"order_sha256": digest}, class_="S", sequence=1)
        runner.deliver(stop, self.fleet.owners[2:], logged=False)
        self.assertEqual(runner.result(digest)["outcome"], "halted")
        report = runner.wait("ring")
        return report["outcome"], report["incidents"]

    def test_an_order_that_never_ran_has_no_incidents(self):
        """Halted before its start: neither a host without a guard nor one with old incidents reports any for it."""
        self.fleet = Fleet(self.folder, owners=("dora", "emil", "frida"), dwell=3)
        runner = self.host()
        self.assertEqual(self.halted_in_a_ring(runner), ("refused", 0))
        self.guard(3)
        self.assertEqual(self.halted_in_a_ring(runner), ("refused", 0))

    def test_standing_order_runs_when_started_inside_its_bounds(self):
        if time.strftime("%H:%M") in ("23:58", "23:59"):  # no window contains midnight: tomorrow's has begun in a moment
            time.sleep(125 - time.localtime().tm_sec if time.strftime("%M") == "58" else 62 - time.localtime().tm_sec)
        runner = self.host()
        standing = {"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "from": "00:00", "until": "23:59", "every": 60}
        document = self.fleet.order([runner.ref], "package.update", {"security": True, "timeout": 60, "packages": ["no-such-package"]}, class_="B",
                                    standing=standing)
        digest, ack = runner.deliver(document)
        self.assertEqual(ack["verdict"], "accepted", ack["text"])
        runner.send("start", self.fleet.start(digest, 2, runner.checkpoint_size()))
        self.assertEqual(runner.result(digest)["run"], 2)
        runner.send("start", self.fleet.start(digest, 2, runner.checkpoint_size()))
        self.assertIn("check sequence", runner.wait("event", lambda e: e["kind"] == "refused")["text"])
        runner.send("start", self.fleet.start(digest, 3, runner.checkpoint_size()))
        result = runner.result(digest)  # 60 s are not over
        self.assertEqual((result["run"], result["outcome"]), (3, "refused"))


class Floods(rig.Case):
    """What a server can send at no cost costs the host's disk little, and nothing of its honest part is lost in it."""

    def kept(self, runner):
        return int(rig.run("sqlite3", os.path.join(runner.folder, "fleet.db"), "select coalesce(max(seq),0) from sqlite_sequence where name='outbox'"))

    def test_looks(self):
        runner = self.host()
        for i in range(2000):
            runner.send("look", {"look": "%032x" % i, "action": "metrics" if i % 2 else "script.run", "params": {}})
        runner.deliver(self.script(runner, "true"))
        self.assertLess(self.kept(runner), 300)

    def test_starts_of_an_order_that_runs(self):
        runner = self.host()
        standing = {"days": ["mon"], "from": "00:00", "until": "00:01", "every": 60}
        document = self.fleet.order([runner.ref], "package.update", {"security": True, "timeout": 60}, class_="B", standing=standing)
        digest, ack = runner.deliver(document)
        self.assertEqual(ack["verdict"], "accepted", ack["text"])
        for i in range(400):
            self.fleet.log.add(self.fleet.entry("start", {"order_sha256": digest, "run": i + 1}))
        proofs = self.fleet.log.proofs(runner.checkpoint_size())
        runner.send("checkpoint", proofs)
        for i in range(400):
            runner.send("start", dict(self.fleet.log.proofs(len(self.fleet.log.entries), i + 1), order_sha256=digest, run=i + 1))
        runner.look("metrics")
        self.assertLess(self.kept(runner), 200)

    def test_many_checkpoints(self):
        """As a server sends them ahead of orders while its log grows: none is left out, for what comes next is proven from there."""
        runner = self.host()
        for i in range(310):
            self.fleet.log.add(b"entry %d" % i)
            runner.send("checkpoint", self.fleet.log.proofs(i))
        document = self.script(runner, "true")
        bundle, digest = self.fleet.bundle(document, 310)
        runner.send("bundle", bundle)
        self.assertEqual(runner.wait("ack", lambda a: a["order_sha256"] == digest)["verdict"], "accepted")
        self.assertNotIn("split-log", runner.log_text())

    def test_a_server_that_confirms_nothing(self):
        """A stop finds room; what is no stop waits until there is some."""
        runner = self.host()
        runner.stop()
        rig.run("sqlite3", os.path.join(runner.folder, "fleet.db"), "with recursive n(i) as (select 1 union all select i+1 from n where i<4096) "
                "insert into outbox(type,sha256,envelope,keep) select 16, printf('%064x',i), '{}', 1 from n")
        runner.start()
        _, ack = runner.deliver(self.fleet.order([runner.ref], "rollout.halt", {"order_sha256": "ab" * 32}, class_="S"), self.fleet.owners[2:], logged=False)
        self.assertEqual(ack["verdict"], "accepted", ack["text"])


class Looks(rig.Case):
    def test_looks_answer_and_never_act(self):
        runner = self.host()
        metrics = runner.look("metrics")["data"]
        self.assertIn("MemTotal", metrics["memory"])
        self.assertNotIn(".", json.dumps([metrics["load_hundredths"], metrics["pressure_hundredths"]]))  # whole numbers only: else the server hangs up
        inventory = runner.look("inventory")["data"]
        self.assertGreater(len(inventory["packages"]), 10)
        self.assertIn("root", [u["name"] for u in inventory["users"]])
        self.assertEqual(runner.look("script.run", {"argv": ["/bin/true"], "timeout": 1, "output": 1})["outcome"], "refused")
        self.assertEqual(runner.look("log.excerpt", {"log": "shadow", "lines": 10})["outcome"], "failed")
        self.assertEqual(runner.look("log.excerpt", {"log": "dpkg", "lines": 3})["outcome"], "ok" if os.path.exists("/var/log/dpkg.log") else "failed")
        outcomes = [runner.look("guard.incidents")["outcome"] for _ in range(12)]
        self.assertIn("refused", outcomes)  # ten at once, then one a second

    def test_an_inventory_always_fits(self):
        """Three thousand packages with long names: the list is cut, and says so."""
        status = self.path("status")
        with open(status, "w") as f:
            for i in range(3500):
                f.write("Package: %s%d\nStatus: install ok installed\nVersion: 1:2.3.4-5+deb12u%d\n\n" % ("p" * 60, i, i))
        runner = self.host(wrap=["unshare", "--mount", "sh", "-c", "mount --bind %s /var/lib/dpkg/status && exec \"$@\"" % status, "-"])
        inventory = runner.look("inventory")
        self.assertEqual((inventory["outcome"], inventory["data"]["cut"]["packages"]), ("ok", 3500))
        self.assertGreater(len(inventory["data"]["packages"]), 1500)
        self.assertIn("root", [u["name"] for u in inventory["data"]["users"]])

    def test_only_disks_are_asked_how_full_they_are(self):
        """A share of a server that is gone would hold every look up."""
        os.mkdir(self.path("share"))
        runner = self.host(wrap=["unshare", "--mount", "sh", "-c", "mount -t tmpfs //server/share %s && exec \"$@\"" % self.path("share"), "-"])
        self.assertNotIn(self.path("share"), [m["path"] for m in runner.look("metrics")["data"]["mounts"]])

    def test_garbage_costs_the_connection_and_nothing_else(self):
        runner = self.host()
        for kind, body in (("bundle", b"{}"), ("bundle", b"\xff"), ("continue", b"[]"), ("start", b"{"), ("look", b"{}"), ("checkpoint", b"{}"),
                           ("trust", b"{}"), ("revoke", b"{}"), ("got", b"7")):
            runner.send(kind, body)
        self.assertEqual(runner.look("guard.incidents")["outcome"], "failed")  # no guard here, but an answer
        runner.peer.sendall(b"\x7f\xff\xff\xff\x03")
        self.assertTrue(any(not runner.pump(0.5) for _ in range(20)))
        runner.connect()
        _, ack = runner.deliver(self.script(runner, "true"))
        self.assertEqual(ack["verdict"], "accepted")


if __name__ == "__main__":
    rig.main()
