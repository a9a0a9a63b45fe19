#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares every C file with what the pinned clang-format makes of it: check-format.py [--fix].

Files named in tools/format-later.txt are left out; the list may only shrink.
"""
import os
import subprocess
import sys

TOOL = "clang-format-14"
SKIPPED = 77  # what meson takes as a skip
TREE = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))


def c_files():
    for top in ("include", "src", "tests", "bench", "kmod"):
        for folder, _, names in sorted(os.walk(os.path.join(TREE, top))):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(folder, name), TREE)


def later():
    with open(os.path.join(TREE, "tools/format-later.txt")) as lines:
        return {line.split("#")[0].strip() for line in lines} - {""}


def first_difference(have, want):
    pairs = zip(have.split(b"\n"), want.split(b"\n"))
    return next((i for i, (a, b) in enumerate(pairs, 1) if a != b), 1)


def main():
    files = sorted(set(c_files()) - later())
    try:
        if "--fix" in sys.argv:
            return subprocess.run([TOOL, "-i", *files], cwd=TREE).returncode
        bad = 0
        for name in files:
            with open(os.path.join(TREE, name), "rb") as source:
                have = source.read()
            want = subprocess.run([TOOL, name], cwd=TREE, check=True, capture_output=True).stdout
            if have != want:
                bad += 1
                print(f"{name}:{first_difference(have, want)}: run `make format`")
    except FileNotFoundError:
        print(f"{TOOL} is not installed")
        return SKIPPED
    print(f"{len(files)} files looked at, {bad} differ from .clang-format")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
