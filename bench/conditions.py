"""Under what the work is done: no guard, Portcullis, fapolicyd, ClamAV on access.

The other two can stop a whole machine when they watch its root, so they never see it: each runs in a mount namespace of
its own whose root is a small tmpfs with nothing but their files, /proc, four devices and the measured file system. They
are unpacked from their Debian packages and not installed, since installing would start them. They are ended by pid.
"""
import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time

import host


class Nothing:
    """No guard at all."""

    name = "none"
    rounds = 1000  # as many as are asked for

    def start(self, where):
        pass

    def cpu_seconds(self):
        return 0.0

    def verdict(self):
        return ""

    def stop(self):
        pass


def cpu_of(pids):
    """User and system seconds of these processes so far."""
    ticks = 0
    for pid in pids:
        try:
            with open("/proc/%d/stat" % pid) as stat:
                words = stat.read().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(words[11]) + int(words[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def with_children(pid):
    """This process and all beneath it."""
    found, queue = [], [pid]
    while queue:
        one = queue.pop()
        found.append(one)
        for path in glob.glob("/proc/%d/task/*/children" % one):
            try:
                with open(path) as children:
                    queue += [int(c) for c in children.read().split()]
            except OSError:
                pass
    return found


class Portcullis:
    name = "portcullis"
    rounds = 1000

    def start(self, where):
        self.guard = where.guard()
        self.settle()

    def settle(self, seconds=120):
        """Until the guard has done what it does after its start: nothing waits, old small files are copied (on-open)."""
        until, last, since = time.monotonic() + seconds, None, time.monotonic()
        while time.monotonic() < until:
            now = self.guard.json("status")
            copied = (now["events"]["copied_ahead"], now["events"]["links_dropped"])
            patience = 3 if copied[1] >= copied[0] else 30  # links go when the disk has the copies
            if any(v["queue"] or v["asks"] == "every open" for v in now["volumes"]) or copied != last:
                last, since = copied, time.monotonic()
            elif time.monotonic() - since > patience:
                return
            time.sleep(0.1)

    def pids(self):
        return with_children(self.guard.process.pid)

    def cpu_seconds(self):
        return cpu_of(self.pids())

    def verdict(self):
        """What went wrong, or nothing: a workload that was frozen is no measurement. Told deletions stop nobody."""
        incidents = [i for i in self.guard.incidents() if i["state"] != "observed"]
        restarts = self.guard.json("status").get("supervisor", {}).get("restarts", 0)
        return "frozen: a false alarm" if incidents else "the guard was restarted" if restarts else ""

    def stop(self):
        self.guard.stop()


class EventsAlone:
    """Nobody guards; the kernel makes the events that Portcullis asks for, and they are dropped (tool.c)."""

    name = "events alone"
    rounds = 1000

    def __init__(self, tool):
        self.tool = tool

    def start(self, where):
        self.process = subprocess.Popen([self.tool, "events", where.mount], stdout=subprocess.PIPE,
                                        env=where.environment(), start_new_session=True)
        if self.process.stdout.readline() != b"ready\n":
            raise RuntimeError("no events")

    def cpu_seconds(self):
        return cpu_of([self.process.pid])

    def verdict(self):
        return "" if self.process.poll() is None else "it died"

    def stop(self):
        self.process.kill()
        self.process.wait(5)
        self.process.stdout.close()


def read_text(path):
    """What is in a log so far; nothing when it is not there yet."""
    try:
        with open(path, encoding="utf-8", errors="replace") as log:
            return log.read()
    except FileNotFoundError:
        return ""


LIBRARIES = "/usr/lib/%s-linux-gnu" % os.uname().machine


def libraries_of(programs, environment):
    """Paths of the shared libraries that these programs need and that are there."""
    listed = subprocess.run(["ldd", *programs], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30,
                            env=environment, check=False).stdout.decode()
    return [w for w in listed.split() if w.startswith("/") and os.path.isfile(w)]


def copy_into(root, path):
    """The program or library at this path, to the same path beneath root."""
    os.makedirs(os.path.dirname(root + path), exist_ok=True)
    if not os.path.exists(root + path):
        shutil.copyfile(os.path.realpath(path), root + path)
        os.chmod(root + path, 0o755)


class Jail:
    """Runs programs where the only file system worth watching is the measured one."""

    def __init__(self, packages):
        self.packages, self.dir, self.started, self.log = packages, None, [], None

    def why_not(self):
        """Fetches and unpacks; the reason why that cannot be, or None."""
        if self.dir:
            return None
        folder = tempfile.mkdtemp(prefix="portcullis-bench-jail.", dir="/var/tmp")
        os.chmod(folder, 0o755)  # apt fetches as another user
        try:
            done = subprocess.run(["apt-get", "-q", "download", *self.packages], cwd=folder, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, timeout=120, check=False)
        except (OSError, subprocess.TimeoutExpired) as e:
            done = subprocess.CompletedProcess([], 1, str(e).encode())
        if done.returncode != 0:
            shutil.rmtree(folder)
            return "its packages could not be fetched (apt-get download %s)" % " ".join(self.packages)
        for package in glob.glob(folder + "/*.deb"):
            subprocess.run(["dpkg-deb", "-x", package, folder + "/root"], check=True, timeout=60)
        self.dir = folder
        self.add_libraries()
        return None

    def add_libraries(self):
        """The libraries of its programs that Debian has in other packages."""
        root, own = self.dir + "/root", self.dir + "/root" + LIBRARIES
        programs = glob.glob(root + "/usr/*bin/*")
        for word in libraries_of(programs, dict(os.environ, LD_LIBRARY_PATH=own)):
            if not word.startswith(self.dir):
                copy_into(root, word)

    def start(self, where, words, ready, log=None, seconds=30):
        """Starts one program in the jail; returns when its output, or its log there, says so."""
        jail = os.path.join(where.dir, "jail")
        if not os.path.ismount(jail):
            self.build(where, jail)
        enter = "set -e; mount --make-rprivate /; cd '%s'; mkdir -p old; pivot_root . old; cd /; " % jail
        enter += "umount -l old; rmdir old; exec \"$@\""
        # Its own PID is that of the program in the end: every step is an exec.
        log_path = os.path.join(where.dir, "jail.log")
        with open(log_path, "ab") as output:
            process = subprocess.Popen(["unshare", "--mount", "sh", "-c", enter, "sh", *words],
                                       stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
                                       env={"PATH": host.PATH, "LD_LIBRARY_PATH": LIBRARIES, "LC_ALL": "C",
                                            host.MARK: where.mark})  # so that a broken-off run finds and ends it
        self.started.append(process)
        self.wait(process, os.path.join(jail, log) if log else log_path, ready, seconds)
        self.check(process)
        return process

    def build(self, where, jail):
        os.makedirs(jail)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m,mode=755", "jail", jail], check=True, timeout=10)
        subprocess.run(["cp", "-a", self.dir + "/root/.", jail], check=True, timeout=60)
        # What the entering shell needs, and what any daemon expects.
        for word in ("sh", "mkdir", "umount", "rmdir", "mount"):
            path = shutil.which(word, path=host.PATH)
            for one in [path] + libraries_of([os.path.realpath(path)], os.environ):
                copy_into(jail, one)
        for name in ("proc", "dev", "run", "tmp", "etc", "var/lib", "var/log", where.mount.lstrip("/")):
            os.makedirs(os.path.join(jail, name), exist_ok=True)
        for name, text in (("passwd", "root:x:0:0::/:/bin/sh\n"), ("group", "root:x:0:\n")):
            with open(os.path.join(jail, "etc", name), "w", encoding="ascii") as out:
                out.write(text)
        subprocess.run(["mount", "--bind", "/proc", jail + "/proc"], check=True, timeout=10)
        for name in ("null", "zero", "random", "urandom"):
            open(jail + "/dev/" + name, "wb").close()
            subprocess.run(["mount", "--bind", "/dev/" + name, jail + "/dev/" + name], check=True, timeout=10)
        subprocess.run(["mount", "--bind", where.mount, jail + where.mount], check=True, timeout=10)

    @staticmethod
    def wait(process, log_path, ready, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until and process.poll() is None:
            if ready in read_text(log_path):
                return
            time.sleep(0.05)
        raise RuntimeError("did not start: " + " | ".join(read_text(log_path).strip().splitlines()[-3:])[-300:])

    @staticmethod
    def check(process):
        """A last look: the machine's own disk must not be among its mounts."""
        with open("/proc/%d/mounts" % process.pid) as mounts:
            for line in mounts:
                device, point = line.split()[:2]
                if device.startswith("/dev/") and not device.startswith("/dev/loop"):
                    process.kill()
                    raise RuntimeError("refused: %s at %s is visible to it" % (device, point))

    def cpu_seconds(self):
        return cpu_of([p.pid for p in self.started])

    def stop(self):
        for process in reversed(self.started):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()  # the kernel then lets every open through that waits for it
                process.wait(5)
        self.started = []


class Fapolicyd:
    name = "fapolicyd"
    rounds = 2

    def __init__(self):
        self.jail = Jail(["fapolicyd", "liblmdb0"])
        self.why_not = self.jail.why_not

    def start(self, where):
        jail = os.path.join(where.dir, "jail")
        self.jail.build(where, jail)
        shutil.rmtree(jail + "/etc/fapolicyd")
        for folder in ("etc/fapolicyd/trust.d", "var/lib/fapolicyd", "run/fapolicyd"):
            os.makedirs(os.path.join(jail, folder))
        # Debian's own settings, but permissive, without its user, and on the measured file system alone.
        settings = ("permissive = 1\nnice_val = 14\nq_size = 640\nuid = root\ngid = root\ndo_stat_report = 0\n"
                    "detailed_report = 0\ndb_max_size = 50\nsubj_cache_size = 1549\nobj_cache_size = 8191\n"
                    "watch_fs = %s\ntrust = file\nintegrity = none\n"
                    "syslog_format = rule,dec,perm,auid,pid,exe,:,path,ftype,trust\nrpm_sha256_only = 0\n"
                    "allow_filesystem_mark = 1\n" % where.fs)
        rules = "allow perm=any all : all\n"
        for name, text in (("fapolicyd.conf", settings), ("fapolicyd.trust", ""), ("fapolicyd.rules", rules),
                           ("compiled.rules", rules)):
            with open(jail + "/etc/fapolicyd/" + name, "w", encoding="ascii") as out:
                out.write(text)
        self.jail.start(where, ["/usr/sbin/fapolicyd", "--debug-deny", "--permissive"], "Starting to listen for events")

    def cpu_seconds(self):
        return self.jail.cpu_seconds()

    def verdict(self):
        return "" if all(p.poll() is None for p in self.jail.started) else "it died"

    def stop(self):
        self.jail.stop()


class ClamOnAccess:
    name = "clamonacc"
    rounds = 1  # what it costs is not small, and takes long

    def __init__(self):
        self.jail = Jail(["clamav-daemon", "clamav", "clamdscan", "libclamav12", "libmspack0"])
        self.why_not = self.jail.why_not

    def start(self, where):
        jail = os.path.join(where.dir, "jail")
        self.jail.build(where, jail)
        os.makedirs(jail + "/var/lib/clamav")
        # One signature that matches nothing: there is no network here to fetch the real ones (which would cost more).
        with open(jail + "/var/lib/clamav/bench.hdb", "w", encoding="ascii") as out:
            out.write("00000000000000000000000000000000:4242424:Bench.Nothing\n")
        settings = ("LocalSocket /run/clamd.ctl\nUser clamav\nForeground yes\nDatabaseDirectory /var/lib/clamav\n"
                    "OnAccessIncludePath %s\nOnAccessPrevention yes\nOnAccessExcludeUname clamav\n"
                    "OnAccessMaxFileSize 5M\nMaxThreads 4\n" % where.tree)
        with open(jail + "/etc/passwd", "a", encoding="ascii") as out:
            out.write("clamav:x:64999:64999::/:/bin/sh\n")
        with open(jail + "/etc/group", "a", encoding="ascii") as out:
            out.write("clamav:x:64999:\n")
        os.chmod(jail + "/run", 0o1777)
        with open(jail + "/etc/clamd.conf", "w", encoding="ascii") as out:
            out.write(settings)
        self.jail.start(where, ["/usr/sbin/clamd", "-c", "/etc/clamd.conf"], "Self checking")
        self.jail.start(where, ["/usr/sbin/clamonacc", "-F", "-v", "-c", "/etc/clamd.conf", "--fdpass", "--wait",
                                "--log=/tmp/clamonacc.log"], "(and all sub-directories)", log="tmp/clamonacc.log")
        time.sleep(2)  # it marks the folders one by one, and does not say when it has done

    def cpu_seconds(self):
        return self.jail.cpu_seconds()

    def verdict(self):
        return "" if all(p.poll() is None for p in self.jail.started) else "it died"

    def stop(self):
        self.jail.stop()
