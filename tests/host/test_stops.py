#!/usr/bin/env python3
"""The stop class: each stop holds, survives the runner, and undoes itself. Network and file systems are the test's own."""
import base64
import ctypes
import os
import shutil
import subprocess
import sys
import tempfile
import time

import rig
from fleet import PORTCULLISD, sha256

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x00020000, 0x4000, 1 << 18


def private_mounts():
    """No mount of ours is seen by anybody else, and all go with this process."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None):
        rig.skip_all("no mount namespace of our own: %s" % os.strerror(ctypes.get_errno()))


def eventually(probe, seconds=15):
    until = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > until:
            raise AssertionError("not within %d s" % seconds)
        time.sleep(0.05)


def children(pid):
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as f:
            return [int(p) for p in f.read().split()]
    except FileNotFoundError:
        return []


def state_of(pid):
    try:
        with open("/proc/%d/stat" % pid) as f:
            return f.read().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return None


class Stop(rig.Case):
    def stop(self, runner, action, params, verdict="accepted"):
        """One owner, no log: what a stop may come with."""
        document = self.fleet.order([runner.ref], action, params, class_="S")
        digest, ack = runner.deliver(document, self.fleet.owners[2:], logged=False)
        self.assertEqual(ack["verdict"], verdict, ack["text"])
        return runner.result(digest)

    def act(self, runner, action, params):
        digest, ack = runner.deliver(self.fleet.order([runner.ref], action, params))
        self.assertEqual(ack["verdict"], "accepted", ack["text"])
        return runner.result(digest)

    def end_timers(self, runner):
        """Sets every dead-man timer to end now, as the clock would have done by itself later."""
        runner.stop()
        rig.run("sqlite3", os.path.join(runner.folder, "fleet.db"), "update timer set until_boot = 1")
        runner.start()


class Freeze(Stop):
    def actor(self):
        p = subprocess.Popen([sys.executable, "-c", "import os, time\nfor i in range(3): os.fork()\nwhile True: open(%r, 'a').write('x'); time.sleep(0.01)"
                              % self.path("busy")], start_new_session=True)
        self.addCleanup(p.wait)
        self.addCleanup(os.killpg, p.pid, 9)
        eventually(lambda: os.path.exists(self.path("busy")) and os.path.getsize(self.path("busy")) > 100)
        with open("/proc/%d/stat" % p.pid) as f:
            return p.pid, int(f.read().rsplit(")", 1)[1].split()[19])

    def moves(self):
        before = os.path.getsize(self.path("busy"))
        time.sleep(0.3)
        return os.path.getsize(self.path("busy")) != before

    def test_a_tree_is_frozen_over_a_restart_and_thaws(self):
        runner = self.host()
        pid, start = self.actor()
        self.assertEqual(self.stop(runner, "actor.freeze", {"pid": pid, "start": start + 1, "seconds": 60})["outcome"], "failed")
        result = self.stop(runner, "actor.freeze", {"pid": pid, "start": start, "seconds": 600})
        self.assertEqual((result["outcome"], result["data"]["frozen"]), ("ok", 8))
        self.assertFalse(self.moves())
        runner.kill()
        runner.start()
        self.assertFalse(self.moves())
        self.end_timers(runner)
        eventually(self.moves)
        self.assertIn("undone", runner.log_text())

    def hunted(self, runner):
        """A freeze by the program's hash is at work: it has stopped one, and reads another's file of 64 GiB. Returns the stopped one, the order, the job."""
        program, large = self.path("program"), self.path("large")
        shutil.copy(shutil.which("sleep"), program)
        shutil.copy(shutil.which("sleep"), large)
        os.truncate(large, 64 << 30)  # sparse
        processes = [subprocess.Popen([path, "600"]) for path in (program, large)]
        for p in processes:
            self.addCleanup(p.wait)
            self.addCleanup(p.kill)
        with open(program, "rb") as f:
            params = {"exe_sha256": sha256(f.read()), "seconds": 600}
        document = self.fleet.order([runner.ref], "actor.freeze", params, class_="S")
        digest, ack = runner.deliver(document, self.fleet.owners[2:], logged=False)
        self.assertEqual(ack["verdict"], "accepted", ack["text"])
        eventually(lambda: state_of(processes[0].pid) == "T")
        return processes[0].pid, digest, children(runner.process.pid)[0]

    def test_nobody_stays_stopped_when_the_job_is_killed(self):
        runner = self.host()
        pid, digest, job = self.hunted(runner)
        os.kill(job, 9)
        self.assertEqual(runner.result(digest)["outcome"], "failed")
        eventually(lambda: state_of(pid) == "S")

    def test_nobody_stays_stopped_when_the_runner_is_killed(self):
        runner = self.host()
        pid, digest, _ = self.hunted(runner)
        runner.kill()
        runner.start()
        self.assertEqual(runner.result(digest)["outcome"], "unknown")
        self.end_timers(runner)
        eventually(lambda: state_of(pid) == "S")
        self.assertEqual([name for name in os.listdir(runner.folder) if name.startswith("freeze")], [])

    def test_nobody_is_stopped_after_the_time_is_over(self):
        runner = self.host()
        pid, digest, _ = self.hunted(runner)
        rig.run("sqlite3", "-cmd", ".timeout 5000", os.path.join(runner.folder, "fleet.db"), "update timer set until_boot = 1")
        eventually(lambda: "undone" in runner.log_text())
        self.assertEqual(runner.result(digest)["outcome"], "failed")  # the large one's time is over by then
        eventually(lambda: state_of(pid) == "S")
        self.assertEqual(rig.run("sqlite3", os.path.join(runner.folder, "fleet.db"), "select count(*) from timer").strip(), "0")

    def test_one_that_cannot_begin_does_not_begin_later(self):
        """Where there is no cgroup nothing is started; and no timer is left that would be taken for a stop in force."""
        runner = self.host(wrap=["unshare", "--mount", "sh", "-c", "umount -l %s; exec \"$@\"" % rig.cgroup2(), "-"])
        pid, start = self.actor()
        self.assertEqual(self.stop(runner, "actor.freeze", {"pid": pid, "start": start, "seconds": 600})["outcome"], "failed")
        self.assertEqual(rig.run("sqlite3", os.path.join(runner.folder, "fleet.db"), "select count(*) from timer").strip(), "0")

    def test_a_stop_waits_for_a_place_and_is_not_lost(self):
        """More stops at one time than programs that can run."""
        with open(self.path("many.conf"), "w") as f:
            f.write("[fleet]\nlink-user = nobody\njobs = 12\n[log]\njournal = no\n")
        runner = self.host(config=self.path("many.conf"))
        for _ in range(12):
            runner.deliver(self.fleet.order([runner.ref], "script.run", {"argv": ["/bin/sleep", "60"], "timeout": 60, "output": 0}))
        _, first, _ = self.hunted(runner)
        digests = [first]
        for _ in range(13):
            document = self.fleet.order([runner.ref], "actor.freeze", {"exe_sha256": "ab" * 32, "seconds": 60}, class_="S")
            digest, ack = runner.deliver(document, self.fleet.owners[2:], logged=False)
            self.assertEqual(ack["verdict"], "accepted", ack["text"])
            digests.append(digest)
        self.assertEqual({runner.result(digest, 60)["outcome"] for digest in digests}, {"ok"})

    def test_init_and_portcullis_are_spared(self):
        runner = self.host()
        document = self.fleet.order([runner.ref], "actor.freeze", {"pid": 1, "start": 0, "seconds": 60}, class_="S")
        self.assertEqual(runner.deliver(document, self.fleet.owners[:1], logged=False)[1]["why"], "action")
        with open("/proc/%d/stat" % runner.process.pid) as f:
            start = int(f.read().rsplit(")", 1)[1].split()[19])
        self.assertEqual(self.stop(runner, "actor.freeze", {"pid": runner.process.pid, "start": start, "seconds": 60})["outcome"], "failed")


class Isolate(Stop):
    """Two network namespaces of our own: the host's, and the rest of the world."""

    def setUp(self):
        super().setUp()
        self.space = "pch%d" % os.getpid()
        self.world = "pcw%d" % os.getpid()
        if not shutil.which("ip") or subprocess.run(["ip", "netns", "add", self.space]).returncode:
            self.skipTest("no network namespaces")
        self.addCleanup(subprocess.run, ["ip", "netns", "del", self.space])
        rig.run("ip", "netns", "add", self.world)
        self.addCleanup(subprocess.run, ["ip", "netns", "del", self.world])
        rig.run("ip", "link", "add", "pcv0", "netns", self.space, "type", "veth", "peer", "name", "pcv1", "netns", self.world)
        rig.run("ip", "-n", self.space, "addr", "add", "10.77.1.2/24", "dev", "pcv0")
        for last in (1, 3, 4):
            rig.run("ip", "-n", self.world, "addr", "add", "10.77.1.%d/24" % last, "dev", "pcv1")
        for space, device in ((self.space, "pcv0"), (self.world, "pcv1"), (self.space, "lo"), (self.world, "lo")):
            rig.run("ip", "-n", space, "link", "set", device, "up")
        listener = ("import socket, time\nkeep = []\nfor a in ('10.77.1.1', '10.77.1.3', '10.77.1.4'):\n s = socket.create_server((a, 7444)); keep.append(s)\n"
                    "print('up', flush=True)\ntime.sleep(600)")
        p = subprocess.Popen(["nsenter", "--net=/run/netns/" + self.world, sys.executable, "-c", listener], stdout=subprocess.PIPE)
        self.addCleanup(p.wait)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.kill)
        p.stdout.readline()

    def reaches(self, address):
        return subprocess.run(["nsenter", "--net=/run/netns/" + self.space, sys.executable, "-c",
                               "import socket; socket.create_connection((%r, 7444), 0.7)" % address], capture_output=True).returncode == 0

    def reached(self):
        return [last for last in (1, 3, 4) if self.reaches("10.77.1.%d" % last)]

    def test_only_server_and_allowed_stay_reachable_until_the_timer(self):
        runner = self.host(start=False, wrap=["nsenter", "--net=/run/netns/" + self.space])
        facts = os.path.join(runner.folder, "link.json")
        with open(facts) as f:
            text = f.read().replace("127.0.0.1", "10.77.1.1")
        with open(facts, "w") as f:
            f.write(text)
        runner.start()
        self.assertEqual(self.reached(), [1, 3, 4])
        result = self.stop(runner, "host.isolate", {"allow": ["10.77.1.3/32"], "seconds": 600})
        self.assertEqual((result["outcome"], result["data"]["server"]), ("ok", ["10.77.1.1"]))
        self.assertEqual(self.reached(), [1, 3])
        rig.run("nsenter", "--net=/run/netns/" + self.space, "nft", "delete", "table", "inet", "portcullis")
        runner.kill()
        runner.start()  # after a crash, or a reboot that took the rules with it: applied again
        self.assertEqual(self.reached(), [1, 3])
        self.end_timers(runner)
        eventually(lambda: self.reached() == [1, 3, 4])
        self.stop(runner, "host.isolate", {"allow": [], "seconds": 600})
        self.assertEqual(self.reached(), [1])
        self.assertEqual(self.act(runner, "host.unisolate", {})["outcome"], "ok")
        self.assertEqual(self.reached(), [1, 3, 4])
        self.assertEqual(rig.run("nsenter", "--net=/run/netns/" + self.space, "nft", "list", "tables"), "")

    def name_server(self, hosts, seconds=2):
        """The server is known by name now; names are in a hosts file of ours, else at a name server that says nothing, for so long at each question."""
        for name, text in (("hosts", hosts), ("resolv.conf", "nameserver 10.77.1.1\noptions timeout:%d attempts:1\n" % seconds)):
            with open(self.path(name), "w") as f:
                f.write(text)
            rig.run("mount", "--bind", self.path(name), "/etc/" + name)
            self.addCleanup(subprocess.run, ["umount", "-l", "/etc/" + name])
        mute = "import socket, time\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.bind(('10.77.1.1', 53))\nprint('up', flush=True)\ntime.sleep(600)"
        p = subprocess.Popen(["nsenter", "--net=/run/netns/" + self.world, sys.executable, "-c", mute], stdout=subprocess.PIPE)
        self.addCleanup(p.wait)
        self.addCleanup(p.stdout.close)
        self.addCleanup(p.kill)
        p.stdout.readline()

    def named_host(self, url="https://api.fleet.test:7443"):
        runner = self.host(start=False, wrap=["nsenter", "--net=/run/netns/" + self.space])
        facts = os.path.join(runner.folder, "link.json")
        with open(facts) as f:
            text = f.read().replace("127.0.0.1:7444", "link.fleet.test:7444").replace("https://127.0.0.1:7443", url)
        with open(facts, "w") as f:
            f.write(text)
        return runner.start()

    def begin(self, runner, action, params):
        """Accepted, and its work has begun."""
        document = self.fleet.order([runner.ref], action, params, class_="S")
        digest, ack = runner.deliver(document, self.fleet.owners[2:], logged=False)
        self.assertEqual(ack["verdict"], "accepted", ack["text"])
        eventually(lambda: "start: order %s" % digest[:12] in runner.log_text())
        return digest

    def kinds(self, runner):
        return rig.run("sqlite3", os.path.join(runner.folder, "fleet.db"), "select kind from timer").split()

    HOSTS = "127.0.0.1 localhost\n10.77.1.1 link.fleet.test\n10.77.1.1 api.fleet.test\n"

    def test_a_server_known_by_name_stays_reachable_when_isolated_again(self):
        self.name_server(self.HOSTS)
        runner = self.named_host("https://api.fleet.test")  # the port that everybody knows
        result = self.stop(runner, "host.isolate", {"allow": [], "seconds": 600})
        self.assertEqual((result["outcome"], result["data"]["server"]), ("ok", ["10.77.1.1"]))
        with open(os.path.join(runner.folder, "link.addresses")) as f:
            self.assertEqual(f.read(), "link.fleet.test:7444:10.77.1.1\napi.fleet.test:443:10.77.1.1\n")
        with open(self.path("hosts"), "w") as f:  # nobody answers for names any more, least of all to an isolated host
            f.write("127.0.0.1 localhost\n")
        result = self.stop(runner, "host.isolate", {"allow": ["10.77.1.4/32"], "seconds": 600})
        self.assertEqual((result["outcome"], result["data"]["server"]), ("ok", ["10.77.1.1"]))
        self.assertEqual(self.reached(), [1, 4])
        with open(os.path.join(runner.folder, "link.addresses")) as f:
            self.assertEqual(f.read(), "link.fleet.test:7444:10.77.1.1\napi.fleet.test:443:10.77.1.1\n")
        self.assertEqual(self.kinds(runner), ["isolate"])

    def test_a_dead_name_server_keeps_nobody_from_isolating(self):
        self.name_server("127.0.0.1 localhost\n", seconds=30)
        runner = self.named_host()
        result = self.stop(runner, "host.isolate", {"allow": ["10.77.1.3/32"], "seconds": 600})
        self.assertEqual((result["outcome"], self.reached()), ("ok", [3]))

    def test_one_that_fails_leaves_the_one_before_in_force(self):
        self.name_server(self.HOSTS)
        runner = self.named_host()
        self.stop(runner, "host.isolate", {"allow": ["10.77.1.3/32"], "seconds": 600})
        with open(self.path("hosts"), "w") as f:
            f.write("127.0.0.1 localhost\n")
        digest = self.begin(runner, "host.isolate", {"allow": [], "seconds": 600})
        job = children(runner.process.pid)
        os.kill(job[0], 9)
        self.assertEqual(runner.result(digest)["outcome"], "failed")
        self.assertEqual(self.reached(), [1, 3])
        self.assertEqual(self.kinds(runner), ["isolate"])
        self.end_timers(runner)
        eventually(lambda: self.reached() == [1, 3, 4])

    def test_one_that_is_lifted_before_it_holds_does_not_hold_for_ever(self):
        self.name_server("127.0.0.1 localhost\n")
        runner = self.named_host()
        digest = self.begin(runner, "host.isolate", {"allow": [], "seconds": 600})
        self.assertEqual(self.act(runner, "host.unisolate", {})["outcome"], "ok")
        self.assertEqual(runner.result(digest)["outcome"], "failed")
        eventually(lambda: self.kinds(runner) == [])
        self.assertEqual(self.reached(), [1, 3, 4])

    def library(self):
        """libnftables' file is not one for the time being. Returns what ends that."""
        path = os.path.realpath(next(p for p in ("/usr/lib/x86_64-linux-gnu/libnftables.so.1", "/usr/lib/aarch64-linux-gnu/libnftables.so.1",
                                                 "/usr/lib64/libnftables.so.1") if os.path.exists(p)))
        rig.run("mount", "--bind", "/dev/null", path)
        self.addCleanup(subprocess.run, ["umount", "-l", path], stderr=subprocess.DEVNULL)
        return lambda: rig.run("umount", path)

    def test_one_that_cannot_be_lifted_says_so_and_is_lifted_when_it_can_be(self):
        runner = self.host(wrap=["nsenter", "--net=/run/netns/" + self.space])
        self.stop(runner, "host.isolate", {"allow": [], "seconds": 600})
        self.assertEqual(self.reached(), [])
        mend = self.library()
        self.assertEqual(self.act(runner, "host.unisolate", {})["outcome"], "failed")
        time.sleep(3)
        self.assertEqual((self.reached(), runner.log_text().count("could not be undone")), ([], 1))
        mend()
        eventually(lambda: self.reached() == [1, 3, 4])

    def test_a_host_that_cannot_be_isolated_does_not_say_it_is(self):
        self.name_server(self.HOSTS)
        self.library()
        runner = self.named_host()
        self.assertEqual(self.stop(runner, "host.isolate", {"allow": [], "seconds": 600})["outcome"], "failed")
        self.assertEqual((self.kinds(runner), self.reached()), ([], [1, 3, 4]))
        self.assertFalse(os.path.exists(os.path.join(runner.folder, "link.addresses")))  # the link would hold on to them for ever


class Block(Stop):
    """On a file system of the test's own, in a private mount namespace; the runner is told to watch nothing else."""

    def setUp(self):
        super().setUp()
        image = self.path("image")
        with open(image, "wb") as f:
            f.truncate(16 << 20)
        rig.run("mkfs.ext4", "-q", image)
        self.mount = self.path("mnt")
        os.mkdir(self.mount)
        rig.run("mount", "-o", "loop", image, self.mount)
        self.addCleanup(subprocess.run, ["umount", "-l", self.mount])
        self.config = self.path("block.conf")
        with open(self.config, "w") as f:
            f.write("[fleet]\nlink-user = nobody\nblock-mount = %s\n[log]\njournal = no\n" % self.mount)

    def program(self, name, text):
        path = os.path.join(self.mount, name)
        with open(path, "w") as f:
            f.write("#!/bin/sh\n" + text)
        os.chmod(path, 0o755)
        return path

    def copy_of(self, program):
        """Another file with the same content: nothing is known of it."""
        path = os.path.join(tempfile.mkdtemp(dir=self.mount), "copy")
        shutil.copy(program, path)
        return path

    def runs(self, path):
        try:
            return subprocess.run([path], timeout=10).returncode == 0
        except PermissionError:
            return False

    def test_a_blocked_program_starts_no_more(self):
        runner = self.host(config=self.config)
        bad, good = self.program("bad", "exit 0 # bad\n"), self.program("good", "exit 0 # good\n")
        with open(bad, "rb") as f:
            digest = sha256(f.read())
        self.assertEqual(self.stop(runner, "hash.block", {"sha256": digest, "seconds": 600})["outcome"], "ok")
        self.assertEqual((self.runs(bad), self.runs(good)), (False, True))
        copy = os.path.join(self.mount, "copy")
        shutil.copy(bad, copy)
        self.assertFalse(self.runs(copy))
        self.program("copy", "exit 0 # changed\n")
        self.assertTrue(self.runs(copy))
        runner.kill()  # a dead runner blocks nobody
        eventually(lambda: self.runs(bad))
        runner.start()
        eventually(lambda: not self.runs(bad))
        blocker = [int(p) for p in rig.run("pgrep", "-P", str(runner.process.pid)).split()]
        os.kill(blocker[0], 19)  # a stopped blocker is ended by its timer, and another started
        eventually(lambda: state_of(blocker[0]) is None)
        self.assertTrue(self.runs(good))
        eventually(lambda: not self.runs(bad))
        self.assertEqual(self.act(runner, "hash.unblock", {"sha256": digest})["outcome"], "ok")
        eventually(lambda: self.runs(bad))

    def parts(self, runner):
        """The blocker and its hasher, once both are there."""
        eventually(lambda: (lambda b: b and children(b[0]))(children(runner.process.pid)))
        blocker = children(runner.process.pid)[0]
        return blocker, children(blocker)[0]

    def test_whatever_happens_to_it_programs_start(self):
        """The one that reads hangs as on a dead disk, or dies; the one that answers is killed while somebody waits: nobody waits for ever."""
        runner = self.host(config=self.config)
        bad, good = self.program("bad", "exit 0 # bad\n"), self.program("good", "exit 0 # good\n")
        with open(bad, "rb") as f:
            digest = sha256(f.read())
        self.assertEqual(self.stop(runner, "hash.block", {"sha256": digest, "seconds": 600})["outcome"], "ok")
        self.assertFalse(self.runs(bad))
        blocker, hasher = self.parts(runner)
        os.kill(hasher, 19)
        self.assertTrue(self.runs(good))  # not decided in time: let through
        self.assertFalse(self.runs(bad))  # decided before: still blocked, and nobody is asked
        os.kill(hasher, 18)
        eventually(lambda: not self.runs(self.copy_of(bad)))  # it has read all that it was asked, also the one that nobody waits for any more
        self.assertTrue(self.runs(self.program("more", "exit 0 # more\n")))
        os.kill(hasher, 9)
        self.assertFalse(self.runs(self.copy_of(bad)))  # by another one that reads
        hasher = self.parts(runner)[1]
        os.kill(hasher, 19)
        waiting = subprocess.Popen([self.program("late", "exit 0 # late\n")])
        os.kill(blocker, 9)
        self.assertEqual(waiting.wait(10), 0)
        eventually(lambda: state_of(hasher) is None)  # it ends with its blocker, stopped as it is
        eventually(lambda: not self.runs(bad))  # and the runner starts another

    def test_a_flood_of_large_programs(self):
        """Too large to be read in time, many at once: programs that are known go on starting."""
        runner = self.host(config=self.config)
        good = self.program("good", "exit 0 # good\n")
        self.assertEqual(self.stop(runner, "hash.block", {"sha256": "ab" * 32, "seconds": 600})["outcome"], "ok")
        self.assertTrue(self.runs(good))
        large = []
        for i in range(12):
            path = self.program("large%d" % i, "exit 0 # %d\n" % i)
            os.truncate(path, 8 << 30)  # sparse
            large.append(subprocess.Popen(["/bin/sh", "-c", "exec " + path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        self.assertTrue(self.runs(good))  # it waits for one of them at most (self.runs gives up before twelve could have their second)
        for p in large:
            p.kill()
            p.wait()

    def test_no_more_than_can_be_blocked(self):
        runner = self.host(config=self.config)
        runner.stop()
        with open("/proc/sys/kernel/random/boot_id") as f:
            boot = f.read().strip().replace("-", "")
        rows = ["insert into timer(kind,order_sha256,boot,until_boot,until,made,data) values('%s','','%s',%d,0,0,'%s');" % (kind, boot, until, data)
                for kind, until, data in [("block", 1 << 40, '{"sha256":"%064x"}' % i) for i in range(128)] + [("freeze", 1 << 40, "{}")] * 200
                + [("block", 1, '{"sha256":"%064x"}' % 999)]]
        rig.run("sqlite3", os.path.join(runner.folder, "fleet.db"), "".join(rows))
        runner.start()
        bad = self.program("bad", "exit 0 # bad\n")
        with open(bad, "rb") as f:
            digest = sha256(f.read())
        result = self.stop(runner, "hash.block", {"sha256": digest, "seconds": 600})
        self.assertEqual((result["outcome"], self.runs(bad)), ("failed", True))
        self.assertEqual(self.stop(runner, "hash.block", {"sha256": "%064x" % 5, "seconds": 600})["outcome"], "ok")  # once more is no more
        # However many there are, each has its end.
        eventually(lambda: rig.run("sqlite3", os.path.join(runner.folder, "fleet.db"), "select count(*) from timer where until_boot=1").strip() == "0")

    def test_what_repairs_a_host_cannot_be_blocked(self):
        runner = self.host(config=self.config)
        for path in ("/bin/sh", "/bin/bash", PORTCULLISD):
            with open(path, "rb") as f:
                result = self.stop(runner, "hash.block", {"sha256": sha256(f.read()), "seconds": 600})
            self.assertEqual(result["outcome"], "refused", base64.b64decode(result["output"]))


if __name__ == "__main__":
    private_mounts()
    rig.main()
