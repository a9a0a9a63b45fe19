# SPDX-License-Identifier: GPL-2.0-or-later
"""What lodged tells of what guests use, by an unmodified virsh and a raw client: from the host's books and
from the page that each guest publishes, which a hostile guest may fill with anything.

    test_lodged_stats.py LODGED BUTTON-IMAGE
"""
import os
import re
import signal
import struct
import sys
import time

import rpc
import tap
from lodged import guest_xml, lodged, until
from rpc import refused

LODGED, IMAGE = sys.argv[1:]
WRONG, INVALID, FAILED = 8, 55, 9
MIB = 1 << 20
MAC = "52:54:00:12:34:56"
HEADER, DISK, NET = 64, 128, 64
DISK_FIELDS = ["rd.reqs", "rd.bytes", "rd.times", "wr.reqs", "wr.bytes", "wr.times", "fl.reqs", "fl.times",
               None, None, None, "errors", "capacity", "allocation"]
NET_FIELDS = ["rx.bytes", "rx.pkts", "rx.drop", "tx.bytes", "tx.pkts", "tx.drop"]


def define(daemon, name="g", disks=("vda", "vdb"), memory=16):
    extra = f"<interface type='user'><mac address='{MAC}'/><model type='virtio'/></interface>" if disks else ""
    for number, target in enumerate(disks):
        path = f"{daemon.root}/{name}-{target}.img"
        with open(path, "wb") as out:
            out.write(b"x" * 65536)
            out.truncate((number + 1) * MIB)
        extra += f"<disk type='file'><source file='{path}'/><target dev='{target}' bus='virtio'/></disk>"
    path = f"{daemon.root}/{name}.xml"
    with open(path, "w") as out:
        out.write(guest_xml(name, IMAGE, extra=extra, memory=memory).replace("<os>", "<vcpu>2</vcpu><os>"))
    daemon.virsh("define", path)


def of(daemon, name):
    return f"{daemon.root}/run/guests/{name}/statistics"


def publish(daemon, name, disk=None, net=None, disks=2):
    """Writes into the guest's page what its process would count."""
    with open(of(daemon, name), "r+b") as page:
        for number, values in enumerate(disk or []):
            page.seek(HEADER + DISK * number)
            page.write(struct.pack(f"<{len(values)}Q", *values))
        if net:
            page.seek(HEADER + DISK * disks)
            page.write(struct.pack(f"<{len(net)}Q", *net))


def domstats(daemon, *words):
    """{NAME: {FIELD: TEXT}}"""
    found = {}
    for line in daemon.virsh("domstats", *words).split("\n"):
        if line.startswith("Domain:"):
            fields = found.setdefault(line.split("'")[1], {})
        elif "=" in line:
            name, value = line.strip().split("=", 1)
            fields[name] = value
    return found


def test_what_a_guest_publishes():
    with lodged(LODGED) as daemon:
        define(daemon)
        daemon.virsh("start", "g")
        stats = domstats(daemon)["g"]
        assert int(stats["block.0.allocation"]) >= 65536
        for number, name in enumerate(("vda", "vdb")):
            taken = os.stat(f"{daemon.root}/g-{name}.img").st_blocks * 512
            assert stats.get(f"block.{number}.allocation", "0") == str(taken), name
        assert stats["block.count"] == "2" and stats["block.0.name"] == "vda" and stats["block.1.name"] == "vdb"
        assert stats["block.1.path"] == f"{daemon.root}/g-vdb.img"
        assert stats["block.0.capacity"] == str(MIB) and stats["block.1.capacity"] == str(2 * MIB)
        assert stats["net.count"] == "1" and stats["net.0.name"] == "net0"
        assert all(stats[f"block.{n}.{field}"] == "0" for n in (0, 1) for field in DISK_FIELDS[:8])
        disk = [[100 * (n + 1) + i for i in range(14)] for n in (0, 1)]
        net = [1000 + i for i in range(6)]
        publish(daemon, "g", disk, net)
        stats = domstats(daemon)["g"]
        for number in (0, 1):
            for field, value in zip(DISK_FIELDS, disk[number]):
                assert field is None or stats[f"block.{number}.{field}"] == str(value), (field, stats)
        for field, value in zip(NET_FIELDS, net):
            assert stats[f"net.0.{field}"] == str(value), (field, stats)
        text = daemon.virsh("domblkstat", "g", "vdb")
        for field, value in (("rd_req", 200), ("rd_bytes", 201), ("rd_total_times", 202), ("wr_req", 203),
                             ("wr_bytes", 204), ("wr_total_times", 205), ("flush_operations", 206),
                             ("flush_total_times", 207)):
            assert re.search(rf"^vdb {field} {value}$", text, re.M), (field, text)
        assert re.search(r"rd_req +300$", daemon.virsh("domblkstat", "g"), re.M)  # all together
        for device in ("net0", MAC, MAC.upper()):
            text = daemon.virsh("domifstat", "g", device)
            for field, value in (("rx_bytes", 1000), ("rx_packets", 1001), ("rx_drop", 1002), ("tx_bytes", 1003),
                                 ("tx_packets", 1004), ("tx_drop", 1005)):
                assert re.search(rf"^{device} {field} {value}$", text, re.M), (field, text)
        with daemon.client() as client:
            dom = client.call("domain_lookup_by_name", name="g")["dom"]
            path = f"{daemon.root}/g-vda.img"
            assert client.call("domain_block_stats", dom=dom, path=path) == \
                {"rd_req": 100, "rd_bytes": 101, "wr_req": 103, "wr_bytes": 104, "errs": -1}
            refused(WRONG, client.call, "domain_block_stats", dom=dom, path="vdc")
            refused(WRONG, client.call, "domain_interface_stats", dom=dom, device="net1")
            assert client.call("domain_block_stats_flags", dom=dom, path="vda") == {"params": [], "nparams": 8}


def test_it_is_there_after_a_restart():
    with lodged(LODGED) as daemon:
        define(daemon)
        daemon.virsh("start", "g")
        publish(daemon, "g", net=[5] * 6)
        daemon.restart(signal.SIGKILL)
        stats = domstats(daemon)["g"]
        assert stats["net.0.rx.bytes"] == "5" and stats["vcpu.1.state"] == "1", stats
        daemon.virsh("destroy", "g")
        assert not os.path.exists(f"{daemon.root}/run/guests/g")
        daemon.virsh("start", "g")
        assert domstats(daemon)["g"]["net.0.rx.bytes"] == "0"


def test_pages_of_hostile_guests():
    with lodged(LODGED) as daemon, daemon.client() as client:
        define(daemon)
        daemon.virsh("start", "g")
        dom = client.call("domain_lookup_by_name", name="g")["dom"]
        with open(of(daemon, "g"), "rb") as page:
            good = page.read()
        huge = struct.pack("<QIII", struct.unpack("<Q", good[:8])[0], 1, 0xffffffff, 0xffffffff) + good[20:]
        for bad in (b"", good[:-1], bytes(len(good)), b"\xff" * len(good), huge):
            with open(of(daemon, "g"), "r+b") as page:
                page.truncate(0)
                page.write(bad)
            refused(FAILED, client.call, "domain_block_stats", dom=dom, path="vda")
            stats = domstats(daemon)["g"]
            assert "block.count" not in stats and "cpu.time" in stats, stats
        # any numbers, behind a header that is one
        publish(daemon, "g")
        with open(of(daemon, "g"), "r+b") as page:
            page.write(good[:HEADER] + b"\xff" * (len(good) - HEADER))
        assert domstats(daemon)["g"]["block.0.rd.bytes"] == str(2**64 - 1)
        assert client.call("domain_block_stats", dom=dom, path="vda")["rd_bytes"] == -1


def test_guests_without_devices_and_inactive_ones():
    with lodged(LODGED) as daemon, daemon.client() as client:
        define(daemon, "g", disks=())
        define(daemon, "h")
        daemon.virsh("start", "g")
        stats = domstats(daemon)
        assert stats["g"]["block.count"] == stats["g"]["net.count"] == "0"
        assert "block.count" not in stats["h"] and stats["h"]["balloon.maximum"] == "16384"
        dom = client.call("domain_lookup_by_name", name="h")["dom"]
        for call, values in (("domain_block_stats", {"path": "vda"}), ("domain_interface_stats", {"device": MAC}),
                             ("domain_memory_stats", {"maxStats": 10}), ("domain_get_vcpus", {"maxinfo": 1}),
                             ("domain_get_cpu_stats", {"start_cpu": -1}), ("domain_get_disk_errors", {})):
            refused(INVALID, client.call, call, dom=dom, **values)
        text = daemon.virsh("domblkinfo", "h", "vdb")
        assert re.search(rf"^Capacity: +{2 * MIB}$", text, re.M), text
        allocated = os.stat(f"{daemon.root}/h-vdb.img").st_blocks * 512
        assert re.search(rf"^Allocation: +{allocated}$", text, re.M), text
        with open(f"{daemon.root}/h-vdb.img", "r+b") as disk:  # a raw disk's guest may write anything
            disk.write(b"QFI\xfb" + struct.pack(">IQIIQ", 2, 0, 0, 16, 5 * MIB) + bytes(100))
        assert re.search(rf"^Capacity: +{2 * MIB}$", daemon.virsh("domblkinfo", "h", "vdb"), re.M)
        os.unlink(f"{daemon.root}/h-vdb.img")
        assert "no file" in daemon.virsh("domblkinfo", "h", "vdb", status=1)


def ticks(pid):
    with open(f"/proc/{pid}/stat") as stat:
        return sum(int(word) for word in stat.read().rsplit(")", 1)[1].split()[11:13])


def test_processors_and_memory():
    with lodged(LODGED) as daemon, daemon.client() as client:
        define(daemon, memory=64)
        daemon.virsh("start", "g")
        pid, tick = daemon.pid("g"), 10**9 // os.sysconf("SC_CLK_TCK")
        os.kill(pid, signal.SIGSTOP)  # so that nothing changes while it is looked at
        until("it stands", lambda: re.search(r"^State:\s+T", open(f"/proc/{pid}/status").read(), re.M))
        dom = client.call("domain_lookup_by_name", name="g")["dom"]
        with open(f"/proc/{pid}/stat") as stat:
            rss = int(stat.read().rsplit(")", 1)[1].split()[21]) * os.sysconf("SC_PAGESIZE") // 1024
        memory = {s["tag"]: s["val"] for s in client.call("domain_memory_stats", dom=dom, maxStats=20)["stats"]}
        assert memory == {6: 65536, 7: rss}, (memory, rss)
        stats = domstats(daemon)["g"]
        assert stats["cpu.time"] == str(ticks(pid) * tick) and stats["balloon.rss"] == str(rss)
        total = client.call("domain_get_cpu_stats", dom=dom, start_cpu=-1, ncpus=1, nparams=3)["params"]
        assert {p["field"]: p["value"] for p in total}["cpu_time"] == ticks(pid) * tick
        found = client.call("domain_get_vcpus", dom=dom, maxinfo=10, maplen=4)
        names = {}
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/comm") as comm:
                names[comm.read().strip()] = thread
        assert [info["number"] for info in found["info"]] == [0, 1]
        for number, info in enumerate(found["info"]):
            with open(f"/proc/{pid}/task/{names[f'vcpu{number}']}/schedstat") as books:
                assert info["cpu_time"] == int(books.read().split()[0]) and info["state"] == 1, info
            assert 0 <= info["cpu"] < os.cpu_count()
            allowed = sum(1 << cpu for cpu in os.sched_getaffinity(pid))
            assert int.from_bytes(found["cpumaps"][4 * number:4 * number + 4], "little") == allowed
        assert client.call("domain_get_vcpus", dom=dom, maxinfo=1)["cpumaps"] == b""
        refused(WRONG, client.call, "domain_get_vcpus", dom=dom, maxinfo=16384, maplen=1 << 30)
        os.kill(pid, signal.SIGCONT)
        assert re.search(r"^CPU time: +\d", daemon.virsh("vcpuinfo", "g"), re.M)
        assert re.search(r"cpu_time +\d", daemon.virsh("cpu-stats", "g", "--total"))


def test_a_hundred_questions_are_quick_while_a_guest_stands():
    with lodged(LODGED) as daemon, daemon.client() as client:
        define(daemon)
        daemon.virsh("start", "g")
        os.kill(daemon.pid("g"), signal.SIGSTOP)
        dom = client.call("domain_lookup_by_name", name="g")["dom"]
        start = time.monotonic()
        for _ in range(100):
            client.call("domain_block_stats", dom=dom, path="")
            client.call("connect_get_all_domain_stats")
        print(f"# {(time.monotonic() - start) * 5:.2f} ms for two questions")
        os.kill(daemon.pid("g"), signal.SIGCONT)


tap.main(globals())
