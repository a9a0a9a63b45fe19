#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares every C file with what the pinned clang-format makes of it: check-format.py [--fix]."""
import os
import re
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


def main():
    files = sorted(c_files())
    try:
        if "--fix" in sys.argv:
            return subprocess.run([TOOL, "-i", *files], cwd=TREE).returncode
        done = subprocess.run([TOOL, "--dry-run", *files], cwd=TREE, capture_output=True, text=True)
    except FileNotFoundError:
        print(f"{TOOL} is not installed")
        return SKIPPED
    places = {}
    for name, line in re.findall(r"^(\S+?):(\d+):\d+: warning", done.stderr, re.M):
        places.setdefault(name, line)
    for name, line in sorted(places.items()):
        print(f"{name}:{line}: run `make format`")
    print(f"{len(files)} files looked at, {len(places)} differ from .clang-format")
    return 1 if places or done.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
