#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs a test of guests on a host that has /dev/kvm (tools/with-kvm), and passes its TAP on.

    under-kvm.py --logs DIR [--memory MIB] TEST.py|PROGRAM [ARGUMENT...]

DIR is where the test keeps its consoles; it is kept on this host, with the other host's console.
"""
import argparse
import os
import subprocess
import sys

import tap  # noqa: F401 (that it is found here means that it will be there)
from guest import BUILDER

HERE = os.path.dirname(os.path.abspath(__file__))
WITH_KVM = os.path.join(HERE, "../../tools/with-kvm")
FAILED = 125  # with-kvm itself


def missing(text):
    """Why the other host cannot be had on this one, or None."""
    lines = text.strip().splitlines()
    reason = lines[-1] if lines else ""
    return reason if "is not installed" in reason or "there is no" in reason else None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--logs", required=True)
    parser.add_argument("--memory", default="2048")
    parser.add_argument("--guest", action="append", default=[], metavar="WHAT",
                        help="build this here, where there is a network and time")
    parser.add_argument("test", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    os.makedirs(options.logs, exist_ok=True)
    for what in options.guest:
        subprocess.run(["sh", BUILDER, *what.split()], stdout=subprocess.DEVNULL, check=False)
    python = ["python3"] if options.test[0].endswith(".py") else []
    done = subprocess.run(
        [WITH_KVM, "--time-limit", "3600", "--memory", options.memory,
         "--writable", options.logs, "--console", os.path.join(options.logs, "host.console"), "--",
         *python, *options.test], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    sys.stderr.write(done.stderr)
    if done.returncode == FAILED and missing(done.stderr):
        print(f"1..0 # SKIP {missing(done.stderr)}")
        return 0
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
