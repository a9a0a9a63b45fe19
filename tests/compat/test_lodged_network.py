# SPDX-License-Identifier: GPL-2.0-or-later
"""Networks of lodged, by an unmodified virsh and a raw client: the one that is always there, and
definitions of others, which are kept over a SIGKILL and not started; and guests on both.

    test_lodged_network.py LODGED BUTTON-IMAGE
"""
import os
import re
import shutil
import signal
import subprocess
import sys

import rpc
import tap
from lodged import guest_xml, lodged, rows, until
from rpc import refused

LODGED, IMAGE = sys.argv[1:]
UUID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
XML_ERROR, NO_NETWORK, DENIED, INVALID, UNSUPPORTED = 27, 43, 29, 55, 67


def bridged(name="lan", uuid=f"<uuid>{UUID}</uuid>", bridge="br7"):
    return (f"<network><name>{name}</name>{uuid}<forward mode='nat'/><bridge name='{bridge}'/>"
            "<ip address='192.168.9.1' netmask='255.255.255.0'/></network>")


def write(daemon, text):
    path = f"{daemon.root}/net.xml"
    with open(path, "w") as out:
        out.write(text)
    return path


def test_default_is_there():
    with lodged(LODGED) as daemon:
        assert rows(daemon.virsh("net-list")) == [["default", "active", "yes", "yes"]]
        uuid = daemon.virsh("net-uuid", "default")
        info = daemon.virsh("net-info", "default")
        for line in ("Name: +default", f"UUID: +{uuid}", "Active: +yes", "Persistent: +yes", "Autostart: +yes"):
            assert re.search(line, info), info
        xml = daemon.virsh("net-dumpxml", "default")
        assert f"<uuid>{uuid}</uuid>" in xml and "user-mode network" in xml, xml
        assert "is part of Lodge" in daemon.virsh("net-destroy", "default", status=1)
        assert "is part of Lodge" in daemon.virsh("net-undefine", "default", status=1)
        assert "is part of Lodge" in daemon.virsh("net-autostart", "--disable", "default", status=1)
        assert "already active" in daemon.virsh("net-start", "default", status=1)
        daemon.virsh("net-autostart", "default")
        other = bridged("default")
        assert f"already exists with uuid {uuid}" in daemon.virsh("net-define", write(daemon, other), status=1)
        assert "is part of Lodge" in daemon.virsh("net-define", write(daemon, other.replace(UUID, uuid)), status=1)
        daemon.restart(signal.SIGKILL)
        assert daemon.virsh("net-uuid", "default") == uuid and daemon.virsh("net-dumpxml", "default") == xml
    with lodged(LODGED) as daemon:
        assert daemon.virsh("net-uuid", "default") != uuid, "two hosts with one uuid"


def test_default_is_valid():
    if not shutil.which("virt-xml-validate"):
        raise tap.Skip("virt-xml-validate is not installed (package libvirt-clients)")
    with lodged(LODGED) as daemon:
        path = write(daemon, daemon.virsh("net-dumpxml", "default"))
        done = subprocess.run(["virt-xml-validate", path, "network"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done
        with open(path) as text:
            broken = text.read().replace("<forward mode='nat'", "<forward mode='nets'")
        done = subprocess.run(["virt-xml-validate", write(daemon, broken), "network"], capture_output=True,
                              text=True, check=False)
        assert done.returncode, "the validator finds nothing wrong"


def test_others_are_kept_and_not_started():
    with lodged(LODGED) as daemon:
        daemon.virsh("net-define", write(daemon, bridged()))
        assert rows(daemon.virsh("net-list", "--all")) == [["default", "active", "yes", "yes"],
                                                           ["lan", "inactive", "no", "yes"]]
        assert re.search("Bridge: +br7", daemon.virsh("net-info", "lan"))
        assert "not in this version" in daemon.virsh("net-start", "lan", status=1)
        assert "not in this version" in daemon.virsh("net-create", write(daemon, bridged("t", "")), status=1)
        assert "not active" in daemon.virsh("net-destroy", "lan", status=1)
        daemon.virsh("net-autostart", "lan")
        daemon.virsh("net-define", write(daemon, bridged(bridge="br8")))
        xml = daemon.virsh("net-dumpxml", "lan")
        assert "<bridge name='br8'/>" in xml, xml
        daemon.restart(signal.SIGKILL)
        assert daemon.virsh("net-dumpxml", "lan") == xml
        assert rows(daemon.virsh("net-list", "--inactive")) == [["lan", "inactive", "yes", "yes"]]
        assert rows(daemon.virsh("net-list", "--all", "--no-autostart")) == []
        daemon.virsh("net-autostart", "--disable", "lan")
        assert rows(daemon.virsh("net-list", "--all", "--no-autostart")) == [["lan", "inactive", "no", "yes"]]
        daemon.virsh("net-autostart", "lan")
        daemon.virsh("net-undefine", "lan")
        assert [row[0] for row in rows(daemon.virsh("net-list", "--all"))] == ["default"]
        until("nothing is kept", lambda: os.listdir(f"{daemon.root}/state/networks/autostart") == [] and
              sorted(os.listdir(f"{daemon.root}/state/networks")) == ["autostart", "default"])


def test_raw_calls():
    with lodged(LODGED) as daemon, daemon.client() as client:
        net = client.call("network_define_xml", xml=bridged())["net"]
        assert net["name"] == "lan" and net["uuid"].hex() == UUID.replace("-", "")
        assert client.call("network_lookup_by_uuid", uuid=net["uuid"])["net"] == net
        assert client.call("connect_num_of_networks")["num"] == 1
        assert client.call("connect_num_of_defined_networks")["num"] == 1
        assert client.call("connect_list_networks", maxnames=9)["names"] == ["default"]
        assert client.call("connect_list_defined_networks", maxnames=9)["names"] == ["lan"]
        assert client.call("connect_list_defined_networks", maxnames=-1)["names"] == []
        assert client.call("connect_list_all_networks", need_results=0)["ret"] == 2
        assert client.call("network_is_active", net=net)["active"] == 0
        refused(NO_NETWORK, client.call, "network_lookup_by_name", name="nowhere")
        refused(NO_NETWORK, client.call, "network_undefine", net={"name": "lan", "uuid": bytes(16)})
        refused(UNSUPPORTED, client.call, "network_create", net=net)
        refused(8, client.call, "connect_list_all_networks", need_results=1, flags=1 << 9)
        with rpc.Client(daemon.socket_ro, flags=1) as reader:
            assert reader.call("connect_list_all_networks", need_results=1)["nets"][1] == net
            refused(DENIED, reader.call, "network_undefine", net=net)
            refused(DENIED, reader.call, "network_define_xml", xml=bridged())
            refused(DENIED, reader.call, "network_set_autostart", net=net, autostart=1)


def test_what_is_no_network():
    with lodged(LODGED) as daemon, daemon.client() as client:
        for xml in ("", "<network/>", "<domain><name>x</name></domain>", "<network><name/></network>",
                    "<network><name>a/b</name></network>", bridged("x" * 256), bridged("a&#10;b"),
                    bridged(uuid="<uuid>12</uuid>"), bridged(uuid=f"<uuid>{UUID}0</uuid>"),
                    "<!DOCTYPE network>" + bridged()):
            refused(XML_ERROR, client.call, "network_define_xml", xml=xml)
        assert client.call("connect_list_all_networks", need_results=0)["ret"] == 1
        client.call("network_define_xml", xml=bridged())
        for xml in (bridged("other"), bridged(uuid="")):  # another's uuid, another's name
            refused(9, client.call, "network_define_xml", xml=xml)
        client.call("network_define_xml", xml=bridged("x" * 255, ""))


def test_files_that_are_none():
    with lodged(LODGED) as daemon:
        daemon.virsh("net-define", write(daemon, bridged()))
        state = f"{daemon.root}/state/networks"
        for name, text in (("bad.xml", "<network"), ("twin.xml", bridged()), (f"{UUID}.xml.new", "<netw")):
            with open(f"{state}/{name}", "w") as out:
                out.write(text)
        daemon.restart()
        assert [row[0] for row in rows(daemon.virsh("net-list", "--all"))] == ["default", "lan"]
        assert os.path.exists(f"{state}/bad.xml") and "left alone" in daemon.text()


# --- guests ---


def on_network(network, mac="52:54:00:12:34:56"):
    return (f"<interface type='network'><mac address='{mac}'/><source network='{network}'/>"
            "<model type='virtio'/></interface>")


def networks_of(daemon):
    """How many processes of lodged's are guests' networks."""
    found = 0
    for thread in os.listdir(f"/proc/{daemon.process.pid}/task"):
        with open(f"/proc/{daemon.process.pid}/task/{thread}/children") as children:
            pids = children.read().split()
        for pid in pids:
            with open(f"/proc/{pid}/stat") as stat:
                _, name, rest = re.split(r"[()]", stat.read(), maxsplit=2)
            found += name == "lodge-net" and rest.split()[0] != "Z"
    return found


def test_guests_on_networks():
    with lodged(LODGED) as daemon:
        path = f"{daemon.root}/guest.xml"
        for name, extra in (("g", on_network("default")), ("h", on_network("lan"))):
            with open(path, "w") as out:
                out.write(guest_xml(name, IMAGE, extra=extra))
            daemon.virsh("define", path)
        daemon.virsh("start", "g")
        assert networks_of(daemon) == 1
        live = daemon.virsh("dumpxml", "g")
        assert re.search("<interface type='network'>.*<source network='default'/>.*<alias name='net0'/>", live, re.S)
        listed = rows(daemon.virsh("domiflist", "g"))
        assert [row[1:] for row in listed] == [["network", "default", "virtio", "52:54:00:12:34:56"]], listed
        daemon.virsh("destroy", "g")
        until("its network ends with it", lambda: networks_of(daemon) == 0)
        message = daemon.virsh("start", "h", status=1)
        assert "network 'lan' is not in this version; use network='default'" in message, message
        assert daemon.virsh("domstate", "h") == "shut off"


tap.main(globals())
