#!/usr/bin/python3
"""
Opens files of the vault again and again, which is refused. Appends a byte to its first argument for each round.

With "--shuffle" alone: makes and closes fanotify groups in any order instead, so that the kernel's addresses of a guard's
groups, which decide which one an open meets first, are not always in the order in which they were made.
"""
import ctypes
import os
import random
import sys
import time

GROUPS = 12  # a user may have 128, and the guards of other tests need theirs


def shuffle():
    libc = ctypes.CDLL(None, use_errno=True)
    while True:
        groups = [fd for fd in (libc.fanotify_init(0, os.O_RDONLY) for _ in range(GROUPS)) if fd >= 0]
        random.shuffle(groups)
        for fd in groups:
            os.close(fd)
        time.sleep(0.02)


def probe(rounds_path, paths):
    with open(rounds_path, "ab", buffering=0) as rounds:
        while True:
            for path in paths:
                try:
                    os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
                except OSError:
                    pass
            rounds.write(b".")


if sys.argv[1:] == ["--shuffle"]:
    shuffle()
probe(sys.argv[1], sys.argv[2:])
