#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes a header that names the translator by the SHA-256 of its sources: build_hash.py OUT FILES"""
import hashlib
import sys

total = hashlib.sha256()
for path in sorted(sys.argv[2:]):
    with open(path, "rb") as source:
        total.update(hashlib.sha256(source.read()).digest())
with open(sys.argv[1], "w") as out:
    out.write(f'/* generated */\n#define BUILD_HASH "{total.hexdigest()}"\n')
