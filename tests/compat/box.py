# SPDX-License-Identifier: GPL-2.0-or-later
"""A host of a test's own: a real systemd in namespaces, over files that go away with it (systemd_box.sh)."""
import contextlib
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import tap
from lodged import until

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../guest"))
from runvm import die_with_parent  # noqa: E402 (after the path that makes it visible)

PATIENCE = 600  # only ends what would never end
SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "systemd_box.sh")


class Box:
    """Its files are those of LOWER with those of upper() over them."""

    def __init__(self, root, lower):
        self.root, self.lower, self.process, self.init = root, lower, None, None

    def upper(self, path):
        """Where a file is before the box starts; its folder is there."""
        os.makedirs(os.path.dirname(f"{self.root}/upper/{path}"), exist_ok=True)
        return f"{self.root}/upper/{path}"

    def start(self):
        with open(f"{self.root}/out", "w") as out:
            self.process = subprocess.Popen(["unshare", "-m", "sh", SCRIPT, "make", self.root, self.lower],
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                                            preexec_fn=die_with_parent)
        until("the box has a first process", self.find_init, PATIENCE)
        until("the box is up", lambda: self.state() in ("running", "degraded"), PATIENCE)

    def find_init(self):
        assert self.process.poll() is None, open(f"{self.root}/out").read()
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as children:
            found = [int(pid) for pid in children.read().split()]
        with contextlib.suppress(FileNotFoundError):  # one that only prepares it, and is gone
            self.init = next((pid for pid in found if os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid")), None)
        return self.init

    def enter(self, *words):
        return ["nsenter", "-t", str(self.init), "-a", *words]

    def state(self):
        return subprocess.run(self.enter("systemctl", "is-system-running"), capture_output=True, text=True).stdout.strip()

    def run(self, *words, status=0):
        """What it said; with status None, whatever its status is."""
        done = subprocess.run(self.enter(*words), capture_output=True, text=True, timeout=PATIENCE,
                              stdin=subprocess.DEVNULL)
        assert status is None or done.returncode == status, (words, done, self.journal())
        return (done.stdout + done.stderr).strip()

    def journal(self):
        """Of lodged; also when the box is no more."""
        return subprocess.run(["journalctl", "-D", glob.glob(f"{self.root}/upper/var/log/journal/*")[0], "-u",
                               "lodged.service", "-o", "cat", "--no-pager"], capture_output=True, text=True).stdout

    def main_pid(self):
        return int(self.run("systemctl", "show", "-P", "MainPID", "lodged.service"))

    def guest_pid(self, name):
        return int(self.run("cat", f"/run/lodge/guests/{name}/lock").split()[1])

    def guest_state(self, name):
        return self.run("virsh", "domstate", name)

    def end(self):
        if self.init and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.init, signal.SIGKILL)
        if self.process:
            self.process.wait()
            subprocess.run(["unshare", "-m", "sh", SCRIPT, "sweep", self.root], check=True, timeout=PATIENCE)


def debian_root():
    """The folder of a plain Debian; it is made when it is not in the cache."""
    if os.geteuid():
        raise tap.Skip("only root can be a host in namespaces")
    if not shutil.which("mmdebstrap"):
        raise tap.Skip("there is no mmdebstrap")
    made = subprocess.run(["sh", os.path.join(os.path.dirname(SCRIPT), "debian_root.sh")], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL)
    assert not made.returncode, made
    return made.stdout.splitlines()[-1]


@contextlib.contextmanager
def box(prepare, lower="/"):
    """One that has started, after prepare(box) has put its files in place."""
    if os.geteuid():
        raise tap.Skip("only root can be a host in namespaces")
    for tool in ("nsenter", "journalctl"):
        if not shutil.which(tool):
            raise tap.Skip(f"there is no {tool}")
    if not os.path.exists(f"{lower}/lib/systemd/systemd"):
        raise tap.Skip("there is no systemd")
    with tempfile.TemporaryDirectory(prefix="lodged-box-") as root:
        made = Box(root, lower)
        try:
            prepare(made)
            made.start()
            yield made
        finally:
            made.end()


def host_pid(host, pid):
    """The number that a process of the box has here."""
    for entry in glob.glob("/proc/[0-9]*/status"):
        with contextlib.suppress(OSError):
            with open(entry) as lines:
                found = re.search(r"^NSpid:\t(\d+)\t(?:\d+\t)*(\d+)$", lines.read(), re.M)
            if found and int(found.group(2)) == pid and os.stat(f"/proc/{found.group(1)}/ns/pid").st_ino == \
                    os.stat(f"/proc/{host.init}/ns/pid").st_ino:
                return int(found.group(1))
    raise AssertionError(f"process {pid} of the box is not found")
