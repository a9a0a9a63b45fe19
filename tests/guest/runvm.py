#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs lodge-vmm by hand, without the launcher: writes a plan, opens the files, spawns.

    runvm.py --vmm build/lodge-vmm --kernel K [--initrd I] [--append A] [--disk F ...]

Guest tests import Vm from here; people use the command line: the guest's serial port is the
terminal, and ^] ends it.
"""
import argparse
import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import uuid


PR_SET_PDEATHSIG = 1
CODE_BYTES = 64 << 20  # SAVED_CODE_BYTES_MAX
LIBC = ctypes.CDLL(None)


def die_with_parent():
    """For preexec_fn: the child is killed when this process ends, however it ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


class Vm:
    """One guest. Everything it prints is kept in .output (bytes).

    keeps: those of disks whose blocks the guest cannot give back.
    code: a file of saved translations (may not exist yet): read at the start, written by close().
    code_checked: it went through lodge-vmm --check-code.
    ioeventfd: disks are notified without an exit, where the engine can.
    ports: names of virtio channels, or hvcN for consoles; the host's ends are in .ports by name.

    It ends with close(), at the end of a with statement, or with this process. Without guard it
    is left running if this process is killed, and its CPU time holds nothing of ours: a guard
    has to be set by code of this process's in the child. A function as guard is called there instead.
    """

    def __init__(self, vmm, kernel, initrd=None, append="", disks=(), memory_mib=512, vcpus=1,
                 classic=None, kaslr=True, devices=(), lifecycle=None, log_level="info",
                 log_path=None, cpu_debug=None, readonly=False, snapshot=False, disk_queues=None,
                 keeps=(), code=None, code_checked=False,
                 rng=True, nets=(), ports=(), guard=True, cpu=None, engine="soft",
                 movable=False, ioeventfd=True):
        self.fds, self.own_fds = [], []
        self.vmm = vmm
        self.output = b""
        self.snapshot = snapshot
        self.serial, serial_fd = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.directory = tempfile.mkdtemp(prefix="lodge-")
        self.monitor_path = os.path.join(self.directory, "monitor")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.monitor_path)
        listener.listen(8)
        self.log = open(log_path, "ab") if log_path else None
        backends = [{"id": "console0", "kind": "console", "driver": "fd",
                     "fd_in": self.give(serial_fd.fileno()), "fd_out": serial_fd.fileno()}]
        nodes = [{"type": "isa-serial", "id": "serial0", "index": 0, "backend": "console0"},
                 {"type": "isa-debug-exit", "id": "debugexit0", "port": 0x501}]
        slots = iter(range(1, 29))

        def port():
            index = next(slots)
            nodes.append({"type": "pcie-root-port", "id": f"pci.{index}", "bus": 0, "slot": index,
                          "function": 0, "chassis": index, "port": index})
            return index

        for i, path in enumerate(disks):
            flags = os.O_RDONLY if readonly else os.O_RDWR
            fd = self.give(self.open_disk(path, flags))
            self.own_fds.append(fd)
            backends.append({"id": f"disk{i}", "kind": "block", "driver": "raw", "fd": fd,
                             "readonly": readonly, "discard": path not in keeps,
                             "cache": "writeback"})
            nodes.append({"type": "virtio-blk", "id": f"virtio-disk{i}", "bus": port(), "slot": 0,
                          "function": 0, "backend": f"disk{i}", "serial": f"disk{i}",
                          "queues": disk_queues or vcpus, "ioeventfd": ioeventfd})
        for i, fd in enumerate(nets):
            backends.append({"id": f"net{i}", "kind": "net", "driver": "socket",
                             "fd": self.give(fd)})
            nodes.append({"type": "virtio-net", "id": f"virtio-net{i}", "bus": port(), "slot": 0,
                          "function": 0, "backend": f"net{i}",
                          "mac": f"52:54:00:12:34:{0x56 + i:02x}"})
        if rng:
            nodes.append({"type": "virtio-rng", "id": "rng0", "bus": port(), "slot": 0,
                          "function": 0})
        self.ports, port_fds = {}, []
        if ports:
            nodes.append({"type": "virtio-serial", "id": "virtio-serial0", "bus": port(), "slot": 0,
                          "function": 0})
        for i, name in enumerate(ports):
            self.ports[name], other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            port_fds.append(other)
            backends.append({"id": f"port{i}", "kind": "console", "driver": "fd",
                             "fd_in": self.give(other.fileno()), "fd_out": other.fileno()})
            nodes.append({"type": "virtserialport", "id": name, "controller": "virtio-serial0",
                          "port": i, "console": name.startswith("hvc"), "name": name,
                          "columns": 100, "rows": 30, "backend": f"port{i}"})
        if classic is None: # as the launcher chooses
            classic = engine == "kvm" and kaslr and not movable
        boot = {"kernel": self.open(kernel, os.O_RDONLY), "cmdline": append, "classic": classic,
                "kaslr": kaslr}
        if initrd:
            boot["initrd"] = self.open(initrd, os.O_RDONLY)
        plan = {
            "version": 1, "name": "runvm", "uuid": str(uuid.uuid4()), "machine": "lodge-q35-1.0",
            "engine": {"name": engine, "why": "runvm.py asked for it"},
            "memory": {"bytes": memory_mib << 20},
            "vcpus": {"count": vcpus, "sockets": vcpus, "cores": 1, "threads": 1},
            "cpu_debug": cpu_debug or {}, "boot": boot, "backends": backends,
            "devices": nodes + list(devices), "monitor": {"fd": self.give(listener.fileno())},
            "lifecycle": lifecycle or {"poweroff": "destroy", "reboot": "destroy",
                                       "crash": "destroy"},
        }
        if movable:
            plan["engine"]["movable"] = True
            plan.setdefault("cpu", {"features_off": []})["tsc_stable"] = True
        if engine == "kvm" or movable:
            plan["engine"]["fd"] = self.open("/dev/kvm", os.O_RDWR)
        self.code, self.code_checked, self.code_to = code, code_checked, None
        if cpu or code:
            plan["cpu"] = {"features_off": [], **(cpu or {}), **(self.saved_code() if code else {})}
        if self.log:
            plan["log"] = {"fd": self.give(self.log.fileno()), "level": log_level}
        self.plan = plan
        plan_file = tempfile.TemporaryFile()
        plan_file.write(json.dumps(plan).encode())
        plan_file.seek(0)
        self.started = time.monotonic()
        self.process = subprocess.Popen([vmm, "--plan", str(plan_file.fileno())],
                                        pass_fds=self.fds + [plan_file.fileno()],
                                        stdin=subprocess.DEVNULL,
                                        preexec_fn=die_with_parent if guard is True else guard or None)
        plan_file.close()
        serial_fd.close()
        for other in port_fds:
            other.close()
        listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        """Kills the guest if it still runs and gives back what it used here."""
        if self.process.returncode is None:
            self.process.kill()
            self.process.wait()
        if self.code_to is not None:
            self.keep_code()
            self.code_to = None
        self.serial.close()
        for end in self.ports.values():
            end.close()
        if self.log:
            self.log.close()
        for fd in self.own_fds:
            os.close(fd)
        self.own_fds = []
        shutil.rmtree(self.directory, ignore_errors=True)

    def saved_code(self):
        """What the launcher does with saved translations, without its keys and checks."""
        cpu = {}
        if os.path.exists(self.code):
            old = os.memfd_create("code", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
            self.own_fds.append(old)
            with open(self.code, "rb") as saved:
                os.write(old, saved.read())
            fcntl.fcntl(old, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK
                        | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE)
            cpu["code_from"] = self.give(old)
            cpu["code_checked"] = self.code_checked
        self.code_to = os.memfd_create("code", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        self.own_fds.append(self.code_to)
        os.truncate(self.code_to, CODE_BYTES)
        cpu["code_to"] = self.give(self.code_to)
        return cpu

    def keep_code(self):
        """Writes the translations that a guest has saved at its end, if it has."""
        used = struct.unpack("<Q", os.pread(self.code_to, 8, 16))[0]
        if used:
            with open(self.code, "wb") as saved:
                saved.write(os.pread(self.code_to, used, 0))

    def give(self, fd):
        os.set_inheritable(fd, True)
        self.fds.append(fd)
        return fd

    def open(self, path, flags):
        fd = os.open(path, flags)
        self.own_fds.append(fd)
        return self.give(fd)

    def open_disk(self, path, flags):
        if not self.snapshot:
            return os.open(path, flags)
        copy = tempfile.NamedTemporaryFile(prefix="lodge-disk-")
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", path, copy.name], check=True)
        fd = os.open(copy.name, os.O_RDWR)
        copy.close()
        return fd

    def read(self, timeout):
        """Reads what the guest printed within timeout seconds; b"" at the end or in silence."""
        ready, _, _ = select.select([self.serial], [], [], timeout)
        if not ready:
            return b""
        data = self.serial.recv(65536)
        self.output += data
        return data

    def wait_for(self, text, timeout):
        """True when the guest has printed text (bytes) within timeout seconds."""
        deadline = time.monotonic() + timeout
        while text not in self.output:
            left = deadline - time.monotonic()
            if left <= 0 or (not self.read(left) and self.process.poll() is not None):
                return text in self.output
        return True

    def send(self, text):
        self.serial.sendall(text)

    def wait(self, timeout):
        """The exit status; the guest is killed after timeout seconds (then None)."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None and time.monotonic() < deadline:
            self.read(min(0.2, max(0, deadline - time.monotonic())))
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            return None
        while self.read(0):
            pass
        return self.process.returncode

    def qmp(self):
        return Qmp(self.monitor_path)


class Qmp:
    """A monitor client: qmp.command("stop") -> what came back; events gather in .events."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.file = self.socket.makefile("r")
        self.events = []
        self.greeting = json.loads(self.file.readline())
        self.command("qmp_capabilities")

    def command(self, name, /, **arguments):
        self.socket.sendall(json.dumps({"execute": name, "arguments": arguments}).encode() + b"\n")
        while True:
            message = json.loads(self.file.readline())
            if "event" in message:
                self.events.append(message)
            else:
                return message

    def wait_event(self, name, timeout=10):
        self.socket.settimeout(timeout)
        while not any(e["event"] == name for e in self.events):
            self.events.append(json.loads(self.file.readline()))
        self.socket.settimeout(None)


def interactive(vm, timeout):
    deadline = time.monotonic() + timeout
    while vm.process.poll() is None and time.monotonic() < deadline:
        sources = [vm.serial] + ([sys.stdin] if sys.stdin.isatty() else [])
        ready, _, _ = select.select(sources, [], [], 0.2)
        if vm.serial in ready:
            data = vm.read(0)
            sys.stdout.buffer.write(data)
            sys.stdout.flush()
        if sys.stdin in ready:
            data = os.read(0, 1024)
            if b"\x1d" in data:
                vm.process.send_signal(signal.SIGKILL)
            vm.send(data)
    status = vm.wait(0)
    return status


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--initrd")
    parser.add_argument("--append", default="console=ttyS0")
    parser.add_argument("--disk", action="append", default=[])
    parser.add_argument("--snapshot", action="store_true", help="work on copies of the disks")
    parser.add_argument("--memory", type=int, default=512, help="MiB")
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--classic", action="store_true", default=None)
    parser.add_argument("--nokaslr", action="store_true")
    parser.add_argument("--no-rng", action="store_true")
    parser.add_argument("--timeout", type=float, default=1e9)
    parser.add_argument("--log", default="/dev/stderr")
    parser.add_argument("--step", action="store_true")
    parser.add_argument("--engine", default="soft")
    parser.add_argument("--stats", action="store_true")
    args = parser.parse_args()
    vm = Vm(args.vmm, args.kernel, args.initrd, args.append, args.disk, args.memory, args.cpus,
            classic=args.classic, kaslr=not args.nokaslr, log_path=args.log, rng=not args.no_rng,
            snapshot=args.snapshot, cpu_debug={"step": args.step, "stats": args.stats},
            engine=args.engine)
    with vm:
        status = interactive(vm, args.timeout)
    print(f"runvm: status {status}, {time.monotonic() - vm.started:.2f} s", file=sys.stderr)
    sys.exit(1 if status is None else status)


if __name__ == "__main__":
    main()
