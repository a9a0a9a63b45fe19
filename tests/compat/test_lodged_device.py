# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices of definitions, added, changed and taken away by virsh's own commands; a running guest keeps its own.

    test_lodged_device.py LODGED BUTTON-IMAGE
"""
import json
import re
import signal
import sys

import tap
from lodged import guest_xml, lodged
from rpc import refused

LODGED, IMAGE = sys.argv[1:]
MAC = "52:54:00:00:00:0a"
FAILED, MISSING, XML_ERROR, INVALID, LATER = 9, 99, 27, 55, 84


def write(daemon, name, text):
    path = f"{daemon.root}/{name}"
    with open(path, "w") as out:
        out.write(text)
    return path


def define(daemon, extra=""):
    daemon.virsh("define", write(daemon, "g.xml", guest_xml("g", IMAGE, extra=extra)))


def devices(daemon, kind):
    return re.findall(rf"<{kind} .*?</{kind}>", daemon.virsh("dumpxml", "--inactive", "g"), re.S)


def target_names(daemon):
    return [re.search(r"<target dev='(\w+)'", disk).group(1) for disk in devices(daemon, "disk")]


def test_disks():
    with lodged(LODGED) as daemon:
        define(daemon)
        for name in ("one", "two"):
            with open(f"{daemon.root}/{name}", "wb") as image:
                image.truncate(1 << 20)
            target = {"one": "vda", "two": "vdb"}[name]
            assert "success" in daemon.virsh("attach-disk", "g", f"{daemon.root}/{name}", target, "--config", "--targetbus", "virtio")
        assert target_names(daemon) == ["vda", "vdb"]
        daemon.restart(signal.SIGKILL)
        assert target_names(daemon) == ["vda", "vdb"]
        first, second = devices(daemon, "disk")
        assert "<address type='pci'" in first and f"{daemon.root}/two" in second
        assert "domain 'g': the definition has disk vda already" in daemon.virsh("attach-disk", "g", f"{daemon.root}/two", "vda", "--config", status=1)
        # another file for it, on the same place of its bus
        changed = re.sub(r"\s*<address.*?/>", "", second.replace(f"{daemon.root}/two", f"{daemon.root}/three"))
        daemon.virsh("update-device", "g", write(daemon, "disk.xml", changed), "--config")
        after = devices(daemon, "disk")
        assert after == [first, second.replace(f"{daemon.root}/two", f"{daemon.root}/three")], after
        daemon.virsh("detach-disk", "g", "vda", "--config")
        assert target_names(daemon) == ["vdb"]
        assert "no disk vda" in daemon.virsh("detach-device", "g", write(daemon, "disk.xml", first), "--config", status=1)
        # the guest starts with what is left, and what it has then stays
        with open(f"{daemon.root}/three", "wb") as image:
            image.truncate(1 << 20)
        daemon.virsh("start", "g")
        path = write(daemon, "disk.xml", devices(daemon, "disk")[0])
        for words in (["detach-device", "g", path], ["detach-device", "g", path, "--live", "--config"],
                      ["update-device", "g", path, "--live"], ["attach-device", "g", path, "--live"]):
            assert "devices of domain 'g' are not changed while it runs in this version; with --config alone" in daemon.virsh(*words, status=1), words
        daemon.virsh("detach-disk", "g", "vdb", "--config")
        assert target_names(daemon) == [] and "dev='vdb'" in daemon.virsh("dumpxml", "g")
        assert "are not changed while it runs" in daemon.virsh("detach-disk", "g", "vdb", status=1)


def test_interfaces():
    with lodged(LODGED) as daemon:
        define(daemon)
        daemon.virsh("attach-interface", "g", "network", "default", "--mac", MAC, "--model", "virtio", "--config")
        card, = devices(daemon, "interface")
        assert MAC in card and "<source network='default'/>" in card and "<address" in card
        daemon.virsh("domif-setlink", "g", MAC, "down", "--config")
        assert "<link state='down'/>" in devices(daemon, "interface")[0]
        assert daemon.virsh("domif-getlink", "g", MAC, "--config") == f"{MAC} down"
        assert "has interface 52:54:00:00:00:0A already" in daemon.virsh(
            "attach-interface", "g", "network", "default", "--mac", MAC.upper(), "--config", status=1)
        daemon.virsh("detach-interface", "g", "network", "--mac", MAC, "--config")
        assert devices(daemon, "interface") == []


def card_xml(mac, more=""):
    return f"<interface type='user'><mac address='{mac}'/><model type='virtio'/>{more}</interface>"


def ask(daemon, command, **arguments):
    """The guest's monitor itself."""
    text = daemon.virsh("qemu-monitor-command", "g", json.dumps({"execute": command, "arguments": arguments}))
    answer = json.loads(text)
    return answer["error"]["desc"] if "error" in answer else answer["return"]


def test_links():
    """The card of a running guest is plugged in and unplugged; nothing else of it changes."""
    with lodged(LODGED) as daemon:
        other = "52:54:00:00:00:0b"
        define(daemon, card_xml(MAC) + card_xml(other))
        links = lambda: [daemon.virsh("domif-getlink", "g", *words) for words in ((MAC,), (MAC, "--config"), (other,))]
        told = lambda: [word == "down" for word in re.findall(r"\S+ (up|down)", " ".join(links()))]
        assert told() == [False, False, False]
        daemon.virsh("start", "g")
        before = daemon.virsh("dumpxml", "g")
        assert "success" in daemon.virsh("domif-setlink", "g", MAC, "down")
        assert told() == [True, False, False], links()
        assert re.sub(r"\s*<link state='down'/>", "", daemon.virsh("dumpxml", "g")) == before
        # it is kept as long as the guest runs, whoever looks after it
        daemon.restart(signal.SIGKILL)
        assert told() == [True, False, False], links()
        daemon.virsh("domif-setlink", "g", "net1", "down")
        daemon.virsh("domif-setlink", "g", MAC, "up")
        assert told() == [False, False, True], links()
        daemon.virsh("domif-setlink", "g", MAC, "down", "--config")
        assert told() == [False, True, True], links()
        # both at once; without <link> it is up
        card = re.findall("<interface .*?</interface>", daemon.virsh("dumpxml", "g"), re.S)[1]
        plain = write(daemon, "plain.xml", re.sub(r"\s*<link .*?/>", "", card))
        daemon.virsh("update-device", "g", plain, "--live", "--config")
        assert told() == [False, True, False], links()
        assert "<alias" not in " ".join(devices(daemon, "interface")) and "net1" not in " ".join(devices(daemon, "interface"))
        # what a running card has by itself need not be said
        daemon.virsh("update-device", "g", write(daemon, "short.xml", card_xml(other, "<link state='down'/>")), "--live")
        assert told() == [False, True, True], links()
        assert "<alias name='net1'/>" in daemon.virsh("dumpxml", "g")


def test_links_start_as_they_are_defined():
    with lodged(LODGED) as daemon, daemon.client() as client:
        define(daemon, card_xml(MAC, "<link state='down'/>"))
        assert "left out" not in daemon.virsh("start", "g") and "left out" not in daemon.virsh("dominfo", "g")
        live = daemon.virsh("dumpxml", "g")
        assert "<link state='down'/>" in live
        card = re.search("<interface .*?</interface>", live, re.S).group()
        dom = client.call("domain_lookup_by_name", name="g")["dom"]
        for xml, code in ((card.replace("'virtio'", "'virtio-transitional'"), LATER),
                          (card.replace("'net0'", "'net1'"), LATER),
                          (card.replace("</interface>", "<mtu size='1400'/></interface>"), LATER),
                          (card.replace("'down'", "'sideways'"), XML_ERROR),
                          (card.replace(MAC, "52:54:00:00:00:0c"), LATER),
                          (card.replace("<mac", "<nomac"), LATER),
                          ("<interface", XML_ERROR)):
            refused(code, client.call, "domain_update_device_flags", dom=dom, xml=xml, flags=1)
            assert daemon.virsh("dumpxml", "g") == live, xml
        assert ask(daemon, "set_link", name="net0", up=True) == {}
        for arguments, why in (({"name": "net9", "up": True}, "'name' must be the id of a network card"),
                               ({"up": True}, "'name' must be the id of a network card"),
                               ({"name": "serial0", "up": True}, "'name' must be the id of a network card"),
                               ({"name": "net0"}, "'up' must be true or false"),
                               ({"name": "net0", "up": 1}, "'up' must be true or false")):
            assert ask(daemon, "set_link", **arguments) == why, arguments


def test_others():
    """By all that is said of them, or by an alias."""
    with lodged(LODGED) as daemon:
        define(daemon)
        channel = "<channel type='unix'><target type='virtio' name='org.test.{}'/>{}</channel>"
        for name in ("a", "b"):
            path = write(daemon, f"{name}.xml", channel.format(name, f"<alias name='ua-{name}'/>" if name == "b" else ""))
            daemon.virsh("attach-device", "g", path, "--config")
        assert len(devices(daemon, "channel")) == 2
        unclear = write(daemon, "c.xml", "<channel type='unix'><target type='virtio'/></channel>")
        assert "has 2 <channel> of that description: say which" in daemon.virsh("detach-device", "g", unclear, "--config", status=1)
        assert "only a <disk>" in daemon.virsh("update-device", "g", unclear, "--config", status=1)
        daemon.virsh("detach-device", "g", f"{daemon.root}/a.xml", "--config")
        left, = devices(daemon, "channel")
        assert "org.test.b" in left
        daemon.virsh("detach-device-alias", "g", "ua-b", "--config")
        assert devices(daemon, "channel") == []
        assert "none with the alias 'ua-b'" in daemon.virsh("detach-device-alias", "g", "ua-b", "--config", status=1)


def test_refusals():
    with lodged(LODGED) as daemon, daemon.client() as client:
        define(daemon)
        dom = client.call("domain_lookup_by_name", name="g")["dom"]
        before = daemon.virsh("dumpxml", "g")
        rng = "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>"
        for code, call, values in (
                (INVALID, "domain_attach_device", {"xml": rng}),  # it does not run
                (INVALID, "domain_attach_device_flags", {"xml": rng, "flags": 1}),
                (XML_ERROR, "domain_attach_device_flags", {"xml": "<teapot/>", "flags": 2}),
                (XML_ERROR, "domain_attach_device_flags", {"xml": "<disk", "flags": 2}),
                (XML_ERROR, "domain_attach_device_flags", {"xml": "", "flags": 2}),
                (MISSING, "domain_detach_device_flags", {"xml": rng, "flags": 2}),
                (MISSING, "domain_detach_device_alias", {"alias": "nobody", "flags": 2}),
                (LATER, "domain_update_device_flags", {"xml": rng, "flags": 2})):
            refused(code, client.call, call, dom=dom, **values)
        disk = "<disk type='file'><source file='/x'/><target dev='vda' bus='scsi5'/></disk>"
        refused(XML_ERROR, client.call, "domain_attach_device_flags", dom=dom, xml=disk, flags=2)
        assert daemon.virsh("dumpxml", "g") == before
        client.call("domain_attach_device_flags", dom=dom, xml=rng, flags=2)
        assert len(devices(daemon, "rng")) == 1
        client.call("domain_detach_device_flags", dom=dom, xml=rng, flags=2)
        assert len(devices(daemon, "rng")) == 0


tap.main(globals())
