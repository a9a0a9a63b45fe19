# SPDX-License-Identifier: GPL-2.0-or-later
"""Changes of definitions by virsh's own commands: memory, processors, names; and what of it a running guest
refuses.

    test_lodged_tune.py LODGED BUTTON-IMAGE
"""
import re
import signal
import sys

import tap
from lodged import guest_xml, lodged
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
        for words in (["setmaxmem", "g", "32M", "--live"], ["setvcpus", "g", "2", "--live"]):
            assert "not in this version; --config" in daemon.virsh(*words, status=1)
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


tap.main(globals())
