# SPDX-License-Identifier: GPL-2.0-or-later
"""A lodged of its own for a test: below a root that goes with it, with the guests it started."""
import contextlib
import glob
import os
import shutil
import signal
import subprocess
import tempfile
import time

import rpc
import tap

WAIT = 60  # only ends what would never end


def until(what, condition, patience=WAIT):
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.01)


def is_sanitized(program):
    """Then it keeps what was freed for a while, so that its size says nothing."""
    return "san" in subprocess.run(["ldd", program], capture_output=True, text=True).stdout


def guest_xml(name, kernel, extra="", memory=16):
    return (f"<domain type='qemu'><name>{name}</name><memory unit='MiB'>{memory}</memory>"
            f"<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{kernel}</kernel></os>"
            f"<features><acpi/></features><devices><serial type='pty'/><memballoon model='none'/>"
            f"{extra}</devices></domain>")


class Lodged:
    def __init__(self, program, root, *options, verbose=True):
        self.program, self.root = program, root
        self.options = ("--verbose", *options) if verbose else options
        self.socket, self.socket_ro = f"{root}/run/lodged-sock", f"{root}/run/lodged-sock-ro"
        self.process = None

    def start(self):
        self.log = open(f"{self.root}/lodged.log", "a")
        self.process = subprocess.Popen([self.program, "--root", self.root, *self.options],
                                        stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        until("lodged listens", self.answers)

    def answers(self):
        assert self.process.poll() is None, self.text()
        try:
            self.client().socket.close()
        except OSError:
            return False
        return True

    def text(self):
        with open(f"{self.root}/lodged.log") as text:
            return text.read()

    def client(self, **options):
        return rpc.Client(self.socket, **options)

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        status = self.process.wait(WAIT)
        self.log.close()
        return status

    def restart(self, number=signal.SIGTERM):
        self.end(number)
        self.start()

    def uri(self):
        return f"qemu+unix:///system?socket={self.socket}"

    def virsh(self, *words, status=0):
        if not shutil.which("virsh"):
            raise tap.Skip("there is no virsh")
        done = subprocess.run(["virsh", "-c", self.uri(), *words], capture_output=True, text=True,
                              timeout=WAIT, env=dict(os.environ, LC_ALL="C"))
        assert done.returncode == status, (words, done, self.text())
        return done.stdout.strip() if status == 0 else done.stderr.strip()

    def state(self, name):
        return self.virsh("domstate", name, "--reason")

    def wait_state(self, name, state):
        until(f"{name} is {state}", lambda: self.state(name) == state)

    def pid(self, name):
        """Of the guest's process: the second line of its lock."""
        with open(f"{self.root}/run/guests/{name}/lock") as lock:
            return int(lock.read().split()[1])

    def kill_guests(self):
        for lock in glob.glob(f"{self.root}/run/guests/*/lock"):
            with contextlib.suppress(OSError, IndexError, ValueError):
                with open(lock) as text:
                    os.kill(int(text.read().split()[1]), signal.SIGKILL)


def rows(text, heads=2):
    """The fields of a table's rows, as virsh prints one."""
    return [line.split() for line in text.split("\n")[heads:]]


@contextlib.contextmanager
def lodged(program, *options, verbose=True):
    with tempfile.TemporaryDirectory(prefix="lodged-") as root:
        daemon = Lodged(program, root, *options, verbose=verbose)
        try:
            daemon.start()
            yield daemon
        finally:
            if daemon.process and daemon.process.poll() is None:
                with contextlib.suppress(Exception):
                    with daemon.client() as client:
                        for dom in client.call("connect_list_all_domains", need_results=1, flags=1)["domains"]:
                            client.call("domain_destroy", dom=dom)
                status = daemon.end()
                assert status == 0, (status, daemon.text())
            daemon.kill_guests()
