"""A fleet of simulated hosts (bench/fleet_sim) before real servers, on loopback: for tests of the server with many hosts, and for bench/fleet.

Owns: the servers' folders, the owners' keys, orders made and signed here with ssh-keygen (no byte of them by our own command line), the processes.
Must not: judge. Use as a context manager; whatever happens, nothing is left behind.
"""
import base64
import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), part) for part in ("own-the-server", "lib")]
import host as single  # noqa: E402
from patience import Failure, eventually  # noqa: E402
from ports import free_ports  # noqa: E402
import tree  # noqa: E402

BUILD = single.BUILD
SIM = os.path.join(BUILD, "bench", "fleet_sim", "fleet-sim")
SERVER = os.path.join(BUILD, "portcullis-server")
LIST_MAX = 256  # hosts that an order names one by one; more have a root


def clock(offset=0):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + offset))


def must(words, **kwargs):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=600, **kwargs)
    if done.returncode != 0:
        raise Failure("%s: exit %d: %s" % (" ".join(words), done.returncode, done.stderr.decode("utf-8", "replace")[-800:]))
    return done.stdout.decode()


class Server:
    """One portcullis-server process with a folder of its own; several may share a database, and then have the same keys."""

    def __init__(self, folder, api, link, database=None):
        self.folder, self.api, self.link, self.database, self.process = folder, api, link, database, None
        self.log = folder + ".log"

    def words(self):
        return ["--database", self.database] if self.database else []

    def start(self):
        with open(self.log, "ab") as log:
            at = log.tell()
            self.process = subprocess.Popen([SERVER, "run", "--state", self.folder] + self.words(), stdin=subprocess.DEVNULL, stdout=log,
                                            stderr=subprocess.STDOUT)

        def ready():
            if self.process.poll() is not None:
                raise Failure("the server ended with %d: %s" % (self.process.returncode, self.text()[-2000:]))
            return "portcullis-server: ready" in self.text()[at:]
        eventually("the server is ready", ready, 60)

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def stop(self, number=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(number)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def rss(self):
        """Resident bytes."""
        with open("/proc/%d/status" % self.process.pid, encoding="ascii") as lines:
            return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) << 10

    def cpu(self):
        """Seconds of processor so far."""
        with open("/proc/%d/stat" % self.process.pid, encoding="ascii") as line:
            fields = line.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


    def threads(self):
        """Seconds of processor so far by the name of the thread: portcullis-serv (the loop), writer, check."""
        seconds = {}
        for task in os.listdir("/proc/%d/task" % self.process.pid):
            with open("/proc/%d/task/%s/stat" % (self.process.pid, task), encoding="ascii") as line:
                name, _, rest = line.read().partition("(")[2].rpartition(")")
            fields = rest.split()
            seconds[name] = seconds.get(name, 0) + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return seconds


class Sim:
    """One fleet-sim process: agents first .. first + n - 1 on one server."""

    def __init__(self, fleet, server, first, n, full_every, dials):
        self.fleet, self.server, self.first, self.agents, self.process = fleet, server, first, n, None
        self.words = [SIM, "run", "--link", "127.0.0.1:%d" % server.link, "--ca", os.path.join(server.folder, "ca.pem"), "--trust", fleet.trust,
                      "--agents", str(n), "--first", str(first), "--full-every", str(full_every), "--dials", str(dials)]

    def start(self):
        self.process = subprocess.Popen(self.words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)

    def ask(self, *words):
        self.process.stdin.write((" ".join(map(str, words)) + "\n").encode())
        line = self.process.stdout.readline()
        if not line:
            raise Failure("fleet-sim has ended with %s" % self.process.wait())
        return json.loads(line)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process:
            self.process.stdout.close()


class Simulated:
    OWNERS = (("alice", ["-t", "ed25519"]), ("bob", ["-t", "ecdsa", "-b", "256"]), ("carol", ["-t", "rsa", "-b", "3072"]))

    def __init__(self, agents, servers=1, database=None, full_every=100, dials=0, folder="/var/tmp", heartbeat=60):
        self.agents, self.database, self.heartbeat = agents, database, heartbeat
        self.dir = tempfile.mkdtemp(prefix="portcullis-sim.", dir=folder)
        self.trust, self.sequence = os.path.join(self.dir, "trust.json"), 0
        ports = free_ports(2 * servers)
        self.servers = [Server(os.path.join(self.dir, "server%d" % i), ports[2 * i], ports[2 * i + 1], database) for i in range(servers)]
        share = [agents // servers + (i < agents % servers) for i in range(servers)]
        self.sims = [Sim(self, self.servers[i], sum(share[:i]), share[i], full_every, dials) for i in range(servers)]

    def __enter__(self):
        try:
            self.make_servers()
            self.make_trust()
            self.enrol()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for process in self.sims + self.servers:
            process.stop()
        if os.environ.get("PC_KEEP"):
            print("# kept: " + self.dir, file=sys.stderr)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    # --- before it runs

    def make_servers(self):
        first = self.servers[0]
        said = must([SERVER, "init", "--state", first.folder, "--tenant", "city", "--listen", "127.0.0.1:%d" % first.api,
                     "--link", "127.0.0.1:%d" % first.link, "--name", "127.0.0.1"] + first.words())
        self.log_key = said.split("log key: ", 1)[1].strip()
        for i, server in enumerate(self.servers):
            if i:
                shutil.copytree(first.folder, server.folder)
            # All simulated hosts have one address: a limit per address would be a limit on all. The rest waits in the backlog, where no deadline runs.
            self.set(server.folder, listen="127.0.0.1:%d" % server.api, link="127.0.0.1:%d" % server.link, server="server%d" % i, heartbeat=self.heartbeat,
                     handshakes=1024, handshakes_per_address=1024, connections=max(18000, self.agents + 16))

    @staticmethod
    def set(folder, **settings):
        path = os.path.join(folder, "server.conf")
        with open(path, encoding="utf-8") as text:
            conf = text.read()
        for key, value in settings.items():
            conf, n = re.subn(r"(?m)^%s = .*$" % key, "%s = %s" % (key, value), conf)
            if n != 1:
                raise Failure("server.conf has no setting %s" % key)
        with open(path, "w", encoding="utf-8") as text:
            text.write(conf)

    def make_trust(self):
        owners = []
        for name, kind in self.OWNERS:
            key = os.path.join(self.dir, name)
            must(["ssh-keygen", "-q", "-N", "", "-C", name, "-f", key] + kind)
            with open(key + ".pub", encoding="ascii") as public:
                owners.append({"name": name, "key": " ".join(public.read().split()[:2]), "classes": ["B", "C", "S", "T"]})
        document = {"portcullis": "trust/1", "tenant": "city", "version": 1, "created": clock(), "owners": owners,
                    "thresholds": {"B": 2, "C": 2, "S": 1, "T": 2}, "dwell": 0, "cap": {"C": 1000000, "S": 1000000}, "log": self.log_key,
                    "witnesses": [], "witnesses_needed": 0}
        with open(self.trust, "w", encoding="utf-8") as out:
            json.dump(document, out)
        for name, _ in self.OWNERS[:2]:
            with open("%s.%s.sig" % (self.trust, name), "w", encoding="ascii") as out, open(self.trust, "rb") as text:
                out.write(self.sign(name, text.read(), "trust@portcullis"))
        must([SERVER, "trust", "--state", self.servers[0].folder, self.trust])

    def enrol(self):
        """In bulk, behind the API's back; enrol_properly does it as a host does."""
        hosts = os.path.join(self.dir, "hosts")
        must([SIM, "prepare", "--database", self.database or "sqlite:" + os.path.join(self.servers[0].folder, "server.db"), "--trust", self.trust,
              "--agents", str(self.agents), "--output", hosts])
        with open(hosts, encoding="ascii") as lines:
            self.hosts = lines.read().split()
        self.token = must([SERVER, "api-token", "--state", self.servers[0].folder, "bench", "--role", "operate"]).strip()

    def enrol_properly(self, number):
        """One more host over POST /v1/enroll, with a token; its NAME#HOSTID."""
        token = must([SERVER, "enroll-token", "--state", self.servers[0].folder]).strip()
        body = must([SIM, "statement", "--first", str(number), "--token", token, "--trust", self.trust])
        return self.api("POST", "/v1/enroll", body.encode())["host"]

    # --- orders

    def sign(self, owner, document, namespace="order@portcullis"):
        done = subprocess.run(["ssh-keygen", "-q", "-Y", "sign", "-n", namespace, "-f", os.path.join(self.dir, owner)], input=document,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
        return done.stdout.decode()

    def order(self, class_, hosts=None):
        """A signed order: class C a script that agents only pretend to run, class S an isolation. (SHA-256, body of POST /v1/orders)."""
        hosts = self.hosts if hosts is None else hosts
        action = {"C": ("script.run", {"argv": ["/bin/true"], "timeout": 60, "output": 4096}),
                  "S": ("host.isolate", {"allow": [], "seconds": 60})}[class_]
        self.sequence += 1
        order = {"portcullis": "order/1", "id": os.urandom(16).hex(), "tenant": "city", "class": class_, "action": action[0], "params": action[1],
                 "count": len(hosts), "not_before": clock(-60), "expires": clock(3600), "sequence": self.sequence, "says": "Simulated."}
        if len(hosts) <= LIST_MAX:
            order["hosts"] = hosts
        else:
            order["hosts_root"] = tree.b64(tree.root([tree.leaf_hash(ref.encode()) for ref in hosts]))
        document = json.dumps(order).encode()
        signatures = [self.sign(name, document) for name, _ in self.OWNERS[:1 if class_ == "S" else 2]]
        body = {"document": tree.b64(document), "signatures": signatures}
        if "hosts" not in order:
            body["hosts"] = hosts
        return hashlib.sha256(document).hexdigest(), json.dumps(body).encode()

    def api(self, method, path, body=None, server=0, raw=False):
        context = ssl.create_default_context(cafile=os.path.join(self.servers[0].folder, "ca.pem"))
        link = http.client.HTTPSConnection("127.0.0.1", self.servers[server].api, context=context, timeout=120)
        try:
            link.request(method, path, body, {"Authorization": "Bearer " + self.token, "Content-Type": "application/json"})
            answer = link.getresponse()
            text = answer.read()
        finally:
            link.close()
        if answer.status != 200:
            raise Failure("%s %s: %d: %s" % (method, path, answer.status, text[:500].decode("utf-8", "replace")))
        return text if raw else json.loads(text)

    def submit(self, body, server=0):
        """When it was sent (monotonic ns), the answer, and how long that took."""
        began = time.monotonic_ns()
        answer = self.api("POST", "/v1/orders", body, server)
        return began, answer, (time.monotonic_ns() - began) / 1e9

    # --- what the agents say

    def status(self):
        return [sim.ask("status") for sim in self.sims]

    def welcomed(self):
        return sum(s["welcomed"] for s in self.status())

    def wait_welcomed(self, seconds=180):
        eventually(lambda: "%d of %d agents are connected: %s" % (self.welcomed(), self.agents, self.status()), lambda: self.welcomed() == self.agents, seconds)

    def seen(self, sha256, since):
        return [sim.ask("order", sha256, since) for sim in self.sims]

    def wait_stored(self, sha256, since, kinds=("ack",), seconds=180):
        """Until the server has said `got` to every agent's document of these kinds; what each simulator says of the order."""
        def probe():
            seen = self.seen(sha256, since)
            return seen if all(sum(s.get(kind, {"n": 0})["n"] for s in seen) == self.agents for kind in kinds) else None
        return eventually(lambda: "all %d %s of an order are stored: %s" % (self.agents, "/".join(kinds), self.seen(sha256, since)), probe, seconds)

    # --- the log, read and verified by another implementation

    def log_size(self, server=0):
        return int(self.api("GET", "/log/checkpoint", server=server, raw=True).decode().splitlines()[1])

    def log_entries(self, server=0):
        """All entries; fails unless they hash to the root that the checkpoint names."""
        note = self.api("GET", "/log/checkpoint", server=server, raw=True).decode().splitlines()
        size, entries = int(note[1]), []
        while len(entries) < size:
            page = self.api("GET", "/v1/entries?from=%d" % len(entries), server=server)
            for one in page:
                if one["index"] != len(entries):
                    raise Failure("entry %d is missing" % len(entries))
                entries.append(base64.b64decode(one["entry"]))
        entries = entries[:size]
        if tree.b64(tree.root([tree.leaf_hash(e) for e in entries])) != note[2]:
            raise Failure("the log's %d entries do not have the root that its checkpoint names" % size)
        return [json.loads(e) for e in entries]
