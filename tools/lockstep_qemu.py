# SPDX-License-Identifier: GPL-2.0-or-later
"""lockstep --qemu: our processor follows QEMU's, one instruction at a time.

QEMU (TCG, interrupts held off while stepping) is the whole machine; our processor (cpu-follow) has a
copy of its memory and no device. After each instruction the registers are compared, every CHECKPOINT
instructions also the hidden parts of segments, the tables and all of memory; a difference found there
is searched again, instruction by instruction, in a second run. Undefined flags are copied from QEMU,
and so are the results of instructions whose source is not the processor: SOURCES below, and whatever
reads from outside RAM. Each kind of copy is counted and listed at the end.
"""
import collections
import ctypes
import json
import mmap
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time

CHECKPOINT = 500
PATIENCE = 60  # seconds until QEMU has to have answered
LIBC = ctypes.CDLL(None)
LIBC.memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]

# Instructions whose results come from elsewhere: copied from QEMU.
SOURCES = {
    "rdtsc": "the clock", "rdtscp": "the clock", "rdpmc": "a counter", "in": "a port",
    "cpuid": "the other processor's features", "rdmsr": "the other processor's MSRs",
    "rdrand": "chance", "rdseed": "chance",
}
GPRS = ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp"] + [f"r{n}" for n in range(8, 16)]
SEGMENTS = ["cs", "ss", "ds", "es", "fs", "gs"]
FLAG_RF = 0x10000
FSTAT_C1 = 0x200
MSRS = {"star": 0xc0000081, "lstar": 0xc0000082, "cstar": 0xc0000083, "sfmask": 0xc0000084,
        "tsc_aux": 0xc0000103, "sysenter_cs": 0x174, "sysenter_esp": 0x175, "sysenter_eip": 0x176,
        "pat": 0x277}


class Gone(Exception):
    """The machine has ended, as its guest wanted."""


def stop(text):
    sys.exit(f"lockstep: {text}")


class Qemu:
    """The leader. state() is what the gdb stub tells, deep() what only the monitor does."""

    def __init__(self, program, kernel, directory, memory_mib, cpu, append):
        self.ram_path = os.path.join(directory, "qemu-ram")
        gdb, qmp = os.path.join(directory, "gdb"), os.path.join(directory, "qmp")
        self.process = subprocess.Popen(
            [program, "-accel", "tcg", "-cpu", cpu, "-nodefaults", "-display", "none", "-S",
             "-machine", "q35,memory-backend=ram", "-m", str(memory_mib), "-serial", "null",
             "-object", f"memory-backend-file,id=ram,size={memory_mib}M,share=on,"
             f"mem-path={self.ram_path}", "-device", "isa-debug-exit,iobase=0x501",
             "-gdb", f"unix:{gdb},server=on,wait=off", "-qmp", f"unix:{qmp},server=on,wait=off",
             "-kernel", kernel, *(["-append", append] if append else [])],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.gdb = self.connect(gdb)
        self.monitor = self.connect(qmp).makefile("rw")
        self.monitor.readline()
        self.qmp("qmp_capabilities")
        self.buffer = b""
        self.packet("qXfer:features:read:target.xml:0,fff")  # the stub takes P only after this

    def connect(self, path):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                stop("QEMU does not start")
            try:
                client = socket.socket(socket.AF_UNIX)
                client.settimeout(PATIENCE)
                client.connect(path)
                return client
            except OSError:
                time.sleep(0.05)
        stop("QEMU does not listen")

    def close(self):
        self.process.kill()
        self.process.wait()

    def packet(self, text):
        data = text.encode()
        try:
            self.gdb.sendall(b"$%s#%02x" % (data, sum(data) & 255))
            while not re.search(rb"\$([^#]*)#..", self.buffer):
                more = self.gdb.recv(65536)
                if not more:
                    raise Gone
                self.buffer += more
        except (BrokenPipeError, ConnectionResetError):
            raise Gone from None
        answer = re.search(rb"\$([^#]*)#..", self.buffer)
        self.buffer = self.buffer[answer.end():]
        if answer[1][:1] in b"W" and answer[1]:
            raise Gone
        return answer[1].decode()

    def qmp(self, name, **arguments):
        self.monitor.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self.monitor.flush()
        while True:
            answer = json.loads(self.monitor.readline() or '{"return": null}')
            if "return" in answer:
                return answer["return"]

    def run_to(self, address):
        if self.packet(f"Z1,{address:x},1") != "OK" or self.packet("c")[:3] != "T05":
            stop(f"QEMU does not get to {address:#x}")
        self.packet(f"z1,{address:x},1")

    def step(self):
        self.packet("s")

    def state(self):
        """The state by cpu-follow's names, as numbers."""
        raw = bytes.fromhex(self.packet("g"))
        if len(raw) != 608:
            stop(f"QEMU's gdb stub tells {len(raw)} bytes of registers where 608 are expected")
        state = dict(zip(GPRS + ["rip"], struct.unpack_from("<17Q", raw)))
        words = struct.unpack_from("<7I", raw, 136)
        state["rflags"] = words[0] & ~FLAG_RF
        state.update((f"{name}.selector", word) for name, word in zip(SEGMENTS, words[1:]))
        names = ["fs.base", "gs.base", "kernel_gs_base", "cr0", "cr2", "cr3", "cr4", "cr8", "efer"]
        state.update(zip(names, struct.unpack_from("<9Q", raw, 164)))
        state["fctrl"], state["fstat"] = struct.unpack_from("<2I", raw, 316)
        for n in range(8):  # the stub tells them by number, not from the top of the stack
            at = ((state["fstat"] >> 11) + n) % 8
            state[f"st{n}.low"], state[f"st{n}.high"] = struct.unpack_from("<QH", raw, 236 + 10 * at)
        for n in range(16):
            state[f"xmm{n}.low"], state[f"xmm{n}.high"] = struct.unpack_from("<2Q", raw, 348 + 16 * n)
        state["mxcsr"], = struct.unpack_from("<I", raw, 604)
        return state

    def deep(self):
        text = self.qmp("human-monitor-command", **{"command-line": "info registers"}) or ""
        state = {}
        for name, selector, base, limit, flags in re.findall(
                r"^(\w\w) ?= ?([0-9a-f]{4}) ([0-9a-f]+) ([0-9a-f]{8}) ([0-9a-f]{8})", text, re.M):
            state[f"{name.lower()}.selector"] = int(selector, 16)
            state[f"{name.lower()}.base"] = int(base, 16)
            state[f"{name.lower()}.limit"] = int(limit, 16)
            state[f"{name.lower()}.attr"] = int(flags, 16) >> 8 & 0xf0ff
        for name, selector, base, limit, flags in re.findall(
                r"^(LDT|TR ) ?= ?([0-9a-f]{4}) ([0-9a-f]+) ([0-9a-f]{8}) ([0-9a-f]{8})", text, re.M):
            name = name.strip().lower()
            state.update({f"{name}.selector": int(selector, 16), f"{name}.base": int(base, 16),
                          f"{name}.limit": int(limit, 16), f"{name}.attr": int(flags, 16) >> 8 & 0xf0ff})
        for name, base, limit in re.findall(r"^([GI]DT)= +([0-9a-f]+) ([0-9a-f]{8})", text, re.M):
            state[f"{name.lower()}.base"], state[f"{name.lower()}.limit"] = int(base, 16), int(limit, 16)
        for name, value in re.findall(r"\b(DR[67]|FTW)=([0-9a-f]+)", text):
            state["ftag" if name == "FTW" else name.lower()] = int(value, 16)
        return state

    def msrs(self, state):
        """Reads the MSRs, by RDMSR put for a moment where the processor is; it must be at CPL 0."""
        at = state["rip"] + (0 if state["efer"] & 0x400 and state["cs.attr"] & 0x2000
                             else state["cs.base"])
        code = self.packet(f"m{at:x},3")
        found = {}

        def put(number, value):
            if self.packet(f"P{number:x}={struct.pack('<Q', value).hex()}") != "OK":
                stop("QEMU's gdb stub does not set registers")

        def ask(instruction, index):
            self.packet(f"M{at:x},{len(instruction) // 2:x}:{instruction}")
            put(2, index)
            put(16, state["rip"])
            self.step()
            got = self.state()
            return (got["rdx"] & 0xffffffff) << 32 | got["rax"] & 0xffffffff

        for name, index in MSRS.items():
            found[name] = ask("0f32", index)
        if state["cr4"] & 1 << 18:
            found["xcr0"] = ask("0f01d0", 0)
        self.packet(f"M{at:x},3:{code}")
        for number, name in ((0, "rax"), (2, "rcx"), (3, "rdx"), (16, "rip")):
            put(number, state[name])
        return found


class Follower:
    """cpu-follow, and the file that is its memory."""

    def __init__(self, program, ram_path, bytes_):
        self.process = subprocess.Popen([program, ram_path, str(bytes_)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def ask(self, **line):
        if "set" in line:
            line["set"] = {name: f"{value:x}" for name, value in line["set"].items()}
        try:
            self.process.stdin.write(json.dumps(line) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            stop("cpu-follow has ended")
        answer = json.loads(self.process.stdout.readline() or '{"error": "cpu-follow has ended"}')
        if "error" in answer:
            stop(answer["error"])
        answer["state"] = {name: int(value, 16) for name, value in answer["state"].items()}
        answer["state"]["rflags"] &= ~FLAG_RF
        return answer

    def close(self):
        self.process.kill()
        self.process.stdin.close()
        self.process.wait()


class Memories:
    """Both memories, mapped; video memory and firmware between 640 KiB and 1 MiB are left out."""

    def __init__(self, one, other, bytes_):
        self.parts = [(0, 0xa0000), (0x100000, bytes_ - 0x100000)]
        self.maps = []
        for path in (one, other):
            with open(path, "r+b") as ram:
                self.maps.append(mmap.mmap(ram.fileno(), bytes_))
        self.at = [ctypes.addressof(ctypes.c_char.from_buffer(m)) for m in self.maps]

    def same(self, at, length):
        return LIBC.memcmp(self.at[0] + at, self.at[1] + at, length) == 0

    def differences(self):
        """The 8-byte words that differ, at most 64: [(address, QEMU's, ours)]."""
        found = []
        for start, length in self.parts:
            if self.same(start, length):
                continue
            for page in range(start, start + length, 4096):
                if self.same(page, 4096):
                    continue
                for at in range(page, page + 4096, 8):
                    one, other = (m[at:at + 8] for m in self.maps)
                    if one != other and len(found) < 64:
                        found.append((at, *struct.unpack("<QQ", one + other)))
        return found

    def copy(self):
        """Ours becomes QEMU's, page by page where they differ."""
        for start, length in self.parts:
            for page in range(start, start + length, 4096):
                if not self.same(page, 4096):
                    self.maps[1][page:page + 4096] = self.maps[0][page:page + 4096]


class Lockstep:
    """One run of both from the start; window says between which steps everything is compared."""

    def __init__(self, options, directory, window=(0, 0)):
        self.options, self.window = options, window
        self.bytes = options.memory << 20
        self.known = collections.Counter()
        self.qemu = Qemu(options.qemu_program, options.kernel, directory, options.memory, options.cpu,
                         options.append)
        ours = os.path.join(directory, "our-ram")
        try:
            self.lead = self.begin()
            with open(ours, "wb") as ram:
                ram.truncate(self.bytes)
            self.memories = Memories(self.qemu.ram_path, ours, self.bytes)
            self.memories.copy()
            self.follower = Follower(options.follow, ours, self.bytes)
        except BaseException:
            self.qemu.close()
            raise
        self.ours = self.follower.ask(set=self.lead, memory=True)["state"]

    def close(self):
        self.qemu.close()
        self.follower.close()

    def begin(self):
        """Brings QEMU to the start; its whole state there."""
        self.qemu.run_to(entry_of(self.options.kernel))
        if self.options.start is not None:
            self.qemu.run_to(self.options.start)
        for _ in range(self.options.skip):
            self.qemu.step()
        state = {**self.qemu.state(), **self.qemu.deep()}
        while state["cs.selector"] & 3 and state["cr0"] & 1:  # MSRs can be read at CPL 0 only
            self.qemu.step()
            state = {**self.qemu.state(), **self.qemu.deep()}
        return {**state, **self.qemu.msrs(state)}

    def lead_one(self, text):
        """QEMU executes one instruction, a repeated one to its end."""
        rip = self.lead["rip"]
        before = self.lead
        while True:
            self.qemu.step()
            self.lead = self.qemu.state()
            if self.lead == before and self.ours["rip"] != rip:
                self.qemu.step()  # the stub stops without a step when something else woke QEMU
                self.lead = self.qemu.state()
            again = text.startswith(("rep ", "repe ", "repne ", "repz ", "repnz ")) and \
                self.lead["rip"] == rip and self.lead["rcx"] != before["rcx"]
            if not again:
                return
            before = self.lead

    def copy(self, why, text, names=None, memory=False):
        """Takes QEMU's word for these parts of the state."""
        self.known[f"{text.split()[0]}: {why}"] += 1
        values = {name: value for name, value in self.lead.items()
                  if (not names or name in names) and not self.untold(name)}
        if memory:
            self.memories.copy()
        self.ours = self.follower.ask(set=values, memory=memory)["state"]

    def untold(self, name):
        """Outside 64-bit code the stub tells zeros for what only 64-bit code can name."""
        wide = self.lead["efer"] & 0x400 and self.ours["cs.attr"] & 0x2000
        return not wide and (name in GPRS[8:] or re.match(r"xmm([89]|1.)\.", name))

    def compare_shallow(self, undefined):
        found = {}
        for name, value in self.lead.items():
            mask = ~undefined if name == "rflags" else ~0
            if not self.untold(name) and (value ^ self.ours[name]) & mask:
                found[name] = (value, self.ours[name])
        return found

    def compare_memory(self):
        return [f"memory at {at:#x}: QEMU {one:#x}, ours {other:#x}"
                for at, one, other in self.memories.differences()]

    def compare_deep(self, exception):
        """What the gdb stub does not tell. Returns lines of text."""
        lines = []
        for name, value in self.qemu.deep().items():
            hidden = name.split(".")[0]
            unused = "." in name and hidden not in ("gdt", "idt") and \
                not self.lead.get(f"{hidden}.selector", 1) & ~3
            mask = 0xf0ff if name.endswith(".attr") else ~0
            if not unused and (value ^ self.ours[name]) & mask:
                lines.append(f"{name}: QEMU {value:#x}, ours {self.ours[name]:#x}")
        reason = self.known_words(exception, self.memories.differences())
        if reason:
            self.known[reason] += 1
            self.memories.copy()
            self.follower.ask(memory=True)
        return lines + self.compare_memory()

    def known_words(self, exception, words):
        """Why these words of memory may differ after an exception, or None."""
        if words and exception == 14 and all(one ^ other == 0x20 and one & 0x20
                                             for _, one, other in words):
            return "page fault: accessed bits on the way to it (docs/cpu.md)"
        if len(words) == 1 and exception is not None and words[0][2] == words[0][1] | FLAG_RF:
            return "fault: QEMU pushes no RF (SDM vol. 3 17.3.1.1 wants it)"
        return None

    def one(self, number):
        """One instruction in both. None, or (text, what differs)."""
        self.before = dict(self.ours)
        answer = self.follower.ask(step=True)
        text, self.ours = answer["text"], answer["state"]
        self.text = text
        self.lead_one(text)
        found = self.compare_shallow(int(answer["undefined"], 16))
        source = SOURCES.get(text.split()[0]) or ("a device" if answer["device"] else None)
        if source and self.lead["rip"] == self.ours["rip"]:
            strings = text.split()[0].startswith(("rep", "movs", "ins"))
            self.copy(source, text, memory=strings)
            found = {}
        elif list(found) == ["fstat"] and found["fstat"][0] ^ found["fstat"][1] == FSTAT_C1:
            self.copy("QEMU says not in C1 which way it rounded (SDM vol. 1 8.1.3.3)", text, ["fstat"])
            found = {}
        elif not found and self.ours["rflags"] != self.lead["rflags"]:
            self.copy("undefined flags", text, ["rflags"])
        lines = [f"{name}: QEMU {one:#x}, ours {other:#x}" for name, (one, other) in found.items()]
        if answer.get("exit") and not lines:
            lines = [f"our processor ends here: {answer['exit']}"]
        deep = number % CHECKPOINT == 0 or self.window[0] < number <= self.window[1] or \
            "exception" in answer
        if not lines and deep:
            lines = self.compare_deep(answer.get("exception"))
        return (text, lines) if lines else None


def entry_of(path):
    """The PVH entry of an ELF file, or the classic one of a flat bzImage at 1 MiB."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:4] != b"\x7fELF":
        return 0x100000
    wide = data[4] == 2
    table, = struct.unpack_from("<Q" if wide else "<I", data, 32 if wide else 28)
    size, count = struct.unpack_from("<HH", data, 54 if wide else 42)
    for number in range(count):
        at = table + number * size
        kind, = struct.unpack_from("<I", data, at)
        offset, = struct.unpack_from("<Q" if wide else "<I", data, at + (8 if wide else 4))
        length, = struct.unpack_from("<Q" if wide else "<I", data, at + (32 if wide else 16))
        while kind == 4 and length >= 12:  # PT_NOTE
            name, desc, note = struct.unpack_from("<III", data, offset)
            if note == 18 and data[offset + 12:offset + 15] == b"Xen":
                return struct.unpack_from("<I", data, offset + 12 + (name + 3) // 4 * 4)[0]
            whole = 12 + (name + 3) // 4 * 4 + (desc + 3) // 4 * 4
            offset, length = offset + whole, length - whole
    stop(f"{path} has no PVH entry")


def report(run, number, text, lines):
    print(f"first difference: instruction {number} at {run.before['rip']:#x}: {text}")
    names = GPRS + ["rflags", "cr0", "cr2", "cr3", "cr4"]
    print("  before it: " + " ".join(f"{name}={run.before[name]:#x}" for name in names))
    for line in lines:
        print(f"  {line}")


def follow(run, steps):
    """(instructions done, how it ended, last number without a difference, the difference or None)."""
    good, number, end = 0, 0, "that many were asked for"
    while number < steps:
        try:
            wrong = run.one(number + 1)
        except Gone:
            lines = run.compare_memory()
            return number, "QEMU has ended", good, (run.text, lines) if lines else None
        number += 1
        if wrong:
            return number, None, good, wrong
        if run.text.startswith("hlt"):  # it would wait for an interrupt, which nobody sends
            end = "the guest halts"
            break
        if number % CHECKPOINT == 0:
            good = number
    lines = run.compare_deep(None)
    return number, end, good, (run.text, lines) if lines else None


def found_late(lines):
    """What only a deep comparison shows may be older than the instruction it was found at."""
    return all(line.startswith("memory") or "." in line.split(":")[0] for line in lines)


def run_once(options, window):
    """A run from the start: (the run, and what follow() says)."""
    with tempfile.TemporaryDirectory(prefix="lodge-lockstep-") as directory:
        run = Lockstep(options, directory, window)
        try:
            return run, *follow(run, options.steps)
        finally:
            run.close()


def compare(options):
    """Exit status: 0 no difference, 1 a difference."""
    run, number, end, good, wrong = run_once(options, (0, options.steps if options.deep else 0))
    if wrong and not options.deep and found_late(wrong[1]):
        again, at, _, _, exact = run_once(options, (good, number))
        if exact:
            run, number, wrong = again, at, exact
        else:
            print(f"a difference between instructions {good} and {number} does not come twice:")
    if wrong:
        report(run, number, *wrong)
    else:
        print(f"no difference in {number} instructions; ended because {end}")
    for what, count in sorted(run.known.items()):
        print(f"  known: {what}: {count} times, copied from QEMU")
    return 1 if wrong else 0


def main(options):
    options.qemu_program = shutil.which(options.qemu)
    if not options.qemu_program:
        stop(f"{options.qemu} is not installed (Debian: qemu-system-x86)")
    return compare(options)
