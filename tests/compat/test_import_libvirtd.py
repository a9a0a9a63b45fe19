# SPDX-License-Identifier: GPL-2.0-or-later
"""`lodge import` of a folder that a real libvirtd has written: what was defined there is here, and says the same.

    test_import_libvirtd.py LODGED BUTTON-IMAGE LODGE
"""
import json
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

import tap
from libvirtd import libvirtd
from lodged import WAIT, guest_xml, lodged

LODGED, IMAGE, LODGE = sys.argv[1:]
DISK = "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/><target dev='vda' bus='virtio'/></disk>"
CARD = "<interface type='user'><mac address='52:54:00:00:00:07'/><model type='virtio'/></interface>"


def define_all(other):
    """With libvirtd's own client: the UUIDs of its guests."""
    uuids = {}

    def virsh(*words):
        done = subprocess.run(["virsh", "-c", other.uri(), *words], capture_output=True, text=True, timeout=WAIT,
                              stdin=subprocess.DEVNULL, env=dict(os.environ, LC_ALL="C"), check=False)
        assert not done.returncode, (words, done, other.text())
        return done.stdout.strip()

    shutil.copy(IMAGE, f"{other.root}/button")
    with open(f"{other.root}/disk.img", "wb") as out:
        out.truncate(1 << 20)
    for name in "button", "disk.img":
        os.chmod(f"{other.root}/{name}", 0o666)
    for name, extra in (("web1", DISK.format(f"{other.root}/disk.img") + CARD), ("web2", "")):
        with open(f"{other.root}/{name}.xml", "w") as out:
            out.write(guest_xml(name, f"{other.root}/button", extra=extra))
        virsh("define", f"{other.root}/{name}.xml")
        uuids[name] = virsh("domuuid", name)
    virsh("desc", "web1", "--title", "--config", "The web server")
    virsh("autostart", "web1")
    with open(f"{other.root}/lan.xml", "w") as out:
        out.write("<network><name>lan</name><forward mode='nat'/><ip address='192.168.7.1' netmask='255.255.255.0'/></network>")
    virsh("net-define", f"{other.root}/lan.xml")
    virsh("net-autostart", "lan")
    virsh("pool-define-as", "images", "dir", "--target", f"{other.root}/images")
    virsh("pool-build", "images")
    virsh("pool-autostart", "images")
    return uuids


def libvirts_folder(other):
    found = [top for top, folders, _ in os.walk(f"{other.root}/home") if {"qemu", "storage"} <= set(folders)]
    assert len(found) == 1, found
    return found[0]


def test_import():
    if not shutil.which("virsh"):
        raise tap.Skip("there is no virsh (package libvirt-clients)")
    with libvirtd() as other, lodged(LODGED) as daemon:
        uuids, folder = define_all(other), libvirts_folder(other)
        environment = dict(os.environ, LODGE_URI=daemon.socket, LC_ALL="C")

        def run(*words):
            done = subprocess.run([LODGE, *words], env=environment, capture_output=True, text=True, timeout=WAIT)
            assert not done.returncode, (words, done, daemon.text())
            return done.stdout.strip()

        def results(*words):
            return {(row["kind"], row["name"]): row["result"] for row in json.loads(run("import", folder, "--json", *words))}

        wanted = [("guest", "web1"), ("guest", "web2"), ("network", "lan"), ("pool", "images")]
        assert results("--dry-run") == dict.fromkeys(wanted, "would be defined")
        assert run("list", "--all", "--name") == ""
        assert results() == dict.fromkeys(wanted, "defined")
        for name, uuid in uuids.items():
            assert daemon.virsh("domuuid", name) == uuid
        assert run("list", "--all", "--autostart", "--name") == "web1"
        assert daemon.virsh("desc", "web1", "--title") == "The web server"
        devices = ET.fromstring(daemon.virsh("dumpxml", "web1")).find("devices")
        assert devices.find("disk/source").get("file") == f"{other.root}/disk.img"
        assert devices.find("interface/mac").get("address") == "52:54:00:00:00:07"
        assert re.search(r"Autostart: +yes", daemon.virsh("net-info", "lan"))
        assert re.search(r"Autostart: +yes", daemon.virsh("pool-info", "images"))
        assert f"<path>{other.root}/images</path>" in daemon.virsh("pool-dumpxml", "images")
        for name in uuids:  # of what libvirtd has made of their definitions, addresses and all
            daemon.virsh("start", name)
            assert daemon.virsh("domstate", name) == "running"
        assert set(results().values()) == {"is here already"}


tap.main(globals())
