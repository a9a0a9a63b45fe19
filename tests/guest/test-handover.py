#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A running guest moves from KVM to the software CPU and back, and notices nothing but time.

    test-handover.py --lodge build/lodge --logs DIR [--moves N]

Two vCPUs compute checksums and sums of fractions over and over; a TCP connection from the host
echoes lines meanwhile, also while the guest moves. Runs where /dev/kvm is (under-kvm.py).
"""
import argparse
import glob
import os
import re
import socket
import subprocess
import tempfile
import threading
import time

from guest import PATIENCE, bad_lines, guest_file, tap, text
from runvm import Qmp, die_with_parent

PORT = 17777
# No double quotes: it stands inside some on the kernel's command line.
WORK = ("n=0; bad=0; while [ -e /tmp/go ]; do n=$((n + 1));"
        " [ $(sha256sum </tmp/d | cut -c1-64) = $good ] || bad=$((bad + 1));"
        " [ $(awk 'BEGIN { for (i = 1; i < 900; i++) s += 1 / i; print s }') = $sum ] ||"
        " bad=$((bad + 1)); done; echo worker: rounds $n wrong $bad")
# Two processors of the software CPU share the one that QEMU emulates: a guest would take that for a stall.
SLOW = "rcupdate.rcu_cpu_stall_timeout=300 "
SCRIPT = ("ip addr add 10.0.2.15/24 dev eth0; ip link set eth0 up; touch /tmp/go; seq 1 2000 >/tmp/d;"
          " good=$(sha256sum </tmp/d | cut -c1-64);"
          " sum=$(awk 'BEGIN { for (i = 1; i < 900; i++) s += 1 / i; print s }');"
          f" {{ {WORK}; }} & {{ {WORK}; }} & echo cpus: $(nproc); grep ^flags /proc/cpuinfo | head -n 1;"
          " echo serving; nc -l -p 7777 -e cat; echo served; rm /tmp/go; wait; echo now: $(date +%s);"
          " cat /proc/interrupts")

options = None


class Echo(threading.Thread):
    """Sends numbered lines and expects each back, until it is stopped."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.create_connection(("127.0.0.1", PORT), timeout=PATIENCE)
        self.going, self.count, self.wrong = True, 0, None

    def run(self):
        file = self.socket.makefile("rb")
        while self.going:
            line = b"line %d %s\n" % (self.count, b"x" * (self.count % 900))
            self.socket.sendall(line)
            back = file.readline()
            if back != line:
                self.wrong = (line, back)
                return
            self.count += 1
            time.sleep(0.01)

    def stop(self):
        self.going = False
        self.join(PATIENCE)
        self.socket.close()


class Guest:
    """lodge run, with its console in .output and its monitor in .qmp()."""

    def __init__(self, directory):
        environment = {**os.environ, "XDG_RUNTIME_DIR": directory, "XDG_STATE_HOME": directory}
        self.directory = directory
        self.output = b""
        self.process = subprocess.Popen(
            [options.lodge, "run", "--engine", "kvm", "--movable", "--cpus", "2", "--memory", "256M",
             "--net", "user", "--forward", f"127.0.0.1:{PORT}:7777", "--name", "mover",
             "--kernel", guest_file("kernel", "cloud"), "--initrd", guest_file("initrd", "cloud"),
             "--append", f'console=ttyS0 panic=-1 quiet mitigations=off {SLOW}lodge.run="{SCRIPT}"'],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, preexec_fn=die_with_parent)
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        while True:
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                return
            self.output += data

    def wait_for(self, mark):
        end = time.monotonic() + PATIENCE
        while mark not in self.output and self.process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        assert mark in self.output, text(self.output)[-3000:]

    def qmp(self):
        return Qmp(glob.glob(os.path.join(self.directory, "**", "monitor*"), recursive=True)[0])

    def log(self):
        paths = glob.glob(os.path.join(self.directory, "**", "*.log"), recursive=True)
        return "".join(open(path).read() for path in paths)


def move(qmp, name, echo):
    """Moves the guest there; it goes on serving."""
    answer = qmp.command("move-engine", to=name)
    assert answer == {"return": {}}, answer
    assert qmp.command("query-engine")["return"] == {"name": name, "movable": True}
    before = echo.count
    end = time.monotonic() + PATIENCE
    while echo.count < before + 5 and not echo.wrong and time.monotonic() < end:
        time.sleep(0.02)
    assert echo.count >= before + 5 and not echo.wrong, (name, before, echo.count, echo.wrong)


def judge(guest):
    console = text(guest.output)
    bad = bad_lines(console)
    assert not bad, bad
    workers = re.findall(r"worker: rounds (\d+) wrong (\d+)", console)
    assert len(workers) == 2 and all(int(n) > options.moves and bad == "0" for n, bad in workers), workers
    now = int(re.search(r"^now: (\d+)$", console, re.M)[1])
    assert "lodge-guest: status 0" in console
    stood = [float(ms) for ms in re.findall(r"the guest stood for ([\d.]+) ms", guest.log())]
    assert len(stood) == options.moves, stood
    assert max(stood) < 1000, stood
    print(f"# rounds {[n for n, _ in workers]}, stood for {stood} ms")
    return now, stood


def test_moves_go_unnoticed():
    with tempfile.TemporaryDirectory(prefix="lodge-") as directory:
        guest = Guest(directory)
        try:
            guest.wait_for(b"serving")
            echo = Echo()
            echo.start()
            qmp = guest.qmp()
            assert qmp.command("query-engine")["return"] == {"name": "kvm", "movable": True}
            assert "error" in qmp.command("move-engine", to="warp")
            for count in range(options.moves):
                move(qmp, "kvm" if count % 2 else "soft", echo)
            echo.stop()
            assert not echo.wrong and echo.count >= 5 * options.moves, (echo.wrong, echo.count)
            print(f"# {echo.count} lines echoed")
            guest.wait_for(b"lodge-guest: status")
            wall = time.time()
            assert guest.process.wait(PATIENCE) == 0, text(guest.output)
            guest.reader.join(PATIENCE)
            now, stood = judge(guest)
            assert abs(wall - now) < 60, (wall, now)  # it stood, and its clock with it
        finally:
            guest.process.kill()
            guest.process.wait()
            os.makedirs(options.logs, exist_ok=True)
            with open(os.path.join(options.logs, "handover.console"), "wb") as file:
                file.write(guest.output + guest.log().encode())


def main():
    global options
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lodge", required=True)
    parser.add_argument("--logs", required=True)
    parser.add_argument("--moves", type=int, default=10)
    options = parser.parse_args()
    tap.main(globals())


if __name__ == "__main__":
    main()
