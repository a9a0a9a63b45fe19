# SPDX-License-Identifier: GPL-2.0-or-later
"""Scripts on libvirt's Python library, unmodified, against lodged: libvirt_script.py, one a test.

    test_python_libvirt.py LODGED BUTTON-IMAGE
"""
import os
import subprocess
import sys

import tap
from lodged import WAIT, lodged

LODGED, IMAGE = sys.argv[1:]
PYTHON = "/usr/bin/python3"  # the one that Debian's package of the library is for
SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "libvirt_script.py")


def run(name):
    if subprocess.run([PYTHON, "-c", "import libvirt"], capture_output=True).returncode:
        raise tap.Skip("there is no libvirt library for Python (package python3-libvirt)")
    with lodged(LODGED) as daemon:
        env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run([PYTHON, SCRIPT, name, daemon.uri(), daemon.root, IMAGE], capture_output=True, text=True,
                              timeout=WAIT * 2, env=env)
        assert done.returncode == 0, (done.stdout, done.stderr[-3000:], daemon.text()[-2000:])


def make_test(name):
    return lambda: run(name)


NAMES = ["connection", "lists", "limits", "life", "statistics", "events", "storage", "monitor", "files"]
tap.main({f"test_{name}": make_test(name) for name in NAMES})
