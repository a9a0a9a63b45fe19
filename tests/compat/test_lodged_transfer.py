# SPDX-License-Identifier: GPL-2.0-or-later
"""Bytes of volumes as streams of lodged's: up, down and wiped, with holes and without, by an
unmodified virsh and a raw client; clients that go in the middle, send too much or do not read.

    test_lodged_transfer.py LODGED BUTTON-IMAGE
"""
import fcntl
import os
import random
import sys
import time

import rpc
import tap
from lodged import guest_xml, lodged, until
from rpc import CONTINUE, OK, refused

LODGED, IMAGE = sys.argv[1:]
MIB = 1 << 20
FAILED, BUSY, NO_VOLUME, WRONG = 9, 87, 50, 8


def noise(length, seed=1):
    return random.Random(seed).randbytes(length)


def started(daemon):
    path = f"{daemon.root}/p"
    daemon.virsh("pool-define-as", "p", "dir", "--target", path)
    daemon.virsh("pool-build", "p")
    daemon.virsh("pool-start", "p")
    return path


def content(path):
    with open(path, "rb") as data:
        return data.read()


def put(path, data):
    with open(path, "wb") as out:
        out.write(data)
    return path


def allocated(path):
    return os.stat(path).st_blocks * 512


def volume(daemon, client, name="v", length=0):
    """A new volume of a new pool, as calls name it."""
    path = started(daemon)
    daemon.virsh("vol-create-as", "p", name, str(length), "--allocation", "0")
    return f"{path}/{name}", client.call("storage_vol_lookup_by_name", name=name, pool=client.call(
        "storage_pool_lookup_by_name", name="p")["pool"])["vol"]


def down(client):
    """What a download brings, up to its end: bytes, or numbers for holes."""
    parts = []
    while True:
        status, part = client.packet()
        assert status == CONTINUE
        if part == b"":
            break
        parts.append(part)
    client.send_packet("storage_vol_download", client.serial, OK)
    assert client.packet() == (OK, b"")
    return parts


# --- by virsh ---


def test_up_and_down():
    with lodged(LODGED) as daemon:
        path = started(daemon)
        data = noise(3 * MIB + 12345)
        source = put(f"{daemon.root}/source", data)
        daemon.virsh("vol-create-as", "p", "v", str(4 * MIB))
        daemon.virsh("vol-upload", "--pool", "p", "v", source)
        assert content(f"{path}/v") == data + bytes(4 * MIB - len(data))
        daemon.virsh("vol-download", "--pool", "p", "v", f"{daemon.root}/whole")
        assert content(f"{daemon.root}/whole") == content(f"{path}/v")
        daemon.virsh("vol-upload", "--pool", "p", "v", source, "--offset", "1000", "--length", str(len(data)))
        assert content(f"{path}/v")[:1000] == data[:1000] and content(f"{path}/v")[1000:1000 + len(data)] == data
        daemon.virsh("vol-download", "--pool", "p", "v", f"{daemon.root}/part", "--offset", "1000", "--length", "77")
        assert content(f"{daemon.root}/part") == data[:77]
        daemon.virsh("vol-create-as", "p", "empty", "0")
        daemon.virsh("vol-download", "--pool", "p", "empty", f"{daemon.root}/nothing")
        assert content(f"{daemon.root}/nothing") == b""


def test_holes_stay_holes():
    with lodged(LODGED) as daemon:
        path = started(daemon)
        source = f"{daemon.root}/source"
        with open(source, "wb") as out:
            out.seek(8 * MIB)
            out.write(noise(MIB))
            out.truncate(32 * MIB)
        daemon.virsh("vol-create-as", "p", "v", str(32 * MIB), "--allocation", str(16 * MIB))
        daemon.virsh("vol-upload", "--pool", "p", "v", source, "--sparse")
        assert content(f"{path}/v") == content(source)
        assert allocated(f"{path}/v") < 2 * MIB, "a hole of the upload left what was allocated"
        daemon.virsh("vol-download", "--pool", "p", "v", f"{daemon.root}/copy", "--sparse")
        assert content(f"{daemon.root}/copy") == content(source)
        assert allocated(f"{daemon.root}/copy") < 2 * MIB


def test_wipe():
    with lodged(LODGED) as daemon:
        path = started(daemon)
        daemon.virsh("vol-create-as", "p", "v", str(8 * MIB))
        with open(f"{path}/v", "r+b") as out:
            out.seek(3 * MIB)
            out.write(noise(MIB))
        before = allocated(f"{path}/v")
        daemon.virsh("vol-wipe", "--pool", "p", "v")
        assert content(f"{path}/v") == bytes(8 * MIB)
        assert allocated(f"{path}/v") == before, "wiping is not to take or give back space"
        assert "zeroes alone" in daemon.virsh("vol-wipe", "--pool", "p", "v", "--algorithm", "random", status=1)


# --- by a raw client ---


def test_packets_of_a_download():
    with lodged(LODGED) as daemon, daemon.client() as client:
        path, vol = volume(daemon, client, length=4 * MIB)
        data = noise(600000)
        with open(path, "r+b") as out:
            out.seek(MIB)
            out.write(data)
        client.call("storage_vol_download", vol=vol)
        parts = down(client)
        assert b"".join(parts) == content(path) and max(map(len, parts)) <= 262120
        client.call("storage_vol_download", vol=vol, flags=1)
        parts = down(client)
        assert parts[0] == MIB and isinstance(parts[-1], int), [part for part in parts if isinstance(part, int)]
        assert b"".join(part if isinstance(part, bytes) else bytes(part) for part in parts) == content(path)
        for offset, length, wanted in ((MIB, 5, data[:5]), (4 * MIB, 0, b""), (5 * MIB, 7, b""),
                                       (4 * MIB - 3, 100, bytes(3))):
            client.call("storage_vol_download", vol=vol, offset=offset, length=length)
            assert b"".join(down(client)) == wanted, (offset, length)
        refused(WRONG, client.call, "storage_vol_download", vol=vol, offset=1 << 63)
        refused(WRONG, client.call, "storage_vol_download", vol=vol, offset=1, length=(1 << 63) - 1)
        refused(WRONG, client.call, "storage_vol_download", vol=vol, flags=2)
        os.unlink(path)
        refused(NO_VOLUME, client.call, "storage_vol_download", vol=vol)
        refused(NO_VOLUME, client.call, "storage_vol_upload", vol=vol)


def test_packets_of_an_upload():
    with lodged(LODGED) as daemon, daemon.client() as client:
        path, vol = volume(daemon, client)
        client.call("storage_vol_upload", vol=vol, offset=10, flags=1)
        serial = client.serial
        client.send_packet("storage_vol_upload", serial, CONTINUE, b"abc")
        client.send_hole("storage_vol_upload", serial, 5)
        client.send_packet("storage_vol_upload", serial, CONTINUE, b"de")
        client.send_hole("storage_vol_upload", serial, MIB)
        client.send_packet("storage_vol_upload", serial, OK)
        assert client.packet() == (OK, b"")
        assert content(path) == bytes(10) + b"abc" + bytes(5) + b"de" + bytes(MIB)
        info = client.call("storage_vol_get_info", vol=vol)
        assert info["capacity"] == 20 + MIB, info
        client.call("storage_vol_upload", vol=vol, length=3)  # more than it said
        client.send_packet("storage_vol_upload", client.serial, CONTINUE, b"ABCD")
        assert "more than it said" in refused(FAILED, client.packet)
        client.send_packet("storage_vol_upload", client.serial, CONTINUE, b"late")  # and is dropped
        assert content(path)[:4] == bytes(4)
        client.call("storage_vol_upload", vol=vol)  # given up
        client.send_packet("storage_vol_upload", client.serial, CONTINUE, b"12345")
        client.send_packet("storage_vol_upload", client.serial, rpc.ERROR)
        assert client.packet() == (OK, b"")
        client.call("storage_vol_upload", vol=vol)  # nothing
        client.send_packet("storage_vol_upload", client.serial, OK)
        assert client.packet() == (OK, b"")
        for length in (bytes(3), b"\xff" * 8 + bytes(4)):  # no hole
            with daemon.client() as bad:
                bad.call("storage_vol_upload", vol=vol, flags=1)
                bad.send_packet("storage_vol_upload", bad.serial, CONTINUE, length, rpc.HOLE)
                assert bad.socket.recv(1) == b""
        with daemon.client() as bad:  # no place for one
            bad.call("storage_vol_download", vol=vol)
            bad.send_hole("storage_vol_download", bad.serial, 4)
            while bad.socket.recv(65536):
                pass
        assert client.call("connect_get_hostname")["hostname"]


def test_a_client_that_does_not_read():
    with lodged(LODGED) as daemon, daemon.client() as client, daemon.client() as other:
        path, vol = volume(daemon, client, length=64 * MIB)
        client.call("storage_vol_download", vol=vol)
        time.sleep(0.2)
        with open(f"/proc/{daemon.process.pid}/statm") as statm:
            assert int(statm.read().split()[1]) * 4096 < 48 * MIB, "all of it waits in memory"
        assert other.call("connect_get_hostname")["hostname"]
        assert sum(map(len, down(client))) == 64 * MIB
        client.call("storage_vol_download", vol=vol)
    with lodged(LODGED) as daemon, daemon.client() as other:
        with daemon.client() as client:  # goes in the middle
            path, vol = volume(daemon, client, length=64 * MIB)
            client.call("storage_vol_download", vol=vol)
            client.packet()
        with daemon.client() as client:
            client.call("storage_vol_upload", vol=vol)
            for _ in range(40):
                client.send_packet("storage_vol_upload", client.serial, CONTINUE, bytes(262120))
        until("its descriptor is closed", lambda: path not in [
            os.readlink(entry.path) for entry in os.scandir(f"/proc/{daemon.process.pid}/fd")
            if os.path.islink(entry.path)])
        assert other.call("connect_get_hostname")["hostname"]


def test_a_disk_in_use_is_not_written():
    with lodged(LODGED) as daemon, daemon.client() as client:
        path, vol = volume(daemon, client, length=MIB)
        disk = f"<disk type='file' device='disk'><source file='{path}'/><target dev='vda' bus='virtio'/></disk>"
        daemon.virsh("define", put(f"{daemon.root}/g.xml", guest_xml("g", IMAGE, extra=disk).encode()))
        daemon.virsh("start", "g")
        assert "in use" in refused(BUSY, client.call, "storage_vol_upload", vol=vol)
        assert "in use" in refused(BUSY, client.call, "storage_vol_wipe", vol=vol)
        client.call("storage_vol_download", vol=vol)
        assert b"".join(down(client)) == bytes(MIB)
        os.link(path, f"{daemon.root}/another-name")
        daemon.virsh("define", put(f"{daemon.root}/h.xml", guest_xml("h", IMAGE, extra=disk.replace(
            path, f"{daemon.root}/another-name")).encode()))
        said = daemon.virsh("start", "h", status=1)
        assert f"guest 'g' has {daemon.root}/another-name: " in said and "is in use" in said, said
        daemon.virsh("destroy", "g")
        client.call("storage_vol_wipe", vol=vol)
        client.call("storage_vol_upload", vol=vol)
        with open(path, "rb") as disk:
            try:
                fcntl.flock(disk, fcntl.LOCK_SH | fcntl.LOCK_NB)
                raise AssertionError("the upload holds no lock")
            except BlockingIOError:
                pass
        client.send_packet("storage_vol_upload", client.serial, OK)
        assert client.packet() == (OK, b"")


tap.main(globals())
