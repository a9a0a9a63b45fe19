# SPDX-License-Identifier: GPL-2.0-or-later
"""The engines that run the suite's program: this host, lodge-vmm, and QEMU's translator.

Each starts the program (see suite/main.c for what is said to it), runs one row at a time, and tells
the CPU seconds that its whole process tree spent on it. A row that fails says why; after a hang or
a crash the engine is started again for the next row.
"""
import collections
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../tests/guest"))

from runvm import Vm, die_with_parent  # noqa: E402 (after the path that makes it visible)

APPEND = "console=ttyS0 loglevel=1 panic=-1"
MEMORY_MIB = 512

Result = collections.namedtuple("Result", "checksum cpu wall")


class RowFailed(Exception):
    """The row did not finish, or the engine does not offer what it needs (skipped)."""

    def __init__(self, why, skipped=False):
        super().__init__(why)
        self.skipped = skipped


def process_cpu(pid):
    """CPU seconds of all threads of a process so far, ended ones too (its CPU clock, in ns)."""
    return time.clock_gettime_ns((~pid << 3) | 2) / 1e9


def parents(name):
    """a/b/c: a, a/b"""
    parts = name.split("/")
    return ["/".join(parts[:n]) for n in range(1, len(parts))]


def initramfs(files):
    """A newc archive (kernel: initramfs/buffer-format) with these files: name -> path."""
    archive = bytearray()

    def entry(name, mode, data):
        fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        header = b"070701" + b"".join(b"%08x" % field for field in fields)
        for part in (header + name.encode() + b"\0", data):
            archive.extend(part + b"\0" * (-len(part) % 4))

    for directory in sorted({parent for name in files for parent in parents(name)}):
        entry(directory, 0o40755, b"")
    for name, path in files.items():
        with open(path, "rb") as source:
            entry(name, 0o100755, source.read())
    entry("TRAILER!!!", 0, b"")
    return archive


class Engine:
    """What engines share: the talk with the program."""

    def __init__(self, name, patience):
        self.name, self.patience = name, patience
        self.boot_cpu = None
        self.running = False

    def start(self):
        """Starts the program; returns when it waits for its first row."""
        self.pending = b""
        self.launch()
        self.running = True

    def close(self):
        if self.running:
            self.running = False
            self.end()

    def lines(self, deadline):
        """What the program says, line by line. Other lines are the kernel's, and are ignored."""
        while True:
            while b"\n" in self.pending:
                line, self.pending = self.pending.split(b"\n", 1)
                at = line.find(b"bench: ")
                if at >= 0:
                    return line[at + 7:].decode(errors="replace").split()
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.source], [], [], left)[0]:
                raise RowFailed(f"no answer within {self.patience} s")
            data = os.read(self.source, 65536)
            if not data:
                raise RowFailed("the engine ended")
            self.pending += data

    def expect(self, word):
        line = self.lines(time.monotonic() + self.patience)
        if line[0] == "skip":
            raise RowFailed("not offered", skipped=True)
        if line[0] != word:
            raise RowFailed(" ".join(line[1:] if line[0] == "fail" else line))
        return line

    def run(self, row, scale):
        """One row's Result. Raises RowFailed."""
        try:
            if not self.running:
                self.start()
            self.send(b"%d %d\n" % (row.index, round(scale * 1000)))
            self.expect("ready")
            cpu, wall = self.cpu(), time.monotonic()
            self.send(b"\n")
            done = self.expect("done")
            wall = time.monotonic() - wall
            return Result(done[1], self.spent(cpu, done), wall)
        except (RowFailed, OSError) as error:
            if not getattr(error, "skipped", False):
                self.close()
            raise error if isinstance(error, RowFailed) else RowFailed(str(error)) from error

    def cpu(self):
        return process_cpu(self.process.pid)

    def spent(self, before, done):
        return self.cpu() - before

    def send(self, data):
        os.write(self.sink, data)


class Native(Engine):
    """The program as a process of this host. Its children are gone when a row ends, and the CPU
    time of a process that is gone is known to its parent alone: so the program's own count."""

    def __init__(self, name, program, busybox, patience):
        super().__init__(name, patience)
        self.command = [program, None, busybox]

    def launch(self):
        self.command[1] = tempfile.mkdtemp(prefix="lodge-bench-", dir="/dev/shm")
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        self.source, self.sink = self.process.stdout.fileno(), self.process.stdin.fileno()

    def spent(self, before, done):
        return int(done[2]) / 1e9

    def end(self):
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        shutil.rmtree(self.command[1], ignore_errors=True)


class Lodge(Engine):
    """settings: of Vm, for each start. With saved translations it ends so that they are saved."""

    def __init__(self, name, vmm, kernel, initrd, cpus, patience, append=APPEND,
                 memory_mib=MEMORY_MIB, **settings):
        super().__init__(name, patience)
        self.make = lambda: Vm(vmm, kernel, initrd, append, memory_mib=memory_mib, vcpus=cpus,
                               **settings)

    def launch(self):
        self.vm = self.make()
        self.process = self.vm.process
        self.source = self.sink = self.vm.serial.fileno()
        self.running = True
        self.expect("booted")
        self.boot_cpu = self.cpu()

    def end(self):
        if self.vm.code and self.process.poll() is None:
            self.vm.qmp().command("quit")
            self.vm.wait(self.patience)
        self.vm.close()


class Qemu(Engine):
    def __init__(self, name, qemu, kernel, initrd, cpus, patience, append=APPEND,
                 memory_mib=MEMORY_MIB):
        super().__init__(name, patience)
        self.command = [
            qemu, "-accel", "tcg,thread=multi", "-cpu", "max", "-M", "q35", "-smp", str(cpus),
            "-m", str(memory_mib), "-nodefaults", "-no-user-config", "-display", "none",
            "-no-reboot", "-serial", "stdio", "-kernel", kernel, "-initrd", initrd,
            "-append", append]

    def launch(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                        preexec_fn=die_with_parent)
        self.source, self.sink = self.process.stdout.fileno(), self.process.stdin.fileno()
        self.running = True
        self.expect("booted")
        self.boot_cpu = self.cpu()

    def end(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
