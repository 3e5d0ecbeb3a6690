#!/usr/bin/env python3
"""The closing line must not lie: crashed, missing and skipped tests are counted as what they are."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

SUMMARY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "summary")


class Summary(unittest.TestCase):
    def sum_up(self, *logs):
        with tempfile.TemporaryDirectory() as d:
            paths = []
            for i, log in enumerate(logs):
                paths.append(os.path.join(d, str(i)))
                if log is not None:
                    with open(paths[-1], "w") as f:
                        f.writelines(json.dumps(dict({"name": "t", "stdout": ""}, **t)) + "\n" for t in log)
            r = subprocess.run([sys.executable, SUMMARY, *paths], capture_output=True, text=True)
        return r.returncode, r.stdout.splitlines()[-1]

    def test_counting(self):
        cmocka = "[==========] 4 test(s) run.\n[  PASSED  ] 3 test(s).\n[  SKIPPED ] 1 test(s), listed below:\n[  SKIPPED ] x\n"
        crashed = "[       OK ] a\n"
        for logs, wanted in (
            ([[{"result": "OK"}]], (0, "1 passed, 0 failed, 0 skipped")),
            ([[{"result": "OK", "stdout": cmocka}]], (0, "3 passed, 0 failed, 1 skipped")),
            ([[{"result": "OK", "stdout": "[  PASSED  ] 0 test(s).\n[  SKIPPED ] 2 test(s), listed below:"}, {"result": "OK"}]],
             (0, "1 passed, 0 failed, 2 skipped")),
            ([[{"result": "FAIL", "stdout": "[  PASSED  ] 3 test(s).\n[  FAILED  ] 2 test(s), listed below:\n"}]],
             (1, "3 passed, 2 failed, 0 skipped")),
            ([[{"result": "FAIL", "stdout": crashed}]], (1, "0 passed, 1 failed, 0 skipped")),
            ([[{"result": "TIMEOUT"}], [{"result": "OK"}]], (1, "1 passed, 1 failed, 0 skipped")),
            ([[{"result": "OK", "stderr": "Ran 19 tests in 0.1s\n\nOK (skipped=1)\n"}]], (0, "18 passed, 0 failed, 1 skipped")),
            ([[{"result": "FAIL", "stderr": "Ran 9 tests in 0.1s\n\nFAILED (failures=1, errors=1)\n"}]],
             (1, "7 passed, 2 failed, 0 skipped")),
            ([[{"result": "SKIP"}, {"result": "OK"}]], (0, "1 passed, 0 failed, 1 skipped")),
            ([[{"result": "SKIP"}]], (1, "0 passed, 0 failed, 1 skipped")),  # nothing ran: nothing is shown
            ([[{"result": "OK"}], None], (1, "1 passed, 1 failed, 0 skipped")),
            ([[{"result": "OK"}], []], (1, "1 passed, 1 failed, 0 skipped")),
        ):
            self.assertEqual(self.sum_up(*logs), wanted, logs)


if __name__ == "__main__":
    unittest.main()
