# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/deps.sh: what it wants, that it is silent when nothing lacks, and what it says without root."""
import os
import subprocess
import tempfile

import tap

TOOLS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools")


def deps(*arguments, packages=None, **environment):
    env = dict(os.environ, **environment)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as listing:
        if packages is not None:
            listing.write(packages)
            listing.flush()
            env["LODGE_PACKAGES"] = listing.name
        return subprocess.run(["sh", f"{TOOLS}/deps.sh", *arguments], env=env, text=True,
                              capture_output=True, stdin=subprocess.DEVNULL)


def test_groups_select_packages():
    packages = "a build x\nb check y\nc build,check z\n# d build\n"
    assert deps("--list", "build", packages=packages).stdout.split() == ["a", "c"]
    assert deps("--list", "check", "build", packages=packages).stdout.split() == ["a", "b", "c"]


def test_nothing_missing_is_silent():
    done = deps("build", packages="dpkg build always there\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done


def test_every_line_of_the_list_has_package_group_and_reason():
    with open(f"{TOOLS}/packages.txt") as lines:
        for number, line in enumerate(lines, 1):
            words = line.split("#")[0].split()
            assert not words or len(words) >= 3, f"packages.txt:{number}: {line}"


def test_without_root_or_terminal_it_names_the_command():
    with tempfile.TemporaryDirectory() as tools:
        for name, text in (("id", "echo 1000"), ("sudo", "exit 99")):
            with open(f"{tools}/{name}", "w") as out:
                out.write(f"#!/bin/sh\n{text}\n")
            os.chmod(f"{tools}/{name}", 0o755)
        done = deps("build", packages="no-such-package-at-all build for the test\n", CI="",
                    PATH=f"{tools}:{os.environ['PATH']}")
    assert done.returncode == 1, done
    assert "sudo apt-get install --no-install-recommends no-such-package-at-all" in done.stderr, done


tap.main(globals())
