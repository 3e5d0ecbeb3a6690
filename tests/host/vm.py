"""A whole Debian with a kernel of its own, under QEMU without any help of the processor's: what only a real reboot shows.

Owns the image, which is made once in BUILD/vm (debootstrap, a cloud kernel, busybox to find the disk: needs Debian's archive) and copied for each machine;
the QEMU process and its end. The network is QEMU's own: the guest reaches this machine's loopback as 10.0.2.2, and nothing else that a test does not name.
"""
import glob
import os
import shutil
import subprocess

PACKAGES = ("systemd", "systemd-sysv", "dbus", "udev", "kmod", "nftables", "iproute2", "procps", "python3-minimal", "openssh-client", "libjansson4", "libcurl4",
            "libsqlite3-0", "libseccomp2", "libinih1", "libzstd1", "libcap-ng0", "libsystemd0", "libssl3", "libnftables1", "zlib1g", "liblzma5")
ARCHIVE = "http://deb.debian.org/debian"
MODULES = ("virtio/virtio_ring", "virtio/virtio", "virtio/virtio_pci_modern_dev", "virtio/virtio_pci_legacy_dev", "virtio/virtio_pci", "block/virtio_blk")
INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
for m in %s; do /bin/busybox insmod /lib/$m.ko; done
i=0; while [ ! -b /dev/vda ] && [ $i -lt 100 ]; do /bin/busybox sleep 0.1; i=$((i+1)); done
/bin/busybox mount -t ext4 /dev/vda /root && /bin/busybox umount /proc && exec /bin/busybox switch_root /root /sbin/init
""" % " ".join(os.path.basename(m) for m in MODULES)


def why_not():
    for program in ("qemu-system-x86_64", "debootstrap", "mkfs.ext4", "apt-get"):
        if not shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin"):
            return "%s is not installed" % program
    return None if os.geteuid() == 0 else "needs root (debootstrap)"


def run(*words, **more):
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=900, **more)
    if done.returncode:
        raise AssertionError("%s: %d: %s" % (" ".join(words), done.returncode, (done.stderr + done.stdout)[-1500:]))
    return done.stdout


class Base:
    """What all machines are made from, in a folder; made when it is not there."""

    def __init__(self, folder):
        self.folder = folder
        self.root, self.kernel, self.initrd = (os.path.join(folder, name) for name in ("root", "vmlinuz", "initrd"))
        os.makedirs(folder, exist_ok=True)
        for path, make in ((self.root, self.make_root), (self.kernel, self.make_kernel), (self.initrd, self.make_initrd)):
            if not os.path.exists(path):
                make()

    def make_root(self):
        fresh = self.root + ".new"
        shutil.rmtree(fresh, True)
        run("debootstrap", "--variant=minbase", "--include=" + ",".join(PACKAGES), "bookworm", fresh, ARCHIVE)
        os.rename(fresh, self.root)

    def fetch(self, package):
        """A package's files in a folder of their own."""
        where = os.path.join(self.folder, "get-" + package)
        shutil.rmtree(where, True)
        os.makedirs(where)
        run("apt-get", "download", "-q", package, cwd=where)
        run("dpkg-deb", "-x", glob.glob(where + "/*.deb")[0], where)
        return where

    def make_kernel(self):
        needs = run("apt-cache", "depends", "--important", "linux-image-cloud-amd64")
        where = self.fetch([word for word in needs.split() if word.startswith("linux-image-")][-1])
        version = os.listdir(where + "/lib/modules")[0]
        modules = os.path.join(self.root, "lib/modules", version)
        shutil.rmtree(modules, True)
        shutil.copytree(where + "/lib/modules/" + version, modules)
        run("chroot", self.root, "depmod", version)
        shutil.copy(glob.glob(where + "/boot/vmlinuz-*")[0], self.kernel)
        shutil.rmtree(where)

    def make_initrd(self):
        where, busybox = os.path.join(self.folder, "initrd.d"), self.fetch("busybox-static") + "/bin/busybox"
        shutil.rmtree(where, True)
        for name in ("bin", "lib", "proc", "dev", "root"):
            os.makedirs(os.path.join(where, name))
        shutil.copy(busybox, where + "/bin/busybox")
        drivers = glob.glob(self.root + "/lib/modules/*/kernel/drivers")[0]
        for module in MODULES:
            shutil.copy("%s/%s.ko" % (drivers, module), where + "/lib")
        with open(where + "/init", "w") as f:
            f.write(INIT)
        os.chmod(where + "/init", 0o755)
        run("sh", "-c", "find . | %s cpio -o -H newc >%s.new && mv %s.new %s" % ((busybox,) + (self.initrd,) * 3), cwd=where)
        shutil.rmtree(where)


class Vm:
    """One machine; add(path, text) before start() puts files into it, install(folder) lays a whole tree over it."""

    def __init__(self, base, folder):
        self.base, self.folder = base, folder
        self.tree, self.image, self.console = (os.path.join(folder, name) for name in ("tree", "image", "console"))
        run("cp", "-a", "--reflink=auto", base.root, self.tree)
        self.process = None

    def add(self, path, text, mode=0o644):
        path = self.tree + path
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)

    def start(self, net=""):
        with open(self.image, "wb") as f:
            f.truncate(2 << 30)
        run("mkfs.ext4", "-q", "-F", "-d", self.tree, self.image)
        shutil.rmtree(self.tree)
        self.process = subprocess.Popen(["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-smp", "2", "-m", "512", "-display", "none", "-serial", "file:" + self.console,
                                         "-kernel", self.base.kernel, "-initrd", self.base.initrd, "-append", "console=ttyS0 quiet panic=1 net.ifnames=0 systemd.show_status=1",
                                         "-drive", "file=%s,format=raw,if=virtio" % self.image, "-netdev", "user,id=n" + net, "-device", "virtio-net-pci,netdev=n"],
                                        stdin=subprocess.DEVNULL, start_new_session=True)

    def said(self):
        if not os.path.exists(self.console):
            return ""
        with open(self.console, errors="replace") as f:
            return f.read()

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
