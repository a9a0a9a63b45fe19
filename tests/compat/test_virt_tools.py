# SPDX-License-Identifier: GPL-2.0-or-later
"""virt-install, virt-xml and virt-clone, unmodified, against lodged: guests made, changed and copied as
people do it, and what they read where this version cannot.

    test_virt_tools.py LODGED BUTTON-IMAGE
"""
import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

import tap
from lodged import WAIT, guest_xml, lodged, until

LODGED, IMAGE = sys.argv[1:]
MIB = 1 << 20


def run(daemon, tool, *words, path="session", status=0):
    """The tool's output and messages; its settings and caches are below the daemon's root."""
    if not shutil.which(tool):
        raise tap.Skip(f"there is no {tool} (package virtinst)")
    home = f"{daemon.root}/home"
    os.makedirs(home, exist_ok=True)
    env = dict(os.environ, LC_ALL="C", HOME=home, XDG_CACHE_HOME=f"{home}/.cache", XDG_DATA_HOME=f"{home}/data",
               XDG_CONFIG_HOME=f"{home}/.config")
    done = subprocess.run([tool, "--connect", f"qemu+unix:///{path}?socket={daemon.socket}", *words],
                          capture_output=True, text=True, timeout=WAIT, env=env, stdin=subprocess.DEVNULL)
    assert done.returncode == status, (words, done, daemon.text())
    return done.stdout + done.stderr


def install(daemon, name, *words, memory=32, osinfo="linux2022", **settings):
    return run(daemon, "virt-install", "--name", name, "--memory", str(memory), "--vcpus", "1", "--osinfo", osinfo,
               "--noautoconsole", *words, **settings)


def disk_file(daemon, name="root.img", length=MIB):
    path = f"{daemon.root}/images/{name}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as out:
        out.truncate(length)
    return path


def devices(daemon, name, *words):
    return ET.fromstring(daemon.virsh("dumpxml", name, *words)).find("devices")


KERNEL = ("--boot", f"kernel={IMAGE},kernel_args=one two")


def test_import_of_a_disk():
    with lodged(LODGED) as daemon:
        for path, kind in (("session", "user"), ("system", "network")):
            disk = disk_file(daemon, f"{path}.img")
            said = install(daemon, path, "--import", "--disk", f"path={disk}", "--network",
                           "default" if path == "system" else "user", *KERNEL, path=path)
            assert "Domain creation completed" in said, said
            assert daemon.virsh("domstate", path) == "running"
            assert re.search("Persistent: +yes", daemon.virsh("dominfo", path))
            found = devices(daemon, path)
            assert found.find("disk/source").get("file") == disk and found.find("disk/target").get("bus") == "virtio"
            assert found.find("interface").get("type") == kind
            kept = ET.fromstring(daemon.virsh("dumpxml", path, "--inactive"))
            assert kept.findtext("os/kernel") == IMAGE and kept.findtext("os/cmdline") == "one two"
            assert kept.find("metadata")[0].tag.endswith("libosinfo")
        # the tool has made the folder of the disks a storage pool, which it starts by itself
        assert daemon.virsh("pool-list", "--name", "--autostart").split() == ["images"]
        assert {line.split()[0] for line in daemon.virsh("vol-list", "images").split("\n")[2:]} == \
            {"session.img", "system.img"}


def test_print_xml_changes_nothing():
    with lodged(LODGED) as daemon:
        text = install(daemon, "g", "--import", "--disk", f"path={disk_file(daemon)}", *KERNEL, "--print-xml")
        domain = ET.fromstring(text[text.index("<domain"):])
        assert domain.get("type") == "kvm" and domain.find("os/type").get("machine") == "q35"
        assert domain.findtext("devices/emulator").endswith("/lodge-vmm")
        assert "Dry run completed" in install(daemon, "g", "--import", "--disk", "none", *KERNEL, "--dry-run")
        assert daemon.virsh("list", "--all", "--name") == ""


def test_new_volumes():
    with lodged(LODGED) as daemon:
        path = f"{daemon.root}/images/new.img"
        os.makedirs(os.path.dirname(path))
        install(daemon, "g", "--import", "--disk", f"path={path},size=0.01,format=raw", *KERNEL)
        assert os.stat(path).st_size == int(0.01 * 1024**3)
        daemon.virsh("destroy", "g")
        install(daemon, "h", "--import", "--disk", "vol=images/new.img", *KERNEL, "--check", "path_in_use=off")
        assert devices(daemon, "h").find("disk/source").get("file") == path
        # qcow2 is the tool's default, and the message names the way
        said = install(daemon, "i", "--import", "--disk", "pool=images,size=0.01", *KERNEL, status=1)
        assert "only raw volumes can be created in this version" in said, said
        assert daemon.virsh("list", "--all", "--name").split() == ["h", "g"]


def test_install_with_a_kernel_of_its_own():
    """The guest runs from kernel and initrd first, and is kept as what boots from its disk."""
    with lodged(LODGED) as daemon:
        said = install(daemon, "g", "--disk", f"path={disk_file(daemon)}", "--install",
                       f"kernel={IMAGE},initrd={IMAGE},kernel_args=auto=true")
        assert "Installation may be in progress" in said, said
        live, kept = (ET.fromstring(daemon.virsh("dumpxml", "g", *words)) for words in ([], ["--inactive"]))
        assert live.findtext("os/cmdline") == "auto=true" and live.find("os/initrd") is not None
        assert kept.find("os/kernel") is None and kept.find("os/boot").get("dev") == "hd"
        assert live.findtext("on_reboot") == "destroy" and kept.findtext("on_reboot") == "restart"


def test_transient_guests_and_marks():
    with lodged(LODGED) as daemon:
        install(daemon, "t", "--import", "--disk", "none", "--transient", *KERNEL)
        assert re.search("Persistent: +no", daemon.virsh("dominfo", "t"))
        daemon.virsh("destroy", "t")
        assert daemon.virsh("list", "--all", "--name") == ""
        install(daemon, "g", "--import", "--disk", "none", "--autostart", "--graphics", "none", *KERNEL)
        assert re.search("Autostart: +enable", daemon.virsh("dominfo", "g"))
        assert daemon.virsh("domstate", "g") == "running"


def test_what_this_version_cannot():
    with lodged(LODGED) as daemon:
        for words, message in ((("--disk", f"path={disk_file(daemon)}"), "needs firmware"),
                               (("--disk", f"path={disk_file(daemon)},bus=sata", *KERNEL), "use bus='virtio'"),
                               (("--disk", "none", "--network", "bridge=br0", *KERNEL), "use <interface type='user'>"),
                               (("--disk", "none", "--network", "default,model=e1000e", *KERNEL),
                                "use <model type='virtio'/>")):
            said = install(daemon, "g", "--import", *words, status=1)
            assert message in said, (words, said)
            assert daemon.virsh("list", "--all", "--name") == "", words


def test_defaults_that_this_version_cannot():
    """What people type first: the message has the option that mends it, and with that it works."""
    with lodged(LODGED) as daemon:
        disk = disk_file(daemon)
        cases = ((("--disk", "pool=images,size=0.01"), "debian11", "--disk size=...,format=raw"),
                 (("--disk", "pool=images,size=0.01,format=raw"), "debian11", "--boot kernel=FILE,initrd=FILE"),
                 (("--disk", f"path={disk}", *KERNEL), "detect=off,require=off", "bus=virtio"),
                 (("--disk", f"path={disk}", *KERNEL), "win10", "bus=virtio"),
                 (("--disk", f"path={disk},bus=virtio", *KERNEL), "win10", "--network ...,model=virtio"),
                 (("--disk", f"path={disk}", *KERNEL, "--tpm", "default"), "debian11", "--tpm none"))
        install(daemon, "first", "--import", "--disk", f"path={disk}", *KERNEL)  # the pool `images`
        daemon.virsh("destroy", "first")
        daemon.virsh("undefine", "first")
        for words, osinfo, option in cases:
            said = install(daemon, "g", "--import", *words, osinfo=osinfo, status=1)
            assert option in said, (words, osinfo, said)
            assert daemon.virsh("list", "--all", "--name") == "", words
            assert os.listdir(f"{daemon.root}/images") == ["root.img"], "the new volume has gone again"
        said = install(daemon, "g", "--disk", f"path={disk}", "--cdrom", disk, status=1, osinfo="debian11")
        assert "--install kernel=FILE" in said, said
        install(daemon, "g", "--import", "--disk", f"path={disk},bus=virtio", "--network", "default,model=virtio", *KERNEL,
                osinfo="detect=off,require=off")
        assert daemon.virsh("domstate", "g") == "running"


def test_comforts_are_left_out_and_named():
    """A desktop's usual options make a guest that runs; what it has not, the domain's messages say."""
    with lodged(LODGED) as daemon:
        for name, words, lacks in (
                ("plain", (), ("<graphics type='vnc'>", "<video>", "<input type='tablet'>")),
                ("desktop", ("--graphics", "spice", "--video", "qxl", "--sound", "ich9", "--channel", "spicevmc", "--redirdev",
                             "usb,type=spicevmc", "--smartcard", "passthrough"),
                 ("<graphics type='spice'>", "<sound model='ich9'>", "<channel type='spicevmc'>", "<redirdev type='spicevmc'>"))):
            said = install(daemon, name, "--import", "--disk", f"path={disk_file(daemon, name + '.img')}", *words, *KERNEL,
                           osinfo="debian11")
            assert "Domain creation completed" in said, said
            assert daemon.virsh("domstate", name) == "running"
            messages = daemon.virsh("dominfo", name).partition("Messages:")[2]
            for lack in lacks:
                assert lack in messages, (lack, messages)
            kept = {child.tag for child in devices(daemon, name, "--inactive")}
            assert {"graphics", "video", "input"} <= kept, "the definition keeps them"


def define(daemon, name, more):
    path = f"{daemon.root}/{name}.xml"
    with open(path, "w") as out:
        out.write(guest_xml(name, IMAGE).replace("<devices>", f"{more}<devices>"))
    daemon.virsh("define", path)


def test_virt_xml():
    with lodged(LODGED) as daemon:
        install(daemon, "g", "--import", "--disk", f"path={disk_file(daemon)}", *KERNEL)
        daemon.virsh("destroy", "g")
        run(daemon, "virt-xml", "g", "--edit", "--memory", "48", "--define")
        run(daemon, "virt-xml", "g", "--edit", "--metadata", "title=A guest", "--define")
        assert re.search("Max memory: +49152 KiB", daemon.virsh("dominfo", "g"))
        assert daemon.virsh("desc", "g", "--title") == "A guest"
        run(daemon, "virt-xml", "g", "--add-device", "--disk", f"path={daemon.root}/images/b.img,size=0.01,format=raw",
            "--define")
        run(daemon, "virt-xml", "g", "--remove-device", "--network", "all", "--define")
        found = devices(daemon, "g")
        assert [disk.find("target").get("dev") for disk in found.findall("disk")] == ["vda", "vdb"]
        assert found.find("interface") is None
        run(daemon, "virt-xml", "g", "--add-device", "--rng", "/dev/urandom", "--start")
        assert daemon.virsh("domstate", "g") == "running"


def test_what_cockpit_does():
    """Its page calls virt-xml for network cards, shows the mode of every guest's <cpu>, and keeps a topology alone."""
    with lodged(LODGED) as daemon:
        define(daemon, "g", "")
        card = "type=network,source=default,source.mode=bridge,model=virtio"
        run(daemon, "virt-xml", "g", "--add-device", "--network", card)
        assert len(devices(daemon, "g").findall("interface")) == 1
        for topology in ("", "<cpu><topology sockets='1' cores='1' threads='1'/></cpu>"):
            define(daemon, "h", topology)
            cpu = ET.fromstring(daemon.virsh("dumpxml", "h")).find("cpu")
            assert cpu.get("mode") == "host-passthrough", topology
            assert (cpu.find("topology") is not None) == bool(topology)
            daemon.virsh("undefine", "h")


def test_virt_clone():
    with lodged(LODGED) as daemon:
        disk = disk_file(daemon)
        with open(disk, "r+b") as out:
            out.write(b"of the original")
        install(daemon, "g", "--import", "--disk", f"path={disk}", *KERNEL)
        said = run(daemon, "virt-clone", "--original", "g", "--auto-clone", status=1)
        assert "must be shutoff" in said, said
        daemon.virsh("destroy", "g")
        assert "created successfully" in run(daemon, "virt-clone", "--original", "g", "--auto-clone")
        run(daemon, "virt-clone", "--original", "g", "--name", "h", "--file", f"{daemon.root}/images/h.img")
        for name, copy in (("g-clone", "root-clone.img"), ("h", "h.img")):
            source = devices(daemon, name).find("disk/source").get("file")
            assert source == f"{daemon.root}/images/{copy}"
            with open(source, "rb") as data:
                assert data.read(15) == b"of the original"
            assert devices(daemon, name).find("interface/mac").get("address") != \
                devices(daemon, "g").find("interface/mac").get("address")
            daemon.virsh("start", name)
        until("both run", lambda: len(daemon.virsh("list", "--name").split()) == 2)


tap.main(globals())
