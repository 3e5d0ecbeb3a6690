"""What the host's tests share: a fleet in a temporary folder for each test, a hard end for everything started, exit status 77 where it cannot run."""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)


def skip_all(reason):
    print("skipped: %s" % reason)
    sys.exit(77)


def cgroup2():
    with open("/proc/self/mounts") as mounts:
        for line in mounts:
            words = line.split()
            if words[2] == "cgroup2":
                return words[1]
    return None


def group_of(folder):
    """What a runner on this folder calls the group of its jobs (pc_hash64 of the path)."""
    h = 0xcbf29ce484222325
    for byte in folder.encode():
        h = (h ^ byte) * 0x100000001b3 & (1 << 64) - 1
    return "portcullis-jobs-%016x" % (h ^ h >> 29)


if os.geteuid() != 0:
    skip_all("needs root")
try:
    import fleet
except ImportError as why:
    skip_all(str(why))
if not shutil.which("ssh-keygen"):
    skip_all("ssh-keygen is missing")
if not cgroup2():
    skip_all("no cgroup v2 here")


class Case(unittest.TestCase):
    """One fleet a test; self.host() makes an enrolled, started runner that ends with the test."""
    trust = {}

    def setUp(self):
        self.groups = []
        self.folder = tempfile.mkdtemp(prefix="portcullis-host-")
        self.addCleanup(shutil.rmtree, self.folder, True)
        os.chmod(self.folder, 0o755)
        self.fleet = fleet.Fleet(self.folder, **self.trust)

    def host(self, name="web1", start=True, **more):
        runner = fleet.Runner(self.fleet, name, **more).enroll()
        self.groups.append(group_of(runner.folder))
        self.addCleanup(runner.stop)
        return runner.start() if start else runner

    def script(self, runner, text, **more):
        """A script.run of sh -c TEXT for one runner."""
        params = {"argv": ["/bin/sh", "-c", text], "timeout": more.pop("timeout", 20), "output": more.pop("output", 65536)}
        params.update(more.pop("params", {}))
        return self.fleet.order(more.pop("hosts", [runner.ref]), "script.run", params, **more)

    def path(self, name):
        return os.path.join(self.folder, name)

    def assert_no_group_left(self):
        """No job outlives its order: no process in a group of a runner of ours (others may be testing beside us)."""
        seen = set()
        for folder, _, files in os.walk(cgroup2()):
            group = next((g for g in self.groups if g in folder), None)
            if group and "cgroup.procs" in files:
                seen.add(group)
                with open(os.path.join(folder, "cgroup.procs")) as procs:
                    self.assertEqual(procs.read(), "", folder)
        self.assertEqual(seen, set(self.groups), "a runner that is there has its group")


def lines(path):
    try:
        with open(path) as f:
            return f.read().split("\n")[:-1]
    except FileNotFoundError:
        return []


def run(*words, **more):
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60, **more).stdout


main = unittest.main
