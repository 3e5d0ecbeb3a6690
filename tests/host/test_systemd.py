#!/usr/bin/env python3
"""A host where systemd is the init: the units that we install, services by order, jobs in a scope, restarts and upgrades."""
import base64
import json
import os
import shutil
import subprocess
import sys
import time

import rig

if "PC_OWN_NETWORK" not in os.environ:  # the server and the machine share a network that is nobody else's
    os.environ["PC_OWN_NETWORK"] = "1"
    os.execvp("unshare", ["unshare", "--net", "--mount", "--propagation", "private", sys.executable] + sys.argv)

import machine  # noqa: E402
import test_link  # noqa: E402
from fleet import PORTCULLISD, open_envelope, sha256  # noqa: E402

BUILD = os.path.dirname(os.path.abspath(PORTCULLISD))
SBIN = "/usr/local/sbin"
DEMO = "[Service]\nExecStart=/bin/sleep 1000\n"
BROKEN = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'echo the disk is on fire; exit 9'\n"
FLEET = "/var/lib/portcullis/fleet"


test_link.Connection.heartbeat = 30  # the server of these tests says nothing while an order runs


class Case(test_link.Case):
    """One machine for all tests of a class; a server, an enrolment and a started unit for each."""

    @classmethod
    def setUpClass(cls):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        cls.machine = machine.Machine(rig.cgroup2(), BUILD)
        cls.addClassCleanup(cls.machine.stop)
        done = subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", cls.machine.root], capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise AssertionError(done.stderr + done.stdout)
        cls.machine.must("systemd-sysusers")
        for name, text in (("demo", DEMO), ("broken", BROKEN)):
            cls.machine.write("/etc/systemd/system/%s.service" % name, text)
        cls.machine.write("/etc/portcullis/portcullis.conf", "[fleet]\nupgrade-wait = 3s\nreconnect-max = 1s\n")
        cls.machine.must("systemctl", "daemon-reload")

    def setUp(self):
        super().setUp()
        shutil.rmtree(self.machine.path("/var/lib/portcullis"), True)
        for source, name in ((self.authority.ca, "ca.pem"), (self.fleet.trust_path, "trust.json")):
            shutil.copy(source, self.machine.path("/root/" + name))
        self.machine.must(SBIN + "/portcullisd", "enroll", "--server", self.server.url(), "--ca", "/root/ca.pem", "--trust", "/root/trust.json", "--name",
                          "web1", "--token", "secret")
        self.server.client_cert = self.machine.path(FLEET + "/link.crt")
        self.machine.must("systemctl", "start", "portcullis-host")
        self.addCleanup(self.machine.run, "systemctl", "stop", "portcullis-host")
        self.link = self.host()
        self.orders = 0

    def log(self):
        return self.machine.run("journalctl", "-q", "-o", "cat", "-n", "200", "-u", "portcullis-host").stdout

    def unit(self, name, what):
        return self.machine.must("systemctl", "show", "--value", "-p", what, name).strip()

    def send(self, action, params):
        """Approved and logged, on its way. The order's SHA-256."""
        document = self.fleet.order([self.link.hello["host"]], action, params)
        bundle, digest = self.fleet.bundle(document, self.orders)
        self.orders += 1
        self.link.send("bundle", bundle)
        return digest

    def result(self, digest):
        result = {}
        while result.get("order_sha256") != digest:
            result = open_envelope(self.link.read("result"), "result")
        return result["outcome"], base64.b64decode(result["output"]).decode()

    def order(self, action, params):
        return self.result(self.send(action, params))

    def shell(self, text, timeout=60):
        return {"argv": ["/bin/sh", "-c", text], "timeout": timeout, "output": 4096}

    def start_long_job(self):
        """A job that ran until somebody ended it: the SHA-256 of its order."""
        self.machine.run("rm", "-f", "/run/began", "/run/ended")
        digest = self.send("script.run", self.shell("touch /run/began; sleep 600; touch /run/ended"))
        self.eventually(lambda: os.path.exists(self.machine.path("/run/began")))
        return digest

    def sleepers(self):
        return self.machine.run("pgrep", "-xf", "sleep 600").stdout.split()

    def eventually(self, probe, seconds=20):
        until = time.monotonic() + seconds
        while not probe():
            self.assertLess(time.monotonic(), until, self.log()[-3000:])
            time.sleep(0.05)


class Units(Case):
    def test_they_are_what_systemd_wants(self):
        for unit in ("portcullisd.service", "portcullis-host.service", "portcullis-server.service"):
            done = self.machine.run("systemd-analyze", "verify", "--man=no", self.unit(unit, "FragmentPath"))
            said = [line for line in done.stderr.splitlines() if "portcullis" in line]
            self.assertEqual((done.returncode, said), (0, []))

    def test_the_host_runs_as_one(self):
        self.assertEqual(self.unit("portcullis-host", "ActiveState"), "active")
        self.assertEqual(sorted(self.machine.must("ps", "-o", "user:20=", "-C", "portcullisd").split()), ["portcullis-link", "root", "root", "root"])
        self.eventually(lambda: "host %s, trust file version 1" % self.link.hello["host"] in self.log())
        pid = self.unit("portcullis-host", "MainPID")
        self.machine.must("kill", "-KILL", pid)
        self.host(2)
        self.assertEqual((self.unit("portcullis-host", "NRestarts"), self.unit("portcullis-host", "ActiveState")), ("1", "active"))

    def test_a_host_without_folders_to_guard(self):
        """The unit of the guard is skipped, and says why; nothing is failed, and nothing is tried again."""
        self.machine.must("systemctl", "start", "portcullisd")
        self.assertEqual([self.unit("portcullisd", what) for what in ("ActiveState", "Result", "NRestarts")], ["inactive", "exec-condition", "0"])
        self.assertEqual(self.machine.must("systemctl", "--failed", "--plain", "--no-legend"), "")
        self.assertEqual(self.unit("portcullis-host", "ActiveState"), "active")
        self.assertIn("no folder is to be guarded: /etc/portcullis/portcullis.conf names none", self.machine.run("systemctl", "status", "portcullisd").stdout)
        self.assertEqual(self.machine.run(SBIN + "/portcullisd", "guard").returncode, 3)

    def test_bad_settings_fail_the_guard_once(self):
        path = "/etc/portcullis/portcullis.conf"
        with open(self.machine.path(path)) as f:
            good = f.read()
        self.machine.write(path, good + "[guard]\nnonsense = 1\n")
        self.addCleanup(self.machine.run, "systemctl", "reset-failed", "portcullisd")
        self.addCleanup(self.machine.write, path, good)
        self.assertNotEqual(self.machine.run("systemctl", "start", "portcullisd").returncode, 0)
        self.assertEqual([self.unit("portcullisd", what) for what in ("ActiveState", "ExecMainStatus", "NRestarts")], ["failed", "78", "0"])


class Service(Case):
    def demo(self, what):
        outcome, text = self.order("service", {"service": "demo.service", "do": what})
        self.assertEqual(outcome, "ok", text)
        return self.unit("demo", "ActiveState"), self.unit("demo", "MainPID")

    def status(self, name):
        ident = os.urandom(16).hex()
        self.link.send("look", {"look": ident, "action": "service.status", "params": {"service": name}})
        result = {}
        while result.get("look") != ident:
            result = open_envelope(self.link.read("result"), "result")
        return result["outcome"], result.get("data")

    def test_start_restart_stop_and_status(self):
        state, first = self.demo("start")
        self.assertEqual(state, "active")
        state, second = self.demo("restart")
        self.assertEqual((state, second not in ("0", first)), ("active", True))
        outcome, data = self.status("demo.service")
        self.assertEqual((outcome, "active" in json.dumps(data), second in json.dumps(data)), ("ok", True, True), data)
        self.assertEqual(self.demo("stop"), ("inactive", "0"))

    def test_one_that_fails_says_why(self):
        outcome, text = self.order("service", {"service": "broken.service", "do": "start"})
        self.assertEqual(outcome, "failed", text)
        self.assertIn("broken.service", text)
        self.assertIn("the disk is on fire", text)
        outcome, text = self.order("service", {"service": "nowhere.service", "do": "start"})
        self.assertEqual((outcome, "nowhere.service not found" in text), ("failed", True), text)


class Jobs(Case):
    def test_they_run_in_a_scope(self):
        outcome, text = self.order("script.run", self.shell("cat /proc/self/cgroup"))
        self.assertEqual(outcome, "ok", text)
        group = [line[3:] for line in text.splitlines() if line.startswith("0::")][0]
        self.assertRegex(group, r"^/system\.slice/portcullis-jobs-[0-9a-f]{16}\.scope/order-")
        scope = group.split("/")[2]
        self.assertEqual((self.unit(scope, "ActiveState"), self.unit(scope, "Delegate")), ("active", "yes"))
        self.machine.must("systemctl", "stop", "portcullis-host")
        self.eventually(lambda: self.unit(scope, "LoadState") == "not-found")

    def test_a_killed_runner_leaves_none(self):
        digest = self.start_long_job()
        runner = self.machine.must("pgrep", "-f", "portcullisd runner").split()[0]
        self.machine.must("kill", "-KILL", runner)
        self.link = self.host(2)
        outcome, text = self.result(digest)
        self.assertEqual(outcome, "unknown", text)
        self.eventually(lambda: not self.sleepers())
        self.assertFalse(os.path.exists(self.machine.path("/run/ended")))
        self.assertEqual(self.order("script.run", self.shell("grep -o 'jobs-.*scope' /proc/self/cgroup"))[0], "ok")

    def test_an_order_that_upgrades_our_own_package_ends_before_we_restart(self):
        """dpkg runs our postinst inside the order: a restart there would end dpkg half way, at every try."""
        with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/deb")) as f:
            postinst = f.read().split("DEBIAN/postinst\" <<'END'\n")[1].split("\nEND\n")[0]
        self.machine.write("/run/postinst", postinst, 0o755)
        before = self.unit("portcullis-host", "MainPID")
        outcome, output = self.order("script.run", self.shell("sh /run/postinst configure 0.0.1 && sleep 2 && echo configured"))
        self.assertEqual((outcome, output.splitlines()[-1]), ("ok", "configured"))
        self.eventually(lambda: self.unit("portcullis-host", "MainPID") not in (before, "0"))

    def test_an_administrator_may_stop_the_scope(self):
        digest = self.start_long_job()
        scope = self.machine.must("systemctl", "list-units", "--plain", "--no-legend", "portcullis-jobs-*.scope").split()[0]
        self.machine.must("systemctl", "stop", scope)
        self.assertEqual(self.result(digest)[0], "failed")
        outcome, text = self.order("script.run", self.shell("grep -o 'jobs-.*scope' /proc/self/cgroup"))
        self.assertEqual((outcome, text.strip()), ("ok", scope[len("portcullis-"):]))

    def test_the_end_of_the_unit_is_theirs(self):
        self.start_long_job()
        self.machine.must("systemctl", "stop", "portcullis-host")
        self.eventually(lambda: not self.sleepers())
        self.assertEqual(self.machine.run("pgrep", "portcullisd").stdout, "")


class Upgrade(Case):
    newer = test_link.Upgrade.newer

    def upgrade(self, program, connection):
        self.server.files["/files/portcullisd"] = program
        digest = self.send("agent.upgrade", {"version": "0.9.0", "sha256": sha256(program), "url_path": "/files/portcullisd"})
        self.link = self.host(connection)
        return self.result(digest)

    def test_systemd_sees_one_process_throughout(self):
        pid = self.unit("portcullis-host", "MainPID")
        outcome, text = self.upgrade(b"#!/bin/sh\ntest $1 = --version && echo portcullisd 0.9.0 && exit\nexit 5\n", 2)
        self.assertEqual((outcome, "it ended with status 5" in text), ("failed", True), text)
        self.orders = 1
        outcome, text = self.upgrade(self.newer(self.path("newer"), "0.9.0"), 4)
        self.assertEqual(outcome, "ok", text)
        self.assertEqual((self.unit("portcullis-host", "MainPID"), self.unit("portcullis-host", "NRestarts")), (pid, "0"))
        self.assertEqual(self.machine.must(SBIN + "/portcullisd", "--version"), "portcullisd 0.9.0\n")
        self.machine.must("mv", SBIN + "/portcullisd.previous", SBIN + "/portcullisd")


if __name__ == "__main__":
    why = machine.why_not(rig.cgroup2()) or (None if shutil.which("meson") else "meson is not installed")
    if why:
        rig.skip_all(why)
    rig.main()
