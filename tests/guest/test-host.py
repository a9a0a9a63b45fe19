#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest process as the host meets it: what it may do.

    test-host.py --vmm build/lodge-vmm --logs DIR [--unconfined]
"""
import argparse
import contextlib
import os
import pwd
import tempfile

from guest import CONSOLE, PATIENCE, Boot, guest_file, tap

options = None


def boot(name, append="", **settings):
    """A busybox guest that stays at its shell."""
    return Boot(options, f"host-{name}", guest_file("kernel", "cloud"),
                initrd=guest_file("busybox"), append=CONSOLE + append, **settings)


@contextlib.contextmanager
def empty_disk(mib=4):
    with tempfile.NamedTemporaryFile(prefix="lodge-disk-") as disk:
        disk.truncate(mib << 20)
        yield disk.name


def at_shell(vm):
    assert vm.wait_for(b"\n/ # ", PATIENCE), "no shell"


def statuses(pid):
    """{thread's name: its lines of /proc/PID/task/TID/status as a dictionary}"""
    threads = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status") as text:
            lines = dict(line.rstrip("\n").split(":\t", 1) for line in text if ":\t" in line)
        threads[f"{lines['Name']} {task}"] = lines
    return threads


def test_every_thread_is_confined():
    if options.unconfined:
        raise tap.Skip("a sanitizer's run-time needs what confinement forbids")
    with empty_disk() as disk, boot("confined", vcpus=2, disks=[disk]) as vm:
        at_shell(vm)
        threads = statuses(vm.process.pid)
        assert len(threads) >= 6, threads.keys()
        nobody = str(pwd.getpwnam("nobody").pw_uid)
        for name, lines in threads.items():
            assert lines["Seccomp"] == "2", f"thread {name} is not filtered"
            assert lines["NoNewPrivs"] == "1", f"thread {name} may gain privileges"
            if os.geteuid() == 0:
                assert lines["Uid"].split() == [nobody] * 4, f"thread {name} is root"
                assert not lines["Groups"].split(), f"thread {name} has groups"
                assert int(lines["CapPrm"], 16) == 0, f"thread {name} has capabilities"
        vm.send(b"busybox dd if=/dev/zero of=/dev/vda bs=64k count=16 conv=fsync; poweroff -f\n")
        assert vm.wait(PATIENCE) == 0


def main():
    global options
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--logs", required=True)
    parser.add_argument("--unconfined", action="store_true")
    options = parser.parse_args()
    tap.main(globals())


if __name__ == "__main__":
    main()
