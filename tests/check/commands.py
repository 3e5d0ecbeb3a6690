#!/usr/bin/python3
"""What the programs' --help lists, the manual pages and the completion list too; and they list nothing else.

    commands.py SOURCE BUILD

Owns: reading the three. Compares commands, options, exit statuses, and the server's settings. Prints what is missing where; status 1 when anything is.
"""
import os
import re
import subprocess
import sys
import tempfile

SOURCE, BUILD = sys.argv[1], sys.argv[2]
OPTION = re.compile(r"(?<![\w/.=-])--?[a-z][a-z0-9-]*")
EVERYWHERE = {"--state", "--json", "--help"}
problems = []


def help_of(*words):
    done = subprocess.run([os.path.join(BUILD, words[0]), *words[1:], "--help"], stdout=subprocess.PIPE, check=True, text=True, timeout=20,
                          stdin=subprocess.DEVNULL)
    return done.stdout


def options_of(text):
    return set(OPTION.findall(text))


def manual(*names):
    """The pages' text, without what only troff reads."""
    text = ""
    for name in names:
        with open(os.path.join(SOURCE, "man", name), encoding="utf-8") as page:
            text += page.read()
    text = re.sub(r"\\f[A-Z]", "", text.replace("\\-", "-").replace("\\(dq", "").replace('"', ""))
    return re.sub(r"[ \t]+", " ", text)


def section(text, name):
    found = re.search(r"^\.SH %s$(.*?)(?=^\.SH |\Z)" % name, text, re.M | re.S)
    return found.group(1) if found else ""


def differ(what, one, first, other, second):
    problems.extend("%s: %s has %s, %s does not" % (what, first, word, second) for word in sorted(one - other))
    problems.extend("%s: %s has %s, %s does not" % (what, second, word, first) for word in sorted(other - one))


def statuses(text):
    """Numbers that a page or a help names as exit statuses: "0 done, 1 failed" or a tagged paragraph each."""
    return {int(n) for n in re.findall(r"(?:^\.B |^|[,:] )(\d+)(?=$| [a-z-])", text, re.M)}


def help_statuses(text):
    return {n for part in text.split("Exit status")[1:] for n in statuses(re.sub(r"\s+", " ", part.split("\n\n")[0]))}


# --- portcullis -------------------------------------------------------------------------------------------------------------------
def parse_commands(text):
    """{"order new": {"--argv", ...}} from the help's two kinds of lines."""
    commands, current = {}, None
    for line in text.split("\nOptions of every command:")[0].splitlines():
        named = re.match(r"  ([a-z][a-z-]*(?: [a-z]+)?)(?= [A-Z[]|  )", line)
        option = re.match(r"      (--?[a-z][a-z0-9-]*)", line)
        if named:
            current = commands.setdefault(named.group(1), set())
        elif option:
            current.add(option.group(1))
    return commands


def completions(words, current):
    """What the completion offers for the last word."""
    script = 'compopt() { :; }; portcullis() { "$program" "$@"; }; . "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _portcullis; printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", script, "bash", os.path.join(SOURCE, "packaging/portcullis.bash-completion"), "portcullis", *words, current],
                          env=dict(os.environ, program=os.path.join(BUILD, "portcullis"), PORTCULLIS_STATE="/nonexistent"),
                          stdout=subprocess.PIPE, check=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    return set(done.stdout.split())


def check_portcullis():
    text, drill = help_of("portcullis"), help_of("portcullis", "drill")
    commands, fleet = parse_commands(text), {"--owner", "--server", "--ca", "--token"}
    pages = manual("portcullis.1", "portcullis-fleet.1")
    problems.extend("portcullis %s: not in portcullis(1) or portcullis-fleet(1)" % c for c in commands if not re.search(r"\b%s\b" % c, pages))
    differ("portcullis(1) and portcullis-fleet(1)", options_of(text), "--help", options_of(pages), "the manual")
    differ("portcullis-drill(1)", options_of(drill), "drill --help", options_of(manual("portcullis-drill.1")), "the manual")
    differ("exit status", help_statuses(text), "portcullis --help", statuses(section(pages, "EXIT STATUS")), "portcullis(1)")
    differ("exit status", help_statuses(drill), "drill --help", statuses(section(manual("portcullis-drill.1"), "EXIT STATUS")), "portcullis-drill(1)")

    differ("completion", {c.split()[0] for c in commands} | {"help"}, "--help", completions([], ""), "completion")
    own_folder = {"trust new", "trust rotate", "trust statement"}  # ask no server; --owner and --ca mean something else there
    owners = set(parse_commands(text.split("\nCommands of an owner")[1])) - own_folder
    for command, options in commands.items():
        words = command.split()
        if len(words) == 2 and words[1] not in completions(words[:1], ""):
            problems.append("completion: %s is not offered" % command)
        wanted = options | EVERYWHERE | (fleet if command in owners else set())
        differ("completion of " + command, options_of(drill) if command == "drill" else wanted, "--help", completions([*words, "x"], "-"), "completion")
    for words in (["order", "new"], ["stop"], ["look"]):
        done = subprocess.run([os.path.join(BUILD, "portcullis"), *words, "nonsense"], stderr=subprocess.PIPE, check=False, text=True, timeout=20)
        differ("actions of " + " ".join(words), set(done.stderr.split("there are:")[-1].split()), "portcullis", completions(words, ""), "completion")
    for option in ("--pattern", "--path", "--topology", "--rename"):
        if not {"head-4k", "write", "flat", "never"} & completions(["drill", option], ""):
            problems.append("completion of drill: nothing for %s" % option)


# --- the other two ----------------------------------------------------------------------------------------------------------------
def check_portcullisd():
    texts = help_of("portcullisd") + help_of("portcullisd", "host").replace("--path PATH", "")
    page = manual("portcullisd.8")
    for command in ("guard", "enroll", "host", "link", "runner"):
        if command not in texts or not re.search(r"^\.B (portcullisd )?%s\b" % command, page, re.M):
            problems.append("portcullisd %s: not in --help and portcullisd(8)" % command)
    differ("portcullisd(8)", options_of(texts), "--help", options_of(page), "the manual")
    differ("exit status", help_statuses(texts), "portcullisd --help", statuses(section(page, "EXIT STATUS")), "portcullisd(8)")


def check_server():
    text, page = help_of("portcullis-server"), manual("portcullis-server.8")
    for command in re.findall(r"^  ([a-z-]+) ", text, re.M):
        if not re.search(r"^\.BR? (portcullis-server )?(\S+ , )?%s\b" % command, page, re.M):
            problems.append("portcullis-server %s: not in portcullis-server(8)" % command)
    differ("portcullis-server(8)", options_of(text), "--help", options_of(page), "the manual")
    differ("exit status", help_statuses(text), "portcullis-server --help", statuses(section(page, "EXIT STATUS")), "portcullis-server(8)")
    with tempfile.TemporaryDirectory(prefix="portcullis-check.") as folder:
        state = os.path.join(folder, "server")
        subprocess.run([os.path.join(BUILD, "portcullis-server"), "init", "--state", state, "--tenant", "t", "--listen", "127.0.0.1:1", "--link", "127.0.0.1:2"],
                       stdout=subprocess.DEVNULL, check=True, timeout=60)
        with open(os.path.join(state, "server.conf"), encoding="utf-8") as conf:
            keys = set(re.findall(r"^#? ?([a-z_]+) =", conf.read(), re.M))
    told = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"^\.TP\n\.BR? (.*)$", section(page, "SETTINGS"), re.M))))
    differ("settings", keys, "server.conf", told, "portcullis-server(8)")


check_portcullis()
check_portcullisd()
check_server()
print("\n".join(problems) or "commands, options, statuses and settings: help, manual and completion agree")
sys.exit(1 if problems else 0)
