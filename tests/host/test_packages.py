#!/usr/bin/env python3
"""package.update with the real apt and dpkg, on a machine of the test's own (machine.py) whose only sources are two folders: one of plain, one of security
updates. Packages of ours, version 1 installed and version 2 offered; all of it is gone with the machine."""
import shutil
import subprocess

import rig
import test_systemd
from fleet import sha256
from test_systemd import machine

PLAIN, SECURITY = "/srv/plain", "/srv/security"
RELEASE = "Origin: Debian\nLabel: %s\nSuite: %s\nCodename: test\nVersion: 12\nArchitectures: all\n"


class Packages(test_systemd.Case):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.machine.must("sh", "-c", "rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /etc/apt/preferences.d/* /var/lib/apt/lists/*")
        cls.machine.write("/etc/apt/sources.list", "deb [trusted=yes] file:%s ./\ndeb [trusted=yes] file:%s ./\n" % (PLAIN, SECURITY))

    def setUp(self):
        super().setUp()
        self.machine.must("sh", "-c", "rm -rf %s %s && mkdir -p %s %s" % (PLAIN, SECURITY, PLAIN, SECURITY))
        self.addCleanup(self.machine.run, "sh", "-c", "dpkg --purge --force-all $(dpkg-query -f '${Package}\\n' -W 'pc-test-*')")

    def build(self, name, version, where=None, postinst=None, config=None):
        """A package with one file; installed at once where it is offered nowhere."""
        folder = "/root/build"
        self.machine.must("rm", "-rf", folder)
        self.machine.write(folder + "/DEBIAN/control", "Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: a test <root@localhost>\n"
                           "Description: harmless\n" % (name, version))
        self.machine.write("%s/usr/share/%s/version" % (folder, name), version + "\n")
        if postinst:
            self.machine.write(folder + "/DEBIAN/postinst", "#!/bin/sh\n%s\n" % postinst, 0o755)
        if config:
            self.machine.write("%s/etc/%s.conf" % (folder, name), config)
            self.machine.write(folder + "/DEBIAN/conffiles", "/etc/%s.conf\n" % name)
        made = "%s/%s_%s_all.deb" % (where or "/root", name, version)
        self.machine.must("dpkg-deb", "--root-owner-group", "--build", folder, made)
        if not where:
            self.machine.must("dpkg", "-i", made)

    def offer(self):
        for where, label, suite in ((PLAIN, "Debian", "stable"), (SECURITY, "Debian-Security", "stable-security")):
            self.machine.must("sh", "-c", "cd %s && dpkg-scanpackages . >Packages" % where)
            with open(self.machine.path(where + "/Packages"), "rb") as f:
                text = f.read()
            self.machine.write(where + "/Release", (RELEASE % (label, suite)) + "SHA256:\n %s %d Packages\n" % (sha256(text), len(text)))

    def version(self, name):
        return self.machine.run("dpkg-query", "-f", "${Version} ${db:Status-Status}", "-W", name).stdout

    def update(self, **params):
        return self.order("package.update", dict({"security": False, "timeout": 60}, **params))

    def two(self):
        for name in ("pc-test-plain", "pc-test-safe"):
            self.build(name, "1")
        self.build("pc-test-plain", "2-security", PLAIN)  # a version may call itself anything
        self.build("pc-test-safe", "2", SECURITY)
        self.offer()

    def test_security_only_and_then_all(self):
        self.two()
        outcome, text = self.update(security=True)
        self.assertEqual(outcome, "ok", text)
        self.assertIn("pc-test-safe [1] (2 Debian-Security:12/stable-security [all])\n1 packages to update\n", text)
        self.assertIn("Setting up pc-test-safe (2)", text)
        self.assertEqual((self.version("pc-test-plain"), self.version("pc-test-safe")), ("1 installed", "2 installed"))
        outcome, text = self.update()
        self.assertEqual(outcome, "ok", text)
        self.assertIn("pc-test-plain [1] (2-security Debian:12/stable [all])\n1 packages to update\n", text)
        self.assertEqual(self.version("pc-test-plain"), "2-security installed")
        self.assertEqual(self.machine.read("/usr/share/pc-test-plain/version"), "2-security\n")
        outcome, text = self.update()
        self.assertEqual((outcome, "0 packages to update" in text), ("ok", True), text)

    def test_one_by_name_and_never_downwards(self):
        self.two()
        self.build("pc-test-new", "3")
        self.build("pc-test-new", "2", PLAIN)
        self.offer()
        outcome, text = self.update(packages=["pc-test-plain", "pc-test-new"])
        self.assertEqual(outcome, "ok", text)
        self.assertEqual([self.version("pc-test-" + n) for n in ("plain", "safe", "new")], ["2-security installed", "1 installed", "3 installed"])
        outcome, text = self.update(packages=["pc-test-nowhere"])
        self.assertEqual((outcome, "Unable to locate package pc-test-nowhere" in text), ("failed", True), text)

    def test_a_configuration_that_was_changed_stays(self):
        self.build("pc-test-conf", "1", config="old\n")
        self.machine.write("/etc/pc-test-conf.conf", "mine\n")
        self.build("pc-test-conf", "2", PLAIN, config="new\n")
        self.offer()
        outcome, text = self.update()
        self.assertEqual((outcome, self.version("pc-test-conf"), self.machine.read("/etc/pc-test-conf.conf")), ("ok", "2 installed", "mine\n"), text)

    def test_one_that_fails_says_why(self):
        self.build("pc-test-bad", "1")
        self.build("pc-test-bad", "2", PLAIN, postinst='echo "the table is locked"; exit 7')
        self.offer()
        outcome, text = self.update()
        self.assertEqual(outcome, "failed", text)
        for words in ("pc-test-bad [1] (2 ", "the table is locked", "post-installation script subprocess returned error exit status 7"):
            self.assertIn(words, text)
        self.eventually(lambda: "package.update: exit status 100" in self.log())
        self.build("pc-test-bad", "3", PLAIN)  # and a better one mends it
        self.offer()
        outcome, text = self.update()
        self.assertEqual((outcome, self.version("pc-test-bad")), ("ok", "3 installed"), text)

    def test_somebody_else_at_work(self):
        self.two()
        holder = subprocess.Popen(self.machine.words("python3", "-c", "import fcntl, time; f = open('/var/lib/dpkg/lock-frontend', 'w'); fcntl.lockf(f, fcntl.LOCK_EX); "
                                                     "print('held', flush=True); time.sleep(100)"), stdout=subprocess.PIPE, text=True)
        self.addCleanup(holder.stdout.close)
        self.addCleanup(holder.wait)
        self.addCleanup(holder.kill)
        holder.stdout.readline()
        outcome, text = self.update(timeout=4)
        self.assertEqual(outcome, "failed", text)
        self.assertRegex(text, r"Could not get lock /var/lib/dpkg/lock-frontend. It is held by process \d+ \(python3\)")
        self.assertEqual(self.version("pc-test-safe"), "1 installed")

    def test_one_that_takes_too_long_is_ended_and_mended(self):
        self.build("pc-test-slow", "1")
        self.build("pc-test-slow", "2", PLAIN, postinst="test -e /run/again && exit; touch /run/again; sleep 600")
        self.offer()
        outcome, text = self.update(timeout=4)
        self.assertEqual(outcome, "timeout", text)
        self.eventually(lambda: not self.sleepers())
        self.assertEqual(self.version("pc-test-slow"), "2 half-configured")
        self.build("pc-test-slow", "3", PLAIN)
        self.offer()
        outcome, text = self.update()
        self.assertEqual((outcome, self.version("pc-test-slow")), ("ok", "3 installed"), text)
        self.assertIn("an update before was cut off", text)


if __name__ == "__main__":
    why = machine.why_not(rig.cgroup2())
    for program in ("meson", "apt-get", "dpkg-scanpackages"):
        why = why or (None if shutil.which(program) else "%s is not installed" % program)
    if why:
        rig.skip_all(why)
    rig.main()
