"""A folder with all that a rollback must bring back: owners, modes, ACLs, attributes, times, holes, links, names."""
import os
import random
import stat
import struct

ACL_VERSION, ACL_USER_OBJ, ACL_USER, ACL_GROUP_OBJ, ACL_MASK, ACL_OTHER = 2, 0x01, 0x02, 0x04, 0x10, 0x20
NOBODY_ID = 0xFFFFFFFF
MIB = 1 << 20


def words(rng, size):
    """Text with few letters, as people write: known structure, and compressible."""
    line = b" ".join(b"".join(rng.choice([b"an", b"to", b"ri", b"me", b"sol", b"ta"]) for _ in range(rng.randint(1, 4)))
                     for _ in range(2000))
    return (line * (size // len(line) + 1))[:size]


def write(path, data, offset=0):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    os.pwrite(fd, data, offset)
    os.close(fd)
    return path


def acl_for(user, permission):
    """system.posix_acl_access: rw for the owner, `permission` for one more user."""
    entries = [(ACL_USER_OBJ, 6, NOBODY_ID), (ACL_USER, permission, user), (ACL_GROUP_OBJ, 4, NOBODY_ID),
               (ACL_MASK, 7, NOBODY_ID), (ACL_OTHER, 0, NOBODY_ID)]
    return struct.pack("<I", ACL_VERSION) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def make(folder, seed=1):
    """Fills the new folder (bytes); returns the regular files in it, those with content first."""
    rng = random.Random(seed)
    os.makedirs(os.path.join(folder, b"deep/er"))
    at = lambda name: os.path.join(folder, name)  # noqa: E731
    files = [write(at(b"plain-%d.txt" % n), words(rng, 3000 + 9000 * n)) for n in range(4)]
    files.append(write(at(b"table.csv"), b"".join(b"%d,%d,name %d\n" % (n, n * n, n) for n in range(4000))))
    owned = write(at(b"owned"), words(rng, 20000))
    os.chown(owned, 1234, 4321)
    os.chmod(owned, 0o4751)
    files.append(owned)
    listed = write(at(b"deep/with-acl"), words(rng, 8192))
    os.setxattr(listed, "system.posix_acl_access", acl_for(1003, 7))
    os.setxattr(listed, "user.comment", b"kept \0 with zero bytes")
    os.setxattr(listed, "trusted.note", b"only root sees this")
    files.append(listed)
    files.append(write(at(b"new\nline \t\x1b[31m"), words(rng, 5000)))
    files.append(write(at(b"not-utf8-\xff\xfe\xc3"), words(rng, 5001)))
    files.append(write(at(b"L" * 255), words(rng, 4096)))
    sparse = write(at(b"sparse"), words(rng, 10000), 3 * MIB)
    write(sparse, words(rng, 4096))
    os.truncate(sparse, 9 * MIB)
    files.append(sparse)
    linked = write(at(b"deep/linked"), words(rng, 12345))
    os.link(linked, at(b"deep/er/second-name"))
    files.append(linked)
    files.append(write(at(b"big"), words(rng, 2 * MIB + 17)))
    files.append(write(at(b"block"), words(rng, 4096)))
    files.append(write(at(b"random"), rng.randbytes(30000)))
    files.append(write(at(b"one-byte"), b"x"))
    files.append(write(at(b"empty"), b""))
    os.symlink(b"plain-1.txt", at(b"link"))
    os.symlink(b"/nowhere/\xff", at(b"dangling"))
    os.mkfifo(at(b"fifo"), 0o640)
    os.mknod(at(b"device"), stat.S_IFCHR | 0o600, os.makedev(1, 3))
    os.mkdir(at(b"empty-folder"), 0o2770)
    for number, path in enumerate(files):
        os.utime(path, ns=(1500000000123456789 + number, 1400000000987654321 + number * 1000003))
    os.utime(at(b"link"), ns=(7, 1400000000000000007), follow_symlinks=False)
    os.utime(at(b"deep"), ns=(7, 1300000000000000011))
    return files


def holes(path):
    """Allocated bytes: what a restored sparse file may not exceed by much."""
    return os.stat(path).st_blocks * 512
