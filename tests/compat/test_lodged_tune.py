# SPDX-License-Identifier: GPL-2.0-or-later
"""Changes of definitions by virsh's own commands: memory, processors, names; and what of it a running guest
refuses.

    test_lodged_tune.py LODGED BUTTON-IMAGE
"""
import glob
import os
import re
import signal
import sys

import tap
from lodged import guest_xml, lodged, rows
from rpc import refused

LODGED, IMAGE = sys.argv[1:]
WRONG, INVALID, LATER = 8, 55, 84


def define(daemon, name="g", extra=""):
    path = f"{daemon.root}/{name}.xml"
    with open(path, "w") as out:
        out.write(guest_xml(name, IMAGE, memory=64).replace("<os>", f"<vcpu>4</vcpu>{extra}<os>"))
    daemon.virsh("define", path)


def info(daemon, name, field):
    return re.search(rf"^{field}: +(.+)$", daemon.virsh("dominfo", name), re.M).group(1)


def test_memory():
    with lodged(LODGED) as daemon, daemon.client() as client:
        define(daemon)
        dom = client.call("domain_lookup_by_name", name="g")["dom"]
        daemon.virsh("setmaxmem", "g", "96M", "--config")
        assert info(daemon, "g", "Max memory") == "98304 KiB"
        assert "<currentMemory unit='KiB'>65536<" in daemon.virsh("dumpxml", "g")
        daemon.virsh("setmem", "g", "80M", "--config")
        assert "<currentMemory unit='KiB'>81920<" in daemon.virsh("dumpxml", "g")
        daemon.virsh("setmaxmem", "g", "32M", "--config")  # takes the other with it
        assert "<currentMemory unit='KiB'>32768<" in daemon.virsh("dumpxml", "g")
        for memory in (0, 32769, 1 << 63):
            refused(WRONG, client.call, "domain_set_memory_flags", dom=dom, memory=memory, flags=2)
        refused(WRONG, client.call, "domain_set_memory_flags", dom=dom, memory=0, flags=6)
        refused(INVALID, client.call, "domain_set_memory_flags", dom=dom, memory=1024, flags=1)
        client.call("domain_set_max_memory", dom=dom, memory=65536)
        daemon.restart(signal.SIGKILL)
        assert info(daemon, "g", "Max memory") == "65536 KiB"


def test_processors():
    with lodged(LODGED) as daemon, daemon.client() as client:
        define(daemon)
        dom = client.call("domain_lookup_by_name", name="g")["dom"]
        daemon.virsh("setvcpus", "g", "2", "--config")
        assert "<vcpu placement='static' current='2'>4</vcpu>" in daemon.virsh("dumpxml", "g")
        daemon.virsh("setvcpus", "g", "8", "--config", "--maximum")
        assert "<vcpu placement='static' current='2'>8</vcpu>" in daemon.virsh("dumpxml", "g")
        assert daemon.virsh("vcpucount", "g", "--maximum", "--config") == "8"
        daemon.virsh("setvcpus", "g", "8", "--config")
        daemon.virsh("setvcpus", "g", "3", "--config", "--maximum")
        assert "<vcpu placement='static'>3</vcpu>" in daemon.virsh("dumpxml", "g")
        for count, flags in ((0, 2), (4, 2), (0, 6), (256, 6), (4000000000, 6)):
            refused(WRONG, client.call, "domain_set_vcpus_flags", dom=dom, nvcpus=count, flags=flags)
        maps = client.call("domain_get_vcpu_pin_info", dom=dom, ncpumaps=3, maplen=1)
        assert maps["num"] == 3 and len(maps["cpumaps"]) == 3 and maps["cpumaps"][0] & 1
        define(daemon, "h", "<cpu><topology sockets='2' dies='1' cores='2' threads='1'/></cpu>")
        message = daemon.virsh("setvcpus", "h", "6", "--config", "--maximum", status=1)
        assert "topology" in message and "<vcpu placement='static'>4</vcpu>" in daemon.virsh("dumpxml", "h"), message


def test_running_guests_keep_what_they_have():
    with lodged(LODGED) as daemon, daemon.client() as client:
        define(daemon)
        daemon.virsh("start", "g")
        dom = client.call("domain_lookup_by_name", name="g")["dom"]
        for words in (["setmaxmem", "g", "32M", "--live"], ["setvcpus", "g", "2", "--live"], ["setvcpus", "g", "2"]):
            assert "of domain 'g' while it runs is not in this version; --config" in daemon.virsh(*words, status=1)
        refused(INVALID, client.call, "domain_set_memory", dom=dom, memory=1024)  # it has no balloon
        refused(LATER, client.call, "domain_set_vcpus", dom=dom, nvcpus=1)
        daemon.virsh("setmem", "g", "32M", "--config")
        daemon.virsh("setvcpus", "g", "2", "--config")
        assert "<currentMemory unit='KiB'>65536<" in daemon.virsh("dumpxml", "g")
        kept = daemon.virsh("dumpxml", "g", "--inactive")
        assert "<currentMemory unit='KiB'>32768<" in kept and "current='2'>4<" in kept
        assert info(daemon, "g", "CPU.s.") == "4"
        daemon.virsh("destroy", "g")
        assert info(daemon, "g", "CPU.s.") == "2"


def count(daemon, *words):
    return int(daemon.virsh("vcpucount", "g", *words))


def test_counts_of_processors():
    with lodged(LODGED) as daemon:
        define(daemon)
        daemon.virsh("setvcpus", "g", "2", "--config")
        assert rows(daemon.virsh("vcpucount", "g"), 0) == [["maximum", "config", "4"], ["current", "config", "2"]]
        assert "not running" in daemon.virsh("vcpucount", "g", "--maximum", "--live", status=1)
        daemon.virsh("start", "g")
        daemon.virsh("setvcpus", "g", "1", "--config")
        daemon.virsh("setvcpus", "g", "3", "--config", "--maximum")
        assert rows(daemon.virsh("vcpucount", "g"), 0) == [
            ["maximum", "config", "3"], ["maximum", "live", "4"], ["current", "config", "1"], ["current", "live", "2"]]
        for number, words in ((4, ["--maximum"]), (4, ["--maximum", "--live"]), (3, ["--maximum", "--config"]),
                              (2, []), (2, ["--active", "--live"]), (1, ["--active", "--config"]), (2, ["--current"])):
            assert not words or count(daemon, *words) == number, words
        for words in (["vcpucount", "g", "--guest"], ["setvcpus", "g", "2", "--guest"],
                      ["setvcpus", "g", "2", "--hotpluggable", "--config"], ["setvcpu", "g", "1", "--disable"],
                      ["guestvcpus", "g"]):
            assert "in this version" in daemon.virsh(*words, status=1), words


def test_what_becomes_of_a_guest():
    with lodged(LODGED) as daemon, daemon.client() as client:
        define(daemon)
        for end, action in (("poweroff", "restart"), ("reboot", "destroy"), ("crash", "preserve")):
            daemon.virsh("set-lifecycle-action", "g", end, action, "--config")
            assert f"<on_{end}>{action}</on_{end}>" in daemon.virsh("dumpxml", "g")
        dom = client.call("domain_lookup_by_name", name="g")["dom"]
        for kind, action in ((3, 0), (0, 6), (1 << 31, 1)):
            refused(WRONG, client.call, "domain_set_lifecycle_action", dom=dom, type=kind, action=action, flags=2)
        daemon.virsh("start", "g")
        assert "not in this version; --config" in daemon.virsh("set-lifecycle-action", "g", "crash", "destroy", status=1)


def test_names():
    with lodged(LODGED) as daemon, daemon.client() as client:
        define(daemon)
        define(daemon, "h")
        uuid = daemon.virsh("domuuid", "g")
        client.call("connect_domain_event_callback_register_any", eventID=0)
        daemon.virsh("domrename", "g", "new name")
        client.call("connect_get_hostname")
        assert len(client.events) == 2
        assert daemon.virsh("domuuid", "new name") == uuid
        assert "failed to get domain" in daemon.virsh("domuuid", "g", status=1)
        for name, message in (("h", "already exists"), ("", ""), ("a/b", ""), ("x" * 300, ""), ("new name", "already exists")):
            assert message in daemon.virsh("domrename", "new name", name, status=1), name
        define(daemon)  # the old name is free
        daemon.virsh("domrename", "h", "i")
        daemon.restart(signal.SIGKILL)
        assert sorted(daemon.virsh("list", "--all", "--name").split("\n")) == ["g", "i", "new name"]
        daemon.virsh("start", "i")
        assert "cannot rename active domain" in daemon.virsh("domrename", "i", "j", status=1)
        assert daemon.virsh("domuuid", "new name") == uuid


def threads(pid):
    """Where each thread of a process may run, by the thread's name."""
    where = {}
    for task in glob.glob(f"/proc/{pid}/task/*/status"):
        with open(task) as text:
            status = dict(line.split(":", 1) for line in text)
        where.setdefault(status["Name"].strip(), set()).add(status["Cpus_allowed_list"].strip())
    return where


def mappings(pid, mebibytes):
    """The policies (of numa_maps) and the resident KiB of a process's mappings of that size or a little more."""
    with open(f"/proc/{pid}/smaps") as text:
        found = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) .*?^Rss: +(\d+) kB", text.read(), re.M | re.S)
    with open(f"/proc/{pid}/numa_maps") as text:
        policies = dict(line.split()[:2] for line in text)
    return [(policies[start], int(rss)) for start, end, rss in found
            if mebibytes << 20 <= int(end, 16) - int(start, 16) < mebibytes + 2 << 20]


def test_placement():
    if not os.path.exists("/proc/self/numa_maps"):
        raise tap.Skip("the host's kernel knows no memory nodes")
    cpus = sorted(os.sched_getaffinity(0))
    first, last = str(cpus[0]), str(cpus[-1])
    tune = (f"<memoryBacking><allocation mode='immediate'/></memoryBacking>"
            f"<cputune><vcpupin vcpu='0' cpuset='{first}'/><vcpupin vcpu='1' cpuset='{last},999'/>"
            f"<vcpupin vcpu='9' cpuset='{last}'/><emulatorpin cpuset='{last}'/></cputune>"
            f"<numatune><memory mode='strict' nodeset='0'/></numatune>")
    with lodged(LODGED) as daemon:
        define(daemon, extra=tune)
        daemon.virsh("start", "g")
        pid = daemon.pid("g")
        where = threads(pid)
        assert where["vcpu0"] == {first} and where["vcpu1"] == {last}, where
        with open("/proc/self/status") as text:
            everywhere = re.search(r"Cpus_allowed_list:\s*(.+)", text.read()).group(1)
        assert where["vcpu2"] == where["vcpu3"] == {everywhere}, where
        others = set.union(*(where[name] for name in where if not name.startswith("vcpu")))
        assert others == {last}, where
        memory = mappings(pid, 64)
        assert any(policy == "bind:0" and rss >= 65536 for policy, rss in memory), memory
        daemon.virsh("destroy", "g")
        for extra, why in (
                ("<cputune><vcpupin vcpu='2' cpuset='1023'/></cputune>",
                 "vCPU 2 cannot run on the host's processors 1023: none of them is there"),
                ("<cputune><emulatorpin cpuset='1022-1023'/></cputune>",
                 "the emulator cannot run on the host's processors 1022-1023: none of them"),
                ("<numatune><memory mode='strict' nodeset='63'/></numatune>",
                 "cannot take guest memory from the host's memory nodes 63: there are no such nodes"),
                ("<memoryBacking><hugepages><page size='1' unit='GiB'/></hugepages></memoryBacking>",
                 "65536 KiB of guest memory are not a multiple of its huge pages of 1048576 KiB")):
            daemon.virsh("undefine", "g")
            define(daemon, extra=extra)
            said = daemon.virsh("start", "g", status=1)
            assert why in said, said


def pins(text):
    """What virsh vcpupin or emulatorpin tells: a set of processors by their number or *."""
    return dict(re.findall(r"^ *([0-9*]+): +(\S+)$", text, re.M) or re.findall(r"^ *([0-9*]+) +(\S+)$", text, re.M))


def test_pins():
    cpus = sorted(os.sched_getaffinity(0))
    first, last = str(cpus[0]), str(cpus[-1])
    with lodged(LODGED) as daemon:
        define(daemon)
        everywhere = pins(daemon.virsh("vcpupin", "g"))["3"]
        daemon.virsh("vcpupin", "g", "1", last, "--config")
        assert pins(daemon.virsh("vcpupin", "g")) == {"0": everywhere, "1": last, "2": everywhere, "3": everywhere}
        daemon.virsh("start", "g")
        assert threads(daemon.pid("g"))["vcpu1"] == {last}
        daemon.virsh("vcpupin", "g", "1", first, "--live")
        daemon.virsh("vcpupin", "g", "2", last, "--live", "--config")
        daemon.virsh("emulatorpin", "g", first)
        where = threads(daemon.pid("g"))
        assert where["vcpu1"] == {first} and where["vcpu2"] == {last}, where
        assert set.union(*(where[name] for name in where if not name.startswith("vcpu"))) == {first}, where
        assert pins(daemon.virsh("vcpupin", "g"))["1"] == pins(daemon.virsh("emulatorpin", "g"))["*"] == first
        assert pins(daemon.virsh("vcpupin", "g", "--config"))["1"] == last
        for xml, pinned in ((daemon.virsh("dumpxml", "g"), {"1": first, "2": last}),
                            (daemon.virsh("dumpxml", "g", "--inactive"), {"1": last, "2": last})):
            assert dict(re.findall(r"<vcpupin vcpu='(\d)' cpuset='(\d+)'/>", xml)) == pinned, xml
        assert "<alias name='serial0'/>" in daemon.virsh("dumpxml", "g")
        daemon.restart(signal.SIGKILL)
        assert f"<emulatorpin cpuset='{first}'/>" in daemon.virsh("dumpxml", "g")
        assert "has no processor 4" in daemon.virsh("vcpupin", "g", "4", first, "--live", status=1)
        with daemon.client() as client:
            dom = client.call("domain_lookup_by_name", name="g")["dom"]
            assert "none of these processors is there" in refused(WRONG, client.call, "domain_pin_emulator", dom=dom, cpumap=bytes(8), flags=1)
        daemon.virsh("destroy", "g")
        assert "is not running" in daemon.virsh("vcpupin", "g", "0", first, "--live", status=1)


def test_huge_pages():
    pool = "/sys/kernel/mm/hugepages/hugepages-2048kB/"
    if not os.path.exists(pool):
        raise tap.Skip("the host's kernel has no huge pages of 2 MiB")
    with open(pool + "free_hugepages") as text:
        free = int(text.read())
    with lodged(LODGED) as daemon:
        define(daemon, extra="<memoryBacking><hugepages><page size='2' unit='MiB'/></hugepages></memoryBacking>")
        if free < 32:
            said = daemon.virsh("start", "g", status=1)
            assert "cannot provide 64 MiB of guest memory in huge pages of 2048 KiB: too few are free" in said, said
        else:
            daemon.virsh("start", "g")
            with open(f"/proc/{daemon.pid('g')}/smaps") as text:
                assert "KernelPageSize:     2048 kB" in text.read()


tap.main(globals())
