#!/usr/bin/env python3
"""A host that reaches its server only through an HTTP proxy: Debian's tinyproxy, and proxies that ask for a password, hang, lie or die.

The host has a network of its own with one neighbour, the proxy's; the server listens on the loopback of the proxy's side, so there is no other way to it.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import rig

if "PC_OWN_NETWORK" not in os.environ:
    os.environ["PC_OWN_NETWORK"] = "1"
    os.execvp("unshare", ["unshare", "--net", "--mount", "--propagation", "private", sys.executable] + sys.argv)

import test_link  # noqa: E402
from fleet import PORTCULLISD, open_envelope, sha256  # noqa: E402

PROXY, HOST, PORT = "10.78.1.1", "10.78.1.2", 8888
NAME = "the-proxy.test"  # known to /etc/hosts alone


class Tinyproxy:
    """Started at once; auth: "name password", which it then asks for."""

    def __init__(self, folder, auth=None):
        self.config, self.log_path = os.path.join(folder, "tinyproxy.conf"), os.path.join(folder, "tinyproxy.log")
        with open(self.config, "w") as f:
            f.write("User nobody\nGroup nogroup\nPort %d\nListen %s\nTimeout 600\nMaxClients 50\nLogLevel Connect\n" % (PORT, PROXY))
            f.write("BasicAuth %s\n" % auth if auth else "")
        self.start()

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(["tinyproxy", "-d", "-c", self.config], stdout=log, stderr=log)
        for _ in range(200):
            try:
                return socket.create_connection((PROXY, PORT), 1).close()
            except OSError:
                time.sleep(0.02)
        raise AssertionError("tinyproxy did not start: " + open(self.log_path).read())

    def stop(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.process.wait()


class FakeProxy:
    """Takes connections on the proxy's port, and answers each first read with these bytes; None: never."""

    def __init__(self, answer):
        self.answer, self.asked, self.open = answer, [], []
        self.listener = socket.create_server((PROXY, PORT))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                peer = self.listener.accept()[0]
            except OSError:
                return
            self.open.append(peer)
            threading.Thread(target=self.greet, args=(peer,), daemon=True).start()

    def greet(self, peer):
        try:
            self.asked.append(peer.recv(4096))
            if self.answer is not None:
                peer.sendall(self.answer)
                peer.close()
        except OSError:
            pass

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for peer in self.open:
            peer.close()


class Case(test_link.Case):
    proxy_url = "http://%s:%d" % (NAME, PORT)

    @classmethod
    def setUpClass(cls):
        """The host's network: a process that only holds it, and a cable."""
        rig.run("ip", "link", "set", "lo", "up")
        cls.holder = subprocess.Popen(["unshare", "--net", "sleep", "1000"])
        cls.addClassCleanup(cls.holder.wait)
        cls.addClassCleanup(cls.holder.kill)
        while os.readlink("/proc/%d/ns/net" % cls.holder.pid) == os.readlink("/proc/self/ns/net"):
            time.sleep(0.01)
        rig.run("ip", "link", "add", "px0", "type", "veth", "peer", "name", "px1", "netns", str(cls.holder.pid))
        rig.run("ip", "addr", "add", PROXY + "/24", "dev", "px0")
        rig.run("ip", "link", "set", "px0", "up")
        for words in (["addr", "add", HOST + "/24", "dev", "px1"], ["link", "set", "px1", "up"], ["link", "set", "lo", "up"]):
            rig.run(*cls.inside("ip", *words))
        cls.addClassCleanup(rig.run, "ip", "link", "del", "px0")

    @classmethod
    def inside(cls, *words):
        return ["nsenter", "-t", str(cls.holder.pid), "--net", "--", *words]

    def setUp(self):
        super().setUp()
        self.proxies = []
        self.names("%s %s\n" % (PROXY, NAME))
        with open(self.config, "w") as f:
            f.write("[fleet]\nlink-user = nobody\nreconnect-max = 1s\nproxy = %s\n[log]\njournal = no\n" % self.proxy_url)
        os.chmod(self.config, 0o600)

    def names(self, text):
        """What /etc/hosts says, in this mount namespace."""
        path = self.path("hosts")
        with open(path, "w") as f:
            f.write("127.0.0.1 localhost\n" + text)
        if not os.path.ismount("/etc/hosts"):
            rig.run("mount", "--bind", path, "/etc/hosts")
            self.addCleanup(rig.run, "umount", "/etc/hosts")

    def proxy(self, made):
        self.proxies.append(made)
        self.addCleanup(lambda: made.stop() if made in self.proxies else None)
        return made

    def drop(self, proxy, *how):
        self.proxies.remove(proxy)
        proxy.stop(*how)

    def portcullisd(self, *words):
        return subprocess.run(self.inside(PORTCULLISD, *words), capture_output=True, text=True, timeout=60)

    def enroll(self, expect=0, **unused):
        done = self.portcullisd("enroll", "--fleet-state", self.state, "--config", self.config, "--server", self.server.url(), "--ca", self.authority.ca,
                                "--trust", self.fleet.trust_path, "--name", "web1", "--token", "secret")
        self.assertEqual(done.returncode, expect, done.stderr)
        return done.stderr

    def start(self):
        self.server.client_cert = os.path.join(self.state, "link.crt")
        self.log_path = self.path("host.log")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.inside(PORTCULLISD, "host", "--fleet-state", self.state, "--state", self.path("guard"), "--config", self.config),
                                            stdout=log, stderr=log)
        self.addCleanup(self.end)

    def wait_log(self, words, seconds=20):
        until = time.monotonic() + seconds
        while words not in self.log():
            self.assertLess(time.monotonic(), until, "%s; log: %s" % (words, self.log()[-2000:]))
            time.sleep(0.05)

    def up(self):
        """Enrolled and connected."""
        self.enroll()
        self.start()
        return self.host()

    def order(self, host, action, params, **more):
        document = self.fleet.order([host.hello["host"]], action, params, **more)
        if more.get("class_") == "S":
            bundle = {"order": self.fleet.envelope(document, self.fleet.owners[2:], "order@portcullis")}
        else:
            bundle = self.fleet.bundle(document, host.hello["checkpoint_size"])[0]
        host.send("bundle", bundle)
        result = {}
        while result.get("order_sha256") != sha256(document):
            result = open_envelope(host.read("result"), "result")
        return result


class Through(Case):
    def test_it_is_the_only_way(self):
        with open(self.config, "w") as f:
            f.write("[fleet]\nlink-user = nobody\n[log]\njournal = no\n")
        self.proxy(Tinyproxy(self.folder))
        self.assertIn("127.0.0.1", self.enroll(expect=1))
        self.assertEqual(self.server.enrolments, [])

    def test_enrolment_link_order_and_fetch(self):
        self.proxy(Tinyproxy(self.folder))
        host = self.up()
        result = self.order(host, "script.run", {"argv": ["/bin/echo", "hello"], "timeout": 5, "output": 100})
        self.assertEqual(result["outcome"], "ok")
        document = json.dumps(dict(self.fleet.trust, version=2)).encode()
        self.server.files["/v1/trust"] = json.dumps(self.fleet.envelope(document, self.fleet.owners[1:], "trust@portcullis")).encode()
        host.hello["checkpoint_size"] = 1
        self.assertEqual(self.order(host, "trust.replace", {"sha256": sha256(document)})["outcome"], "ok")
        with open(self.path("tinyproxy.log")) as f:
            asked = f.read()
        for target in ("127.0.0.1:%d" % self.server.api_port, "localhost:%d" % self.server.link_port):
            self.assertIn("CONNECT %s" % target, asked)

    def test_a_proxy_that_dies_and_comes_back(self):
        proxy = self.proxy(Tinyproxy(self.folder))
        self.up()
        proxy.stop()
        self.wait_log("the server closed the connection")
        self.wait_log("no connection:")
        proxy.start()
        self.assertEqual(self.host(2).hello["host"].split("#")[0], "web1")

    def test_one_that_wants_a_password(self):
        self.proxy(Tinyproxy(self.folder, "fleet sesame"))
        self.assertIn("407", self.enroll(expect=1))
        with open(self.config) as f:
            text = f.read()
        with open(self.config, "w") as f:
            f.write(text.replace("http://", "http://fleet:sesame@"))
        host = self.up()
        self.assertEqual(self.order(host, "script.run", {"argv": ["/bin/true"], "timeout": 5, "output": 1})["outcome"], "ok")
        self.assertNotIn("sesame", self.log())
        with open(self.config, "w") as f:
            f.write(text.replace("http://", "http://fleet:wrong-one@"))
        self.end()
        self.start()
        self.wait_log("CONNECT tunnel failed, response 401")
        self.assertNotIn("wrong-one", self.log())

    def test_one_that_is_somebody_else(self):
        """It says yes and then speaks TLS itself, with a certificate of another authority: nothing is sent to it."""
        proxy = self.proxy(Tinyproxy(self.folder))
        self.up()
        self.drop(proxy)
        self.proxy(FakeProxy(b"HTTP/1.1 200 Connection established\r\n\r\nSSH-2.0-not-tls\r\n"))
        self.wait_log("no connection:")
        self.assertEqual(len(self.server.hosts), 1)

    def test_isolated_it_still_reaches_the_server(self):
        """The proxy stays reachable, and its name known, when no resolver is; nothing else is."""
        proxy = self.proxy(Tinyproxy(self.folder))
        host = self.up()
        other = socket.create_server((PROXY, 9999))
        self.addCleanup(other.close)
        rig.run("ip", "addr", "add", "10.78.1.3/24", "dev", "px0")
        self.addCleanup(rig.run, "ip", "addr", "del", "10.78.1.3/24", "dev", "px0")
        other = socket.create_server(("10.78.1.3", 9999))
        self.addCleanup(other.close)
        reaches = self.inside(sys.executable, "-c", "import socket; socket.create_connection(('10.78.1.3', 9999), 1)")
        self.assertEqual(subprocess.run(reaches, stderr=subprocess.DEVNULL).returncode, 0)
        result = self.order(host, "host.isolate", {"allow": [], "seconds": 600}, class_="S")
        self.assertEqual((result["outcome"], result["data"]["server"]), ("ok", [PROXY]))
        self.assertNotEqual(subprocess.run(reaches, stderr=subprocess.DEVNULL).returncode, 0)
        self.names("")  # no resolver any more
        proxy.stop()
        proxy.start()
        host = self.host(2)
        document = json.dumps(dict(self.fleet.trust, version=2)).encode()
        self.server.files["/v1/trust"] = json.dumps(self.fleet.envelope(document, self.fleet.owners[1:], "trust@portcullis")).encode()
        self.assertEqual(self.order(host, "trust.replace", {"sha256": sha256(document)})["outcome"], "ok")
        host.hello["checkpoint_size"] = 1
        self.assertEqual(self.order(host, "host.unisolate", {})["outcome"], "ok")
        self.assertEqual(subprocess.run(reaches, stderr=subprocess.DEVNULL).returncode, 0)


class Hangs(Case):
    """Slow by nature: time limits are waited for."""

    def test_one_that_stops_in_the_middle(self):
        self.server.heartbeat = 1
        proxy = self.proxy(Tinyproxy(self.folder))
        self.up()
        proxy.stop(signal.SIGSTOP)
        self.wait_log("nothing heard for three heartbeats")
        proxy.stop(signal.SIGCONT)
        self.host(2)

    def test_one_that_never_answers(self):
        proxy = self.proxy(Tinyproxy(self.folder))
        self.up()
        self.drop(proxy)
        silent = self.proxy(FakeProxy(None))
        self.wait_log("aborted due to timeout", 40)
        self.drop(silent)
        self.proxy(Tinyproxy(self.folder))
        self.host(2)

    def test_one_that_never_stops_answering(self):
        proxy = self.proxy(Tinyproxy(self.folder))
        self.up()
        self.drop(proxy)
        self.proxy(FakeProxy(b"HTTP/1.1 200 OK\r\n" + b"X-Header: %s\r\n" % (b"x" * 4000) * 5000))
        self.wait_log("no connection:", 40)
        link = self.children("link")[0]
        with open("/proc/%d/status" % link) as f:
            peak = [int(line.split()[1]) for line in f if line.startswith("VmHWM")][0]
        self.assertLess(peak, 64 << 10)


if __name__ == "__main__":
    if not shutil.which("tinyproxy"):
        rig.skip_all("tinyproxy is not installed")
    rig.main()
