#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The hot objects of the software CPU call nothing but the CPU room, and use no vector register.

They run while the guest's vector registers and control words are live. -mgeneral-regs-only keeps
the compiler from using those itself, but not from calling memcpy(), which does. vector_live() may
store them.

  hot.py NM OBJDUMP HOT_LIBRARY OTHER_LIBRARY...
"""
import re
import subprocess
import sys

READER, READS = 'vector_live', re.compile(r'\bv?movdqu +%[xy]mm\d+, ?\(%r\w+\)$')
VECTOR = re.compile(r'%[xyz]mm\d|%mm\d|%k[0-7]\b|%st\b|%st\(')


def symbols(nm, library, *options):
    out = subprocess.run([nm, '--format=posix', *options, library], check=True,
                         capture_output=True, text=True).stdout
    found = {}
    where = ''
    for line in out.splitlines():
        fields = line.split()
        if line.endswith(':'):
            where = line[:-1]
        elif len(fields) >= 2:
            found.setdefault(fields[0], where)
    return found


def vector_users(objdump, library):
    out = subprocess.run([objdump, '-d', '--no-show-raw-insn', library], check=True,
                         capture_output=True, text=True).stdout
    function = ''
    for line in out.splitlines():
        head = re.match(r'[0-9a-f]+ <(.*)>:', line)
        if head:
            function = head.group(1)
        elif VECTOR.search(line) and not (function == READER and READS.search(line.strip())):
            yield f'{function}: {line.strip()}'


def main():
    nm, objdump, hot, *others = sys.argv[1:]
    defined = set(symbols(nm, hot, '--defined-only'))
    for library in others:
        defined |= set(symbols(nm, library, '--defined-only'))
    wanted = symbols(nm, hot, '--undefined-only')
    if any(name.startswith(('__asan', '__ubsan', '__sanitizer')) for name in wanted):
        print('1..0 # SKIP built with sanitizers')
        return
    strangers = {n: w for n, w in wanted.items() if n not in defined and n != '_GLOBAL_OFFSET_TABLE_'}
    vectors = list(vector_users(objdump, hot))
    print('1..2')
    for name, where in strangers.items():
        print(f'# {where} calls {name}')
    print('not ok' if strangers else 'ok', '1 - hot objects call only the room')
    for line in vectors:
        print(f'# {line}')
    print('not ok' if vectors else 'ok', '2 - hot objects use no vector register')


main()
