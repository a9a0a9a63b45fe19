# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs image-stress with 2 and 4 vCPUs, with and without the check of blocks at entry.

    test_stress.py --vmm build/lodge-vmm IMAGE [--slow]

--slow: again and again for $LODGE_STRESS_SECONDS (3600).
"""
import argparse
import os
import re
import time

import engines
from engines import tap


def stress(options, vcpus, check_blocks):
    console, status = engines.lodge(options, options.image, vcpus=vcpus,
                                    cpu_debug={"check_blocks": check_blocks})
    assert re.search(rf"^stress: {vcpus:#x} processors, 0x0 failures$", console, re.M), console[-2000:]
    assert status == 1, f"lodge-vmm ended with {status}"


def for_long(options):
    end = time.monotonic() + float(os.environ.get("LODGE_STRESS_SECONDS", "3600"))
    rounds = 0
    while time.monotonic() < end:
        stress(options, (2, 4)[rounds & 1], bool(rounds & 2))
        rounds += 1
    print(f"# {rounds} runs")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("image")
    options = parser.parse_args()
    if options.slow:
        return tap.main({"test_for_long": lambda: for_long(options)})
    return tap.main({f"test_{vcpus}_vcpus{', blocks checked' if check else ''}":
                     lambda vcpus=vcpus, check=check: stress(options, vcpus, check)
                     for vcpus in (2, 4) for check in (False, True)})


main()
