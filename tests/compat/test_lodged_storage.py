# SPDX-License-Identifier: GPL-2.0-or-later
"""Storage pools of lodged and their volumes, by an unmodified virsh and a raw client: what is kept
over a SIGKILL, what others put into the folder, and where no volume may be.

    test_lodged_storage.py LODGED
"""
import os
import re
import shutil
import signal
import stat
import struct
import subprocess
import sys

import rpc
import tap
from lodged import lodged, rows, until
from rpc import refused

LODGED = sys.argv[1]
UUID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
WRONG, FAILED, XML_ERROR, DENIED, NO_POOL, NO_VOLUME, INVALID, UNSUPPORTED, EXISTS = 8, 9, 27, 29, 49, 50, 55, 67, 90
MIB = 1 << 20


def pool_xml(path, name="p", uuid=f"<uuid>{UUID}</uuid>", kind="dir"):
    return f"<pool type='{kind}'><name>{name}</name>{uuid}<target><path>{path}</path></target></pool>"


def volume_xml(name="v", capacity=MIB, extra=""):
    return f"<volume><name>{name}</name><capacity>{capacity}</capacity>{extra}</volume>"


def write(daemon, text, name="file.xml"):
    path = f"{daemon.root}/{name}"
    with open(path, "w") as out:
        out.write(text)
    return path


def started(daemon, name="p"):
    """A pool that is there, by virsh; the path of its folder."""
    path = f"{daemon.root}/{name}"
    daemon.virsh("pool-define-as", name, "dir", "--target", path)
    daemon.virsh("pool-build", name)
    daemon.virsh("pool-start", name)
    return path


def info(text, field):
    return re.search(rf"^{field}: +(.+)$", text, re.M).group(1)


def test_life_of_a_pool():
    with lodged(LODGED) as daemon:
        path = f"{daemon.root}/deep/p"
        daemon.virsh("pool-define-as", "p", "dir", "--target", path)
        assert rows(daemon.virsh("pool-list", "--all")) == [["p", "inactive", "no"]]
        assert "No such file or directory; virsh pool-build makes" in daemon.virsh("pool-start", "p", status=1)
        daemon.virsh("pool-build", "p")
        assert os.path.isdir(path) and stat.S_IMODE(os.stat(path).st_mode) == 0o755
        daemon.virsh("pool-start", "p")
        daemon.virsh("pool-autostart", "p")
        assert rows(daemon.virsh("pool-list")) == [["p", "active", "yes"]]
        assert "already active" in daemon.virsh("pool-start", "p", status=1)
        text = daemon.virsh("pool-info", "p")
        assert info(text, "State") == "running" and info(text, "Persistent") == "yes", text
        fs = os.statvfs(path)
        xml = daemon.virsh("pool-dumpxml", "p")
        assert f"<capacity unit='bytes'>{fs.f_blocks * fs.f_frsize}</capacity>" in xml, xml
        assert f"<path>{path}</path>" in xml and "<pool type='dir'>" in xml
        assert "still active" in daemon.virsh("pool-undefine", "p", status=1)
        assert "still active" in daemon.virsh("pool-delete", "p", status=1)
        daemon.virsh("pool-destroy", "p")
        assert "not active" in daemon.virsh("pool-destroy", "p", status=1)
        assert "not active" in daemon.virsh("pool-refresh", "p", status=1)
        assert info(daemon.virsh("pool-info", "p"), "State") == "inactive"
        with open(f"{path}/file", "w"):
            pass
        assert "not empty" in daemon.virsh("pool-delete", "p", status=1)
        os.unlink(f"{path}/file")
        daemon.virsh("pool-delete", "p")
        assert not os.path.exists(path)
        daemon.virsh("pool-undefine", "p")
        assert rows(daemon.virsh("pool-list", "--all")) == []
        until("nothing is kept", lambda: os.listdir(f"{daemon.root}/state/pools") == ["autostart"] and
              not os.listdir(f"{daemon.root}/state/pools/autostart") and not os.listdir(f"{daemon.root}/run/pools"))


def test_life_of_a_volume():
    with lodged(LODGED) as daemon:
        path = started(daemon)
        daemon.virsh("vol-create-as", "p", "sparse", "8M", "--allocation", "0")
        daemon.virsh("vol-create-as", "p", "full", "1M")
        assert [row[0] for row in rows(daemon.virsh("vol-list", "p"))] == ["full", "sparse"]
        sparse, full = os.stat(f"{path}/sparse"), os.stat(f"{path}/full")
        assert sparse.st_size == 8 * MIB and sparse.st_blocks == 0 and stat.S_IMODE(sparse.st_mode) == 0o600
        assert full.st_size == MIB and full.st_blocks * 512 >= MIB
        assert "exists already" in daemon.virsh("vol-create-as", "p", "full", "1M", status=1)
        assert daemon.virsh("vol-path", "--pool", "p", "full") == f"{path}/full"
        assert daemon.virsh("vol-key", "--pool", "p", "full") == f"{path}/full"
        assert daemon.virsh("vol-name", f"{path}/full") == "full" and daemon.virsh("vol-pool", f"{path}/full") == "p"
        xml = daemon.virsh("vol-dumpxml", "--pool", "p", "sparse")
        assert f"<capacity unit='bytes'>{8 * MIB}</capacity>" in xml and "<format type='raw'/>" in xml, xml
        assert "<allocation unit='bytes'>0</allocation>" in xml, xml
        with open(f"{path}/sparse", "r+b") as disk:  # as a guest does, behind lodged
            disk.write(b"x" * MIB)
            os.fsync(disk.fileno())
        assert info(daemon.virsh("vol-info", "--bytes", "--pool", "p", "sparse"), "Allocation") == f"{MIB} bytes"
        daemon.virsh("vol-resize", "--pool", "p", "sparse", "16M")
        assert os.stat(f"{path}/sparse").st_size == 16 * MIB
        daemon.virsh("vol-resize", "--pool", "p", "sparse", "1M", "--delta")
        assert "ask to shrink" in daemon.virsh("vol-resize", "--pool", "p", "sparse", "2M", status=1)
        assert "allocated in it" in daemon.virsh("vol-resize", "--pool", "p", "sparse", "512K", "--shrink", status=1)
        assert os.stat(f"{path}/sparse").st_size == 17 * MIB
        daemon.virsh("vol-resize", "--pool", "p", "sparse", "2M", "--shrink")
        assert info(daemon.virsh("vol-info", "--bytes", "--pool", "p", "sparse"), "Capacity") == f"{2 * MIB} bytes"
        daemon.virsh("vol-delete", "--pool", "p", "full")
        assert not os.path.exists(f"{path}/full") and [row[0] for row in rows(daemon.virsh("vol-list", "p"))] == ["sparse"]


def test_clones():
    with lodged(LODGED) as daemon:
        path, other = started(daemon), started(daemon, "q")
        daemon.virsh("vol-create-as", "p", "v", "8M", "--allocation", "0")
        with open(f"{path}/v", "r+b") as disk:
            for at in (0, 3 * MIB + 5, 8 * MIB - 1):
                disk.seek(at)
                disk.write(b"abc"[:8 * MIB - at])
        daemon.virsh("vol-clone", "--pool", "p", "v", "w")
        xml = write(daemon, volume_xml("x", 9 * MIB, "<allocation>0</allocation>"))
        daemon.virsh("vol-create-from", "q", xml, "v", "--inputpool", "p")
        with open(f"{path}/v", "rb") as one, open(f"{path}/w", "rb") as two, open(f"{other}/x", "rb") as three:
            data = one.read()
            assert two.read() == data and three.read() == data + bytes(MIB)
        assert os.stat(f"{other}/x").st_blocks * 512 < MIB, "holes are filled"
        assert "exists already" in daemon.virsh("vol-clone", "--pool", "p", "v", "w", status=1)
        small = write(daemon, volume_xml("y", 4096, "<allocation>0</allocation>"))
        daemon.virsh("vol-create-from", "p", small, "v", "--inputpool", "p")
        assert os.stat(f"{path}/y").st_size == 8 * MIB
        os.unlink(f"{path}/v")
        os.symlink("/etc/passwd", f"{path}/v")
        gone = daemon.virsh("vol-create-from", "p", write(daemon, volume_xml("z")), "v", "--inputpool", "p", status=1)
        assert "is no file that can be read" in gone, gone
        assert not os.path.exists(f"{path}/z")


def test_what_others_put_there():
    with lodged(LODGED) as daemon:
        path = started(daemon)
        with open(f"{path}/found", "wb") as disk:
            disk.truncate(3 * MIB)
        with open(f"{path}/image", "wb") as disk:
            disk.write(b"QFI\xfb" + struct.pack(">IQIIQ", 2, 80, 3, 16, 5 * MIB) + bytes(48) + b"/<\x1b" + bytes(100))
        with open(f"{path}/wrong", "wb") as disk:  # of no format that it says
            disk.write(b"QFI\xfb" + struct.pack(">IQIIQ", 3, 0, 0, 99, 5 * MIB) + bytes(100))
        os.mkdir(f"{path}/folder")
        os.symlink("/etc/passwd", f"{path}/link")
        os.mkfifo(f"{path}/pipe")
        with open(f"{path}/new\nline", "w"):
            pass
        assert rows(daemon.virsh("vol-list", "p")) == []
        daemon.virsh("pool-refresh", "p")
        assert [row[0] for row in rows(daemon.virsh("vol-list", "p"))] == ["found", "image", "wrong"]
        xml = daemon.virsh("vol-dumpxml", "--pool", "p", "image")
        assert f"<capacity unit='bytes'>{5 * MIB}</capacity>" in xml and "<format type='qcow2'/>" in xml, xml
        assert "<backingStore>\n    <path>/&lt;\ufffd</path>\n    <format type='raw'/>\n  </backingStore>" in xml, xml
        xml = daemon.virsh("vol-dumpxml", "--pool", "p", "wrong")
        assert "<format type='raw'/>" in xml and "<capacity unit='bytes'>132<" in xml, xml
        with open(f"{path}/image", "r+b") as disk:  # it is looked at anew when it has changed
            disk.write(b"none")
        assert "<format type='raw'/>" in daemon.virsh("vol-dumpxml", "--pool", "p", "image")
        with open(f"{path}/image", "r+b") as disk:
            disk.write(b"QFI\xfb")
        assert "only raw" in daemon.virsh("vol-resize", "--pool", "p", "image", "9M", status=1)
        os.unlink(f"{path}/found")
        os.symlink("/etc/passwd", f"{path}/found")  # what was a volume leads out now
        assert "not found" in daemon.virsh("vol-info", "--pool", "p", "found", status=1)
        assert [row[0] for row in rows(daemon.virsh("vol-list", "p"))] == ["image", "wrong"]


def test_all_of_it_survives_sigkill():
    with lodged(LODGED) as daemon:
        path = started(daemon)
        daemon.virsh("vol-create-as", "p", "v", "1M")
        os.makedirs(f"{daemon.root}/t")
        daemon.virsh("pool-create", write(daemon, pool_xml(f"{daemon.root}/t", "t", "")))
        daemon.virsh("pool-define-as", "off", "dir", "--target", f"{daemon.root}/off")
        uuid = daemon.virsh("pool-uuid", "t")
        write(daemon, "<pool", "state/pools/bad.xml")
        daemon.restart(signal.SIGKILL)
        assert [row[:2] for row in rows(daemon.virsh("pool-list", "--all"))] == \
            [["off", "inactive"], ["p", "active"], ["t", "active"]]
        assert daemon.virsh("vol-path", "--pool", "p", "v") == f"{path}/v"
        assert daemon.virsh("pool-uuid", "t") == uuid
        assert info(daemon.virsh("pool-info", "t"), "Persistent") == "no"
        assert os.path.exists(f"{daemon.root}/state/pools/bad.xml") and "left alone" in daemon.text()
        daemon.virsh("pool-destroy", "t")
        daemon.virsh("pool-destroy", "p")
        daemon.restart(signal.SIGKILL)
        assert [row[:2] for row in rows(daemon.virsh("pool-list", "--all"))] == [["off", "inactive"], ["p", "inactive"]]
        daemon.virsh("pool-autostart", "p")
        daemon.restart()
        assert [row[:2] for row in rows(daemon.virsh("pool-list"))] == [["p", "active"]]
        shutil.rmtree(path)
        daemon.restart()  # without its folder: said, and no more
        assert "does not start" in daemon.text()
        assert rows(daemon.virsh("pool-list")) == []


def test_where_no_pool_may_be():
    with lodged(LODGED) as daemon, daemon.client() as client:
        for path in ("/dev", "/dev/shm/x", "/proc/self", "/sys", f"{daemon.root}/state", f"{daemon.root}/state/domains",
                     f"{daemon.root}/run/guests", f"{daemon.root}/log", "//dev//shm"):
            refused(UNSUPPORTED, client.call, "storage_pool_define_xml", xml=pool_xml(path))
        for path in ("", "relative", "./x", f"{daemon.root}/a/../state", f"{daemon.root}/.."):
            refused(XML_ERROR, client.call, "storage_pool_define_xml", xml=pool_xml(path))
        refused(UNSUPPORTED, client.call, "storage_pool_define_xml", xml=pool_xml("/x", kind="logical"))
        for xml in ("<pool", "<pool type='dir'><name>x</name></pool>", pool_xml("/x", "a/b"), "<network/>"):
            refused(XML_ERROR, client.call, "storage_pool_define_xml", xml=xml)
        assert client.call("connect_list_all_storage_pools", need_results=0)["ret"] == 0
        os.symlink(f"{daemon.root}/state/domains", f"{daemon.root}/link")
        pool = client.call("storage_pool_define_xml", xml=pool_xml(f"{daemon.root}/link/"))["pool"]
        assert "no place for volumes" in refused(UNSUPPORTED, client.call, "storage_pool_create", pool=pool)
        assert f"<path>{daemon.root}/link</path>" in client.call("storage_pool_get_xml_desc", pool=pool)["xml"]
        refused(FAILED, client.call, "storage_pool_define_xml", xml=pool_xml(f"{daemon.root}/link", "q", ""))


def test_what_is_no_volume():
    with lodged(LODGED) as daemon, daemon.client() as client:
        started(daemon)
        pool = client.call("storage_pool_lookup_by_name", name="p")["pool"]
        for name in ("", ".", "..", "../x", "a/b", "a..b", "x" * 256, "new&#10;line"):
            refused(XML_ERROR, client.call, "storage_vol_create_xml", pool=pool, xml=volume_xml(name))
        for xml in ("<volume", "<volume><name>v</name></volume>", volume_xml(capacity="many"), volume_xml(capacity=-1),
                    volume_xml(capacity=1 << 63), "<pool/>",
                    volume_xml(extra="<target><permissions><mode>9</mode></permissions></target>"),
                    volume_xml(extra="<target><permissions><owner>x</owner></permissions></target>")):
            refused(XML_ERROR, client.call, "storage_vol_create_xml", pool=pool, xml=xml)
        for extra in ("<target><format type='qcow2'/></target>", "<backingStore><path>/x</path></backingStore>"):
            refused(UNSUPPORTED, client.call, "storage_vol_create_xml", pool=pool, xml=volume_xml(extra=extra))
        assert os.listdir(f"{daemon.root}/p") == []
        vol = client.call("storage_vol_create_xml", pool=pool, xml=volume_xml(
            capacity=2, extra="<allocation>0</allocation><target><permissions><mode>0640</mode></permissions></target>"
        ).replace("<capacity>", "<capacity unit='KiB'>"))["vol"]
        assert vol == {"pool": "p", "name": "v", "key": f"{daemon.root}/p/v"}
        found = os.stat(vol["key"])
        assert found.st_size == 2048 and stat.S_IMODE(found.st_mode) == 0o640
        refused(EXISTS, client.call, "storage_vol_create_xml", pool=pool, xml=volume_xml())
        assert os.stat(vol["key"]).st_size == 2048
        os.mkdir(f"{daemon.root}/outside")
        for name in ("../file", "../outside", "."):
            for call in ("storage_vol_delete", "storage_vol_get_info", "storage_vol_get_xml_desc"):
                refused(NO_VOLUME, client.call, call, vol={"pool": "p", "name": name, "key": vol["key"]})
        assert os.path.isdir(f"{daemon.root}/outside")
        refused(WRONG, client.call, "storage_vol_resize", vol=vol, capacity=1 << 63)
        refused(WRONG, client.call, "storage_vol_resize", vol=vol, capacity=(1 << 64) - 1, flags=2)
        refused(WRONG, client.call, "storage_vol_delete", vol=vol, flags=1)


def test_raw_calls():
    with lodged(LODGED) as daemon, daemon.client() as client:
        started(daemon)
        client.call("storage_pool_define_xml", xml=pool_xml("/nowhere", "off"))
        call = client.call
        pool = call("storage_pool_lookup_by_name", name="p")["pool"]
        assert call("storage_pool_lookup_by_uuid", uuid=pool["uuid"])["pool"] == pool
        assert call("storage_pool_lookup_by_target_path", path=f"{daemon.root}/p/")["pool"] == pool
        refused(NO_POOL, call, "storage_pool_lookup_by_target_path", path="/nowhere")
        refused(NO_POOL, call, "storage_pool_lookup_by_name", name="q")
        assert call("connect_num_of_storage_pools")["num"] == call("connect_num_of_defined_storage_pools")["num"] == 1
        assert call("connect_list_storage_pools", maxnames=5)["names"] == ["p"]
        assert call("connect_list_defined_storage_pools", maxnames=5)["names"] == ["off"]
        for flags, expected in ((0, 2), (1, 1), (2, 1), (64, 2), (128, 0), (192, 2), (66, 1), (16, 0)):
            assert call("connect_list_all_storage_pools", need_results=0, flags=flags)["ret"] == expected, flags
        vol = call("storage_vol_create_xml", pool=pool, xml=volume_xml())["vol"]
        assert call("storage_vol_lookup_by_path", path=f"{daemon.root}//p/./v")["vol"] == vol
        assert call("storage_vol_lookup_by_key", key=vol["key"])["vol"] == vol
        for path in ("v", "", f"{daemon.root}/p", f"{daemon.root}/p/w", "/"):
            refused(NO_VOLUME, call, "storage_vol_lookup_by_path", path=path)
        assert call("storage_pool_lookup_by_volume", vol=vol)["pool"] == pool
        assert call("storage_pool_num_of_volumes", pool=pool)["num"] == 1
        assert call("storage_pool_list_volumes", pool=pool, maxnames=5)["names"] == ["v"]
        assert call("storage_pool_list_all_volumes", pool=pool, need_results=1)["vols"] == [vol]
        assert call("storage_vol_get_info_flags", vol=vol, flags=1)["allocation"] == MIB
        with rpc.Client(daemon.socket_ro, flags=1) as reader:
            assert reader.call("storage_pool_list_all_volumes", pool=pool, need_results=1)["vols"] == [vol]
            for name, values in (("storage_vol_delete", {"vol": vol}), ("storage_vol_resize", {"vol": vol}),
                                 ("storage_vol_create_xml", {"pool": pool, "xml": volume_xml("w")}),
                                 ("storage_pool_destroy", {"pool": pool}), ("storage_pool_undefine", {"pool": pool}),
                                 ("storage_pool_define_xml", {"xml": pool_xml("/x", "x", "")})):
                refused(DENIED, reader.call, name, **values)
        call("storage_pool_destroy", pool=pool)
        refused(NO_VOLUME, call, "storage_vol_get_info", vol=vol)
        refused(INVALID, call, "storage_pool_num_of_volumes", pool=pool)


def test_events():
    with lodged(LODGED) as daemon, daemon.client(flags=1) as client:
        network = client.call("connect_network_event_register_any", eventID=0)["callbackID"]
        life = client.call("connect_storage_pool_event_register_any", eventID=0)["callbackID"]
        other = client.call("connect_storage_pool_event_register_any", eventID=0,
                            pool={"name": "other", "uuid": bytes(16)})["callbackID"]
        fresh = client.call("connect_storage_pool_event_register_any", eventID=1)["callbackID"]
        assert len({network, life, other, fresh}) == 4
        refused(WRONG, client.call, "connect_network_event_register_any", eventID=1)
        refused(WRONG, client.call, "connect_storage_pool_event_register_any", eventID=2)
        refused(WRONG, client.call, "connect_network_event_deregister_any", callbackID=life)
        started(daemon)
        daemon.virsh("pool-refresh", "p")
        daemon.virsh("pool-destroy", "p")
        daemon.virsh("pool-undefine", "p")
        daemon.virsh("net-define", write(daemon, "<network><name>n</name></network>"))
        client.call("connect_network_event_deregister_any", callbackID=network)
        daemon.virsh("net-undefine", "n")
        client.call("connect_get_hostname")
        found = []
        for _, number, payload in client.events:
            procedure = next(p for p in rpc.PROCEDURES.values() if p.number == number and p.kind == "event")
            value = rpc.Reader(payload).struct(procedure.args)
            found.append((procedure.name, value["callbackID"], value.get("event")))
        assert found == [("storage_pool_event_lifecycle", life, 0), ("storage_pool_event_lifecycle", life, 2),
                         ("storage_pool_event_refresh", fresh, None), ("storage_pool_event_lifecycle", life, 3),
                         ("storage_pool_event_lifecycle", life, 1), ("network_event_lifecycle", network, 0)], found


def test_xml_is_valid():
    if not shutil.which("virt-xml-validate"):
        raise tap.Skip("virt-xml-validate is not installed (package libvirt-clients)")
    with lodged(LODGED) as daemon:
        started(daemon)
        daemon.virsh("vol-create", "p", write(daemon, volume_xml("a&amp;&lt;b")))
        for text, schema in ((daemon.virsh("pool-dumpxml", "p"), "storagepool"),
                             (daemon.virsh("vol-dumpxml", "--pool", "p", "a&<b"), "storagevol")):
            for xml, good in ((text, True), (text.replace("<capacity", "<capacities/><capacity"), False)):
                done = subprocess.run(["virt-xml-validate", write(daemon, xml), schema], capture_output=True,
                                      text=True, check=False)
                assert (done.returncode == 0) == good, (done, xml)


tap.main(globals())
