#!/usr/bin/python3
"""What was deleted without a verdict comes back with one command: restore --deleted, against a real guard."""
import os
import subprocess

import files
import rig
from rig import check


def encrypt_elsewhere(bench, paths):
    """Ciphertext outside the guarded folder, then rm: in the folder nothing is seen but deletions."""
    for number, path in enumerate(paths):
        subprocess.run(["openssl", "enc", "-aes-256-ctr", "-pbkdf2", "-iter", "1", "-pass", "pass:x", "-in", path, "-out",
                        os.path.join(bench.outside, "%d.enc" % number)], check=True, env=bench.environment())
        os.unlink(path)


@rig.scenario("xfs", "ext4", "btrfs", seconds=120)
def deleted_comes_back(bench):
    """Ciphertext elsewhere and rm; then rm -r of a folder: all is listed, and all is back."""
    tree = os.fsencode(bench.tree)
    first, second = files.make(tree + b"/first"), files.make(tree + b"/second")
    before = bench.look()
    guard = bench.start_guard()
    guard.wait_quiet()
    encrypt_elsewhere(bench, [p for p in first if os.path.isfile(p)])
    subprocess.run(["rm", "-r", tree + b"/second"], check=True, env=bench.environment())
    guard.wait_quiet()
    for incident in guard.incidents():
        check(incident["state"] != "frozen", "frozen: %s", incident["summary"])
    gone = sorted(set(before) - set(bench.look()))
    check(len(gone) >= len(second), "only %d are gone", len(gone))
    listed = guard.json("restore", "--deleted", bench.tree, "--dry-run")
    check(listed["total"] >= len(gone) and listed["failed"] == 0, "a dry run lists %d of %d, %d not kept", listed["total"],
          len(gone), listed["failed"])
    check(sorted(set(before) - set(bench.look())) == gone, "a dry run changed something")
    # The folder that is gone, brought out to another place.
    out = os.path.join(bench.outside, "out")
    os.mkdir(out)
    told = guard.json("restore", "--deleted", os.path.join(bench.tree, "second"), "--to", out)
    check(told["failed"] == 0 and told["restored"] >= len(second) - 2, "brought out: %s", told)
    status, text = guard.command("restore", "--deleted", bench.tree)
    check(status == 0, "restore --deleted: status %d: %s", status, text[-800:])
    bench.check_same(before, "restore --deleted", ("links",))
    told = guard.json("restore", "--deleted", bench.tree)
    check(told["restored"] == 0 and told["failed"] == 0, "a second time: %s", told)
    return "%d restored, %d bytes" % (len(gone), listed["bytes"])


@rig.scenario("xfs", "ext4", seconds=90)
def deleted_while_no_guard_ran(bench):
    """Nobody saw it: it is found missing, comes back as what was seen does, and makes room as that does. (Of a file with several names one.)"""
    tree = os.fsencode(bench.tree)
    paths = files.make(tree + b"/first")
    files.make(tree + b"/second")
    before = bench.look()
    guard = bench.start_guard()
    guard.wait_quiet()
    guard.stop()
    for path in paths:
        if os.path.isfile(path) or os.path.islink(path):
            os.unlink(path)
    subprocess.run(["rm", "-r", tree + b"/second"], check=True, env=bench.environment())
    before = {path: row for path, row in before.items() if os.path.basename(path) != "linked"}
    gone = sorted(set(before) - set(bench.look()))
    guard = bench.start_guard()
    listed = lambda: guard.json("restore", "--deleted", bench.tree, "--dry-run")  # noqa: E731
    rig.eventually("all that is gone is listed", lambda: listed()["total"] >= len(gone), 30)
    check(listed()["failed"] == 0, "not all that is gone is kept: %s", listed())
    check(guard.json("status")["volumes"][0]["superseded_bytes"] > 0, "none of it would make room")
    status, text = guard.command("restore", "--deleted", bench.tree)
    check(status == 0, "restore --deleted: status %d: %s", status, text[-800:])
    bench.check_same(before, "restore --deleted", ("links",))
    return "%d found missing" % len(gone)


@rig.scenario("xfs", "ext4", "btrfs", seconds=90)
def mass_deletion_is_told(bench):
    """A program that deletes many files is not stopped, but told; rolling its incident back brings exactly them back."""
    tree = os.fsencode(bench.tree)
    for number in range(7):
        files.make(tree + b"/folder%d" % number)
    before = bench.look()
    guard = bench.start_guard()
    guard.wait_quiet()
    with open(tree + b"/note.txt", "w") as out:
        out.write("an owner's own work\n")
    guard.wait_quiet()
    # The shell that edits a file and then deletes: only the deletions belong to the incident.
    script = "echo changed >> note.txt; rm -r folder[1-6]"
    subprocess.run(["sh", "-c", script], cwd=bench.tree, check=True, env=bench.environment())
    guard.wait_quiet()
    incident = guard.wait_incident("observed")
    check(not [i for i in guard.incidents() if i["state"] == "frozen"], "a deletion was stopped")
    detail = guard.json("incident", str(incident["id"]))
    check({f["op"] for f in detail["files"]} == {"delete"}, "not only deletions: %s", detail["files"][:3])
    check("portcullis rollback %d" % incident["id"] in guard.warnings(), "status does not say so: %s", guard.warnings())
    check("mass-delete" in guard.log_text() or "deleted" in guard.log_text(), "the log does not say so")
    status, text = guard.command("rollback", str(incident["id"]))
    check(status == 0, "rollback: status %d: %s", status, text[-800:])
    check(guard.incidents()[0]["state"] == "rolled-back", "state %s", guard.incidents()[0]["state"])
    with open(tree + b"/note.txt") as note:
        check(note.read() == "an owner's own work\nchanged\n", "the rollback undid an edit")
    os.unlink(tree + b"/note.txt")
    bench.check_same(before, "rollback of an observed incident")


@rig.scenario("xfs")
def few_deletions_are_not_told(bench):
    """Beneath mass-delete, and what the same program made itself: nothing is told."""
    tree = os.fsencode(bench.tree)
    paths = [p for p in files.make(tree + b"/a") if os.path.isfile(p)]
    guard = bench.start_guard("[judge]\nmass-delete = %d\n" % (len(paths) + 1))
    guard.wait_quiet()
    subprocess.run(["rm", "-r", tree + b"/a"], check=True, env=bench.environment())
    script = "mkdir b; for i in $(seq 200); do echo content of file number $i >> b/$i; done; sleep 1; rm -r b"
    subprocess.run(["sh", "-c", script], cwd=bench.tree, check=True, env=bench.environment())
    guard.wait_quiet()
    check(not guard.incidents(), "told: %s", guard.incidents())


@rig.scenario("xfs", "ext4")
def a_single_file_says_why(bench):
    """restore of one file in a folder that is gone, and of what was never kept."""
    tree = os.fsencode(bench.tree)
    files.make(tree + b"/folder")
    guard = bench.start_guard()
    guard.wait_quiet()
    victim = os.path.join(bench.tree, "folder", "plain.txt")
    with open(victim, "w") as out:
        out.write("first words\n")
    guard.wait_quiet()
    subprocess.run(["rm", "-r", tree + b"/folder"], check=True, env=bench.environment())
    guard.wait_quiet()
    status, text = guard.command("restore", victim)
    check(status == 1 and "its folder is gone: restore --deleted" in text, "%d: %s", status, text)
    back = os.path.join(bench.outside, "back.txt")
    status, text = guard.command("restore", victim, "--to", back)
    check(status == 0 and ", as it was at 20" in text, "%d: %s", status, text)
    with open(back) as now:
        check(now.read() == "first words\n", "other content")
    check(len(guard.json("history", victim)) >= 1, "no history in a folder that is gone")
    status, text = guard.command("restore", os.path.join(bench.tree, "never"))
    check(status == 1 and "no version of it was ever kept" in text, "%d: %s", status, text)


if __name__ == "__main__":
    raise SystemExit(rig.main(__doc__))
