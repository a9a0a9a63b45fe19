#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs `meson test` and counts what really ran.

run-tests.py BUILD [meson test arguments...]

meson builds what the tests need and `make` does not (fuzz targets), and counts programs; a program
that speaks TAP holds many tests. This reads meson's log, counts every TAP line (plan-level skips
included), prints the output of whatever failed and the reason of whatever was skipped, and ends
with one line: "N passed, N failed, N skipped". What the tests leave behind counts as failed
(leftovers.py).
"""
import json
import os
import re
import subprocess
import sys

import leftovers

POINT = re.compile(r"^(not )?ok\b\s*(\d+)?\s*-?\s*([^#]*)(?:#\s*(SKIP|TODO)\b\S*\s*(.*))?", re.I)
SKIP_ALL = re.compile(r"^1\.\.0\b\s*(?:#\s*SKIP\S*\s*(.*))?", re.I)


def tap_points(text):
    """(verdict, name, reason) of each top-level TAP line."""
    for line in text.splitlines():
        whole = SKIP_ALL.match(line)
        if whole:
            yield "skipped", "all", whole.group(1) or "no reason given"
            continue
        match = POINT.match(line)
        if not match:
            continue
        bad, number, name, directive, reason = match.groups()
        name = name.strip() or number or "?"
        if directive and directive.upper() == "SKIP":
            yield "skipped", name, reason or "no reason given"
        elif bad and not (directive and directive.upper() == "TODO"):
            yield "failed", name, ""
        else:
            yield "passed", name, ""


def whole_result(test):
    """The verdict on a program as such, for one that speaks no TAP or broke off."""
    result = test["result"]
    if result in ("OK", "EXPECTEDFAIL"):
        return "passed"
    return "skipped" if result == "SKIP" else "failed"


def judge(test):
    points = list(tap_points(test.get("stdout") or ""))
    verdict = whole_result(test)
    if not points:
        reason = (test.get("stdout") or "").strip().splitlines()
        return [(verdict, test["name"], reason[-1] if reason else "no reason given")]
    if verdict == "failed" and not any(point[0] == "failed" for point in points):
        points.append(("failed", f"{test['name']} ended with {test['result']}", ""))
    return points


def show_failure(test):
    print(f"\n--- {test['name']}: {test['result']} ---")
    for stream in ("stdout", "stderr"):
        text = (test.get(stream) or "").rstrip()
        if text:
            print("\n".join(text.splitlines()[-200:]))
    print(f"--- end of {test['name']} ---")


def main():
    build, arguments = sys.argv[1], sys.argv[2:]
    log = os.path.join(build, "meson-logs", "testlog.json")
    if os.path.exists(log):
        os.unlink(log)
    with leftovers.Watch() as watch:
        status = subprocess.run(["meson", "test", "-C", build, *arguments],
                                env=watch.environment).returncode
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    skips = []
    if os.path.exists(log):
        with open(log) as lines:
            tests = [json.loads(line) for line in lines]
        for test in tests:
            points = judge(test)
            for verdict, name, reason in points:
                counts[verdict] += 1
                if verdict == "skipped":
                    skips.append(f"skipped: {test['name']}: {name}: {reason}")
            if any(point[0] == "failed" for point in points):
                show_failure(test)
    if status and not counts["failed"]:
        print(f"meson test itself ended with status {status}")
        counts["failed"] += 1
    for what in watch.found:
        print(f"left behind by the tests: {what}")
        counts["failed"] += 1
    for line in skips:
        print(line)
    print(f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    sys.exit(1 if counts["failed"] else 0)


if __name__ == "__main__":
    main()
