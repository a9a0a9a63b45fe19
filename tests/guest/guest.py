# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests that boot guests share: the guests' files, the judge of a console, one boot."""
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))

import tap  # noqa: E402 (after the path that makes it visible)
from runvm import Vm  # noqa: E402

BUILDER = os.path.join(HERE, "../../tools/guest/build.sh")
CONSOLE = "console=ttyS0 panic=-1 "
# The processor that QEMU emulates for tools/with-kvm has no microcode, of which kernels complain.
EMULATED_HOST = "mitigations=off "
# No test measures time: this only ends a guest that will never end by itself.
PATIENCE = 600
MIB = 1 << 20

made = {}


def guest_file(*what):
    """The path of a guest's kernel or image, built on first use; tap.Skip where that cannot be."""
    if what not in made:
        built = subprocess.run(["sh", BUILDER, *what], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
        sys.stderr.write(built.stderr)
        reason = (built.stderr.strip().splitlines() or ["no message"])[-1]
        made[what] = (built.stdout.strip(), None if built.returncode == 0 else reason)
    path, reason = made[what]
    if reason:
        raise tap.Skip(f"no guest {' '.join(what)}: {reason}")
    return path


def bad_patterns():
    with open(os.path.join(HERE, "bad-lines")) as lines:
        return [re.compile(line.rstrip("\n")) for line in lines
                if line.strip() and not line.startswith("#")]


def bad_lines(console):
    """The lines of a console (text) that no healthy guest prints."""
    patterns = bad_patterns()
    return [line for line in console.splitlines() if any(p.search(line) for p in patterns)]


def text(output):
    return output.decode(errors="replace").replace("\r", "")


class Boot:
    """A guest whose console and log are kept in files and shown when the test fails.

    with Boot(options, "cloud-1", kernel, ...) as vm: ...
    """

    def __init__(self, options, name, kernel, **settings):
        self.stem = os.path.join(options.logs, name)
        os.makedirs(options.logs, exist_ok=True)
        for kind in (".console", ".log"):
            if os.path.exists(self.stem + kind):
                os.unlink(self.stem + kind)
        engine = getattr(options, "engine", "soft")
        if engine == "kvm":
            settings["append"] = EMULATED_HOST + settings.get("append", "")
        self.vm = Vm(options.vmm, kernel, log_path=self.stem + ".log", engine=engine, **settings)

    def __enter__(self):
        return self.vm

    def __exit__(self, kind, *error):
        self.vm.close()
        with open(self.stem + ".console", "wb") as console:
            console.write(self.vm.output)
        if kind and not issubclass(kind, tap.Skip):
            with open(self.stem + ".log") as log:
                lines = log.read().splitlines()[-20:] + text(self.vm.output).splitlines()[-120:]
            print("\n".join(f"# {line}" for line in lines))
            print(f"# all of it: {self.stem}.console")


def check_ended(vm):
    """Waits for the guest's own power-off and judges its console; returns that as text."""
    status = vm.wait(PATIENCE)
    console = text(vm.output)
    assert status is not None, "the guest did not end"
    assert status == 0, f"lodge-vmm ended with status {status}"
    bad = bad_lines(console)
    assert not bad, "the console says: " + " | ".join(bad)
    return console


def tool(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise tap.Skip(f"{name} is not installed")
    return path


def command(vm, line, mark):
    """Types a line at the guest's shell; the lines it printed, once they are complete."""
    before = len(vm.output)
    mark = f"{mark}-{before}-"  # no line before it ended so
    vm.send(f"{line}; echo {mark}$((6 * 7)) \n".encode())
    assert vm.wait_for(f"{mark}42".encode(), PATIENCE), f"no end of: {line}"
    # the end of the line before may have come late
    return text(vm.output[before:]).lstrip("\r\n").splitlines()


def log_in(vm):
    """Waits for a Debian guest's login prompt and leaves a plain shell at the console."""
    assert vm.wait_for(b"login: ", PATIENCE), "no login prompt"
    vm.send(b"root\n")
    assert vm.wait_for(b"~# ", PATIENCE), "no shell after login"
    vm.send(b"exec sh\n")  # without line editing
    command(vm, "PS1=; stty -echo", "shell")


def copy_disk(source, directory):
    """The path of a copy that a guest may change."""
    disk = os.path.join(directory, "disk.img")
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", source, disk], check=True)
    return disk


def check_filesystem(disk):
    """Fails unless the file system of an image is clean and without a fault."""
    fsck = subprocess.run([tool("e2fsck"), "-fn", disk], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    assert fsck.returncode == 0, fsck.stdout
