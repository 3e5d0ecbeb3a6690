#!/usr/bin/env python3
"""The command line against a fake guard: what is asked, what is printed, how it exits.

Usage: test_cli.py PORTCULLIS FAKE_GUARD ANSWERS MAKE_TRACE
"""
import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
import unittest

PORTCULLIS, FAKE_GUARD, ANSWERS, MAKE_TRACE = (os.path.abspath(p) for p in sys.argv[1:5])


class CommandLine(unittest.TestCase):
    def setUp(self):
        # A long name: more than a socket address holds.
        self.top = tempfile.mkdtemp(prefix="pc-cli-")
        self.state = os.path.join(self.top, "s" * 120)
        os.mkdir(self.state)
        self.guard = subprocess.Popen([FAKE_GUARD, self.state, ANSWERS], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.assertEqual(self.guard.stdout.readline(), b"ready\n")

    def tearDown(self):
        self.guard.stdin.close()
        self.guard.wait(timeout=30)
        self.guard.stdout.close()
        shutil.rmtree(self.top)

    def run_it(self, *args, env=None, state=True, **more):
        full = {**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC", **(env or {})}
        if not env or "PORTCULLIS_STATE" not in env:
            full.pop("PORTCULLIS_STATE", None)
        words = [PORTCULLIS, *args] + (["--state", self.state] if state else [])
        return subprocess.run(words, env=full, capture_output=True, text=True, timeout=60, **more)

    def requests(self):
        try:
            with open(os.path.join(self.state, "requests")) as f:
                return [json.loads(line) for line in f]
        except FileNotFoundError:
            return []

    def good(self, *args, **more):
        r = self.run_it(*args, **more)
        self.assertEqual((r.returncode, r.stderr), (0, ""), r)
        return r.stdout

    def bad(self, status, words, *args, **more):
        r = self.run_it(*args, **more)
        self.assertEqual(r.returncode, status, r)
        self.assertIn(words, r.stderr)
        self.assertTrue(r.stderr.startswith("portcullis: "), r.stderr)
        return r

    # usage

    def test_usage(self):
        self.bad(2, "portcullis: frobnicate: unknown command\nUsage: portcullis COMMAND", "frobnicate", state=False)
        r = self.run_it(state=False)
        self.assertEqual(r.returncode, 2)
        self.assertIn("Usage: portcullis COMMAND", r.stderr)
        for args in (["help"], ["--help"]):
            out = self.good(*args, state=False)
            for command in ("status", "incidents", "incident ID", "rollback ID", "release ID", "end ID", "history PATH",
                            "restore PATH", "--dry-run", "--at TIME"):
                self.assertIn(command, out)
        self.assertRegex(self.good("--version", state=False), r"^portcullis \d+\.\d+\.\d+\n$")
        self.assertIn("Usage: portcullis rollback ID [--dry-run] [--undo]", self.good("rollback", "--help", state=False))
        self.assertIn("Usage: portcullis history PATH", self.good("help", "history", state=False))
        self.bad(2, "incident: ID is missing", "incident")
        self.bad(2, "three: not an incident's number", "incident", "three")
        self.bad(2, "0: not an incident's number", "rollback", "0")
        self.bad(2, "4: unknown, one too many", "incident", "3", "4")
        self.bad(2, "--dry-run: unknown", "release", "3", "--dry-run")
        self.bad(2, "--at: unknown, one too many, or without its value", "restore", "x", "--at", state=False)
        self.bad(2, "yesterday: not a time: allowed are 2026-11-21T18:03:00.123Z", "restore", "/x", "--at", "yesterday")
        self.assertEqual(self.requests(), [])

    def test_state_from_option_or_environment(self):
        self.good("status")
        self.good("--state", self.state, "status", state=False)
        self.good("status", "--state=" + self.state, state=False)
        self.good("status", env={"PORTCULLIS_STATE": self.state}, state=False)
        self.good("status", env={"PORTCULLIS_STATE": "/nonexistent"})

    # the guard is not there, or not willing

    def test_no_guard(self):
        self.bad(3, "/nonexistent: no guard is running here: start it", "status", "--state", "/nonexistent", state=False)
        self.bad(3, "no guard is running here", "status", "--state", self.top, state=False)
        self.guard.kill()
        self.guard.wait()
        self.bad(3, "no guard is running here", "incidents")

    def test_guard_dies_while_asked(self):
        self.bad(1, "the guard stopped before it answered", "end", "3")

    def test_refusals_carry_their_reason_and_no_controls(self):
        r = self.bad(4, "portcullis: refused: incident 9 was ended\\x0a\\x1b[2J", "release", "9")
        self.assertEqual(r.stdout, "")
        self.bad(4, "incident 7 is not rolled back", "rollback", "7", "--undo")
        self.bad(1, "portcullis: no such incident", "incident", "8")

    @unittest.skipIf(os.geteuid() != 0, "needs root to become somebody else")
    def test_strangers(self):
        os.chmod(self.top, 0o755)
        def become_nobody():
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        self.bad(4, "not allowed: be root or a member of group portcullis", "status", preexec_fn=become_nobody)

    # answers

    def test_json_is_the_result(self):
        for words, name in (("status",), "status"), (("incidents",), "incidents"), (("history", "/srv/a/1.odt"), "history"):
            with open(os.path.join(ANSWERS, name)) as f:
                self.assertEqual(json.loads(self.good(*words, "--json")), json.loads(f.readline())["result"])

    def test_status(self):
        out = self.good("status")
        for words in ("guarding 2 folders\n", "pid 812, since 2026-11-21 18:00:00.000 UTC (", "supervisor pid 811, 1 restart\n",
                      "gate       down: programs with evidence against them wait", "1 open, 3 in all",
                      "/srv/a            xfs          ahead    1,234,567            0\n", "/srv/\\x1b[31mred: 2 files over copy-limit",
                      "1.5 KiB", "disk full: 12 KiB free", "read 1,000, overflow 0", "p50 12.5, p99 90, max 1,200",
                      "warning: the process connector is not available"):
            self.assertIn(words, out)
        self.assertNotIn("\x1b", out)

    def test_incidents(self):
        lines = self.good("incidents").splitlines()
        self.assertRegex(lines[0], r"^  ID  STATE +WHEN +DAMAGED  PRESERVED  USER +PID  PROGRAM$")
        self.assertRegex(lines[1], r"^   3  frozen .* 4 +4  alice  4242  python3 evil.py /srv/a$")
        self.assertRegex(lines[2], r"^   2  rolled-back .* 1 +1  -  +77  /usr/bin/7z$")

    def test_incident_fetches_every_file(self):
        out = self.good("incident", "3")
        self.assertEqual([r.get("from") for r in self.requests()], [0, 2])
        for words in ("Incident 3  frozen\n", "python3 encrypted 4 files in /srv/a", "/usr/bin/python3.11, pid 4242, user alice",
                      "4 files damaged, 4 preserved before that; 2 opens in flight", "(41 ms after the first act)",
                      "(43 ms after the first act)", "  Next        portcullis rollback 3          puts the files back",
                      "              portcullis end 3               kills the frozen program\n",
                      "systemd 1 root  /sbin/init\n  └─ bash 900 alice  -bash\n     └─ python3.11 4242 alice [frozen]  python3 evil.py",
                      "        ├─ python3.11 4243 alice [frozen]  python3 worker\n        └─ rm 4244 alice [gone]  rm x\n",
                      "Files (5)", "  new        18:03:00.123  create", "/srv/a/2.odt -> /srv/a/2.odt.locked", "LOST", "restored",
                      "2026-11-21 18:03:00.125 UTC  gate down on /srv"):
            self.assertIn(words, out)
        # A name that reads backwards is disarmed; one that is merely foreign is shown.
        self.assertIn("/srv/a/ä\\xe2\\x80\\xaegpj.exe", out)
        self.assertEqual(len(json.loads(self.good("incident", "3", "--json"))["files"]), 5)

    def test_plain_terminals_get_plain_letters(self):
        out = self.good("incident", "3", env={"LC_ALL": "C"})
        self.assertTrue(out.isascii())
        self.assertIn("+- bash 900 alice", out)
        self.assertIn("/srv/a/\\xc3\\xa4", out)

    def test_rollback_counts_before_it_claims(self):
        out = self.good("rollback", "3")
        self.assertIn("everything is put back and verified. 4 steps: 4 verified (1 needed nothing), 0 failed.", out)
        r = self.run_it("rollback", "4")
        self.assertEqual(r.returncode, 1)
        self.assertIn("FAILED restore         /srv/a/2.odt: No space left on device", r.stdout)
        self.assertIn("NOT everything was put back", r.stdout)
        self.assertNotIn("/srv/a/1.odt", r.stdout)
        # No failure is reported, but one of two files is unaccounted for.
        self.assertEqual(self.run_it("rollback", "5").returncode, 1)
        r = self.run_it("rollback", "4", "--json")
        self.assertEqual(r.returncode, 1)
        self.assertEqual([s["path"] for s in json.loads(r.stdout)["steps"]], ["/srv/a/2.odt"])
        self.assertEqual(self.requests()[0], {"cmd": "rollback", "id": 3, "dry_run": False, "undo": False})

    def test_rollback_dry_run_lists_every_path(self):
        out = self.good("rollback", "6", "--dry-run")
        self.assertIn("  restore         /srv/a/1.odt\n  move back       /srv/a/2.odt.locked -> /srv/a/2.odt\n", out)
        self.assertIn("2 steps planned, nothing changed", out)
        self.assertEqual(self.requests()[0], {"cmd": "rollback", "id": 6, "dry_run": True, "undo": False})
        self.assertEqual(len(json.loads(self.good("rollback", "6", "--dry-run", "--json"))["steps"]), 2)

    def test_release(self):
        out = self.good("release", "3")
        self.assertIn("Incident 3: released.", out)
        self.assertIn("under=/srv/a until=2026-11-22T18:03:00Z", out)

    def test_paths_are_made_absolute_and_escaped(self):
        work = os.path.join(self.top, "work")
        os.mkdir(work)
        os.symlink("nowhere", os.path.join(work, "link"))
        name = os.fsencode(work) + b"/new\nline \\ \xff"
        for word, seen in (("gone", "/work/gone"), ("./link", "/work/link"), ("../work/gone", "/work/gone"),
                           (name, "/work/new\\x0aline \\\\ \\xff"), (".", "/work")):
            self.good("history", word, cwd=work)
            self.assertEqual(self.requests()[-1]["path"], os.path.realpath(self.top) + seen)
        self.good("history", "/gone/folder/file")
        self.assertEqual(self.requests()[-1]["path"], "/gone/folder/file")
        self.bad(2, "gone/folder/file: No such file or directory", "history", "gone/folder/file", cwd=work)
        self.good("history", "--", "-x", state=False, env={"PORTCULLIS_STATE": self.state}, cwd=work)
        self.assertEqual(os.path.basename(self.requests()[-1]["path"]), "-x")

    def test_history(self):
        lines = self.good("history", "/srv/a/1.odt").splitlines()
        self.assertRegex(lines[1], r"^  2026-11-21T18:03:05.007Z .* 2.0 KiB  0644  clone  python3 \(4242\)  now$")
        self.assertRegex(lines[2], r"^  2026-11-21T18:03:01.001Z .* 10 bytes  0644  copy   - +$")

    def test_restore_moments(self):
        self.assertIn("Restored and verified: /srv/a/1.odt, as it was at 2026-11-21 18:03:01.001 UTC",
                      self.good("restore", "/srv/a/1.odt"))
        second = 1795284181 * 10**9  # 2026-11-21T18:03:01Z
        for word, at in (("2026-11-21T18:03:01Z", second), ("2026-11-21T18:03:01.001Z", second + 1999999),
                         ("2026-11-21T18:03:01.000000005Z", second + 5), ("2026-11-21 18:03:01", second),
                         ("2026-11-21 18:03", second - 10**9)):
            self.good("restore", "/srv/a/1.odt", "--at", word, "--to", "/srv/b")
            self.assertEqual(self.requests()[-1], {"cmd": "restore", "path": "/srv/a/1.odt", "at": at, "to": "/srv/b"})
        self.good("restore", "/srv/a/1.odt", "--at", "10m")
        ago = self.requests()[-1]["at"]
        self.good("restore", "/srv/a/1.odt", "--at", "20m")
        self.assertGreaterEqual(ago - self.requests()[-1]["at"], 9 * 60 * 10**9)
        for word in ("2026-11-21T18:03:01.Z", "2026-11-21T18:03:01.1Zx", "10", "-5m", "2026-13-01 10:00"):
            self.bad(2, "not a time", "restore", "/srv/a/1.odt", "--at=" + word)

    def test_restore_deleted(self):
        r = self.run_it("restore", "--deleted", "/srv/a", "--since", "2026-11-21T18:00:00Z", "--to", "/srv/b")
        self.assertEqual(r.returncode, 1)  # one could not be brought back
        self.assertEqual(self.requests()[-1], {"cmd": "deleted", "path": "/srv/a", "since": 1795284000 * 10**9, "to": "/srv/b",
                                               "dry_run": False})
        self.assertIn("leave           /srv/a/3.odt: something else stands there now\n", r.stdout)
        self.assertIn("FAILED restore         /srv/a/4.odt: its old content was not kept\n", r.stdout)
        self.assertNotIn("1.odt", r.stdout)
        self.assertIn("Restored and verified: 1 file, 10 bytes; 1 there already; 1 with something else in its place, left; 1 failed.",
                      r.stdout)
        r = self.run_it("restore", "--deleted", "/srv/a", "--dry-run", "--json")
        self.assertEqual(len(json.loads(r.stdout)["steps"]), 4)
        self.assertEqual(self.requests()[-1]["dry_run"], True)
        asked = len(self.requests())
        self.bad(2, "--at is for one file", "restore", "--deleted", "/srv/a", "--at", "1h")
        self.bad(2, "--since and --dry-run go with --deleted", "restore", "/srv/a", "--since", "1h")
        self.bad(2, "--since and --dry-run go with --deleted", "restore", "/srv/a", "--dry-run")
        self.assertEqual(len(self.requests()), asked)

    def test_replay_needs_no_guard(self):
        trace, mild = os.path.join(self.top, "day.trace"), os.path.join(self.top, "mild.conf")
        with open(trace, "wb") as f:
            subprocess.run([MAKE_TRACE], stdout=f, check=True)
        with open(mild, "w") as f:
            f.write("[judge]\nconvict-score = 1000\n")
        out = self.good("replay", trace, state=False)
        self.assertIn("5 acts in 13 records: 4 damaging, 1 verdict.\n", out)
        self.assertRegex(out, r"40 ms +3 +300 +4242  evil.py\n")
        answer = json.loads(self.good("replay", trace, "--json", state=False))
        self.assertEqual(answer["verdicts"][0]["roots"][0]["name"], "evil.py")
        out = self.good("replay", trace, "--config", mild, state=False)
        self.assertIn("4 damaging, 0 verdicts.\n", out)
        with open(trace, "r+b") as f:
            f.truncate(500)
        r = self.bad(1, "day.trace: stored data is damaged", "replay", trace, state=False)
        self.assertIn("2 damaging, 0 verdicts.", r.stdout)
        self.bad(1, "mild.conf: not a trace", "replay", mild, state=False)
        self.bad(1, "/nonexistent: No such file", "replay", "/nonexistent", state=False)
        self.bad(2, "day.trace:1: ", "replay", trace, "--config", trace, state=False)

    def on_terminal(self, env):
        leader, follower = pty.openpty()
        full = {**os.environ, "LC_ALL": "C.UTF-8", **env}
        p = subprocess.Popen([PORTCULLIS, "incidents", "--state", self.state], env=full, stdout=follower)
        os.close(follower)
        out = b""
        while True:
            try:
                chunk = os.read(leader, 4096)
            except OSError:
                break
            if not chunk:
                break
            out += chunk
        os.close(leader)
        self.assertEqual(p.wait(timeout=60), 0)
        return out

    def test_colours_only_where_wanted(self):
        self.assertIn(b"\x1b[31mfrozen", self.on_terminal({"NO_COLOR": ""}))
        self.assertNotIn(b"\x1b", self.on_terminal({"NO_COLOR": "1"}))

    def test_output_that_cannot_be_written_is_a_failure(self):
        with open("/dev/full", "w") as full:
            p = subprocess.run([PORTCULLIS, "incidents", "--state", self.state], stdout=full, stderr=subprocess.PIPE, text=True,
                               timeout=60)
        self.assertEqual(p.returncode, 1)
        self.assertIn("cannot write the answer", p.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
