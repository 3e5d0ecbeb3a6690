"""What a scenario did to a folder: damaged files, lost files. Compares fingerprints; touches nothing."""
import importlib.machinery
import importlib.util
import os

import host

_loader = importlib.machinery.SourceFileLoader("fingerprint", os.path.join(host.ROOT, "tools/fingerprint"))
_spec = importlib.util.spec_from_loader("fingerprint", _loader)
_tool = importlib.util.module_from_spec(_spec)
_loader.exec_module(_tool)

look = _tool.fingerprint


def damage(before, now):
    """damaged: files that no longer have their content at their place; gone of them: nothing is there; extra: new paths.

    Hard links count once: one inode is one file to its owner.
    """
    damaged, gone = set(), set()
    for path, row in before.items():
        if row["type"] != "file":
            continue
        first = row.get("links", [path])[0]
        if path not in now:
            gone.add(first)
            damaged.add(first)
        elif now[path].get("sha256") != row["sha256"]:
            damaged.add(first)
    extra = sum(1 for path in now if path not in before)
    return {"damaged": len(damaged), "gone": len(gone), "extra": extra}


def lost(before, after):
    """Every difference that is left after a rollback, in words; the mtimes of folders apart from all the others."""
    strict = ["%s: %s" % (_tool.printable(path), what) for path, what in _tool.differences(before, after, ("dir-mtime",))]
    return strict, len(_tool.differences(before, after)) - len(strict)


def name_of(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as words:
            return "%d %s" % (pid, words.read().replace(b"\0", b" ").decode("utf-8", "replace")[:80])
    except OSError:
        return "%d gone" % pid
