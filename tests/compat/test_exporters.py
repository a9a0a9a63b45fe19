# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs that watch libvirt's guests, unmodified, against lodged: the Prometheus exporter, which is written in Go,
and collectd's virt plugin. What a guest has published is what they tell. (virt-top, which shows the same, is no package of
Debian 12's.)

    test_exporters.py LODGED BUTTON-IMAGE
"""
import glob
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
import urllib.request

import tap
from lodged import WAIT, guest_xml, lodged, until

LODGED, IMAGE = sys.argv[1:]
MAC = "52:54:00:12:34:56"
HEADER, DISK = 64, 128
# read, write: requests, bytes, ns; flushes: requests, ns
DISK_VALUES = [101, 102 << 10, 103 * 10**9, 104, 105 << 10, 106 * 10**9, 107, 108 * 10**6]
NET_VALUES = [201, 202, 203, 204, 205, 206]  # received: bytes, frames, dropped; sent: the same


def start(daemon):
    path = f"{daemon.root}/disk.img"
    with open(path, "wb") as disk:
        disk.truncate(1 << 20)
    extra = (f"<interface type='network'><mac address='{MAC}'/><source network='default'/><model type='virtio'/></interface>"
             f"<disk type='file'><source file='{path}'/><target dev='vda' bus='virtio'/></disk>")
    with open(f"{daemon.root}/g.xml", "w") as out:
        out.write(guest_xml("g", IMAGE, extra=extra))
    daemon.virsh("define", f"{daemon.root}/g.xml")
    daemon.virsh("start", "g")
    with open(f"{daemon.root}/run/guests/g/statistics", "r+b") as page:
        page.seek(HEADER)
        page.write(struct.pack(f"<{len(DISK_VALUES)}Q", *DISK_VALUES))
        page.seek(HEADER + DISK)
        page.write(struct.pack(f"<{len(NET_VALUES)}Q", *NET_VALUES))


def test_prometheus():
    if not shutil.which("prometheus-libvirt-exporter"):
        raise tap.Skip("there is no prometheus-libvirt-exporter")
    with lodged(LODGED) as daemon, socket.socket() as free:
        start(daemon)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        exporter = subprocess.Popen(["prometheus-libvirt-exporter", f"--web.listen-address=127.0.0.1:{port}", "--libvirt.uri",
                                     daemon.uri()], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        text = [""]

        def told():
            assert exporter.poll() is None
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=WAIT) as answer:
                    text[0] = answer.read().decode()
            except OSError:
                return False
            return True

        try:
            until("the exporter answers", told)
        finally:
            exporter.kill()
            exporter.wait()
        found = {name: float(value) for name, value in re.findall(r"^libvirt_(\w+)(?:\{.*\})? (\S+)$", text[0], re.M)}
        assert found["up"] == 1 and found["domains_number"] == 1 and found["domain_state_code"] == 1, found
        assert found["domain_info_maximum_memory_bytes"] == 16 << 20, found
        for name, value in (("read_requests_total", 101), ("read_bytes_total", 102 << 10), ("write_requests_total", 104),
                            ("write_bytes_total", 105 << 10)):
            assert found[f"domain_block_stats_{name}"] == value, (name, found)
        for name, value in (("receive_bytes_total", 201), ("receive_packets_total", 202), ("receive_drops_total", 203),
                            ("transmit_bytes_total", 204), ("transmit_packets_total", 205), ("transmit_drops_total", 206)):
            assert found[f"domain_interface_stats_{name}"] == value, (name, found)


CONFIGURATION = """
Hostname "h"
BaseDir "{root}/collectd"
PIDFile "{root}/collectd.pid"
Interval 0.5
LoadPlugin logfile
LoadPlugin csv
LoadPlugin virt
<Plugin logfile>
  File "{root}/collectd.log"
</Plugin>
<Plugin csv>
  DataDir "{root}/csv"
</Plugin>
<Plugin virt>
  Connection "{uri}"
  HostnameFormat name
  ExtraStats "cpu_util disk disk_err domain_state memory pcpu vcpu"
</Plugin>
"""


def test_collectd():
    if not shutil.which("collectd"):
        raise tap.Skip("there is no collectd (package collectd-core)")
    with lodged(LODGED) as daemon:
        start(daemon)
        with open(f"{daemon.root}/collectd.conf", "w") as out:
            out.write(CONFIGURATION.format(root=daemon.root, uri=daemon.uri()))
        collectd = subprocess.Popen(["collectd", "-f", "-C", f"{daemon.root}/collectd.conf"], stdout=subprocess.DEVNULL,
                                    stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

        def last(name):
            """The numbers of the newest line of a file of values, as far as lines have their ends."""
            files = glob.glob(f"{daemon.root}/csv/g/virt/{name}-*")
            if not files:
                return None
            with open(files[0]) as text:  # a line of names, then one for each time it looked
                lines = text.read().split("\n")[1:-1]
            return [float(word) for word in lines[-1].split(",")[1:]] if lines else None

        wanted = {"disk_octets-vda": [102 << 10, 105 << 10], "disk_ops-vda": [101, 104],
                  "if_octets-net0": [201, 204], "if_packets-net0": [202, 205], "if_dropped-net0": [203, 206],
                  "total_requests-flush-vda": [107], "domain_state": [1, 1], "memory-total": [16 << 20]}
        try:
            for name, values in wanted.items():
                until(f"collectd writes {name}", lambda name=name, values=values: last(name) == values)
            until("it has processors", lambda: (last("virt_vcpu-0") or [0])[0] > 0)
        finally:
            collectd.terminate()
            collectd.wait(WAIT)


tap.main(globals())
