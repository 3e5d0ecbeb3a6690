"""Waiting for what a test was promised: by looking again and again, never by a fixed pause."""
import time


class Failure(Exception):
    """What was promised did not happen."""


def eventually(text, probe, seconds=20, pause=0.05):
    """Polls until probe() returns something true, and returns it. text: what is waited for, or a function that says how far it is."""
    until = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > until:
            raise Failure("not within %d s: %s" % (seconds, text() if callable(text) else text))
        time.sleep(pause)
