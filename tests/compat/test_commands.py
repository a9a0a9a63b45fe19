# SPDX-License-Identifier: GPL-2.0-or-later
"""The commands of `lodge` that ask a daemon, against a lodged of their own; virsh sees the same.

    test_commands.py LODGED BUTTON-IMAGE LODGE
"""
import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios

import tap
from lodged import WAIT, guest_xml, lodged, until

LODGED, IMAGE, LODGE = sys.argv[1:]
UUID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"


class Shell:
    """Runs lodge with a daemon; what it prints must begin with no error unless one is expected."""

    def __init__(self, daemon):
        self.daemon, self.env = daemon, dict(os.environ, LODGE_URI=daemon.socket, LC_ALL="C")

    def __call__(self, *words, status=0, text=None):
        done = subprocess.run([LODGE, *words], input=text, capture_output=True, text=True, timeout=WAIT, env=self.env,
                              check=False)
        assert done.returncode == status, (words, done, self.daemon.text())
        assert bool(done.stderr) == bool(status), (words, done)
        return done.stderr if status else done.stdout

    def json(self, *words):
        return json.loads(self(*words, "--json"))


def table(text):
    """Rows of a table, as {title: text}, by the places of the titles."""
    lines = text.splitlines()
    at = [i for i, c in enumerate(lines[0]) if c != " " and (i == 0 or lines[0][i - 2:i] == "  ")]
    return [{lines[0][a:b].strip(): line[a:b].strip() for a, b in zip(at, at[1:] + [None])} for line in lines[1:]]


def define(lodge, name):
    return lodge("define", "-", text=guest_xml(name, IMAGE).replace("</name>", f"</name><uuid>{UUID}</uuid>"))


def test_guest_from_definition_to_end():
    with lodged(LODGED) as daemon:
        lodge = Shell(daemon)
        assert lodge.json("list", "--all") == [] and lodge("list") == "Id   Name   State   UUID\n"
        assert define(lodge, "web1") == "Guest 'web1' defined from standard input\n"
        assert lodge.json("list") == []
        assert table(lodge("list", "--all")) == [{"Id": "-", "Name": "web1", "State": "shut off", "UUID": UUID}]
        assert lodge.json("list", "--inactive") == [{"id": None, "name": "web1", "state": "shut off", "uuid": UUID}]
        assert lodge("start", "web1", "--paused") == "Guest 'web1' started\n"
        assert (lodge("domstate", "web1"), daemon.virsh("domstate", "web1")) == ("paused\n", "paused")
        lodge("resume", UUID)
        assert lodge("domid", "web1") == "1\n" and lodge("domname", "1") == "web1\n"
        assert lodge("domuuid", "1") == UUID + "\n"
        assert lodge("list", "--name") == "web1\n" and lodge("list", "--uuid", "--name") == f"{UUID} web1\n"
        assert lodge.json("list", "--state-paused") == []
        info = lodge.json("dominfo", "web1")
        assert (info["id"], info["name"], info["uuid"], info["state"]) == (1, "web1", UUID, "running"), info
        assert info["max_memory_bytes"] == 16 << 20 and info["vcpus"] == 1 and info["persistent"] is True
        assert "Max memory:   16.0 MiB\n" in lodge("dominfo", "web1"), lodge("dominfo", "web1")
        assert "already running" in lodge("start", "web1", status=1)
        lodge("suspend", "web1")
        lodge("resume", "web1")
        lodge("reset", "web1")
        lodge("shutdown", "web1")
        until("it is off", lambda: lodge("domstate", "web1") == "shut off\n")
        lodge("start", "web1")
        assert lodge("destroy", "web1") == "Guest 'web1' destroyed\n"
        assert lodge("domid", "web1") == "-\n"
        lodge("autostart", "web1")
        assert lodge("list", "--all", "--autostart", "--name") == "web1\n"
        lodge("autostart", "web1", "--disable")
        assert lodge("list", "--all", "--autostart", "--name") == ""
        xml = lodge("dumpxml", "web1", "--inactive")
        assert xml.strip() == daemon.virsh("dumpxml", "--inactive", "web1")
        assert lodge("undefine", "web1") == "Guest 'web1' has been undefined\n"
        assert "no domain with matching name 'web1'" in lodge("dominfo", "web1", status=1)


def test_guest_without_definition():
    with lodged(LODGED) as daemon:
        lodge, path = Shell(daemon), f"{daemon.root}/guest.xml"
        with open(path, "w") as out:
            out.write(guest_xml("passing", IMAGE))
        assert lodge("create", path, "--paused") == f"Guest 'passing' created from {path}\n"
        assert lodge.json("dominfo", "passing")["persistent"] is False
        lodge("destroy", "passing")
        assert lodge.json("list", "--all") == []


def test_networks():
    with lodged(LODGED) as daemon:
        lodge = Shell(daemon)
        assert [(n["name"], n["active"], n["autostart"]) for n in lodge.json("net-list")] == [("default", True, True)]
        assert lodge("net-dumpxml", "default").strip() == daemon.virsh("net-dumpxml", "default")
        lan = "<network><name>lan</name><forward mode='nat'/><bridge name='br7'/></network>"
        assert lodge("net-define", "-", text=lan) == "Network 'lan' defined from standard input\n"
        assert [row["Name"] for row in table(lodge("net-list", "--inactive"))] == ["lan"]
        lodge("net-autostart", "lan")
        assert {n["name"]: n["autostart"] for n in lodge.json("net-list", "--all")}["lan"] is True
        assert "not in this version" in lodge("net-start", "lan", status=1)
        assert "part of Lodge" in lodge("net-destroy", "default", status=1)
        lodge("net-undefine", "lan")
        assert lodge.json("net-list", "--inactive") == []


def test_storage():
    with lodged(LODGED) as daemon:
        lodge, folder = Shell(daemon), f"{daemon.root}/images"
        pool = f"<pool type='dir'><name>p</name><target><path>{folder}</path></target></pool>"
        lodge("pool-define", "-", text=pool)
        lodge("pool-build", "p")
        assert lodge.json("pool-list") == []
        lodge("pool-start", "p")
        assert lodge.json("pool-list")[0]["name"] == "p"
        assert lodge("vol-create-as", "p", "a.img", "20M") == "Volume 'a.img' created\n"
        assert os.path.getsize(f"{folder}/a.img") == 20 << 20
        assert lodge.json("vol-list", "p") == [{"name": "a.img", "path": f"{folder}/a.img"}]
        assert lodge("vol-path", "a.img", "--pool", "p") == f"{folder}/a.img\n"
        assert lodge.json("vol-info", f"{folder}/a.img")["capacity_bytes"] == 20 << 20
        assert re.search(r"^Capacity: +20.0 MiB$", lodge("vol-info", "a.img", "--pool", "p"), re.M)
        assert "<name>a.img</name>" in lodge("vol-dumpxml", "a.img", "--pool", "p")
        volume = "<volume><name>b.img</name><capacity>4096</capacity></volume>"
        lodge("vol-create", "p", "-", text=volume)
        with open(f"{folder}/c.img", "wb") as out:
            out.truncate(512)
        lodge("pool-refresh", "p")
        assert sorted(v["name"] for v in lodge.json("vol-list", "p")) == ["a.img", "b.img", "c.img"]
        lodge("vol-delete", "a.img", "--pool", "p")
        lodge("vol-delete", f"{folder}/b.img")
        assert os.listdir(folder) == ["c.img"]
        assert "no size" in lodge("vol-create-as", "p", "x", "20X", status=2)
        assert "no storage vol with matching name 'x'" in lodge("vol-info", "x", "--pool", "p", status=1)
        info = lodge.json("pool-info", "p")
        assert info["active"] is True and info["capacity_bytes"] > info["available_bytes"] > 0
        lodge("pool-autostart", "p")
        assert lodge.json("pool-info", "p")["autostart"] is True
        assert folder in lodge("pool-dumpxml", "p")
        lodge("pool-destroy", "p")
        lodge("pool-undefine", "p")
        assert lodge.json("pool-list", "--all") == []


def with_disks(daemon, lodge):
    """A guest with a disk in a pool, one that is read-only, and one elsewhere."""
    folder = f"{daemon.root}/images"
    lodge("pool-define", "-", text=f"<pool type='dir'><name>p</name><target><path>{folder}</path></target></pool>")
    lodge("pool-build", "p")
    lodge("pool-start", "p")
    for name in ("own.img", "shared.img"):
        lodge("vol-create-as", "p", name, "1M")
    with open(f"{daemon.root}/elsewhere.img", "wb") as out:
        out.truncate(1 << 20)
    disks = "".join(f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{path}'/>"
                    f"<target dev='{dev}' bus='virtio'/>{more}</disk>"
                    for path, dev, more in ((f"{folder}/own.img", "vda", ""), (f"{folder}/shared.img", "vdb", "<readonly/>"),
                                            (f"{daemon.root}/elsewhere.img", "vdc", "")))
    lodge("define", "-", text=guest_xml("web1", IMAGE, disks))
    return folder


def test_delete():
    with lodged(LODGED) as daemon:
        lodge = Shell(daemon)
        folder = with_disks(daemon, lodge)
        lodge("start", "web1")
        assert "nobody to ask" in lodge("delete", "web1", status=1)
        assert lodge("domstate", "web1") == "running\n"
        said = lodge("delete", "web1", "--yes")
        assert said == (f"stays:   {daemon.root}/elsewhere.img, which is in no storage pool\n"
                        "goes:    the guest 'web1', which runs\n"
                        "goes:    the volume own.img of the pool p\nGuest 'web1' has been deleted\n"), said
        assert os.listdir(folder) == ["shared.img"] and os.path.exists(f"{daemon.root}/elsewhere.img")
        assert lodge.json("list", "--all") == []
        define(lodge, "web2")
        assert lodge("delete", "web2", "--keep-disks", "--yes").endswith("Guest 'web2' has been deleted\n")
        assert "no domain" in lodge("delete", "web2", "--yes", status=1)


def test_delete_leaves_what_others_have():
    """By a definition, while they run, through a link, as a kernel and as what a disk is a change of."""
    with lodged(LODGED) as daemon:
        lodge = Shell(daemon)
        folder = with_disks(daemon, lodge)

        def disk(path, more=""):
            return (f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{path}'/>{more}"
                    f"<target dev='vda' bus='virtio'/></disk>")

        def stays(words, user, name="own.img"):
            said = lodge(*words)
            assert f"stays:   the volume {name} of the pool p, which guest '{user}' has, too\n" in said, said
            assert "volume own.img of the pool p\n" not in said and os.path.exists(f"{folder}/{name}"), said

        web1 = lodge("dumpxml", "web1")
        link = f"{daemon.root}/link.img"
        os.symlink(f"{folder}/own.img", link)
        backing = f"<backingStore type='file'><format type='raw'/><source file='{folder}/own.img'/></backingStore>"
        for xml in (disk(f"{folder}/own.img"), disk(f"{folder}/own.img").replace("</disk>", "<readonly/></disk>"), disk(link),
                    disk(f"{folder}/other.img", backing)):
            lodge("define", "-", text=guest_xml("web2", IMAGE, xml))
            stays(("delete", "web1", "--yes"), "web2")
            lodge("define", "-", text=web1)
            stays(("undefine", "web1", "--remove-all-storage"), "web2")
            lodge("define", "-", text=web1)
            lodge("undefine", "web2")
        # one that runs, and whose definition has another disk, or none
        lodge("create", "-", text=guest_xml("web3", IMAGE, disk(f"{folder}/own.img")))
        stays(("delete", "web1", "--yes"), "web3")
        lodge("define", "-", text=web1)
        uuid = lodge("domuuid", "web3").strip()
        lodge("define", "-", text=guest_xml("web3", IMAGE).replace("</name>", f"</name><uuid>{uuid}</uuid>"))
        stays(("delete", "web1", "--yes"), "web3")
        lodge("delete", "web3", "--yes")
        # what `create` names after a guest, and a clone boots, too
        shutil.copy(IMAGE, f"{folder}/web1-vmlinuz")
        lodge("pool-refresh", "p")
        own = web1.replace(IMAGE, f"{folder}/web1-vmlinuz")
        lodge("define", "-", text=own)
        lodge("define", "-", text=guest_xml("clone", f"{folder}/web1-vmlinuz"))
        said = lodge("delete", "web1", "--yes")
        assert "stays:   the volume web1-vmlinuz of the pool p, which guest 'clone' has, too\n" in said, said
        assert "goes:    the volume own.img of the pool p\n" in said, said
        assert sorted(os.listdir(folder)) == ["shared.img", "web1-vmlinuz"]
        # and what was only a name for a file that is passed
        lodge("vol-create-as", "p", "passed.img", "1M")
        lodge("define", "-", text=guest_xml("web4", IMAGE, disk(f"{folder}/passed.img").replace("file='/", "fdgroup='x' file='/")))
        lodge("delete", "web4", "--yes")
        assert os.path.exists(f"{folder}/passed.img")


def test_delete_asks():
    with lodged(LODGED) as daemon:
        lodge = Shell(daemon)
        define(lodge, "web1")
        for answer, status, left in (b"n\n", 1, 1), (b"y\n", 0, 0):
            master, slave = os.openpty()
            with subprocess.Popen([LODGE, "delete", "web1"], stdin=slave, stdout=slave, stderr=slave, env=lodge.env,
                                  start_new_session=True) as asks:
                os.close(slave)
                read_until(master, b"Delete it? [y/N] ")
                os.write(master, answer)
                assert asks.wait(WAIT) == status
            os.close(master)
            assert len(lodge.json("list", "--all")) == left


HEAD = """<!--
WARNING: THIS IS AN AUTO-GENERATED FILE. CHANGES TO IT ARE LIKELY TO BE
OVERWRITTEN AND LOST. Changes to this xml configuration should be made using:
  virsh edit NAME
or other application using the libvirt API.
-->

"""


def libvirt_folder(top):
    """As libvirtd leaves its folder: files with its warning, links as marks."""
    os.makedirs(f"{top}/qemu/networks/autostart")
    os.makedirs(f"{top}/qemu/autostart")
    os.makedirs(f"{top}/storage/autostart")
    files = {"qemu/networks/default": "<network><name>default</name><forward mode='nat'/></network>",
             "qemu/networks/lan": "<network><name>lan</name><forward mode='nat'/><bridge name='br7'/></network>",
             "storage/images": f"<pool type='dir'><name>images</name><target><path>{top}/images</path></target></pool>",
             "qemu/web1": guest_xml("web1", IMAGE), "qemu/web2": guest_xml("web2", IMAGE),
             "qemu/broken": "<domain type='kvm'><name>broken</name>"}
    for name, text in files.items():
        with open(f"{top}/{name}.xml", "w") as out:
            out.write(HEAD + text)
    for mark in ("qemu/networks/autostart/lan", "storage/autostart/images", "qemu/autostart/web1"):
        os.symlink(f"{top}/{os.path.dirname(os.path.dirname(mark))}/{os.path.basename(mark)}.xml", f"{top}/{mark}.xml")


def test_import():
    with lodged(LODGED) as daemon:
        lodge, top = Shell(daemon), f"{daemon.root}/libvirt"
        libvirt_folder(top)
        define(lodge, "web2")
        assert "nothing of libvirt's" in lodge("import", "/nowhere", status=1)
        said = subprocess.run([LODGE, "import", top, "--dry-run", "--json"], capture_output=True, text=True, env=lodge.env)
        assert said.returncode == 1 and "1 of 6" in said.stderr, said
        dry = {(r["kind"], r["name"]): r["result"] for r in json.loads(said.stdout)}
        assert dry == {("network", "default"): "is here already", ("network", "lan"): "would be defined",
                       ("pool", "images"): "would be defined", ("guest", "broken"): dry["guest", "broken"],
                       ("guest", "web1"): "would be defined", ("guest", "web2"): "is here already"}, dry
        assert "not well-formed XML" in dry["guest", "broken"], dry
        assert lodge("list", "--all", "--name") == "web2\n"
        assert "1 of 6 were not taken over" in lodge("import", top, status=1)
        assert lodge("list", "--all", "--name") == "web1\nweb2\n"
        assert lodge("list", "--all", "--autostart", "--name") == "web1\n"
        assert {n["name"]: n["autostart"] for n in lodge.json("net-list", "--all")} == {"default": True, "lan": True}
        assert [(p["name"], p["active"], p["autostart"]) for p in lodge.json("pool-list", "--all")] == \
            [("images", False, True)]
        os.unlink(f"{top}/qemu/broken.xml")
        assert {row["Result"] for row in table(lodge("import", top))} == {"is here already"}
        with open(f"{top}/qemu/win.xml", "w") as out:
            out.write("<domain type='kvm'><name>win</name><memory>1048576</memory><os><type machine='pc-q35-7.2'>hvm</type></os>"
                      "</domain>")
        for words, result in (("--dry-run",), "would be defined"), ((), "defined"):
            said = {r["name"]: r["result"] for r in lodge.json("import", top, *words)}["win"]
            assert said.startswith(result + "; it cannot start in this version: win:1: <os>: booting without a <kernel>"), said
        assert "booting without a <kernel>" in lodge("start", "win", status=1)


def test_define_notes_what_cannot_start():
    with lodged(LODGED) as daemon:
        lodge = Shell(daemon)
        xml = guest_xml("win", IMAGE)
        assert lodge("define", "-", text=xml).startswith("Guest 'win' defined")  # and nothing on standard error
        without = xml.replace(f"<kernel>{IMAGE}</kernel>", "")
        done = subprocess.run([LODGE, "define", "-"], input=without.replace("<name>win<", "<name>old<"), capture_output=True,
                              text=True, timeout=WAIT, env=lodge.env, check=False)
        assert done.returncode == 0 and done.stdout.startswith("Guest 'old' defined from"), done
        assert re.match(r"lodge: note: guest 'old': its definition cannot start in this version: old:\d+: <os>: booting without "
                        "a <kernel> needs", done.stderr) and done.stderr.count("\n") == 1, done
        assert "its definition cannot start" in daemon.virsh("dominfo", "old")
        assert "Messages" not in daemon.virsh("dominfo", "win")
        assert "booting without a <kernel>" in lodge("start", "old", status=1)


def read_until(fd, wanted):
    text = b""
    while wanted not in text:
        text += os.read(fd, 4096)
    return text


def test_console_on_a_terminal():
    with lodged(LODGED) as daemon:
        lodge = Shell(daemon)
        define(lodge, "web1")
        assert "not running" in lodge("console", "web1", status=1)
        lodge("start", "web1")
        master, slave = os.openpty()
        with subprocess.Popen([LODGE, "console", "web1"], stdin=slave, stdout=slave, stderr=slave, env=lodge.env,
                              start_new_session=True) as console:
            os.close(slave)
            read_until(master, b"Ctrl-] leaves it")
            os.write(master, b"h")
            read_until(master, b"here")
            assert "Active console session" in lodge("console", "web1", status=1)
            os.write(master, b"\x1d")
            assert console.wait(WAIT) == 0
        os.close(master)
        assert lodge("domstate", "web1") == "running\n"


def test_console_of_a_script():
    with lodged(LODGED) as daemon:
        lodge = Shell(daemon)
        define(lodge, "web1")
        lodge("start", "web1")
        with subprocess.Popen([LODGE, "console", "web1", "--devname", "serial0"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, env=lodge.env) as console:
            console.stdin.write(b"h")
            console.stdin.close()
            read_until(console.stdout.fileno(), b"here")
            lodge("destroy", "web1")
            assert console.wait(WAIT) == 0


def test_volumes_are_filled_and_read():
    with lodged(LODGED) as daemon:
        lodge, folder = Shell(daemon), f"{daemon.root}/images"
        lodge("pool-define", "-", text=f"<pool type='dir'><name>p</name><target><path>{folder}</path></target></pool>")
        lodge("pool-build", "p")
        lodge("pool-start", "p")
        lodge("vol-create-as", "p", "a.img", "3M")
        data = os.urandom(3 << 20)
        with open(f"{daemon.root}/in", "wb") as out:
            out.write(data)
        lodge("vol-upload", "a.img", f"{daemon.root}/in", "--pool", "p")
        with open(f"{folder}/a.img", "rb") as image:
            assert image.read() == data
        lodge("vol-download", f"{folder}/a.img", f"{daemon.root}/out")
        with open(f"{daemon.root}/out", "rb") as image:
            assert image.read() == data
        assert "No such file" in lodge("vol-upload", "a.img", "/nowhere", "--pool", "p", status=1)
        assert "No space left" in lodge("vol-download", "a.img", "/dev/full", "--pool", "p", status=1)
        assert "matching name 'x'" in lodge("vol-download", "x", f"{daemon.root}/out", "--pool", "p", status=1)
        lodge("vol-download", "a.img", f"{daemon.root}/out", "--pool", "p")  # nothing is left open


def test_events():
    with lodged(LODGED) as daemon:
        lodge = Shell(daemon)
        define(lodge, "web1")
        with subprocess.Popen([LODGE, "event", "web1", "--loop"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, env=lodge.env) as watch:
            # it has said that it watches when something comes: until then, do something
            seen = []
            while not seen:
                lodge("start", "web1")
                lodge("destroy", "web1")
                os.set_blocking(watch.stdout.fileno(), False)
                seen = watch.stdout.readlines()
            assert set(seen) <= {"guest 'web1': started\n", "guest 'web1': stopped\n"}, seen
            daemon.end()
            _, errors = watch.communicate(timeout=WAIT)
            assert watch.returncode == 1 and "lost" in errors, (watch.returncode, errors)
        daemon.start()


def test_the_host():
    with lodged(LODGED) as daemon:
        lodge = Shell(daemon)
        assert lodge("uri") == "qemu:///system\n" and lodge("hostname") == os.uname().nodename + "\n"
        assert lodge.json("nodeinfo")["cpus"] >= 1 and "CPU(s): " in lodge("nodeinfo")
        assert lodge("capabilities").startswith("<capabilities>")
        assert lodge("domcapabilities").startswith("<domainCapabilities>")


def test_top():
    with lodged(LODGED) as daemon:
        lodge = Shell(daemon)
        assert lodge.json("top", "--times", "1", "--interval", "0.1") == []
        define(lodge, "web1")
        lodge("start", "web1")
        seen, = lodge.json("top", "--times", "1", "--interval", "0.2")
        assert (seen["id"], seen["name"], seen["vcpus"], seen["memory_bytes"]) == (1, "web1", 1, 16 << 20), seen
        assert seen["state"] == "running" and seen["resident_bytes"] > 1 << 20, seen
        row, = table(lodge("top", "--times", "1", "--interval", "0.1"))
        assert (row["Name"], row["Memory"]) == ("web1", "16.0 MiB") and float(row["CPU %"]) >= 0, row
        assert "0.1 to 3600" in lodge("top", "--interval", "0", status=2)
        assert "from 1 on" in lodge("top", "--times", "x", status=2)


def test_top_on_a_terminal():
    with lodged(LODGED) as daemon:
        lodge = Shell(daemon)
        master, slave = os.openpty()
        with subprocess.Popen([LODGE, "top", "--interval", "0.1"], stdin=slave, stdout=slave, stderr=slave,
                              env=lodge.env, start_new_session=True) as shown:
            os.close(slave)
            read_until(master, b"q ends it")
            os.write(master, b"q")
            assert shown.wait(WAIT) == 0
        os.close(master)


def on_a_terminal(lodge, *words, rows=24, columns=80, keys=b"", until_text=b""):
    """What it printed on a terminal of that size until it ended; KEYS are typed when UNTIL_TEXT is there."""
    pid, fd = pty.fork()
    if not pid:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        os.execve(LODGE, [LODGE, *words], lodge.env)
    text = b""
    while True:
        try:
            more = os.read(fd, 65536)
        except OSError:
            break
        if not more:
            break
        text += more
        if keys and until_text in text:
            os.write(fd, keys)
            keys = b""
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, text
    os.close(fd)
    return text.decode()


def test_terminals_of_any_size():
    with lodged(LODGED) as daemon:
        lodge = Shell(daemon)
        for name in "abcdef":
            lodge("define", "-", text=guest_xml(name, IMAGE))
            lodge("start", name, "--paused")
        text = on_a_terminal(lodge, "top", "--interval", "60", rows=6, columns=30, keys=b"q", until_text=b"q ends it")
        picture = text.split("\x1b[2J")[1].replace("\r", "").rstrip("\n").split("\n")
        assert len(picture) == 6 and max(map(len, picture)) <= 30 and picture[0].startswith("Id   Name"), picture
        for columns in (60, 100):
            text = on_a_terminal(lodge, "doctor", columns=columns).replace("\r", "")
            assert "daemon      ok                answers; 6 guests run\n" in text, text
            assert max(map(len, text.split("\n"))) <= columns or "/" in text, text
        assert "daemon      ok                answers; 6 guests run\n" in lodge("doctor")


def test_words_that_are_wrong():
    with lodged(LODGED) as daemon:
        lodge = Shell(daemon)
        assert "did you mean 'start'?" in lodge("strat", "g", status=2)
        assert "did you mean" not in lodge("levitate", status=2)
        before = set(os.listdir(daemon.root))
        said = subprocess.run([LODGE, "report", "nobody"], capture_output=True, text=True, env=lodge.env, cwd=daemon.root)
        assert said.returncode == 1 and "there is no guest 'nobody', nor a log of one" in said.stderr, said
        assert set(os.listdir(daemon.root)) == before
        text = lodge("help")
        assert text.index("\nGuests:\n  run ") < text.index("\nNetworks:\n  net-list ") < text.index("\nStorage:\n")


def test_doctor():
    with lodged(LODGED) as daemon:
        lodge = Shell(daemon)
        lines = {line["what"]: line for line in lodge.json("doctor")}
        assert set(lines) == {"engine", "lodge-vmm", "lodge-net", "seccomp", "landlock", "namespaces", "memory",
                              "huge pages", "daemon"}, lines
        assert lines["lodge-vmm"]["health"] == "ok" and os.access(lines["lodge-vmm"]["found"], os.X_OK), lines
        engine = "KVM: /dev/kvm works" if lines["engine"]["health"] == "ok" else "the software CPU, because "
        assert lines["engine"]["found"].startswith(engine), lines
        assert lines["daemon"] == {"what": "daemon", "health": "ok", "found": "answers; 0 guests run", "mend": None}
        copy = f"{daemon.root}/lodge"  # beside no other program, and not installed
        shutil.copy(LODGE, copy)
        done = subprocess.run([copy, "doctor"], capture_output=True, text=True, check=False,
                              env=dict(lodge.env, LODGE_URI="/nowhere"))
        assert re.search(r"^daemon +could be better +cannot connect to /nowhere", done.stdout, re.M), done
        if re.search("^lodge-vmm +broken ", done.stdout, re.M):  # unless Lodge is installed here
            assert done.returncode == 1 and "cannot run here" in done.stderr, done
            assert re.search("^lodge-vmm .*install Lodge as a whole", done.stdout, re.M), done


def test_completion_asks_the_daemon():
    with lodged(LODGED) as daemon:
        lodge = Shell(daemon)
        define(lodge, "web1")
        assert lodge("--complete", "start", "") == "web1\n" and lodge("--complete", "start", "x") == ""
        assert lodge("--complete", "net-start", "d") == "default\n"
        assert lodge("--complete", "pool-start", "") == "" and lodge("--complete", "define", "") == "<file>\n"
        lodge.env["LODGE_URI"] = "/nowhere"
        assert lodge("--complete", "start", "") == ""


def test_wrong_usage():
    with lodged(LODGED) as daemon:
        lodge = Shell(daemon)
        assert lodge("start", status=2) == "lodge start: an argument is missing: lodge start GUEST\n"
        assert "one argument too many: 'b'" in lodge("start", "a", "b", status=2)
        assert "no option --now" in lodge("start", "a", "--now", status=2)
        assert "No such file" in lodge("define", "/nowhere.xml", status=1)
        assert lodge("define", "-", text="<domain>", status=1).startswith("lodge: ")
        other = dict(lodge.env, LODGE_URI="/nowhere")
        done = subprocess.run([LODGE, "list"], capture_output=True, text=True, env=other, check=False)
        assert done.returncode == 1 and "cannot connect to /nowhere" in done.stderr and "start the daemon" in done.stderr
        done = subprocess.run([LODGE, "--connect", daemon.socket, "list"], capture_output=True, text=True, env=other,
                              check=False)
        assert done.returncode == 0, done
        done = subprocess.run([LODGE, "list", "--connect", daemon.socket], capture_output=True, text=True, env=other,
                              check=False)
        assert done.returncode == 0, done


tap.main(globals())
