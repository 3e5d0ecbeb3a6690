#!/usr/bin/python3
"""A drill in one go, under a running guard: it lays out its files, then damages them; a rollback brings all back."""
import json
import os
import subprocess
import sys

import files
import rig
from rig import check

PORTCULLIS = os.path.join(rig.host.BUILD, "portcullis")


def report(bench, state, *words):
    done = subprocess.run([PORTCULLIS, "drill", "--json", "--report", state, *words], env=bench.environment(),
                          timeout=60, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    check(done.returncode in (0, 3, 5), "drill --report: %s", done.stderr[-400:])
    return json.loads(done.stdout)


def drill(bench, guard, *words):
    """Runs a drill until it is frozen, ends it and rolls every incident back; what the drill says of its files."""
    state = os.path.join(bench.scratch, "drill-state")
    run = subprocess.Popen([PORTCULLIS, "drill", "--dir", bench.tree, "--state-file", state, *words],
                           env=bench.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                           start_new_session=True)
    try:
        guard.wait_incident(seconds=40)
        while [row for row in guard.incidents() if row["state"] == "frozen"]:  # also one that opens while another is ended
            for row in guard.incidents():
                guard.command("end", str(row["id"]))
            guard.wait_quiet()
        for number in [row["id"] for row in guard.incidents()]:
            status, text = guard.command("rollback", str(number))
            check(status == 0, "rollback of %d: status %d: %s", number, status, text[-800:])
    finally:
        run.kill()
        run.wait(10)
    return report(bench, state, "--verify")


@rig.scenario("xfs", "ext4", seconds=90)
def in_one_go(bench):
    """Its files are its own work until it damages them: all are again as it laid them out, the undamaged ones too."""
    guard = bench.start_guard()
    said = drill(bench, guard, "--files", "300")
    now = said["now"]
    check(now["identical"] == said["files"], "of %d files: %s", said["files"], now)
    return "%d touched" % said["touched"]


# Harmless for long enough to be believed; then ciphertext beside each old file, which goes.
TURNCOAT = """
import os, sys, time
for n in range(80):
    with open("new-%d.txt" % n, "w") as out:
        out.write("a letter like many others, number %d\\n" % n * 200)
for n in range(60):
    with open("old-%d.txt.locked" % n, "wb") as out:
        out.write(os.urandom(os.path.getsize("old-%d.txt" % n)))
    os.unlink("old-%d.txt" % n)
    time.sleep(0.02)
"""


# The same, but first all ciphertext, then more that is plain than is looked at for one deletion, in the folder beside it.
BURIER = """
import os, sys, time
for n in range(80):
    with open("new-%d.txt" % n, "w") as out:
        out.write("a letter like many others, number %d\\n" % n * 200)
opened = [open("old-%d.txt.locked" % n, "wb", buffering=0) for n in range(300)]
time.sleep(0.003)
for n, out in enumerate(opened):
    out.write(b"plain and simple\\n" * 800 if n % 16 == 15 else os.urandom(14000))
    out.close()
os.mkdir("beside")
for n in range(1500):
    with open("beside/%d.txt" % n, "w") as out:
        out.write("harmless, number %d\\n" % n * 50)
for n in range(300):
    os.unlink("old-%d.txt" % n)
    time.sleep(1 / 704)
"""


# Harmless files of its own, written again and again; then ciphertext over them, each time an old file goes.
OVER_ITS_OWN = """
import os, sys, time
def write(n, data):
    fd = os.open("new-%d.txt" % n, os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, data, 0)
    os.close(fd)
for again in range(3):
    for n in range(80):
        write(n, b"a letter like many others, number %d\\n" % (n + again) * 400)
    time.sleep(1.2 if again == 0 else 0.2)
for n in range(60):
    write(n, os.urandom(os.path.getsize("old-%d.txt" % n)))
    os.unlink("old-%d.txt" % n)
    time.sleep(0.004)
"""


def turn_bad(bench, program, old, limit):
    """Runs it beside so many old files; at most `limit` may be gone when it is frozen, and all come back."""
    tree = os.fsencode(bench.tree)
    for n in range(old):
        files.write(os.path.join(tree, b"old-%d.txt" % n), b"what somebody wrote over many years\n" * 400)
    before = bench.look()
    guard = bench.start_guard()
    guard.wait_quiet()
    run = subprocess.Popen([sys.executable, "-c", program], cwd=bench.tree, env=bench.environment(),
                           stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        incident = guard.wait_incident()
        gone = sum(not os.path.exists(os.path.join(tree, b"old-%d.txt" % n)) for n in range(old))
        guard.command("end", str(incident["id"]))
        status, text = guard.command("rollback", str(incident["id"]))
        check(status == 0, "rollback: status %d: %s", status, text[-800:])
    finally:
        run.kill()
        run.wait(10)
    check(gone <= limit, "%d of %d files were gone before it was frozen", gone, old)
    now = bench.look()
    lost = [p for p, row in before.items() if row.get("sha256") != now.get(p, {}).get("sha256")]
    check(not lost, "%d are not back: %s", len(lost), lost[:5])
    return "%d gone" % gone


@rig.scenario("xfs", "ext4")
def believed_and_then_bad(bench):
    """A program whose new files are looked at later, because many were plain: the first deletion brings the looks forward."""
    return turn_bad(bench, TURNCOAT, 60, 10)


@rig.scenario("xfs", "ext4")
def over_files_of_its_own(bench):
    """A proven program's work on what it made is looked at later; a deletion brings these looks forward, too."""
    return turn_bad(bench, OVER_ITS_OWN, 60, 10)


@rig.scenario("xfs", "ext4")
def bad_beneath_much_that_is_harmless(bench):
    """A deletion brings looks forward by chance, not only those at what was made last."""
    return turn_bad(bench, BURIER, 300, 40)


# Forty processes that begin at once, each with ten old files of its own, of which it changes a line.
CROWD = """
import os, sys
children = []
start, go = os.pipe()
for c in range(40):
    if not (pid := os.fork()):
        os.close(go)
        os.read(start, 1)
        for n in range(c, 400, 40):
            with open("old-%d.txt" % n, "r+b") as out:
                out.write(b"changed by %4d\\n" % c)
        os._exit(0)
    children.append(pid)
os.close(go)
sys.exit(any(os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in children))
"""


@rig.scenario("xfs", "ext4")
def a_crowd_that_does_no_harm(bench):
    """Many processes made at once are asked at the gate before they write; all get through, and nothing is frozen."""
    tree = os.fsencode(bench.tree)
    for n in range(400):
        files.write(os.path.join(tree, b"old-%d.txt" % n), b"what somebody wrote over many years\n" * 40)
    guard = bench.start_guard()
    guard.wait_quiet()
    run = subprocess.run([sys.executable, "-c", CROWD], cwd=bench.tree, env=bench.environment(), timeout=60,
                         stdin=subprocess.DEVNULL, start_new_session=True)
    check(run.returncode == 0, "a process of the crowd ended with status %d", run.returncode)
    events = guard.status()["events"]
    check(events["permission"] > 100, "the crowd never met the gate: %s", events)
    check(not guard.json("incidents"), "the crowd was taken for an attacker")
    return "asked %d times, %d waited" % (events["permission"], events["waited"])


if __name__ == "__main__":
    raise SystemExit(rig.main(__doc__))
