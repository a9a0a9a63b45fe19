#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Compiles an ASL file to a C header: aml.py INPUT.asl OUTPUT.h NAME IASL MARKS -- CC...

The source passes through the C preprocessor first, because iasl knows no macros with arguments.
MARKS is a comma-separated list of LABEL=VALUE, VALUE being hex digits of a 4- or 8-byte integer or
a 4-letter name; each must occur once in the table, and NAME_LABEL becomes its offset.
"""
import os
import subprocess
import sys
import tempfile


def pattern(value):
    if value.startswith("0x"):
        return int(value, 16).to_bytes((len(value) - 2) // 2, "little")
    return value.encode()


def compile_asl(source, cc, iasl):
    with tempfile.TemporaryDirectory() as tmp:
        text = os.path.join(tmp, "table.asl")
        subprocess.run(cc + ["-E", "-P", "-undef", "-x", "c", source, "-o", text], check=True)
        done = subprocess.run([iasl, "-we", "-p", os.path.join(tmp, "table"), text],
                              capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{source}: {done.stdout}{done.stderr}")
        with open(os.path.join(tmp, "table.aml"), "rb") as f:
            return f.read()


def main():
    split = sys.argv.index("--")
    source, output, name, iasl, marks = sys.argv[1:split]
    aml = compile_asl(source, sys.argv[split + 1:], iasl)
    lines = [f"/* Made from {os.path.basename(source)}; do not edit. */"]
    for mark in filter(None, marks.split(",")):
        label, value = mark.split("=")
        at = aml.find(pattern(value))
        if at < 0 or aml.find(pattern(value), at + 1) >= 0:
            sys.exit(f"{source}: mark {mark} must occur once")
        lines.append(f"#define {name}_{label} {at}")
    lines.append(f"static const unsigned char {name}[{len(aml)}] = {{")
    for i in range(0, len(aml), 16):
        lines.append("\t" + " ".join(f"0x{b:02x}," for b in aml[i:i + 16]))
    lines.append("};")
    with open(output, "w", encoding="ascii") as f:
        f.write("\n".join(lines) + "\n")


main()
