#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures a program that compiles while it runs: node, natively, in Lodge and in QEMU TCG.

    node.py --vmm build/lodge-vmm [--runs 3] [--rows json,regex] [--cpus 1] [--scale 0.3]
            [--engines native,lodge,tcg] [--against other/lodge-vmm]

What a row does stands in node/rows.js. The guest has the node of this host (Debian: nodejs) and the
libraries that it wants, in its initramfs. Each engine starts node once a run and runs row after row;
the seconds are CPU time of the whole process, with what node compiles on other threads. A row whose
result is not native's has failed.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from engines import Engine, Lodge, Qemu, initramfs  # noqa: E402
from guest import guest_file, tap  # noqa: E402
from runvm import die_with_parent  # noqa: E402
from suite import Results, Row, measure, report, report_failures  # noqa: E402

SCRIPT = os.path.join(HERE, "node/rows.js")
SETTINGS = {"append": "console=ttyS0 loglevel=1 panic=-1"
                      ' lodge.run="stty -echo; exec node /rows.js --serve"', "memory_mib": 1024}


def node():
    path = shutil.which("node")
    if not path:
        raise tap.Skip("node is not installed: apt-get install nodejs")
    return os.path.realpath(path)


def libraries(program):
    """What the program's interpreter would load, that among it: paths."""
    listing = subprocess.run(["ldd", program], stdout=subprocess.PIPE, text=True, check=True).stdout
    return re.findall(r"(/\S+) \(0x", listing)


def make_initrd(path):
    """The busybox initramfs, and node behind it: a kernel unpacks one after the other."""
    program = node()
    files = {"usr/bin/node": program, "rows.js": SCRIPT}
    files.update({library[1:]: library for library in libraries(program)})
    with open(path, "wb") as initrd, open(guest_file("busybox"), "rb") as busybox:
        initrd.write(busybox.read())
        initrd.write(initramfs(files))


def rows(script=SCRIPT):
    listing = subprocess.run([node(), script, "--list"], stdout=subprocess.PIPE, text=True,
                             check=True).stdout
    return [Row(int(index), name, "node", 1) for index, name in map(str.split, listing.splitlines())]


class Native(Engine):
    """node as a process of this host, on as many processors as the guest has."""

    def __init__(self, cpus, patience):
        super().__init__("native", patience)
        self.processors = sorted(os.sched_getaffinity(0))[:cpus]

    def launch(self):
        def prepare():
            die_with_parent()
            os.sched_setaffinity(0, self.processors)

        self.process = subprocess.Popen([node(), SCRIPT, "--serve"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, preexec_fn=prepare)
        self.source, self.sink = self.process.stdout.fileno(), self.process.stdin.fileno()
        self.running = True
        self.expect("booted")
        self.boot_cpu = self.cpu()

    def end(self):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def engines(options, initrd):
    """Those that are wanted and here."""
    kernel, qemu = guest_file("kernel", "cloud"), shutil.which("qemu-system-x86_64")
    made = [Native(options.cpus, options.patience)]
    for name, vmm in (("lodge", options.vmm), ("against", options.against)):
        if vmm:
            made.append(Lodge(name, vmm, kernel, initrd, options.cpus, options.patience, **SETTINGS))
    if qemu:
        made.append(Qemu("tcg", qemu, kernel, initrd, options.cpus, options.patience, **SETTINGS))
    return [engine for engine in made if engine.name in options.engines + ["against"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words = {"type": lambda text: text.split(","), "metavar": "NAME,..."}
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--against", help="a second lodge-vmm")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--rows", **words)
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1, help="of each row's work")
    parser.add_argument("--patience", type=float, default=300, help="seconds for one row")
    parser.add_argument("--engines", default=["native", "lodge", "tcg"], **words)
    options = parser.parse_args()
    try:
        chosen = [row for row in rows() if row.name in (options.rows or row.name)]
        if options.rows and len(chosen) != len(options.rows):
            sys.exit(f"node.py: known rows: {', '.join(row.name for row in rows())}")
        with tempfile.NamedTemporaryFile(prefix="lodge-node-") as initrd:
            make_initrd(initrd.name)
            results = Results(chosen)
            some = engines(options, initrd.name)
            for run in range(options.runs):
                measure(results, some, chosen, run, options.scale)
    except tap.Skip as reason:
        sys.exit(f"node.py: {reason}")
    names = [engine.name for engine in some]
    version = subprocess.run([node(), "--version"], stdout=subprocess.PIPE, text=True).stdout.strip()
    print(f"node {version}, {options.cpus} processors. CPU seconds; ratios are medians of"
          f" {options.runs} interleaved runs. To process 1: to node's first line.\n")
    report(results, names, [(a, b) for a, b in [("lodge", "native"), ("against", "native"),
                                                ("tcg", "native"), ("tcg", "lodge"),
                                                ("against", "lodge")] if {a, b} <= set(names)])
    report_failures(results)
    sys.exit(1 if results.failed else 0)


if __name__ == "__main__":
    main()
