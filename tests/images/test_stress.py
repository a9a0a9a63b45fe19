# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs image-stress with 2 and 4 vCPUs, with and without the check of blocks at entry.

    test_stress.py --vmm build/lodge-vmm IMAGE [--slow]

--slow: again and again for $LODGE_STRESS_SECONDS (3600).
"""
import argparse
import os
import re
import tempfile
import time

import engines
from engines import tap

DISK_BYTES = 1 << 20
SLOT = 16


def make_disk(file):
    """Slot n is a function at byte 3 that returns what stress_dma.c's stream_value(n) says."""
    for n in range(DISK_BYTES // SLOT):
        value = (n * 2654435761 + 12345) & 0xffffffff
        file.write(b"\xcc\xcc\xcc\xb8" + value.to_bytes(4, "little") + b"\xc3" + b"\xcc" * 7)
    file.flush()


def stress(options, vcpus, check_blocks):
    """How often the guest read code from its disk."""
    with tempfile.NamedTemporaryFile(prefix="lodge-stress-") as disk:
        make_disk(disk)
        console, status = engines.lodge(options, options.image, vcpus=vcpus, disks=[disk.name],
                                        cpu_debug={"check_blocks": check_blocks})
    end = re.search(rf"^stress: {vcpus:#x} processors, 0x0 failures, (0x[0-9a-f]+) reads of code$",
                    console, re.M)
    assert end, console[-2000:]
    assert status == 1, f"lodge-vmm ended with {status}"
    reads = int(end[1], 16)
    assert reads >= 100 * vcpus, f"only {reads} reads of code from the disk"
    return reads


def once(options, vcpus, check_blocks):
    print(f"# {stress(options, vcpus, check_blocks)} reads of code from the disk", flush=True)


def for_long(options):
    end = time.monotonic() + float(os.environ.get("LODGE_STRESS_SECONDS", "3600"))
    rounds = reads = 0
    while time.monotonic() < end:
        reads += stress(options, (2, 4)[rounds & 1], bool(rounds & 2))
        rounds += 1
    print(f"# {rounds} runs, {reads} reads of code from the disk")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("image")
    options = parser.parse_args()
    if options.slow:
        return tap.main({"test_for_long": lambda: for_long(options)})
    return tap.main({f"test_{vcpus}_vcpus{', blocks checked' if check else ''}":
                     lambda vcpus=vcpus, check=check: once(options, vcpus, check)
                     for vcpus in (2, 4) for check in (False, True)})


main()
