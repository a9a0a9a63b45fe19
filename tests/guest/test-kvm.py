#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest's life under KVM beyond a boot: it stands and goes on, starts over, is confined, is refused.

    test-kvm.py --lodge build/lodge --vmm build/lodge-vmm --logs DIR

Runs where /dev/kvm is (under-kvm.py).
"""
import argparse
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
