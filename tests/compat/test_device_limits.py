# SPDX-License-Identifier: GPL-2.0-or-later
"""lodge's and virsh's commands for limits that lodged does not hold in this version, or in part: blkdeviotune, domiftune,
numatune. Both ask a daemon that writes down what it is sent: the same. What lodged says is looked at behind.

    test_device_limits.py LODGED BUTTON-IMAGE LODGE
"""
import json
import os
import shutil
import subprocess
import sys

import tap
from fake_daemon import fake_daemon
from lodged import WAIT, guest_xml, lodged

LODGED, IMAGE, LODGE = sys.argv[1:]
INT, UINT, ULLONG, STRING = 1, 2, 4, 7
DISK = {"total_bytes_sec": 0, "read_bytes_sec": 1000, "write_bytes_sec": 2000, "total_iops_sec": 0, "read_iops_sec": 30,
        "write_iops_sec": 40}
CARD = {"inbound.average": 100, "inbound.peak": 200, "inbound.burst": 300, "inbound.floor": 0, "outbound.average": 400,
        "outbound.peak": 0, "outbound.burst": 0}
NUMA = {"numa_mode": (INT, 0), "numa_nodeset": (STRING, "0-1")}


def told(values, kind):
    """A call that tells them: how many there are first, to who gives no room for any."""
    def answer(args):
        params = [{"field": name, "value": value if isinstance(value, tuple) else (kind, value)} for name, value in values.items()]
        return {"params": params if args["nparams"] else [], "nparams": len(params)}
    return answer


ANSWERS = {
    "domain_get_block_io_tune": told(DISK, ULLONG), "domain_set_block_io_tune": {},
    "domain_get_interface_parameters": told(CARD, UINT), "domain_set_interface_parameters": {},
    "domain_get_numa_parameters": told(NUMA, INT), "domain_set_numa_parameters": {},
}


def lodge(path, *words, status=0):
    done = subprocess.run([LODGE, *words], capture_output=True, text=True, timeout=WAIT, env=dict(os.environ, LODGE_URI=path))
    assert done.returncode == status, (words, done)
    return done.stderr if status else done.stdout


def virsh(path, *words):
    if not shutil.which("virsh"):
        raise tap.Skip("there is no virsh")
    done = subprocess.run(["virsh", "-k0", "-c", f"qemu+unix:///system?socket={path}", *words], capture_output=True, text=True,
                          timeout=WAIT, env=dict(os.environ, LC_ALL="C"))
    assert done.returncode == 0, (words, done)
    return done.stdout


def params(args):
    return {param["field"]: param["value"] for param in args["params"]}


def same(daemon, call, *words, flags=0, device=None, **expected):
    """Both send that; NAME__PART stands for NAME.PART."""
    wanted = {name.replace("__", "."): value for name, value in expected.items()}
    for run in (lodge, virsh):
        run(daemon.path, *words)
        args, = daemon.taken(call)
        assert params(args) == wanted, (run, args)
        assert args["flags"] == flags and device in (None, args.get("disk", args.get("device"))), (run, args)
        assert args["dom"]["name"] == "g"


def test_blkdeviotune():
    with fake_daemon(ANSWERS) as daemon:
        assert json.loads(lodge(daemon.path, "blkdeviotune", "g", "vda", "--json")) == DISK
        text = lodge(daemon.path, "blkdeviotune", "g", "vda")
        assert {name.rstrip(":"): int(value) for name, value in map(str.split, text.splitlines())} == DISK, text
        assert daemon.taken("domain_get_block_io_tune")[-1]["disk"] == "vda"
        call = "domain_set_block_io_tune"
        same(daemon, call, "blkdeviotune", "g", "vda", "--read-bytes-sec", "5000", device="vda", read_bytes_sec=5000)
        same(daemon, call, "blkdeviotune", "g", "vdb", "--total-iops-sec", "70", "--live", device="vdb", flags=1, total_iops_sec=70)
        same(daemon, call, "blkdeviotune", "g", "vda", "--write-bytes-sec", "1", "--write-iops-sec", "2", "--config", flags=2,
             write_bytes_sec=1, write_iops_sec=2)
        same(daemon, call, "blkdeviotune", "g", "vda", "--total-bytes-sec", str(1 << 40), "--live", "--config", flags=3,
             total_bytes_sec=1 << 40)
        lodge(daemon.path, "blkdeviotune", "g", "vda", "--set", "read_iops_sec=9")
        assert params(daemon.taken(call)[0]) == {"read_iops_sec": 9}
        assert "is a number" in lodge(daemon.path, "blkdeviotune", "g", "vda", "--read-bytes-sec", "fast", status=2)
        assert "there is no limit 'speed'" in lodge(daemon.path, "blkdeviotune", "g", "vda", "--set", "speed=1", status=2)
        assert not daemon.taken(call)
        assert "blkdeviotune" in lodge(daemon.path, "blkdeviotune", "g", status=2)  # of which disk?


def test_domiftune():
    with fake_daemon(ANSWERS) as daemon:
        assert json.loads(lodge(daemon.path, "domiftune", "g", "vnet0", "--json")) == CARD
        assert daemon.taken("domain_get_interface_parameters")[-1]["device"] == "vnet0"
        call = "domain_set_interface_parameters"
        same(daemon, call, "domiftune", "g", "vnet0", "--inbound", "100", device="vnet0", inbound__average=100)
        same(daemon, call, "domiftune", "g", "52:54:00:00:00:07", "--inbound", "1,2,3", "--outbound", "4,5,6", "--live",
             flags=1, device="52:54:00:00:00:07", inbound__average=1, inbound__peak=2, inbound__burst=3, outbound__average=4,
             outbound__peak=5, outbound__burst=6)
        same(daemon, call, "domiftune", "g", "vnet0", "--outbound", "4", "--config", flags=2, outbound__average=4)
        assert "is a number" in lodge(daemon.path, "domiftune", "g", "vnet0", "--inbound", "fast", status=2)
        assert not daemon.taken(call)


def test_numatune():
    with fake_daemon(ANSWERS) as daemon:
        assert json.loads(lodge(daemon.path, "numatune", "g", "--json")) == {"numa_mode": 0, "numa_nodeset": "0-1"}
        text = lodge(daemon.path, "numatune", "g")
        assert "strict" in text and "0-1" in text, text
        call = "domain_set_numa_parameters"
        for number, mode in enumerate(("strict", "preferred", "interleave", "restrictive")):
            same(daemon, call, "numatune", "g", "--mode", mode, "--config", flags=2, numa_mode=number)
        same(daemon, call, "numatune", "g", "--nodeset", "1", "--live", flags=1, numa_nodeset="1")
        same(daemon, call, "numatune", "g", "--mode", "strict", "--nodeset", "0", numa_mode=0, numa_nodeset="0")
        assert "numa_mode is a number" in lodge(daemon.path, "numatune", "g", "--mode", "loose", status=2)
        assert not daemon.taken(call)


def test_with_lodged():
    with lodged(LODGED) as daemon:
        with open(f"{daemon.root}/g.xml", "w") as out:
            out.write(guest_xml("g", IMAGE, "<interface type='user'><mac address='52:54:00:00:00:07'/><model type='virtio'/></interface>"))
        lodge(daemon.socket, "define", f"{daemon.root}/g.xml")
        for words, text in ((("blkdeviotune", "g", "vda"), "throttling of disks is not in this version"),
                            (("blkdeviotune", "g", "vda", "--read-bytes-sec", "1"), "throttling of disks is not in this version"),
                            (("domiftune", "g", "52:54:00:00:00:07"), "limits of network cards are not in this version"),
                            (("domiftune", "g", "52:54:00:00:00:07", "--inbound", "1"), "limits of network cards are not in this version")):
            assert text in lodge(daemon.socket, *words, status=1), words
        lodge(daemon.socket, "numatune", "g", "--config", "--mode", "preferred", "--nodeset", "0")
        assert json.loads(lodge(daemon.socket, "numatune", "g", "--json")) == {"numa_mode": 1, "numa_nodeset": "0"}
        assert "preferred" in daemon.virsh("numatune", "g")
        assert "<memory mode='preferred' nodeset='0'/>" in daemon.virsh("dumpxml", "g")


tap.main(globals())
