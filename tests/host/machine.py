"""A machine with systemd as its init, in namespaces of its own: this system's files under an overlay that lives in memory, up in a second.

Owns the namespaces, the cgroup they are rooted in, and their end. Must not change anything of the system it runs on: what is written there stays in the
overlay, /proc/sys and /sys are read-only, and the network is the caller's (who should have made one of his own). Needs root, cgroup v2 and overlayfs.
"""
import os
import shutil
import subprocess
import tempfile
import time

BOOT = r"""set -e
mount -t tmpfs -o size=512m,mode=755 portcullis-machine "$D"
mkdir "$D/up" "$D/work" "$D/root"
R=$D/root
mount -t overlay portcullis-machine -o "lowerdir=/,upperdir=$D/up,workdir=$D/work" "$R"
mount -t proc proc "$R/proc"
mount -o bind,ro /proc/sys "$R/proc/sys" 2>/dev/null || mount -o bind,ro "$R/proc/sys" "$R/proc/sys"
mount -t sysfs -o ro sysfs "$R/sys"
mount -t cgroup2 cgroup2 "$R/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$R/dev"
for n in null zero full random urandom tty; do : >"$R/dev/$n"; mount --bind "/dev/$n" "$R/dev/$n"; done
mkdir "$R/dev/pts" "$R/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$R/dev/pts"
ln -s pts/ptmx "$R/dev/ptmx"; ln -s /proc/self/fd "$R/dev/fd"
mount -t tmpfs -o mode=755 tmpfs "$R/run"
mount -t tmpfs -o mode=1777 tmpfs "$R/tmp"
# A fresh machine: nothing that is installed here for use starts there.
rm -rf "$R"/etc/systemd/system/*.wants "$R/etc/machine-id" "$R/var/lib/portcullis" "$R/etc/portcullis" "$R/var/log/journal"
echo 5fbc3a7a0a5d4a12a7b8a2f6b7e0c3d1 >"$R/etc/machine-id"
printf '[Unit]\nRequires=basic.target dbus.service\nAfter=basic.target dbus.service\n' >"$R/etc/systemd/system/machine.target"
mkdir -p "$R$BUILD"
mount -o bind,ro "$BUILD" "$R$BUILD" 2>/dev/null || mount --bind "$BUILD" "$R$BUILD"
exec chroot "$R" env -i container=portcullis PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=machine.target --show-status=0
"""


def why_not(cgroup2):
    """The reason why there can be no such machine here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    for path in ("/lib/systemd/systemd", "/usr/bin/dbus-daemon"):
        if not os.path.exists(path):
            return "%s is not installed (systemd, dbus)" % path
    if not cgroup2:
        return "no cgroup v2 here"
    with open("/proc/filesystems") as f:
        if "\toverlay\n" not in f.read() and subprocess.run(["modprobe", "-q", "overlay"], check=False).returncode:
            return "no overlayfs here"
    return None


class Machine:
    """Boots at once. self.root is its / as seen from outside."""

    def __init__(self, cgroup2, build):
        self.dir = tempfile.mkdtemp(prefix="portcullis-machine.", dir="/var/tmp")
        self.log_path = self.dir + ".log"
        self.group = os.path.join(cgroup2, os.path.basename(self.dir))
        os.mkdir(self.group)

        def enter():
            with open(os.path.join(self.group, "cgroup.procs"), "w") as procs:
                procs.write("0")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--cgroup", "--uts", "--ipc", "--propagation", "private",
                                             "sh", "-c", BOOT], env=dict(os.environ, D=self.dir, BUILD=os.path.abspath(build)), stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, preexec_fn=enter, start_new_session=True)
        try:
            self.wait_up()
        except BaseException:
            self.stop()
            raise

    def log(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def wait_up(self, seconds=60):
        until = time.monotonic() + seconds
        while True:
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError("systemd did not come up: %s" % self.log()[-2000:])
            with open("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid)) as children:
                pids = children.read().split()
            if pids:
                self.init, self.root = int(pids[0]), "/proc/%s/root" % pids[0]
                if os.path.exists(self.root + "/run/dbus/system_bus_socket") and self.run("systemctl", "is-active", "machine.target").returncode == 0:
                    return
            time.sleep(0.05)

    def words(self, *words):
        return ["nsenter", "-t", str(self.init), "--mount", "--pid", "--uts", "--ipc", "--cgroup", "--root", "--wd=/", "--", *words]

    def run(self, *words, **more):
        more.setdefault("timeout", 60)
        return subprocess.run(self.words(*words), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}, **more)

    def must(self, *words, **more):
        done = self.run(*words, **more)
        if done.returncode:
            raise AssertionError("%s: %d: %s" % (" ".join(words), done.returncode, done.stderr + done.stdout))
        return done.stdout

    def path(self, path):
        return self.root + path

    def write(self, path, text, mode=0o644):
        os.makedirs(os.path.dirname(self.path(path)), exist_ok=True)
        with open(self.path(path), "w") as f:
            f.write(text)
        os.chmod(self.path(path), mode)

    def read(self, path):
        with open(self.path(path)) as f:
            return f.read()

    def stop(self):
        """The first process ends, and the kernel ends all others of its namespace with it."""
        self.process.kill()
        self.process.wait()
        until = time.monotonic() + 10
        while os.path.exists(self.group) and time.monotonic() < until:
            for folder, _, _ in os.walk(self.group, topdown=False):
                try:
                    os.rmdir(folder)
                except OSError:
                    time.sleep(0.02)
        for path in (self.dir, self.log_path):
            shutil.rmtree(path, ignore_errors=True)
            if os.path.exists(path):
                os.unlink(path)
