#!/usr/bin/python3
"""Destroys the files it is given, by one way of writing. For tests, on their own disposable images only.

    actor.py METHOD --outside DIR [--pause S]      then on standard input: NAME NUL NAME NUL ... NUL NUL newline

Prepares (a "held" method opens the files, "outside-link" links them), prints "ready", waits for a line, destroys the
files in the order given and prints how many it destroyed. What it writes is random, as ciphertext would be.
"""
import argparse
import ctypes
import mmap
import os
import socket
import sys
import time

LIBC = ctypes.CDLL(None, use_errno=True)
RENAME_EXCHANGE, AT_FDCWD = 2, -100
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE = 1, 2
PART = 64 << 10   # of a file that is overwritten at a time
MOST = 4 << 20    # of a file that is overwritten at all, at its start: enough to destroy it, whatever its size
LEFT = []

# ---- each takes (path, what prepare() returned) ----


def parts(size):
    """(offset, random bytes) over a file of this size; at least one byte, so that empty files are destroyed too."""
    for offset in range(0, min(max(size, 1), MOST), PART):
        yield offset, os.urandom(min(PART, max(size, 1) - offset))


def open_rw(path):
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def overwrite(fd):
    for offset, data in parts(os.fstat(fd).st_size):
        os.pwrite(fd, data, offset)


def by_write(path, unused):
    with open(path, "r+b", buffering=0) as file:
        for _, data in parts(os.fstat(file.fileno()).st_size):
            file.write(data)


def by_pwritev2(path, unused):
    fd = open_rw(path)
    for offset, data in parts(os.fstat(fd).st_size):
        os.pwritev(fd, [data[:7], data[7:]], offset, os.RWF_DSYNC)
    os.close(fd)


def map_over(fd):
    size = os.fstat(fd).st_size
    if size == 0:
        os.ftruncate(fd, 1)
    with mmap.mmap(fd, min(max(size, 1), MOST)) as view:
        for offset, data in parts(size):
            view[offset:offset + len(data)] = data


def by_mmap(path, unused):
    fd = open_rw(path)
    map_over(fd)
    os.close(fd)


def by_mmap_after_close(path, unused):
    """The descriptor is closed before the first byte changes, so no close comes after the change."""
    fd = open_rw(path)
    size = os.fstat(fd).st_size
    if size == 0:
        os.ftruncate(fd, 1)
    view = mmap.mmap(fd, min(max(size, 1), MOST))
    os.close(fd)
    for offset, data in parts(size):
        view[offset:offset + len(data)] = data
    view.close()


def by_direct(path, unused):
    fd = os.open(path, os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC)
    size = os.fstat(fd).st_size
    buffer = mmap.mmap(-1, PART)
    for offset in range(0, min(max(size, 1), MOST), PART):
        buffer[:] = os.urandom(PART)
        length = min(PART, (max(size, 1) - offset + 4095) & ~4095)
        os.pwrite(fd, memoryview(buffer)[:length], offset)
    os.ftruncate(fd, max(size, 1))
    os.close(fd)


def random_file(folder, size):
    fd = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600)
    for offset, data in parts(size):
        os.pwrite(fd, data, offset)
    return fd


def by_copy_file_range(path, unused):
    fd = open_rw(path)
    size = min(max(os.fstat(fd).st_size, 1), MOST)
    source, done = random_file(OUTSIDE, size), 0
    while done < size:
        done += os.copy_file_range(source, fd, size - done, done, done)
    os.close(source)
    os.close(fd)


def by_sendfile(path, unused):
    fd = open_rw(path)
    size = min(max(os.fstat(fd).st_size, 1), MOST)
    source, done = random_file(OUTSIDE, size), 0
    while done < size:
        done += os.sendfile(fd, source, done, size - done)
    os.close(source)
    os.close(fd)


def by_splice(path, unused):
    fd = open_rw(path)
    reading, writing = os.pipe()
    for offset, data in parts(os.fstat(fd).st_size):
        os.write(writing, data)
        done = 0
        while done < len(data):
            done += os.splice(reading, fd, len(data) - done, offset_dst=offset + done)
    os.close(reading)
    os.close(writing)
    os.close(fd)


def by_truncate(path, unused):
    os.truncate(path, 0)


def by_ftruncate(path, unused):
    fd = open_rw(path)
    os.ftruncate(fd, 0)
    os.close(fd)


def by_o_trunc(path, unused):
    size = os.stat(path).st_size
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    for offset, data in parts(size):
        os.pwrite(fd, data, offset)
    os.close(fd)


def new_file(path, size):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    for offset, data in parts(size):
        os.pwrite(fd, data, offset)
    os.close(fd)


def beside(path, word):
    """A new name in the same folder, whatever the old one is (it may be 255 bytes long, or no text)."""
    return os.path.join(os.path.dirname(path), b"%s-%d" % (word, abs(hash(path))))


def by_replace(path, unused):
    new_file(beside(path, b"locked"), os.stat(path).st_size)
    os.unlink(path)


def by_unlink(path, unused):
    os.unlink(path)


def by_rename_over(path, unused):
    new_file(beside(path, b"new"), os.stat(path).st_size)
    os.rename(beside(path, b"new"), path)


def by_exchange(path, unused):
    other = beside(path, b"other")
    new_file(other, os.stat(path).st_size)
    if LIBC.renameat2(AT_FDCWD, path, AT_FDCWD, other, RENAME_EXCHANGE) < 0:
        raise OSError(ctypes.get_errno(), "renameat2")
    os.unlink(other)


def by_punch(path, unused):
    fd = open_rw(path)
    size = max(os.fstat(fd).st_size, 1)
    if LIBC.fallocate(fd, FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE, ctypes.c_long(0), ctypes.c_long(size)) < 0:
        raise OSError(ctypes.get_errno(), "fallocate")
    os.close(fd)


def by_rename_and_write(path, unused):
    by_write(path, None)
    os.rename(path, beside(path, b"locked"))


def link_outside(path):
    name = os.path.join(OUTSIDE, b"link-%d" % abs(hash(path)))
    os.link(path, name)
    return name


def by_outside_link(path, name):
    by_write(name, None)


def by_held_write(path, fd):
    overwrite(fd)


def by_held_mmap(path, fd):
    map_over(fd)


def map_held(path):
    fd = open_rw(path)
    size = os.fstat(fd).st_size
    view = mmap.mmap(fd, min(size, MOST)) if size else None
    os.close(fd)
    return view


def by_held_mapping(path, view):
    """Mapped before, the descriptor long closed. An empty file cannot be mapped and is left alone."""
    for offset, data in parts(len(view)) if view else ():
        view[offset:offset + len(data)] = data


def by_left_to_kernel(path, unused):
    """
    The last reference to the open file is a message in a socket that holds itself: when its process has been killed, a
    kernel thread finds that nobody can receive it, and closes the file, as it does what io_uring still had under way.
    """
    fd = open_rw(path)
    overwrite(fd)
    one, other = socket.socketpair()
    socket.send_fds(one, [b"-"], [fd, other.fileno()])
    os.close(fd)
    LEFT.append((one, other))


def by_kept_mapping(path, unused):
    """A mapping that outlives its descriptor: no event tells of what is written through it while it is kept."""
    view = map_held(path)
    for offset, data in parts(len(view)):
        view[offset:offset + len(data)] = data
    LEFT.append(view)


def by_mapped_and_written(path, unused):
    """Half of the files each way; the written ones last, so that all is done when they convict."""
    if len(LEFT) < 12:
        by_kept_mapping(path, None)
    else:
        by_write(path, None)


METHODS = {name[3:].replace("_", "-"): function for name, function in list(globals().items()) if name.startswith("by_")}
PREPARE = {"outside-link": link_outside, "held-write": open_rw, "held-mmap": open_rw, "held-mapping": map_held}


def read_names():
    text = b""
    while not text.endswith(b"\0\0\n"):
        text += sys.stdin.buffer.readline()
    return text[:-3].split(b"\0")


def main():
    global OUTSIDE
    options = argparse.ArgumentParser()
    options.add_argument("method", choices=sorted(METHODS))
    options.add_argument("--outside", required=True)
    options.add_argument("--pause", type=float, default=0)
    args = options.parse_args()
    OUTSIDE = os.fsencode(args.outside)
    prepare = PREPARE.get(args.method, lambda path: None)
    work = [(path, prepare(path)) for path in read_names()]
    print("ready", flush=True)
    sys.stdin.buffer.readline()
    for path, state in work:
        METHODS[args.method](path, state)
        time.sleep(args.pause)
    print(len(work), flush=True)


main()
