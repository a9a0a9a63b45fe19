#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots stock Debian kernels and a Debian disk, looks around in them, powers them off.

    test-boot.py --vmm build/lodge-vmm --logs DIR WHAT

WHAT: kernels  cloud, generic and rt with the busybox initramfs, at 1 and 2 vCPUs
      kvm      the cloud kernel at 2 vCPUs, with little on its console: an emulated host is slow
      debian   the Debian 12 root disk with 2 vCPUs; its filesystem is checked afterwards
      slow     20 consecutive boots of each kernel at 1, 2 and 4 vCPUs ($LODGE_BOOTS: another
               number), once each with 128 MiB, 8 GiB and 8 vCPUs, and 20 Debian boots

Every console is kept in DIR and may contain no line that tests/guest/bad-lines describes.
"""
import argparse
import os
import re
import subprocess
import tempfile

from guest import (CONSOLE, Boot, bad_lines, check_ended, check_filesystem, command, copy_disk,
                   guest_file, log_in, tap, tool)

# The guest runs these, and so does the same busybox on the host; what they print must be equal.
# No double quotes: the guest gets them inside some on its kernel command line.
COMMANDS = [
    "busybox seq 1 20000 | busybox sha256sum",
    "busybox seq 1 20000 | busybox gzip | busybox gunzip | busybox md5sum",
    "busybox seq 1 20000 | busybox sort -r | busybox sha1sum",
    "busybox seq 1 20000 | busybox bzip2 | busybox bunzip2 | busybox sha256sum",
    "busybox dd if=/dev/zero bs=64k count=64 2>/dev/null | busybox sha512sum",
    "busybox seq 1 3000 | busybox awk '{ s += $1 * $1; t += 1 / $1; u += $1 % 7 * 0.1 }"
    " END { print s, t, u }'",
    "busybox seq 1 500 | busybox sed 's/1/one/g; s/[02468]$/even/' | busybox md5sum",
    "echo $((123456789 * 987654321)) $((-7 / 2)) $((-7 % 2)) $((1 << 62 >> 3))",
    "for i in 1 2 3 4; do busybox seq 1 5000 | busybox sha256sum & done; wait",
]


def host_results():
    return subprocess.run([tool("busybox"), "sh", "-c", "\n".join(COMMANDS)], check=True,
                          stdout=subprocess.PIPE, text=True).stdout


def guest_script():
    """One line: CPUs online, then the results between two markers, with the kernel silent."""
    return ("echo online: $(busybox nproc); { " + "; ".join(COMMANDS) +
            "; } >/tmp/results; dmesg -n 1; echo results:; cat /tmp/results; echo end of results;"
            " dmesg -n 7")


def boot_kernel(options, flavour, vcpus, memory_mib=512, tag="", append=""):
    kernel, initrd = guest_file("kernel", flavour), guest_file("busybox")
    expected = host_results()
    with Boot(options, f"{flavour}-{vcpus}{tag}", kernel, initrd=initrd, vcpus=vcpus,
              memory_mib=memory_mib,
              append=f'{CONSOLE}{append}lodge.run="{guest_script()}"') as vm:
        console = check_ended(vm)
        assert "lodge-guest: init reached" in console
        assert "lodge-guest: status 0" in console
        assert re.search("reboot: Power down", console), "not powered off through ACPI"
        online = re.search(r"^online: (\d+)$", console, re.M)
        assert online and int(online[1]) == vcpus, f"{online and online[1]} of {vcpus} CPUs online"
        got = re.search(r"^results:\n(.*?)^end of results$", console, re.M | re.S)
        assert got and got[1] == expected, f"results differ:\n{got and got[1]}\n{expected}"


def boot_debian(options, vcpus, tag=""):
    kernel, initrd = guest_file("kernel", "cloud"), guest_file("initrd", "cloud")
    source = guest_file("debian")
    with tempfile.TemporaryDirectory(prefix="lodge-disk-") as directory:
        disk = copy_disk(source, directory)
        with Boot(options, f"debian-{vcpus}{tag}", kernel, initrd=initrd, vcpus=vcpus,
                  disks=[disk], append=CONSOLE + "root=/dev/vda") as vm:
            log_in(vm)
            state = command(vm, "systemctl is-system-running --wait", "state")
            failed = command(vm, "systemctl --failed --plain --no-legend", "failed")
            assert "running" in state, f"{state} {failed}"
            assert str(vcpus) in command(vm, "nproc", "cpus")
            copied = command(vm, "cp -r /usr/bin /root/copy && diff -r /usr/bin /root/copy &&"
                             " echo same", "copied")
            assert "same" in copied, f"a copy differs from the original: {copied}"
            vm.send(b"poweroff\n")
            console = check_ended(vm)
            assert "reboot: Power down" in console, "not powered off through ACPI"
        check_filesystem(disk)


def counters(path):
    """The events that lodge-vmm has counted, from its log."""
    with open(path) as log:
        events = re.search("vCPU 0: events: (.*)", log.read())[1]
    assert not events.endswith("..."), f"the log leaves some out: {events}"
    return {name: int(value) for name, value in (pair.rsplit(" ", 1) for pair in events.split(", "))}


def console_lines(console):
    """Without the time stamps and what depends on them, or on where the kernel was loaded."""
    lines = [re.sub(r"^\[ *[0-9.]+\] ", "", line.strip()) for line in console.splitlines()]
    told = r"[0-9]{3}|0x|after [0-9.]+ s|in [0-9.]+ ?[mu]?s|took [0-9]"
    return {line for line in lines if not re.search(told, line)}


def boot_saved(options):
    """The second boot, elsewhere in memory, takes what the first one has translated."""
    kernel, initrd = guest_file("kernel", "cloud"), guest_file("busybox")
    with tempfile.TemporaryDirectory(prefix="lodge-") as directory:
        code, seen = os.path.join(directory, "code"), []
        for count in (1, 2):
            name = f"cloud-saved-{count}"
            with Boot(options, name, kernel, initrd=initrd, code=code, cpu_debug={"stats": True},
                      append=CONSOLE + "lodge.end=poweroff") as vm:
                console = check_ended(vm)
                assert "lodge-guest: init reached" in console
            assert os.path.getsize(code) > 1 << 20, "nothing was saved"
            seen.append((counters(os.path.join(options.logs, name + ".log")), console_lines(console)))
    (first, console1), (second, console2) = seen
    assert "blocks-from-cache" not in first, first
    assert "blocks-refused" not in second, second
    taken, made = second["instructions-from-cache"], second["instructions-translated"]
    print(f"# {taken} instructions from the first boot, {made} translated")
    assert taken > 20 * made, f"{taken} instructions from the first boot, {made} translated"
    assert console1 == console2, console1 ^ console2


def boot_often(options, flavour, vcpus):
    for count in range(int(os.environ.get("LODGE_BOOTS", "20"))):
        boot_kernel(options, flavour, vcpus, tag=f"-often-{count + 1}")


def debian_often(options, vcpus):
    for count in range(int(os.environ.get("LODGE_BOOTS", "20"))):
        boot_debian(options, vcpus, tag=f"-often-{count + 1}")


def judge_sees_bad_lines():
    """The judge itself: a list that matches nothing would let everything pass."""
    bad = ["BUG: unable to handle page fault", "watchdog: BUG: soft lockup - CPU#1 stuck",
           "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", "WARNING: CPU: 0 PID: 1 at x",
           "ata1: lost interrupt (Status 0x50)", "Oops: 0000 [#1] PREEMPT SMP",
           "traps: init[1] trap invalid opcode ip:0", "smpboot: do_boot_cpu failed(-1) to wakeup"]
    good = ["Freeing unused kernel image", "printk: console [ttyS0] enabled",
            "Spectre V2 : Mitigation: Retpolines", "debug: unmapping init memory"]
    assert bad_lines("\n".join(bad + good)) == bad


def plan(options):
    """The tests to run, by name."""
    tests = {}

    def add(name, body, *arguments, **settings):
        tests["test_" + name] = lambda: body(options, *arguments, **settings)

    flavours = ("cloud", "generic", "rt")
    if options.what == "kernels":
        tests["test_the_judge_sees_bad_lines"] = judge_sees_bad_lines
        for flavour in flavours:
            for vcpus in (1, 2):
                add(f"{flavour} kernel, {vcpus} vCPUs", boot_kernel, flavour, vcpus)
        if options.engine == "soft":
            add("cloud kernel, from saved translations", boot_saved)
    elif options.what == "kvm":
        add("cloud kernel, 2 vCPUs", boot_kernel, "cloud", 2, append="quiet ")
    elif options.what == "debian":
        for vcpus in (1, 2) if options.engine == "kvm" else (2,):
            add(f"Debian disk, {vcpus} vCPUs", boot_debian, vcpus)
    else:
        for flavour in flavours:
            for vcpus in (1, 2, 4):
                add(f"{flavour} kernel, {vcpus} vCPUs, often", boot_often, flavour, vcpus)
            add(f"{flavour} kernel, 8 vCPUs", boot_kernel, flavour, 8)
            add(f"{flavour} kernel, 128 MiB", boot_kernel, flavour, 1, 128, "-128M")
            add(f"{flavour} kernel, 8 GiB", boot_kernel, flavour, 2, 8192, "-8G")
        for vcpus in (1, 2, 4):
            add(f"Debian disk, {vcpus} vCPUs, often", debian_often, vcpus)
    return tests


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--logs", required=True)
    parser.add_argument("--engine", default="soft")
    parser.add_argument("what", choices=["kernels", "kvm", "debian", "slow"])
    tap.main(plan(parser.parse_args()))


if __name__ == "__main__":
    main()
