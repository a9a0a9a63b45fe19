# SPDX-License-Identifier: GPL-2.0-or-later
"""lodged as a service of a real systemd, which has this system's files in namespaces of its own: activation by the
first client, scopes, restart, upgrade, crash, and the end of the host.

    test_systemd.py LODGED BUTTON-IMAGE UNITS
"""
import contextlib
import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import tap
from lodged import guest_xml, until

LODGED, IMAGE, UNITS = sys.argv[1:]
PATIENCE = 120  # only ends what would never end
BOX = os.path.join(os.path.dirname(os.path.abspath(__file__)), "systemd_box.sh")


class Box:
    def __init__(self, root):
        self.root, self.process, self.init = root, None, None

    def install(self):
        for folder in ("usr/local/sbin", "etc/systemd/system", "var/tmp"):
            os.makedirs(f"{self.root}/upper/{folder}")
        for name in ("lodged", "lodge-vmm", "lodge-net"):
            shutil.copy(f"{os.path.dirname(LODGED)}/{name}", f"{self.root}/upper/usr/local/sbin/{name}")
        for name in ("lodged.service", "lodged.socket", "lodged-ro.socket"):
            shutil.copy(f"{UNITS}/{name}", f"{self.root}/upper/etc/systemd/system/{name}")
        with open("/etc/group") as groups, open(f"{self.root}/upper/etc/group", "w") as out:
            out.write(re.sub(r"^libvirt:.*\n", "", groups.read(), flags=re.M) + "libvirt:x:54300:\n")
        shutil.copyfile(IMAGE, f"{self.root}/upper/var/tmp/kernel")
        for name in ("good", "deaf"):
            with open(f"{self.root}/upper/var/tmp/{name}.xml", "w") as out:
                out.write(guest_xml(name, "/var/tmp/kernel",
                                    extra="<interface type='network'><source network='default'/></interface>"))

    def start(self):
        self.install()
        with open(f"{self.root}/out", "w") as out:
            self.process = subprocess.Popen(["unshare", "-m", "-u", "-i", "-n", "-p", "-C", "-f", "sh", BOX, self.root],
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        until("the box has a first process", self.find_init, PATIENCE)
        until("the box is up", lambda: self.state() in ("running", "degraded"), PATIENCE)

    def find_init(self):
        assert self.process.poll() is None, open(f"{self.root}/out").read()
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as children:
            found = children.read().split()
        self.init = int(found[0]) if found else None
        return self.init

    def enter(self, *words):
        return ["nsenter", "-t", str(self.init), "-a", *words]

    def state(self):
        return subprocess.run(self.enter("systemctl", "is-system-running"), capture_output=True, text=True).stdout.strip()

    def run(self, *words, status=0):
        done = subprocess.run(self.enter(*words), capture_output=True, text=True, timeout=PATIENCE,
                              stdin=subprocess.DEVNULL)
        assert done.returncode == status, (words, done, self.journal())
        return (done.stdout + done.stderr).strip()

    def journal(self):
        """Of lodged; also when the box is no more."""
        return subprocess.run(["journalctl", "-D", glob.glob(f"{self.root}/upper/var/log/journal/*")[0], "-u",
                               "lodged.service", "-o", "cat", "--no-pager"], capture_output=True, text=True).stdout

    def main_pid(self):
        return int(self.run("systemctl", "show", "-P", "MainPID", "lodged.service"))

    def guest_pid(self, name):
        return int(self.run("cat", f"/run/lodge/guests/{name}/lock").split()[1])

    def guest_state(self, name):
        return self.run("virsh", "domstate", name)

    def end(self):
        if self.init and self.process.poll() is None:
            os.kill(self.init, signal.SIGKILL)
        if self.process:
            self.process.wait()


@contextlib.contextmanager
def box():
    if os.geteuid():
        raise tap.Skip("only root can be a host in namespaces")
    for tool in ("/lib/systemd/systemd", "dbus-daemon", "virsh", "nsenter", "journalctl"):
        if not shutil.which(tool):
            raise tap.Skip(f"there is no {tool}")
    with tempfile.TemporaryDirectory(prefix="lodged-box-") as root:
        made = Box(root)
        try:
            made.start()
            yield made
        finally:
            made.end()


def test_life_as_a_service():
    with box() as host:
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
        tasks = host.run("cat", "/sys/fs/cgroup/machine.slice/lodge-1-good.scope/guest/cgroup.procs").split()
        assert len(tasks) == 2 and str(pid) in tasks, "the guest and its network's helper"
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


def host_pid(host, pid):
    """The number that a process of the box has here."""
    for entry in glob.glob("/proc/[0-9]*/status"):
        with contextlib.suppress(OSError):
            with open(entry) as lines:
                found = re.search(r"^NSpid:\t(\d+)\t(?:\d+\t)*(\d+)$", lines.read(), re.M)
            if found and int(found.group(2)) == pid and os.stat(f"/proc/{found.group(1)}/ns/pid").st_ino == \
                    os.stat(f"/proc/{host.init}/ns/pid").st_ino:
                return int(found.group(1))
    raise AssertionError(f"process {pid} of the box is not found")


def test_it_takes_no_socket_from_another():
    with box() as host:
        host.run("sh", "-c", "mkdir -p /run/libvirt && touch /run/libvirt/virtqemud-sock")
        host.run("systemctl", "start", "lodged.socket", status=1)
        assert "Assertion failed" in host.run("systemctl", "status", "lodged.socket", status=3)
        host.run("systemctl", "start", "lodged.service", status=1)


tap.main(globals())
