#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Works a Debian guest hard: processors and timers, disks that are verified, a VMM that is killed.

    test-torture.py --vmm build/lodge-vmm --logs DIR WHAT

WHAT: stress  stress-ng, a minute, 2 vCPUs
      disk    fio with verification; lodge-vmm killed while fio writes
      slow    stress-ng for five minutes with 4 vCPUs, then whole classes of its stressors; fio with
              more data, ten kills

What stress-ng and fio say at their end is printed as TAP comments.
"""
import argparse
import os
import re
import subprocess
import tempfile

from guest import (CONSOLE, PATIENCE, Boot, bad_lines, check_ended, check_filesystem, command,
                   copy_disk, guest_file, log_in, tap, text, tool)


def boot(options, name, disks, vcpus, memory_mib=1024):
    """A Debian guest with the test programs, as Boot()."""
    kernel, initrd = guest_file("kernel", "cloud"), guest_file("initrd", "cloud")
    return Boot(options, name, kernel, initrd=initrd, vcpus=vcpus, memory_mib=memory_mib, disks=disks,
                append=CONSOLE + "root=/dev/vda")


def run(vm, line, mark):
    """Runs a command in the guest; fails unless its status is 0. What it printed."""
    output = command(vm, f"{line}; echo status $?", mark)
    assert "status 0" in output, f"failed: {line}: {output}"
    for said in output[:-2]:
        print(f"# {said}")
    return "\n".join(output)


def power_off(vm, disk):
    vm.send(b"poweroff\n")
    check_ended(vm)
    check_filesystem(disk)


def stress(options, vcpus, arguments):
    with tempfile.TemporaryDirectory(prefix="lodge-disk-") as directory:
        disk = copy_disk(guest_file("debian-test"), directory)
        with boot(options, f"stress-{vcpus}", [disk], vcpus) as vm:
            log_in(vm)
            said = run(vm, f"stress-ng {arguments} --verify --metrics-brief", "stress")
            assert "successful run completed" in said
            power_off(vm, disk)


# Some stressors are in several of them. A run for each: what one leaves behind is not there in the next.
CLASSES = ("cpu", "vm", "memory", "interrupt", "scheduler")
# Linux lets one of them at a time read its trace, and have so much of a processor.
ALONE = ("uprobe", "cyclic")


def stress_classes(options, vcpus):
    """All stressors of a class one after the other, each a second on all processors."""
    with tempfile.TemporaryDirectory(prefix="lodge-disk-") as directory:
        disk = copy_disk(guest_file("debian-test"), directory)
        with boot(options, f"classes-{vcpus}", [disk], vcpus, memory_mib=2048) as vm:
            log_in(vm)
            run(vm, "cd /root", "folder")
            for name in CLASSES:
                said = run(vm, f"stress-ng --class {name} --sequential {vcpus} -t 1 --verify"
                           f" --exclude {','.join(ALONE)}", name)
                assert "successful run completed" in said
            for name in ALONE:
                said = run(vm, f"stress-ng --{name} 1 -t 1 --verify", name)
                assert "successful run completed" in said
            power_off(vm, disk)


# Each verifies what it has written. Several jobs at once keep all queues busy.
FIO_JOBS = {
    "direct": "--rw=randwrite --direct=1 --ioengine=libaio --iodepth=16 --bsrange=4k-64k --numjobs=4",
    "direct-mixed": "--rw=randrw --direct=1 --ioengine=libaio --iodepth=8 --bs=8k --numjobs=2",
    "cached-fsync": "--rw=randwrite --direct=0 --ioengine=psync --fsync=32 --bs=4k --numjobs=2",
    "sequential": "--rw=write --direct=1 --ioengine=libaio --iodepth=4 --bs=1m --numjobs=2",
}


def fio_line(job, mib):
    return (f"fio --name={job} --directory=/root/fio --size={mib}m {FIO_JOBS[job]}"
            " --verify=crc32c --verify_fatal=1 --verify_state_save=0 --randseed=7"
            " --group_reporting --eta=never --output=/tmp/fio")


def fio_verify(options, vcpus, mib):
    with tempfile.TemporaryDirectory(prefix="lodge-disk-") as directory:
        disk = copy_disk(guest_file("debian-test"), directory)
        with boot(options, f"fio-{vcpus}", [disk], vcpus) as vm:
            log_in(vm)
            run(vm, "mkdir /root/fio", "mkdir")
            for job in FIO_JOBS:
                run(vm, fio_line(job, mib) + "; s=$?; grep -E 'err=|io=' /tmp/fio;"
                    " rm -f /root/fio/*; [ $s = 0 ]", job)
            power_off(vm, disk)


WRITER = ("mkdir -p /root/fio /root/ack; while :; do " + fio_line("direct", 16) +
          " >/dev/null 2>&1; " + fio_line("cached-fsync", 8) + " >/dev/null 2>&1; done &"
          " while ! [ -e /root/fio/direct.0.0 ]; do sleep 0.1; done; i=0; while :; do i=$((i + 1)); echo promise $i >/root/ack/$i;"
          " sync /root/ack/$i && echo acked $i; done")


def acknowledged(vm):
    return [int(n) for n in re.findall(r"^acked (\d+)$", text(vm.output), re.M)]


def write_until_killed(options, disk, name, promises):
    """Returns the number of the last file that the guest knows to be on its disk."""
    with boot(options, name, [disk], 2) as vm:
        log_in(vm)
        vm.send(WRITER.encode() + b"\n")
        assert vm.wait_for(f"acked {promises}\r".encode(), PATIENCE), "the guest does not write"
        vm.process.kill()
        vm.process.wait()
        while vm.read(0):
            pass
        assert not bad_lines(text(vm.output))
        return max(acknowledged(vm))


def repair(disk):
    """Replays the journal; more than that may not be needed."""
    fsck = subprocess.run([tool("e2fsck"), "-p", disk], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    for said in fsck.stdout.splitlines():
        print(f"# {said}")
    assert fsck.returncode in (0, 1), f"e2fsck -p ended with {fsck.returncode}"
    check_filesystem(disk)


def kept_promises(options, disk, name, last):
    with boot(options, name, [disk], 2) as vm:
        log_in(vm)
        run(vm, f'i=0; while [ $i -lt {last} ] && i=$((i + 1)) &&'
            ' [ "$(cat /root/ack/$i)" = "promise $i" ]; do :; done; echo kept $i;'
            f' [ $i = {last} ] && [ "$(cat /root/ack/$i)" = "promise $i" ]', "kept")
        run(vm, "[ -e /root/fio/direct.0.0 ]", "written")  # fio was at work
        run(vm, "rm -rf /root/fio /root/ack", "clean")
        power_off(vm, disk)


def kill_while_writing(options, times):
    with tempfile.TemporaryDirectory(prefix="lodge-disk-") as directory:
        disk = copy_disk(guest_file("debian-test"), directory)
        for n in range(1, times + 1):
            last = write_until_killed(options, disk, f"killed-{n}", 20 * n)
            print(f"# killed after {last} acknowledged files")
            repair(disk)
            kept_promises(options, disk, f"after-{n}", last)


def plan(options):
    if options.what == "stress":
        return {"test_stress-ng, 2 vCPUs":
                lambda: stress(options, 2, "--cpu 2 --vm 1 --timer 2 -t 60")}
    if options.what == "disk":
        return {"test_fio verifies what it wrote": lambda: fio_verify(options, 2, 32),
                "test_killed while fio writes": lambda: kill_while_writing(options, 1)}
    return {"test_stress-ng, 4 vCPUs":
            lambda: stress(options, 4, "--cpu 4 --vm 2 --timer 4 -t 300"),
            "test_stress-ng's classes, 4 vCPUs": lambda: stress_classes(options, 4),
            "test_fio verifies what it wrote, 4 vCPUs": lambda: fio_verify(options, 4, 200),
            "test_killed ten times while fio writes": lambda: kill_while_writing(options, 10)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--logs", required=True)
    parser.add_argument("what", choices=["stress", "disk", "slow"])
    tap.main(plan(parser.parse_args()))


if __name__ == "__main__":
    main()
