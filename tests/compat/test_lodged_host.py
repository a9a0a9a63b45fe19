# SPDX-License-Identifier: GPL-2.0-or-later
"""What lodged tells of the host, held against the kernel's books, and of the kinds of objects that it has
none of, by an unmodified virsh and a raw client.

    test_lodged_host.py LODGED
"""
import os
import re
import shutil
import subprocess
import sys

import rpc
import tap
from lodged import lodged, rows
from rpc import refused

LODGED = sys.argv[1]
WRONG = 8


def meminfo(name):
    with open("/proc/meminfo") as text:
        return int(re.search(rf"^{name}: +(\d+)", text.read(), re.M).group(1))


def near(value, wanted, part=0.2):
    """The host goes on while it is looked at."""
    return abs(value - wanted) <= part * wanted + 65536


def ticks():
    with open("/proc/stat") as text:
        return [int(word) for word in text.readline().split()[1:]]


def test_processors():
    with lodged(LODGED) as daemon, daemon.client() as client:
        before = ticks()
        stats = {p["field"]: p["value"] for p in client.call("node_get_cpu_stats", cpuNum=-1, nparams=4)["params"]}
        after, tick = ticks(), 10**9 // os.sysconf("SC_CLK_TCK")
        for name, columns in (("user", (0, 1)), ("kernel", (2, 5, 6)), ("idle", (3,)), ("iowait", (4,))):
            low, high = (sum(times[column] for column in columns) * tick for times in (before, after))
            assert low <= stats[name] <= high, (name, low, stats[name], high)
        assert client.call("node_get_cpu_stats", cpuNum=-1) == {"params": [], "nparams": 4}
        one = client.call("node_get_cpu_stats", cpuNum=0, nparams=2)["params"]
        assert [p["field"] for p in one] == ["kernel", "user"]
        for number in (-2, 99999):
            refused(WRONG, client.call, "node_get_cpu_stats", cpuNum=number, nparams=4)
        found = client.call("node_get_cpu_map", need_map=1, need_online=1)
        online = os.sysconf("SC_NPROCESSORS_ONLN")
        assert found["online"] == online and found["ret"] == os.sysconf("SC_NPROCESSORS_CONF")
        assert sum(bin(byte).count("1") for byte in found["cpumap"]) == online
        assert client.call("node_get_cpu_map")["cpumap"] == b""
        assert re.search(rf"^CPUs online: +{online}$", daemon.virsh("nodecpumap"), re.M)
        assert re.search(r"^idle: +\d+$", daemon.virsh("nodecpustats"), re.M)


def test_memory():
    with lodged(LODGED) as daemon, daemon.client() as client:
        stats = {p["field"]: p["value"] for p in client.call("node_get_memory_stats", cellNum=-1, nparams=4)["params"]}
        assert stats["total"] == meminfo("MemTotal") and near(stats["free"], meminfo("MemFree")), stats
        assert near(stats["cached"], meminfo("Cached")) and near(stats["buffers"], meminfo("Buffers")), stats
        assert client.call("node_get_memory_stats", cellNum=0)["nparams"] == 4
        refused(WRONG, client.call, "node_get_memory_stats", cellNum=1)
        free = client.call("node_get_cells_free_memory", maxcells=5)["cells"]
        assert len(free) == 1 and near(free[0] / 1024, meminfo("MemFree")), free
        assert client.call("node_get_cells_free_memory")["cells"] == []
        refused(WRONG, client.call, "node_get_cells_free_memory", startCell=1, maxcells=1)
        pages = client.call("node_get_free_pages", pages=[4], startCell=0, cellCount=1)["counts"]
        assert near(pages[0] * 4, meminfo("MemFree")), pages
        refused(9, client.call, "node_get_free_pages", pages=[4, 5], startCell=0, cellCount=1)
        refused(WRONG, client.call, "node_get_free_pages", pages=[4], startCell=0, cellCount=2)
        assert re.search(r"^total *: +\d+ KiB$", daemon.virsh("nodememstats"), re.M)
        assert re.search(r"^Total: \d+ KiB$", daemon.virsh("freecell"), re.M)
        known = client.call("node_get_memory_parameters")["nparams"]
        for param in client.call("node_get_memory_parameters", nparams=known)["params"]:
            with open(f"/sys/kernel/mm/ksm/{param['field'][len('shm_'):]}") as text:
                assert int(text.read()) == param["value"], param
        daemon.virsh("node-memory-tune")


def test_what_there_is_none_of():
    with lodged(LODGED) as daemon, daemon.client(flags=1) as client:
        for words in (["nwfilter-list"], ["nwfilter-binding-list"],
                      ["net-port-list", "default"], ["net-dhcp-leases", "default"]):
            assert rows(daemon.virsh(*words) + "\n\n") in ([], [[]], [[], []]), words
        assert client.call("connect_num_of_nwfilters") == {"num": 0}
        assert client.call("connect_list_nwfilters") == {"names": []}
        refused(62, client.call, "nwfilter_lookup_by_name", name="clean-traffic")
        assert client.call("node_get_security_model") == {"model": [], "doi": []}


def schema(name, path):
    """What libvirt's own schema says of a file; None where there is none."""
    rng = f"/usr/share/libvirt/schemas/{name}.rng"
    if not shutil.which("xmllint") or not os.path.exists(rng):
        return None
    return subprocess.run(["xmllint", "--noout", "--relaxng", rng, path], capture_output=True, text=True).stderr


def test_devices():
    with lodged(LODGED) as daemon, daemon.client(flags=1) as client:
        names = daemon.virsh("nodedev-list").split()
        assert "computer" in names and any(name.startswith("net_lo_") for name in names), names
        pci = sorted(os.listdir("/sys/bus/pci/devices")) if os.path.exists("/sys/bus/pci/devices") else []
        assert [name for name in names if name.startswith("pci_")] == ["pci_" + re.sub("[:.]", "_", at) for at in pci]
        for name in names:
            xml = daemon.virsh("nodedev-dumpxml", name)
            path = f"{daemon.root}/device.xml"
            with open(path, "w") as out:
                out.write(xml)
            said = schema("nodedev", path)
            assert said is None or "validates" in said, (said, xml)
            assert f"<name>{name}</name>" in xml
            parent = re.search("<parent>(.+)</parent>", xml)
            assert parent.group(1) in names if parent else name == "computer", xml
            assert client.call("node_device_get_parent", name=name)["parentName"] == (parent.group(1) if parent else None)
            kinds = client.call("node_device_list_caps", name=name, maxnames=9)["names"]
            assert re.findall("<capability type='(.+?)'", xml)[0] == kinds[0]
            assert client.call("node_device_num_of_caps", name=name)["num"] == len(kinds)
        cards = daemon.virsh("nodedev-list", "--cap", "net").split()
        assert cards == [name for name in names if name.startswith("net_")]
        assert client.call("node_num_of_devices", cap="net") == {"num": len(cards)}
        assert client.call("node_list_devices", cap="net", maxnames=1) == {"names": cards[:1]}
        assert client.call("node_num_of_devices", cap="nothing") == {"num": 0}
        assert daemon.virsh("nodedev-list", "--cap", "system,mdev") == "computer"
        assert daemon.virsh("nodedev-list", "--inactive") == ""
        tree = daemon.virsh("nodedev-list", "--tree")
        assert tree.startswith("computer\n") and all(name in tree for name in names)
        assert re.search("Active: +yes", daemon.virsh("nodedev-info", "computer"))
        refused(53, client.call, "node_device_lookup_by_name", name="nobody")
        refused(53, client.call, "node_device_get_xml_desc", name="../computer")
        for words in (["nodedev-detach", "computer"], ["nodedev-reset", "computer"], ["nodedev-reattach", "computer"],
                      ["nodedev-destroy", "computer"], ["nodedev-undefine", "computer"], ["nodedev-start", "computer"]):
            said = daemon.virsh(*words, status=1)
            assert "neither made nor given to guests, in this version" in said, said


def test_network_cards():
    with lodged(LODGED) as daemon, daemon.client(flags=1) as client:
        there = {name for name in os.listdir("/sys/class/net") if os.path.exists(f"/sys/class/net/{name}/device")}
        listed = rows(daemon.virsh("iface-list", "--all") + "\n\n")
        assert {row[0] for row in listed if row} == there
        for name, _, mac in filter(None, listed):
            xml = daemon.virsh("iface-dumpxml", name)
            path = f"{daemon.root}/card.xml"
            with open(path, "w") as out:
                out.write(xml)
            said = schema("interface", path)
            assert said is None or "validates" in said, (said, xml)
            assert daemon.virsh("iface-mac", name) == mac and daemon.virsh("iface-name", mac) == name
            assert "are not set up in this version" in daemon.virsh("iface-destroy", name, status=1)
        up, down = (client.call(f"connect_num_of_{kind}interfaces")["num"] for kind in ("", "defined_"))
        assert up + down == len(there)
        refused(57, client.call, "interface_lookup_by_name", name="lo")
        refused(57, client.call, "interface_lookup_by_mac_string", mac="52:54:00:99:99:99")


def test_events_that_never_come():
    with lodged(LODGED) as daemon, daemon.client() as client:
        for kind in ("node_device", "secret"):
            numbers = [client.call(f"connect_{kind}_event_register_any", eventID=n)["callbackID"] for n in (0, 1)]
            refused(WRONG, client.call, f"connect_{kind}_event_register_any", eventID=2)
            for number in numbers:
                client.call(f"connect_{kind}_event_deregister_any", callbackID=number)
                refused(WRONG, client.call, f"connect_{kind}_event_deregister_any", callbackID=number)
        refused(53, client.call, "connect_node_device_event_register_any", dev={"name": "computer"})


def test_pool_capabilities():
    with lodged(LODGED) as daemon:
        text = daemon.virsh("pool-capabilities")
        assert "<pool type='dir' supported='yes'>" in text and "<defaultFormat type='raw'/>" in text, text


tap.main(globals())
