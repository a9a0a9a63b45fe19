# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs the images of cases on every engine and judges each case.

    test_images.py --vmm build/lodge-vmm --boot-sector FILE IMAGE...

The images say themselves what is right, from the manuals. A case that fails is a failure of the engine,
unless known.txt says that this engine is wrong there, and why.
"""
import argparse
import os
import re

import engines
import rows
from engines import tap

KNOWN = os.path.join(engines.HERE, "known.txt")
ENGINES = {
    "translated": lambda options, image: engines.lodge(options, image)[0],
    "stepped": lambda options, image: engines.lodge(options, image, cpu_debug={"step": True})[0],
    "qemu": lambda options, image: engines.qemu(options, image)[0],
    "bochs": lambda options, image: engines.bochs(options, image),
}


def known():
    """{engine: {case: reason}} from lines "ENGINE CASE REASON"."""
    table = {}
    with open(KNOWN) as lines:
        for line in lines:
            if line.strip() and not line.startswith("#"):
                engine, case, reason = line.split(None, 2)
                table.setdefault(engine, {})[case] = reason.strip()
    return table


def results(console):
    """{case: what it printed}; all of it, or it is an error."""
    cases = {}
    for line in console.splitlines():
        found = re.match(r"(ok|not ok|skip) ([^ :]+)(:.*)?", line)
        if found:
            assert found[2] not in cases, f"{found[2]} came twice"
            cases[found[2]] = line
    count = re.search(r"^cases (0x[0-9a-f]+)$", console, re.M)
    assert count, "the image did not get to its end:\n" + "\n".join(console.splitlines()[-3:])
    assert len(cases) == int(count[1], 16), f"{len(cases)} cases of {count[1]}"
    return cases


consoles = []  # of our processor


def remember(engine, console):
    if engine == "translated":
        consoles.append(console)
    return console


def judge(engine, console):
    cases = results(console)
    wrong = [line for case, line in cases.items()
             if line.startswith("not ok") and case not in known().get(engine, {})]
    for case, line in cases.items():
        if line.startswith("not ok") and case in known().get(engine, {}):
            print(f"# known: {case}: {known()[engine][case]}")
        elif line.startswith("ok") and case in known().get(engine, {}):
            print(f"# known, but right in this version: {case}")
        elif line.startswith("skip"):
            print(f"# {line}")
    assert not wrong, "\n" + "\n".join(wrong)


def plan(options):
    tests = {}
    for image in options.images:
        name = os.path.basename(image).split("-", 1)[1]
        for engine, run in ENGINES.items():
            tests[f"test_{name}_{engine}"] = lambda run=run, engine=engine, image=image: \
                judge(engine, remember(engine, run(options, image)))
    tests["test_every_row_has_its_oracle"] = lambda: rows.check(consoles)
    tests["test_the_check_of_rows_fails"] = rows.check_the_checker
    return tests


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--boot-sector", required=True)
    parser.add_argument("images", nargs="+")
    tap.main(plan(parser.parse_args()))


if __name__ == "__main__":
    main()
