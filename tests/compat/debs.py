# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian packages, built from a tree."""
import os
import shutil
import subprocess

import tap

APT = ("env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "apt-get", "-q", "-y", "--no-install-recommends")
SKIPPED = ("build", ".git", ".cache")  # of a tree that is copied


def run(*words, cwd="/", status=0, **variables):
    """What it said; with status None, whatever its status is."""
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
                          env=dict(os.environ, LC_ALL="C", **variables))
    assert status is None or done.returncode == status, (words, done.stdout[-4000:], done.stderr[-4000:])
    return done.stdout + done.stderr


def copy(tree, to):
    shutil.copytree(tree, to, symlinks=True,
                    ignore=lambda folder, names: [n for n in names if folder == tree and n.startswith(SKIPPED)])


def copy_earlier(tree, to):
    """The tree as it was when packages were released last or, before the first release, made first. False: it has no
    history."""
    git = ("git", "-C", tree)
    if not shutil.which("git") or run(*git, "rev-parse", "--show-toplevel", status=None).strip() != os.path.realpath(tree):
        return False
    commit = run(*git, "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", status=None).split()
    if len(commit) != 1:
        commit = run(*git, "log", "--diff-filter=A", "--format=%H", "--", "debian/control").split()[-1:]
    os.mkdir(to)
    run("sh", "-c", f"git -C {tree} archive {commit[0]} | tar -x -C {to}")
    return True


def build(tree, version=None):
    """Builds in TREE; the packages are beside it."""
    for tool in ("dpkg-buildpackage", "dh"):
        if not shutil.which(tool):
            raise tap.Skip(f"there is no {tool} (packages dpkg-dev, debhelper)")
    if version:
        with open(f"{tree}/debian/changelog", "r+") as changes:
            first, rest = changes.read().split("\n", 1)
            changes.seek(0)
            changes.write(f"lodge ({version}) UNRELEASED; urgency=medium\n{rest}")
            changes.truncate()
            assert first.startswith("lodge ("), first
    run("nice", "dpkg-buildpackage", "-b", "-uc", "-us", "-j2", cwd=tree)
