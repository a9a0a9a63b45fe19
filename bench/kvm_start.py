#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures how long lodge-vmm and QEMU take from exec to the guest's first instruction under KVM.

    tools/with-kvm python3 bench/kvm_start.py --vmm build/lodge-vmm [--runs 7] [--memory 512]

The same kernel and initramfs, one vCPU, a serial port and a virtio-rng behind a root port. The kernel
itself tells both times (tracefs: sched_process_exec and the first kvm_entry of that process), so
nothing is in the way of what is measured; root is needed. Runs are interleaved, after one of each
that counts for nothing. By default lodge leaves it to the guest to unpack its kernel where there is KVM,
as QEMU does; "lodge-host" unpacks it before the guest starts (lodge run --unpack host).
"""
import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../tests/guest"))
sys.path.insert(0, os.path.join(HERE, "../tests"))

from guest import guest_file, tap  # noqa: E402 (after the path that makes it visible)
from runvm import Vm, die_with_parent  # noqa: E402

TRACING = "/sys/kernel/tracing"
APPEND = "console=ttyS0 quiet panic=-1"
PATIENCE = 120


def put(name, text):
    with open(os.path.join(TRACING, name), "w") as file:
        file.write(text)


def follow_me():
    """In the child: from now on, its events and those of its threads are recorded."""
    die_with_parent()
    put("set_event_pid", str(os.getpid()))


def start_tracing():
    if not os.path.exists(os.path.join(TRACING, "trace")):
        subprocess.run(["mount", "-t", "tracefs", "tracefs", TRACING], check=True)
    put("options/event-fork", "1")
    put("trace_clock", "mono")
    for event in ("sched/sched_process_exec", "kvm/kvm_entry"):
        put(f"events/{event}/enable", "1")


def seconds():
    """Between the last exec of the process that is followed and its first entry; None: not yet."""
    with open(os.path.join(TRACING, "trace")) as trace:
        lines = trace.read()
    execs = [float(t) for t in re.findall(r" ([0-9.]+): sched_process_exec:", lines)]
    entries = [float(t) for t in re.findall(r" ([0-9.]+): kvm_entry:", lines)]
    return entries[0] - execs[-1] if execs and entries else None


def wait_for_entry():
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        took = seconds()
        if took is not None:
            return took
        time.sleep(0.2)
    raise SystemExit("no entry within the time: is /dev/kvm there, and tracefs?")


def lodge(options, files, classic):
    with Vm(options.vmm, files["kernel"], initrd=files["initrd"], append=APPEND, engine="kvm",
            memory_mib=options.memory, classic=classic, guard=follow_me):
        return wait_for_entry()


def qemu(options, files):
    process = subprocess.Popen(
        ["qemu-system-x86_64", "-accel", "kvm", "-machine", "q35", "-cpu", "host", "-smp", "1",
         "-m", str(options.memory), "-nodefaults", "-no-user-config", "-display", "none",
         "-kernel", files["kernel"], "-initrd", files["initrd"], "-append", APPEND, "-serial", "null",
         "-device", "pcie-root-port,id=p", "-device", "virtio-rng-pci,bus=p"],
        stdin=subprocess.DEVNULL, preexec_fn=follow_me)
    try:
        return wait_for_entry()
    finally:
        process.kill()
        process.wait()


def measure(options, files):
    engines = {"lodge": lambda: lodge(options, files, True),
               "lodge-host": lambda: lodge(options, files, False)}
    if shutil.which("qemu-system-x86_64"):
        engines["qemu"] = lambda: qemu(options, files)
    times = {name: [] for name in engines}
    for count in range(options.runs + 1):
        for name, run in engines.items():
            put("trace", "")
            took = run()
            if count:
                times[name].append(took)
    for name, all_of_it in times.items():
        print(f"{name:14} median {1e3 * statistics.median(all_of_it):8.1f} ms   of "
              f"{' '.join(f'{1e3 * t:.0f}' for t in sorted(all_of_it))}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--memory", type=int, default=512, help="MiB")
    options = parser.parse_args()
    start_tracing()
    with tempfile.TemporaryDirectory() as directory:
        files = {}
        for name, what in (("kernel", ("kernel", "cloud")), ("initrd", ("busybox",))):
            try:
                files[name] = shutil.copy(guest_file(*what), os.path.join(directory, name))
            except tap.Skip as reason:
                raise SystemExit(str(reason)) from None
        measure(options, files)


if __name__ == "__main__":
    main()
