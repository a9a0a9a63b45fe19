# SPDX-License-Identifier: GPL-2.0-or-later
"""The little TAP that the Python tests share: functions named test_*, one line each."""
import sys
import traceback


class Skip(Exception):
    """Raised by a test that cannot run here; its text is the reason."""


def main(module_globals):
    tests = [(name, body) for name, body in module_globals.items()
             if name.startswith("test_") and callable(body)]
    print(f"1..{len(tests)}", flush=True)
    bad = 0
    for number, (name, body) in enumerate(tests, 1):
        title = name[len("test_"):].replace("_", " ")
        try:
            body()
            print(f"ok {number} - {title}", flush=True)
        except Skip as reason:
            print(f"ok {number} - {title} # SKIP {reason}", flush=True)
        except Exception:  # a test may fail in any way; the others still run
            bad += 1
            for line in traceback.format_exc().splitlines():
                print(f"# {line}")
            print(f"not ok {number} - {title}", flush=True)
    sys.exit(1 if bad else 0)
