# SPDX-License-Identifier: GPL-2.0-or-later
"""Which rows of src/cpu/x86/rows.txt have no oracle, or the manuals as theirs and no case.

A case names the rows that it is about: one of an image prints them when it has run (begin() in cases.h),
a unit test says them in a comment, "rows: ...". The other rows' oracle is the host: the random tester takes
those up by itself.
"""
import glob
import os
import re

TREE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
ORACLES = {"host", "manual", "step"}


def table(text):
    """{mnemonic: oracle} of rows.txt"""
    lines = (line.split("#")[0].split() for line in text.splitlines())
    return {words[0]: words[2] if len(words) > 2 else "" for words in lines if words}


def named_by_console(console):
    """What the cases that ran named; one that was skipped names nothing."""
    lines = re.findall(r"^(?:ok|not ok) .*# rows: (.*)$", console, re.M)
    return set(" ".join(lines).split())


def named_by_sources(sources):
    return {row for text in sources for comment in re.findall(r"/\* rows: (.*?) \*/", text, re.S)
            for row in comment.replace("*", " ").split()}


def complaints(rows, cases):
    for mnemonic, oracle in sorted(rows.items()):
        if oracle not in ORACLES:
            yield f"{mnemonic}: no oracle"
        elif oracle == "manual" and mnemonic not in cases:
            yield f"{mnemonic}: its oracle is the manuals, and no case names it"
    for mnemonic in sorted(cases - set(rows)):
        yield f"{mnemonic}: a case names it, and there is no such row"


def read(pattern):
    for path in sorted(glob.glob(os.path.join(TREE, pattern))):
        with open(path) as file:
            yield file.read()


def check(consoles):
    rows = table("".join(read("src/cpu/x86/rows.txt")))
    cases = named_by_sources(read("tests/unit/test-*.c")).union(*map(named_by_console, consoles))
    assert len(rows) > 1000 and len(cases) > 100, "rows or cases were not found"
    wrong = list(complaints(rows, cases))
    assert not wrong, "\n" + "\n".join(wrong)


def check_the_checker():
    rows = table("# rows\naaa helper manual\nadd copy host\nlgdt helper manual\nlidt helper manual\nbad copy\n")
    cases = named_by_console("ok a/b # rows: aaa\nok a/c\nskip a/d: why # rows: lgdt\n")
    cases |= named_by_sources(["/* rows: nothing\n * lidt */"])
    assert list(complaints(rows, cases)) == [
        "bad: no oracle", "lgdt: its oracle is the manuals, and no case names it",
        "nothing: a case names it, and there is no such row"]
