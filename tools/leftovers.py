# SPDX-License-Identifier: GPL-2.0-or-later
"""What a run of the tests leaves behind: processes, files, shared memory, control groups.

    with leftovers.Watch() as watch:
        subprocess.run(command, env=watch.environment)
    watch.found        # ["process 4711 (lodge-vmm --plan 9)", "file lodge-x/disk.img", ...]

Others may work on the same machine, so a comparison of before and after would blame the tests for
what is not theirs. Processes are attributed by descent: this process becomes the subreaper, to whom
whatever outlives its parents returns (a namespace lives in its processes, so it is among them).
Files are found in a temporary folder that only this run has. Shared memory and control groups have
no such place: there, what is new counts when it is named lodge-test-PID, as tests have to name it,
and that process is gone.
"""
import ctypes
import os
import re
import shutil
import signal
import tempfile
import time

PR_SET_CHILD_SUBREAPER = 36
GRACE_SECONDS = 10  # for what is ending already
SHARED = ("/dev/shm", "/run/netns", "/sys/fs/cgroup")
OURS = re.compile(r"lodge-test-(\d+)")


def become_subreaper():
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children(parent):
    """Process numbers, the children's children included."""
    result = []
    for number in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{number}/stat") as stat:
                after = stat.read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(after[1]) == parent and after[0] != "Z":
            result += [int(number)] + children(int(number))
    return result


def command(number):
    try:
        with open(f"/proc/{number}/cmdline", "rb") as words:
            return words.read().replace(b"\0", b" ").decode(errors="replace").strip()[:120]
    except OSError:
        return "ended"


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def wait_for_children(seconds):
    end = time.monotonic() + seconds
    reap()
    while children(os.getpid()) and time.monotonic() < end:
        time.sleep(0.1)
        reap()
    reap()


def files_below(top):
    """Everything but the folders on the way to something."""
    for directory, folders, files in os.walk(top):
        for name in files + [f for f in folders if not os.listdir(os.path.join(directory, f))]:
            yield os.path.relpath(os.path.join(directory, name), top)


def orphaned_names():
    """In the places that all share: what is named as a test's whose process is gone."""
    names = set()
    for place in SHARED:
        for directory, folders, files in os.walk(place):
            for name in folders + files:
                ours = OURS.match(name)
                if ours and not os.path.exists(f"/proc/{ours.group(1)}"):
                    names.add(os.path.join(directory, name))
    return names


class Watch:
    def __init__(self, grace=GRACE_SECONDS):
        self.grace = grace
        self.found = []

    def __enter__(self):
        become_subreaper()
        self.before = orphaned_names()
        self.folder = tempfile.mkdtemp(prefix="lt-")  # short: sockets have paths below it
        os.chmod(self.folder, 0o755)
        self.environment = dict(os.environ, TMPDIR=self.folder)
        return self

    def __exit__(self, *_):
        wait_for_children(self.grace)
        for number in children(os.getpid()):
            self.found.append(f"process {number} ({command(number)})")
            try:
                os.kill(number, signal.SIGKILL)
            except OSError:
                pass
        wait_for_children(GRACE_SECONDS)
        self.found += [f"file {name}" for name in sorted(files_below(self.folder))]
        self.found += sorted(orphaned_names() - self.before)
        shutil.rmtree(self.folder, ignore_errors=True)
