"""Writes a text file as a C array: embed.py INPUT OUTPUT NAME HEADER"""
import json
import sys

source, target, name, header = sys.argv[1:]
with open(source, encoding="utf-8") as f:
    text = json.dumps(json.load(f), ensure_ascii=True, separators=(",", ":")) + "\n"
with open(target, "w", encoding="ascii") as f:
    numbers = ",".join(str(b) for b in text.encode("ascii"))
    f.write(f'#include "{header}"\n\nconst char {name}[] = {{{numbers},0}};\nconst size_t {name}_len = sizeof {name} - 1;\n')
