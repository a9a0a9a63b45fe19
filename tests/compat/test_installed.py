# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian packages as they are installed: by apt, on a Debian 12 whose first process is systemd. Earlier ones are
installed and make guests, the tree's follow them, libvirt-dbus and Cockpit come on top, and everything is purged.

    test_installed.py TREE BUTTON-IMAGE
"""
import contextlib
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

import tap
from box import PATIENCE, box, debian_root
from debs import APT, build, copy, copy_earlier, run
from lodged import guest_xml, until

TREE, IMAGE = sys.argv[1:]
NAMES = ("lodge", "lodged", "lodge-libvirt-compat", "liblodge0")
UNITS = ("lodged.socket", "lodged-ro.socket", "lodged.service")
USER = "anne"


def put_packages(host, which, build_in):
    for package in glob.glob(f"{build_in}/*.deb"):
        shutil.copy(package, host.upper(f"srv/{which}/{os.path.basename(package)}"))


def prepare(host):
    with tempfile.TemporaryDirectory(prefix="lodge-packages-") as folder:
        os.makedirs(f"{folder}/before")
        os.makedirs(f"{folder}/now")
        if not copy_earlier(TREE, f"{folder}/before/tree"):
            copy(TREE, f"{folder}/before/tree")
        build(f"{folder}/before/tree", "0.1.0~before")
        copy(TREE, f"{folder}/now/tree")
        build(f"{folder}/now/tree")
        for which in ("before", "now"):
            put_packages(host, which, f"{folder}/{which}")
    shutil.copyfile(IMAGE, host.upper("var/tmp/kernel"))
    os.chmod(host.upper("var/tmp/kernel"), 0o644)
    for name in ("ours", "hers"):
        with open(host.upper(f"var/tmp/{name}.xml"), "w") as out:
            out.write(guest_xml(name, "/var/tmp/kernel",
                                extra="<interface type='network'><source network='default'/></interface>"))


class Installed:
    """A box, and what is asked about it."""

    def __init__(self, host):
        self.host, self.run = host, host.run

    def packages(self, which, *names):
        return [self.run("sh", "-c", f"echo /srv/{which}/{name}_*.deb") for name in names]

    def units(self, *manager):
        """Lodge's units that are there, by any name; a link of a user's to one that has gone is the user's."""
        said = self.run(*manager, "systemctl", *(["--user"] if manager else []), "list-units", "--all", "--plain", "--no-legend",
                        "lodge*", "libvirtd*") + "\n" + \
            self.run(*manager, "systemctl", *(["--user"] if manager else []), "list-unit-files", "--no-legend", "lodge*",
                     "libvirtd*", status=None)
        return [line for line in said.splitlines() if re.match(r"(lodged|libvirtd)\S*\.(service|socket)", line)
                and "not-found" not in line]

    def as_user(self, *words):
        uid = self.run("id", "-u", USER)
        return ("runuser", "-u", USER, "--", "env", f"XDG_RUNTIME_DIR=/run/user/{uid}",
                f"DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/{uid}/bus", *words)

    def user(self, *words, status=0):
        return self.run(*self.as_user(*words), status=status)

    def start_time(self, pid):
        """Of a process: with its number it is one and no other."""
        return self.run("cat", f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[19]

    def programs(self):
        """Those of the packages that run, by the process."""
        said = self.run("sh", "-c", "for p in /proc/[0-9]*; do echo $p $(readlink $p/exe); done")
        return {int(m[1]): m[2] for m in re.finditer(r"/proc/(\d+) (\S*/lodge\S*)", said)}


@contextlib.contextmanager
def installed():
    """With the earlier packages, and two guests that run: the system's "ours" and a user's "hers"."""
    with box(prepare, debian_root()) as host:
        yield Installed(host)


def check_first(it):
    """Nothing is started by lodged's package alone; the first client starts it when its socket was."""
    it.run(*APT, "install", *it.packages("before", "lodge", "lodged"))
    assert it.run("systemctl", "is-active", "lodged.socket", status=3) == "inactive" and not it.programs()
    assert "libvirt:" in it.run("getent", "group", "libvirt")
    it.run("systemctl", "enable", "--now", *UNITS)
    assert it.run("stat", "-c", "%a %G", "/run/libvirt/libvirt-sock") == "660 libvirt"
    it.run("systemctl", "stop", "lodged.service")
    assert "Id" in it.run("virsh", "list", "--all") and it.run("virsh", "uri") == "qemu:///system"
    assert it.run("systemctl", "is-active", "lodged.service") == "active", "virsh has started it"
    assert it.run("lodge", "list", "--all").split()[0] == "Id"
    it.run("usermod", "-aG", "libvirt", USER)
    it.run("runuser", "-u", USER, "--", "virsh", "-c", "qemu:///system", "list")


def check_guests(it):
    it.run("virsh", "define", "/var/tmp/ours.xml")
    it.run("lodge", "start", "ours")
    it.run("loginctl", "enable-linger", USER)
    until("the user's manager is there",
          lambda: it.run(*it.as_user("systemctl", "--user", "is-system-running"), status=None) in ("running", "degraded"),
          PATIENCE)
    it.user("systemctl", "--user", "enable", "--now", "lodged.socket")
    it.user("lodge", "define", "/var/tmp/hers.xml")
    it.user("lodge", "start", "hers")
    assert it.user("lodge", "list", "--name") == "hers" and it.run("virsh", "list", "--name") == "ours"


def lives(it):
    """What must stay the same, and what must change, when the packages are upgraded."""
    uid = it.run("id", "-u", USER)
    hers = int(it.run("cat", f"/run/user/{uid}/lodge-session/guests/hers/lock").split()[1])
    guests = [(pid, it.start_time(pid)) for pid in (it.host.guest_pid("ours"), hers)]
    daemons = [it.host.main_pid(), int(it.user("systemctl", "--user", "show", "-P", "MainPID", "lodged.service"))]
    return guests, daemons


def check_compat(it):
    """It enables and starts lodged, by libvirt's names, too; and keeps what the administrator says of that."""
    it.run("systemctl", "disable", "--now", *UNITS)
    it.run(*APT, "purge", "lodge-libvirt-compat")
    it.run(*APT, "install", *it.packages("now", "lodge-libvirt-compat"))
    for unit in (*UNITS, "libvirtd.service", "libvirtd.socket"):
        assert it.run("systemctl", "is-active", unit) == "active", unit
    assert it.run("systemctl", "is-enabled", *UNITS).split() == ["enabled"] * 3
    it.run("systemctl", "disable", "lodged.service")
    it.run(*APT, "install", "--reinstall", *it.packages("now", "lodge-libvirt-compat"))
    assert it.run("systemctl", "is-enabled", "lodged.service", status=1) == "disabled"
    it.run("systemctl", "enable", "lodged.service")
    assert it.run("virsh", "domstate", "ours") == "running"


def check_upgrade(it, before, version):
    guests, daemons = lives(it)
    assert guests == before[0], "guests run on"
    assert 0 not in daemons and not set(daemons) & set(before[1]), "lodged is another one"
    for pid in daemons:
        assert it.programs()[pid] == "/usr/sbin/lodged", "the file that is there now"
    for name in NAMES:
        assert it.run("dpkg-query", "-Wf", "${Version} ${db:Status-Status}", name) == f"{version} installed", name
    assert it.run("virsh", "domstate", "ours") == it.user("virsh", "domstate", "hers") == "running"
    assert it.user("virsh", "uri") == "qemu:///session"
    assert it.run("lodge", "list", "--name") == "ours"
    assert it.run("virsh", "list", "--all", "--name").split() == ["ours"]
    return guests, daemons


def check_users_of_libvirt(it):
    it.run(*APT, "install", "libvirt-dbus", "cockpit-machines")
    assert it.run("dpkg-query", "-Wf", "${db:Status-Status}", "cockpit-machines") == "installed"
    assert "1" in it.run("busctl", "call", "org.libvirt", "/org/libvirt/QEMU", "org.libvirt.Connect", "ListDomains", "u", "0")
    assert "/org/libvirt/QEMU/domain/" in it.run("busctl", "call", "org.libvirt", "/org/libvirt/QEMU", "org.libvirt.Connect",
                                                 "DomainLookupByName", "s", "ours")
    said = it.run(*APT, "-s", "install", "libvirt-daemon-system")
    assert "Remv lodge-libvirt-compat" in said and "Inst libvirt-daemon-system" in said, said
    said = it.run("sh", "-c", "dpkg -i /var/cache/apt/archives/libvirt-daemon_*.deb", status=1)
    assert re.search("conflict", said) and it.run("systemctl", "is-active", "lodged.service") == "active", said


def check_ssh(it):
    """Unmodified virsh by ssh, to itself: it finds a helper of the name that libvirt's daemon has."""
    it.run("sh", "-c", "mkdir -p -m 700 /root/.ssh && ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519 && "
           "cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys && "
           "printf 'StrictHostKeyChecking no\\nLogLevel ERROR\\n' > /root/.ssh/config && systemctl start ssh.service")
    assert it.run("sh", "-c", "command -v nc || echo none") == "none", "the other way that virsh knows"
    for proxy in ("", "?proxy=native"):
        assert it.run("virsh", "-c", f"qemu+ssh://root@127.0.0.1/system{proxy}", "domstate", "ours") == "running"
    assert it.run("virsh", "-r", "-c", "qemu+ssh://root@127.0.0.1/system", "list", "--name") == "ours"
    said = it.run("virsh", "-r", "-c", "qemu+ssh://root@127.0.0.1/system", "destroy", "ours", status=1)
    assert "read only" in said, said
    assert it.run("lodge", "-c", "lodge+ssh://root@127.0.0.1/system", "list", "--name") == "ours"
    assert "one URI is wanted" in it.run("virt-ssh-helper", status=1)


def check_purge(it):
    """Guests run on until they have shut down; nothing else is left, but for guests' definitions."""
    (ours, hers), _ = lives(it)
    it.run(*APT, "purge", "lodge*", "liblodge0", "libvirt-dbus", "cockpit-machines")
    assert set(it.programs()) >= {ours[0], hers[0]}, it.programs()
    assert not [path for path in it.programs().values() if path.startswith("/usr/sbin/lodged")], it.programs()
    for pid, start in (ours, hers):
        assert it.start_time(pid) == start
        it.run("kill", str(pid))
    until("the guests have ended", lambda: not it.programs(), PATIENCE)
    left = [*it.units(), *it.units(*it.as_user())]
    for places in ("/run -name '*libvirt-sock*'", f"/home/{USER}/.config -name '*lodge*' -xtype f",
                   "/etc /lib/systemd /usr/lib /usr/share -name '*lodge*'"):
        left += it.run("sh", "-c", f"find {places}", status=None).splitlines()
    left += it.run("systemctl", "list-units", "--failed", "--plain", "--no-legend", "lodge*", "libvirt*").splitlines()
    assert left == [], left
    assert it.run("sh", "-c", "ls /var/lib/lodge/domains").endswith(".xml"), "they are their owner's to delete"


def test_install_upgrade_and_purge():
    with installed() as it:
        check_first(it)
        check_guests(it)
        first = lives(it)
        it.run(*APT, "install", *it.packages("now", *NAMES))
        version = run("dpkg-parsechangelog", "-l", f"{TREE}/debian/changelog", "-S", "Version").strip()
        second = check_upgrade(it, first, version)
        it.run(*APT, "install", "--reinstall", *it.packages("now", *NAMES))
        check_upgrade(it, second, version)
        check_compat(it)
        check_ssh(it)
        check_users_of_libvirt(it)
        check_purge(it)


tap.main(globals())
