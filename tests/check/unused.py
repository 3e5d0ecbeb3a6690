#!/usr/bin/python3
"""Every function that a header of src/ declares is called by somebody other than itself.

    unused.py SOURCE

Owns: finding definitions and words by pattern (no compiler needed). Tests count as callers. What is found is dead, or was meant to be called.
"""
import collections
import glob
import os
import re
import sys

SOURCE = sys.argv[1]
DEFINITION = re.compile(r"^(?!static\b)[a-z][\w *]*?\b(pc_\w+|drill_\w+)\([^;{]*\)\n\{", re.M)
texts = {}
for part in ("src", "bench", "tests"):
    for path in glob.glob(os.path.join(SOURCE, part, "**", "*.[ch]"), recursive=True):
        with open(path, encoding="utf-8") as source:
            texts[path] = source.read()
times = collections.Counter(word for path, text in texts.items() if path.endswith(".c") for word in re.findall(r"\w+", text))
declared = {word for path, text in texts.items() if path.endswith(".h") for word in re.findall(r"\b(\w+)\(", text)}
defined = {name: path for path, text in sorted(texts.items()) if path.endswith(".c") for name in DEFINITION.findall(text)}
macros = {word for path, text in texts.items() if path.endswith(".h") for line in re.findall(r"^#define (?:.*\\\n)*.*", text, re.M) for word in re.findall(r"\w+", line)}
inlines = collections.Counter(word for path, text in texts.items() if path.endswith(".h") for body in re.findall(r"^static inline.*?^}", text, re.M | re.S)
                              for word in re.findall(r"\w+", body))
dead = [name for name in defined if name in declared and times[name] == 1 and name not in macros and not inlines[name]]
for name in dead:
    print("%s: nobody calls %s" % (os.path.relpath(defined[name], SOURCE), name))
if not dead:
    print("%d functions, each called by somebody" % len(defined))
sys.exit(1 if dead or len(defined) < 500 else 0)
