# SPDX-License-Identifier: GPL-2.0-or-later
"""A libvirtd of its own, to compare with: a session's, as a user without rights, all below a folder that goes with it."""
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile

import tap
from lodged import WAIT, until

NOBODY = 65534


class Libvirtd:
    def __init__(self, root):
        self.root, self.socket = root, f"{root}/run/libvirt/libvirt-sock"

    def start(self):
        for name in ("home", "run"):
            os.mkdir(f"{self.root}/{name}")
        options = {}
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", self.root], check=True)
            options = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        env = {"PATH": os.environ["PATH"] + ":/usr/sbin", "HOME": f"{self.root}/home", "XDG_RUNTIME_DIR": f"{self.root}/run",
               "LC_ALL": "C"}
        self.log = open(f"{self.root}/libvirtd.log", "w")
        self.process = subprocess.Popen([libvirtd_program()], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                                        env=env, cwd=self.root, start_new_session=True, **options)
        until("libvirtd listens", self.answers)

    def answers(self):
        assert self.process.poll() is None, self.text()
        return os.path.exists(self.socket)

    def text(self):
        with open(f"{self.root}/libvirtd.log") as text:
            return text.read()

    def uri(self):
        return f"qemu+unix:///session?socket={self.socket}"

    def end(self):
        """Its guests are processes of their own, in sessions of their own."""
        with contextlib.suppress(Exception):
            names = subprocess.run(["virsh", "-c", self.uri(), "list", "--name"], capture_output=True, text=True, timeout=WAIT)
            for name in names.stdout.split():
                subprocess.run(["virsh", "-c", self.uri(), "destroy", name], capture_output=True, timeout=WAIT, check=False)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(WAIT)
        finally:
            self.process.kill()
            self.log.close()


def libvirtd_program():
    path = shutil.which("libvirtd", path=os.environ["PATH"] + ":/usr/sbin")
    if not path or not shutil.which("qemu-system-x86_64"):
        raise tap.Skip("there is no libvirtd with QEMU (packages libvirt-daemon, libvirt-daemon-driver-qemu)")
    return path


@contextlib.contextmanager
def libvirtd():
    libvirtd_program()
    with tempfile.TemporaryDirectory(prefix="libvirtd-") as root:
        os.chmod(root, 0o755)
        daemon = Libvirtd(root)
        daemon.start()
        try:
            yield daemon
        finally:
            daemon.end()
