#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What stock Debian makes of our devices: disks that shrink, consoles, channels, fw_cfg, panic
notifiers, watchdogs.

    test-devices.py --vmm build/lodge-vmm --logs DIR
"""
import argparse
import base64
import hashlib
import os
import random
import re
import subprocess
import tempfile
import time

from guest import (CONSOLE, MIB, PATIENCE, Boot, check_ended, check_filesystem, command, copy_disk,
                   guest_file, log_in, tap, text, tool)

options = None
HERE = os.path.dirname(os.path.abspath(__file__))
CHANNEL = "org.lodge.test.0"
FILE = "opt/org.lodge/test"
CONTENT = b"what the owner said\n"
PORT = f"/dev/virtio-ports/{CHANNEL}"


def receive(end, count):
    """Exactly count bytes from a socket."""
    end.settimeout(PATIENCE)
    got = b""
    while len(got) < count:
        piece = end.recv(min(count - len(got), 65536))
        assert piece, f"the channel ended after {len(got)} of {count} bytes"
        got += piece
    return got


def receive_until(end, mark):
    end.settimeout(PATIENCE)
    got = b""
    while mark not in got:
        piece = end.recv(4096)
        assert piece, f"the console ended: {got}"
        got += piece
    return text(got)


def use_console(vm):
    """A second terminal, with a login of its own and the size of the one that shows it."""
    end = vm.ports["hvc0"]
    receive_until(end, b"login: ")
    end.sendall(b"root\n")
    receive_until(end, b"~# ")
    end.sendall(b"tty; echo seen $((6 * 7))\n")
    assert "/dev/hvc0" in receive_until(end, b"seen 42")
    assert "30 100" in command(vm, "stty size </dev/hvc0", "size")
    assert vm.qmp().command("console-resize", id="hvc0", columns=132, rows=50) == {"return": {}}
    assert "50 132" in command(vm, "stty size </dev/hvc0", "size")


def use_channel(vm):
    end = vm.ports[CHANNEL]
    assert CHANNEL in " ".join(command(vm, "ls /dev/virtio-ports", "ports"))
    # lines there and back
    command(vm, f"while read -r line; do echo back $line; [ $line = end ] && break; done"
                f" <>{PORT} >&0 & true", "echo")
    for line in (b"one", b"two", b"end"):
        end.sendall(line + b"\n")
        assert receive(end, 6 + len(line)) == b"back " + line + b"\n"
    command(vm, "wait", "echoed")
    # much in each direction, unharmed
    data = random.Random(1).randbytes(1 << 20)
    command(vm, f"head -c {len(data)} <{PORT} >/root/data & true", "receive")
    end.sendall(data)
    assert hashlib.sha256(data).hexdigest() in " ".join(command(vm, "wait; sha256sum /root/data",
                                                                "received"))
    # a reader that sleeps holds up who writes more than the queue has room for (128 times 32 KiB,
    # as Linux sends it), and nobody else
    command(vm, f"cat {'/root/data ' * 8}>{PORT} & true", "send")
    assert command(vm, "seq 3", "meanwhile")[:3] == ["1", "2", "3"]
    assert "Running" in " ".join(command(vm, "jobs", "jobs"))
    assert receive(end, 8 * len(data)) == 8 * data
    command(vm, "wait", "sent")


def use_fw_cfg(vm):
    entry = f"/sys/firmware/qemu_fw_cfg/by_name/{FILE}"
    assert CONTENT.decode().strip() in command(vm, f"cat {entry}/raw", "raw")
    assert str(len(CONTENT)) in command(vm, f"cat {entry}/size", "bytes")
    assert "3" in command(vm, "cat /sys/firmware/qemu_fw_cfg/rev", "rev")


def panic(vm, logs):
    """Its last words reach us, and what ends it is not an idle guest or a reboot."""
    qmp = vm.qmp()
    vm.send(b"echo c >/proc/sysrq-trigger\n")
    qmp.wait_event("GUEST_PANICKED", PATIENCE)
    event = next(e for e in qmp.events if e["event"] == "GUEST_PANICKED")
    assert event["data"]["action"] == "poweroff", event
    assert vm.wait(PATIENCE) == 4
    with open(os.path.join(logs, "devices-debian.log")) as log:
        assert "the guest crashed: its kernel panicked" in log.read()


class Disk:
    """A file of random bytes that a guest has as its disk, and what it should hold by now."""

    def __init__(self, directory, name, mib):
        self.path = os.path.join(directory, name)
        self.content = bytearray(random.Random(name).randbytes(mib * MIB))
        with open(self.path, "wb") as file:
            file.write(self.content)
            os.fsync(file.fileno())

    def zero(self, offset, count):
        self.content[offset:offset + count] = bytes(count)

    def allocated(self):
        """Bytes of the file that take room on the host."""
        return os.stat(self.path).st_blocks * 512

    def check(self, vm, device):
        """The guest, past its own cache, and the host read what should be there."""
        right = hashlib.sha256(self.content).hexdigest()
        with open(self.path, "rb") as file:
            assert hashlib.sha256(file.read()).hexdigest() == right, f"the host's {device}"
        lines = command(vm, f"dd if={device} bs=1M iflag=direct status=none | sha256sum", "sum")
        assert right in " ".join(lines), f"the guest's {device}: {lines}"


def succeeds(vm, line):
    return "status 0" in " ".join(command(vm, f"{line}; echo status $?", "done"))


def give_back(vm, device, disk):
    """Discarded blocks are the host's again and read as zeros; all others are as they were."""
    before = disk.allocated()
    assert succeeds(vm, f"blkdiscard -o {4 * MIB} -l {8 * MIB} {device}")
    disk.zero(4 * MIB, 8 * MIB)
    after = disk.allocated()
    assert after <= before - 8 * MIB, f"{before} bytes before, {after} after blkdiscard"
    disk.check(vm, device)


def write_zeros(vm, device, disk, offset):
    """They are there, and the file keeps its blocks: BLKZEROOUT does not let them go."""
    before = disk.allocated()
    assert succeeds(vm, f"blkdiscard -z -o {offset} -l {3 * MIB} {device}")
    disk.zero(offset, 3 * MIB)
    disk.check(vm, device)
    assert disk.allocated() >= before, f"{before} bytes before, {disk.allocated()} after zeroing"


def keep(vm, device, disk):
    """discard='ignore': the guest is not offered to give blocks back."""
    before = disk.allocated()
    assert not succeeds(vm, f"blkdiscard -o {4 * MIB} -l {8 * MIB} {device}")
    disk.check(vm, device)
    write_zeros(vm, device, disk, MIB + 512)
    assert disk.allocated() >= before


def trim(vm, device, disk):
    """A file system tells of its deleted files."""
    random_mib = "dd if=/dev/urandom bs=1M status=none count="
    assert succeeds(vm, f"mount {device} /mnt && {random_mib}20 of=/mnt/goes && "
                    f"{random_mib}4 of=/mnt/stays && sync")
    kept = command(vm, "sha256sum /mnt/stays", "kept")[0]
    # what mkfs left alone is the file's old bytes, and free: with the deleted file, nearly all
    before = disk.allocated()
    assert succeeds(vm, "rm /mnt/goes && fstrim -v /mnt")
    after = disk.allocated()
    assert after <= before - 20 * MIB, f"{before} bytes before, {after} after fstrim"
    assert succeeds(vm, f"umount /mnt && mount {device} /mnt && echo 3 >/proc/sys/vm/drop_caches")
    assert command(vm, "sha256sum /mnt/stays", "same")[0] == kept
    assert succeeds(vm, "umount /mnt")
    check_filesystem(disk.path)


def test_disks_give_blocks_back():
    with tempfile.TemporaryDirectory(prefix="lodge-disk-") as directory:
        root = copy_disk(guest_file("debian"), directory)
        gives, keeps, trims = (Disk(directory, name, mib)
                               for name, mib in (("gives", 24), ("keeps", 24), ("trims", 64)))
        subprocess.run([tool("mkfs.ext4"), "-q", "-F", "-E", "nodiscard", trims.path], check=True)
        with Boot(options, "devices-discard", guest_file("kernel", "cloud"),
                  initrd=guest_file("initrd", "cloud"), keeps=(keeps.path,),
                  disks=[root, gives.path, keeps.path, trims.path],
                  append=CONSOLE + "root=/dev/vda lodge.more") as vm:
            log_in(vm)
            give_back(vm, "/dev/vdb", gives)
            write_zeros(vm, "/dev/vdb", gives, 16 * MIB + 512)
            keep(vm, "/dev/vdc", keeps)
            trim(vm, "/dev/vdd", trims)
            vm.send(b"poweroff\n")
            check_ended(vm)


def test_debian_finds_its_devices():
    with tempfile.TemporaryDirectory(prefix="lodge-disk-") as directory:
        disk = copy_disk(guest_file("debian"), directory)
        with Boot(options, "devices-debian", guest_file("kernel", "cloud"),
                  initrd=guest_file("initrd", "cloud"), disks=[disk], ports=["hvc0", CHANNEL],
                  devices=[{"type": "pvpanic", "id": "panic0"},
                           {"type": "fw-cfg-file", "id": "fwcfg0", "name": FILE,
                            "data": base64.b64encode(CONTENT).decode()}],
                  append=CONSOLE + "root=/dev/vda lodge.more") as vm:
            log_in(vm)
            use_console(vm)
            use_channel(vm)
            use_fw_cfg(vm)
            panic(vm, options.logs)


# A shell that asks its terminal nothing, so that no key is lost.
PLAIN_SHELL = 'lodge.run="stty -echo; echo ready; IFS=; while read -r line; do eval $line; done" '


def at_shell(vm):
    assert vm.wait_for(b"\nready\r\n", PATIENCE), "no shell"


def bite(vm, qmp, identity):
    """Opens the watchdog of that name, feeds it once, and waits for what it does."""
    lines = command(vm, "grep -H . /sys/class/watchdog/*/identity", "names")
    device = next(line.split("/")[4] for line in lines if identity in line)
    qmp.events.clear()
    vm.send(f"watchdog -T 3 -t 1000 -F /dev/{device} &\n".encode())
    qmp.wait_event("WATCHDOG", PATIENCE)
    event = next(e for e in qmp.events if e["event"] == "WATCHDOG")
    assert event["data"] == {"action": "reset"}, event
    qmp.wait_event("RESET", PATIENCE)


def test_watchdogs_bite():
    """The generic kernel has drivers for both. After the first one the guest starts over."""
    esb = {"type": "i6300esb", "id": "watchdog0", "bus": 0, "slot": 30, "function": 0}
    notifier = {"type": "pvpanic-pci", "id": "panic0", "bus": 0, "slot": 29, "function": 0}
    with Boot(options, "devices-watchdogs", guest_file("kernel", "generic"),
              initrd=guest_file("initrd", "generic"), devices=[esb, notifier],
              lifecycle={"poweroff": "destroy", "reboot": "restart", "crash": "preserve",
                         "watchdog": "reset"},
              append=CONSOLE + PLAIN_SHELL + "lodge.more") as vm:
        qmp = vm.qmp()
        at_shell(vm)
        assert "pvpanic-pci" in " ".join(command(vm, "ls /sys/bus/pci/drivers", "drivers"))
        bite(vm, qmp, "iTCO_wdt")
        vm.output = b""
        at_shell(vm)
        bite(vm, qmp, "i6300ESB")
        # a panic by the other notifier, on_crash being preserve: paused until it is reset
        vm.output = b""
        at_shell(vm)
        vm.send(b"echo c >/proc/sysrq-trigger\n")
        qmp.wait_event("GUEST_PANICKED", PATIENCE)
        qmp.wait_event("STOP", PATIENCE)
        assert qmp.command("query-status")["return"]["status"] == "guest-panicked"
        assert vm.process.poll() is None
        qmp.command("quit")
        assert vm.wait(PATIENCE) == 5


def carrier(vm, card, wanted):
    """Waits until the guest's kernel has been told."""
    command(vm, f"until [ $(cat /sys/class/net/{card}/carrier) = {wanted} ]; do :; done", f"{card}-{wanted}")


def test_links():
    """Cards as the plan has them, and as the monitor changes them while the kernel looks."""
    cards = [{"type": "virtio-net", "id": f"net{i}", "bus": 0, "slot": 28 + i, "function": 0,
              "mac": f"52:54:00:12:34:{i:02x}", "link": link} for i, link in enumerate((True, False))]
    with Boot(options, "devices-links", guest_file("kernel", "cloud"), initrd=guest_file("initrd", "cloud"),
              devices=cards, append=CONSOLE + PLAIN_SHELL) as vm:
        qmp = vm.qmp()
        at_shell(vm)
        vm.send(b"ip link set eth0 up; ip link set eth1 up\n")
        for first, second in (1, 0), (0, 0), (0, 1), (1, 1):
            for card, up in ("net0", first), ("net1", second):
                assert qmp.command("set_link", name=card, up=bool(up)) == {"return": {}}
            carrier(vm, "eth0", first)
            carrier(vm, "eth1", second)
        qmp.command("quit")
        assert vm.wait(PATIENCE) == 5


def all_keys():
    """The numbers of those that the keyboard has."""
    with open("/usr/include/linux/input-event-codes.h") as header:
        numbers = dict(re.findall(r"^#define (KEY_\w+)\s+(\d+)", header.read(), re.M))
    with open(os.path.join(HERE, "../../src/base/keycodes.c")) as source:
        return [int(numbers[name]) for name in re.findall(r"^\t\{ (KEY_\w+), 0x", source.read(), re.M)]


def send(qmp, keys):
    """Until the guest has room for them."""
    end = time.monotonic() + PATIENCE
    while True:
        answer = qmp.command("send-key", keys=keys, **{"hold-time": 1})
        if answer == {"return": {}}:
            return
        assert "does not read its keyboard" in answer["error"]["desc"] and time.monotonic() < end, answer
        time.sleep(0.1)


def test_keys():
    """Each key is to Linux what it is to us; and three of them at once start it over."""
    keys = all_keys()
    assert len(keys) > 120
    with Boot(options, "devices-keys", guest_file("kernel", "cloud"), initrd=guest_file("initrd", "cloud"),
              lifecycle={"poweroff": "destroy", "reboot": "destroy", "crash": "destroy", "watchdog": "reset"},
              append=CONSOLE + PLAIN_SHELL) as vm:
        qmp = vm.qmp()
        at_shell(vm)
        name = command(vm, "grep -l 'AT Translated Set 2' /sys/class/input/event*/device/name", "name")[0].split("/")[4]
        vm.send(f"cat /dev/input/{name} >/tmp/events & until ls -l /proc/$!/fd 2>/dev/null | grep -q {name}; do :; done; "
                "echo listening\n".encode())
        assert vm.wait_for(b"\nlistening\r\n", PATIENCE)
        seen = "hexdump -v -e '24/1 \"%02x\" \"\\n\"' /tmp/events | cut -c 33- | grep '^0100'"
        keys.append(keys[0])  # the last one is let go by another
        for i in range(0, len(keys), 6):  # as many as the kernel keeps for a reader that is late
            for key in keys[i:i + 6]:
                send(qmp, [key])
            count = 2 * len(keys[:i + 6])
            vm.send(f"until [ $({seen} | wc -l) -ge {count} ]; do :; done; echo {count} are there\n".encode())
            assert vm.wait_for(f"\n{count} are there\r\n".encode(), PATIENCE), command(vm, seen, "events")
        told = [(int(line[6:8] + line[4:6], 16), int(line[8:10])) for line in command(vm, seen, "events") if line.startswith("0100")]
        assert told == [(key, down) for key in keys for down in (1, 0)], told
        for arguments in ({}, {"keys": []}, {"keys": [0]}, {"keys": [300]}, {"keys": ["a"]}, {"keys": [30] * 17},
                          {"keys": [30], "hold-time": -1}, {"keys": [30], "hold-time": 600001}):
            assert "desc" in qmp.command("send-key", **arguments)["error"], arguments
        send(qmp, [29, 56, 111])
        assert vm.wait(PATIENCE) == 3, "Ctrl-Alt-Del"


def main():
    global options
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--logs", required=True)
    parser.add_argument("--engine", default="soft")
    options = parser.parse_args()
    tap.main(globals())


if __name__ == "__main__":
    main()
