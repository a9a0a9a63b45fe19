# SPDX-License-Identifier: GPL-2.0-or-later
"""`lodge create NAME --from ...`: guests out of kernels, disk images and ISOs, and what is left when that fails.

    test_create.py LODGED BUTTON-IMAGE LODGE
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET

import tap
from lodged import WAIT, lodged, until

LODGED, IMAGE, LODGE = sys.argv[1:]
MIB = 1 << 20
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0YwCVwVQn7rhyeNWnyXbFtUvb4iOiBsjTrDUdKLvkc somebody@somewhere"


class Lodge:
    """Runs lodge with a daemon that has a pool `default`, as a user with a home below the daemon's root."""

    def __init__(self, daemon):
        self.daemon, self.home, self.images = daemon, f"{daemon.root}/home", f"{daemon.root}/images"
        os.makedirs(f"{self.home}/.ssh")
        self.env = dict(os.environ, LODGE_URI=daemon.socket, LC_ALL="C", HOME=self.home,
                        XDG_CACHE_HOME=f"{self.home}/.cache", TMPDIR=self.home)
        daemon.virsh("pool-define-as", "default", "dir", "--target", self.images)
        daemon.virsh("pool-build", "default")

    def __call__(self, *words, status=0):
        done = subprocess.run([LODGE, *words], capture_output=True, text=True, timeout=WAIT, env=self.env, check=False,
                              stdin=subprocess.DEVNULL)
        assert done.returncode == status, (words, done, self.daemon.text())
        assert bool(done.stderr) == bool(status), (words, done)
        return done.stderr if status else done.stdout

    def create(self, *words):
        return json.loads(self("create", *words, "--memory", "16M", "--vcpus", "1", "--json"))

    def refused(self, message, *words):
        """Fails with that message, and leaves nothing."""
        said = self("create", "g", "--memory", "16M", *words, status=1)
        assert message in said, (words, said)
        assert self.daemon.virsh("list", "--all", "--name") == "" and os.listdir(self.images) == [], words
        assert sorted(os.listdir(self.home)) == [".ssh"], "temporary files are left"

    def xml(self, name):
        return ET.fromstring(self("dumpxml", name, "--inactive"))


def tool(name):
    found = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    if not found:
        raise tap.Skip(f"there is no {name}")
    return found


def file_system(daemon, files, name="fs.img", length=8 * MIB):
    """An ext4 file system with these files, by its own tool: {path: content}."""
    tree, path = f"{daemon.root}/tree-{name}", f"{daemon.root}/{name}"
    for file, content in files.items():
        os.makedirs(os.path.dirname(f"{tree}/{file}"), exist_ok=True)
        with open(f"{tree}/{file}", "wb") as out:
            out.write(content)
    with open(path, "wb") as out:
        out.truncate(length)
    subprocess.run([tool("mkfs.ext4"), "-q", "-F", "-d", tree, path], check=True, capture_output=True)
    return path


def content(path):
    with open(path, "rb") as data:
        return data.read()


def system(**more):
    kernel = content(IMAGE)
    return {"boot/vmlinuz-6.1.0-9-amd64": b"old", "boot/vmlinuz-6.1.0-10-amd64": kernel,
            "boot/initrd.img-6.1.0-10-amd64": b"the initrd", "etc/os-release": b"", "usr/x": b"", **more}


def test_a_kernel():
    with lodged(LODGED) as daemon:
        lodge = Lodge(daemon)
        made = lodge.create("k", "--from", IMAGE, "--cmdline", "a 'b' <c>", "--disk", "20M")
        assert made["running"] is True and made["user"] is None and made["disc"] is None, made
        assert made["kernel"] == f"{lodge.images}/k-vmlinuz" and content(made["kernel"]) == content(IMAGE)
        assert os.path.getsize(made["disk"]) == 20 * MIB and os.stat(made["disk"]).st_blocks == 0
        xml = lodge.xml("k")
        assert xml.findtext("os/cmdline") == "a 'b' <c>" and xml.find("os/initrd") is None
        assert xml.find("devices/disk/source").get("file") == made["disk"]
        assert xml.find("devices/interface/source").get("network") == "default"
        assert daemon.virsh("domstate", "k") == "running" and daemon.virsh("domuuid", "k") == made["uuid"]
        said = lodge("delete", "k", "--yes")
        assert "goes:    the volume k.img" in said and "goes:    the volume k-vmlinuz" in said, said
        assert os.listdir(lodge.images) == []
        made = lodge.create("k", "--from", IMAGE, "--initrd", IMAGE, "--no-start", "--network", "none")
        assert made["running"] is False and made["disk"] is None and content(made["initrd"]) == content(IMAGE)
        assert lodge.xml("k").find("devices/interface") is None and daemon.virsh("domstate", "k") == "shut off"


def test_the_pool_of_a_root_is_below_it():
    with lodged(LODGED) as daemon:
        lodge = Lodge(daemon)
        daemon.virsh("pool-undefine", "default")
        made = lodge.create("k", "--from", IMAGE, "--no-start")
        assert made["kernel"] == f"{daemon.root}/images/k-vmlinuz", made
        assert "default" in daemon.virsh("pool-list", "--name", "--autostart")


def test_next_steps():
    with lodged(LODGED) as daemon:
        lodge = Lodge(daemon)
        image = file_system(daemon, system())
        said = lodge("create", "web1", "--from", image, "--memory", "16M", "--ssh-port", "2222", "--user", "joe")
        assert said.startswith("Guest 'web1' has been created and runs\n"), said
        for line in ("lodge console web1", "ssh -p 2222 joe@127.0.0.1", "lodge delete web1", "no SSH key to let in"):
            assert line in said, (line, said)
        forward = lodge.xml("web1").find("devices/interface/portForward")
        assert forward.get("address") == "127.0.0.1" and forward.find("range").get("to") == "22"


def test_an_image_and_its_seed():
    with lodged(LODGED) as daemon:
        lodge = Lodge(daemon)
        with open(f"{lodge.home}/.ssh/id_rsa.pub", "w") as out:
            out.write(KEY + "\n")
        image = file_system(daemon, system())
        before = content(image)
        made = lodge.create("web_1", "--from", image, "--disk", "32M", "--user", "joe")
        assert content(image) == before, "the image itself is left alone"
        assert os.path.getsize(made["disk"]) == 32 * MIB and content(made["disk"])[:len(before)] == before
        assert os.stat(made["disk"]).st_blocks * 512 <= len(before), "holes stay holes"
        assert content(made["kernel"]) == content(IMAGE) and content(made["initrd"]) == b"the initrd"
        xml = lodge.xml("web_1")
        uuid = re.search(r"UUID=(\S+)", xml.findtext("os/cmdline")).group(1)
        shown = subprocess.run([tool("blkid"), "-o", "value", "-s", "UUID", made["disk"]], capture_output=True, text=True)
        assert shown.stdout.strip() == uuid, (shown, uuid)
        disks = xml.findall("devices/disk")
        assert [d.find("target").get("dev") for d in disks] == ["vda", "vdb"] and disks[1].find("readonly") is not None
        seed = content(made["disc"])
        assert seed[32769:32774] == b"CD001" and seed[32808:32840].rstrip() == b"CIDATA", seed[32768:32840]
        data = json.loads(re.search(rb"#cloud-config\n(\{.*?\n\})\n", seed, re.S).group(1))
        assert data["hostname"] == "web-1" and data["ssh_pwauth"] is False, data
        user, = data["users"]
        assert user["name"] == "joe" and user["ssh_authorized_keys"] == [KEY] and "NOPASSWD" in user["sudo"], user
        method, salt = user["passwd"].split("$")[1:3]
        hashed = subprocess.run([tool("openssl"), "passwd", f"-{method}", "-salt", salt, made["password"]],
                                capture_output=True, text=True, check=True)
        assert hashed.stdout.strip() == user["passwd"] and len(made["password"]) == 12, (hashed, user)
        assert b'"local-hostname": "web-1"' in seed and made["ssh_key"] == KEY
        assert os.stat(made["disc"]).st_mode & 0o077 == 0, "nobody else reads the password"
        lodge("delete", "web_1", "--yes")
        assert os.listdir(lodge.images) == []


def test_partitions():
    with lodged(LODGED) as daemon:
        lodge = Lodge(daemon)
        boot = {name.replace("boot/", "", 1): data for name, data in system().items() if name.startswith("boot/")}
        inner = [content(file_system(daemon, boot, "boot.img")),
                 content(file_system(daemon, {"etc/x": b"", "usr/x": b""}, "root.img"))]
        for label in "gpt", "dos":
            path = f"{daemon.root}/{label}.img"
            with open(path, "wb") as out:
                out.truncate(20 * MIB)
            subprocess.run([tool("sfdisk"), "-q", path], check=True, text=True, capture_output=True,
                           input=f"label: {label}\nstart=2048, size=16384\nstart=18432, size=16384\n")
            with open(path, "r+b") as out:
                for at, data in zip((1, 9), inner):
                    out.seek(at * MIB)
                    out.write(data)
            made = lodge.create(label, "--from", path, "--no-start")
            assert content(made["kernel"]) == content(IMAGE), label
            uuid = inner[1][1024 + 0x68:1024 + 0x78].hex()
            assert lodge.xml(label).findtext("os/cmdline").replace("-", "").startswith(f"root=UUID={uuid} "), label


def test_file_systems_that_are_not_read():
    """They are named, with their partitions."""
    with lodged(LODGED) as daemon:
        lodge, path = Lodge(daemon), f"{daemon.root}/disk.img"
        with open(path, "wb") as out:
            out.truncate(20 * MIB)
        subprocess.run([tool("sfdisk"), "-q", path], check=True, text=True, capture_output=True,
                       input="label: gpt\nstart=2048, size=16384\nstart=18432, size=16384\n")
        for magics, said in (({MIB: b"XFSB", 9 * MIB + 512: b"LABELONE"}, "XFS on partition 1, an LVM volume on partition 2"),
                             ({MIB: b"LUKS\xba\xbe"}, "an encrypted volume (LUKS) on partition 1"),
                             ({MIB: bytes(6), MIB + 0x10040: b"_BHRfS_M", 9 * MIB + 512: bytes(8)}, "it has btrfs on partition 1")):
            with open(path, "r+b") as out:
                for at, magic in magics.items():
                    out.seek(at)
                    out.write(magic)
            lodge.refused(said, "--from", path)
        with open(path, "r+b") as out:
            out.write(b"XFSB")
        lodge.refused("it has XFS, and Lodge", "--from", path)


def test_a_kernel_for_an_image():
    with lodged(LODGED) as daemon:
        lodge, image = Lodge(daemon), f"{daemon.root}/blank.img"
        with open(image, "wb") as out:
            out.truncate(MIB)
        lodge.refused("no kernel is found", "--from", image)
        lodge.refused("--initrd needs --kernel", "--from", image, "--initrd", IMAGE)
        made = lodge.create("g", "--from", image, "--kernel", IMAGE, "--cmdline", "root=/dev/vda1")
        assert lodge.xml("g").findtext("os/cmdline") == "root=/dev/vda1" and made["initrd"] is None


def test_an_iso():
    with lodged(LODGED) as daemon:
        lodge, tree, iso = Lodge(daemon), f"{daemon.root}/tree", f"{daemon.root}/x.iso"
        os.makedirs(f"{tree}/install.amd")
        shutil.copy(IMAGE, f"{tree}/install.amd/vmlinuz")
        with open(f"{tree}/install.amd/initrd.gz", "wb") as out:
            out.write(b"the installer")
        subprocess.run([tool("xorriso"), "-as", "mkisofs", "-quiet", "-r", "-o", iso, tree], check=True, capture_output=True)
        made = lodge.create("g", "--from", iso, "--disk", "20M")
        assert content(made["kernel"]) == content(IMAGE) and content(made["initrd"]) == b"the installer"
        assert made["disc"] == f"{lodge.images}/g.iso" and content(made["disc"]) == content(iso)
        disks = lodge.xml("g").findall("devices/disk")
        assert [d.find("source").get("file") for d in disks] == [made["disc"], made["disk"]]
        lodge("delete", "g", "--yes")
        os.rename(f"{tree}/install.amd", f"{tree}/elsewhere")
        os.unlink(iso)
        subprocess.run([tool("xorriso"), "-as", "mkisofs", "-quiet", "-o", iso, tree], check=True, capture_output=True)
        lodge.refused("no kernel is found in", "--from", iso)


def test_nothing_is_left_of_a_failure():
    with lodged(LODGED) as daemon:
        lodge, image = Lodge(daemon), file_system(daemon, system())
        lodge.refused("No such file", "--from", "/nowhere")
        lodge.refused("it is no file", "--from", IMAGE, "--initrd", "/dev/null")
        lodge.refused("is not in this version", "--from", IMAGE, "--network", "lan")
        lodge.refused("does for no user", "--from", image, "--user", "root")
        lodge.refused("no public SSH key", "--from", image, "--ssh-key", image)
        lodge.refused("is no size", "--from", image, "--disk", "large")
        lodge.refused("the image is larger", "--from", image, "--disk", "1M")
        lodge.refused("no number from 1", "--from", image, "--ssh-port", "0")
        lodge.refused("--ssh-port goes through", "--from", image, "--ssh-port", "22", "--network", "none")
        lodge.refused("no storage pool", "--from", image, "--pool", "other")
        qcow2 = f"{daemon.root}/x.qcow2"
        with open(qcow2, "wb") as out:
            out.write(b"QFI\xfb" + bytes(1000))
        path, lodge.env["PATH"] = lodge.env["PATH"], "/nowhere"
        lodge.refused("apt-get install qemu-utils", "--from", qcow2)
        lodge.env["PATH"] = path
        lodge.create("g", "--from", IMAGE, "--no-start")
        said = lodge("create", "g", "--from", IMAGE, status=1)
        assert "there is a guest 'g' already" in said and "lodge delete g" in said, said
        assert os.listdir(lodge.images) == ["g-vmlinuz"], "the first one's stays"


def test_interrupted():
    """With the daemon stopped, so that the signal comes before anything is made."""
    with lodged(LODGED) as daemon:
        lodge = Lodge(daemon)
        daemon.process.send_signal(signal.SIGSTOP)
        try:
            with subprocess.Popen([LODGE, "create", "g", "--from", IMAGE], env=lodge.env, stderr=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True) as create:
                def catches():
                    return int(re.search(r"SigCgt:\s*(\w+)", content(f"/proc/{create.pid}/status").decode()).group(1), 16) & 2
                until("it catches SIGINT", catches)
                create.send_signal(signal.SIGINT)
                daemon.process.send_signal(signal.SIGCONT)
                said = create.communicate(timeout=WAIT)
                assert create.returncode == 1 and said == ("", "lodge create: interrupted\n"), said
        finally:
            daemon.process.send_signal(signal.SIGCONT)
        assert daemon.virsh("list", "--all", "--name") == "" and os.listdir(lodge.images) == []


def test_wrong_usage():
    with lodged(LODGED) as daemon:
        lodge = Lodge(daemon)
        assert lodge("create", "g", "--disk", "1G", status=2) == "lodge create: --disk needs --from\n"
        assert "--no-start" in lodge("create", "g", "--from", IMAGE, "--paused", status=2)
        assert "there is no file 'g'" in lodge("create", "g", status=1)
        lodge.refused("made by its name is debian-12", "--from", "debian-99")
        assert "it has a '/'" in lodge("create", "a/b", "--from", IMAGE, status=1)


tap.main(globals())
