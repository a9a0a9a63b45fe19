# SPDX-License-Identifier: GPL-2.0-or-later
"""A triple fault ends a guest as its lifecycle says.

    test_shutdown.py --vmm build/lodge-vmm IMAGE
"""
import argparse
import time

import engines
from engines import tap

BEFORE = "before the triple fault\n"
EXIT_CRASH = 4


def destroyed(options, **settings):
    console, status = engines.lodge(options, options.image, **settings)
    assert console == BEFORE, console
    assert status == EXIT_CRASH, f"lodge-vmm ended with {status}"


def lifecycle(crash, reboot="destroy"):
    return {"poweroff": "destroy", "reboot": reboot, "crash": crash}


def restarted(options):
    with engines.Vm(options.vmm, options.image, memory_mib=64, rng=False,
                    lifecycle=lifecycle("restart")) as vm:
        assert vm.wait_for(BEFORE.encode() * 3, engines.PATIENCE), vm.output


def until_panicked(qmp):
    deadline = time.monotonic() + engines.PATIENCE
    while qmp.command("query-status")["return"]["status"] != "guest-panicked":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def preserved(options):
    """Paused; nothing but a reset or the end may follow."""
    with engines.Vm(options.vmm, options.image, memory_mib=64, rng=False,
                    lifecycle=lifecycle("preserve", "restart")) as vm:
        qmp = vm.qmp()
        until_panicked(qmp)  # perhaps before this client was there to be told
        assert "error" in qmp.command("cont")
        qmp.command("system_reset")
        qmp.command("cont")
        qmp.wait_event("RESUME", engines.PATIENCE)
        del qmp.events[:[event["event"] for event in qmp.events].index("RESUME")]
        qmp.wait_event("STOP", engines.PATIENCE)
        assert [event["data"] for event in qmp.events if event["event"] == "GUEST_PANICKED"] == [{"action": "pause"}]
        assert qmp.command("query-status")["return"]["status"] == "guest-panicked"
        qmp.command("quit")
        vm.wait(engines.PATIENCE)
        assert engines.clean(vm.output) == BEFORE * 2, vm.output


def under_qemu(options):
    console, _ = engines.qemu(options, options.image)
    assert console == BEFORE, console


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--vmm", required=True)
    parser.add_argument("image")
    options = parser.parse_args()
    tap.main({
        "test_destroyed": lambda: destroyed(options),
        "test_destroyed_stepped": lambda: destroyed(options, cpu_debug={"step": True}),
        "test_restarted": lambda: restarted(options),
        "test_preserved": lambda: preserved(options),
        "test_qemu": lambda: under_qemu(options),
    })


if __name__ == "__main__":
    main()
