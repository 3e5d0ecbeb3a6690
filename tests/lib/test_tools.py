#!/usr/bin/python3
"""The judges of the other tests, judged: every kind of difference must be seen, and no difference must be invented."""
import os
import shutil
import socket
import sys
import tempfile
import unittest
import unittest.mock

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import judge  # noqa: E402
import merkle  # noqa: E402
import patience  # noqa: E402
import ports  # noqa: E402
import scenario  # noqa: E402


class Fingerprint(unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="portcullis-tools.")
        self.addCleanup(shutil.rmtree, self.root)
        os.mkdir(self.path("dir"))
        for name in ("a", "dir/b", b"odd \xff\n name"):
            with open(self.path(name), "wb") as out:
                out.write(b"content of a file")
        os.link(self.path("a"), self.path("dir/hard"))
        os.symlink("a", self.path("soft"))
        self.before = judge.look(self.root)

    def path(self, name):
        return os.path.join(os.fsencode(self.root), os.fsencode(name))

    def lost(self):
        return judge.lost(self.before, judge.look(self.root))[0]

    def rewrite(self, name, data):
        """Other content, everything else as it was."""
        info = os.stat(self.path(name))
        with open(self.path(name), "r+b") as out:
            out.write(data)
        os.utime(self.path(name), ns=(info.st_atime_ns, info.st_mtime_ns))

    def test_nothing_done_is_no_difference(self):
        self.assertEqual(self.lost(), [])
        self.assertEqual(judge.damage(self.before, judge.look(self.root)), {"damaged": 0, "gone": 0, "extra": 0})

    def test_content_of_the_same_size(self):
        self.rewrite("dir/b", b"CONTENT")
        self.assertEqual(self.lost(), ["dir/b: sha256"])

    def test_hard_link_counts_once_as_damage_and_twice_as_loss(self):
        self.rewrite("a", b"CONTENT")
        self.assertEqual(judge.damage(self.before, judge.look(self.root))["damaged"], 1)
        self.assertEqual(self.lost(), ["a: sha256", "dir/hard: sha256"])

    def test_mtime_by_one_nanosecond(self):
        info = os.stat(self.path("dir/b"))
        os.utime(self.path("dir/b"), ns=(info.st_atime_ns, info.st_mtime_ns + 1))
        self.assertEqual(self.lost(), ["dir/b: mtime_ns"])

    def test_mode(self):
        os.chmod(self.path("dir/b"), 0o600)
        os.chmod(self.path("dir"), 0o700)
        self.assertEqual(self.lost(), ["dir: mode", "dir/b: mode"])

    def test_a_copy_is_not_a_hard_link(self):
        shutil.copy2(self.path("a"), self.path("copy"))
        os.replace(self.path("copy"), self.path("dir/hard"))
        self.assertEqual(self.lost(), ["a: links", "dir/hard: links"])

    def test_symlink_target(self):
        os.unlink(self.path("soft"))
        os.symlink("b", self.path("soft"))
        self.assertIn("target", self.lost()[0])

    def test_missing_renamed_and_extra(self):
        os.rename(self.path(b"odd \xff\n name"), self.path("new"))
        self.assertEqual(self.lost(), ["new: extra", "odd \\xff\\n name: missing"])
        self.assertEqual(judge.damage(self.before, judge.look(self.root)), {"damaged": 1, "gone": 1, "extra": 1})

    def test_extended_attribute(self):
        try:
            os.setxattr(self.path("dir/b"), "user.a", b"1")
        except OSError:
            self.skipTest("no extended attributes in %s" % tempfile.gettempdir())
        self.assertEqual(self.lost(), ["dir/b: xattrs"])

    def test_folder_time_is_counted_apart(self):
        os.utime(self.path("dir"), ns=(1, 1))
        self.assertEqual(judge.lost(self.before, judge.look(self.root)), ([], 1))


class Tables(unittest.TestCase):
    def test_every_scenario_file_parses(self):
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        for folder in ("attack", "benign"):
            cases = scenario.load(os.path.join(root, folder))
            self.assertGreater(len(cases), 40)
            self.assertEqual(len(scenario.sample(cases, 12)), 12)

    def test_a_header_without_its_function_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "x.sh"), "w") as out:
                out.write("#@ no-such-function\n")
            self.assertRaises(SystemExit, scenario.load, folder)


class Merkle(unittest.TestCase):
    """The eight leaves and roots that Certificate Transparency's reference code is tested with, and proofs against their verifiers."""
    LEAVES = [merkle.leaf_hash(bytes.fromhex(text)) for text in
              ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")]

    def test_published_roots(self):
        self.assertEqual(merkle.root([]).hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        self.assertEqual(merkle.root(self.LEAVES[:1]).hex(), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d")
        self.assertEqual(merkle.root(self.LEAVES).hex(), "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328")

    def test_every_place_is_proven_and_no_other(self):
        for size in range(1, 9):
            leaves = self.LEAVES[:size]
            for index in range(size):
                proof = merkle.inclusion(index, leaves)
                self.assertEqual(merkle.inclusion_root(index, size, leaves[index], proof), merkle.root(leaves))
                self.assertNotEqual(merkle.inclusion_root(index, size, merkle.leaf_hash(b"another"), proof), merkle.root(leaves))

    def test_every_continuation_is_proven_and_no_other(self):
        for size in range(1, 9):
            for earlier in range(size + 1):
                old, new = merkle.root(self.LEAVES[:earlier]), merkle.root(self.LEAVES[:size])
                proof = merkle.consistency(earlier, self.LEAVES[:size])
                self.assertTrue(merkle.consistent(earlier, old, size, new, proof), (earlier, size))
                if earlier:
                    self.assertFalse(merkle.consistent(earlier, merkle.leaf_hash(b"another"), size, new, proof), (earlier, size))
                    self.assertFalse(merkle.consistent(earlier, old, size, new, proof + [old]), (earlier, size))


class Ports(unittest.TestCase):
    def test_no_outgoing_connection_can_take_them(self):
        if ports.below_outgoing() < ports.LOWEST + 1000:
            self.skipTest("this machine gives every port to outgoing connections")
        found = ports.free_ports(40)
        self.assertEqual(len(set(found)), 40)
        self.assertLess(max(found), ports.below_outgoing())

    def test_what_is_taken_is_not_given(self):
        for port in ports.free_ports(5):
            with socket.create_server(("127.0.0.1", port)), unittest.mock.patch("random.SystemRandom.randrange", side_effect=[port, port + 1, port + 2]):
                self.assertNotIn(port, ports.free_ports(1))


class Patience(unittest.TestCase):
    def test_what_comes_is_returned(self):
        looks = iter([None, 0, "there"])
        self.assertEqual(patience.eventually("it", lambda: next(looks)), "there")

    def test_what_does_not_come_is_said(self):
        with self.assertRaisesRegex(patience.Failure, "not within 0 s: 3 of 4"):
            patience.eventually(lambda: "3 of 4", lambda: False, 0)


if __name__ == "__main__":
    unittest.main()
