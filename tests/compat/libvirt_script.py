#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What scripts on libvirt's Python library do, against lodged: run by test_python_libvirt.py with Debian's python3,
which has the library.

    libvirt_script.py NAME URI DIRECTORY KERNEL
"""
import json
import os
import sys
import threading
import time
import xml.etree.ElementTree as ET

import libvirt
import libvirt_qemu

NAME, URI, DIRECTORY, KERNEL = sys.argv[1:]
WAIT = 60


def until(what, condition):
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.01)


def domain_xml(name, extra=""):
    return (f"<domain type='kvm'><name>{name}</name><memory unit='MiB'>16</memory><vcpu>2</vcpu><os><type>hvm</type>"
            f"<kernel>{KERNEL}</kernel></os><features><acpi/></features><devices><serial type='pty'/>{extra}</devices></domain>")


def disk_xml(path):
    return f"<disk type='file'><source file='{path}'/><target dev='vda' bus='virtio'/></disk>"


NET = "<interface type='network'><mac address='52:54:00:00:00:07'/><source network='default'/><model type='virtio'/></interface>"


def refused(code, call, *arguments):
    try:
        call(*arguments)
    except libvirt.libvirtError as error:
        assert error.get_error_code() == code, (error.get_error_code(), error)
        return
    raise AssertionError("it was not refused")


# --- the scripts ---

def connection():
    conn = libvirt.open(URI)
    assert conn.getType() == "QEMU" and conn.getVersion() >= 2011000 and conn.getLibVersion() > 0
    assert conn.isAlive() and conn.isSecure() and not conn.isEncrypted()
    assert conn.getHostname() and conn.getMaxVcpus(None) > 0
    model, memory, cpus, mhz, nodes, sockets, cores, threads = conn.getInfo()
    assert cpus == os.cpu_count() and nodes == 1 and sockets * cores * threads == cpus
    assert conn.getFreeMemory() > 0 and conn.getMemoryStats(-1)["total"] // 1024 == memory
    assert set(conn.getCPUStats(-1)) == {"kernel", "user", "idle", "iowait"}
    assert conn.getCPUMap()[0] >= cpus and conn.getCellsFreeMemory(0, 1)[0] > 0
    caps = ET.fromstring(conn.getCapabilities())
    assert caps.findtext("host/cpu/arch") == "x86_64" and caps.find("guest/arch/domain").get("type") == "kvm"
    dom = ET.fromstring(conn.getDomainCapabilities())
    assert dom.findtext("machine") == "q35" and dom.find("devices/graphics") is not None
    assert "EPYC" in conn.getCPUModelNames("x86_64")
    conn.close()
    other = libvirt.openReadOnly(URI)
    refused(libvirt.VIR_ERR_OPERATION_DENIED, other.defineXML, domain_xml("g"))
    other.close()


def lists():
    conn = libvirt.open(URI)
    guest = conn.defineXML(domain_xml("g"))
    assert [d.name() for d in conn.listAllDomains()] == ["g"] and conn.listDefinedDomains() == ["g"]
    assert conn.numOfDomains() == 0 and conn.numOfDefinedDomains() == 1
    for flag, count in ((libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE, 0), (libvirt.VIR_CONNECT_LIST_DOMAINS_INACTIVE, 1),
                        (libvirt.VIR_CONNECT_LIST_DOMAINS_PERSISTENT, 1), (libvirt.VIR_CONNECT_LIST_DOMAINS_RUNNING, 0)):
        assert len(conn.listAllDomains(flag)) == count, flag
    assert conn.lookupByUUIDString(guest.UUIDString()).name() == "g" and conn.lookupByUUID(guest.UUID()).ID() == -1
    refused(libvirt.VIR_ERR_NO_DOMAIN, conn.lookupByName, "h")
    assert [n.name() for n in conn.listAllNetworks()] == ["default"] and conn.listNetworks() == ["default"]
    network = conn.networkLookupByName("default")
    assert network.isActive() and network.isPersistent() and network.DHCPLeases() == []
    for name in ("NWFilters", "Secrets", "StoragePools"):
        assert getattr(conn, f"listAll{name}")() == [], name
    assert conn.listNWFilters() == []
    devices = {device.name(): device for device in conn.listAllDevices()}
    assert set(devices) == set(conn.listDevices(None)) and len(devices) == conn.numOfDevices(None)
    assert devices["computer"].parent() is None and devices["computer"].listCaps() == ["system"]
    for device in devices.values():
        assert ET.fromstring(device.XMLDesc()).find("name").text == device.name() and device.isActive()
    refused(libvirt.VIR_ERR_NO_SUPPORT, devices["computer"].dettach)
    cards = [card.name() for card in conn.listAllInterfaces()]
    assert sorted(conn.listInterfaces() + conn.listDefinedInterfaces()) == sorted(cards)
    for name in cards:
        assert conn.interfaceLookupByMACString(conn.interfaceLookupByName(name).MACString()).name() == name
    assert guest.snapshotNum() == 0 and guest.listAllSnapshots() == [] and guest.listAllCheckpoints() == []
    assert guest.hasCurrentSnapshot() == 0 and guest.snapshotListNames() == [] and not guest.hasManagedSaveImage()
    guest.undefine()


def limits():
    conn = libvirt.open(URI)
    guest = conn.defineXML(domain_xml("g"))
    config = libvirt.VIR_DOMAIN_AFFECT_CONFIG
    assert list(guest.schedulerType()) == ["posix", 7], guest.schedulerType()
    assert guest.schedulerParametersFlags(config)["vcpu_quota"] == 0
    guest.setSchedulerParametersFlags({"vcpu_quota": 20000, "cpu_shares": 50}, config)
    told = guest.schedulerParameters()
    assert told["vcpu_quota"] == 20000 and told["cpu_shares"] == 50 and told["global_period"] == 0, told
    guest.setMemoryParameters({"hard_limit": 1 << 20}, config)
    unlimited = 9007199254740991  # VIR_DOMAIN_MEMORY_PARAM_UNLIMITED
    assert guest.memoryParameters(config) == {"hard_limit": 1 << 20, "soft_limit": unlimited, "swap_hard_limit": unlimited}
    guest.setMemoryParameters({"hard_limit": unlimited}, config)
    assert guest.memoryParameters()["hard_limit"] == unlimited
    guest.setBlkioParameters({"weight": 300, "device_weight": "/dev/sda,200"}, config)
    assert guest.blkioParameters()["weight"] == 300 and guest.blkioParameters()["device_weight"] == "/dev/sda,200"
    guest.setNumaParameters({"numa_nodeset": "0", "numa_mode": libvirt.VIR_DOMAIN_NUMATUNE_MEM_PREFERRED}, config)
    assert guest.numaParameters() == {"numa_nodeset": "0", "numa_mode": libvirt.VIR_DOMAIN_NUMATUNE_MEM_PREFERRED}
    xml = ET.fromstring(guest.XMLDesc())
    assert xml.find("cputune/quota").text == "20000" and xml.find("memtune") is None
    for wrong in ({"vcpu_quota": 1}, {"cpu_shares": 1 << 40}):
        refused(libvirt.VIR_ERR_XML_ERROR, lambda wrong=wrong: guest.setSchedulerParametersFlags(wrong, config))
    guest.undefine()


def life():
    conn = libvirt.open(URI)
    guest = conn.defineXML(domain_xml("g"))
    assert not guest.isActive() and guest.isPersistent() and not guest.isUpdated() and guest.OSType() == "hvm"
    assert guest.state() == [libvirt.VIR_DOMAIN_SHUTOFF, 0] and guest.maxMemory() == 16384
    guest.create()
    assert guest.isActive() and guest.ID() > 0 and guest.info()[0] == libvirt.VIR_DOMAIN_RUNNING
    refused(libvirt.VIR_ERR_OPERATION_INVALID, guest.create)
    guest.suspend()
    assert guest.state()[0] == libvirt.VIR_DOMAIN_PAUSED
    guest.resume()
    guest.setAutostart(1)
    assert guest.autostart() == 1 and guest.maxVcpus() == 2
    guest.setMetadata(libvirt.VIR_DOMAIN_METADATA_TITLE, "a title", None, None, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    assert guest.metadata(libvirt.VIR_DOMAIN_METADATA_TITLE, None, libvirt.VIR_DOMAIN_AFFECT_CONFIG) == "a title"
    live = ET.fromstring(guest.XMLDesc())
    assert live.get("id") == str(guest.ID()) and live.find("devices/serial/source").get("path").startswith("/dev/pts/")
    assert guest.jobInfo()[0] == libvirt.VIR_DOMAIN_JOB_NONE and guest.jobStats()["type"] == libvirt.VIR_DOMAIN_JOB_NONE
    assert guest.controlInfo()[0] == libvirt.VIR_DOMAIN_CONTROL_OK and isinstance(guest.messages(), list)
    guest.destroy()
    assert guest.state()[0] == libvirt.VIR_DOMAIN_SHUTOFF
    transient = conn.createXML(domain_xml("t"), libvirt.VIR_DOMAIN_START_PAUSED)
    assert not transient.isPersistent() and transient.state()[0] == libvirt.VIR_DOMAIN_PAUSED
    transient.destroy()
    refused(libvirt.VIR_ERR_NO_DOMAIN, conn.lookupByName, "t")
    guest.setMemoryFlags(8192, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    guest.setVcpusFlags(1, libvirt.VIR_DOMAIN_AFFECT_CONFIG)
    assert guest.vcpusFlags(libvirt.VIR_DOMAIN_AFFECT_CONFIG) == 1
    guest.rename("h")
    assert conn.lookupByName("h").UUIDString() == guest.UUIDString()
    guest.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM)
    assert conn.listAllDomains() == []


def statistics():
    conn = libvirt.open(URI)
    path = f"{DIRECTORY}/disk.img"
    with open(path, "wb") as disk:
        disk.truncate(1 << 20)
    guest = conn.defineXML(domain_xml("g", disk_xml(path) + NET))
    guest.create()
    assert guest.blockStats("vda") == (0, 0, 0, 0, -1) and guest.blockStatsFlags("vda")["rd_operations"] == 0
    assert guest.interfaceStats("52:54:00:00:00:07")[0] >= 0 and guest.blockInfo("vda")[0] == 1 << 20
    assert guest.memoryStats()["actual"] == 16384 and guest.memoryStats()["rss"] > 0
    until("it has used a processor", lambda: guest.getCPUStats(True)[0]["cpu_time"] > 0)
    infos, maps = guest.vcpus()
    assert [info[0] for info in infos] == [0, 1] and any(maps[0]) and len(guest.vcpuPinInfo()) == 2
    assert guest.diskErrors() == {} and guest.interfaceAddresses(libvirt.VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE) == {}
    assert guest.blockJobInfo("vda") in ({}, None) and guest.ioThreadInfo() == []
    (dom, stats), = conn.getAllDomainStats()
    assert dom.name() == "g" and stats["block.0.name"] == "vda" and stats["vcpu.current"] == 2
    (_, stats), = conn.domainListGetStats([guest], libvirt.VIR_DOMAIN_STATS_INTERFACE)
    assert stats["net.count"] == 1 and "block.count" not in stats
    guest.destroy()
    guest.undefine()


class Loop(threading.Thread):
    """libvirt's own event loop on a thread of its own, as virt-manager and others have one."""

    def __init__(self):
        super().__init__(daemon=True)
        libvirt.virEventRegisterDefaultImpl()

    def run(self):
        while True:
            libvirt.virEventRunDefaultImpl()


def events():
    Loop().start()
    conn = libvirt.open(URI)
    conn.setKeepAlive(5, 3)
    seen, closed = [], []
    conn.registerCloseCallback(lambda *arguments: closed.append(arguments), None)
    numbers = [conn.domainEventRegisterAny(None, event, lambda *arguments: seen.append(arguments), None)
               for event in sorted(value for name, value in vars(libvirt).items() if name.startswith("VIR_DOMAIN_EVENT_ID_"))]
    assert len(set(numbers)) == len(numbers) > 20
    pools, networks, secrets = [], [], []
    conn.storagePoolEventRegisterAny(None, libvirt.VIR_STORAGE_POOL_EVENT_ID_LIFECYCLE,
                                     lambda conn, pool, event, detail, opaque: pools.append(event), None)
    conn.networkEventRegisterAny(None, libvirt.VIR_NETWORK_EVENT_ID_LIFECYCLE,
                                 lambda conn, net, event, detail, opaque: networks.append(event), None)
    conn.secretEventRegisterAny(None, libvirt.VIR_SECRET_EVENT_ID_LIFECYCLE,
                                lambda conn, secret, event, detail, opaque: secrets.append(event), None)
    conn.nodeDeviceEventRegisterAny(None, libvirt.VIR_NODE_DEVICE_EVENT_ID_LIFECYCLE, lambda *_: None, None)
    guest = conn.defineXML(domain_xml("g"))
    guest.create()
    guest.suspend()
    guest.destroy()
    guest.undefine()
    until("all have come", lambda: len(seen) >= 5)
    assert [(event[1].name(), event[2]) for event in seen] == [
        ("g", libvirt.VIR_DOMAIN_EVENT_DEFINED), ("g", libvirt.VIR_DOMAIN_EVENT_STARTED),
        ("g", libvirt.VIR_DOMAIN_EVENT_SUSPENDED), ("g", libvirt.VIR_DOMAIN_EVENT_STOPPED),
        ("g", libvirt.VIR_DOMAIN_EVENT_UNDEFINED)], seen
    pool = conn.storagePoolDefineXML(f"<pool type='dir'><name>p</name><target><path>{DIRECTORY}</path></target></pool>")
    pool.create()
    pool.destroy()
    pool.undefine()
    conn.networkDefineXML("<network><name>n</name></network>").undefine()
    conn.secretDefineXML("<secret><usage type='ceph'><name>a</name></usage></secret>").undefine()
    until("the others have come", lambda: len(pools) == 4 and len(networks) == 2 and len(secrets) == 2)
    assert pools == [0, 2, 3, 1] and networks == [0, 1] and secrets == [0, 1]
    for number in numbers:
        conn.domainEventDeregisterAny(number)
    assert not closed


def storage():
    conn = libvirt.open(URI)
    pool = conn.storagePoolDefineXML(f"<pool type='dir'><name>p</name><target><path>{DIRECTORY}/p</path></target></pool>")
    pool.build()
    pool.create()
    volume = pool.createXML("<volume><name>v</name><capacity>300000</capacity></volume>")
    data = os.urandom(300000)
    stream = conn.newStream()
    volume.upload(stream, 0, len(data))
    sent = [0]

    def more(stream, count, opaque):
        sent[0] += count
        return data[sent[0] - count:sent[0]]

    stream.sendAll(more, None)
    stream.finish()
    stream, got = conn.newStream(), []
    volume.download(stream, 0, 0)
    stream.recvAll(lambda stream, part, opaque: got.append(part), None)
    stream.finish()
    assert b"".join(got) == data and volume.info()[1] == 300000
    assert conn.storageVolLookupByPath(volume.path()).key() == volume.key() and pool.listVolumes() == ["v"]
    volume.wipe()
    volume.delete()
    pool.destroy()
    pool.delete()
    pool.undefine()


def monitor():
    conn = libvirt.open(URI)
    guest = conn.defineXML(domain_xml("g"))
    guest.create()
    reply = json.loads(libvirt_qemu.qemuMonitorCommand(guest, '{"execute": "query-status", "id": 7}', 0))
    assert reply["return"]["running"] is True and reply["id"] == 7, reply
    assert any("tainted" in message for message in guest.messages())
    guest.destroy()
    guest.undefine()


def files():
    path = f"{DIRECTORY}/disk.img"
    with open(path, "wb") as out:
        out.truncate(3 << 20)
    fd = os.open(path, os.O_RDWR)
    os.unlink(path)  # no path leads to it any more
    conn = libvirt.open(URI)
    disk = ("<disk type='file'><source file='/nowhere/disk.img' fdgroup='{}'/><target dev='vda' bus='virtio'/>{}</disk>")
    guest = conn.defineXML(domain_xml("g", disk.format("image", "")))
    refused(libvirt.VIR_ERR_INVALID_ARG, guest.create)
    guest.FDAssociate("image", [fd])
    for _ in range(2):  # the group is there for each start
        guest.create()
        assert guest.blockInfo("vda")[0] == 3 << 20, guest.blockInfo("vda")
        guest.destroy()
    other = libvirt.open(URI)  # as another connection, which ends
    other.lookupByName("g").FDAssociate("image", [fd], libvirt.VIR_DOMAIN_FD_ASSOCIATE_SECLABEL_WRITABLE)
    guest.create()
    other.close()
    guest.destroy()
    until("the group is gone", lambda: start_fails(guest))
    # for one start, a transient guest's too
    again = conn.createXMLWithFiles(domain_xml("h", disk.format(0, "<readonly/>")), [fd], libvirt.VIR_DOMAIN_START_PAUSED)
    assert again.state()[0] == libvirt.VIR_DOMAIN_PAUSED
    again.destroy()
    refused(libvirt.VIR_ERR_NO_SUPPORT, guest.createWithFiles, [fd])  # no disk is the descriptor 0
    guest = conn.defineXML(guest.XMLDesc().replace("fdgroup='image'", "fdgroup='0'"))
    guest.createWithFiles([fd], libvirt.VIR_DOMAIN_START_AUTODESTROY)
    assert guest.isActive()
    guest.destroy()
    only_read = os.open(KERNEL, os.O_RDONLY)
    refused(libvirt.VIR_ERR_SYSTEM_ERROR, guest.createWithFiles, [only_read])
    refused(libvirt.VIR_ERR_INVALID_ARG, guest.createWithFiles, [])  # as create()
    refused(libvirt.VIR_ERR_INVALID_ARG, guest.FDAssociate, "", [fd])
    refused(libvirt.VIR_ERR_OPERATION_DENIED, libvirt.openReadOnly(URI).lookupByName("g").FDAssociate, "image", [fd])
    guest.undefine()


def start_fails(guest):
    try:
        guest.create()
    except libvirt.libvirtError as error:
        assert error.get_error_code() == libvirt.VIR_ERR_INVALID_ARG and "was not associated" in str(error), error
        return True
    guest.destroy()
    return False


globals()[NAME]()
