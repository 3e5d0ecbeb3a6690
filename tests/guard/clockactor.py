#!/usr/bin/python3
"""Overwrites the files it is given with random bytes, and prints for each the time (monotonic) at which its open returned."""
import os
import sys
import time

sys.stdin.readline()
for path in sys.argv[1:]:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    opened = time.monotonic()
    os.pwrite(fd, os.urandom(os.fstat(fd).st_size), 0)
    os.close(fd)
    print("%.9f" % opened, flush=True)
