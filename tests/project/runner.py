# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/run-tests.py counts TAP lines, skips with reasons, and broken-off programs."""
import importlib.util
import os
import sys

import tap

PATH = os.path.join(os.path.dirname(__file__), "../../tools/run-tests.py")
sys.path.insert(0, os.path.dirname(PATH))  # as for a program that is run
spec = importlib.util.spec_from_file_location("run_tests", PATH)
run_tests = importlib.util.module_from_spec(spec)
spec.loader.exec_module(run_tests)


def verdicts(result, stdout):
    points = run_tests.judge({"name": "t", "result": result, "stdout": stdout})
    return [point[0] for point in points]


def test_every_tap_line_counts():
    text = "TAP version 13\n1..3\nok 1 /a\n# note\nnot ok 2 - /b\nok 3 c # SKIP no tool\n"
    assert verdicts("FAIL", text) == ["passed", "failed", "skipped"]


def test_nested_lines_do_not_count():
    assert verdicts("OK", "1..1\n    ok 1 - inner\nok 1 - outer\n") == ["passed"]


def test_reason_of_a_skip_is_kept():
    points = run_tests.judge({"name": "t", "result": "OK", "stdout": "ok 1 a # SKIP no kvm\n1..1\n"})
    assert points == [("skipped", "a", "no kvm")], points


def test_whole_skip():
    assert verdicts("SKIP", "1..0 # SKIP nothing to do\n") == ["skipped"]


def test_crash_after_good_lines_is_a_failure():
    assert verdicts("ERROR", "ok 1 - a\n") == ["passed", "failed"]


def test_program_without_tap():
    assert verdicts("OK", "") == ["passed"]
    assert verdicts("FAIL", "text\n") == ["failed"]
    assert verdicts("TIMEOUT", "") == ["failed"]


tap.main(globals())
