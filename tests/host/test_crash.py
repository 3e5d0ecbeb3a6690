#!/usr/bin/env python3
"""The runner is killed at any moment, its disk fills up, its clock is wrong: nothing runs twice, nothing accepted is lost, nothing is said that is not so."""
import os
import random
import subprocess
import time
import unittest

import rig
from fleet import HostKey, moment

ORDERS = int(os.environ.get("PC_CRASH_ORDERS", "24"))
SEED = int(os.environ.get("PC_SEED", "0")) or random.randrange(1 << 30)


class Crash(rig.Case):
    def drive(self, runner, waiting, results):
        """Delivers what has no ack yet, takes answers, until the runner dies or a random moment has come."""
        until = time.monotonic() + random.expovariate(8)
        for digest, document in waiting.items():
            if digest not in self.acked:
                runner.send("bundle", self.bundle(digest, document, runner))
        while time.monotonic() < until:
            for kind in ("ack", "result"):
                try:
                    told = runner.wait(kind, seconds=0.01)
                except AssertionError:
                    continue
                if kind == "ack":
                    self.assertEqual(told["verdict"], "accepted", told["text"])
                    self.acked.add(told["order_sha256"])
                else:
                    results.setdefault(told["order_sha256"], set()).add((told["outcome"], told["run"]))

    def bundle(self, digest, document, runner):
        """The same signatures and entry each time, proven from where this runner is."""
        envelope, index = self.made[digest]
        out = {"order": envelope}
        out.update(self.fleet.log.proofs(runner.checkpoint_size(), index))
        return out

    def test_killed_at_random_moments(self):
        print("PC_SEED=%d" % SEED)
        random.seed(SEED)
        runner = self.host()
        self.acked, self.made, documents, results = set(), {}, {}, {}
        for i in range(ORDERS):
            document = self.script(runner, "echo %d >>%s; sleep 0.0%d" % (i, self.path("ran"), i % 4))
            envelope = self.fleet.envelope(document, self.fleet.owners[:2], "order@portcullis")
            digest = rig.fleet.sha256(document)
            self.made[digest] = (envelope, self.fleet.log_order(document, envelope))
            documents[digest] = document
        kills = 0
        deadline = time.monotonic() + 45
        while len(results) < ORDERS and time.monotonic() < deadline:
            try:
                self.drive(runner, documents, results)
            except (BrokenPipeError, ConnectionResetError):
                pass
            if kills < 12:
                runner.kill()
                kills += 1
                runner.start()
        self.assertEqual(len(results), ORDERS, runner.log_text()[-4000:])
        ran = rig.lines(self.path("ran"))
        self.assertEqual(len(ran), len(set(ran)), "run twice")
        for i, digest in enumerate(documents):
            outcomes = {outcome for outcome, _ in results[digest]}
            self.assertEqual(len(outcomes), 1, "one order, two results")
            if outcomes == {"ok"}:
                self.assertIn(str(i), ran)
            else:
                self.assertEqual(outcomes, {"unknown"})
        print("%d orders, %d kills, %d unknown" % (ORDERS, kills, sum(("unknown", 1) in r for r in results.values())))
        self.assert_no_group_left()

    def test_a_start_without_an_end_is_unknown_and_never_again(self):
        runner = self.host()
        document = self.script(runner, "echo x >>%s; sleep 60" % self.path("ran"))
        digest, _ = runner.deliver(document)
        while not os.path.exists(self.path("ran")):
            time.sleep(0.02)
        runner.kill()
        runner.start()
        self.assertEqual(runner.result(digest)["outcome"], "unknown")
        bundle, _ = self.fleet.bundle(document, runner.checkpoint_size())
        runner.send("bundle", bundle)
        runner.look("metrics")
        self.assertEqual(rig.lines(self.path("ran")), ["x"])
        self.assert_no_group_left()


class FullDisk(rig.Case):
    def setUp(self):
        super().setUp()
        self.small = self.path("small")
        os.mkdir(self.small)
        rig.run("mount", "-t", "tmpfs", "-o", "size=3m", "none", self.small)
        self.addCleanup(subprocess.run, ["umount", "-l", self.small])

    def fill(self):
        with open(os.path.join(self.small, "ballast"), "wb", buffering=0) as f:
            try:
                while True:
                    f.write(b"x" * 4096)
            except OSError:
                pass

    def test_refuses_with_a_word_and_loses_nothing(self):
        runner = self.host(folder=os.path.join(self.small, "web1"))
        running, _ = runner.deliver(self.script(runner, "echo first; while test ! -e %s; do sleep 0.1; done; head -c 60000 /dev/zero" % self.path("go")))
        while "start: order" not in runner.log_text():
            time.sleep(0.02)
        self.fill()
        refused = None
        for _ in range(40):  # what is left of the last pages may still take some
            document = self.script(runner, "true # %s" % ("y" * 20000))
            bundle, digest = self.fleet.bundle(document, runner.checkpoint_size())
            runner.send("bundle", bundle)
            if "check space" in runner.log_text():
                refused = (document, digest)
                break
            time.sleep(0.2)
        self.assertTrue(refused, runner.log_text()[-2000:])
        with open(self.path("go"), "w"):
            pass
        time.sleep(1)
        os.unlink(os.path.join(self.small, "ballast"))
        self.assertEqual(runner.result(running)["outcome"], "ok")
        runner.kill()
        runner.start()
        document, digest = refused
        envelope = self.fleet.envelope(document, self.fleet.owners[:2], "order@portcullis")
        bundle = {"order": envelope}
        bundle.update(self.fleet.log.proofs(runner.checkpoint_size(), self.fleet.log_order(document, envelope)))
        runner.send("bundle", bundle)
        self.assertEqual(runner.result(digest)["outcome"], "ok")

    def test_a_reboot_with_a_full_disk(self):
        """The host comes up, can be asked, and counts anew once it can write; no dwell is cut short, no timer is lost."""
        self.fleet = rig.fleet.Fleet(self.folder, owners=("dora", "emil", "frida"), dwell=3)
        runner = self.host(folder=os.path.join(self.small, "web1"))
        waiting, ack = runner.deliver(self.script(runner, "true"))
        self.assertEqual(ack["verdict"], "accepted", ack["text"])
        runner.kill()
        database = os.path.join(runner.folder, "fleet.db")
        rig.run("sqlite3", database, "update orders set boot='before', since_boot=1; insert into timer(kind,order_sha256,boot,until_boot,until,made,data) "
                "values('freeze','','before',1,%d,%d,'{}')" % (time.time() + 900, time.time()))
        self.fill()
        runner.start()
        self.assertEqual(runner.look("metrics")["outcome"], "ok")
        time.sleep(4)
        self.assertNotIn("start: order", runner.log_text())
        os.unlink(os.path.join(self.small, "ballast"))
        began = time.monotonic()
        runner.send("checkpoint", self.fleet.log.proofs(1))
        self.assertEqual(runner.result(waiting)["outcome"], "ok")
        self.assertGreater(time.monotonic() - began, 2)
        runner.stop()
        self.assertEqual(rig.run("sqlite3", database, "select kind from timer").strip(), "freeze")


class Clock(rig.Case):
    def library(self):
        for folder in ("/usr/lib/x86_64-linux-gnu/faketime", "/usr/lib/aarch64-linux-gnu/faketime"):
            path = os.path.join(folder, "libfaketime.so.1")
            if os.path.exists(path):
                return path
        raise unittest.SkipTest("libfaketime is not installed")

    def clock(self, runner, offset):
        runner.stop()
        runner.env = dict(os.environ, LD_PRELOAD=self.library(), FAKETIME=offset, FAKETIME_DONT_FAKE_MONOTONIC="1")
        runner.start()

    def test_a_standing_order_does_not_run_outside_its_hours(self):
        """Started in time; then the server holds back what opens the ring until the hours are over."""
        runner = self.host(start=False)
        # Noon here, whatever the hour: no window contains midnight. (A zone's name has three letters, or libc takes UTC.)
        os.environ["TZ"] = "PCT%+d" % (time.gmtime().tm_hour - 12)
        self.addCleanup(os.environ.pop, "TZ", None)
        local = rig.run("date", "+%H").strip()
        self.assertIn(local, ("12", "13"), "the zone %s is not taken" % os.environ["TZ"])
        runner.env = dict(os.environ)
        runner.start()
        early = HostKey("early")
        standing = {"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "from": "11:00", "until": "14:00", "every": 60}
        document = self.fleet.order([early.ref, runner.ref], "package.update", {"security": True, "timeout": 60, "packages": ["no-such-package"]}, class_="B",
                                    standing=standing, rings=[{"hosts": 1, "soak": 1}, {"hosts": 1, "soak": 1}], expires=moment(time.time() + 20 * 86400))
        digest, ack = runner.deliver(document)
        self.assertEqual(ack["verdict"], "accepted", ack["text"])
        runner.send("start", self.fleet.start(digest, 1, runner.checkpoint_size()))
        runner.look("metrics")
        self.clock(runner, "+10800")
        runner.send("continue", self.fleet.continue_(digest, 1, [{"envelope": early.ring(digest, 0, run=1)}], runner.checkpoint_size(), run=1))
        runner.wait("seen")
        runner.send("checkpoint", self.fleet.log.proofs(len(self.fleet.log.entries), when=time.time() + 10800))
        runner.look("metrics")
        time.sleep(2)
        self.assertIn("ring 1 may start", runner.log_text())
        self.assertNotIn("start: order", runner.log_text())
        runner.stop()
        runner.env = dict(os.environ)
        runner.start()
        runner.send("checkpoint", self.fleet.log.proofs(len(self.fleet.log.entries)))
        self.assertEqual(runner.result(digest)["run"], 1)

    def test_a_clock_that_is_years_ahead_ends_nothing(self):
        """A dead battery, until the time is set: what was accepted is still there then."""
        runner = self.host()
        document = self.fleet.order([runner.ref], "package.update", {"security": True, "timeout": 60, "packages": ["no-such-package"]}, class_="B",
                                    standing={"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "from": "00:00", "until": "23:59", "every": 60},
                                    expires=moment(time.time() + 20 * 86400))
        standing, ack = runner.deliver(document)
        self.assertEqual(ack["verdict"], "accepted", ack["text"])
        waiting, ack = runner.deliver(self.script(runner, "true", not_before=moment(time.time() + 4)))
        self.assertEqual(ack["verdict"], "accepted", ack["text"])
        self.clock(runner, "+2000d")
        time.sleep(2)
        runner.stop()
        runner.env = None
        runner.start()
        runner.send("checkpoint", self.fleet.log.proofs(2))
        self.assertEqual(runner.result(waiting)["outcome"], "ok")
        runner.stop()
        state = rig.run("sqlite3", os.path.join(runner.folder, "fleet.db"), "select state from orders where sha256='%s'" % standing).strip()
        self.assertEqual(state, "4")  # standing
        # And with the right clock it ends.
        self.clock(runner, "+21d")
        runner.send("checkpoint", self.fleet.log.proofs(2, when=time.time() + 21 * 86400))
        runner.wait("seen")
        time.sleep(1.5)
        runner.stop()
        self.assertEqual(rig.run("sqlite3", os.path.join(runner.folder, "fleet.db"), "select state from orders where sha256='%s'" % standing).strip(), "5")

    def test_wrong_by_a_day(self):
        runner = self.host(start=False)
        runner.start()
        for offset, why in (("+86400", "expired"), ("-86400", "future")):
            self.clock(runner, offset)
            _, ack = runner.deliver(self.script(runner, "touch %s" % self.path("ran")))
            self.assertEqual(ack["why"], why)
        # Accepted with the right clock, then the clock goes wrong: nothing fresh is known by it, so nothing starts; set right, it runs.
        runner.stop()
        runner.env = None
        runner.start()
        document = self.script(runner, "touch %s" % self.path("ran"), not_before=moment(time.time() + 2), expires=moment(time.time() + 20 * 86400))
        digest, ack = runner.deliver(document)
        self.assertEqual(ack["verdict"], "accepted", ack["text"])
        self.clock(runner, "+86400")
        runner.look("metrics")
        time.sleep(2)
        self.assertFalse(os.path.exists(self.path("ran")))
        runner.stop()
        runner.env = None
        runner.start()
        self.assertEqual(runner.result(digest)["outcome"], "ok")


if __name__ == "__main__":
    rig.main()
