#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Measures lodged beside a libvirtd with QEMU: many definitions, and guests that run.

    manage.py --lodged build/lodged [--definitions 1000] [--guests 50] [--runs 20] [--json FILE]

define    one definition: CPU time of the daemon's threads, with what it does about the files later, the one that writes
          files by itself, time on the clock, and beside it what the file system takes to make a file of that size last (written, synchronized, renamed, its
          folder synchronized), on the clock and of the processor
list      connect_list_all_domains by a raw client, until the answer is there
stats     the statistics of all guests that run, in one call, in the same way
virsh     `virsh list --all`, the whole command
memory    resident memory of the daemon, with all of that

The guests have one processor, 16 MiB, a serial port and a kernel that halts; they run, with nothing to do. Both daemons are
started by this program, as a user's where it is run by root (libvirtd), in folders of their own, and take turns.
"""
import argparse
import contextlib
import glob
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "../tests/compat"), os.path.join(HERE, "../tests")]

import rpc  # noqa: E402 (after the path that makes it visible)
import tap  # noqa: E402
from libvirtd import libvirtd  # noqa: E402
from lodged import guest_xml, lodged, until  # noqa: E402

ACTIVE = 1  # of connect_list_all_domains
STATS_RUNNING = 1 << 4  # of connect_get_all_domain_stats
PATIENCE = 300
QUIET = 4  # seconds after which lodged has made all files to last by themselves
WRITER = "store"  # a thread of lodged


def halting_kernel():
    """An ELF file whose PVH entry, in 32-bit mode, halts with interrupts off."""
    base, at = 0x100000, 0x1000
    code = b"\xfa\xf4\xeb\xfd"  # cli; hlt; jmp to the hlt
    note = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", base)  # XEN_ELFNOTE_PHYS32_ENTRY
    header = struct.pack("<16sHHIIIIIHHHHHH", b"\x7fELF\1\1\1", 2, 3, 1, base, 52, 0, 0, 52, 32, 2, 0, 0, 0)
    load = struct.pack("<8I", 1, at, base, base, len(code), len(code), 5, at)
    notes = struct.pack("<8I", 4, 0x200, 0, 0, len(note), len(note), 4, 4)
    return (header + load + notes).ljust(0x200, b"\0") + note.ljust(at - 0x200, b"\0") + code


def cpu_seconds(pid, but=None):
    """Of all threads of a process so far, but for those of a name."""
    total = 0
    for task in glob.glob(f"/proc/{pid}/task/*"):
        with contextlib.suppress(OSError), open(f"{task}/schedstat") as stat, open(f"{task}/comm") as name:
            total += int(stat.read().split()[0]) if name.read().strip() != but else 0
    return total / 1e9


def resident_mib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) / 1024


class Daemon:
    def __init__(self, name, daemon, uri):
        self.name, self.daemon, self.pid = name, daemon, daemon.process.pid
        self.client = rpc.Client(daemon.socket, open=False)
        self.client.call("auth_list")
        self.client.call("connect_open", name=uri)
        self.client.socket.settimeout(PATIENCE)
        self.seen = {"define": [], "list": [], "list-running": [], "stats": [], "virsh": []}

    def ask(self, name, **values):
        """Milliseconds until the answer is there, not taken apart."""
        procedure = rpc.PROCEDURES["remote:" + name]
        self.client.serial += 1
        call = rpc.frame(procedure.program, procedure.number, rpc.encode(procedure.args, values), serial=self.client.serial)
        before = time.monotonic()
        self.client.socket.sendall(call)
        header, answer = self.client.message()
        spent = time.monotonic() - before
        if header[5]:
            raise rpc.Refused(rpc.Reader(answer).struct(rpc.STRUCTS["msg_error"]))
        return spent * 1000

    def virsh_list(self):
        before = time.monotonic()
        done = subprocess.run(["virsh", "-c", self.daemon.uri(), "list", "--all"], stdout=subprocess.PIPE, check=True,
                              env=dict(os.environ, LC_ALL="C"))
        spent = time.monotonic() - before
        return spent * 1000, len(done.stdout.split(b"\n")) - 4


def sync_pair(folder, data):
    """Milliseconds that a file takes to be safe there, and of the processor."""
    before, cpu = time.monotonic(), time.thread_time()
    with open(f"{folder}/sync.new", "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{folder}/sync.new", f"{folder}/sync")
    directory = os.open(folder, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
    return (time.monotonic() - before) * 1000, (time.thread_time() - cpu) * 1000


def define_all(daemons, options, kernel, folder):
    """What the file system takes, meanwhile."""
    synced, cpu = [], {d.name: (cpu_seconds(d.pid), cpu_seconds(d.pid, WRITER)) for d in daemons}
    for i in range(options.definitions):
        xml = guest_xml(f"guest-{i:04}", kernel)
        for daemon in daemons if i % 2 else daemons[::-1]:
            daemon.seen["define"].append(daemon.ask("domain_define_xml", xml=xml))
        synced.append(sync_pair(folder, xml.encode()))
    time.sleep(QUIET)
    for daemon in daemons:
        now = cpu_seconds(daemon.pid), cpu_seconds(daemon.pid, WRITER)
        for row, before, after in zip(("define-cpu", "define-cpu-but"), cpu[daemon.name], now):
            daemon.seen[row] = [(after - before) * 1000 / options.definitions]
    return synced


def start_guests(daemons, options):
    for daemon in daemons:
        for i in range(options.guests):
            found = daemon.client.call("domain_lookup_by_name", name=f"guest-{i:04}")
            daemon.client.call("domain_create", dom=found["dom"])
        until("the guests run", lambda daemon=daemon: len(daemon.client.call(
            "connect_list_all_domains", need_results=1, flags=ACTIVE)["domains"]) == options.guests)
    time.sleep(2)  # until what starts has started


def call_all(daemons, options):
    for i in range(options.runs):
        for daemon in daemons if i % 2 else daemons[::-1]:
            seen = daemon.seen
            seen["list"].append(daemon.ask("connect_list_all_domains", need_results=1, flags=0))
            seen["list-running"].append(daemon.ask("connect_list_all_domains", need_results=1, flags=ACTIVE))
            seen["stats"].append(daemon.ask("connect_get_all_domain_stats", doms=[], stats=0, flags=STATS_RUNNING))
            spent, rows = daemon.virsh_list()
            if rows != options.definitions:
                raise SystemExit(f"{daemon.name} lists {rows} of {options.definitions} domains")
            seen["virsh"].append(spent)
    for daemon in daemons:
        daemon.seen["memory"] = [resident_mib(daemon.pid)]


ROWS = [("define", "a definition, ms"), ("define-cpu", "its CPU time in the daemon, ms"),
        ("define-cpu-but", "of it not in the thread that writes files, ms"),
        ("list", "list all, raw, ms"), ("list-running", "list those that run, raw, ms"),
        ("stats", "statistics of those that run, ms"), ("virsh", "virsh list --all, ms"),
        ("memory", "resident memory, MiB")]


def show(daemons, synced):
    print(f"| {'':33} | {'median':>8} | {'smallest':>8} | {'largest':>8} |")
    print("| --- | --- | --- | --- |")
    lines = [(f"{what} ({d.name})", d.seen[key]) for key, what in ROWS for d in daemons]
    lines = [("a file made to last, ms", [wall for wall, _ in synced]),
             ("its CPU time, ms", [cpu for _, cpu in synced])] + lines
    for what, values in lines:
        print(f"| {what:42} | {statistics.median(values):8.2f} | {min(values):8.2f} | {max(values):8.2f} |")


def measure(options):
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="lodge-bench-"))
        os.chmod(folder, 0o755)
        kernel = f"{folder}/kernel"
        with open(kernel, "wb") as file:
            file.write(halting_kernel())
        os.chmod(kernel, 0o644)
        daemons = [Daemon("lodged", stack.enter_context(lodged(options.lodged, verbose=False)), "qemu:///system")]
        if not options.alone:
            try:
                daemons.append(Daemon("libvirtd", stack.enter_context(libvirtd()), "qemu:///session"))
            except tap.Skip as skip:
                raise SystemExit(f"manage.py: {skip}; --alone measures lodged only") from None
        for daemon in daemons:
            stack.callback(daemon.client.socket.close)
        synced = define_all(daemons, options, kernel, folder)
        start_guests(daemons, options)
        call_all(daemons, options)
        show(daemons, synced)
        if options.json:
            with open(options.json, "w") as file:
                json.dump({"sync": synced, **{d.name: d.seen for d in daemons}}, file)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lodged", required=True, help="the program")
    parser.add_argument("--definitions", type=int, default=1000)
    parser.add_argument("--guests", type=int, default=50)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--alone", action="store_true", help="without libvirtd")
    parser.add_argument("--json", help="a file for every single measurement")
    options = parser.parse_args()
    if options.guests > options.definitions:
        parser.error("more guests than definitions")
    measure(options)


if __name__ == "__main__":
    main()
