#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures the software CPU: the same work natively, in Lodge and in QEMU TCG, row by row.

    suite.py --vmm build/lodge-vmm --program build/bench/bench-suite
             [--runs 5] [--rows crc,goto] [--groups integer,fp] [--scale 0.3]
             [--engines native,lodge] [--against other/lodge-vmm] [--json FILE] [--warm]

A run boots each engine once for the rows with one processor and once for those with two; then each
row is run on one engine after the other. The seconds are CPU time of the whole process. A ratio
is the median of the ratios of all runs; a group's is the geometric mean of its rows'. --against
measures a second build beside the first. --scale changes the amount of work of each row.

With all rows, or with --login, a Debian disk is booted to its login prompt too, a fresh copy each time.

The warm boot takes its translations from those of two boots before, checked (what the launcher
does with --saved-code; its own work is not counted), with the kernel at another address each time.
It is measured with all rows, or with --warm.
"""
import argparse
import collections
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from engines import Lodge, Native, Qemu, RowFailed, initramfs  # noqa: E402
from boot import DEBIAN_APPEND, check_code, debian_disk, measure_login, table  # noqa: E402
from boot import Qemu as BootingQemu  # noqa: E402
from guest import guest_file, tap  # noqa: E402
from runvm import Vm  # noqa: E402

Row = collections.namedtuple("Row", "index name group cpus")
TITLES = {"native": "native", "lodge": "Lodge", "against": "other", "tcg": "TCG"}

# (what, groups or None for all rows, engine, against, "at most" or "at least", bound)
GATES = [
    ("all rows", None, "lodge", "native", "at most", 2.2),
    ("all rows", None, "tcg", "lodge", "at least", 3.5),
    ("integer and branchy", ("integer", "branchy"), "lodge", "native", "at most", 2.2),
    ("FP and SIMD", ("fp", "x87", "simd"), "lodge", "native", "at most", 1.4),
    ("string and memory streams", ("string", "memory"), "lodge", "native", "at most", 1.2),
    ("everyday programs", ("everyday",), "lodge", "native", "at most", 2.5),
    ("interpreters", ("interpreter",), "lodge", "native", "at most", 5),
    ("self-modifying code", ("smc",), "tcg", "lodge", "at least", 10),
    ("system-heavy rows", ("system",), "tcg", "lodge", "at least", 1.5),
]
BOOT_GATE, WARM_GATE, SCALING_GATE = 1.7, 3, 0.95


def geometric_mean(values):
    return math.exp(statistics.fmean(map(math.log, values))) if values else None


class Results:
    """What was measured: the Results of a row on an engine, one per run, and what went wrong."""

    def __init__(self, rows):
        self.rows = rows
        self.measured = collections.defaultdict(dict)  # (row name, engine) -> run -> Result
        self.boots = collections.defaultdict(dict)     # engine -> run -> CPU seconds to process 1
        self.logins = collections.defaultdict(dict)    # the same to the login prompt
        self.failed, self.skipped = {}, {}             # (row name, engine) -> why

    def runs(self, name, one, other):
        """Pairs of a row's Results of the runs that both engines finished."""
        ones, others = self.measured[name, one], self.measured[name, other]
        return [(ones[run], others[run]) for run in ones if run in others]

    def ratio(self, row, one, other):
        if (row.name, one) in self.failed or (row.name, other) in self.failed:
            return None
        pairs = self.runs(row.name, one, other)
        return statistics.median(a.cpu / b.cpu for a, b in pairs) if pairs else None

    def group_ratio(self, groups, one, other):
        ratios = [self.ratio(row, one, other) for row in self.rows
                  if groups is None or row.group in groups]
        return geometric_mean([ratio for ratio in ratios if ratio])

    @staticmethod
    def boot_ratio(boots, one, other):
        ones, others = boots[one], boots[other]
        ratios = [ones[run] / others[run] for run in ones if run in others]
        return statistics.median(ratios) if ratios else None

    def speedup(self, engine):
        """How much sooner two threads are done than one, by the host's clock."""
        ones, twos = self.measured["one-thread", engine], self.measured["two-threads", engine]
        speedups = [ones[run].wall / twos[run].wall for run in ones if run in twos]
        return statistics.median(speedups) if speedups else None


def measure(results, engines, rows, run, scale):
    """One run: every row on one engine after the other."""
    for engine in engines:
        try:
            engine.start()
        except (RowFailed, OSError) as error:
            sys.exit(f"suite.py: {engine.name} does not start: {error}")
        if engine.boot_cpu and rows[0].cpus == 1:
            results.boots[engine.name][run] = engine.boot_cpu
    checksums = {}
    for row in rows:
        for engine in engines:
            key = row.name, engine.name
            if key in results.failed or key in results.skipped:
                continue
            try:
                result = engine.run(row, scale)
            except RowFailed as error:
                (results.skipped if error.skipped else results.failed)[key] = str(error)
                continue
            if result.checksum != checksums.setdefault(row.name, result.checksum):
                results.failed[key] = f"wrong result {result.checksum}, " \
                                      f"{engines[0].name}'s is {checksums[row.name]}"
            results.measured[key][run] = result
        if sys.stderr.isatty():
            print(f"\rrun {run + 1}: {row.name:20}", end="\r", file=sys.stderr, flush=True)
    for engine in engines:
        engine.close()


def translated(options, kernel, initrd, directory):
    """A file of what two boots to process 1 have translated, checked."""
    path = os.path.join(directory, "code")
    for _ in range(2):
        boot_cpu(Lodge("warm", options.vmm, kernel, initrd, 1, options.patience, code=path))
    check_code(options.vmm, path)
    return path


def boot_cpu(engine):
    engine.start()
    engine.close()
    return engine.boot_cpu


def measure_warm(results, options, kernel, initrd, code, run):
    """A copy of the file is used: at its end the guest writes what it has by then."""
    results.boots["warm"][run] = boot_cpu(
        Lodge("warm", options.vmm, kernel, initrd, 1, options.patience,
              code=shutil.copy(code, code + "-used"), code_checked=True))


def measure_logins(results, options, kernel, qemu, directory, run):
    initrd = guest_file("initrd", "cloud")
    disk = debian_disk(directory)
    results.logins["lodge"][run] = measure_login(
        Vm(options.vmm, kernel, initrd, DEBIAN_APPEND, disks=[disk]))
    if qemu and "tcg" in options.engines:
        disk = debian_disk(directory)
        results.logins["tcg"][run] = measure_login(
            BootingQemu(qemu, kernel, initrd, DEBIAN_APPEND, disk))


def shown(value):
    return "-" if value is None else f"{value:.2f}"


def report(results, names, pairs):
    heading = ["group", "row", "native s"] + [f"{TITLES[a]}/{TITLES[b]}" for a, b in pairs]
    lines = []
    groups = list(dict.fromkeys(row.group for row in results.rows))
    for group in groups:
        for row in [row for row in results.rows if row.group == group]:
            native = [result.cpu for result in results.measured[row.name, "native"].values()]
            lines.append([group, row.name, f"{statistics.median(native):.3f}" if native else "-"] +
                         [shown(results.ratio(row, a, b)) for a, b in pairs])
    if "lodge" in names:
        lines.append(["boot", "to process 1", "-"] +
                     [shown(results.boot_ratio(results.boots, a, b)) for a, b in pairs])
    if results.boots["warm"]:
        lines.append(["boot", "to process 1, warm", "-"] +
                     [shown(results.boot_ratio(results.boots, a, "warm") if b == "lodge" else None)
                      for a, b in pairs])
    if results.logins:
        lines.append(["boot", "to login", "-"] +
                     [shown(results.boot_ratio(results.logins, a, b)) for a, b in pairs])
    table(heading, lines)
    print("Geometric means:\n")
    table(["group"] + heading[3:], [
        [group] + [shown(results.group_ratio(members, a, b)) for a, b in pairs]
        for group, members in [(group, (group,)) for group in groups] + [("all", None)]])


def report_failures(results):
    for (row, engine), why in results.failed.items():
        print(f"FAILED: {row} on {engine}: {why}")
    for (row, engine), why in results.skipped.items():
        print(f"skipped: {row} on {engine}: {why}")
    if results.failed or results.skipped:
        print()


def report_gates(results):
    lines = []

    def gate(what, value, direction, bound):
        if value is not None:
            met = value <= bound if direction == "at most" else value >= bound
            lines.append([what, f"{direction} {bound}", f"{value:.2f}", "met" if met else "NOT MET"])

    for what, groups, a, b, direction, bound in GATES:
        gate(f"{what}: {TITLES[a]}/{TITLES[b]}", results.group_ratio(groups, a, b), direction, bound)
    gate("boot to process 1: TCG/Lodge", results.boot_ratio(results.boots, "tcg", "lodge"),
         "at least", BOOT_GATE)
    gate("boot to process 1, warm: TCG/Lodge", results.boot_ratio(results.boots, "tcg", "warm"),
         "at least", WARM_GATE)
    if results.speedup("lodge") and results.speedup("native"):
        gate("speed-up by a second thread, of native's",
             results.speedup("lodge") / results.speedup("native"), "at least", SCALING_GATE)
    if not any(engine == "tcg" for _, engine in results.measured):
        table(["gate", "bound", "measured", ""], lines)
        return
    slower = [(results.ratio(row, "tcg", "lodge"), row.name) for row in results.rows]
    slower = sorted(pair for pair in slower if pair[0] and pair[0] < 1)
    gate("rows slower than TCG", len(slower), "at most", 0)
    table(["gate", "bound", "measured", ""], lines)
    if slower:
        print("Slower than TCG: " + ", ".join(f"{name} ({r:.2f})" for r, name in slower) + "\n")


def choose_rows(options):
    listing = subprocess.run([options.program, "--list"], stdout=subprocess.PIPE, text=True,
                             check=True).stdout
    rows = [Row(int(index), name, group, int(cpus))
            for index, name, group, cpus in map(str.split, listing.splitlines())]
    for wanted, known in ((options.rows, {row.name for row in rows}),
                          (options.groups, {row.group for row in rows})):
        if wanted and set(wanted) - known:
            sys.exit(f"suite.py: unknown: {', '.join(set(wanted) - known)};"
                     f" known: {', '.join(sorted(known))}")
    return [row for row in rows if (not options.rows and not options.groups) or
            row.name in (options.rows or ()) or row.group in (options.groups or ())]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words = {"type": lambda text: text.split(","), "metavar": "NAME,..."}
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--program", required=True, help="the suite's program, bench-suite")
    parser.add_argument("--against", help="a second lodge-vmm")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--rows", **words)
    parser.add_argument("--groups", **words)
    parser.add_argument("--engines", default=["native", "lodge", "tcg"], **words)
    parser.add_argument("--scale", type=float, default=1, help="of each row's work")
    parser.add_argument("--patience", type=float, default=120, help="seconds for one row")
    parser.add_argument("--json", help="write every single measurement to this file")
    parser.add_argument("--warm", action="store_true", help="boot from saved translations too")
    parser.add_argument("--login", action="store_true", help="boot a Debian disk to its login prompt too")
    options = parser.parse_args()
    rows = choose_rows(options)
    qemu, busybox = shutil.which("qemu-system-x86_64"), shutil.which("busybox")
    if not busybox:
        sys.exit("suite.py: busybox is not installed: sh tools/deps.sh guest")
    if "tcg" in options.engines and not qemu:
        print("qemu-system-x86_64 is not installed: nothing to compare with\n")
    try:
        kernel = guest_file("kernel", "cloud")
    except tap.Skip as reason:
        sys.exit(f"suite.py: {reason}")
    results = Results(rows)
    with tempfile.NamedTemporaryFile(prefix="lodge-bench-") as initrd, \
            tempfile.TemporaryDirectory(prefix="lodge-bench-") as directory:
        initrd.write(initramfs({"init": options.program, "bin/busybox": busybox}))
        initrd.flush()

        def engines(cpus):
            made = {"native": Native("native", options.program, busybox, options.patience)}
            made["lodge"] = Lodge("lodge", options.vmm, kernel, initrd.name, cpus,
                                  options.patience)
            if options.against:
                made["against"] = Lodge("against", options.against, kernel, initrd.name, cpus,
                                        options.patience)
            if qemu:
                made["tcg"] = Qemu("tcg", qemu, kernel, initrd.name, cpus, options.patience)
            return [made[name] for name in made if name in options.engines or name == "against"]

        names = [engine.name for engine in engines(1)]
        whole = not (options.rows or options.groups)
        warm = "lodge" in names and (options.warm or whole)
        code = translated(options, kernel, initrd.name, directory) if warm else None
        for run in range(options.runs):
            if warm:
                measure_warm(results, options, kernel, initrd.name, code, run)
            if "lodge" in names and (options.login or whole):
                measure_logins(results, options, kernel, qemu, directory, run)
            for cpus in (1, 2):
                some = [row for row in rows if row.cpus == cpus]
                if some:
                    measure(results, engines(cpus), some, run, options.scale)
    pairs = [(a, b) for a, b in [("lodge", "native"), ("against", "native"), ("tcg", "native"),
                                 ("tcg", "lodge"), ("against", "lodge")]
             if a in names and b in names]
    print(f"CPU seconds; ratios are medians of {options.runs} interleaved runs.\n")
    report(results, names, pairs)
    report_gates(results)
    report_failures(results)
    if options.json:
        with open(options.json, "w") as out:
            json.dump({"rows": [{"name": row.name, "group": row.group, "runs": {
                name: {run: result._asdict() for run, result in
                       results.measured[row.name, name].items()} for name in names}}
                for row in rows], "boots": results.boots, "logins": results.logins,
                "failed": [[*key, why] for key, why in results.failed.items()]}, out, indent=1)
    sys.exit(1 if results.failed else 0)


if __name__ == "__main__":
    main()
