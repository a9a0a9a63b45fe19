# SPDX-License-Identifier: GPL-2.0-or-later
"""Every source file says its licence in one of its first three lines."""
import os
import sys

TREE = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
NEEDED = (".c", ".h", ".S", ".py", ".sh", ".asl", "meson.build", "Makefile")
LINE = "SPDX-License-Identifier: GPL-2.0-or-later"


def main():
    bad = count = 0
    for folder, dirs, names in os.walk(TREE):
        dirs[:] = [d for d in dirs if not d.startswith((".git", "build", "__pycache__"))]
        for name in names:
            if not name.endswith(NEEDED):
                continue
            path = os.path.join(folder, name)
            with open(path, errors="replace") as text:
                head = "".join(text.readline() for _ in range(3))
            count += 1
            if LINE not in head:
                bad += 1
                print(f"{os.path.relpath(path, TREE)}:1: no line '{LINE}'")
    print(f"{count} files looked at, {bad} without the line")
    return 1 if bad else 0


sys.exit(main())
