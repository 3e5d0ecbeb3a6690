"""Turns results into the tables of docs/benchmarks.md. Pure: a dict in, text out."""
import math

TARGETS = {"ahead": 1.02, "on-open": 1.05}
WORST = 1.10


def geometric_mean(values):
    return math.exp(sum(math.log(v) for v in values) / len(values)) if values else None


def cell(entry):
    if entry is None:
        return "not run"
    if "ratio" not in entry:
        return "not measured (%s)" % (entry.get("why") or "no result")
    return "%.2f (%.2f-%.2f)" % (entry["ratio"], entry["lowest"], entry["highest"])


def means(rows):
    """{mode: {guard: geometric mean, worst, workloads}}"""
    found = {}
    for mode in TARGETS:
        mine = [r for r in rows if r["mode"] == mode]
        names = {n for r in mine for n in r["conditions"] if n != "none"}
        for name in names:
            entries = {r["workload"]: r["conditions"].get(name, {}) for r in mine}
            ratios = {workload: e["ratio"] for workload, e in entries.items() if "ratio" in e}
            if ratios:
                worst = max(ratios, key=ratios.get)
                found.setdefault(mode, {})[name] = {"mean": geometric_mean(list(ratios.values())),
                                                    "worst": ratios[worst], "worst_workload": worst,
                                                    "workloads": len(ratios)}
    return found


def table(head, rows):
    return "\n".join("| %s |" % " | ".join(str(c) for c in r) for r in [head, ["---"] * len(head)] + rows) + "\n"


def seconds(row):
    median = row["conditions"]["none"].get("median")
    if median is None:
        return "?"
    return "%.1f/s" % (1 / median) if row["workload"] == "dbench" else "%.2f s" % median


def processor(row):
    """What no load of the machine can blur: processor time with and without Portcullis."""
    base, ours = row["conditions"]["none"], row["conditions"]["portcullis"]
    if "work_cpu" not in base or "work_cpu" not in ours:
        return "?"
    return "%.2f / %.2f + %.2f" % (base["work_cpu"], ours["work_cpu"], ours["guard_cpu"])


def workloads_table(rows):
    names = [n for n in ("portcullis", "events alone", "fapolicyd", "clamonacc") if any(n in r["conditions"] for r in rows)]
    body = []
    for r in rows:
        body.append([r["fs"], r["mode"], r["workload"], seconds(r)] + [cell(r["conditions"].get(n)) for n in names] +
                    [processor(r)])
    for mode, guards in means(rows).items():
        fs = next(r["fs"] for r in rows if r["mode"] == mode)
        shown = ["**%.3f** (of %d)" % (guards[n]["mean"], guards[n]["workloads"]) if n in guards else "" for n in names]
        body.append([fs, mode, "**geometric mean**", ""] + shown + [""])
    return table(["fs", "mode", "workload", "no guard"] + names + ["CPU seconds: work / work guarded + guard"], body)


def verdict(met):
    return "**met**" if met else "**missed**"


def targets(rows):
    lines = []
    for mode, guards in means(rows).items():
        mine = guards.get("portcullis")
        if not mine:
            continue
        lines.append("- %s: geometric mean %.3f, target %.2f: %s" %
                     (mode, mine["mean"], TARGETS[mode], verdict(mine["mean"] <= TARGETS[mode])))
        lines.append("- %s: worst workload %s %.2f, target %.2f: %s" %
                     (mode, mine["worst_workload"], mine["worst"], WORST, verdict(mine["worst"] <= WORST)))
        lines += ["- %s: below %s (%.3f) in the same run: %s" %
                  (mode, name, other["mean"], verdict(mine["mean"] < other["mean"]))
                  for name, other in guards.items() if name not in ("portcullis", "events alone")]
    return "\n".join(lines) + "\n"


def latency_table(rows):
    return table(["fs", "state", "open for", "p50", "p99", "longest"],
                 [[r["fs"], r["state"], r["open"], "%.1f us" % r["p50_us"], "%.1f us" % r["p99_us"],
                   "%.0f us" % r["max_us"]] for r in rows])


def other_lines(result):
    lines = []
    for i in result.get("idle", []):
        lines.append("- idle, 10,000 files on %s: %.2f %% of one core over %d s, RSS %.1f MiB (target: <= 1 %%)" %
                     (i["fs"], i["cpu_percent"], i["seconds"], i["rss_kib"] / 1024))
    m = result.get("many")
    if m and "error" in m:
        lines.append("- many files: not measured (%s)" % m["error"])
    elif m:
        mib = {k: m[k] / 1024 for k in m if k.endswith("_kib")}
        lines.append("- %s small files on xfs: first scan %.0f s, restart scan %.0f s; RSS %.1f MiB after the first "
                     "scan (peak %.1f), %.1f MiB after the restart (target: <= 32 MiB, both processes); idle then "
                     "%.2f %% of one core; index %.0f MB" %
                     ("{:,}".format(m["files"]), m["first_scan_seconds"], m["restart_scan_seconds"],
                      mib["first_scan_rss_kib"], mib["first_scan_peak_kib"], mib["restart_scan_rss_kib"],
                      m["restart_scan_idle_percent"], m["index_bytes"] / 1e6))
    return "\n".join(lines) + "\n"


def attack_table(rows):
    return table(["fs", "attack", "damaged before the freeze", "lost after rollback", "verdict"],
                 [[r.get("fs"), r["name"], r.get("damaged", "?"), r.get("lost", "?"), " ".join(
                     [r["verdict"]] + ["(%s)" % line[:80] for line in str(r.get("why") or "").splitlines()[:1]])]
                  for r in rows])


def markdown(result):
    text = "%s\n" % result["machine"]
    if result.get("workloads"):
        text += "\n### Workloads: time under a guard / time without one\n\n"
        text += workloads_table(result["workloads"]) + "\n" + targets(result["workloads"])
    for name, why in result.get("not_run", {}).items():
        text += "- %s: not run: %s\n" % (name, why)
    if result.get("latency"):
        text += "\n### One open and close\n\n" + latency_table(result["latency"])
    if result.get("idle") or result.get("many"):
        text += "\n### Footprint\n\n" + other_lines(result)
    if result.get("attacks"):
        text += "\n### Rates of attack survived\n\n" + attack_table(result["attacks"])
    return text
