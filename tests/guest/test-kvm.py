#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's life under KVM beyond a boot: it stands and goes on, starts over, is confined, is refused.

    test-kvm.py --lodge build/lodge --vmm build/lodge-vmm --logs DIR

Runs where /dev/kvm is (under-kvm.py).
"""
import argparse
import difflib
import os
import re
import subprocess
import tempfile
import time

from guest import CONSOLE, PATIENCE, Boot, bad_lines, command, guest_file, tap, text

SHELL = 'lodge.run="stty -echo; echo ready; IFS=; while read -r line; do eval $line; done" '
STOOD = 8  # seconds

options = None


def boot(name, append="", **settings):
    return Boot(options, f"kvm-{name}", guest_file("kernel", "cloud"), initrd=guest_file("busybox"),
                vcpus=2, append=CONSOLE + append + "quiet " + SHELL, **settings)


def at_shell(vm):
    assert vm.wait_for(b"ready\r\n", PATIENCE), text(vm.output)[-2000:]


def uptime(vm):
    return float(command(vm, "cat /proc/uptime", "up")[0].split()[0])


def test_time_stands_with_the_guest_and_it_starts_over():
    with boot("life", lifecycle={"poweroff": "destroy", "reboot": "restart",
                                 "crash": "destroy"}) as vm:
        at_shell(vm)
        qmp = vm.qmp()
        assert qmp.command("query-engine")["return"] == {"name": "kvm", "movable": False}
        before, started = uptime(vm), time.monotonic()
        assert qmp.command("stop") == {"return": {}}
        assert qmp.command("query-status")["return"]["status"] == "paused"
        time.sleep(STOOD)
        assert qmp.command("cont") == {"return": {}}
        passed = uptime(vm) - before
        # generous to a slow host: what it did not stand for
        assert 0 <= passed < time.monotonic() - started - STOOD + 1, passed
        assert "slept" in command(vm, "sleep 1; echo slept", "slept"), "its timers do not go on"
        exits = qmp.command("query-cpu-stats")["return"]["cpus"][0]["exits"]
        assert exits["pio"] > 100, exits
        vm.output = b""
        assert qmp.command("system_reset") == {"return": {}}
        at_shell(vm)
        assert command(vm, "nproc", "cpus")[0] == "2"
        vm.output = b""
        vm.send(b"reboot -f\n")
        at_shell(vm)
        assert command(vm, "nproc", "again")[0] == "2"
        bad = bad_lines(text(vm.output))
        assert not bad, bad
        vm.send(b"poweroff -f\n")
        assert vm.wait(PATIENCE) == 0


def test_triple_fault_ends_it():
    with boot("triple", append="reboot=t ") as vm:
        at_shell(vm)
        vm.send(b"reboot -f\n")
        assert vm.wait(PATIENCE) == 4, text(vm.output)[-2000:]
    with open(os.path.join(options.logs, "kvm-triple.log")) as log:
        lines = log.read()
    assert re.search(r"warning kvm: vCPU [01]: exit [0-9]+ us ago: triple fault 8$", lines, re.M), lines
    assert re.search(r"exit [0-9]+ us ago: (port 2|memory 6), (read|write) [124] bytes at 0x", lines), lines


def user_exits(vm):
    """What came out of KVM to the process, of all processors, as far as it is accesses to memory."""
    return sum(cpu.get("exits", {}).get("mmio", 0)
               for cpu in vm.qmp().command("query-cpu-stats")["return"]["cpus"])


def read_pages(ioeventfd, count=500):
    """How often the guest stopped for its disk while it read pages one by one."""
    with tempfile.NamedTemporaryFile(prefix="lodge-disk-") as disk:
        disk.truncate(8 << 20)
        with Boot(options, f"kvm-ioeventfd-{ioeventfd}", guest_file("kernel", "cloud"),
                  initrd=guest_file("initrd", "cloud"), disks=[disk.name], ioeventfd=ioeventfd,
                  append=CONSOLE + "quiet " + SHELL) as vm:
            at_shell(vm)
            command(vm, "echo 0 >/sys/block/vda/queue/read_ahead_kb", "ahead")
            before = user_exits(vm)
            said = command(vm, f"dd if=/dev/vda bs=4096 count={count} | wc -c", "read")
            assert str(4096 * count) in said, said
            return user_exits(vm) - before


def test_a_notification_does_not_stop_the_processor():
    without, stopped = read_pages(True), read_pages(False)
    print(f"# exits for 500 reads: {without}; without ioeventfd {stopped}")
    assert stopped >= 500 and without < 50, (without, stopped)


def test_its_process_is_confined():
    with boot("confined") as vm:
        at_shell(vm)
        for task in os.listdir(f"/proc/{vm.process.pid}/task"):
            with open(f"/proc/{vm.process.pid}/task/{task}/status") as status:
                lines = status.read()
            assert re.search(r"^Seccomp:\s*2$", lines, re.M), lines
            assert not re.search(r"^Uid:\s*0\b", lines, re.M), lines


XML = """<domain type='kvm'><name>wants</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64'>hvm</type><kernel>{kernel}</kernel></os>
<cpu mode='host-passthrough'><feature policy='require' name='{feature}'/></cpu></domain>"""


def lodge_run(directory, *words):
    return subprocess.run([options.lodge, "run", *words], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "XDG_RUNTIME_DIR": directory,
                               "XDG_STATE_HOME": directory})


# A model that both engines can be on the emulated host, which has no XSAVE.
SAME = """<domain type='kvm'><name>same</name><memory unit='MiB'>256</memory><vcpu>2</vcpu>
<os><type arch='x86_64'>hvm</type><kernel>{kernel}</kernel><initrd>{initrd}</initrd>
<cmdline>console=ttyS0 quiet panic=-1 mitigations=off lodge.run="{script}"</cmdline></os>
<cpu mode='custom'><model>EPYC</model><topology sockets='1' cores='2' threads='1'/>
{disabled}</cpu>
<devices><serial type='pty'/><console type='pty'><target type='virtio'/></console>
<disk type='file'><source file='{disk}'/><target dev='vda'/></disk>
<disk type='file'><source file='{disk}.2'/><target dev='vdb'/><readonly/></disk>
<interface type='user'><mac address='52:54:00:12:34:56'/></interface>
<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
<channel type='null'><target type='virtio' name='org.lodge.test'/></channel>
<watchdog model='i6300esb'/><panic model='isa'/></devices></domain>"""
# What the guest's own eyes see: each function's whole configuration space, from which lspci tells all it tells, and
# its resources; each processor but for what is measured; ACPI's tables but for what KASLR moves.
LOOK = ("echo seen:; for d in /sys/bus/pci/devices/*; do echo $d; hexdump -C $d/config; cat $d/resource; done; "
        "grep -v -e MHz -e bogomips /proc/cpuinfo; cat /proc/ioports /proc/iomem | grep -v -i -e kernel -e ram; "
        "for t in DSDT FACP APIC MCFG HPET; do sha256sum /sys/firmware/acpi/tables/$t; done; "
        "cat /proc/interrupts | awk '{ print $1, $NF }'; ls /sys/class/*; echo end of it")

# What says that the processor is safe from an attack: the software CPU is, the host may not be.
SAFE = {"ssbd", "ibrs_enhanced"}


def look(directory, engine):
    disk = os.path.join(directory, "disk")
    for path in (disk, disk + ".2"):
        with open(path, "wb") as file:
            file.truncate(8 << 20)
    disabled = "".join(f"<feature policy='disable' name='{name}'/>"
                       for name in ("xsave", "xsaveopt", "xgetbv1", "avx", "avx2", "fma", "f16c"))
    path = os.path.join(directory, "same.xml")
    with open(path, "w") as file:
        file.write(SAME.format(kernel=guest_file("kernel", "cloud"), initrd=guest_file("initrd", "cloud"),
                               disk=disk, disabled=disabled,
                               script=LOOK.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")))
    done = lodge_run(directory, "--engine", engine, path)
    os.makedirs(options.logs, exist_ok=True)
    with open(os.path.join(options.logs, f"kvm-same-{engine}.console"), "w") as file:
        file.write(done.stdout + done.stderr)
    assert done.returncode == 0 and engine in done.stdout + done.stderr, done.stderr
    seen = re.search(r"^seen:\n(.*?)^end of it$", text(done.stdout.encode()), re.M | re.S)
    assert seen, done.stdout[-2000:]
    return seen[1]


def apart(seen):
    """Without what the engines need not have in common."""
    seen = re.sub(r"^bugs\s*:.*\n", "", seen, flags=re.M)
    return re.sub(r"^(flags\s*:.*)$", lambda m: " ".join(w for w in m[1].split() if w not in SAFE), seen, flags=re.M)


def test_both_engines_show_the_same_machine():
    with tempfile.TemporaryDirectory() as directory:
        kvm, soft = look(directory, "kvm"), look(directory, "soft")
    flags = set(re.search(r"^flags\s*: (.*)$", kvm, re.M)[1].split())
    assert {"aes", "sse4_2", "popcnt", "rdrand", "smep", "bmi1", "hypervisor"} <= flags, flags
    assert len(re.findall(r"^processor", kvm, re.M)) == 2 and kvm.count("/sys/bus/pci/devices/") > 12, kvm
    kvm, soft = apart(kvm), apart(soft)
    different = [line for line in difflib.unified_diff(kvm.splitlines(), soft.splitlines(), "kvm", "soft",
                                                       lineterm="", n=0)]
    assert not different, "\n".join(different)
    print(f"# {len(kvm.splitlines())} lines are the same; flags: {' '.join(sorted(flags))}")


HUGE = """<domain type='kvm'><name>huge</name><memory unit='MiB'>128</memory><vcpu>2</vcpu>
<memoryBacking><hugepages><page size='2' unit='MiB'/></hugepages><allocation mode='immediate'/></memoryBacking>
<cputune><vcpupin vcpu='1' cpuset='0'/></cputune>
<os><type arch='x86_64'>hvm</type><kernel>{kernel}</kernel><initrd>{initrd}</initrd>
<cmdline>console=ttyS0 quiet panic=-1 mitigations=off lodge.run="echo memory is huge; read -r line"</cmdline></os>
<devices><serial type='pty'/></devices></domain>"""


def free_huge_pages():
    with open("/proc/meminfo") as file:
        return int(re.search(r"^HugePages_Free:\s*(\d+)$", file.read(), re.M)[1])


def test_memory_of_huge_pages_is_there_at_the_start():
    with open("/proc/sys/vm/nr_hugepages", "w") as file:
        file.write("70")
    before = free_huge_pages()
    if before < 64:
        raise tap.Skip(f"the host has only {before} huge pages to give")
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "huge.xml")
        with open(path, "w") as file:
            file.write(HUGE.format(kernel=guest_file("kernel", "cloud"), initrd=guest_file("busybox")))
        process = subprocess.Popen([options.lodge, "run", "--engine", "kvm", path], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   env={**os.environ, "XDG_RUNTIME_DIR": directory, "XDG_STATE_HOME": directory})
        said, line = b"", b""
        try:
            while line.strip() != b"memory is huge":
                line = process.stdout.readline()
                assert line, text(said)
                said += line
            assert free_huge_pages() == before - 64, free_huge_pages()
        finally:
            process.communicate(b"\n")
    assert free_huge_pages() == before, "they are not given back"
    with open("/proc/sys/vm/nr_hugepages", "w") as file:
        file.write("0")


def test_a_feature_that_the_host_lacks_is_named():
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "guest.xml")
        with open(path, "w") as file:
            file.write(XML.format(kernel=guest_file("kernel", "cloud"), feature="avx512f"))
        for engine in ("kvm", "soft"):
            done = lodge_run(directory, "--engine", engine, path)
            assert done.returncode == 1, done
            assert re.search("the domain requires the CPU feature 'avx512f', which .*; remove it, or"
                             " make its policy 'optional'", done.stderr), done


def test_no_permission_names_the_group():
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o777)
        os.chmod("/dev/kvm", 0o660)
        os.chown("/dev/kvm", 0, 6)  # disk: every Debian has that group
        done = subprocess.run(
            ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", options.lodge, "run",
             "--engine", "kvm", "--kernel", "/dev/null", "--dry-run"],
            env={**os.environ, "XDG_RUNTIME_DIR": directory, "XDG_STATE_HOME": directory},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 1 and "the group disk may use it; join that" in done.stderr, done


def main():
    global options
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lodge", required=True)
    parser.add_argument("--vmm", required=True)
    parser.add_argument("--logs", required=True)
    options = parser.parse_args()
    options.engine = "kvm"
    tap.main(globals())


if __name__ == "__main__":
    main()
