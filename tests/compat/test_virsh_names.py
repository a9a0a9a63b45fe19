# SPDX-License-Identifier: GPL-2.0-or-later
"""virsh's names in lodge: what each says is what virsh says, changes what virsh shows, or tells why it is not there.

    test_virsh_names.py LODGED BUTTON-IMAGE LODGE
"""
import base64
import json
import os
import re
import subprocess
import sys

import tap
from fake_daemon import fake_daemon
from lodged import WAIT, guest_xml, lodged, rows, until

LODGED, IMAGE, LODGE = sys.argv[1:]
EVENT_CALLS = {"event": "connect_domain_event_callback_register_any", "net-event": "connect_network_event_register_any",
               "pool-event": "connect_storage_pool_event_register_any", "secret-event": "connect_secret_event_register_any"}
DISK = ("<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/><target dev='vda' bus='virtio'/>"
        "</disk><interface type='user'><mac address='52:54:00:00:00:07'/><model type='virtio'/></interface>")


class Both:
    """lodge and virsh with one daemon."""

    def __init__(self, daemon):
        self.daemon, self.virsh = daemon, daemon.virsh
        self.env = dict(os.environ, LODGE_URI=daemon.socket, LC_ALL="C", TMPDIR=daemon.root)

    def __call__(self, *words, status=0, text=None):
        done = subprocess.run([LODGE, *words], capture_output=True, text=True, timeout=WAIT, env=self.env, check=False,
                              input=text)
        assert done.returncode == status, (words, done, self.daemon.text())
        assert bool(done.stderr) == bool(status), (words, done)
        return done.stderr if status else done.stdout.rstrip("\n")

    def json(self, *words):
        return json.loads(self(*words, "--json"))

    def guest(self, name="g", **options):
        disk = f"{self.daemon.root}/{name}.img"
        with open(disk, "wb") as out:
            out.truncate(1 << 20)
        self("define", "-", text=guest_xml(name, IMAGE, DISK.format(disk), **options))
        return disk


def numbers(text):
    """virsh's lines "NAME VALUE", the first word of a line being what is asked about where there are three."""
    return {line.split()[-2].rstrip(":"): int(line.split()[-1]) for line in text.split("\n") if line.strip()}


def test_every_name_of_virsh_is_known():
    with lodged(LODGED) as daemon:
        lodge = Both(daemon)
        names = re.findall(r"^    ([a-z][a-z-]+) ", lodge.virsh("help"), re.M)
        assert len(names) > 200, names
        own = {"cd", "pwd", "help", "connect", "exit", "quit"}  # of the shell
        for name in set(names) - own:
            done = subprocess.run([LODGE, name, "--no-such-option"], capture_output=True, text=True, env=lodge.env)
            assert done.returncode == 2 and "there is no command" not in done.stderr, (name, done)
        assert lodge("snapshot-list", "g", status=2) == "lodge: 'snapshot-list' is not in this version, which lacks snapshots\n"


def test_statistics():
    with lodged(LODGED) as daemon:
        lodge = Both(daemon)
        disk = lodge.guest()
        lodge("start", "g")
        ours, theirs = lodge.json("domblkstat", "g", "vda"), numbers(lodge.virsh("domblkstat", "g", "vda"))
        assert (ours["rd_operations"], ours["rd_bytes"], ours["wr_bytes"], ours["flush_operations"]) == \
            tuple(theirs[name] for name in ("rd_req", "rd_bytes", "wr_bytes", "flush_operations")), (ours, theirs)
        assert lodge.json("domifstat", "g", "52:54:00:00:00:07") == \
            numbers(lodge.virsh("domifstat", "g", "52:54:00:00:00:07"))
        ours, theirs = lodge.json("dommemstat", "g"), numbers(lodge.virsh("dommemstat", "g"))
        assert set(ours) == set(theirs) and ours["actual"] == theirs["actual"] == 16384, (ours, theirs)
        assert lodge.json("domblkinfo", "g", "vda")["capacity_bytes"] == 1 << 20
        vcpu, = lodge.json("vcpuinfo", "g")
        assert vcpu["vcpu"] == 0 and vcpu["state"] == "running" and vcpu["time_ns"] >= 0, vcpu
        stats, = lodge.json("domstats", "g", "--state", "--block")
        assert stats["name"] == "g" and stats["state.state"] == 1 and stats["block.0.path"] == disk, stats
        assert "balloon.current" not in stats and "balloon.current" in lodge.json("domstats")[0]
        text = lodge("domstats", "g", "--block")
        assert text.startswith("Guest: 'g'\n  block.count=1\n") and "block.0.name=vda" in text, text


def test_the_host():
    with lodged(LODGED) as daemon:
        lodge = Both(daemon)
        assert set(lodge.json("nodecpustats")) >= {"user", "idle"} and lodge.json("nodecpustats", "--cpu", "0")["idle"] > 0
        assert "no processor's number" in lodge("nodecpustats", "--cpu", "x", status=2)
        assert lodge.json("nodememstats")["total"] == int(re.search(r"total *: *(\d+) KiB", lodge.virsh("nodememstats")).group(1))
        assert lodge.json("freecell")["free_bytes"] > 0
        assert int(lodge("maxvcpus")) >= int(lodge.virsh("maxvcpus"))
        assert lodge("cpu-models").split() == lodge.virsh("cpu-models", "x86_64").split()
        assert lodge.json("version")["hypervisor"] in lodge.virsh("version")


def test_changes():
    with lodged(LODGED) as daemon:
        lodge = Both(daemon)
        lodge.guest()
        lodge("setmaxmem", "g", "32M", "--config")
        lodge("setmem", "g", "24576", "--config")
        assert re.search("Max memory: +32768 KiB", lodge.virsh("dominfo", "g"))
        assert "<currentMemory unit='KiB'>24576<" in lodge.virsh("dumpxml", "g"), lodge.virsh("dumpxml", "g")
        lodge("setvcpus", "g", "3", "--config", "--maximum")
        lodge("setvcpus", "g", "2", "--config")
        assert lodge.json("vcpucount", "g") == {"maximum": 3, "current": 2} and lodge("vcpucount", "g", "--maximum") == "3"
        assert lodge.virsh("vcpucount", "g", "--config") == "2"
        lodge("desc", "g", "What it is for")
        lodge("desc", "g", "A guest", "--title")
        assert lodge.virsh("desc", "g") == lodge("desc", "g") == "What it is for"
        assert lodge.virsh("desc", "g", "--title") == lodge("desc", "g", "--title") == "A guest"
        lodge("desc", "g", "", "--title")
        assert "A guest" not in lodge("dumpxml", "g")
        lodge("metadata", "g", "urn:x", "--set", "<note>hello</note>", "--key", "x")
        assert "hello" in lodge("metadata", "g", "urn:x") and "hello" in lodge.virsh("metadata", "g", "urn:x")
        lodge("metadata", "g", "urn:x", "--remove")
        assert "hello" not in lodge("dumpxml", "g")
        lodge("domrename", "g", "h")
        assert lodge.virsh("list", "--all", "--name") == "h"
        assert "no size" in lodge("setmem", "h", "much", status=2) and "no number" in lodge("setvcpus", "h", "0", status=2)
        lodge("start", "h")
        assert '"return"' in lodge("qemu-monitor-command", "h", '{"execute": "query-status"}')


def test_devices():
    with lodged(LODGED) as daemon:
        lodge = Both(daemon)
        disk = lodge.guest()
        assert lodge.json("domblklist", "g") == [{"target": "vda", "source": disk, "type": "file", "device": "disk"}]
        assert lodge("domblklist", "g").split("\n")[1].split() == rows(lodge.virsh("domblklist", "g"))[0] == ["vda", disk]
        card, = lodge.json("domiflist", "g")
        assert (card["type"], card["model"], card["mac"]) == ("user", "virtio", "52:54:00:00:00:07"), card
        assert "no terminal" in lodge("ttyconsole", "g", status=1)
        lodge("start", "g")
        assert lodge("ttyconsole", "g") == lodge.virsh("ttyconsole", "g") and os.path.exists(lodge("ttyconsole", "g"))


def test_options():
    with lodged(LODGED) as daemon:
        lodge = Both(daemon)
        lodge.guest()
        lodge("desc", "g", "A guest", "--title")
        assert lodge.json("list", "--all", "--title")[0]["title"] == "A guest" and "A guest" in lodge("list", "--all", "--title")
        for command in (), ("start", "--paused"), ("resume",), ("suspend",), ("destroy",):
            if command:
                lodge(command[0], "g", *command[1:])
            assert lodge("domstate", "g", "--reason") == lodge.virsh("domstate", "g", "--reason"), command
        assert lodge("net-list", "--name") == "default" == lodge.virsh("net-list", "--name")
        folder = f"{daemon.root}/images"
        lodge("pool-define-as", "p", "dir", "--target", folder)
        assert lodge("pool-list", "--all", "--name") == "p"
        lodge("pool-build", "p")
        lodge("pool-start", "p")
        lodge("vol-create-as", "p", "a.img", "1M")
        volume, = lodge.json("vol-list", "p", "--details")
        assert (volume["name"], volume["capacity_bytes"]) == ("a.img", 1 << 20) and "1.0 MiB" in lodge("vol-list", "p", "--details")
        with subprocess.Popen([LODGE, "start", "g", "--console"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=lodge.env) as shown:
            text = b""
            while b"up" not in text:
                more = os.read(shown.stdout.fileno(), 100)
                assert more, text
                text += more
            lodge("destroy", "g")
            assert text.startswith(b"Guest 'g' started\n") and shown.wait(WAIT) == 0, text


def test_edit():
    with lodged(LODGED) as daemon:
        lodge = Both(daemon)
        lodge.guest()
        lodge.env["EDITOR"] = "true"
        assert lodge("edit", "g") == "Guest 'g' has not been changed"
        lodge.env["VISUAL"] = "sed -i 's,>16384<,>20480<,'"
        assert lodge("edit", "g") == "Guest 'g' has been changed"
        assert re.search("Max memory: +20480 KiB", lodge.virsh("dominfo", "g"))
        lodge.env["VISUAL"] = "sed -i 's,</domain>,,'"
        assert "not well-formed" in lodge("edit", "g", status=1)
        lodge.env["VISUAL"] = "false"
        assert "the editor 'false' failed" in lodge("edit", "g", status=1)
        lodge.env["VISUAL"] = "sed -i 's,br7,br8,'"
        lodge("net-define", "-", text="<network><name>lan</name><forward mode='nat'/><bridge name='br7'/></network>")
        lodge("net-edit", "lan")
        assert "br8" in lodge.virsh("net-dumpxml", "lan")
        assert [n for n in os.listdir(daemon.root) if n.startswith("lodge-edit")] == []


def test_networks_and_pools():
    with lodged(LODGED) as daemon:
        lodge = Both(daemon)
        info = lodge.json("net-info", "default")
        assert (info["active"], info["persistent"], info["autostart"]) == (True, True, True), info
        assert lodge("net-uuid", "default") == info["uuid"] == lodge.virsh("net-uuid", "default")
        folder = f"{daemon.root}/images"
        assert "--target" in lodge("pool-define-as", "p", "dir", status=2)
        assert lodge("pool-define-as", "p", "dir", "--target", folder) == "Pool 'p' defined"
        lodge("pool-build", "p")
        assert lodge("pool-uuid", "p") == lodge.virsh("pool-uuid", "p")
        lodge("pool-delete", "p")
        assert not os.path.exists(folder)
        os.mkdir(folder)
        lodge("pool-undefine", "p")
        assert lodge("pool-create-as", "q", "dir", "--target", folder) == "Pool 'q' created"
        lodge("pool-destroy", "q")
        assert lodge.virsh("pool-list", "--all", "--name") == ""
        lodge("pool-create", "-", text=f"<pool type='dir'><name>r</name><target><path>{folder}</path></target></pool>")
        lodge("vol-create-as", "r", "a.img", "1M")
        with open(f"{folder}/a.img", "r+b") as out:
            out.write(b"content")
        lodge("vol-clone", "a.img", "b.img", "--pool", "r")
        with open(f"{folder}/b.img", "rb") as data:
            assert data.read(7) == b"content"
        lodge("vol-resize", "b.img", "2M", "--pool", "r")
        assert os.path.getsize(f"{folder}/b.img") == 2 << 20
        assert lodge("vol-resize", "b.img", "1M", "--pool", "r", status=1)
        lodge("vol-resize", f"{folder}/b.img", "1M", "--shrink")
        assert os.path.getsize(f"{folder}/b.img") == 1 << 20
        lodge("vol-wipe", f"{folder}/b.img")
        with open(f"{folder}/b.img", "rb") as data:
            assert data.read() == bytes(1 << 20)
        assert lodge("vol-key", "a.img", "--pool", "r") == lodge.virsh("vol-key", "a.img", "--pool", "r")
        assert lodge("vol-name", f"{folder}/a.img") == "a.img" and lodge("vol-pool", f"{folder}/a.img") == "r"


def test_secrets():
    with lodged(LODGED) as daemon:
        lodge = Both(daemon)
        uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
        xml = f"<secret ephemeral='no' private='no'><uuid>{uuid}</uuid><usage type='ceph'><name>key</name></usage></secret>"
        assert lodge("secret-define", "-", text=xml) == f"Secret {uuid} defined"
        assert lodge.json("secret-list") == [{"uuid": uuid, "type": "ceph", "usage": "key"}]
        lodge("secret-set-value", uuid, "-", text="geheim")
        assert lodge("secret-get-value", uuid, "--plain") == "geheim"
        assert base64.b64decode(lodge("secret-get-value", uuid)) == b"geheim"
        assert base64.b64decode(lodge.virsh("secret-get-value", uuid)) == b"geheim"
        assert lodge("secret-dumpxml", uuid) == lodge.virsh("secret-dumpxml", uuid)
        assert "is no UUID" in lodge("secret-undefine", "key", status=1)
        lodge("secret-undefine", uuid)
        assert lodge.json("secret-list") == []


def test_limits():
    with lodged(LODGED) as daemon:
        lodge = Both(daemon)
        lodge.guest()
        lodge("memtune", "g", "--hard-limit", "512M", "--config")
        assert lodge.json("memtune", "g", "--config")["hard_limit"] == 512 << 10
        assert "hard_limit     : 524288" in lodge.virsh("memtune", "g", "--config")
        lodge("memtune", "g", "--hard-limit", "-1", "--config")
        assert "unlimited" in lodge("memtune", "g", "--config") and "unlimited" in lodge.virsh("memtune", "g", "--config")
        lodge("schedinfo", "g", "cpu_shares=200", "--set", "vcpu_quota=50000", "--config")
        said = lodge.json("schedinfo", "g", "--config")
        assert (said["cpu_shares"], said["vcpu_quota"]) == (200, 50000), said
        assert "vcpu_quota     : 50000" in lodge.virsh("schedinfo", "g", "--config")
        lodge("blkiotune", "g", "--weight", "300", "--config")
        assert lodge.json("blkiotune", "g", "--config")["weight"] == 300
        assert "no limit 'speed'" in lodge("schedinfo", "g", "speed=1", status=2)
        assert "is a number" in lodge("schedinfo", "g", "cpu_shares=many", status=2)
        assert "no NAME=VALUE" in lodge("schedinfo", "g", "cpu_shares", status=2)
        assert "<hard_limit" not in lodge("dumpxml", "g") and "<shares>200<" in lodge("dumpxml", "g")


def test_pins():
    with lodged(LODGED) as daemon:
        lodge = Both(daemon)
        lodge.guest()
        lodge("vcpupin", "g", "0", "0", "--config")
        assert lodge.json("vcpupin", "g", "--config") == [{"vcpu": 0, "cpus": "0"}]
        assert rows(lodge.virsh("vcpupin", "g", "--config")) == [["0", "0"]]
        lodge("emulatorpin", "g", "0", "--config")
        assert lodge.json("emulatorpin", "g", "--config") == {"cpus": "0"}
        assert "emulatorpin cpuset='0'" in lodge("dumpxml", "g")
        assert "no list of processors" in lodge("vcpupin", "g", "0", "all", status=2)
        assert "no processor of a guest" in lodge("vcpupin", "g", "x", status=2)


def test_processors():
    with lodged(LODGED) as daemon:
        lodge = Both(daemon)
        path = f"{daemon.root}/cpu.xml"
        with open(path, "w") as out:
            out.write(lodge("capabilities") + lodge("capabilities"))
        assert lodge("cpu-compare", path) == "The processor that the host has is what the file asks for"
        assert lodge("cpu-baseline", path) == lodge.virsh("cpu-baseline", path).strip()
        assert "<model" in lodge("hypervisor-cpu-baseline", path, "--features")
        with open(path, "w") as out:
            out.write("<domain><cpu mode='custom' match='exact'><model>Nehalem</model>"
                      "<feature name='no&lt;such' policy='require'/></cpu></domain>")
        said = subprocess.run([LODGE, "hypervisor-cpu-compare", path], capture_output=True, text=True, env=lodge.env)
        assert said.returncode == 1, said
        with open(path, "w") as out:
            out.write("<domain/>")
        assert "there is no <cpu> in" in lodge("cpu-compare", path, status=1)


def test_details():
    with lodged(LODGED) as daemon:
        lodge = Both(daemon)
        lodge.guest()
        lodge("start", "g")
        assert lodge.json("domcontrol", "g")["state"] == "ok" and lodge.json("domblkerror", "g") == []
        assert lodge("domjobinfo", "g").startswith("Job type: none")
        assert lodge("domblkerror", "g") == "No disk has failed"
        assert lodge("domif-getlink", "g", "52:54:00:00:00:07").endswith(" up")
        assert "has no network card" in lodge("domif-getlink", "g", "eth9", status=1)
        assert isinstance(lodge.json("domifaddr", "g"), list)
        lodge("set-lifecycle-action", "g", "reboot", "destroy", "--config")
        assert "<on_reboot>destroy<" in lodge("dumpxml", "g", "--inactive")
        assert "rename-restart" in lodge("set-lifecycle-action", "g", "reboot", "never", status=2)
        assert "there is no key 'ENTER'" in lodge("send-key", "g", "ENTER", status=2)
        for words in (["KEY_ENTER"], ["28"], ["--codeset", "xt", "28"], ["--codeset", "atset1", "57427", "28"],
                      ["--codeset", "atset2", "90"], ["--codeset", "usb", "40"], ["--codeset", "qnum", "211"]):
            lodge("send-key", "g", "--holdtime", "1", *words)
        assert "has no key with the number 200 in the set atset2" in lodge("send-key", "g", "--codeset", "atset2", "200", status=1)
        assert "not in set 8" in lodge("send-key", "g", "--codeset", "win32", "13", status=1)
        assert lodge("inject-nmi", "g") == "Guest 'g' has got an NMI"
        assert lodge("echo", "a b", "c") == "a b c"


def test_devices_of_definitions():
    with lodged(LODGED) as daemon:
        lodge = Both(daemon)
        disk = lodge.guest()
        targets = lambda: re.findall(r"<target dev='(\w+)'", lodge("dumpxml", "g", "--inactive"))
        before = targets()
        assert before == ["vda"]
        words = ["attach-disk", "g", disk, "vdb", "--targetbus", "virtio", "--serial", "a&b", "--mode", "readonly", "--config"]
        printed = lodge(*words, "--print-xml")
        assert "<serial>a&amp;b</serial>" in printed and "<readonly/>" in printed and targets() == before
        lodge(*words)
        assert targets() == ["vda", "vdb"] and "<serial>a&amp;b</serial>" in lodge("dumpxml", "g")
        assert "has disk vdb already" in lodge(*words, status=1)
        assert "disk vdc" in lodge("detach-disk", "g", "vdc", status=1)
        lodge("detach-disk", "g", "vdb")
        mac = "52:54:00:00:00:44"
        lodge("attach-interface", "g", "network", "default", "--mac", mac, "--model", "virtio", "--persistent")
        assert mac in lodge("dumpxml", "g")
        path = f"{daemon.root}/card.xml"
        with open(path, "w") as out:
            out.write(f"<interface type='network'><mac address='{mac}'/><source network='default'/><model type='virtio'/>"
                      "<link state='down'/></interface>")
        lodge("update-device", "g", path)
        assert "<link state='down'/>" in lodge("dumpxml", "g")
        lodge("detach-interface", "g", "network", "--mac", mac)
        assert mac not in lodge("dumpxml", "g")
        with open(path, "w") as out:
            out.write("<rng model='virtio'><backend model='random'>/dev/urandom</backend><alias name='ua-dice'/></rng>")
        lodge("attach-device", "g", path)
        lodge("detach-device-alias", "g", "ua-dice")
        lodge("attach-device", "g", path)
        lodge("detach-device", "g", path)
        assert "<rng" not in lodge("dumpxml", "g")
        lodge("start", "g")
        assert "are not changed while it runs" in lodge("attach-device", "g", path, "--persistent", status=1)
        lodge("attach-device", "g", path, "--config")
        assert "<rng" in lodge("dumpxml", "g", "--inactive") and "<rng" not in lodge("dumpxml", "g")


DRIVE = "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><target dev='sda' bus='sata'/><readonly/></disk>"


def test_media():
    with lodged(LODGED) as daemon:
        lodge = Both(daemon)
        disk = f"{daemon.root}/g.img"
        with open(f"{daemon.root}/g.xml", "w") as out:
            out.write(guest_xml("g", IMAGE, DISK.format(disk) + DRIVE))
        daemon.virsh("define", f"{daemon.root}/g.xml")  # by lodge it would be noted that it has a drive
        medium = lambda: re.findall(r"<source (?:file|dev)='([^']*)'/>\s*<target dev='sda'", lodge("dumpxml", "g"))
        one, two = (f"{daemon.root}/{name}.iso" for name in ("one", "two"))
        assert medium() == []
        assert lodge("change-media", "g", "sda", one, "--insert") == ""
        assert medium() == [one]
        for words, why in (((two, "--insert"), "drive 'sda' of guest 'g' is not empty: say --update, or --eject first"),
                           ((), "drive 'sda' of guest 'g' gets nothing: name a medium, or say --eject")):
            assert lodge("change-media", "g", "sda", *words, status=1) == f"lodge: {why}\n"
            assert "media" in lodge.virsh("change-media", "g", "sda", *words, status=1)
        printed = lodge("change-media", "g", "sda", two, "--print-xml")
        theirs = lodge.virsh("change-media", "g", "sda", two, "--print-xml")
        assert f"<source file='{two}'/>" in printed and f'"{two}"' in theirs.replace("'", '"') and medium() == [one]
        lodge("change-media", "--domain", "g", "--path", "sda", "--source", two, "--config", "--force")
        assert medium() == [two]
        lodge("change-media", "g", two, "--eject")
        assert medium() == [] and "bus='sata'" in lodge("dumpxml", "g")
        assert lodge("change-media", "g", "sda", "--eject", status=1) == "lodge: drive 'sda' of guest 'g' is empty\n"
        assert "doesn't have media" in lodge.virsh("change-media", "g", "sda", "--eject", status=1)
        lodge("change-media", "g", "sda", "/dev/null", "--block")
        assert medium() == ["/dev/null"] and "<disk type='block' device='cdrom'>" in lodge("dumpxml", "g")
        lodge("change-media", "g", "sda", one)
        assert medium() == [one] and "type='block'" not in lodge("dumpxml", "g")
        lodge("change-media", "g", "sda", "--update")  # with nothing, as virsh's
        assert medium() == []
        lodge.virsh("change-media", "g", "sda", one)
        assert medium() == [one]
        lodge.virsh("change-media", "g", "sda", "--update")
        assert medium() == []
        for name in ("vda", "sdb", disk):
            assert lodge("change-media", "g", name, one, status=1) == f"lodge: guest 'g' has no CD or floppy drive '{name}'\n"
        for words in (("--eject", one), ("--eject", "--update"), ("--insert", "--update", one)):
            assert "it is --eject, or --insert MEDIUM, or --update MEDIUM" in lodge("change-media", "g", "sda", *words, status=2)
        assert "'h'" in lodge("change-media", "h", "sda", one, status=1)
        assert "not running" in lodge("change-media", "g", "sda", one, "--live", status=1)
        assert medium() == [], lodge("dumpxml", "g")


def test_links():
    with lodged(LODGED) as daemon:
        lodge, mac = Both(daemon), "52:54:00:00:00:07"
        lodge.guest()
        lodge("domif-setlink", "g", mac.upper(), "down", "--config")
        link = lambda *words: (lodge("domif-getlink", "g", mac, *words), lodge.virsh("domif-getlink", "g", mac, *words))
        assert link("--config") == (f"{mac} down",) * 2
        lodge("domif-setlink", "--domain", "g", "--interface", mac, "--state", "up")
        assert link() == (f"{mac} up",) * 2
        printed = lodge("domif-setlink", "g", mac, "down", "--print-xml")
        theirs = lodge.virsh("domif-setlink", "g", mac, "down", "--print-xml")
        assert "<link state='down'/>" in printed and '<link state="down"/>' in theirs.replace("'", '"')
        assert link() == (f"{mac} up",) * 2
        assert lodge("domif-setlink", "g", mac, "sideways", status=2) == \
            "lodge domif-setlink: 'sideways' is neither up nor down\n"
        assert lodge("domif-setlink", "g", "eth9", "down", status=1) == "lodge: guest 'g' has no network card 'eth9'\n"
        assert "not running" in lodge("domif-setlink", "g", mac, "down", "--live", status=1)
        lodge("start", "g")
        lodge("domif-setlink", "g", "net0", "down")
        assert link() == (f"{mac} down",) * 2 and link("--config") == (f"{mac} up",) * 2
        lodge("domif-setlink", "g", mac, "down", "--persistent")
        assert link() == link("--config") == (f"{mac} down",) * 2
        lodge("domif-setlink", "g", mac, "up", "--live")
        assert link() == (f"{mac} up",) * 2 and link("--config") == (f"{mac} down",) * 2
        lodge("destroy", "g")
        xml, env = lodge("dumpxml", "g"), {**lodge.env, "XDG_RUNTIME_DIR": daemon.root, "XDG_STATE_HOME": daemon.root}
        for given, said in ((xml, {"link": False}), (xml.replace("<link state='down'/>", ""), {})):
            done = subprocess.run([LODGE, "run", "--dry-run", "--engine", "soft", "-"], capture_output=True, text=True, env=env,
                                  input=given)
            assert done.returncode == 0, done
            card, = [device for device in json.loads(done.stdout)["devices"] if device["type"] == "virtio-net"]
            assert {key: card[key] for key in card if key == "link"} == said, card


def test_more_of_the_host():
    with lodged(LODGED) as daemon:
        lodge = Both(daemon)
        present = int(re.search(r"present: +(\d+)", lodge.virsh("nodecpumap")).group(1))
        assert lodge.json("nodecpumap")["present"] == present
        pages = lodge.json("freepages")
        assert {"node": 0, "page_kib": 4} == {key: pages[0][key] for key in ("node", "page_kib")} and pages[0]["free"] > 0
        assert len(lodge.json("freepages", "--cellno", "0", "--pagesize", "4")) == 1
        assert "no size of pages" in lodge("freepages", "--pagesize", "big", status=2)
        assert lodge("pool-capabilities") == lodge.virsh("pool-capabilities").strip()
        for command, words in (("nodedev-list", ()), ("nodedev-list", ("--cap", "net")), ("nodedev-list", ("--tree",))):
            ours, theirs = ({re.sub("^[ |+-]+", "", line) for line in text.split("\n")} - {""}
                            for text in (lodge(command, *words), lodge.virsh(command, *words)))
            assert ours == theirs, (words, ours ^ theirs)
        assert "no kind 'wheels'" in lodge("nodedev-list", "--cap", "wheels", status=2)


CARDS = {"eth5": ("52:54:00:00:05:05", 1), "wan": ("52:54:00:00:05:06", 0)}


def cards_of_a_host():
    """A host's answers, whose first card is up and whose second is down; by their flags, as libvirt has them."""
    def told(name):
        return {"name": name, "mac": CARDS[name][0]}

    def listed(args):
        found = [told(name) for name, (_, up) in CARDS.items() if not args["flags"] or args["flags"] == 1 + up]
        return {"ifaces": found, "ret": len(found)}

    return {"connect_list_all_interfaces": listed,
            "interface_is_active": lambda args: {"active": CARDS[args["iface"]["name"]][1]},
            "interface_lookup_by_name": lambda args: {"iface": told(args["name"])},
            "interface_lookup_by_mac_string": lambda args: {"iface": told(
                next(name for name, (mac, _) in CARDS.items() if mac == args["mac"]))},
            "interface_get_xml_desc": lambda args: {"xml": f"<interface name='{args['iface']['name']}' flags='{args['flags']}'/>\n"}}


def test_cards_of_a_host():
    with fake_daemon(cards_of_a_host()) as daemon:
        env = dict(os.environ, LODGE_URI=daemon.path, LC_ALL="C")
        lodge = lambda *words: subprocess.run([LODGE, *words], capture_output=True, text=True, timeout=WAIT, env=env, check=True).stdout
        for words, names in ((), ("eth5",)), (("--inactive",), ("wan",)), (("--all",), ("eth5", "wan")):
            said = json.loads(lodge("iface-list", "--json", *words))
            assert said == [{"name": name, "state": "active" if CARDS[name][1] else "inactive", "mac": CARDS[name][0]}
                            for name in names], said
        assert lodge("iface-list", "--all").split("\n")[-2].split() == ["wan", "inactive", CARDS["wan"][0]]
        assert lodge("iface-mac", "wan") == CARDS["wan"][0] + "\n" and lodge("iface-name", CARDS["wan"][0]) == "wan\n"
        for words, shown in ((("wan",), "name='wan' flags='0'"), ((CARDS["eth5"][0], "--inactive"), "name='eth5' flags='1'")):
            assert shown in lodge("iface-dumpxml", *words)
        assert lodge("iface-dumpxml", "wan", "--xpath", "/interface/@name").strip() == 'name="wan"'


def test_cards_of_this_host():
    with lodged(LODGED) as daemon:
        lodge = Both(daemon)
        for words in (), ("--inactive",), ("--all",):
            ours = [[card["name"], card["state"], card["mac"]] for card in lodge.json("iface-list", *words)]
            assert ours == [row for row in rows(lodge.virsh("iface-list", *words) + "\n\n") if row], ours
        for card in lodge.json("iface-list", "--all"):
            name, mac = card["name"], card["mac"]
            assert lodge("iface-mac", name) == mac and lodge("iface-name", mac.upper()) == name
            assert lodge("iface-dumpxml", name).strip() == lodge("iface-dumpxml", mac).strip() == lodge.virsh("iface-dumpxml", name)
        for command, word in (("iface-mac", "lo"), ("iface-name", "52:54:00:99:99:99"), ("iface-dumpxml", "lo"),
                              ("iface-dumpxml", "52:54:00:99:99:99")):
            assert lodge(command, word, status=1).startswith("lodge: Interface not found: couldn't find interface with"), command
        assert "which lacks setting up interfaces of the host" in lodge("iface-define", "x.xml", status=2)


def test_by_uuid():
    with lodged(LODGED) as daemon:
        lodge = Both(daemon)
        assert lodge("net-name", lodge("net-uuid", "default")) == "default"
        assert lodge.json("net-dhcp-leases", "default") == []
        folder = f"{daemon.root}/images"
        for name in "pq":
            lodge("pool-define-as", name, "dir", "--target", folder + name)
            lodge("pool-build", name)
            lodge("pool-start", name)
        assert lodge("pool-name", lodge("pool-uuid", "p")) == "p"
        lodge("vol-create-as", lodge("pool-uuid", "p"), "a.img", "1M")
        with open(f"{folder}p/a.img", "r+b") as out:
            out.write(b"content")
        xml = "<volume><name>b.img</name><capacity>1048576</capacity></volume>"
        lodge("vol-create-from", "q", "-", "a.img", "--inputpool", "p", text=xml)
        with open(f"{folder}q/b.img", "rb") as data:
            assert data.read(7) == b"content"


def test_arguments_by_virshs_names():
    with lodged(LODGED) as daemon:
        lodge = Both(daemon)
        lodge.guest()
        assert lodge("domuuid", "--domain", "g") == lodge.virsh("domuuid", "--domain", "g")
        lodge("setmem", "--config", "--size=12M", "--domain=g")
        assert "<currentMemory unit='KiB'>12288<" in lodge("dumpxml", "--domain", "g")
        assert lodge.json("domblkinfo", "g", "--device", "vda") == lodge.json("domblkinfo", "g", "vda")
        assert "--domain is given twice" in lodge("start", "--domain", "g", "--domain", "g", status=2)
        assert "one argument too many: 'h'" in lodge("start", "--domain", "g", "h", status=2)
        assert "an argument is missing" in lodge("setmem", "--size", "12M", status=2)
        assert "there is no option --network" in lodge("start", "--network", "g", status=2)
        assert "needs a value" in lodge("start", "--domain", status=2)
        lodge("start", "--domain", "g")
        assert lodge("list", "--id") == lodge.virsh("list", "--id") == "1"
        assert [stats["name"] for stats in lodge.json("domstats", "--list-running")] == ["g"]
        assert lodge.json("domstats", "--list-inactive") == []
        assert lodge("event", "--timeout", "1") == ""
        assert "no number of seconds" in lodge("event", "--timeout", "soon", status=2)


def test_pools_and_volumes_by_options():
    with lodged(LODGED) as daemon:
        lodge = Both(daemon)
        words = ("pool-define-as", "p", "netfs", "--source-host", "h&o", "--source-path", "/exp", "--source-format", "nfs")
        xml = lodge(*words, "--target", f"{daemon.root}/mnt", "--print-xml")
        assert "<host name='h&amp;o'/><dir path='/exp'/><format type='nfs'/>" in xml and lodge("pool-list", "--all", "--name") == ""
        lodge(*words, "--target", f"{daemon.root}/mnt")
        assert "<host name='h&amp;o'/>" in lodge.virsh("pool-dumpxml", "p")
        lodge("pool-create-as", "--name", "q", "--type", "dir", "--target", daemon.root)
        assert lodge("pool-list", "--all", "--transient", "--name") == "q" and lodge("pool-list", "--persistent", "--name") == ""
        assert lodge("pool-list", "--uuid") == lodge("pool-uuid", "q")
        assert lodge("net-list", "--autostart", "--uuid") == lodge("net-uuid", "default")
        assert lodge("net-list", "--no-autostart", "--name") == ""
        lodge("vol-create-as", "--pool", "q", "--name", "a.img", "--capacity", "1M", "--allocation", "64K")
        assert os.path.getsize(f"{daemon.root}/a.img") == 1 << 20 and os.stat(f"{daemon.root}/a.img").st_blocks * 512 >= 65536
        lodge("vol-resize", "--vol", "a.img", "--capacity", "1M", "--delta", "--pool", "q")
        assert os.path.getsize(f"{daemon.root}/a.img") == 2 << 20
        assert re.search(r"Capacity: +2097152$", lodge("vol-info", "a.img", "--pool", "q", "--bytes"), re.M)
        assert "<format type='qcow2'/>" in lodge("vol-create-as", "q", "b", "1M", "--format", "qcow2", "--print-xml")
        assert "only raw volumes" in lodge("vol-create-as", "q", "b", "1M", "--format", "qcow2", status=1)
        assert "is no size" in lodge("vol-create-as", "q", "b", "1M", "--allocation", "some", status=2)


def test_events_of_all():
    with lodged(LODGED) as daemon:
        lodge = Both(daemon)
        uuid = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
        happens = {
            "event": (lambda: lodge.guest(), {"name": "g", "event": "defined", "detail": 0}),
            "net-event": (lambda: lodge("net-define", "-", text="<network><name>lan</name><forward mode='nat'/></network>"),
                          {"name": "lan", "event": "defined", "detail": 0}),
            "pool-event": (lambda: lodge("pool-create-as", "p", "dir", "--target", daemon.root),
                           {"name": "p", "event": "started", "detail": 0}),
            "secret-event": (lambda: lodge("secret-define", "-", text=f"<secret><uuid>{uuid}</uuid></secret>"),
                             {"name": uuid, "event": "defined", "detail": 0})}
        for command, (happen, told) in happens.items():
            words = () if command == "event" else (told["name"],)
            with subprocess.Popen([LODGE, command, "--event", "lifecycle", "--json", "--timeout", str(WAIT), *words],
                                  stdout=subprocess.PIPE, env=lodge.env, text=True) as waits:
                until(f"{command} listens", lambda: f"{EVENT_CALLS[command]}\n" in daemon.text())
                happen()
                assert json.loads(waits.stdout.read()) == told, command
                assert waits.wait() == 0
        assert lodge("nodedev-event", "--timeout", "1") == "" and lodge("net-event", "--list") == "lifecycle"
        assert "lifecycle" in lodge("pool-event", "--event", "refresh", status=2)


def test_what_monitors_tell():
    with lodged(LODGED) as daemon:
        lodge, call = Both(daemon), "qemu_connect_domain_monitor_event_register\n"
        lodge.guest()
        lodge("start", "g")

        def told(*words, happens):
            before = daemon.text().count(call)
            with subprocess.Popen([LODGE, "qemu-monitor-event", "--timeout", str(WAIT), *words], stdout=subprocess.PIPE,
                                  env=lodge.env, text=True) as waits:
                until("it listens", lambda: daemon.text().count(call) > before)
                for command in happens:
                    lodge(command, "g")
                said = waits.stdout.read()
                assert waits.wait() == 0
            return said

        for words, happens, name in (((), ["suspend"], "STOP"), (("g",), ["resume"], "RESUME"),
                                     (("g", "RESUME"), ["suspend", "resume"], "RESUME"),
                                     (("--event", "stop", "--no-case"), ["suspend"], "STOP"),
                                     (("g", "--event", "^RES.ME$", "--regex"), ["resume"], "RESUME")):
            event = json.loads(told(*words, "--json", happens=happens))
            assert event["name"] == "g" and event["event"] == name and event["seconds"] > 0 and "details" in event, event
        assert re.fullmatch(r"event STOP at \d+\.\d{6} for guest 'g': .+\n", told("g", happens=["suspend"]))
        assert re.match(r"\d{4}-\d\d-\d\d .*: event RESUME ", told("--timestamp", "--pretty", happens=["resume"]))
        assert lodge("qemu-monitor-event", "--timeout", "1", "--event", "NOTHING") == ""
        assert "no number of seconds" in lodge("qemu-monitor-event", "--timeout", "soon", status=2)
        assert "no domain" in lodge("qemu-monitor-event", "h", "--timeout", "1", status=1)


def test_io_threads_and_pages():
    with lodged(LODGED) as daemon:
        lodge = Both(daemon)
        lodge.guest()
        assert lodge.json("iothreadinfo", "g") == [] and lodge("iothreadinfo", "g", "--config") == "Thread   CPUs"
        assert "No IOThreads found" in lodge.virsh("iothreadinfo", "g")
        assert "no domain" in lodge("iothreadinfo", "h", status=1)
        assert "no pages of 12 KiB" in lodge("allocpages", "12K", "1", status=1)
        assert "no pages of 12 KiB" in lodge.virsh("allocpages", "12", "1", status=1)
        assert "there is no NUMA node 7" in lodge("allocpages", "2M", "1", "--cellno", "7", status=1)
        huge = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
        if os.path.exists(huge):  # as many as there are: nothing changes on this host
            with open(huge) as file:
                count = file.read().strip()
            for run in (lodge, lodge.virsh):
                for words in (("2048", count), ("2048", "0", "--add"), ("2048", count, "--cellno", "0"), ("2048", count, "--all")):
                    if os.access(huge, os.W_OK) and not os.statvfs(huge).f_flag & os.ST_RDONLY:
                        run("allocpages", *words)
                    else:
                        assert f"cannot write {huge}" in run("allocpages", *words, status=1)
            with open(huge) as file:
                assert file.read().strip() == count
        assert "no size of pages" in lodge("allocpages", "many", "1", status=2)
        assert "not both" in lodge("allocpages", "2M", "1", "--all", "--cellno", "0", status=2)


def test_parts_of_networks():
    with lodged(LODGED) as daemon:
        lodge = Both(daemon)
        net = ("<network><name>n</name><forward mode='nat'/><ip address='10.1.0.1' netmask='255.255.255.0'/>"
               "<ip address='10.2.0.1' netmask='255.255.255.0'><dhcp><range start='10.2.0.9' end='10.2.0.99'/></dhcp></ip></network>")
        lodge("net-define", "-", text=net)
        host, other = "<host mac='52:54:00:00:00:01' ip='10.2.0.3'/>", "<host mac='52:54:00:00:00:02' ip='10.2.0.4' name='two'/>"

        def xml():
            assert lodge("net-dumpxml", "n") == lodge.virsh("net-dumpxml", "n")
            return re.sub(r"\n *", "", lodge("net-dumpxml", "n"))

        def refused(text, *words):
            said = lodge("net-update", "n", *words, status=1), lodge.virsh("net-update", "n", *words, status=1)
            assert all(text in one for one in said), said

        lodge("net-update", "n", "add", "ip-dhcp-host", host)
        lodge.virsh("net-update", "n", "add-first", "ip-dhcp-host", other, "--config")
        assert f"{other}{host}</dhcp>" in xml()  # where there is a <dhcp>
        refused("there is one like that already", "add-last", "ip-dhcp-host", "<host mac='52:54:00:00:00:09' ip='10.2.0.4'/>")
        lodge.virsh("net-update", "n", "modify", "ip-dhcp-host", host.replace("0.3", "0.5"))
        assert host.replace("0.3", "0.5") in xml()
        refused("there is none like that to change", "modify", "ip-dhcp-host", "<host mac='52:54:00:00:00:07' ip='10.2.0.7'/>")
        for command in (lodge, lodge.virsh):
            lodge.virsh("net-update", "n", "add-last", "ip-dhcp-range", "<range start='10.1.0.2' end='10.1.0.3'/>", "--parent-index", "0")
            assert "<dhcp><range start='10.1.0.2' end='10.1.0.3'/></dhcp>" in xml()
            command("net-update", "n", "delete", "ip-dhcp-range", "<range start='10.1.0.2' end='10.1.0.3'/>", "--parent-index", "0")
            assert "10.1.0.2" not in xml() and "netmask='255.255.255.0'/>" in xml().replace("></ip>", "/>")
        for section, part in (("dns-txt", "<txt name='a' value='b'/>"), ("dns-host", "<host ip='10.2.0.1'><hostname>h</hostname></host>"),
                              ("dns-srv", "<srv service='s' protocol='tcp' domain='d' target='t' port='1'/>"),
                              ("portgroup", "<portgroup name='p'/>"), ("forward-interface", "<interface dev='eth0'/>")):
            lodge("net-update", "n", "add-last", section, part)
            assert part in xml(), (section, xml())
            refused("there is one like that already", "add-last", section, part)
            if section != "portgroup":
                refused("not changed", "modify", section, part)
            lodge.virsh("net-update", "n", "delete", section, part)
            assert part not in xml()
            refused("there is none like that to delete", "delete", section, part)
        refused("is a <host>, not a <range>", "add-last", "ip-dhcp-host", "<range start='10.2.0.9' end='10.2.0.99'/>")
        refused("not well-formed", "add-last", "ip-dhcp-host", "<host")
        refused("is not changed in part", "modify", "bridge", "<bridge name='b'/>")
        refused("is not active", "add-last", "dns-txt", "<txt name='a' value='b'/>", "--live")
        refused("has no <ip>", "add-last", "ip-dhcp-host", host, "--parent-index", "7")
        assert "is part of Lodge" in lodge("net-update", "default", "add", "dns-txt", "<txt name='a' value='b'/>", status=1)
        assert "is no section: they are bridge" in lodge("net-update", "n", "add", "cable", "<x/>", status=2)
        assert "is no command: they are modify" in lodge("net-update", "n", "break", "dns-txt", "<x/>", status=2)
        before = xml()
        daemon.restart()
        assert xml() == before


def test_parts_of_xml_and_of_volumes():
    with lodged(LODGED) as daemon:
        lodge, folder = Both(daemon), f"{daemon.root}/images"
        lodge.guest()
        for words in (("//disk",), ("//disk/target", "--wrap"), ("/domain/name | /domain/memory",), ("/domain/name | //mac", "--wrap"),
                      ("//nothing",), ("//disk/@type",)):
            expression, wrap = words[0], words[1:]
            for what in (("dumpxml", "g"), ("net-dumpxml", "default"), ("nodedev-dumpxml", "computer")):
                ours = subprocess.run([LODGE, *what, "--xpath", expression, *wrap], capture_output=True, text=True, env=lodge.env)
                theirs = subprocess.run(["virsh", "-c", daemon.uri(), *what, "--xpath", expression, *wrap], capture_output=True,
                                        text=True)
                assert ours.returncode == theirs.returncode, (words, what, ours, theirs)
                assert ours.stdout.strip() == theirs.stdout.strip(), (words, what, ours.stdout, theirs.stdout)
        assert lodge("dumpxml", "g", "--xpath", "//disk/target") == "<target dev='vda' bus='virtio'/>".replace("'", '"')
        assert lodge("capabilities", "--xpath", "/capabilities/host/cpu/arch") == "<arch>x86_64</arch>"
        assert "is no XPath expression" in lodge("dumpxml", "g", "--xpath", "//[", status=1)
        assert "is no XPath expression" in lodge("dumpxml", "g", "--xpath", "count(//disk)", status=1)
        # volumes
        lodge("pool-create-as", "p", "dir", "--build", "--target", folder)
        for name in ("a.img", "b.img", "c.img"):
            lodge("vol-create-as", "p", name, "1M")
        with open(f"{daemon.root}/data", "wb") as out:
            out.write(bytes(range(256)) * 16)
        lodge("vol-upload", "a.img", f"{daemon.root}/data", "--pool", "p", "--offset", "4096", "--length", "1K")
        with open(f"{folder}/a.img", "rb") as image:
            data = image.read()
        assert data == bytes(4096) + bytes(range(256)) * 4 + bytes((1 << 20) - 5120)
        lodge("vol-upload", "a.img", f"{daemon.root}/data", "--pool", "p", "--offset", "1020K")
        for words, wanted in ((("--offset", "4096", "--length", "256"), bytes(range(256))), (("--offset", "1044480"), bytes(range(256)) * 16),
                              (("--length", "5120"), bytes(4096) + bytes(range(256)) * 4)):
            for run in (lodge, lodge.virsh):
                got = f"{daemon.root}/got"
                run("vol-download", f"{folder}/a.img", got, *words)
                with open(got, "rb") as file:
                    assert file.read() == wanted, (run, words)
        assert "is a number of bytes" in lodge("vol-download", f"{folder}/a.img", "/dev/null", "--offset", "far", status=2)
        # disks by name
        disks = "".join(f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{folder}/{name}'/>"
                        f"<target dev='vd{name[0]}' bus='virtio'/></disk>" for name in ("a.img", "b.img", "c.img"))
        lodge("define", "-", text=guest_xml("h", IMAGE, disks))
        assert "has no disk 'vdx'" in lodge("undefine", "h", "--storage", "vda,vdx", status=1)
        assert "is in no storage pool" in lodge("undefine", "g", "--storage", "vda", status=1)
        assert lodge("list", "--all", "--name").split() == ["g", "h"] and len(os.listdir(folder)) == 3
        lodge("define", "-", text=guest_xml("i", IMAGE, disks.split("</disk>")[0] + "</disk>"))
        said = lodge("undefine", "h", "--storage", f"vda,{folder}/b.img")
        assert "stays:   the volume a.img of the pool p, which guest 'i' has, too" in said and "Volume 'b.img' deleted" in said
        assert sorted(os.listdir(folder)) == ["a.img", "c.img"]


def test_definitions_and_what_belongs_to_them():
    with lodged(LODGED) as daemon:
        lodge, folder = Both(daemon), f"{daemon.root}/deep/images"
        lodge("pool-define-as", "p", "dir", "--target", folder)
        lodge("pool-start", "p", "--build")
        for name in ("a.img", "b.img"):
            lodge("vol-create-as", "p", name, "1M")
        disks = "".join(f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{folder}/{name}'/>"
                        f"<target dev='vd{name[0]}' bus='virtio'/>{more}</disk>"
                        for name, more in (("a.img", ""), ("b.img", "<shareable/>")))
        lodge("define", "-", text=guest_xml("g", IMAGE, disks))
        lodge("start", "g")
        assert "runs: its disks are deleted when it is off" in lodge("undefine", "g", "--remove-all-storage", status=1)
        lodge("destroy", "g")
        assert lodge("dumpxml", "g", "--migratable") == lodge.virsh("dumpxml", "g", "--migratable")
        assert lodge("dumpxml", "g", "--update-cpu", "--inactive") == lodge.virsh("dumpxml", "g", "--update-cpu", "--inactive")
        assert "Volume 'a.img' deleted" in lodge("undefine", "g", "--remove-all-storage")
        assert os.listdir(folder) == ["b.img"] and lodge("list", "--all", "--name") == ""
        assert lodge("pool-create-as", "q", "dir", "--build", "--target", f"{folder}/q") == "Pool 'q' created"


tap.main(globals())
