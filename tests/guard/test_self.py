#!/usr/bin/python3
"""What the guard keeps, and the guard itself, are closed to everybody else, root included."""
import contextlib
import glob
import os
import shutil
import subprocess

import files
import rig
from rig import check, eventually

STRANGER = 65533  # numeric only: no account is made for it
VAULT = ".portcullis"
GROUPS = "/etc/group"
GROUP = 4711  # portcullis, where the host has no such group


def stranger(bench, words, gid=STRANGER, more=None, seconds=20):
    """Runs a program as a user without any rights: (status, output)."""
    done = subprocess.run(["setpriv", "--reuid", str(STRANGER), "--regid", str(gid),
                           *(["--groups", str(more)] if more else ["--clear-groups"]), *words],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, env=bench.environment(),
                          check=False)
    return done.returncode, done.stdout.decode("utf-8", "replace")


def refused(path, flags=os.O_RDONLY):
    try:
        os.close(os.open(path, flags))
    except PermissionError:
        return True
    return False


def objects_of(bench):
    """Paths of what the vault holds, found before a guard closes it."""
    found = []
    for folder, _, names in os.walk(os.path.join(bench.mount, VAULT)):
        found += [os.path.join(folder, name) for name in names]
    return [path for path in found if os.path.isfile(path) and "/objects/" in path]


def start_twice(bench):
    """A guard over files that another one preserved, and the vault's objects as they are on disk."""
    paths = files.make(os.path.join(os.fsencode(bench.tree), b"x"))
    guard = bench.start_guard("[guard]\nmode = ahead\n")
    guard.wait_quiet()
    guard.stop()
    objects = objects_of(bench)
    check(objects, "the vault holds no objects")
    return paths, objects


@rig.scenario("xfs", "ext4")
def vault_is_closed(bench):
    """To root too: folder, object by path, and each denied open is logged and counted."""
    _, objects = start_twice(bench)
    guard = bench.start_guard("[guard]\nmode = ahead\n")
    for path in (os.path.join(bench.mount, VAULT), os.path.dirname(objects[0]), objects[0]):
        script = "import os,sys; os.open(sys.argv[1], os.O_RDONLY)"
        done = subprocess.run([rig.sys.executable, "-c", script, path], stderr=subprocess.PIPE, timeout=20, check=False,
                              env=bench.environment())
        check(b"PermissionError" in done.stderr, "%s could be opened: %s", path, done.stderr[-200:])
    eventually("denied opens are counted", lambda: guard.json("status")["events"]["vault_denied"] >= 3)
    eventually("denied opens are logged", lambda: "denied access to the vault" in guard.log_text())
    attempts = subprocess.run(["rm", "-rf", os.path.join(bench.mount, VAULT)], stderr=subprocess.PIPE, timeout=20,
                              check=False, env=bench.environment())
    check(attempts.returncode != 0, "rm -rf of the vault worked")


@rig.scenario("xfs")
def who_is_gone_is_told_too(bench):
    """Forty processes try once each, and are gone before the guard's main thread has a processor: all are in the log."""
    _, objects = start_twice(bench)
    guard = bench.start_guard("[guard]\nmode = ahead\n[judge]\nmin-files = 1000\n")
    forks = ("import os,signal,sys\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nr, w = os.pipe()\n"
             "for i in range(40):\n"
             " if not os.fork():\n"
             "  os.close(w)\n"
             "  try: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))\n"  # below the thread that answers only
             "  except PermissionError: pass\n"
             "  os.read(r, 1)\n"
             "  try: os.open(sys.argv[1], os.O_RDONLY)\n"
             "  finally: os._exit(1)\n")
    subprocess.run([rig.sys.executable, "-c", forks, objects[0]], env=bench.environment(), timeout=20, check=True)
    eventually("all are denied", lambda: guard.json("status")["events"]["vault_denied"] == 40)
    eventually("all are told", lambda: guard.log_text().count("was denied access to the vault") == 40)


@rig.scenario("xfs", "ext4")
def objects_are_immutable(bench):
    """Also while no guard runs: they cannot be written, cut, removed or renamed without taking the flag off first."""
    _, objects = start_twice(bench)
    path = objects[0]
    check(refused(path, os.O_RDWR), "an object could be opened for writing")
    for change in (lambda: os.unlink(path), lambda: os.truncate(path, 0), lambda: os.rename(path, path + "x")):
        try:
            change()
        except PermissionError:
            continue
        raise rig.Failure("an object could be changed")


@rig.scenario("xfs")
def vault_denials_are_evidence(bench):
    """Somebody who tries again and again to get into the vault is frozen."""
    _, objects = start_twice(bench)
    guard = bench.start_guard("[guard]\nmode = ahead\n")
    loop = ("import os,sys,time\nfor p in sys.argv[1:] * 200:\n"
            " try: os.open(p, os.O_RDONLY)\n except OSError: time.sleep(0.01)")
    actor = subprocess.Popen([rig.sys.executable, "-c", loop, *objects], env=bench.environment(),
                             start_new_session=True)
    incident = guard.wait_incident()
    check(incident["actor"]["pid"] == actor.pid, "somebody else was frozen: %s", incident["actor"])
    guard.command("end", str(incident["id"]))
    actor.wait(10)


@rig.scenario("xfs", "ext4", seconds=90)
def lost_index(bench):
    """Without the index the objects tell all: files destroyed after its loss come back."""
    paths, _ = start_twice(bench)
    before = bench.look()
    for path in glob.glob(os.path.join(bench.dir, "state", "index.db*")):
        os.unlink(path)
    guard = bench.start_guard("[guard]\nmode = ahead\n")
    guard.wait_quiet()
    actor = rig.Actor(bench, "write", paths, 0.01)
    actor.go()
    incident = guard.wait_incident()
    guard.command("end", str(incident["id"]))
    status, text = guard.command("rollback", str(incident["id"]))
    check(status == 0, "rollback: %s", text[-600:])
    bench.check_same(before, "rollback after the loss of the index")


@rig.scenario("xfs", "ext4", seconds=90)
def damaged_index(bench):
    """A damaged index is put aside and made again; what was destroyed while nobody guarded comes back by restore."""
    paths, _ = start_twice(bench)
    before = bench.look()
    with open(os.path.join(bench.dir, "state", "index.db"), "r+b") as index:
        index.write(os.urandom(65536))
    for path in glob.glob(os.path.join(bench.dir, "state", "index.db-*")):
        os.unlink(path)
    victim = paths[1]
    files.write(victim, os.urandom(os.stat(victim).st_size))
    guard = bench.start_guard("[guard]\nmode = ahead\n")
    guard.wait_quiet()
    check(glob.glob(os.path.join(bench.dir, "state", "index.db.damaged-*")), "the damaged index was not kept")
    status, text = guard.command("restore", os.fsdecode(victim))
    check(status == 0, "restore: %s", text[-400:])
    bench.check_same(before, "restore from a rebuilt index")


@rig.scenario("xfs")
def memory_is_private(bench):
    guard = bench.start_guard()
    for pid in (guard.worker(), guard.process.pid):
        for what in ("mem", "fd", "environ", "maps"):
            status, text = stranger(bench, ["cat" if what != "fd" else "ls", "/proc/%d/%s" % (pid, what)])
            check(status != 0, "/proc/%d/%s can be read: %s", pid, what, text[:200])
        status, _ = stranger(bench, ["kill", "-0", str(pid)])
        check(status != 0, "a stranger may signal the guard")


def portcullis_group():
    with open(GROUPS, encoding="utf-8") as groups:
        return next((int(line.split(":")[2]) for line in groups if line.startswith("portcullis:")), None)


def as_user(bench, state, words, gid=STRANGER, more=None):
    program = os.path.join(bench.dir, "portcullis-copy")
    shutil.copy(os.path.join(rig.host.BUILD, "portcullis"), program)
    os.chmod(program, 0o755)
    os.chmod(bench.dir, 0o755)
    return stranger(bench, [program, *words, "--state", state], gid, more)


@rig.scenario("xfs")
def control_socket_knows_its_users(bench):
    """Strangers get nothing; the group portcullis may look, not act; root may do all."""
    with a_group(bench):
        rights(bench)


@contextlib.contextmanager
def a_group(bench):
    """A group portcullis, where the host has none: in this run's own mounts."""
    if portcullis_group() is not None:
        yield
        return
    own = os.path.join(bench.dir, "group")
    with open(GROUPS, encoding="utf-8") as groups, open(own, "w", encoding="utf-8") as out:
        out.write(groups.read() + "portcullis:x:%d:\n" % GROUP)
    os.chmod(own, 0o644)
    subprocess.run(["mount", "--bind", own, GROUPS], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", GROUPS], check=True)


def rights(bench):
    guard = bench.start_guard()
    for words in (["status"], ["incidents"], ["rollback", "1"], ["end", "1"]):
        status, text = as_user(bench, guard.state, words)
        check(status in (1, 3, 4), "%s as a stranger: status %d: %s", words, status, text)
        check("guarding" not in text and bench.tree not in text, "a stranger learns: %s", text)
    gid = portcullis_group()
    socket = os.stat(os.path.join(guard.state, "control.sock"))
    check((socket.st_gid, socket.st_mode & 0o777) == (gid, 0o660), "the socket is %d, %o", socket.st_gid, socket.st_mode)
    os.chmod(guard.state, 0o711)  # as packaging makes /var/lib/portcullis for the group
    for primary, more in ((gid, None), (STRANGER, gid)):
        status, text = as_user(bench, guard.state, ["status"], primary, more)
        check(status == 0 and "guarding 1 folder" in text, "status as a member of the group: %d: %s", status, text)
        for words in (["rollback", "1"], ["end", "1"], ["release", "1"], ["restore", "--deleted", bench.tree, "--dry-run"]):
            status, text = as_user(bench, guard.state, words, primary, more)
            check(status == 4 and "may only look" in text, "%s as a member: status %d: %s", words, status, text)


@rig.scenario("xfs")
def after_delay_ends(bench):
    """Nobody decides: when action.delay is over the frozen program is ended, not before, and its damage can still be rolled back."""
    paths = files.make(os.path.join(os.fsencode(bench.tree), b"x"))
    guard = bench.start_guard("[action]\ndelay = 6s\nafter-delay = end\n")
    guard.wait_quiet()
    before = bench.look()
    actor = rig.Actor(bench, "write", paths)
    actor.go()
    incident = guard.wait_incident("frozen")
    check("frozen" in guard.log_text() and "after-delay" not in guard.log_text(), "ended before anybody could look")
    guard.wait_incident("ended", 30)
    check(actor.process.wait(10) == -9, "the program's exit status is %d", actor.process.returncode)
    done = subprocess.run([os.path.join(rig.host.BUILD, "portcullis"), "--state", guard.state, "rollback", str(incident["id"])],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, env=bench.environment(), check=False)
    check(done.returncode == 0, "rollback after the end: %s", done.stdout.decode("utf-8", "replace")[-300:])
    bench.check_same(before, "after the rollback")


if __name__ == "__main__":
    raise SystemExit(rig.main(__doc__))
