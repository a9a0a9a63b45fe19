# SPDX-License-Identifier: GPL-2.0-or-later
"""A real guest below lodged, on the network called default: what lodged tells of its disk and its network card
is what the guest's own kernel has counted.

    test_lodged_guest.py LODGED
"""
import os
import re
import subprocess
import sys

import tap
from lodged import lodged, until

LODGED = sys.argv[1]
TOP = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
PATIENCE = 300
MIB = 1 << 20
MAC = "52:54:00:12:34:56"
# without IPv6 the kernel sends nothing of its own accord, and before it reads the counters its card is down: what is told
# later is told of the same packets
SCRIPT = ("echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; ip link set eth0 up; udhcpc -q -n -i eth0 >/dev/null; "
          "ip addr add 10.0.2.15/24 dev eth0; dd if=/dev/vda of=/dev/null bs=64k count=40; "
          "dd if=/dev/zero of=/dev/vda bs=4k count=300 seek=100 conv=fsync; "
          "for i in 1 2 3; do wget -q -O - http://10.0.2.2:1/; done; sleep 1; ip link set eth0 down; "
          "echo disk: $(cat /sys/block/vda/stat); echo net: $(grep eth0 /proc/net/dev); echo counted; sleep 1000")


def built(*what):
    done = subprocess.run([f"{TOP}/tools/guest/build.sh", *what], capture_output=True, text=True)
    if done.returncode:
        raise tap.Skip(f"the guest cannot be built here: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.strip()


def domain_xml(daemon):
    return (f"<domain type='kvm'><name>g</name><memory unit='MiB'>256</memory><os><type>hvm</type>"
            f"<kernel>{built('kernel')}</kernel><initrd>{built('initrd')}</initrd>"
            f"<cmdline>console=ttyS0 quiet panic=-1 lodge.run=&quot;{SCRIPT.replace('&', '&amp;').replace('>', '&gt;')}"
            f"&quot;</cmdline></os><features><acpi/></features><devices>"
            f"<serial type='file'><source path='{daemon.root}/console'/></serial>"
            f"<disk type='file'><source file='{daemon.root}/disk.img'/><target dev='vda' bus='virtio'/></disk>"
            f"<interface type='network'><mac address='{MAC}'/><source network='default'/><model type='virtio'/></interface>"
            f"</devices></domain>")


def console(daemon):
    with open(f"{daemon.root}/console", errors="replace") as text:
        return text.read()


def numbers(text):
    return {name: int(value) for name, value in re.findall(r"^\S+ (\w+) (\d+)$", text, re.M)}


def test_statistics_are_the_guests_own():
    with lodged(LODGED) as daemon:
        with open(f"{daemon.root}/disk.img", "wb") as disk:
            disk.truncate(16 * MIB)
        with open(f"{daemon.root}/g.xml", "w") as out:
            out.write(domain_xml(daemon))
        daemon.virsh("define", f"{daemon.root}/g.xml")
        daemon.virsh("start", "g")
        until("the guest has counted", lambda: re.search(r"^counted", console(daemon), re.M), PATIENCE)
        daemon.virsh("suspend", "g")
        text = console(daemon)
        disk = [int(word) for word in re.search(r"^disk: (.+)$", text, re.M).group(1).split()]
        net = [int(word) for word in re.search(r"^net: eth0: *(.+)$", text, re.M).group(1).split()]
        told = numbers(daemon.virsh("domblkstat", "g", "vda"))
        assert (told["rd_req"], told["rd_bytes"]) == (disk[0], disk[2] * 512), (told, disk)
        # the kernel counts a flush as a write of nothing as well
        assert (told["wr_req"], told["wr_bytes"]) == (disk[4] - disk[15], disk[6] * 512), (told, disk)
        assert told["flush_operations"] == disk[15] > 0 and told["rd_bytes"] >= 40 * 65536, (told, disk)
        assert 0 < told["rd_total_times"] < 60 * 10**9 and told["wr_total_times"] > 0, told
        told = numbers(daemon.virsh("domifstat", "g", MAC))
        assert (told["rx_bytes"], told["rx_packets"]) == (net[0], net[1]), (told, net)
        assert (told["tx_bytes"], told["tx_packets"]) == (net[8], net[9]), (told, net)
        assert net[1] > 3 and net[9] > 3, net
        stats = daemon.virsh("domstats", "--vcpu", "--balloon", "g")
        assert int(re.search(r"vcpu.0.time=(\d+)", stats).group(1)) > 10**8, stats
        assert int(re.search(r"balloon.rss=(\d+)", stats).group(1)) > 30000, stats
        daemon.virsh("resume", "g")
        daemon.virsh("inject-nmi", "g")
        until("the guest's kernel has its NMI", lambda: re.search(r"NMI received for unknown reason", console(daemon)), PATIENCE)
        daemon.virsh("send-key", "g", "--holdtime", "10", "KEY_LEFTALT", "KEY_SYSRQ", "KEY_H")
        until("the guest's kernel has its keys", lambda: "sysrq: HELP" in console(daemon), PATIENCE)
        daemon.virsh("setmem", "g", "200M", "--live")
        until("the guest has given memory back", lambda: "Used memory:    204800 KiB" in daemon.virsh("dominfo", "g"))
        daemon.virsh("setmem", "g", "256M", "--live")
        until("it has taken it again", lambda: "Used memory:    262144 KiB" in daemon.virsh("dominfo", "g"))


tap.main(globals())
