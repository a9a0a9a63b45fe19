#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest process as the host meets it: what it may do, what it does when the host is short of memory.

    test-host.py --vmm build/lodge-vmm --logs DIR [--unconfined]
"""
import argparse
import contextlib
import os
import pwd
import re
import signal
import subprocess
import tempfile
import time

from guest import CONSOLE, PATIENCE, Boot, bad_lines, check_ended, guest_file, tap, text

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
        with open(f"/proc/{pid}/task/{task}/status") as status:
            lines = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
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


def run_line(vm, line, mark):
    """Types a line at the guest's shell; what it printed."""
    before = len(vm.output)
    vm.send(f"{line}; echo {mark}$((6 * 7))\n".encode())
    assert vm.wait_for(f"{mark}42".encode(), PATIENCE), f"no end of: {line}"
    return text(vm.output[before:])


def test_time_stands_while_stopped():
    """5 s outside are nothing inside, by the clock source that the guest chose for itself."""
    clocks = "echo now $(date +%s) $(cut -d. -f1 /proc/uptime)"
    with boot("time", vcpus=2) as vm:
        at_shell(vm)
        qmp = vm.qmp()
        source = run_line(vm, "cat /sys/devices/system/clocksource/*/current_clocksource", "source")
        assert "kvm-clock" in source or "tsc" in source, source
        seen = []
        for mark in ("before", "after"):
            line = run_line(vm, clocks, mark)
            seen.append([int(word) for word in re.search(r"^now (\d+) (\d+)$", line, re.M).groups()])
            qmp.command("stop")
            assert qmp.command("query-status")["return"]["status"] == "paused"
            time.sleep(20 if mark == "before" else 0)
            qmp.command("cont")
        passed = [after - before for before, after in zip(*seen)]
        assert all(0 <= seconds < 15 for seconds in passed), f"clocks went on by {passed}"
        vm.send(b"poweroff -f\n")
        assert vm.wait(PATIENCE) == 0
        assert not bad_lines(text(vm.output)), bad_lines(text(vm.output))


def test_cpu_counters():
    """The monitor tells what the software CPU counted while it runs, the log when it ends."""
    with boot("counters", cpu_debug={"stats": True}) as vm:
        at_shell(vm)
        answers = []
        for mark in ("one", "two"):
            answers.append(vm.qmp().command("query-cpu-stats")["return"])
            run_line(vm, "ls -lR /proc >/dev/null", mark)
        first, second = [answer["cpus"][0] for answer in answers]
        assert first["cpu-index"] == 0 and first["helpers"]["cpuid"] > 0, first
        for name in ("blocks-translated", "translation-us", "tlb-misses", "helper-calls"):
            assert 0 < first["events"][name] < second["events"][name], name
        assert first["exits"]["helper"] > 0 and first["exits"]["poll"] > 0, first["exits"]
        assert 0 < answers[0]["shared"]["code-cache"]["bytes"]
        vm.send(b"poweroff -f\n")
        assert vm.wait(PATIENCE) == 0
    with open(os.path.join(options.logs, "host-counters.log")) as log:
        assert re.search(r"vCPU 0: helpers: \w+ \d+, ", log.read()), "nothing in the log"


def test_first_sigterm_powers_down():
    """The power button reaches systemd, which ends the Debian guest in order."""
    with tempfile.TemporaryDirectory(prefix="lodge-disk-") as directory:
        disk = os.path.join(directory, "disk.img")
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", guest_file("debian"), disk],
                       check=True)
        with Boot(options, "host-sigterm", guest_file("kernel", "cloud"),
                  initrd=guest_file("initrd", "cloud"), disks=[disk],
                  append=CONSOLE + "root=/dev/vda") as vm:
            assert vm.wait_for(b"login: ", PATIENCE), "no login prompt"
            vm.process.send_signal(signal.SIGTERM)
            console = check_ended(vm)
            assert "reboot: Power down" in console


class MemoryGroup:
    """A control group with a memory limit, of either version; tap.Skip where none can be made."""

    def __init__(self, mib):
        with open("/proc/self/cgroup") as lines:
            groups = dict(line.rstrip().split(":", 1)[1].split(":", 1) for line in lines)
        if "memory" in groups:
            root, path, limit = "/sys/fs/cgroup/memory", groups["memory"], "limit_in_bytes"
        else:
            root, path, limit = "/sys/fs/cgroup", groups.get("", "/"), "max"
        self.outside = root + path
        self.path = f"{self.outside.rstrip('/')}/lodge-test-{os.getpid()}"
        self.limit_file = f"{self.path}/memory.{limit}"
        try:
            os.mkdir(self.path)
        except OSError as error:
            raise tap.Skip(f"cannot make a control group: {error}") from None
        try:
            self.set_limit(mib)
            self.enter(self.path)
            self.enter(self.outside)
        except OSError as error:
            os.rmdir(self.path)
            raise tap.Skip(f"cannot limit a control group's memory: {error}") from None

    def set_limit(self, mib):
        with open(self.limit_file, "w") as limit:
            limit.write(str(mib << 20))

    def enter(self, group):
        with open(f"{group}/cgroup.procs", "w") as processes:
            processes.write(str(os.getpid()))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.enter(self.outside)
        os.rmdir(self.path)


def test_memory_limit_pauses_the_guest():
    fill = 'lodge.run="busybox dd if=/dev/zero of=/tmp/x bs=1M count=300; busybox wc -c /tmp/x"'
    with MemoryGroup(256) as group:
        group.enter(group.path)
        started = boot("memory", fill, memory_mib=1024)
        with started as vm:
            group.enter(group.outside)
            qmp = vm.qmp()
            qmp.wait_event("STOP", PATIENCE)
            status = qmp.command("query-status")["return"]
            assert status["status"] == "io-error" and not status["running"], status
            assert "error" in qmp.command("query-balloon")
            assert vm.process.poll() is None, "the guest process was killed"
            qmp.events.clear()
            qmp.command("cont")  # there is no more memory than before
            qmp.wait_event("STOP", PATIENCE)
            group.set_limit(1024)
            assert qmp.command("cont") == {"return": {}}
            assert qmp.command("query-status")["return"]["status"] == "running"
            assert vm.wait(PATIENCE) == 0
            assert f"{300 << 20} /tmp/x".encode() in vm.output
            with open(f"{started.stem}.log") as log:
                assert "the control group's memory limit leaves no room" in log.read()


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
