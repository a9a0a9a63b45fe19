# SPDX-License-Identifier: GPL-2.0-or-later
"""The include-rule checker fails where it must: it is run over small trees made here."""
import os
import subprocess
import sys
import tempfile

import tap

CHECKER = os.path.join(os.path.dirname(__file__), "../../tools/check-rooms.py")
RULES = "base:\ncli: base\ncli/run.c: base launch\nlaunch: base\ndevice: base block/block.h\nblock: base\n"
HEADERS = ("src/base/log.h", "src/launch/launch.h", "src/block/block.h", "src/block/raw.h")


def check(name, text, rules=RULES):
    with tempfile.TemporaryDirectory() as tree:
        for path, body in [("tools/rooms.txt", rules), (name, text)] + [(h, "") for h in HEADERS]:
            path = os.path.join(tree, path)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w") as out:
                out.write(body)
        done = subprocess.run([sys.executable, CHECKER, tree], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr


def expect(result, status, text=""):
    assert result[0] == status and text in result[1], result


def test_allowed_room_passes():
    expect(check("src/cli/list.c", '#include "base/log.h"\n#include <stdio.h>\n'), 0)


def test_forbidden_room_fails_with_file_and_line():
    expect(check("src/cli/list.c", '\n#include "launch/launch.h"\n'), 1, "src/cli/list.c:2: ")


def test_rule_of_one_file_replaces_the_rooms():
    expect(check("src/cli/run.c", '#include "launch/launch.h"\n'), 0)


def test_one_granted_header_grants_no_other():
    expect(check("src/device/blk.c", '#include "block/block.h"\n'), 0)
    expect(check("src/device/blk.c", '#include "block/raw.h"\n'), 1, "may not include block/raw.h")


def test_include_relative_to_the_file_is_seen():
    expect(check("src/device/blk.c", '#include "../block/raw.h"\n'), 1, "block/raw.h")


def test_room_without_a_rule_fails():
    expect(check("src/attic/a.c", '#include "base/log.h"\n'), 1, "has no rule")


def test_bad_rule_line_fails():
    expect(check("src/cli/list.c", "", rules="base\n"), 1, "rooms.txt:1")


tap.main(globals())
