#!/usr/bin/env python3
"""A host that is really rebooted (vm.py): what was ordered runs once, and what was stopped stays stopped. Takes minutes: `make test-reboot`."""
import base64
import os
import shutil
import sys
import time

import rig

if "PC_OWN_NETWORK" not in os.environ:  # the guest sees this machine's loopback: it is to be an empty one
    import vm
    if vm.why_not():
        rig.skip_all(vm.why_not())
    vm.Base(os.path.join(os.environ.get("PC_BUILD", "build"), "vm"))  # from Debian's archive, which the empty one does not reach
    os.environ["PC_OWN_NETWORK"] = "1"
    os.execvp("unshare", ["unshare", "--net", "--mount", "--propagation", "private", sys.executable] + sys.argv)

import test_link  # noqa: E402
import vm  # noqa: E402
from fleet import PORTCULLISD, open_envelope, sha256  # noqa: E402

BUILD = os.path.dirname(os.path.abspath(PORTCULLISD))
OTHER = "10.0.2.100"  # an address that only an isolated host may not reach
ENROLL = """[Unit]
ConditionPathExists=!/var/lib/portcullis/fleet/link.json
Before=portcullis-host.service
After=network.service
Requires=network.service
[Service]
Type=oneshot
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
ExecStart=/usr/local/sbin/portcullisd enroll --server https://fleet.test:%d --ca /root/ca.pem --trust /root/trust.json --name web1 --token secret
[Install]
WantedBy=multi-user.target
"""
NETWORK = """[Service]
Type=oneshot
RemainAfterExit=yes
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
ExecStart=/bin/sh -c 'modprobe virtio_net; until test -e /sys/class/net/eth0; do sleep 0.2; done; ip addr add 10.0.2.15/24 dev eth0 && ip link set eth0 up'
[Install]
WantedBy=multi-user.target
"""
BOOT_S = 300  # without any help of the processor's, on a busy machine


class Reboot(test_link.Case):
    """One machine, one story: booting is slow."""

    def setUp(self):
        rig.run("ip", "link", "set", "lo", "up")
        test_link.Connection.heartbeat, test_link.Connection.patience = 60, BOOT_S
        super().setUp()
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.server.link_name = "fleet.test"
        self.vm = vm.Vm(vm.Base(os.path.join(BUILD, "vm")), self.folder)
        self.addCleanup(self.vm.stop)
        rig.run("meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", self.vm.tree)
        rig.run("chroot", self.vm.tree, "systemd-sysusers")
        for source, name in ((self.authority.ca, "ca.pem"), (self.fleet.trust_path, "trust.json")):
            shutil.copy(source, self.vm.tree + "/root/" + name)
        self.vm.add("/etc/hosts", "127.0.0.1 localhost\n10.0.2.2 fleet.test\n")
        self.vm.add("/etc/portcullis/portcullis.conf", "[fleet]\nreconnect-max = 1s\n")
        self.vm.add("/etc/systemd/system/network.service", NETWORK)
        self.vm.add("/etc/systemd/system/enroll.service", ENROLL % self.server.api_port)
        self.vm.add("/etc/systemd/system/portcullis-host.service.d/console.conf", "[Service]\nStandardOutput=tty\nStandardError=tty\nTTYPath=/dev/console\n")
        self.vm.add("/usr/local/bin/bad", "#!/bin/sh\nexit 0 # bad\n", 0o755)
        rig.run("chroot", self.vm.tree, "systemctl", "-q", "enable", "network", "enroll", "portcullis-host")
        # Nothing else: every program that starts costs seconds here.
        rig.run("chroot", self.vm.tree, "systemctl", "-q", "mask", "portcullisd", "getty.target", "systemd-logind", "e2scrub_reap", "systemd-timesyncd",
                "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer", "remote-fs.target",
                "systemd-update-utmp", "systemd-update-utmp-runlevel", "systemd-binfmt", "systemd-networkd")
        self.orders = self.boots = 0
        self.vm.start(",restrict=off,guestfwd=tcp:%s:9-cmd:cat" % OTHER)

    def log(self):
        return self.vm.said()

    def booted(self):
        """The connection of the next boot. A unit that fails says so on the console."""
        self.boots += 1
        self.link = self.host(self.boots, BOOT_S)

    def send(self, action, params, class_="C"):
        document = self.fleet.order([self.link.hello["host"]], action, params, class_=class_)
        if class_ == "S":
            bundle = {"order": self.fleet.envelope(document, self.fleet.owners[2:], "order@portcullis")}
        else:
            bundle = self.fleet.bundle(document, self.orders)[0]
            self.orders += 1
        self.link.send("bundle", bundle)
        return sha256(document)

    def result(self, digest):
        result = {}
        while result.get("order_sha256") != digest:
            result = open_envelope(self.link.read("result"), "result")
        return result["outcome"], base64.b64decode(result["output"]).decode()

    def shell(self, text):
        return self.result(self.send("script.run", {"argv": ["/bin/bash", "-c", text], "timeout": BOOT_S, "output": 4096}))

    def blocker(self):
        """Host, runner and blocker have children, in this order; link, hasher and the keeper of the scope have none."""
        outcome, text = self.shell("for p in $(pgrep -x portcullisd); do read -r c </proc/$p/task/$p/children; test -n \"$c\" && echo $p; done; true")
        self.assertEqual(outcome, "ok", text)
        return text.split()[2]

    def reaches(self):
        return self.shell("timeout 5 bash -c '</dev/tcp/%s/9'" % OTHER)[0] == "ok"

    def reboot(self, how):
        """By order, in the middle of it: what it did before is on the disk, its end is not."""
        digest = self.send("script.run", {"argv": ["/bin/bash", "-c", "echo x >>/root/runs; sync; %s; sleep 100" % how], "timeout": BOOT_S, "output": 4096})
        self.booted()
        return self.result(digest)

    def test_two_reboots(self):
        self.server.client_cert = None  # not known before it is enrolled
        self.booted()
        self.assertEqual(self.shell("cat /proc/1/comm"), ("ok", "systemd\n"))
        self.assertTrue(self.reaches())
        boot = self.shell("cat /proc/sys/kernel/random/boot_id")[1]
        print("# booted, enrolled, obeys", flush=True)

        bad = sha256(b"#!/bin/sh\nexit 0 # bad\n")
        self.assertEqual(self.shell("bad")[0], "ok")
        self.assertEqual(self.result(self.send("hash.block", {"sha256": bad, "seconds": 3600}, "S"))[0], "ok")  # every local file system: here that is safe
        self.assertEqual(self.result(self.send("host.isolate", {"allow": [], "seconds": 3600}, "S"))[0], "ok")
        self.assertEqual((self.shell("bad")[0], self.reaches()), ("failed", False))
        self.assertEqual(self.shell("kill -9 %s && ls / >/dev/null && echo starts" % self.blocker()), ("ok", "starts\n"))  # nobody waits for the dead
        self.assertTrue(self.eventually(lambda: self.shell("bad")[0] == "failed"))  # and there is another
        print("# isolated, blocked on every local file system, blocker killed", flush=True)

        self.assertEqual(self.reboot("echo b >/proc/sysrq-trigger")[0], "unknown")  # as a power cut
        self.assertNotEqual(self.shell("cat /proc/sys/kernel/random/boot_id")[1], boot)
        self.assertEqual((self.shell("bad")[0], self.reaches()), ("failed", False))
        self.assertEqual(self.shell("cat /root/runs"), ("ok", "x\n"))
        print("# power cut: run once, still isolated and blocked", flush=True)

        self.assertIn(self.reboot("systemctl reboot")[0], ("unknown", "failed"))  # in good order
        self.assertEqual((self.shell("bad")[0], self.reaches()), ("failed", False))
        self.assertEqual(self.shell("cat /root/runs"), ("ok", "x\nx\n"))
        self.assertEqual(self.result(self.send("host.unisolate", {}))[0], "ok")
        self.assertEqual(self.result(self.send("hash.unblock", {"sha256": bad}))[0], "ok")
        self.assertTrue(self.reaches())
        self.assertTrue(self.eventually(lambda: self.shell("bad")[0] == "ok"))
        print("# rebooted in good order: run once, still isolated and blocked, and released by order", flush=True)

    def eventually(self, probe, tries=20):
        for _ in range(tries):
            if probe():
                return True
            time.sleep(0.5)
        return False


if __name__ == "__main__":
    rig.main()
