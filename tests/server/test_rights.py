#!/usr/bin/env python3
"""What the running server may still do: started by root with --user, it binds, becomes that user for good, and works; root's commands beside it do not
take its files away. Exits 77 (skip) without root."""
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import unittest

import fleet
from fleet import SERVER, Fleet, Host, until

USER = "nobody"


def privileged_ports(n):
    """Ports that only root may bind."""
    found = []
    for port in range(1023, 600, -1):
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == n:
            return found
    raise unittest.SkipTest("no free port below 1024")


def status(pid, thread):
    with open(f"/proc/{pid}/task/{thread}/status", encoding="utf-8") as lines:
        return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


class Rights(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.f = Fleet(user=USER, ports=privileged_ports(2))
        cls.server, cls.user = cls.f.server, pwd.getpwnam(USER)

    @classmethod
    def tearDownClass(cls):
        cls.f.close()

    def confined(self):
        return self.server.call("GET", "/healthz", role=None)[1]["confined"]

    def owners(self):
        return {name: os.lstat(os.path.join(self.server.state, name)).st_uid for name in os.listdir(self.server.state)}

    def test_every_thread_is_that_user_and_has_nothing_else(self):
        pid = self.server.process.pid
        threads = os.listdir(f"/proc/{pid}/task")
        self.assertGreaterEqual(len(threads), 3)  # the loop, the writer, those that check
        for thread in threads:
            s = status(pid, thread)
            self.assertEqual(set(s["Uid"].split()), {str(self.user.pw_uid)})
            self.assertEqual(set(s["Gid"].split()), {str(self.user.pw_gid)})
            self.assertEqual(s["Groups"], "")
            for caps in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                self.assertEqual(int(s[caps], 16), 0, caps)
            self.assertEqual(s["NoNewPrivs"], "1")
            self.assertEqual(s["Seccomp"], "2" if self.confined()["seccomp"] else "0")
        c = self.confined()
        self.assertTrue(c["user"] and c["no_capabilities"] and c["no_new_privs"], c)
        if not c["seccomp"]:
            self.assertTrue([line for line in self.server.lines if "no filter of system calls" in line])

    def test_it_works_and_roots_commands_leave_it_its_files(self):
        host = self.f.host("works")
        sha, _ = self.f.order([host])
        self.assertEqual(host.bundle()[0], sha)
        host.ack(sha)
        # Root beside it: tokens go into its database, a certificate into its folder.
        self.server.tokens.clear()
        self.server.get("/v1/hosts")
        old = self.server_certificate()
        self.server.command("cert", "--state", self.server.state)
        self.server.process.send_signal(signal.SIGHUP)
        until(lambda: self.server_certificate() != old)
        host.result(sha, output=b"x" * 200000)
        self.assertEqual(set(self.owners().values()), {self.user.pw_uid}, self.owners())
        # A backup of the running one, made by root, becomes a server of that user again.
        backup, again = os.path.join(self.f.folder, "backup.tar"), os.path.join(self.f.folder, "again")
        self.server.command("backup", "--state", self.server.state, backup)
        entries = self.server.log()
        host.result("0" * 64)  # it goes on
        self.server.stop()
        self.server.command("restore", "--state", again, "--user", USER, backup)
        first, self.server.state = self.server.state, again
        try:
            self.server.start()
            self.assertEqual(self.server.log()[:len(entries)], entries)
            host.close()
            host.size, host.root = 0, b""
            host.connect()
            host.result("1" * 64)
            self.server.stop()
        finally:
            self.server.state = first
        self.server.start()
        host.close()

    def server_certificate(self):
        with socket.create_connection(("127.0.0.1", self.server.api_port)) as raw, self.server.context().wrap_socket(raw, server_hostname="127.0.0.1") as s:
            return s.getpeercert(True)

    def test_a_folder_of_somebody_else(self):
        mine = os.path.join(self.f.folder, "mine")
        shutil.copytree(self.server.state, mine)  # root's
        p = self.server.command("run", "--state", mine, "--user", USER, ok=False)
        self.assertEqual(p.returncode, 1)
        self.assertIn("chown -R " + USER, p.stderr)
        p = self.server.command("run", "--state", mine, "--user", "no-such-user", ok=False)
        self.assertEqual(p.returncode, 1)
        self.assertIn("no user no-such-user", p.stderr)
        p = self.server.command("run", "--state", self.server.state, ok=False)  # as root, which would have no right to its files
        self.assertEqual(p.returncode, 1)

    def test_root_without_a_user_has_no_capability(self):
        with Fleet() as f:
            c = f.server.call("GET", "/healthz", role=None)[1]["confined"]
            self.assertEqual((c["user"], c["no_capabilities"], c["no_new_privs"], c["seccomp"]), (False, True, True, self.confined()["seccomp"]))
            host = Host(f.server, "h").enroll().connect()
            host.result("0" * 64)
            host.close()

    def test_the_user_itself_may_start_it(self):
        """As a unit with User= does: no root anywhere."""
        state = os.path.join(self.f.folder, "unit")
        ports = fleet.free_ports(2)
        subprocess.run([SERVER, "init", "--state", state, "--tenant", "t", "--listen", f"127.0.0.1:{ports[0]}", "--link", f"127.0.0.1:{ports[1]}", "--user", USER],
                       check=True, stdout=subprocess.DEVNULL)
        p = subprocess.Popen([SERVER, "run", "--state", state, "--user", USER], user=USER, group=self.user.pw_gid, extra_groups=[], stdout=subprocess.PIPE)
        try:
            self.assertEqual(p.stdout.readline().strip(), b"portcullis-server: ready")
        finally:
            p.terminate()
            self.assertEqual(p.wait(60), 0)
            p.stdout.close()


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("skipped: only root can become another user")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1], verbosity=2)
