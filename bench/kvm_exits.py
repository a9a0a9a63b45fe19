#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts the exits of a boot under KVM, beside QEMU's with the same devices, and with its smallest machine, microvm.

    tools/with-kvm --memory 3072 -- python3 bench/kvm_exits.py --vmm build/lodge-vmm [--runs 2] [--cpus 1]

The cloud kernel and the busybox initramfs, 512 MiB, a serial port and a virtio-rng behind a root port; all exits and
those for ports and memory as the host's KVM counts them (debugfs), and the seconds, from the start to /init. microvm
has the serial port alone. Root is needed.
"""
import argparse
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "../tests/guest"), os.path.join(HERE, "../tests")]

from guest import guest_file  # noqa: E402 (after the path that makes it visible)
from runvm import Vm, die_with_parent  # noqa: E402

COUNTS = "/sys/kernel/debug/kvm"
APPEND = "console=ttyS0 panic=-1"
INIT = "lodge-guest: init reached"
PATIENCE = 300


def counted():
    """Of the machines that there are now: one."""
    values = []
    for name in ("exits", "io_exits", "mmio_exits"):
        with open(f"{COUNTS}/{name}") as count:
            values.append(int(count.read()))
    return values


def lodge(options, kernel, initrd):
    with Vm(options.vmm, kernel, initrd=initrd, append=APPEND, engine="kvm", memory_mib=512, vcpus=options.cpus) as vm:
        if not vm.wait_for(INIT.encode(), PATIENCE):
            raise SystemExit("lodge-vmm ended before /init, or took too long")
        return counted()


def qemu(options, kernel, initrd, machine=("q35", "-device", "pcie-root-port,id=p", "-device", "virtio-rng-pci,bus=p")):
    process = subprocess.Popen(
        ["qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-smp", str(options.cpus), "-m", "512", "-nodefaults",
         "-no-user-config", "-display", "none", "-kernel", kernel, "-initrd", initrd, "-append", APPEND,
         "-serial", "stdio", "-machine", *machine],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, preexec_fn=die_with_parent)
    try:
        for line in process.stdout:
            if INIT.encode() in line:
                return counted()
        raise SystemExit("QEMU ended before /init")
    finally:
        process.kill()
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--cpus", type=int, default=1)
    options = parser.parse_args()
    if not os.path.exists(COUNTS):
        subprocess.run(["mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug"], check=True)
    kernel, initrd = guest_file("kernel", "cloud"), guest_file("busybox")
    for _ in range(options.runs):
        for name, run in (("lodge", lodge), ("qemu", qemu), ("microvm", lambda *all: qemu(*all, machine=["microvm"]))):
            began = time.monotonic()
            exits, ports, memory = run(options, kernel, initrd)
            print(f"{name:7} exits {exits:7} of them ports {ports:7} memory {memory:7}   {time.monotonic() - began:6.1f} s", flush=True)


if __name__ == "__main__":
    main()
