# SPDX-License-Identifier: GPL-2.0-or-later
"""Cockpit's page of virtual machines, unmodified, over the packages as they are installed, in a browser: a member of
the group logs in, sees a guest, its console, its network, the storage pool, starts and stops the guest and deletes it.

    test_cockpit.py TREE BUTTON-IMAGE LOGS

Pictures of each step are kept for people to look at: in LOGS/cockpit, or in the folder that LODGE_PICTURES names.
"""
import glob
import os
import shutil
import subprocess
import sys
import tempfile

import tap
from box import PATIENCE, box, debian_root
from debs import APT, build, copy
from lodged import guest_xml

TREE, IMAGE, LOGS = sys.argv[1:]
NAMES = ("lodge", "lodged", "lodge-libvirt-compat", "liblodge0")
STEPS = ["list", "guest", "off", "on", "forced", "pools", "networks", "deleted"]
USER = "anne"
SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "cockpit_script.py")


def prepare(host):
    with tempfile.TemporaryDirectory(prefix="lodge-packages-") as folder:
        copy(TREE, f"{folder}/tree")
        build(f"{folder}/tree")
        for name in NAMES:
            for package in glob.glob(f"{folder}/{name}_*.deb"):
                shutil.copy(package, host.upper(f"srv/{os.path.basename(package)}"))
    shutil.copyfile(IMAGE, host.upper("var/tmp/kernel"))
    os.chmod(host.upper("var/tmp/kernel"), 0o644)
    with open(host.upper("var/tmp/ours.xml"), "w") as out:
        out.write(guest_xml("ours", "/var/tmp/kernel", extra="<interface type='network'><source network='default'/></interface>"))
    with open(host.upper("etc/cockpit/cockpit.conf"), "w") as out:
        out.write("[WebService]\nAllowUnencrypted=true\n")


def install(host):
    host.run("sh", "-c", " ".join((*APT, "install", "/srv/*.deb")))
    host.run(*APT, "install", "cockpit-ws", "cockpit-system", "cockpit-machines", "virtinst", "python3-gi",
             "gir1.2-libosinfo-1.0", "osinfo-db", "udev")
    host.run("sh", "-c", f"echo {USER}:{USER} | chpasswd && usermod -aG libvirt {USER} && systemctl start cockpit.socket")
    for words in (["define", "/var/tmp/ours.xml"], ["start", "ours"],
                  ["pool-define-as", "default", "dir", "--target", "/var/lib/libvirt/images"], ["pool-build", "default"],
                  ["pool-start", "default"], ["vol-create-as", "default", "volume", "1M"]):
        host.run("virsh", *words)


def use(host, pictures):
    """In a process namespace of its own: whatever ends it, no browser is left."""
    done = subprocess.run(["nsenter", "-t", str(host.init), "-n", "unshare", "-m", "-p", "-f", "--kill-child", "--mount-proc",
                           sys.executable, SCRIPT, USER, USER, "ours", "default", "volume", pictures],
                          env=dict(os.environ, HOME=host.root), capture_output=True, text=True, timeout=4 * PATIENCE)
    return [line[6:] for line in done.stdout.splitlines() if line.startswith("done: ")], done


def test_machines():
    for tool in ("chromium", "chromedriver"):
        if not shutil.which(tool):
            raise tap.Skip(f"there is no {tool}: sh tools/deps.sh slow")
    with box(prepare, debian_root()) as host:
        pictures = os.environ.get("LODGE_PICTURES") or f"{LOGS}/cockpit"
        os.makedirs(pictures, exist_ok=True)
        for old in glob.glob(f"{pictures}/*.png"):
            os.unlink(old)
        install(host)
        steps, done = use(host, pictures)
        assert steps == STEPS and not done.returncode, (done.stdout, done.stderr, host.journal()[-4000:])
        assert host.run("virsh", "list", "--all", "--name") == ""


tap.main(globals())
