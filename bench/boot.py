#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures what a guest costs, in CPU seconds, side by side with QEMU's translator.

    boot.py --vmm build/lodge-vmm [--runs 5] [--idle 120] [boot] [start] [idle]

boot   the cloud kernel and the busybox initramfs, 1 vCPU, 512 MiB: CPU seconds to /init and to the
       end of the power-off. Lodge unpacks the kernel on the host, or (classic) lets it unpack
       itself; warm, it takes its translations from those of two boots before. QEMU boots the same bzImage, which unpacks itself, and the unpacked kernel through
       its PVH entry, so that both ways are compared like with like. Runs are interleaved.
start  CPU time of lodge-vmm from exec to the first guest instruction, 1 GiB, median of 20; and the
       private memory it has when the guest is up, by what it is for
idle   CPU seconds over --idle seconds of a Debian guest at its login prompt
"""
import argparse
import fcntl
import os
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../tests/guest"))
sys.path.insert(0, os.path.join(HERE, "../tests"))

from guest import guest_file, tap  # noqa: E402 (after the path that makes it visible)
from runvm import CODE_BYTES, Vm, die_with_parent  # noqa: E402

APPEND = "console=ttyS0 lodge.end=poweroff"
INIT = b"lodge-guest: init reached"
DEBIAN_APPEND = "console=ttyS0 quiet root=/dev/vda"
PATIENCE = 600
TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """User and system time of a process so far (ticks of 10 ms)."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


UNPACKERS = {b"\x02\x21\x4c\x18": "lz4", b"\xfd7zX": "xz", b"\x28\xb5\x2f\xfd": "zstd",
             b"\x1f\x8b": "gzip"}


def unpacked_kernel(path, directory):
    """The ELF file inside a bzImage (boot protocol, payload_offset), or None without its tool."""
    with open(path, "rb") as image:
        data = image.read()
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = (data[0x1f1] + 1) * 512 + offset
    payload = data[start:start + length - 4]  # its last word is the unpacked size
    tool = next((t for magic, t in UNPACKERS.items() if payload.startswith(magic)), None)
    if not tool or not shutil.which(tool):
        print(f"{tool or 'no known program'} would unpack the kernel, and is not here\n")
        return None
    elf = subprocess.run([tool, "-dc"], input=payload, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL).stdout
    with open(os.path.join(directory, "vmlinux"), "wb") as out:
        out.write(elf)
    return out.name if elf.startswith(b"\x7fELF") else None


class Qemu:
    """QEMU with the parts of Vm's interface that a measurement needs."""

    def __init__(self, program, kernel, initrd, append=APPEND, disk=None):
        self.output = b""
        drive = ["-drive", f"file={disk},format=raw,if=virtio"] if disk else []
        self.process = subprocess.Popen(
            [program, "-accel", "tcg", "-cpu", "max", "-M", "q35", "-m", "512", "-nodefaults",
             "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio", "-kernel",
             kernel, "-initrd", initrd, "-append", append, *drive],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            preexec_fn=die_with_parent)

    def read(self, timeout):
        data = os.read(self.process.stdout.fileno(), 65536)
        self.output += data
        return data

    def close(self):
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def measure(vm):
    """CPU seconds to /init and to the end of the process."""
    at_init = None
    try:
        while vm.read(PATIENCE):
            if at_init is None and INIT in vm.output:
                at_init = cpu_seconds(vm.process.pid)
        _, status, usage = os.wait4(vm.process.pid, 0)
        vm.process.returncode = status
        if status or at_init is None:
            raise RuntimeError("the guest did not boot:\n" + vm.output.decode(errors="replace"))
        return at_init, usage.ru_utime + usage.ru_stime
    finally:
        vm.close()


def debian_disk(directory):
    """A copy, as its guest writes to it."""
    disk = os.path.join(directory, "disk.img")
    subprocess.run(["cp", "--sparse=always", guest_file("debian"), disk], check=True)
    return disk


def measure_login(vm):
    """CPU seconds to the login prompt of a Debian guest, which is then killed."""
    try:
        while b"login: " not in vm.output:
            if not vm.read(PATIENCE):
                raise RuntimeError("no login prompt:\n" + vm.output.decode(errors="replace"))
        return cpu_seconds(vm.process.pid)
    finally:
        vm.close()


def table(heading, rows):
    widths = [max(len(str(row[i])) for row in [heading] + rows) for i in range(len(heading))]
    for row in [heading, ["-" * width for width in widths]] + rows:
        print("| " + " | ".join(str(cell).ljust(width) for cell, width in zip(row, widths)) + " |")
    print(flush=True)


def check_code(vmm, path):
    """Leaves in a file of saved translations those that are safe, as the launcher has it done."""
    with open(path, "rb") as saved:
        fds = [os.memfd_create("code", os.MFD_ALLOW_SEALING) for _ in range(2)]
        os.write(fds[0], saved.read())
    os.truncate(fds[1], CODE_BYTES)
    fcntl.fcntl(fds[0], fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_WRITE)
    subprocess.run([vmm, "--check-code", *map(str, fds)], pass_fds=fds, check=True)
    with open(path, "wb") as saved:
        saved.write(os.pread(fds[1], struct.unpack("<Q", os.pread(fds[1], 8, 16))[0], 0))
    for fd in fds:
        os.close(fd)


def translated(options, kernel, initrd, directory):
    """A file of what two boots have translated, checked."""
    path = os.path.join(directory, "code")
    for _ in range(2):
        measure(Vm(options.vmm, kernel, initrd, APPEND, code=path))
    check_code(options.vmm, path)
    return path


def bench_boot(options, directory):
    kernel, initrd = guest_file("kernel", "cloud"), guest_file("busybox")
    warm = translated(options, kernel, initrd, directory)
    qemu, vmlinux = shutil.which("qemu-system-x86_64"), unpacked_kernel(kernel, directory)
    ways = {"Lodge, unpacked": lambda: Vm(options.vmm, kernel, initrd, APPEND),
            "Lodge, warm": lambda: Vm(options.vmm, kernel, initrd, APPEND, code_checked=True,
                                      code=shutil.copy(warm, warm + "-used")),
            "Lodge, classic": lambda: Vm(options.vmm, kernel, initrd, APPEND, classic=True)}
    if qemu:
        ways["QEMU TCG, bzImage"] = lambda: Qemu(qemu, kernel, initrd)
        if vmlinux:
            ways["QEMU TCG, unpacked"] = lambda: Qemu(qemu, vmlinux, initrd)
    else:
        print("qemu-system-x86_64 is not installed: nothing to compare with\n")
    results = {name: [] for name in ways}
    for _ in range(options.runs):
        for name, start in ways.items():
            results[name].append(measure(start()))
    print(f"Boot of the cloud kernel, 1 vCPU, 512 MiB, CPU seconds, median of {options.runs}"
          " (smallest to largest):\n")
    rows = []
    median = {name: statistics.median(r[0] for r in runs) for name, runs in results.items()}
    for name, runs in results.items():
        first, whole = [sorted(r[i] for r in runs) for i in (0, 1)]
        against = "QEMU TCG, unpacked" if name in ("Lodge, unpacked", "Lodge, warm") else "QEMU TCG, bzImage"
        ratio = f"{median[name] / median[against]:.2f}" if against in median else "-"
        base = (f"{median[name] / median['QEMU TCG, bzImage']:.2f}"
                if "QEMU TCG, bzImage" in median else "-")
        rows.append([name, f"{median[name]:.2f} ({first[0]:.2f} to {first[-1]:.2f})",
                     f"{statistics.median(whole):.2f}", base,
                     ratio if name.startswith("Lodge") else "-"])
    table(["engine and entry", "to /init", "to power-off", "of QEMU's bzImage",
           "of QEMU by the same entry"], rows)


def started_ms(options, kernel, initrd, directory):
    """What lodge-vmm's log says it cost to come to the first guest instruction."""
    log = os.path.join(directory, "log")
    with open(log, "w"):
        pass
    with Vm(options.vmm, kernel, initrd, APPEND, memory_mib=1024, log_path=log,
            guard=False) as vm:
        vm.wait_for(b"Linux version", PATIENCE)
    with open(log) as lines:
        return float(re.search(r"after ([0-9.]+) ms of CPU time", lines.read())[1])


def private_memory(pid):
    """Private anonymous KiB of a process by the size of the mapping they are in (KiB)."""
    found, size = [], 0
    with open(f"/proc/{pid}/smaps") as lines:
        for line in lines:
            area = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
            if area:
                size = (int(area[2], 16) - int(area[1], 16)) // 1024
            elif line.startswith("Anonymous:"):
                found.append((size, int(line.split()[1])))
    return found


def bench_memory(options, kernel, initrd):
    """Guest RAM is the mapping of its size, the tables of the code cache the next largest."""
    with Vm(options.vmm, kernel, initrd, "console=ttyS0", memory_mib=1024, guard=False) as vm:
        vm.wait_for(INIT, PATIENCE)
        found = sorted(private_memory(vm.process.pid), reverse=True)
    ram, tables, *rest = [kib / 1024 for _, kib in found]
    print("Private memory of lodge-vmm at the guest's first program, 1 GiB, MiB:\n")
    table(["guest RAM", "tables of the code cache", "everything else"],
          [[f"{ram:.1f}", f"{tables:.1f}", f"{sum(rest):.1f}"]])


def bench_start(options, directory):
    kernel, initrd = guest_file("kernel", "cloud"), guest_file("busybox")
    vmlinux = unpacked_kernel(kernel, directory)
    rows = []
    for name, image in (("bzImage, unpacked here", kernel), ("ELF with PVH note", vmlinux)):
        if image:
            runs = sorted(started_ms(options, image, initrd, directory) for _ in range(20))
            rows.append([name, f"{statistics.median(runs):.1f}", f"{runs[0]:.1f}",
                         f"{runs[-1]:.1f}"])
    print("From exec to the first guest instruction, 1 GiB, CPU milliseconds, 20 runs:\n")
    table(["kernel", "median", "smallest", "largest"], rows)
    bench_memory(options, vmlinux or kernel, initrd)


def bench_idle(options, directory):
    kernel, initrd = guest_file("kernel", "cloud"), guest_file("initrd", "cloud")
    disk = debian_disk(directory)
    rows = []
    for vcpus in (1, 2):
        with Vm(options.vmm, kernel, initrd, DEBIAN_APPEND, disks=[disk], vcpus=vcpus) as vm:
            if not vm.wait_for(b"login: ", PATIENCE):
                raise RuntimeError("no login prompt")
            time.sleep(20)  # until start-up has calmed down
            before = cpu_seconds(vm.process.pid)
            time.sleep(options.idle)
            spent = cpu_seconds(vm.process.pid) - before
            vm.send(b"root\n")
            vm.wait_for(b"~# ", PATIENCE)
            vm.send(b"poweroff\n")
            vm.wait(PATIENCE)
        rows.append([vcpus, f"{spent:.2f}", f"{100 * spent / options.idle:.2f} %"])
    print(f"Idle Debian guest at its login prompt, {options.idle} s:\n")
    table(["vCPUs", "CPU seconds", "of one core"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--idle", type=int, default=120, help="seconds")
    parser.add_argument("what", nargs="*", metavar="boot|start|idle")
    options = parser.parse_args()
    benches = {"boot": bench_boot, "start": bench_start, "idle": bench_idle}
    wrong = set(options.what) - set(benches)
    if wrong:
        parser.error(f"no such measurement: {' '.join(sorted(wrong))}")
    try:
        for name, body in benches.items():
            if name in options.what or not options.what:
                with tempfile.TemporaryDirectory(prefix="lodge-bench-") as directory:
                    body(options, directory)
    except tap.Skip as reason:
        sys.exit(f"boot.py: {reason}")


if __name__ == "__main__":
    main()
