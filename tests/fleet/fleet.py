"""A whole fleet on one machine: a server, hosts and owners, each in a network namespace of its own, all thrown away at the end.

Owns: the namespaces and their one switch, every process started in them, the owners' keys, the folder that all of it lives in.
Must not: touch the machine's own network, its users, or any folder but its own. Used by tests/own-the-server, tests/fleet,
tools/demo-fleet and by hand. Needs root, ip(8) and network namespaces.
"""
import base64
import glob
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))
import host as single  # noqa: E402
from patience import Failure, eventually  # noqa: E402

BUILD = single.BUILD
SUBNET = "10.77.0."
SERVER_ADDRESS = SUBNET + "1"
OWNER_ADDRESS = SUBNET + "254"
API_PORT, LINK_PORT = 7443, 7444
READY_SECONDS = 30
# Three owners with three kinds of ordinary keys: nobody has to buy or install anything to approve.
OWNER_KEYS = {"alice": ["-t", "ed25519"], "bob": ["-t", "ecdsa", "-b", "256"], "carol": ["-t", "rsa", "-b", "3072"]}


def why_not():
    """The reason why a fleet cannot run here, or None."""
    if os.geteuid() != 0:
        return "needs root (network namespaces)"
    for program in ("ip", "nft", "ssh-keygen"):
        if not shutil.which(program, path=single.PATH):
            return "%s is not installed" % program
    for program in ("portcullis", "portcullisd", "portcullis-server"):
        if not os.path.exists(os.path.join(BUILD, program)):
            return "%s/%s is not built" % (BUILD, program)
    probe = "pcf%d-probe" % os.getpid()
    if subprocess.run(["ip", "netns", "add", probe], stderr=subprocess.DEVNULL, check=False).returncode != 0:
        return "no network namespaces here (ip netns add failed)"
    subprocess.run(["ip", "netns", "delete", probe], check=False)
    return None


def run(words, **kwargs):
    """Runs to the end, within minutes (an RSA key is made of luck); the finished process with text output."""
    kwargs.setdefault("timeout", 180)
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", check=False,
                          stdin=kwargs.pop("stdin", subprocess.DEVNULL), **kwargs)


def must(words, **kwargs):
    done = run(words, **kwargs)
    if done.returncode != 0:
        raise Failure("%s: exit %d: %s" % (" ".join(map(str, words)), done.returncode, (done.stderr or done.stdout).strip()[-800:]))
    return done.stdout


class Namespace:
    """One network namespace with one address on the fleet's switch."""

    def __init__(self, network, name, address):
        self.name, self.address = "%s-%s" % (network.prefix, name), address
        outside, inside = "%s%s" % (network.short, name[:6]), "eth0"
        must(["ip", "netns", "add", self.name])
        network.names.append(self.name)
        must(["ip", "-n", network.switch, "link", "add", outside, "type", "veth", "peer", "name", inside, "netns", self.name])
        must(["ip", "-n", network.switch, "link", "set", outside, "master", "br0", "up"])
        must(["ip", "-n", self.name, "addr", "add", address + "/24", "dev", inside])
        must(["ip", "-n", self.name, "link", "set", inside, "up"])
        must(["ip", "-n", self.name, "link", "set", "lo", "up"])

    def words(self, words):
        # Not `ip netns exec`: that hides /sys, and with it the cgroups that orders run in.
        return ["nsenter", "--net=/run/netns/" + self.name, "--"] + list(words)


class Network:
    """A switch in a namespace of its own: the machine's own network never sees a packet of ours."""

    def __init__(self):
        self.prefix, self.short, self.names = "pcf%d" % os.getpid(), "p%d" % (os.getpid() % 10000), []
        self.switch = self.prefix + "-switch"
        must(["ip", "netns", "add", self.switch])
        self.names.append(self.switch)
        must(["ip", "-n", self.switch, "link", "add", "br0", "type", "bridge"])
        must(["ip", "-n", self.switch, "link", "set", "br0", "up"])

    def close(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL, check=False)
        self.names = []


class Program:
    """A long-running program in a namespace, with its output in a file that tests read."""

    def __init__(self, fleet, space, words, log, env=None):
        self.fleet, self.space, self.command, self.log = fleet, space, list(words), log
        self.env = dict(fleet.env, **(env or {}))
        self.process = None

    def start(self):
        self.seen = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(self.space.words(self.command), stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=subprocess.STDOUT, env=self.env, start_new_session=True)
        return self

    def text(self, all_runs=False):
        """What it said since it was last started, or ever."""
        if not os.path.exists(self.log):
            return ""
        with open(self.log, "rb") as log:
            log.seek(0 if all_runs else self.seen)
            return log.read().decode("utf-8", "replace")

    def wait_said(self, words, seconds=READY_SECONDS):
        def probe():
            if words in self.text():
                return True
            if self.process.poll() is not None:
                raise Failure("%s ended with %d before saying \"%s\":\n%s" % (self.command[0], self.process.returncode, words, self.text()[-2000:]))
            return False
        eventually(lambda: "%s says \"%s\"; it said:\n%s" % (os.path.basename(self.command[0]), words, self.text()[-2000:]), probe, seconds)

    def stop(self, number=signal.SIGTERM, seconds=15):
        """Ends it and, after a kill, everything that it started (its process group)."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        for victim in (lambda: os.killpg(self.process.pid, signal.SIGKILL), self.process.kill):
            try:
                victim()
            except (ProcessLookupError, PermissionError):
                pass
        self.process.wait(10)


class Owner:
    """Somebody with an ordinary SSH key and the command line, on a machine that is not the server."""

    def __init__(self, fleet, name):
        self.fleet, self.name, self.home = fleet, name, os.path.join(fleet.dir, "owner-" + name)
        self.key = os.path.join(self.home, "id")
        os.makedirs(self.home, mode=0o700)
        kind = OWNER_KEYS.get(name, ["-t", "ed25519"])
        must(["ssh-keygen", "-q", "-N", "", "-C", name, "-f", self.key] + kind)

    def portcullis(self, *words, **kwargs):
        env = dict(self.fleet.env, PORTCULLIS_OWNER=self.home, HOME=self.home)
        env.pop("SSH_AUTH_SOCK", None)
        return run(self.fleet.owners_space.words([self.fleet.program("portcullis")] + [str(w) for w in words]), env=env, **kwargs)

    def must(self, *words, **kwargs):
        done = self.portcullis(*words, **kwargs)
        if done.returncode != 0:
            raise Failure("portcullis %s: exit %d: %s" % (" ".join(map(str, words)), done.returncode, (done.stderr + done.stdout).strip()[-1200:]))
        return done.stdout

    def json(self, *words):
        return json.loads(self.must(*words, "--json"))

    def approve(self, path):
        return self.must("approve", path, "--key", self.key, "--yes")

    def configure(self, server, token, ca):
        token_file = os.path.join(self.home, "token")
        with open(os.open(token_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as out:
            out.write(token + "\n")
        shutil.copy(ca, os.path.join(self.home, "ca.pem"))
        with open(os.path.join(self.home, "owner.conf"), "w", encoding="utf-8") as out:
            out.write("[server]\nurl = %s\nca = %s\ntoken = %s\n" % (server, os.path.join(self.home, "ca.pem"), token_file))


class Host:
    """One enrolled machine: its own network, its own state; files it may touch lie under files/."""

    def __init__(self, fleet, name, address):
        self.fleet, self.name = fleet, name
        self.space = Namespace(fleet.network, name, address)
        self.dir = os.path.join(fleet.dir, name)
        self.state, self.files = os.path.join(self.dir, "fleet"), os.path.join(self.dir, "files")
        os.makedirs(self.files)
        os.chmod(self.dir, 0o755)
        self.ref = None
        self.program = Program(fleet, self.space, self.words(), os.path.join(self.dir, "host.log"))

    def words(self):
        return [self.fleet.program("portcullisd"), "host", "--fleet-state", self.state, "--state", os.path.join(self.dir, "guard"),
                "--config", self.config()]

    def config(self):
        path = os.path.join(self.dir, "portcullis.conf")
        with open(path, "w", encoding="utf-8") as out:
            out.write("[log]\njournal = no\n" + self.fleet.host_settings)
        return path

    def enroll(self, trust=None, token=None, extra=()):
        token = token or self.fleet.enroll_token()
        done = must(self.space.words([self.fleet.program("portcullisd"), "enroll", "--fleet-state", self.state, "--server", self.fleet.url,
                                      "--ca", self.fleet.ca, "--trust", trust or self.fleet.trust, "--name", self.name, "--token", token]
                                     + list(extra)), env=self.fleet.env)
        for line in done.splitlines():
            if line.startswith("host: "):
                self.ref = line.split()[1]
        if not self.ref:
            raise Failure("enroll did not say who the host is: %s" % done)
        return done

    def start(self):
        self.program.start().wait_said("ready")
        return self

    def said(self, words, seconds=20, all_runs=False):
        eventually(lambda: "%s says \"%s\"; it said:\n%s" % (self.name, words, self.program.text()[-3000:]),
                   lambda: words in self.program.text(all_runs), seconds)

    def apply_stop(self, path):
        return run(self.space.words([self.fleet.program("portcullis"), "apply-stop", path, "--fleet-state", self.state]), env=self.fleet.env)


class Fleet:
    """Everything together. Use as a context manager: whatever happens, nothing is left behind."""

    def __init__(self, hosts=3, owners=("alice", "bob", "carol"), threshold=2, dwell=0, silence=60, cap=10, host_settings="", database=None,
                 witnesses=(), witnesses_needed=0):
        self.dir = tempfile.mkdtemp(prefix="portcullis-fleet.", dir="/var/tmp")
        os.chmod(self.dir, 0o755)
        self.env = dict(os.environ, LC_ALL="C", PATH=single.PATH)
        self.env[single.MARK] = self.mark = "fleet-%d-%s" % (os.getpid(), os.path.basename(self.dir))
        # An attacker may cut a host off hundreds of times: here it need not wait up to five minutes for the next try.
        host_settings = "[fleet]\nreconnect-max = 5s\n" + host_settings
        self.host_settings, self.database = host_settings, database
        self.threshold, self.dwell, self.silence, self.cap = threshold, dwell, silence, cap
        self.witnesses, self.witnesses_needed = list(witnesses), witnesses_needed
        self.hosts, self.programs, self.network = [], [], None
        self.wanted_hosts, self.wanted_owners = hosts, owners

    def program(self, name):
        return os.path.join(BUILD, name)

    def __enter__(self):
        try:
            self.network = Network()
            self.server_space = Namespace(self.network, "server", SERVER_ADDRESS)
            self.owners_space = Namespace(self.network, "owners", OWNER_ADDRESS)
            self.owners = [Owner(self, name) for name in self.wanted_owners]
            self.make_server()
            self.make_trust()
            self.start_server()
            self.give_access()
            for n in range(self.wanted_hosts):
                self.add_host("web%d" % (n + 1))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def server(self, *words):
        return must(self.server_space.words([self.program("portcullis-server")] + list(words)), env=self.env)

    def make_server(self):
        self.url = "https://%s:%d" % (SERVER_ADDRESS, API_PORT)
        self.server_state = os.path.join(self.dir, "server")
        said = self.server("init", "--state", self.server_state, "--tenant", "city", "--listen", "%s:%d" % (SERVER_ADDRESS, API_PORT),
                           "--link", "%s:%d" % (SERVER_ADDRESS, LINK_PORT), "--name", SERVER_ADDRESS, *self.database_words())
        self.ca = os.path.join(self.server_state, "ca.pem")
        self.log_key = [line.split(": ", 1)[1] for line in said.splitlines() if line.startswith("log key: ")][0]

    def database_words(self):
        return ["--database", self.database] if self.database else []

    def make_trust(self):
        """The trust file, made and signed on the owners' own machines; the server gets a copy, the hosts get theirs by hand."""
        self.trust = os.path.join(self.dir, "trust.json")
        words = ["trust", "new", "--tenant", "city"]
        for owner in self.owners:
            words += ["--owner", "%s=%s.pub:BCST" % (owner.name, owner.key)]
        words += ["--threshold", "B=%d,C=%d,S=1,T=%d" % (self.threshold, self.threshold, self.threshold), "--log-key", self.log_key,
                  "--dwell", self.dwell, "--cap", "C=%d,S=%d" % (self.cap, self.cap), "--silence", self.silence, "-o", self.trust]
        for witness in self.witnesses:
            words += ["--witness", witness]
        if self.witnesses:
            words += ["--witnesses-needed", self.witnesses_needed]
        self.owners[0].must(*words)
        for owner in self.owners[:self.threshold]:
            owner.approve(self.trust)
        for owner in self.owners:
            shutil.copy(self.trust, os.path.join(owner.home, "trust.json"))
        self.server("trust", "--state", self.server_state, self.trust, *sorted(glob.glob(self.trust + ".*.sig")))

    def start_server(self):
        self.server_program = Program(self, self.server_space,
                                      [self.program("portcullis-server"), "run", "--state", self.server_state] + self.database_words(),
                                      os.path.join(self.dir, "server.log"))
        self.programs.append(self.server_program)
        self.server_program.start().wait_said("ready")

    def give_access(self):
        for owner in self.owners:
            token = self.server("api-token", "--state", self.server_state, owner.name, "--role", "operate").strip()
            owner.configure(self.url, token, self.ca)

    def enroll_token(self):
        return self.server("enroll-token", "--state", self.server_state).strip()

    def add_host(self, name):
        host = Host(self, name, SUBNET + str(10 + len(self.hosts)))
        self.programs.append(host.program)
        host.enroll()
        host.start()
        self.hosts.append(host)
        eventually("%s is online at the server" % name, lambda: self.online(name), 30)
        for owner in self.owners:  # out of band: the owner reads NAME#HOSTID off the host's own screen
            with open(os.path.join(owner.home, "hosts"), "a", encoding="utf-8") as pins:
                pins.write(host.ref + "\n")
        return host

    def online(self, name):
        done = self.owners[0].portcullis("hosts", "--json")  # its status tells of pins; here only the list counts
        return done.stdout.startswith("[") and any(h["name"] == name and h["online"] for h in json.loads(done.stdout))

    def order(self, name, *words, hosts=None, by=2, submit=True):
        """Makes, approves (by so many owners) and submits an order; its file and SHA-256."""
        path = os.path.join(self.dir, name + ".json")
        refs = ",".join(h.ref for h in (hosts or self.hosts))
        self.owners[0].must("order", "new", *words, "--hosts", refs, "-o", path)
        for owner in self.owners[:by]:
            owner.approve(path)
        if submit:
            self.owners[0].must("submit", path)
        with open(path, "rb") as document:
            return path, hashlib.sha256(document.read()).hexdigest()

    def order_status(self, path):
        with open(path, encoding="utf-8") as document:
            identity = json.load(document)["id"]
        return self.owners[0].json("order", "status", identity)

    def wait_outcome(self, path, outcome="ok", hosts=None, seconds=60):
        """Until each host of the order reports that outcome; the order's status."""
        def probe():
            status = self.order_status(path)
            ended = [h for h in status["hosts"] if h["state"] == outcome or h["outcome"] == outcome]
            return status if len(ended) >= (hosts or len(status["hosts"])) else None
        return eventually(lambda: "every host says %s: %s" % (outcome, json.dumps(self.order_status(path)["hosts"])), probe, seconds)

    def close(self):
        for program in reversed(self.programs):
            program.stop()
        self.kill_marked()
        if self.network:
            self.network.close()
        if os.environ.get("PC_KEEP"):
            print("# kept: %s" % self.dir, file=sys.stderr)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)

    def kill_marked(self):
        """Every process that came from here carries our mark in its environment, orphaned or not: found and killed by pid."""
        mark = ("%s=%s" % (single.MARK, self.mark)).encode()
        for entry in os.listdir("/proc"):
            if not entry.isdigit() or int(entry) == os.getpid():
                continue
            try:
                with open("/proc/%s/environ" % entry, "rb") as environment:
                    if mark in environment.read().split(b"\0"):
                        os.kill(int(entry), signal.SIGKILL)
            except (OSError, ProcessLookupError):
                pass


def envelope(document, signatures):
    """PROTOCOL 1.2, as an attacker or a second implementer makes it."""
    return json.dumps({"document": base64.b64encode(document).decode(), "signatures": signatures})
