# SPDX-License-Identifier: GPL-2.0-or-later
"""Wrong domain XMLs and the message each gets: bad/NAME.xml with bad/NAME.message.

A message names the file, the line and the element, says what is wrong and what to do. To add a
pair, write the XML and put what `lodge run --dry-run NAME.xml` says behind "lodge run: " into the
.message file, once it reads as it should.
"""
import glob
import os
import subprocess
import sys

import tap

LODGE = sys.argv[1]
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bad")
PREFIX = "lodge run: "


def check(name):
    with open(os.path.join(HERE, f"{name}.message")) as text:
        wanted = text.read().strip()
    done = subprocess.run([LODGE, "run", "--dry-run", "--engine", "soft", f"{name}.xml"], cwd=HERE,
                          capture_output=True, text=True, timeout=60)
    said = [line[len(PREFIX):] for line in done.stderr.splitlines() if line.startswith(PREFIX)]
    assert done.returncode == 1, f"status {done.returncode}: {done.stderr}"
    assert said == [wanted], f"said {said}, wanted {wanted}"
    assert not done.stdout, done.stdout


def make_test(name):
    return lambda: check(name)


NAMES = sorted(os.path.basename(path)[:-4] for path in glob.glob(f"{HERE}/*.xml"))
assert len(NAMES) >= 50, f"only {len(NAMES)} pairs in {HERE}"
tap.main({f"test_{name}": make_test(name) for name in NAMES})
