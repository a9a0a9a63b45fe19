#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Which room of the house may include which: enforces tools/rooms.txt over #include "..." lines.

check-rooms.py [TREE]   exits 1 and names file:line for every include that no rule allows.

A rule is "ROOM: WORD...": files of src/ROOM may include their own room and, for each word, a
whole room ("base") or one header ("block/block.h"). "ROOM/FILE: ..." replaces the rule of its
room for one file. "*" allows everything. Tests are the room "tests".
"""
import os
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def read_rules(path):
    rules = {}
    with open(path) as lines:
        for number, line in enumerate(lines, 1):
            line = line.split("#")[0].strip()
            if not line:
                continue
            owner, colon, words = line.partition(":")
            if not colon or owner in rules:
                sys.exit(f"{path}:{number}: expected one 'ROOM: ROOMS...' per room, got '{line}'")
            rules[owner] = words.split()
    return rules


def sources(tree):
    for top in ("src", "tests"):
        for folder, _, names in sorted(os.walk(os.path.join(tree, top))):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(folder, name), tree)


def resolve(tree, source, header):
    """The path below src/ that HEADER means in SOURCE, or None when it is generated or foreign."""
    beside = os.path.normpath(os.path.join(os.path.dirname(source), header))
    if beside.startswith("src/") and os.path.exists(os.path.join(tree, beside)):
        return beside[len("src/"):]
    if os.path.exists(os.path.join(tree, "src", header)):
        return header
    return None


def allowed(words, target):
    room = target.split("/")[0]
    return "*" in words or room in words or target in words


def violations(tree):
    rules = read_rules(os.path.join(tree, "tools/rooms.txt"))
    for source in sources(tree):
        name = source[len("src/"):] if source.startswith("src/") else source
        room = name.split("/")[0]
        if "/" not in name:
            continue
        words = rules.get(name, rules.get(room))
        with open(os.path.join(tree, source), errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                match = INCLUDE.match(line)
                target = match and resolve(tree, source, match.group(1))
                if not target or target.split("/")[0] == room:
                    continue
                if words is None:
                    yield f"{source}:{number}: room '{room}' has no rule in tools/rooms.txt"
                elif not allowed(words, target):
                    yield (f"{source}:{number}: {name} may not include {target}: "
                           f"tools/rooms.txt allows '{room}' {' '.join(words) or 'nothing'}")


def main():
    tree = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..")
    found = list(violations(tree))
    print("\n".join(found) if found else "rooms: every include is allowed")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
