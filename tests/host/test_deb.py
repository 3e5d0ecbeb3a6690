#!/usr/bin/env python3
"""The Debian package on a machine with systemd: installed, guarding under its own unit, upgraded, removed. `make test-deb` makes the package first."""
import glob
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest

import rig

if "PC_OWN_NETWORK" not in os.environ:
    os.environ["PC_OWN_NETWORK"] = "1"
    os.execvp("unshare", ["unshare", "--net", "--mount", "--propagation", "private", sys.executable] + sys.argv)

import machine  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
IMAGE_BYTES = 512 << 20


class Package(unittest.TestCase):
    """One machine; the tests go through the life of the package in the order of their names."""

    @classmethod
    def setUpClass(cls):
        cls.deb = glob.glob(os.environ.get("PC_DEB", os.path.join(ROOT, "dist", "portcullis_*.deb")))[0]
        cls.machine = machine.Machine(rig.cgroup2(), os.path.dirname(cls.deb))
        cls.addClassCleanup(cls.machine.stop)
        cls.image = tempfile.NamedTemporaryFile(prefix="portcullis-deb.", dir="/var/tmp")
        cls.addClassCleanup(cls.image.close)
        cls.image.truncate(IMAGE_BYTES)
        subprocess.run(["mkfs.xfs", "-q", cls.image.name], check=True)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        # From outside: the machine has no loop devices. The mount is in its namespace alone and ends with it.
        os.makedirs(cls.machine.path("/srv/files"))
        cls.outside("mount", "-o", "loop", cls.image.name, os.path.join(cls.machine.dir, "root/srv/files"))

    @classmethod
    def outside(cls, *words):
        subprocess.run(["nsenter", "-t", str(cls.machine.init), "--mount", *words], check=True, timeout=60)

    def unit(self, name, what):
        return self.machine.must("systemctl", "show", "--value", "-p", what, name).strip()

    def status(self):
        done = self.machine.run("portcullis", "status", "--json")
        return json.loads(done.stdout) if done.returncode == 0 else None

    def incidents(self):
        return json.loads(self.machine.must("portcullis", "incidents", "--json"))

    def eventually(self, what, probe, seconds=30):
        until = time.monotonic() + seconds
        while not probe():
            self.assertLess(time.monotonic(), until, "%s: %s" % (what, self.machine.run("journalctl", "-q", "-o", "cat", "-n", "40").stdout))
            time.sleep(0.1)

    def test_1_installs_and_starts_nothing(self):
        self.machine.must("dpkg", "-i", self.deb)
        self.assertIn("install ok installed", self.machine.must("dpkg-query", "-W", "-f", "${Status}", "portcullis"))
        self.assertEqual([self.unit(name, "ActiveState") for name in ("portcullisd", "portcullis-host")], ["inactive", "inactive"])
        self.machine.must("getent", "group", "portcullis")
        self.machine.must("getent", "passwd", "portcullis-link")
        for words in (("portcullis", "--version"), ("portcullisd", "--version"), ("portcullis-server", "--version")):
            self.assertRegex(self.machine.must(*words), r"\d+\.\d+")

    def test_2_guards_under_its_unit(self):
        os.makedirs(self.machine.path("/srv/files/data"))
        self.machine.write("/etc/portcullis/portcullis.conf", "[guard]\nprotect = /srv/files/data\n")
        self.machine.must("portcullisd", "-n", "guard")
        self.machine.must("systemctl", "enable", "--now", "portcullisd")
        self.eventually("it guards", lambda: (self.status() or {}).get("active"))
        drill = subprocess.Popen(self.machine.words("portcullis", "drill", "--dir", "/srv/files/data", "--files", "200", "--rate", "704", "--state-file", "/run/drill"),
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(drill.wait, 10)
        self.addCleanup(drill.kill)
        self.eventually("the drill is frozen", lambda: self.incidents() and self.incidents()[0]["state"] == "frozen")
        number = str(self.incidents()[0]["id"])
        self.assertLessEqual(self.incidents()[0]["damaged"], 25)
        self.machine.must("portcullis", "end", number)
        self.machine.must("portcullis", "rollback", number)
        self.machine.must("portcullis", "drill", "--report", "/run/drill", "--verify")

    def test_3_server_under_its_unit(self):
        """Made by root for its user, on loopback; the unit's own confinement and the program's together still let it serve."""
        self.machine.must("portcullis-server", "init", "--state", "/var/lib/portcullis-server", "--tenant", "city", "--listen", "127.0.0.1:7443", "--link",
                          "127.0.0.1:7444", "--name", "127.0.0.1", "--user", "portcullis-server")
        self.machine.must("systemctl", "start", "portcullis-server")
        self.eventually("it serves", lambda: self.health().get("status") == "ok")
        self.assertTrue(all(self.health()["confined"].values()), self.health())
        self.assertEqual(self.machine.must("ps", "-o", "user:20=", "-C", "portcullis-serve").split(), ["portcullis-server"])
        self.machine.must("portcullis-server", "enroll-token", "--state", "/var/lib/portcullis-server")
        self.assertEqual(self.unit("portcullis-server", "NRestarts"), "0")

    def health(self):
        done = self.machine.run("curl", "-s", "--cacert", "/var/lib/portcullis-server/ca.pem", "https://127.0.0.1:7443/healthz")
        return json.loads(done.stdout) if done.stdout.startswith("{") else {}

    def test_4_upgrade_goes_on_guarding(self):
        before = self.unit("portcullisd", "MainPID")
        self.machine.must("dpkg", "-i", self.deb)
        self.eventually("it guards again", lambda: (self.status() or {}).get("active"))
        self.assertNotEqual(self.unit("portcullisd", "MainPID"), before)
        self.assertEqual(self.unit("portcullis-host", "ActiveState"), "inactive")

    def test_5_removal_leaves_what_was_preserved(self):
        self.machine.must("dpkg", "--purge", "portcullis")
        self.assertEqual(self.machine.run("systemctl", "is-active", "portcullisd").returncode != 0, True)
        self.assertEqual(self.machine.run("pgrep", "-x", "portcullisd").stdout, "")
        self.machine.must("test", "-e", "/var/lib/portcullis/index.db")
        self.assertTrue(os.listdir(self.machine.path("/srv/files/.portcullis")))


if __name__ == "__main__":
    reason = machine.why_not(rig.cgroup2())
    if reason:
        print("deb: skipped: " + reason)
        sys.exit(77)
    unittest.main()
