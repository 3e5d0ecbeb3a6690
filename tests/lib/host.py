"""A disposable host for one scenario: a fresh file system on a loop image, real files in it, and a guard over them.

Owns: private mounts, the image, the guard process, and the certainty that nothing is left behind: every process started
from here carries a mark in its environment and is found by it and killed by pid, frozen or orphaned as it may be.
Must not: touch any file system but its own image. Used by tests/attack/run and tests/benign/run; needs root and loop devices.
"""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("PC_BUILD", os.path.join(ROOT, "build"))
MARK = "PC_TEST_MARK"
SKIP = 77  # what meson takes for "could not run here"
MKFS = {
    "xfs": ["mkfs.xfs", "-q", "-f", "-m", "reflink=1"],
    "ext4": ["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}
# No stranger's program comes before Debian's, and none prints in another language.
PATH = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/games"
IMAGE_BYTES = 2 << 30  # sparse: costs only what is written


def commit():
    """Of the sources that the guard under test was built from, for the published tables."""
    done = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short=7", "HEAD"], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=False)
    return done.stdout.decode().strip() or None


def why_not(need_guard):
    """The reason why scenarios cannot run here, or None."""
    if os.geteuid() != 0:
        return "needs root (loop devices, mounts, fanotify)"
    if not os.path.exists("/dev/loop-control"):
        return "needs loop devices (/dev/loop-control is missing)"
    if not shutil.which("mkfs.xfs", path=PATH):
        return "needs xfsprogs (mkfs.xfs)"
    if need_guard and not os.path.exists(os.path.join(BUILD, "portcullisd")):
        return "%s/portcullisd is not built" % BUILD
    return None


def enter_private_mounts():
    """Re-executes this program where its mounts are its own and vanish with it."""
    if "PC_PRIVATE_MOUNTS" not in os.environ:
        os.environ["PC_PRIVATE_MOUNTS"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable] + sys.argv)


def clean_up_on_signals():
    """A terminated run leaves nothing behind either: the signal becomes an exit, and the exit unwinds."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda n, frame: sys.exit(128 + n))


def marked_processes(mark, folder):
    """Pids of all processes started with this mark in their environment, or working in this folder.

    The second because some (PostgreSQL) write their title over the environment.
    """
    needle, found = ("%s=%s" % (MARK, mark)).encode(), []
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            with open("/proc/%s/environ" % name, "rb") as env:
                ours = needle in env.read().split(b"\0") or os.readlink("/proc/%s/cwd" % name).startswith(folder + "/")
        except OSError:
            continue  # gone, or a kernel thread
        if ours:
            found.append(int(name))
    return found


def running(pids):
    """Those of pids that can still act: not stopped, not dead, not in a frozen cgroup, not held in an open by the gate."""
    alive = []
    for pid in pids:
        try:
            with open("/proc/%d/stat" % pid) as stat:
                state = stat.read().rpartition(")")[2].split()[0]
            with open("/proc/%d/wchan" % pid) as where:
                place = where.read()
                held = "freez" in place or "fanotify" in place
        except OSError:
            continue
        if state not in "TtZX" and not held and not in_frozen_cgroup(pid):
            alive.append(pid)
    return alive


def in_frozen_cgroup(pid):
    try:
        with open("/proc/%d/cgroup" % pid) as groups:
            path = [line.strip()[3:] for line in groups if line.startswith("0::")][0]
    except (OSError, IndexError):
        return False
    for mount in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
        try:
            with open("%s%s/cgroup.events" % (mount, path)) as events:
                return "frozen 1" in events.read()
        except OSError:
            continue
    return False


def kill_marked(mark, folder, seconds=10):
    """Ends them all; returns those that would not die within the time."""
    until = time.monotonic() + seconds
    while True:
        left = marked_processes(mark, folder)
        if not left or time.monotonic() > until:
            return left
        for pid in left:
            for sig in (signal.SIGKILL, signal.SIGCONT):
                try:
                    os.kill(pid, sig)
                except ProcessLookupError:
                    pass
        time.sleep(0.05)


class Guard:
    """portcullisd guard with a state folder of its own."""

    def __init__(self, protect, state, log, env):
        self.state, self.env = state, env
        os.makedirs(state, mode=0o700, exist_ok=True)
        words = [os.path.join(BUILD, "portcullisd"), "guard", "--state", state]
        for folder in protect:
            words += ["--protect", folder]
        self.log_path = log
        self.log = open(log, "wb")
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT, env=env,
                                        start_new_session=True)

    def log_text(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def wait_ready(self, seconds=60):
        until = time.monotonic() + seconds
        while "portcullis: guarding" not in self.log_text():
            if self.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError("the guard did not become ready:\n" + self.log_text()[-3000:])
            time.sleep(0.02)

    def command(self, *words, seconds=60):
        """Runs `portcullis WORDS` against this guard: (exit status, output)."""
        done = subprocess.run([os.path.join(BUILD, "portcullis"), *words, "--state", self.state], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, env=self.env, check=False)
        return done.returncode, done.stdout.decode("utf-8", "replace")

    def json(self, *words):
        status, text = self.command(*words, "--json")
        if status != 0:
            raise RuntimeError("portcullis %s: status %d: %s" % (" ".join(words), status, text[-1000:]))
        return json.loads(text)

    def incidents(self):
        return self.json("incidents")

    def gate_downs(self):
        """How often the gate came down, from status; None when the guard does not say."""
        return find_number(self.json("status"), ("gate_downs", "gates_down", "gate_down_count"))

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
        self.log.close()


def find_number(value, names):
    """The first number under one of these keys anywhere in a JSON value."""
    if isinstance(value, dict):
        for name in names:
            if isinstance(value.get(name), (int, float)):
                return value[name]
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            found = find_number(item, names)
            if found is not None:
                return found
    return None


class Host:
    """with Host("xfs") as host: host.fill(400); guard = host.guard() ..."""

    def __init__(self, fs, keep_log=None):
        self.fs, self.mark = fs, uuid.uuid4().hex
        self.keep_log = keep_log
        self.guards, self.mounted = [], False

    def __enter__(self):
        self.dir = tempfile.mkdtemp(prefix="portcullis-test.", dir=os.environ.get("PC_TEST_TMP", "/var/tmp"))
        self.mount = os.path.join(self.dir, "mnt")
        self.tree = os.path.join(self.mount, "data")        # protected
        self.outside = os.path.join(self.mount, "outside")  # same file system, not protected
        self.scratch = os.path.join(self.dir, "scratch")    # another file system
        try:
            self.make_image()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def make_image(self):
        os.makedirs(self.mount)
        os.makedirs(self.scratch)
        image = os.path.join(self.dir, "image")
        with open(image, "wb") as out:
            out.truncate(IMAGE_BYTES)
        subprocess.run(MKFS[self.fs] + [image], check=True, timeout=60, stdout=subprocess.DEVNULL)
        subprocess.run(["mount", "-o", "loop", image, self.mount], check=True, timeout=60)
        self.mounted = True
        os.makedirs(self.tree)
        os.makedirs(self.outside)

    def fill(self, files, *more):
        """Real files into the tree; more: further words for tools/corpus."""
        subprocess.run([os.path.join(ROOT, "tools/corpus"), "--quiet", "--make", self.tree, "--files", str(files), *more],
                       check=True, timeout=600)
        os.sync()

    def environment(self):
        return {
            "PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": self.scratch, "TMPDIR": self.scratch, "USER": "root", MARK: self.mark,
            "TREE": self.tree, "MNT": self.mount, "OUTSIDE": self.outside, "SCRATCH": self.scratch, "GNUPGHOME":
            os.path.join(self.scratch, "gnupg"), "KIT": os.path.join(ROOT, "tests/attack/payload"), "SOURCE_TREE": ROOT,
        }

    def guard(self):
        guard = Guard([self.tree], os.path.join(self.dir, "state"), os.path.join(self.dir, "guard.log"), self.environment())
        self.guards.append(guard)
        guard.wait_ready()
        return guard

    @staticmethod
    def fresh_log(keep, default):
        """Where a scenario's output goes: a new file."""
        if keep and os.path.exists(keep):
            os.unlink(keep)
        return keep or default

    def start(self, script, log):
        """Starts a bash script in the tree, in a session of its own, with its output in log."""
        with open(log, "ab") as out:
            return subprocess.Popen(["bash", "-euo", "pipefail", "-c", script], cwd=self.tree, env=self.environment(),
                                    stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)

    def actors(self):
        """Marked processes that are not the guard's (the guard's descend from those we started as guards)."""
        guards = {g.process.pid for g in self.guards}
        return [p for p in marked_processes(self.mark, self.dir) if p not in guards and not guards & set(ancestors(p))]

    def __exit__(self, *unused):
        for guard in self.guards:
            guard.stop()
        stuck = kill_marked(self.mark, self.dir)
        if stuck:
            print("# processes that would not die: %s" % stuck, file=sys.stderr)
        if self.keep_log and os.path.exists(os.path.join(self.dir, "guard.log")):
            shutil.copyfile(os.path.join(self.dir, "guard.log"), self.keep_log)
        if self.mounted:
            self.unmount()
        shutil.rmtree(self.dir, ignore_errors=True)

    def unmount(self):
        """Inner mounts first (a workload may have mounted something in the tree); lazily only when all else failed."""
        with open("/proc/self/mounts") as mounts:
            inner = [line.split()[1] for line in mounts if line.split()[1].startswith(self.dir)]
        for where in reversed(inner):
            for _ in range(50):
                if subprocess.run(["umount", where], stderr=subprocess.DEVNULL, check=False).returncode == 0:
                    break
                time.sleep(0.1)
            else:
                print("# %s stayed busy: detached" % where, file=sys.stderr)
                subprocess.run(["umount", "-l", where], check=False)


def ancestors(pid):
    chain = []
    while pid > 1 and len(chain) < 64:
        try:
            with open("/proc/%d/stat" % pid) as stat:
                pid = int(stat.read().rpartition(")")[2].split()[1])
        except OSError:
            break
        chain.append(pid)
    return chain
