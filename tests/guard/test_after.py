#!/usr/bin/python3
"""After the verdict: what people decide, in any order and at once, and what else happens on the host meanwhile."""
import ctypes
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time

import files
import rig
from rig import check, eventually

CLONE3 = 435
CGROUPS = "/sys/fs/cgroup/unified"


def tree_of(bench, folders=1):
    return [p for n in range(folders) for p in files.make(os.path.join(os.fsencode(bench.tree), b"%d" % n), n)]


def frozen(bench, guard, paths, words=None):
    """An attack that was frozen: (actor, incident)."""
    actor = rig.Actor(bench, "write", paths)
    actor.go()
    return actor, guard.wait_incident()


def ask(guard, **request):
    """Asks over the control socket, and reads nothing yet."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(os.path.join(guard.state, "control.sock"))
    sock.settimeout(60)
    sock.sendall(json.dumps(request).encode() + b"\n")
    return sock.makefile("rb")


def last_line(lines):
    return json.loads(list(lines)[-1])


def clone_as(pid):
    """A child with this process number; it sleeps."""
    numbers = (ctypes.c_int32 * 1)(pid)
    args = ctypes.create_string_buffer(struct.pack("<11Q", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(numbers), 1, 0))
    got = rig.LIBC.syscall(CLONE3, args, len(args.raw) - 1)
    if got == 0:
        try:
            time.sleep(600)
        finally:
            os._exit(0)
    if got < 0:
        raise rig.Skip("process numbers cannot be chosen here: %s" % os.strerror(ctypes.get_errno()))
    check(got == pid, "asked for process %d, got %d", pid, got)
    return got


@rig.scenario("xfs")
def ended_spares_who_has_its_number_now(bench):
    """A frozen program is killed by somebody else, its number is another program's by now: `end` and `release` are not about that one."""
    paths = tree_of(bench, 2)
    guard = bench.start_guard()
    guard.wait_quiet()
    for word in ("end", "release"):
        actor, incident = frozen(bench, guard, paths[:len(paths) // 2] if word == "end" else paths[len(paths) // 2:])
        actor.kill()
        innocent = clone_as(actor.pid)
        home = open("/proc/%d/cgroup" % innocent).read()
        status, text = guard.command(word, str(incident["id"]))
        check(status == 0, "%s: status %d: %s", word, status, text)
        time.sleep(0.2)
        check(os.waitpid(innocent, os.WNOHANG) == (0, 0), "%s ended the program that has the number now", word)
        check(open("/proc/%d/cgroup" % innocent).read() == home, "%s moved the program that has the number now", word)
        os.kill(innocent, signal.SIGKILL)
        os.waitpid(innocent, 0)


@rig.scenario("xfs", "ext4")
def two_rollbacks_at_once(bench):
    """The second is told to wait; the first is whole, and nothing lies beside the files."""
    paths = tree_of(bench, 3)
    before = bench.look()
    guard = bench.start_guard("[judge]\nmin-files = 30\nconvict-score = 50\n[action]\ngate = no\n")
    guard.wait_quiet()
    actor, incident = frozen(bench, guard, paths)
    guard.command("end", str(incident["id"]))
    actor.kill()
    first = ask(guard, cmd="rollback", id=incident["id"])
    check(b"progress" in first.readline(), "no progress")
    others = [ask(guard, cmd="rollback", id=incident["id"]), ask(guard, cmd="rollback", id=incident["id"], undo=True),
              ask(guard, cmd="restore", path=os.fsdecode(paths[0])), ask(guard, cmd="deleted", path=bench.tree)]
    done = last_line(first)
    check(done["ok"] and not done["result"]["failed"], "the first: %s", done)
    for other in others:
        answer = last_line(other)
        check(not answer["ok"] and "at work" in answer["error"], "another one: %s", answer)
    bench.check_same(before, "after the rollback")
    status, text = guard.command("rollback", str(incident["id"]), "--undo")
    check(status == 0, "afterwards: status %d: %s", status, text[-400:])


@rig.scenario("xfs")
def still_rolled_back_when_it_is_gone(bench):
    """Released, rolled back, and only then gone: the incident says so; and an undone rollback is none."""
    paths = tree_of(bench)
    guard = bench.start_guard()
    guard.wait_quiet()
    actor, incident = frozen(bench, guard, paths)
    number = str(incident["id"])
    actor.process.send_signal(signal.SIGSTOP)  # stays where it is when it is released
    guard.command("release", number)
    os.kill(actor.pid, signal.SIGSTOP)
    status, text = guard.command("rollback", number)
    check(status == 0, "rollback: status %d: %s", status, text[-400:])
    check(guard.json("incident", number)["rolled_back"], "not rolled back")
    actor.kill()
    time.sleep(2.5)  # it is forgotten with the next second's look
    check(guard.json("incident", number)["rolled_back"], "forgotten with the program")
    status, text = guard.command("rollback", number, "--undo")
    check(status == 0, "undo: status %d: %s", status, text[-400:])
    check(not guard.json("incident", number)["rolled_back"], "rolled back although that was undone")


NAMES = """
import os, sys
sys.stdin.readline()
for path in os.fsencode(sys.stdin.readline().strip()).split(b"|"):
    with open(path, "r+b", buffering=0) as file:
        file.write(os.urandom(os.fstat(file.fileno()).st_size))
sys.stdin.read()
"""


@rig.scenario("xfs")
def named_in_two_bytes(bench):
    """A program that calls itself by letters of two bytes is shown like any other, wherever its name is cut."""
    folder = os.path.join(bench.tree, "f")
    os.mkdir(folder)
    paths = [os.fsdecode(files.write(os.path.join(os.fsencode(folder), b"%d.txt" % n), b"words of number %d\n" % n * 300))
             for n in range(80)]
    guard = bench.start_guard("[judge]\nmin-files = 20\nconvict-score = 50\n")
    guard.wait_quiet()
    for half, odd in ((paths[:40], ""), (paths[40:], "x")):
        actor = subprocess.Popen([sys.executable, "-c", NAMES, odd + "\u00e9" * 300], executable=sys.executable, stdin=subprocess.PIPE,
                                 cwd=bench.scratch, env=bench.environment(), start_new_session=True)
        rename = [odd + "\u00e9" * 300, "-c", NAMES]
        actor.kill()
        actor.wait()
        actor = subprocess.Popen(rename, executable=sys.executable, stdin=subprocess.PIPE, cwd=bench.scratch,
                                 env=bench.environment(), start_new_session=True)
        actor.stdin.write(b"\n" + "|".join(half).encode() + b"\n")
        actor.stdin.flush()
        incident = guard.wait_incident()
        check("\u00e9\u00e9" in incident["summary"], "called %r", incident["summary"])
        status, text = guard.command("incident", str(incident["id"]))
        check(status == 0, "incident: status %d: %s", status, text[-300:])
        guard.command("end", str(incident["id"]))
        actor.wait(10)


@rig.scenario("xfs")
def told_to_reload_while_it_is_restarted(bench):
    """A reload that comes between a crash and the restart ends nothing."""
    guard = bench.start_guard()
    old = guard.worker()
    os.kill(old, signal.SIGKILL)
    eventually("the supervisor has seen it", lambda: "starting it again" in guard.log_text())
    guard.process.send_signal(signal.SIGHUP)
    guard.wait_worker_other_than(old)
    check(guard.process.poll() is None, "the supervisor ended: %s", guard.process.returncode)


@rig.scenario("xfs")
def no_room_to_restart(bench):
    """While nothing can be started the supervisor goes on trying."""
    guard = bench.start_guard()
    old = guard.worker()
    was = subprocess.run(["prlimit", "--pid", str(guard.process.pid), "--nofile", "--output", "SOFT,HARD", "--noheadings", "--raw"],
                         stdout=subprocess.PIPE, check=True).stdout.split()
    limit = lambda soft: subprocess.run(["prlimit", "--pid", str(guard.process.pid), "--nofile=%s:%s" % (soft, was[1].decode())], check=True)
    limit("3")
    os.kill(old, signal.SIGKILL)
    time.sleep(2)
    check(guard.process.poll() is None, "the supervisor gave up with status %s: %s", guard.process.returncode, guard.log_text()[-300:])
    limit(was[0].decode())
    guard.wait_worker_other_than(old)


@rig.scenario("xfs")
def settings_that_name_nothing(bench):
    """A settings file that is gone or half written when the guard is told to reload stops nothing: the old ones stay."""
    guard = rig.Guard(bench, [], "[guard]\nprotect = %s\n" % bench.tree)
    bench.guards.append(guard)
    guard.wait_ready()
    whole = open(guard.config).read()
    for n, change in enumerate((lambda: os.unlink(guard.config), lambda: open(guard.config, "w").close(),
                                lambda: guard.configure("[guard]\n"), lambda: guard.configure("[guard]\nprotect = /no"
                                                                                              "\nprote"))):
        change()
        guard.process.send_signal(signal.SIGHUP)
        eventually("it says why not (%d)" % n, lambda: guard.log_text().count("not reloaded") == n + 1)
        check([f["path"] for f in guard.json("status")["folders"]] == [bench.tree], "guarded now: %s", guard.json("status")["folders"])
    with open(guard.config, "w") as out:
        out.write(whole)
    guard.process.send_signal(signal.SIGHUP)
    eventually("it reloads", lambda: "settings reloaded: 1 folders" in guard.log_text())


@rig.scenario("xfs")
def released_after_a_restart(bench):
    """What a guard took over is released to where it came from, for the folder that it damaged."""
    if not os.path.isdir(CGROUPS):
        raise rig.Skip("no cgroup v2")
    folders = [os.path.join(bench.tree, name) for name in ("first", "second")]
    os.mkdir(folders[0])
    paths = files.make(os.fsencode(folders[1]))
    home = os.path.join(CGROUPS, "pc-test-home-%d" % os.getpid())
    os.mkdir(home)
    actor = None
    try:
        guard = bench.start_guard(protect=folders)
        guard.wait_quiet()
        actor = rig.Actor(bench, "write", paths)
        with open(home + "/cgroup.procs", "w") as procs:
            procs.write(str(actor.pid))
        actor.go()
        incident = guard.wait_incident()
        eventually("it is in the frozen group", lambda: "/portcullis-" in open("/proc/%d/cgroup" % actor.pid).read())
        old = guard.worker()
        os.kill(old, signal.SIGKILL)
        guard.wait_worker_other_than(old)
        os.kill(actor.pid, signal.SIGSTOP)  # it is not to end before we have looked
        answer = last_line(ask(guard, cmd="release", id=incident["id"]))
        check(answer["ok"], "release: %s", answer)
        check(" under=%s " % folders[1] in answer["result"]["rule"], "the rule: %s", answer["result"]["rule"])
        where = [line for line in open("/proc/%d/cgroup" % actor.pid).read().split("\n") if line.startswith("0::")]
        check(where == ["0::/" + os.path.basename(home)], "it is in %s", where)
    finally:
        if actor:
            actor.kill()
        eventually("its group is empty", lambda: not open(home + "/cgroup.procs").read())
        os.rmdir(home)


@rig.scenario("xfs")
def released_when_it_is_gone(bench):
    """No rule can be remembered for a program that is gone: none is told, not that of another release."""
    folders = [os.path.join(bench.tree, name) for name in ("first", "second")]
    paths = [files.make(os.fsencode(folder)) for folder in folders]
    guard = bench.start_guard(protect=folders)
    guard.wait_quiet()
    for n in range(2):
        actor, incident = frozen(bench, guard, paths[n])
        if n:
            actor.kill()
        answer = last_line(ask(guard, cmd="release", id=incident["id"]))
        check(answer["ok"], "release: %s", answer)
        rule = answer["result"]["rule"]
        check(rule is None if n else " under=%s " % folders[n] in rule, "release %d: the rule %s", n, rule)
        if not n:
            actor.finish()


@rig.scenario("xfs", "ext4")
def restored_over_a_folder(bench):
    """Restoring a single name never takes a folder with all that is in it out of the way."""
    folder = os.path.join(bench.tree, "projects")
    files.make(os.fsencode(folder))
    name = os.path.join(bench.tree, "was-a-file")
    files.write(os.fsencode(name), b"some words\n" * 300)
    guard = bench.start_guard()
    guard.wait_quiet()
    os.unlink(name)
    guard.wait_quiet()
    os.mkdir(name)
    files.write(os.path.join(os.fsencode(name), b"new-work"), b"of today\n" * 300)
    guard.wait_quiet()
    before = bench.look()
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
    for words in ((folder, "--at", at), (name,), (folder,)):
        status, text = guard.command("restore", *words)
        bench.check_same(before, "restore %s: status %d: %s" % (words, status, text[-300:]))
        check(status != 0, "restore %s: status 0: %s", words, text)
    status, text = guard.command("restore", name, "--to", os.path.join(bench.tree, "beside"))
    check(status == 0, "restore --to: status %d: %s", status, text)
    before = bench.look()
    for words in ((name, "--to", folder), (name, "--to", os.path.join(bench.tree, "beside")),
                  (folder, "--at", at, "--to", os.path.join(bench.tree, "other"))):
        status, text = guard.command("restore", *words)
        check(status != 0, "restore %s: status 0: %s", words, text)
        bench.check_same(before, "restore %s: %s" % (words, text[-300:]))


@rig.scenario("xfs")
def no_room_for_the_record(bench):
    """The disk of the index is full at the verdict: frozen all the same, and on record as soon as there is room; also by a later guard."""
    paths = tree_of(bench, 2)
    state = os.path.join(bench.dir, "small")
    os.mkdir(state)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m,mode=0711", "none", state], check=True)
    guard = rig.Guard(bench, [bench.tree], state=state)
    bench.guards.append(guard)
    guard.wait_ready()
    ballast = os.path.join(state, "ballast")
    for n, part in enumerate((paths[:len(paths) // 2], paths[len(paths) // 2:])):
        guard.wait_quiet()
        with open(ballast, "wb", buffering=0) as out:
            try:
                while True:
                    out.write(bytes(4096))
            except OSError:
                pass
        actor = rig.Actor(bench, "write", part)
        actor.go()
        eventually("it is said", lambda: guard.log_text().count("could not be written to the index") == n + 1)
        eventually("it is frozen", lambda: "/portcullis-" in open("/proc/%d/cgroup" % actor.pid).read())
        old = guard.worker()
        if n:
            os.kill(old, signal.SIGKILL)
        os.unlink(ballast)
        if n:
            guard.wait_worker_other_than(old)
        incident = guard.wait_incident()
        members = [p["pid"] for p in guard.json("incident", str(incident["id"]))["processes"] if p["state"] == "frozen"]
        check(members == [actor.pid], "whose: %s", members)
        status, text = guard.command("end", str(incident["id"]))
        check(status == 0, "end: status %d: %s", status, text)
        actor.process.wait(10)
    guard.stop()
    subprocess.run(["umount", "-l", state], check=False)


if __name__ == "__main__":
    raise SystemExit(rig.main(__doc__))
