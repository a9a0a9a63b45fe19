#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Turns rows.txt into a C array of instruction kinds indexed by Zydis mnemonic.

A row without an oracle, or with a kind the translator does not know, fails the build.
"""
import sys

KINDS = {'copy', 'helper', 'push', 'pop', 'call', 'ret', 'jmp', 'jcc', 'loop', 'lea', 'leave',
         'cmpxchg8b', 'bt', 'nop', 'clflush', 'ud', 'mov', 'fpenv', 'gather', 'maskmov',
         'string', 'system'}
ORACLES = {'host', 'manual', 'step'}


def main():
    rows = {}
    for number, line in enumerate(open(sys.argv[1]), 1):
        line = line.split('#')[0].split()
        if not line:
            continue
        where = f'{sys.argv[1]}:{number}'
        if len(line) != 3:
            sys.exit(f'{where}: a row is "MNEMONIC KIND ORACLE"')
        mnemonic, kind, oracle = line
        if kind not in KINDS:
            sys.exit(f'{where}: unknown kind {kind}')
        if oracle not in ORACLES:
            sys.exit(f'{where}: unknown oracle {oracle}')
        if mnemonic in rows:
            sys.exit(f'{where}: {mnemonic} has a row already')
        rows[mnemonic] = kind
    with open(sys.argv[2], 'w') as out:
        out.write('/* Generated from rows.txt. */\n')
        for mnemonic, kind in sorted(rows.items()):
            out.write(f'\t[ZYDIS_MNEMONIC_{mnemonic.upper()}] = KIND_{kind.upper()},\n')


main()
