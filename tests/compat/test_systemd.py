# SPDX-License-Identifier: GPL-2.0-or-later
"""lodged as a service of a real systemd, which has this system's files in namespaces of its own: activation by the
first client, scopes, restart, upgrade, crash, and the end of the host.

    test_systemd.py LODGED BUTTON-IMAGE UNITS
"""
import os
import re
import shutil
import signal
import subprocess
import sys

import tap
from box import PATIENCE, box, host_pid
from lodged import guest_xml, until

LODGED, IMAGE, UNITS = sys.argv[1:]


def install(host):
    for name in ("lodged", "lodge-vmm", "lodge-net"):
        shutil.copy(f"{os.path.dirname(LODGED)}/{name}", host.upper(f"usr/local/sbin/{name}"))
    for name in ("lodged.service", "lodged.socket", "lodged-ro.socket"):
        shutil.copy(f"{UNITS}/{name}", host.upper(f"etc/systemd/system/{name}"))
    with open("/etc/group") as groups, open(host.upper("etc/group"), "w") as out:
        out.write(re.sub(r"^libvirt:.*\n", "", groups.read(), flags=re.M) + "libvirt:x:54300:\n")
    shutil.copyfile(IMAGE, host.upper("var/tmp/kernel"))
    for name in ("good", "deaf"):
        with open(host.upper(f"var/tmp/{name}.xml"), "w") as out:
            out.write(guest_xml(name, "/var/tmp/kernel",
                                extra="<interface type='network'><source network='default'/></interface>"))


def service_box():
    for tool in ("dbus-daemon", "virsh"):
        if not shutil.which(tool):
            raise tap.Skip(f"there is no {tool}")
    return box(install)


def test_life_as_a_service():
    with service_box() as host:
        host.run("systemctl", "start", "lodged.socket", "lodged-ro.socket")
        assert host.run("systemctl", "is-active", "lodged.service", status=3) == "inactive"
        assert host.run("virsh", "uri") == "qemu:///system", "the first client starts it"
        assert host.run("systemctl", "is-active", "lodged.service") == "active"
        assert host.run("stat", "-c", "%a %G", "/run/libvirt/libvirt-sock") == "660 libvirt"
        for name in ("good", "deaf"):
            host.run("virsh", "define", f"/var/tmp/{name}.xml")
            host.run("virsh", "start", name)
        pid = host.guest_pid("good")

        def scope():
            text = host.run("cat", f"/proc/{pid}/cgroup")
            return re.search(r"/machine.slice/(lodge-1-good\.scope)/guest$", text)

        until("it has a scope, and a group of its own in it", scope, PATIENCE)

        def tasks():
            return host.run("cat", "/sys/fs/cgroup/machine.slice/lodge-1-good.scope/guest/cgroup.procs").split()

        until("the guest and its network's helper are in it", lambda: len(tasks()) == 2 and str(pid) in tasks(), PATIENCE)
        until("lodged is alone in its service", lambda: host.run(
            "cat", "/sys/fs/cgroup/system.slice/lodged.service/cgroup.procs") == str(host.main_pid()), PATIENCE)

        daemons = [host.main_pid()]
        host.run("systemctl", "restart", "lodged.service")
        # an upgrade: another file under the name
        host.run("sh", "-c", "cp /usr/local/sbin/lodged /usr/local/sbin/lodged.new && "
                 "mv /usr/local/sbin/lodged.new /usr/local/sbin/lodged && systemctl restart lodged.socket lodged.service")
        daemons.append(host.main_pid())
        host.run("kill", "-9", str(daemons[-1]))
        until("systemd has started another", lambda: host.main_pid() not in (0, daemons[-1]), PATIENCE)
        daemons.append(host.main_pid())
        host.run("systemctl", "stop", "lodged.service", "lodged.socket", "lodged-ro.socket")
        assert host.run("cat", f"/proc/{pid}/comm") == "lodge-vmm"
        host.run("systemctl", "start", "lodged.socket")
        assert host.guest_state("good") == "running" and host.guest_pid("good") == pid
        assert len(set(daemons)) == 3

        os.kill(host_pid(host, host.guest_pid("deaf")), signal.SIGSTOP)
        host.run("mkdir", "-p", "/etc/systemd/system/lodged.service.d")
        host.run("sh", "-c", "printf '[Service]\\nExecStart=\\nExecStart=/usr/local/sbin/lodged --system --patience 5\\n' "
                 "> /etc/systemd/system/lodged.service.d/patience.conf")
        host.run("systemctl", "daemon-reload")
        host.run("systemctl", "restart", "lodged.service")
        assert host.guest_state("good") == "running"
        subprocess.run(host.enter("systemctl", "poweroff"), timeout=PATIENCE, capture_output=True)
        host.process.wait(PATIENCE)
        said = host.journal()
        assert "guest good, number 1, has shut down" in said, said
        assert "guest deaf does not power off in time" in said and "guest good does not" not in said, said
        assert said.rstrip().endswith("Stopped lodged.service - Lodge's daemon: virtual machines."), said


def test_it_takes_no_socket_from_another():
    with service_box() as host:
        host.run("sh", "-c", "mkdir -p /run/libvirt && touch /run/libvirt/virtqemud-sock")
        host.run("systemctl", "start", "lodged.socket", status=1)
        assert "Assertion failed" in host.run("systemctl", "status", "lodged.socket", status=3)
        host.run("systemctl", "start", "lodged.service", status=1)


tap.main(globals())
