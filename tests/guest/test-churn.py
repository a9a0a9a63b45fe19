#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a guest translates does not grow without end, whatever it does with its code.

    test-churn.py --vmm build/lodge-vmm --program build/bench/bench-suite

The program is process 1 and runs rows of the benchmark (see bench/suite/main.c): "churn" maps,
writes, runs and unmaps code, "jit" writes functions that are all new.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../bench"))

from engines import APPEND, MEMORY_MIB, Lodge, initramfs  # noqa: E402
from guest import guest_file, tap  # noqa: E402
from runvm import Vm  # noqa: E402
import suite  # noqa: E402

CYCLES = 1000
CHURN_ROW = 800  # cycles of the row at scale 1
MIB = 1 << 20


class Guest(Lodge):
    def __init__(self, initrd, cpu):
        super().__init__("lodge", options.vmm, None, None, 1, 300)
        kernel = guest_file("kernel", "cloud")
        self.make = lambda: Vm(options.vmm, kernel, initrd, APPEND, memory_mib=MEMORY_MIB, cpu=cpu)

    def cache(self):
        return self.vm.qmp().command("query-cpu-stats")["return"]["shared"]["code-cache"]

    def resident(self):
        with open(f"/proc/{self.vm.process.pid}/status") as lines:
            return int(re.search(r"^VmRSS:\s+(\d+) kB", lines.read(), re.M).group(1)) << 10


def guest(cpu=None):
    """A started Guest, and the rows by name."""
    busybox = shutil.which("busybox")
    if not busybox:
        raise tap.Skip("busybox is not installed")
    with tempfile.NamedTemporaryFile(prefix="lodge-churn-") as initrd:
        initrd.write(initramfs({"init": options.program, "bin/busybox": busybox}))
        initrd.flush()
        made = Guest(initrd.name, cpu)
        made.start()
    listing = subprocess.run([options.program, "--list"], stdout=subprocess.PIPE, text=True,
                             check=True).stdout
    rows = [suite.Row(int(index), name, group, int(cpus))
            for index, name, group, cpus in map(str.split, listing.splitlines())]
    return made, {row.name: row for row in rows}


def test_a_thousand_cycles_of_churn():
    """After as many to get warm, another thousand cycles cost next to nothing that stays."""
    vm, rows = guest()
    vm.run(rows["churn"], CYCLES / CHURN_ROW)
    before, resident = vm.cache(), vm.resident()
    vm.run(rows["churn"], CYCLES / CHURN_ROW)
    after, grown = vm.cache(), vm.resident() - resident
    vm.close()
    assert after["blocks-invalidated"] - before["blocks-invalidated"] >= CYCLES, (before, after)
    assert after["bytes"] - before["bytes"] < 0.25 * MIB, (before, after)
    assert after["table-bytes"] - before["table-bytes"] < 0.5 * MIB, (before, after)
    assert grown < 2 * MIB, f"{grown} bytes more are resident"


def test_the_bound_is_kept():
    """Eight MiB, which booting alone fills: emptied as often as need be, never exceeded."""
    bound = 8 * MIB
    vm, rows = guest({"code_cache_bytes": bound})
    seen = [vm.cache()]
    vm.run(rows["jit"], 0.5)
    resident = vm.resident()
    for _ in range(3):
        vm.run(rows["jit"], 0.5)
        seen.append(vm.cache())
    grown = vm.resident() - resident
    vm.close()
    for cache in seen:
        assert cache["bytes-at-most"] == bound, cache
        assert cache["bytes"] <= bound and cache["table-bytes"] <= bound, cache
    assert seen[0]["flushes"] > 0, seen[0]
    assert grown < 2 * MIB, f"{grown} bytes more are resident"


def main():
    global options
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--program", required=True, help="bench-suite")
    options = parser.parse_args()
    tap.main(globals())


if __name__ == "__main__":
    main()
