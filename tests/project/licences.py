# SPDX-License-Identifier: GPL-2.0-or-later
"""Every source file says its licence in one of its first three lines: the public library, its headers and
what is linked into it theirs, all others the project's."""
import os
import sys

TREE = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
NEEDED = (".c", ".h", ".S", ".py", ".sh", ".asl", "meson.build", "Makefile")
LINE, LIBRARY_LINE = "SPDX-License-Identifier: GPL-2.0-or-later", "SPDX-License-Identifier: LGPL-2.1-or-later"
LIBRARY_FOLDERS = ("include/", "src/lib/")
LIBRARY_FILES = {"src/base/types.h", "src/rpc/caller.c", "src/rpc/caller.h", "src/rpc/carried.c", "src/rpc/carried.h", "src/rpc/codec.c", "src/rpc/codec.h",
                 "src/rpc/generate.py", "src/rpc/message.c", "src/rpc/message.h", "src/rpc/procedure.h", "src/rpc/tls.c", "src/rpc/tls.h",
                 "src/rpc/constants.tsv", "src/rpc/procedures.tsv", "src/rpc/types.tsv", "examples/watch.c", "examples/usage.c", "examples/provision.c"}


def line_of(path):
    return LIBRARY_LINE if path.startswith(LIBRARY_FOLDERS) or path in LIBRARY_FILES else LINE


def main():
    bad = count = 0
    for folder, dirs, names in os.walk(TREE):
        dirs[:] = [d for d in dirs if not d.startswith((".git", "build", "__pycache__"))]
        for name in names:
            path = os.path.join(folder, name)
            place = os.path.relpath(path, TREE)
            if not name.endswith(NEEDED) and place not in LIBRARY_FILES:
                continue
            with open(path, errors="replace") as text:
                head = "".join(text.readline() for _ in range(3))
            count += 1
            if line_of(place) not in head:
                bad += 1
                print(f"{place}:1: no line '{line_of(place)}'")
    print(f"{count} files looked at, {bad} without the line")
    return 1 if bad else 0


sys.exit(main())
