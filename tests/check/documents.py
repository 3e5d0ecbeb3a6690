#!/usr/bin/python3
"""What the documents name exists: files, functions in files, links, commands and their options; both READMEs show the same commands and figures.

    documents.py SOURCE BUILD

Owns: reading the Markdown at the root and in docs/, src/ and tests/. Prints what is named and not there; status 1 when anything is.
"""
import glob
import os
import re
import subprocess
import sys

SOURCE, BUILD = sys.argv[1], sys.argv[2]
NOT_OURS = {"linux/cm4000_cs.h"}  # a file that a workload happened to name
problems = []


def tracked():
    found = []
    for folder, folders, files in os.walk(SOURCE):
        folders[:] = [f for f in folders if not f.startswith(("build", ".git"))]
        found += [os.path.relpath(os.path.join(folder, f), SOURCE) for f in files]
    return found


FILES = tracked()
NAMES = {}
for each in FILES:
    NAMES.setdefault(os.path.basename(each), []).append(each)


def read(path):
    with open(os.path.join(SOURCE, path), encoding="utf-8") as text:
        return text.read()


def exists(path, beside):
    """A path from the root, from src/ or tests/, from the document's folder; with * as in the shell."""
    return any(glob.glob(os.path.join(SOURCE, base, path)) for base in ("", "src", "tests", os.path.dirname(beside)))


def check_paths(document, text):
    for path in re.findall(r"`((?:src|tests|docs|bench|tools|man|packaging|\.ci)/[\w./*-]+)`", text):
        built = re.sub(r"/fuzz-(\w+)$", r"/fuzz_\1.c", path)  # a program, named by its place in the build folder
        if not exists(built.rstrip("/"), document):
            problems.append("%s: there is no %s" % (document, path))
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", re.sub(r"`[^`\n]*`", "", text)):
        if "://" not in target and not exists(target, document):
            problems.append("%s: a link to %s, which is not there" % (document, target))


def check_sources(document, text):
    """name.c, name_*.c and name.c:function wherever they stand."""
    for name, function in re.findall(r"(?<![\w./*-])((?:[\w-]+/)*[\w*]+\.(?:[ch]|py|sh))\b(?::([a-z_]\w+))?", text):
        here = [p for p in FILES if ("/" + p).endswith("/" + name)] if "*" not in name else ["*"] if exists(name, "") or exists("*/" + name, "") or exists("src/*/" + name, "") else []
        if not here and name not in NOT_OURS:
            problems.append("%s: there is no %s" % (document, name))
        elif function and not any(re.search(r"\b%s\b" % function, read(p)) for p in here):
            problems.append("%s: %s has no %s" % (document, name, function))


def helps():
    """All that --help of our programs prints, by program."""
    out = {}
    for words in (["portcullis"], ["portcullis", "drill"], ["portcullisd"], ["portcullisd", "host"], ["portcullis-server"]):
        done = subprocess.run([os.path.join(BUILD, words[0]), *words[1:], "--help"], stdout=subprocess.PIPE, check=True, text=True, timeout=20)
        out[words[0]] = out.get(words[0], "") + done.stdout
    return out


def commands_of(text):
    """Command lines of our programs, in code blocks (continued lines joined) and in words."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    for code in blocks + re.findall(r"`([^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)):
        for line in code.replace("\\\n", " ").splitlines():
            for found in re.finditer(r"(?:^|[\s/])(portcullis(?:d|-server)?) (.*)", line):
                yield found.group(1), re.split(r"\s#|[|;&]", found.group(2))[0]


def check_commands(document, text, known):
    for program, rest in commands_of(text):
        words = re.match(r"[a-z][a-z-]*", rest)
        if words and not re.search(r"(?:^  |portcullisd |\| )%s\b" % words.group(0), known[program], re.M):
            problems.append("%s: %s has no command %s" % (document, program, words.group(0)))
        for option in re.findall(r"(?<=\s)--[a-z][a-z-]*", " " + rest):
            if not re.search(r"%s\b(?!-)" % option, known[program]):
                problems.append("%s: %s %s has no option %s" % (document, program, rest.split()[0], option))


def check_translation():
    """Code blocks (their comments are translated) and figures with a unit."""
    def facts(path):
        text = read(path)
        return (sorted((p, re.sub(r"\s+", " ", rest).strip()) for p, rest in commands_of(text)), sorted(re.findall(r"\d[\d.,]* ?(?:%|ms|µs|GiB|MiB|KiB)", text)))
    for one, other in zip(facts("README.md"), facts("README.zh-CN.md")):
        problems.extend("README.md and README.zh-CN.md: only one of them has %s" % (fact,) for fact in sorted(set(one) ^ set(other), key=str))


def main():
    known = helps()
    documents = [p for p in FILES if p.endswith(".md") and "/packages/" not in p]
    for document in documents:
        text = read(document)
        check_paths(document, text)
        check_sources(document, text)
        check_commands(document, text, known)
    check_translation()
    print("\n".join(problems) or "%d documents: what they name is there" % len(documents))
    return 1 if problems else 0


sys.exit(main())
