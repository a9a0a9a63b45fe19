# SPDX-License-Identifier: GPL-2.0-or-later
"""What the two processes of a guest that lodged has started can use of the host at most, and that a guest of many
processors and its monitor's clients have what they need.

    test_lodged_confined.py LODGED BUTTON-IMAGE
"""
import contextlib
import json
import os
import re
import socket
import sys

import tap
from lodged import WAIT, guest_xml, is_sanitized, lodged, until

LODGED, IMAGE = sys.argv[1:]
VCPUS, CLIENTS_MAX = 64, 16  # the monitor's: src/vmm/monitor.h
NETWORK = "<interface type='network'><source network='default'/><model type='virtio'/></interface>"


def limits(pid):
    """Soft and hard, by name."""
    with open(f"/proc/{pid}/limits") as text:
        found = (re.match(r"Max (.*?) {2,}(\S+) +(\S+)", line) for line in list(text)[1:])
        return {line[1]: (line[2], line[3]) for line in found}


def helper(daemon):
    """The process of the guest's network."""
    for thread in os.listdir(f"/proc/{daemon.process.pid}/task"):
        with open(f"/proc/{daemon.process.pid}/task/{thread}/children") as children:
            for pid in children.read().split():
                with open(f"/proc/{pid}/comm") as comm:
                    if comm.read().strip() == "lodge-net":
                        return int(pid)
    raise AssertionError("there is no lodge-net")


class Monitor:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(WAIT)
        self.socket.connect(path)
        self.lines = self.socket.makefile()

    def run(self, command):
        self.socket.send(json.dumps({"execute": command}).encode())
        while True:
            answer = json.loads(self.lines.readline())
            if "return" in answer or "error" in answer:
                return answer["return"]

    def close(self):
        self.lines.close()
        self.socket.close()


@contextlib.contextmanager
def started(vcpus):
    with lodged(LODGED) as daemon:
        xml = guest_xml("g", IMAGE, extra=NETWORK, memory=64)
        with open(f"{daemon.root}/g.xml", "w") as out:
            out.write(xml.replace("<os>", f"<vcpu>{vcpus}</vcpu><os>", 1))
        daemon.virsh("create", f"{daemon.root}/g.xml")
        yield daemon


def names_of_threads(pid):
    names = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/comm") as comm:
            names.append(comm.read().strip())
    return names


def both(most):
    return (most, most)


def test_limits_of_a_guests_processes():
    with started(1) as daemon:
        pid = daemon.pid("g")
        vmm, net = limits(pid), limits(helper(daemon))
        assert vmm["core file size"] == net["core file size"] == both("0"), (vmm, net)
        assert net["file size"] == net["locked memory"] == both("0"), net
        assert net["open files"][0] == net["open files"][1] and int(net["open files"][0]) <= 4096, net
        if is_sanitized(LODGED):
            return
        assert net["processes"] == both("0") and net["address space"] == both(str(2 << 30)), net
        held = len(os.listdir(f"/proc/{pid}/fd"))
        soft, hard = vmm["open files"]
        assert soft == hard and held + CLIENTS_MAX <= int(soft) <= held + 2 * CLIENTS_MAX + 16, (vmm, held)
        assert vmm["locked memory"] == both("0"), vmm


def test_many_processors_and_all_clients():
    with started(VCPUS) as daemon:
        pid = daemon.pid("g")
        names = names_of_threads(pid)
        assert sum(name.startswith("vcpu") for name in names) == VCPUS, names
        path = f"{daemon.root}/run/guests/g/monitor.sock"
        clients = []
        try:
            while len(clients) < CLIENTS_MAX - 1:  # lodged is one
                clients.append(Monitor(path))
                assert "QMP" in clients[-1].lines.readline()
            one_more = Monitor(path)
            assert one_more.lines.readline() == "", "it was not turned away"
            one_more.close()
            for client in clients:
                assert client.run("qmp_capabilities") == {}
                assert client.run("query-status")["running"]
            assert daemon.virsh("qemu-monitor-command", "g", '{"execute":"query-status"}').count("running")
            clients.pop().close()
            until("there is room for another", lambda: opens(path))
        finally:
            for client in clients:
                client.close()


def opens(path):
    another = Monitor(path)
    good = "QMP" in another.lines.readline()
    another.close()
    return good


tap.main(globals())
