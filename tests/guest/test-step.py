#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Boots the same guest with all optimisations and one instruction at a time, and compares.

    test-step.py --vmm build/lodge-vmm --logs DIR WHAT

WHAT: short  a kernel that leaves out what takes it longest, few data
      slow   Debian's cloud kernel as it is

Both must come to the same results, checksums of files and view of their hardware (compare.sh), and
their kernels must say the same, whatever they say about time.
"""
import argparse
import collections
import os
import re
import sys
import tempfile

from guest import CONSOLE, HERE, Boot, guest_file, tap, text, bad_lines

sys.path.insert(0, os.path.join(HERE, "../../bench"))

from engines import initramfs  # noqa: E402 (after the path that makes it visible)

# Stepping is a hundred times slower. These only end a guest that will never end by itself.
PATIENCE, STEPPED_PATIENCE = 600, 7200
# Self-tests of ciphers, certificates, tables of types and of probes: two thirds of a boot.
SHORT = ("cryptomgr.notests mitigations=off lsm= audit=0 ipv6.disable=1 initcall_blacklist="
         "init_kprobe_trace,load_system_certificate_list,crypto_kdf108_init,init_ima,init_evm,"
         "cubictcp_register,bpf_rstat_kfunc_init,bpf_kfunc_init,init_blk_tracer ")

# What a kernel says about time: each is made the same, or, where the line itself depends on it, left out.
TIMES = [(re.compile(pattern), instead) for pattern, instead in [
    (r"^\[ *[0-9.]+\] ", ""),
    (r"(kvm-clock: using sched offset of) \d+", r"\1"),
    (r"(Memory: )\d+(K/)", r"\1\2"),  # what is freed meanwhile is counted or not
    (r"(deferred pages initialised in) \d+ms", r"\1"),
    (r"(tsc: Detected|Calibrating delay loop|clocksource: tsc(-early)?:) .*", r"\1"),
    (r"(smpboot: Total of .*) \([0-9.]+ BogoMIPS\)", r"\1"),
    (r"(audit: type=\d+ audit)\([0-9.]+:", r"\1"),
    (r"(setting system clock to) .*", r"\1"),
    (r"(sched_clock: Marking stable) .*", r"\1"),
    (r"(lodge-guest: .* after) [0-9.]+ s", r"\1"),
    (r".*hrtimer: interrupt took .*", ""),
    (r".*(perf: interrupt took too long|sched: RT throttling activated).*", ""),
    (r"hpet: Lost \d+ RTC interrupts", ""),
    (r"pci .*: quirk_\S+ took \d+ usecs", ""),
]]


def without_times(line):
    for pattern, instead in TIMES:
        line = pattern.sub(instead, line)
    return line


def halves(console):
    """What the guest printed between compare.sh's marks, and how often each other line occurs
    (threads of the kernel say theirs in any order)."""
    found = re.search(r"^compare: results\n(.*?)^compare: end\n", console, re.M | re.S)
    assert found, "the guest did not compute its results"
    others = console[:found.start()] + console[found.end():]
    return found[1], collections.Counter(filter(None, map(without_times, others.splitlines())))


def check_equal(fast, stepped):
    """Fails with the first differences of two consoles."""
    (results, lines), (stepped_results, stepped_lines) = halves(fast), halves(stepped)
    pairs = zip(results.splitlines(), stepped_results.splitlines())
    different = [f"{one!r}, stepped {other!r}" for one, other in pairs if one != other]
    assert results == stepped_results, "results differ: " + "\n".join(different[:5] or ["one ends"])
    missing, more = lines - stepped_lines, stepped_lines - lines
    assert not missing and not more, f"stepped without {list(missing)}\nand with {list(more)}"


def console_of(options, name, initrd, step, arguments, append, **settings):
    with Boot(options, name, guest_file("kernel", "cloud"), initrd=initrd, kaslr=False,
              cpu_debug={"step": step},
              append=f'{CONSOLE}{append}lodge.run="sh /compare.sh {arguments}"', **settings) as vm:
        status = vm.wait(STEPPED_PATIENCE if step else PATIENCE)
        console = text(vm.output)
        assert status is not None, "the guest did not end"
        assert status == 0, f"lodge-vmm ended with {status}"
        assert not bad_lines(console), bad_lines(console)
        assert "lodge-guest: status 0" in console
        return console


def compare(options, name, arguments, append="", **settings):
    """The busybox initramfs with the script behind it: a kernel unpacks one after the other."""
    with open(guest_file("busybox"), "rb") as busybox, \
            tempfile.NamedTemporaryFile(prefix="lodge-step-") as initrd:
        initrd.write(busybox.read())
        initrd.write(initramfs({"compare.sh": os.path.join(HERE, "compare.sh")}))
        initrd.flush()
        fast, stepped = [console_of(options, f"{name}-{step}", initrd.name, step == "stepped",
                                    arguments, append, **settings) for step in ("fast", "stepped")]
    check_equal(fast, stepped)
    print(f"# {len(halves(fast)[0].splitlines())} results and {halves(fast)[1].total()} other lines"
          " are the same")


def sees_differences():
    """The judge itself: times may differ, a result or what a kernel says may not."""
    def console(seconds, result, found):
        return (f"[    {seconds}] Linux version 6.1\n[  {seconds}] pci 0000:00:01.0: {found}\n"
                f"[    {seconds}] node 0 deferred pages initialised in {seconds * 3:.0f}ms\n"
                f"compare: results\n{result}  numbers\ncompare: end\nlodge-guest: status 0\n")

    def equal(one, other):
        try:
            check_equal(one, other)
            return True
        except AssertionError:
            return False

    assert equal(console(1.5, "ab", "BAR"), console(97.25, "ab", "BAR"))
    assert not equal(console(1.5, "ab", "BAR"), console(1.5, "ac", "BAR"))
    assert not equal(console(1.5, "ab", "BAR"), console(1.5, "ab", "BAZ"))
    assert not equal(console(1.5, "ab", "BAR"), console(1.5, "ab", "BAR").replace("[", "lost\n[", 1))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--logs", required=True)
    parser.add_argument("what", choices=["short", "slow"])
    options = parser.parse_args()
    tests = {"test_differences are seen": sees_differences}
    if options.what == "short":
        tests["test_a short boot"] = lambda: compare(options, "step-short", "300 md5sum", SHORT,
                                                    memory_mib=96)
    else:
        tests["test_the cloud kernel"] = lambda: compare(options, "step-cloud", "5000 sha256sum")
    tap.main(tests)


if __name__ == "__main__":
    main()
