#!/usr/bin/python3
"""Files destroyed from another machine, through Samba's file server: the client is stopped, the share stays up for the others."""
import os
import shutil
import subprocess

import rig
from rig import check, eventually

SMBD = "/usr/sbin/smbd"
SERVER, SERVER6 = "10.78.0.1", "fd78::1"
CONF = """[global]
  server role = standalone server
  smb ports = 445
  disable netbios = yes
  load printers = no
  disable spoolss = yes
  map to guest = Bad User
  guest account = nobody
  log file = %(dir)s/log
  max log size = 1000
  private dir = %(dir)s
  lock directory = %(dir)s
  state directory = %(dir)s
  cache directory = %(dir)s
  pid directory = %(dir)s
  ncalrpc dir = %(dir)s/ncalrpc
  usershare max shares = 0
[share]
  path = %(tree)s
  guest ok = yes
  read only = no
  force user = root
"""


def must(*words, **more):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=60, check=False, **more)
    check(done.returncode == 0, "%s: %s", " ".join(words), done.stdout.decode("utf-8", "replace")[-400:])


class Machine:
    """Another machine on the share's network, which is all in network namespaces; it ends with the namespaces."""

    def __init__(self, share, number):
        self.share, self.address = share, "10.78.0.%d" % number
        self.space = "pcsmb%d-%d" % (os.getpid(), number)
        must("ip", "netns", "add", self.space)
        share.spaces.append(self.space)
        outside = "c%d" % number
        must("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", self.space)
        must("ip", "link", "set", outside, "master", "br0", "up")
        must("ip", "-n", self.space, "addr", "add", self.address + "/24", "dev", "eth0")
        must("ip", "-n", self.space, "addr", "add", "fd78::%d/64" % number, "dev", "eth0", "nodad")
        must("ip", "-n", self.space, "link", "set", "eth0", "up")
        self.to = SERVER
        self.dir = os.path.join(share.bench.scratch, "machine%d" % number)
        os.mkdir(self.dir)

    def client(self, *commands, seconds=20):
        """One connection; (worked, what smbclient said)."""
        words = ["nsenter", "--net=/run/netns/" + self.space, "smbclient", "-N", "-t", "5", "-s", self.share.conf, "-I", self.to, "//here/share",
                 "-c", "; ".join(commands)]
        try:
            done = subprocess.run(words, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds,
                                  env=self.share.bench.environment(), check=False)
        except subprocess.TimeoutExpired:
            return False, "no answer"
        text = done.stdout.decode("utf-8", "replace")
        return done.returncode == 0 and "NT_STATUS" not in text, text

    def fetch(self, names):
        worked, text = self.client(*["get " + name for name in names])
        check(worked, "%s fetches: %s", self.address, text[-600:])

    def overwrite(self, names):
        """What ransomware does from a PC: all fetched files are encrypted here, and written back in place over one connection."""
        for name in names:
            self.encrypt(name)
        self.client(*["put %s.enc %s" % (name, name) for name in names], seconds=60)

    def encrypt(self, name):
        must("openssl", "enc", "-aes-256-ctr", "-pbkdf2", "-iter", "1", "-pass", "pass:x", "-in", os.path.join(self.dir, name), "-out",
             os.path.join(self.dir, name + ".enc"), env=self.share.bench.environment())


class Share:
    """Samba's own server on the scenario's guarded folder, in a network of the scenario's own."""

    def __init__(self, bench):
        for program in (SMBD, "smbclient", "nft", "ip", "nsenter"):
            if not shutil.which(program, path=bench.environment()["PATH"]):
                raise rig.Skip("%s is not installed" % program)
        self.bench, self.spaces, self.dir = bench, [], os.path.join(bench.scratch, "samba")
        self.outer = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        rig.leave_network()
        self.inner = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        must("ip", "link", "add", "br0", "type", "bridge")
        must("ip", "addr", "add", SERVER + "/24", "dev", "br0")
        must("ip", "addr", "add", SERVER6 + "/64", "dev", "br0", "nodad")
        must("ip", "link", "set", "br0", "up")
        must("ip", "link", "set", "lo", "up")
        os.mkdir(self.dir, 0o755)
        self.conf = os.path.join(self.dir, "smb.conf")
        with open(self.conf, "w", encoding="utf-8") as out:
            out.write(CONF % {"dir": self.dir, "tree": bench.tree})

    def start_guard_outside(self, settings=None):
        """A guard in the machine's own network namespace: it has the process connector, and cannot block in the server's one."""
        rig.LIBC.setns(self.outer, rig.CLONE_NEWNET)
        try:
            return self.bench.start_guard(settings)
        finally:
            rig.LIBC.setns(self.inner, rig.CLONE_NEWNET)

    def __enter__(self):
        with open(os.path.join(self.dir, "out"), "wb") as out:
            self.server = subprocess.Popen([SMBD, "-F", "--no-process-group", "-s", self.conf], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                           env=self.bench.environment())
        self.machines = [Machine(self, n) for n in (2, 3)]
        eventually("the share answers", lambda: self.machines[0].client("ls")[0])
        return self

    def __exit__(self, *_):
        for space in self.spaces:
            subprocess.run(["ip", "netns", "delete", space], stderr=subprocess.DEVNULL, check=False)
        self.server.kill()
        self.server.wait(10)


def documents(bench, n=24):
    """Files for one machine to destroy and for another to work on."""
    words = ("The council met on the %d. and agreed on what follows, item by item, as read out by the clerk.\n" * 700)
    for number in range(n):
        with open(os.path.join(bench.tree, "doc%02d.txt" % number), "w", encoding="utf-8") as out:
            out.write(words % ((number,) * 700))
    return ["doc%02d.txt" % number for number in range(n)]


def check_stopped(bench, guard, share, before):
    """What is promised once the bad machine was stopped: who, how few, others undisturbed, everything back, and the way back in."""
    bad, good = share.machines
    incident = guard.wait_incident()
    check(incident["actor"]["argv"] == ["client", bad.address] and incident["actor"]["pid"] is None, "actor: %s", incident["actor"])
    shown = guard.command("incident", str(incident["id"]))[1]
    check("client " + bad.address in shown and "until the incident is released" in shown and "pid null" not in shown, "shown: %s", shown)
    if os.environ.get("PC_SHOW"):
        print(shown, guard.command("incidents")[1], guard.command("status")[1])
    check(incident["damaged"] <= 5, "%d damaged", incident["damaged"])
    check(share.server.poll() is None, "the file server ended")
    worked, text = good.client("get doc20.txt mine.txt", "put mine.txt fresh.txt", "rm fresh.txt")
    check(worked, "the other machine is kept from the share: %s", text[-300:])
    worked, text = bad.client("ls", seconds=8)
    check(not worked, "the bad machine still uses the share")
    check(bad.address in guard.warnings(), "status does not say who is kept out: %s", guard.warnings())
    status, text = guard.command("rollback", str(incident["id"]))
    check(status == 0, "rollback: status %d: %s", status, text[-800:])
    bench.check_same(before, "rollback")
    status, text = guard.command("release", str(incident["id"]))
    check(status == 0 and "may use the share again" in text, "release: status %d: %s", status, text)
    eventually("the released machine is let in", lambda: bad.client("ls", seconds=8)[0])
    return incident["damaged"]


@rig.scenario("xfs", "ext4", "btrfs", seconds=120)
def one_connection(bench):
    """All files over one connection: fetched, encrypted, written back in place."""
    names = documents(bench)
    with Share(bench) as share:
        guard = bench.start_guard()
        guard.wait_quiet()
        bad = share.machines[0]
        bad.fetch(names)
        before = bench.look()
        bad.overwrite(names)
        return "%d damaged" % check_stopped(bench, guard, share, before)


@rig.scenario("xfs", seconds=120)
def over_ipv6(bench):
    """The same from an IPv6 address."""
    names = documents(bench)
    with Share(bench) as share:
        guard = bench.start_guard()
        guard.wait_quiet()
        bad = share.machines[0]
        bad.to, bad.address = SERVER6, "fd78::2"
        bad.fetch(names)
        before = bench.look()
        bad.overwrite(names)
        return "%d damaged" % check_stopped(bench, guard, share, before)


@rig.scenario("xfs", "ext4", seconds=120)
def connection_per_file(bench):
    """A connection for every file, with new names and the old ones deleted; the evidence is one machine's all the same."""
    names = documents(bench)
    with Share(bench) as share:
        guard = bench.start_guard()
        guard.wait_quiet()
        bad, good = share.machines
        bad.fetch(names)
        before = bench.look()
        for name in names:
            bad.encrypt(name)
            check(good.client("get doc23.txt mine.txt")[0], "the other machine is disturbed before anybody was stopped")
            if not bad.client("put %s.enc %s.locked" % (name, name), "rm " + name, seconds=8)[0]:
                break
        return "%d damaged" % check_stopped(bench, guard, share, before)


@rig.scenario("xfs", seconds=120)
def kept_out_over_a_restart(bench):
    """Who is kept out stays out when the guard starts anew, and release still lets him in."""
    names = documents(bench)
    with Share(bench) as share:
        guard = bench.start_guard()
        guard.wait_quiet()
        bad, good = share.machines
        bad.fetch(names)
        bad.overwrite(names)
        incident = guard.wait_incident()
        guard.stop()
        must("nft", "delete", "table", "inet", "portcullis_share", env=bench.environment())  # as a reboot does
        guard = bench.start_guard()
        check(not bad.client("ls", seconds=8)[0], "the bad machine is back after a restart")
        check(good.client("ls")[0], "the other machine is kept out")
        status, text = guard.command("release", str(incident["id"]))
        check(status == 0, "release: status %d: %s", status, text)
        eventually("the released machine is let in", lambda: bad.client("ls", seconds=8)[0])


def ended_each_time(bench, share, guard, names, why):
    """Nothing is blocked: each new connection of the machine is ended before it harms, others go on."""
    guard.wait_quiet()
    bad, good = share.machines
    bad.fetch(names)
    before = bench.look()
    bad.overwrite(names)
    incident = guard.wait_incident()
    for name in names[8:]:
        bad.client("put %s.enc %s" % (name, name), seconds=8)
    check(good.client("get doc20.txt mine.txt")[0], "the other machine is kept from the share")
    check(guard.incidents()[0]["damaged"] <= 5, "%d damaged", guard.incidents()[0]["damaged"])
    notes = guard.json("incident", str(incident["id"]))["timeline"]
    check(any(why in note["text"] for note in notes), "timeline: %s", notes)
    check(len(guard.incidents()) == 1, "incidents: %s", guard.incidents())
    status, text = guard.command("rollback", str(incident["id"]))
    check(status == 0, "rollback: status %d: %s", status, text[-800:])
    bench.check_same(before, "rollback")


@rig.scenario("xfs", seconds=120)
def not_blocked_but_ended(bench):
    """[share] block = no: no rule in nftables."""
    names = documents(bench)
    with Share(bench) as share:
        ended_each_time(bench, share, share.start_guard_outside("[share]\nblock = no\n"), names, "block is no")


@rig.scenario("xfs", "ext4", seconds=120)
def server_in_another_network(bench):
    """A file server in a container: its addresses cannot be blocked from here, and the timeline says so."""
    names = documents(bench)
    with Share(bench) as share:
        ended_each_time(bench, share, share.start_guard_outside(), names, "another network namespace")


@rig.scenario("xfs", seconds=120)
def ordinary_work(bench):
    """Two machines edit, add, rename and delete; nobody is stopped."""
    names = documents(bench)
    with Share(bench) as share:
        guard = bench.start_guard()
        guard.wait_quiet()
        for machine in share.machines:
            machine.fetch(names[:20])
            for name in names[:12]:
                with open(os.path.join(machine.dir, name), "a", encoding="utf-8") as out:
                    out.write("and one more line, by %s\n" % machine.address)
            must("zip", "-q", os.path.join(machine.dir, "all.zip"), *names[:20], cwd=machine.dir, env=bench.environment())
            here = machine.address.rpartition(".")[2]
            worked, text = machine.client(*["put " + name for name in names[:12]], "put all.zip all%s.zip" % here, "mkdir by%s" % here,
                                          "rename doc2%s.txt by%s/moved.txt" % (here[0], here), seconds=60)
            check(worked, "ordinary work: %s", text[-400:])
        guard.wait_quiet()
        check(not guard.incidents(), "stopped: %s", guard.incidents())


if __name__ == "__main__":
    raise SystemExit(rig.main(__doc__))
