#!/usr/bin/env python3
"""Write paths off the beaten track, as somebody takes them who wants bytes to be gone for good: what they destroy comes back, or is told."""
import ctypes
import errno
import fcntl
import functools
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import files  # noqa: E402
import rig  # noqa: E402
from rig import LIBC, check  # noqa: E402

# Nobody is stopped: everything is destroyed, and judged. What is kept rests on links as long as it can (ext4).
OBSERVE = "[action]\ngate = no\non-verdict = observe\n[preserve]\ncopy-ahead = 0\n"
LINE = b"what was written here, line by line\n"
USER, COUNT, SIZE = 1234, 12, 20000
# As on xfs but for these: --long has the others.
ON_BTRFS = ("by_ranges", "by_clones")
NOT_HERE = (errno.EOPNOTSUPP, errno.ENOTTY, errno.ENOSYS)
FICLONE, FICLONERANGE = 0x40049409, 0x4020940D
COLLAPSE, ZERO, INSERT, PUNCH_KEEP = 0x08, 0x10, 0x20, 0x03
EXCHANGE, AT_FDCWD = 2, -100
NEW_USERS, NEW_MOUNTS, MS_BIND, PRIVATE = 0x10000000, 0x00020000, 4096, 0x44000
PR_SET_DUMPABLE, PR_SET_PTRACER = 4, 0x59616d61


def make(bench, count=COUNT, size=SIZE, user=None):
    """Files of one's own for the user, in a folder that is his, and a place outside."""
    os.chmod(bench.dir, 0o711)
    paths = [os.path.join(os.fsencode(bench.tree), b"doc %d" % n) for n in range(count)]
    for n, path in enumerate(paths):
        files.write(path, (b"%d: %s" % (n, LINE) * (size // len(LINE) + 1))[:size])
        os.utime(path, ns=(1, 1400000000987654321 + n))
    for path in paths + [bench.tree, bench.outside, bench.scratch] if user else ():
        os.chown(path, user, user)
    os.sync()
    return paths


def in_child(function, bench, paths, user=None):
    """Somebody else does it: another process, as root or as the user."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        said = b"ok "
        try:
            if user:
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
                LIBC.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # else its own /proc files are root's
            function(bench, paths)
        except BaseException as error:
            said = b"skip " if getattr(error, "errno", 0) in NOT_HERE else b"fail "
            said += traceback.format_exc()[-900:].encode()
        os.write(writing, said)
        os._exit(0)
    os.close(writing)
    with open(reading, "rb") as said:
        how, _, why = said.read().decode().partition(" ")
    os.waitpid(pid, 0)
    if how == "skip":
        raise rig.Skip("this kernel or file system has no such call: " + why.strip().split("\n")[-1])
    check(how == "ok", "the attack itself failed: %s", why)


def guarded(bench, settings=OBSERVE):
    guard = bench.start_guard(settings)
    guard.wait_quiet()
    if bench.fs == "ext4":
        guard.wait_asks()
    return guard


def attack(bench, function, paths, user=None, settings=OBSERVE, least=COUNT):
    """Destroys them under guard. (guard, fingerprint from before, the worker's pid)"""
    before = bench.look()
    guard = guarded(bench, settings)
    worker = guard.worker()
    in_child(function, bench, paths, user)
    guard.wait_quiet()
    changed = rig.judge.lost(before, bench.look())[0]
    check(len(changed) >= least, "only %d files were changed", len(changed))
    return guard, before, worker


def all_back(bench, guard, before, worker, ignore=("links",)):
    """What an owner would do: every incident, then what is still missing."""
    incidents = guard.incidents()
    for incident in incidents:
        status, text = guard.command("rollback", str(incident["id"]))
        check(status == 0, "rollback: status %d: %s", status, text[-600:])
    rig.restore_rest(bench, guard, before)
    bench.check_same(before, "rollback and restore", ignore)
    check(guard.worker() == worker, "the worker was replaced")
    return "%d incidents" % len(incidents)


def destroyed_by(function, *file_systems, users=(USER,), settings=OBSERVE, convicts=False):
    """A scenario for each file system and each of who it is: destroyed by this, and back. convicts: it is judged, too."""
    def run(bench, user=None):
        paths = make(bench, user=user)
        guard, before, worker = attack(bench, function, paths, user, settings)
        check(not convicts or guard.incidents(), "nobody was convicted")
        return all_back(bench, guard, before, worker)
    for user in users:
        case = functools.partial(run, user=user)
        case.__name__ = function.__name__ + ("" if len(users) == 1 else "_user" if user else "_root")
        for fs in file_systems:
            rig.scenario(fs, seconds=40, long=fs == "btrfs" and function.__name__ not in ON_BTRFS)(case)


def noise(bench, name, size=SIZE):
    """A file outside with random content, of a guarded one's size."""
    return files.write(os.path.join(os.fsencode(bench.outside), name), os.urandom(size))


def ioc(kind, number, size, how=3):
    return how << 30 | size << 16 | ord(kind) << 8 | number


def called(result, what):
    if result < 0:
        raise OSError(ctypes.get_errno(), what)
    return result


def overwrite(fd):
    os.pwrite(fd, os.urandom(SIZE), 0)
    os.close(fd)


# ---- blocks given, taken and moved ----

def fallocate(fd, mode, size):
    called(LIBC.fallocate(fd, mode, ctypes.c_long(0), ctypes.c_long(size)), "fallocate")


def by_ranges(bench, paths):
    """fallocate(2) in its rarer modes, and a file made sparse whose size and time are put back."""
    modes = [(ZERO, 8192), (PUNCH_KEEP, 16384)] + ([] if bench.fs == "btrfs" else [(COLLAPSE, 8192), (INSERT, 8192)])
    for n, path in enumerate(paths):
        was = os.stat(path)
        with open(path, "r+b") as out:
            if n % 5 < len(modes):
                fallocate(out.fileno(), *modes[n % 5])
            else:
                out.truncate(0)
                out.truncate(was.st_size)
        if n % 5 >= len(modes):
            os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def by_clones(bench, paths):
    """Blocks of another file shared into it, all of them or some."""
    for n, path in enumerate(paths):
        source, out = os.open(noise(bench, b"n%d" % n), os.O_RDONLY), os.open(path, os.O_RDWR)
        if n % 2:
            fcntl.ioctl(out, FICLONE, source)
        else:
            fcntl.ioctl(out, FICLONERANGE, struct.pack("qQQQ", source, 0, 4096, 4096))
        os.close(out)
        os.close(source)


def by_swapped_extents(bench, paths):
    """XFS_IOC_SWAPEXT (xfs_fsr's, any user's): the content of another file, and neither ctime nor mtime change."""
    for n, path in enumerate(paths):
        was = os.stat(path)
        out, other = os.open(path, os.O_RDWR), os.open(noise(bench, b"n%d" % n), os.O_RDWR)
        os.fsync(other)
        stat = struct.pack("=QHHIIIi", was.st_ino, was.st_mode, 1, was.st_uid, was.st_gid, 0, 4096)
        stat += b"\0" * (-len(stat) % 8) + struct.pack("=q", was.st_size)
        for ns in (was.st_atime_ns, was.st_mtime_ns, was.st_ctime_ns):
            stat += struct.pack("=qii", ns // 10**9, ns % 10**9, 0)
        request = struct.pack("=qqqqq16s", 0, out, other, 0, was.st_size, b"") + stat.ljust(136, b"\0")
        fcntl.ioctl(out, ioc("X", 109, len(request)), request)
        os.close(other)
        os.close(out)
        check(os.stat(path).st_ctime_ns == was.st_ctime_ns, "this kernel changes the ctime")


def by_moved_extents(bench, paths):
    """EXT4_IOC_MOVE_EXT (e4defrag's, any user's) with the file as the donor: it gets the other's old blocks, and no new time."""
    for n, path in enumerate(paths):
        source, out = os.open(noise(bench, b"n%d" % n, 20480), os.O_RDWR), os.open(path, os.O_RDWR)
        os.fsync(source)
        fcntl.ioctl(source, ioc("f", 15, 40), struct.pack("=IIQQQQ", 0, out, 0, 0, 4, 0))
        os.posix_fadvise(out, 0, 0, os.POSIX_FADV_DONTNEED)  # the kernel goes on showing what it has in memory
        os.close(out)
        os.close(source)


class HandleRequest(ctypes.Structure):
    """struct xfs_fsop_handlereq"""
    _fields_ = [("fd", ctypes.c_uint32), ("path", ctypes.c_void_p), ("flags", ctypes.c_uint32), ("handle", ctypes.c_void_p),
                ("handle_len", ctypes.c_uint32), ("out", ctypes.c_void_p), ("out_len", ctypes.c_void_p)]


def by_invisible_writes(bench, paths):
    """Through a handle of XFS_IOC_OPEN_BY_HANDLE (xfsdump's, root's): the kernel sets neither ctime nor mtime."""
    top = os.open(bench.mount, os.O_RDONLY)
    number = lambda n: ctypes.c_ulong(ioc("X", n, ctypes.sizeof(HandleRequest)))  # noqa: E731
    for path in paths:
        was, fd = os.stat(path), os.open(path, os.O_RDONLY)
        handle, length = ctypes.create_string_buffer(64), ctypes.c_uint32()
        ask = HandleRequest(fd, None, 0, None, 0, ctypes.addressof(handle), ctypes.addressof(length))
        called(LIBC.ioctl(fd, number(106), ctypes.byref(ask)), "XFS_IOC_FD_TO_HANDLE")
        ask = HandleRequest(0, None, os.O_RDWR, ctypes.addressof(handle), length.value, None, None)
        overwrite(called(LIBC.ioctl(top, number(107), ctypes.byref(ask)), "XFS_IOC_OPEN_BY_HANDLE"))
        os.close(fd)
        check(os.stat(path).st_ctime_ns == was.st_ctime_ns, "this kernel changes the ctime")


def by_the_boot_loader_inode(bench, paths):
    """EXT4_IOC_SWAP_BOOT (root's): content exchanged with that of inode 5. It wants one name, so the copies come first."""
    rig.eventually("they have been copied ahead", lambda: all(os.stat(p).st_nlink == 1 for p in paths), 30)
    for path in paths:
        fd = os.open(path, os.O_RDWR)
        fcntl.ioctl(fd, 0x6611)
        os.close(fd)


destroyed_by(by_ranges, "xfs", "ext4", "btrfs")
destroyed_by(by_clones, "xfs", "btrfs")
destroyed_by(by_swapped_extents, "xfs", convicts=True)
destroyed_by(by_moved_extents, "ext4", convicts=True)
destroyed_by(by_invisible_writes, "xfs", users=(None,), convicts=True)
destroyed_by(by_the_boot_loader_inode, "ext4", users=(None,), settings=OBSERVE.replace("= 0", "= 1s\nspace-budget = 50%"))


@rig.scenario("xfs", "ext4", seconds=40)
def changed_without_a_trace_while_nobody_watched(bench):
    """The walk goes by ctime and finds nothing; what was kept is there all the same, and restore sees that it is another."""
    paths = make(bench, 3)
    before = bench.look()
    settings = OBSERVE.replace("= 0", "= 1s\nspace-budget = 50%")
    guard = guarded(bench, settings)
    if bench.fs == "ext4":
        rig.eventually("they have been copied ahead", lambda: all(os.stat(p).st_nlink == 1 for p in paths), 30)
        guard.wait_quiet()
    guard.stop()
    in_child(by_swapped_extents if bench.fs == "xfs" else by_moved_extents, bench, paths)
    guard = bench.start_guard(settings)
    guard.wait_quiet()
    all_back(bench, guard, before, guard.worker())


# ---- descriptors ----

def handle_of(path):
    handle, mount = ctypes.create_string_buffer(8 + 128), ctypes.c_int()
    struct.pack_into("=Ii", handle, 0, 128, 0)
    called(LIBC.name_to_handle_at(AT_FDCWD, path, handle, ctypes.byref(mount), 0), "name_to_handle_at")
    return handle


def open_by_handle(bench, path, flags):
    top = os.open(bench.mount, os.O_RDONLY)
    fd = LIBC.open_by_handle_at(top, handle_of(path), flags)
    os.close(top)
    return called(fd, "open_by_handle_at")


def open_through_mapping(path):
    with open(path, "rb") as source, mmap.mmap(source.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as view:
        with open("/proc/self/maps", "rb") as maps:
            place = [line.split()[0] for line in maps if line.endswith(b"/" + os.path.basename(path) + b"\n")][0]
        check(len(view) > 0, "nothing is mapped")
        return os.open(b"/proc/self/map_files/" + place, os.O_RDWR)


def written_by_a_child(fd, receive):
    """In a child that gets at the descriptor by itself."""
    pid = os.fork()
    if pid == 0:
        overwrite(receive(fd))
        os._exit(0)
    check(os.waitpid(pid, 0)[1] == 0, "the child failed")
    os.close(fd)


def by_message(fd):
    one, other = socket.socketpair()
    socket.send_fds(one, [b"-"], [fd])
    return socket.recv_fds(other, 1, 1)[1][0]


def by_pidfd(fd):
    os.close(fd)
    return called(LIBC.syscall(438, os.pidfd_open(os.getppid()), fd, 0), "pidfd_getfd")


def mapped_and_killed(path):
    pid = os.fork()
    if pid == 0:
        with open(path, "r+b") as out:
            view = mmap.mmap(out.fileno(), 0)
        view[:] = os.urandom(len(view))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)


def by_other_descriptors(bench, paths):
    """Opened again through /proc and by handle, handed to others, mapped by who is killed."""
    LIBC.prctl(PR_SET_PTRACER, ctypes.c_ulong(2**64 - 1), 0, 0, 0)
    again = lambda path, flags: os.open("/proc/self/fd/%d" % os.open(path, flags), os.O_RDWR)  # noqa: E731
    ways = (lambda p: overwrite(again(p, os.O_RDONLY)), lambda p: overwrite(again(p, os.O_PATH)), mapped_and_killed,
            lambda p: written_by_a_child(os.open(p, os.O_RDWR), by_message),
            lambda p: written_by_a_child(os.open(p, os.O_RDWR), by_pidfd),
            lambda p: overwrite(open_by_handle(bench, p, os.O_RDWR)), lambda p: overwrite(open_through_mapping(p)))
    for n, path in enumerate(paths):
        ways[n % (len(ways) if os.getuid() == 0 else 5)](path)


destroyed_by(by_other_descriptors, "xfs", "ext4", "btrfs", users=(None, USER))


@rig.scenario("ext4", seconds=40)
def a_file_server_opens_by_handle(bench):
    """The kernel may take our link for the name of what is opened by its handle, as by an NFS server: nobody is at the vault."""
    paths = make(bench)
    guard = guarded(bench)
    for path in paths:
        os.close(open_by_handle(bench, path, os.O_RDONLY))
    time.sleep(0.5)
    check("vault-denied" not in guard.log_text(), "taken for somebody at the vault: %s", guard.log_text()[-300:])
    top, handle = os.open(bench.mount, os.O_RDONLY), handle_of(paths[0])
    os.unlink(paths[0])  # its content is the vault's alone now
    guard.wait_quiet()
    fd = LIBC.open_by_handle_at(top, handle, os.O_RDWR)
    check(fd < 0 and ctypes.get_errno() == errno.EPERM, "what the vault alone has was opened: %d", ctypes.get_errno())
    os.close(top)


class Ring:
    """io_uring with one request at a time, and no library."""

    def __init__(self):
        setup = (ctypes.c_char * 120)()
        self.fd = LIBC.syscall(425, 8, setup)
        if self.fd < 0:
            raise OSError(errno.EOPNOTSUPP, "io_uring_setup")
        entries = struct.unpack_from("I", setup, 0)[0]
        self.sq, self.cq = struct.unpack_from("10I", setup, 40), struct.unpack_from("10I", setup, 80)
        self.ring = mmap.mmap(self.fd, 16384, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self.requests = mmap.mmap(self.fd, 64 * entries, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=0x10000000)
        self.tail, self.kept = 0, []

    def word(self, at):
        return struct.unpack_from("I", self.ring, at)[0]

    def call(self, code, fd=-1, off=0, addr=0, length=0, flags=0, source=0):
        slot = self.tail & self.word(self.sq[2])
        self.requests[64 * slot:64 * slot + 64] = struct.pack("BBHiQQIIQHHiQQ", code, 0, 0, fd, off, addr, length, flags, 7, 0, 0,
                                                              source, 0, 0)
        struct.pack_into("I", self.ring, self.sq[6] + 4 * slot, slot)
        self.tail += 1
        struct.pack_into("I", self.ring, self.sq[1], self.tail)
        called(LIBC.syscall(426, self.fd, 1, 1, 1, None, 0), "io_uring_enter")
        head = self.word(self.cq[0])
        result = struct.unpack_from("QiI", self.ring, self.cq[5] + 16 * (head & self.word(self.cq[2])))[1]
        struct.pack_into("I", self.ring, self.cq[0], head + 1)
        if result < 0:
            raise OSError(errno.EOPNOTSUPP if result == -errno.EINVAL else -result, "io_uring request %d" % code)
        return result

    def memory(self, data):
        self.kept.append(ctypes.create_string_buffer(data, len(data) + 1))
        return ctypes.addressof(self.kept[-1])

    def open(self, path):
        return self.call(28, AT_FDCWD, self.memory(struct.pack("QQQ", os.O_RDWR, 0, 0)), self.memory(path), 24)  # OPENAT2


def by_ring(bench, paths):
    """io_uring's own FTRUNCATE, FALLOCATE, WRITE_FIXED, SPLICE, RENAMEAT, UNLINKAT and LINKAT."""
    ring, here = Ring(), 0xffffff9c
    data = ring.memory(os.urandom(SIZE))
    buffers = ctypes.create_string_buffer(struct.pack("QQ", data, SIZE))
    called(LIBC.syscall(427, ring.fd, 0, buffers, 1), "io_uring_register")

    def spliced(fd):
        reading, writing = os.pipe()
        os.write(writing, os.urandom(16000))
        ring.call(30, fd, 0, 2**64 - 1, 16000, 0, reading)

    def linked(path, name):
        ring.call(39, AT_FDCWD, ring.memory(name), ring.memory(path), here)
        ring.call(23, ring.open(name), 0, data, SIZE)

    changes = (lambda fd: ring.call(55, fd), lambda fd: ring.call(17, fd, 0, 16384, PUNCH_KEEP),
               lambda fd: ring.call(5, fd, 0, data, SIZE), spliced)
    for n, path in enumerate(paths):
        other = os.path.join(os.fsencode(bench.outside), b"other %d" % n)
        if n % 7 < 4:
            fd = ring.open(path)
            changes[n % 7](fd)
            ring.call(19, fd)
        elif n % 7 == 4:
            ring.call(35, AT_FDCWD, ring.memory(path), ring.memory(noise(bench, os.path.basename(other))), here)
        elif n % 7 == 5:
            ring.call(36, AT_FDCWD, 0, ring.memory(path))
        else:
            linked(path, other)


destroyed_by(by_ring, "xfs", "ext4", "btrfs")


# ---- other mounts ----

def mount(source, target, kind, flags, data=None):
    words = [os.fsencode(w) if w else None for w in (source, target, kind)]
    called(LIBC.mount(*words, ctypes.c_ulong(flags), os.fsencode(data) if data else None), "mount")


def leave_mounts():
    """Mounts of its own from here on, as anybody may have who may have users of his own."""
    uid, gid = os.getuid(), os.getgid()
    if LIBC.unshare(NEW_MOUNTS | (NEW_USERS if uid else 0)) < 0:
        raise OSError(errno.EOPNOTSUPP, "unshare: no namespaces for this user")
    for name, text in (("setgroups", b"deny"), ("uid_map", b"0 %d 1" % uid), ("gid_map", b"0 %d 1" % gid)) if uid else ():
        with open("/proc/self/" + name, "wb") as out:
            out.write(text)
    mount("none", "/", None, PRIVATE)


def at(folder, path):
    return os.path.join(os.fsencode(folder), os.path.basename(path))


def by_bind_mount(bench, paths):
    """In a mount namespace of its own, where the folder has another name."""
    place = bench.scratch + "/bound"
    os.mkdir(place)
    leave_mounts()
    mount(bench.tree, place, None, MS_BIND)
    for path in paths:
        overwrite(os.open(at(place, path), os.O_RDWR))


def by_second_mount(bench, paths):
    """The same image mounted once more."""
    place = bench.scratch + "/second"
    os.mkdir(place)
    with open("/proc/self/mounts", "rb") as mounts:
        device = [line.split()[0] for line in mounts if line.split()[1] == os.fsencode(bench.mount)][0]
    leave_mounts()
    mount(device, place, bench.fs, 0)
    for path in paths:
        overwrite(os.open(at(place + "/data", path), os.O_RDWR))


def overlay(bench):
    """An overlay whose upper folder is the guarded one. Its root."""
    for folder in (bench.outside + "/work", bench.scratch + "/lower", bench.scratch + "/merged"):
        os.mkdir(folder)
    options = "lowerdir=%s/lower,upperdir=%s,workdir=%s/work" % (bench.scratch, bench.tree, bench.outside)
    user = os.getuid()
    leave_mounts()
    mount("overlay", bench.scratch + "/merged", "overlay", 0, options + (",userxattr" if user else ""))
    return bench.scratch + "/merged"


def by_overlay(bench, paths):
    top = overlay(bench)
    for n, path in enumerate(paths):
        over = at(top, path)
        if n % 4 == 0:
            overwrite(os.open(over, os.O_RDWR))
        elif n % 4 == 1:
            with open(over, "r+b") as out:
                view = mmap.mmap(out.fileno(), 16384)
            view[:] = os.urandom(16384)
        elif n % 4 == 2:
            os.unlink(over)
        else:
            os.rename(files.write(over + b".new", os.urandom(SIZE)), over)


def cut_by_overlay(bench, paths):
    top = overlay(bench)
    for path in paths:
        os.truncate(at(top, path), 10)


destroyed_by(by_bind_mount, "xfs", "ext4", "btrfs")
destroyed_by(by_second_mount, "ext4", users=(None,))


def overlay_kernel():
    """Before Linux 6.5 nothing done through an overlay to an upper file is told of (SECURITY.md)."""
    if tuple(int(n) for n in os.uname().release.split("-")[0].split(".")[:2]) < (6, 5):
        raise rig.Skip("before Linux 6.5 the kernel tells of nothing that is written through an overlay")


@rig.scenario("xfs", "ext4", seconds=40)
@rig.scenario("btrfs", seconds=40, long=True)
def through_an_overlay(bench):
    """Written, mapped, unlinked and renamed over through an overlay, which any user can make of a folder of his own."""
    overlay_kernel()
    guard, before, worker = attack(bench, by_overlay, make(bench, user=USER), USER)
    # Its own attributes on the folder stay: they are no damage.
    return all_back(bench, guard, before, worker, ("links", "xattrs"))


@rig.scenario("ext4", seconds=40)
def cut_through_an_overlay_is_told(bench):
    """truncate(2) through an overlay cannot be held on any kernel: what rests on a link alone is lost, and counted."""
    overlay_kernel()
    paths = make(bench, user=USER)
    guard = attack(bench, cut_by_overlay, paths, USER)[0]
    rig.eventually("status counts them", lambda: "%d times a file was cut by truncate(2)" % COUNT in guard.warnings())
    status, text = guard.command("restore", os.fsdecode(paths[0]))
    check(status == 1 and "was not kept" in text, "restore: status %d: %s", status, text)


def loop_over(path, attach=True):
    words = ["losetup", "--find", "--show", path] if attach else ["losetup", "--detach", path]
    return subprocess.run(words, check=True, timeout=20, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode().strip()


def written_as_a_disk(device):
    fd = os.open(device, os.O_RDWR)
    os.pwrite(fd, os.urandom(1 << 20), 0)
    os.fsync(fd)
    os.close(fd)


@rig.scenario("xfs", "ext4", seconds=40)
def behind_loop_devices(bench):
    """Written through a loop device made before the guard, of which no process holds the file, and one made after."""
    paths = [os.fsdecode(path) for path in make(bench, 2, 8 << 20)]
    before, devices = bench.look(), []
    try:
        devices.append(loop_over(paths[0]))
        guard = guarded(bench)
        worker = guard.worker()
        devices.append(loop_over(paths[1]))
        for device in devices:
            written_as_a_disk(device)
    finally:
        for device in devices:
            loop_over(device, False)
    guard.wait_quiet()
    now = bench.look()
    check(all(now[p]["sha256"] != row["sha256"] for p, row in before.items() if row["type"] == "file"), "not all was written")
    return all_back(bench, guard, before, worker)


# ---- folders ----

def below(bench, user=USER):
    """Files in a folder of the guarded one, more than the index is asked for at a time; (the folder, files relative to it)."""
    paths = make(bench, 150, user=user)
    folder = os.path.join(bench.tree, "sub")
    os.makedirs(folder + "/deep")
    for path in paths:
        os.rename(path, at(folder + "/deep", path))
    for name in (folder, folder + "/deep"):
        os.chown(name, user, user)
    return folder, [os.path.join("deep", os.fsdecode(os.path.basename(path))) for path in paths]


def destroy_in(folder, names):
    for name in names[:COUNT // 2]:
        overwrite(os.open(os.path.join(folder, name), os.O_RDWR))
    subprocess.run(["rm", "-rf", folder], check=True, timeout=20)


@rig.scenario("xfs", "ext4", seconds=40)
def moved_out_as_a_folder_before_a_restart(bench):
    """As the next, and then another guard is asked, which finds by itself that they are gone."""
    moved_out_as_a_folder(bench, True)


@rig.scenario("xfs", "ext4", "btrfs", seconds=40)
def moved_out_as_a_folder(bench, restarted=False):
    """A whole folder moved out of the guarded one, and destroyed there, where nobody's events count."""
    folder, names = below(bench)

    def gone(bench, paths):
        os.rename(folder, bench.outside + "/out")
        destroy_in(bench.outside + "/out", names)
    guard, before, worker = attack(bench, gone, names, USER)
    check(guard.worker() == worker, "the worker was replaced")
    if restarted:
        guard.stop()
        guard = guarded(bench)
    status, text = guard.command("restore", "--deleted", bench.tree)
    check(status == 0, "restore --deleted: status %d: %s", status, text[-600:])
    bench.check_same(before, "restore --deleted", ("links",))


@rig.scenario("ext4", seconds=40)
def moved_out_and_back(bench):
    """What lives on where it was moved is listed as left; once it is back, it is there already."""
    folder, names = below(bench)
    guard = guarded(bench)
    os.rename(folder, bench.outside + "/out")
    guard.wait_quiet()
    status, text = guard.command("restore", "--deleted", bench.tree, "--dry-run")
    check(status == 0 and text.count("deep/doc") == len(names), "not listed: status %d: %s", status, text[-900:])
    os.rename(bench.outside + "/out", folder)
    guard.wait_quiet()
    status, text = guard.command("restore", "--deleted", bench.tree, "--dry-run")
    check(status == 0 and "deep/doc" not in text, "listed though it is back: status %d: %s", status, text[-900:])


@rig.scenario("xfs", "ext4", seconds=40)
def exchanged_as_a_folder(bench):
    """RENAME_EXCHANGE with a folder outside: what stands there now stays, the old ones come out beside it."""
    folder, names = below(bench)
    other = bench.outside + "/other"

    def exchanged(bench, paths):
        os.makedirs(other + "/deep")
        for name in names:
            files.write(os.path.join(other, name), os.urandom(SIZE))
        called(LIBC.renameat2(AT_FDCWD, os.fsencode(folder), AT_FDCWD, os.fsencode(other), EXCHANGE), "renameat2")
        destroy_in(other, names)
    guard, before, worker = attack(bench, exchanged, names, USER)
    old = os.path.join(bench.outside, "old")
    os.mkdir(old)
    status, text = guard.command("restore", "--deleted", bench.tree, "--to", old)
    check(status == 0, "restore --deleted --to: status %d: %s", status, text[-600:])
    now = rig.judge.look(old)
    lost = [n for n in names if now.get("sub/" + n, {}).get("sha256") != before["sub/" + n]["sha256"]]
    check(not lost, "%d did not come out: %s", len(lost), lost[:3])
    check(guard.worker() == worker, "the worker was replaced")


@rig.scenario("xfs", "ext4", seconds=40)
def the_guarded_folder_renamed(bench):
    """status does not go on calling protected what the path names by then: it says so, and guards what stands there now."""
    paths = make(bench, 3)
    guard = guarded(bench)
    away = bench.mount + "/away"
    os.rename(bench.tree, away)
    rig.eventually("status says that it is gone", lambda: "renamed" in str(guard.folder()["why"]))
    os.rename(away, bench.tree)
    rig.eventually("status says no more of it", lambda: not guard.folder()["why"])
    os.rename(bench.tree, away)
    os.mkdir(bench.tree)
    new = files.write(os.path.join(os.fsencode(bench.tree), b"new"), LINE * 300)
    rig.eventually("status tells of another folder", lambda: "another folder" in str(guard.folder()["why"]))
    guard.wait_quiet()
    before, old = bench.look(), rig.judge.look(away)
    overwrite(os.open(new, os.O_RDWR))
    overwrite(os.open(at(away, paths[0]), os.O_RDWR))
    guard.wait_quiet()
    rig.restore_rest(bench, guard, before)
    bench.check_same(before, "restore")
    status, text = guard.command("restore", os.fsdecode(at(away, paths[0])))
    check(status == 0, "restore of the one before: status %d: %s", status, text[-300:])
    check(not rig.judge.lost(old, rig.judge.look(away))[0], "the folder of before is not as it was")


@rig.scenario("btrfs", seconds=40)
def subvolumes_are_told_of(bench):
    """A subvolume beneath a guarded folder is a file system of its own: status says that it is not covered."""
    make(bench, 3)
    for n, name in enumerate(("before", "after")):
        subprocess.run(["btrfs", "-q", "subvolume", "create", os.path.join(bench.tree, name)], check=True, timeout=20)
        files.write(os.path.join(os.fsencode(bench.tree), name.encode(), b"doc"), LINE * 100)
        guard = guarded(bench) if n == 0 else guard
        rig.eventually("status names it", lambda n=n: guard.folder()["uncovered"] > n)
    check("cross-device" in str(guard.folder()["why"]), "why: %s", guard.folder()["why"])


# ---- attributes and owners ----

def give_project(bench, paths):
    """Overwritten, deleted, and the folder then given a project that it hands on: nothing of another can be renamed in."""
    for n, path in enumerate(paths):
        if n % 2:
            os.unlink(path)
        else:
            overwrite(os.open(path, os.O_RDWR))
    done = subprocess.run(["chattr", "-p", "77", "+P", bench.tree], check=False, timeout=20, stderr=subprocess.PIPE)
    if done.returncode:
        raise OSError(errno.EOPNOTSUPP, done.stderr.decode())


@rig.scenario("xfs", "ext4", seconds=40)
def a_project_given_afterwards(bench):
    """Project quotas: what is put back joins the project of its folder, however it came to have one."""
    if bench.fs == "ext4":
        subprocess.run(["umount", bench.mount], check=True, timeout=20)
        image = os.path.join(bench.dir, "image")
        if subprocess.run(["tune2fs", "-O", "project", image], check=False, timeout=20, stdout=subprocess.DEVNULL).returncode:
            raise rig.Skip("tune2fs makes no project quotas here")
        words = ["mount", "-o", "loop", image, bench.mount]
        if subprocess.run(words, check=False, timeout=20, stderr=subprocess.DEVNULL).returncode:
            raise rig.Skip("this kernel mounts no ext4 with project quotas")
    paths = make(bench, user=USER)
    guard, before, worker = attack(bench, give_project, paths, USER)
    return all_back(bench, guard, before, worker)


def made_unchangeable(bench, paths):
    """Destroyed, then made immutable, append-only and what else chattr has; and the folder, too."""
    for path, letter in zip(paths, "aAcdisSutTia"):
        overwrite(os.open(path, os.O_RDWR))
        subprocess.run(["chattr", "+" + letter, path], check=False, timeout=20, stderr=subprocess.DEVNULL)
    subprocess.run(["chattr", "+i", bench.tree], check=True, timeout=20)


destroyed_by(made_unchangeable, "xfs", "ext4", "btrfs", users=(None,))


@rig.scenario("xfs", "ext4", seconds=40)
@rig.scenario("btrfs", seconds=40, long=True)
def stripped_of_rights_and_attributes(bench):
    """Owners, modes, ACLs and attributes alone: restore says where to find them, and --at brings them back."""
    paths = make(bench, user=USER)
    for path in paths:
        os.setxattr(path, "user.comment", b"kept")
        os.setxattr(path, "system.posix_acl_access", files.acl_for(1003, 7))
    before = bench.look()
    guard = guarded(bench)
    time.sleep(1.1)
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    time.sleep(1.1)
    for path in paths:
        os.removexattr(path, "user.comment")
        os.removexattr(path, "system.posix_acl_access")
        os.chmod(path, 0)
        os.chown(path, 4711, 4711)
    guard.wait_quiet()
    status, text = guard.command("restore", os.fsdecode(paths[0]))
    check(status == 1 and "--at" in text, "restore: status %d: %s", status, text)
    for path in paths:
        status, text = guard.command("restore", os.fsdecode(path), "--at", moment)
        check(status == 0, "restore --at: status %d: %s", status, text)
    bench.check_same(before, "restore --at", ("links",))


if __name__ == "__main__":
    raise SystemExit(rig.main(__doc__))
