#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What stock Debian makes of our devices: consoles, channels.

    test-devices.py --vmm build/lodge-vmm --logs DIR
"""
import argparse
import hashlib
import os
import random
import tempfile

from guest import CONSOLE, PATIENCE, Boot, command, copy_disk, guest_file, log_in, tap, text

options = None
CHANNEL = "org.lodge.test.0"
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
    # a reader that sleeps holds up who writes to it, and nobody else
    command(vm, f"cat /root/data /root/data /root/data /root/data >{PORT} & true", "send")
    assert command(vm, "seq 3", "meanwhile")[:3] == ["1", "2", "3"]
    assert "Running" in " ".join(command(vm, "jobs", "jobs"))
    assert receive(end, 4 * len(data)) == 4 * data
    command(vm, "wait", "sent")


def test_debian_finds_its_devices():
    with tempfile.TemporaryDirectory(prefix="lodge-disk-") as directory:
        disk = copy_disk(guest_file("debian"), directory)
        with Boot(options, "devices-debian", guest_file("kernel", "cloud"),
                  initrd=guest_file("initrd", "cloud"), disks=[disk], ports=["hvc0", CHANNEL],
                  append=CONSOLE + "root=/dev/vda lodge.more") as vm:
            log_in(vm)
            use_console(vm)
            use_channel(vm)
            vm.send(b"poweroff\n")
            assert vm.wait(PATIENCE) == 0


def main():
    global options
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--logs", required=True)
    options = parser.parse_args()
    tap.main(globals())


if __name__ == "__main__":
    main()
