# SPDX-License-Identifier: GPL-2.0-or-later
"""Storage pools that are mounted, by an unmodified virsh: a disk of this test's own, in a mount namespace, and what
mount(8) is asked for where there is no server.

    test_lodged_mount.py LODGED
"""
import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys

import tap
from lodged import lodged, rows

LODGED = sys.argv[1]
CLONE_NEWNS = 0x20000
GROUP, GID, ANNE = "games", 60, 54321


def need_root():
    if os.geteuid():
        raise tap.Skip("only root mounts")


def own_mounts():
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) or subprocess.run(
            ["mount", "--make-rprivate", "/"], capture_output=True).returncode:
        raise tap.Skip("there are no mount namespaces here")


@contextlib.contextmanager
def disk(folder):
    """A block device with an empty ext4."""
    image = f"{folder}/disk.img"
    with open(image, "wb") as out:
        out.truncate(8 << 20)
    for tool in (["mkfs.ext4", "-q", image], ["losetup", "-f", "--show", image]):
        try:
            done = subprocess.run(tool, capture_output=True, text=True)
        except FileNotFoundError:
            raise tap.Skip(f"there is no {tool[0]}")
        if done.returncode:
            raise tap.Skip(f"{tool[0]}: {done.stderr.strip()}")
    device = done.stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["umount", "-A", device], capture_output=True)
        subprocess.run(["losetup", "-d", device], check=True)


def mounted(folder):
    with open("/proc/self/mounts") as lines:
        return [line.split()[0] for line in lines if line.split()[1] == folder]


def test_a_disk():
    need_root()
    own_mounts()
    with lodged(LODGED) as daemon, disk(daemon.root) as device:
        folder, other = f"{daemon.root}/a folder", f"{daemon.root}/other"
        daemon.virsh("pool-define-as", "p", "fs", "--source-dev", device, "--target", folder)
        assert "cannot" in daemon.virsh("pool-start", "p", status=1) or "not exist" in daemon.virsh("pool-start", "p", status=1)
        daemon.virsh("pool-build", "p")
        assert os.listdir(folder) == []
        daemon.virsh("pool-start", "p")
        escaped = folder.replace(" ", "\\040")
        assert mounted(escaped) == [device]
        with open("/proc/self/mounts") as lines:
            options = next(line.split()[3].split(",") for line in lines if escaped in line)
        assert {"nodev", "nosuid", "noexec"} <= set(options), options
        daemon.virsh("vol-create-as", "p", "v", "1M")
        assert os.path.getsize(f"{folder}/v") == 1 << 20
        capacity = int(re.search(r"<capacity unit='bytes'>(\d+)", daemon.virsh("pool-dumpxml", "p")).group(1))
        assert capacity < 8 << 20, "the disk's, not the host's"
        assert rows(daemon.virsh("pool-list", "--type", "fs"))[0][0] == "p"
        assert not rows(daemon.virsh("pool-list", "--type", "dir,netfs"))
        assert "already active" in daemon.virsh("pool-start", "p", status=1) and mounted(escaped) == [device]
        for number in (signal.SIGTERM, signal.SIGKILL):
            daemon.restart(number)
            assert "v" in daemon.virsh("vol-list", "p") and mounted(escaped) == [device], "mounted once"
        with open(f"{folder}/v"):  # in use
            assert "busy" in daemon.virsh("pool-destroy", "p", status=1)
            assert "v" in daemon.virsh("vol-list", "p") and mounted(escaped) == [device]
        daemon.virsh("pool-destroy", "p")
        assert not mounted(escaped) and os.listdir(folder) == []
        # and what is in the way
        os.mkdir(other)
        daemon.virsh("pool-define-as", "q", "fs", "--source-dev", device, "--target", other, "--source-format", "xfs")
        assert "operation failed: mount" in daemon.virsh("pool-start", "q", status=1) and not mounted(other)
        subprocess.run(["mount", "-t", "tmpfs", "mine", other], check=True)
        assert "mine is mounted on" in daemon.virsh("pool-start", "q", status=1) and mounted(other) == ["mine"]
        subprocess.run(["umount", other], check=True)


def test_servers_by_their_names():
    """A mount(8) of this test's own says what it was asked for."""
    need_root()
    with lodged(LODGED) as daemon:
        folder = f"{daemon.root}/folder"
        os.mkdir(folder)
        os.mkdir(f"{daemon.root}/bin")
        with open(f"{daemon.root}/bin/mount", "w") as script:
            script.write("#!/bin/sh\necho \"no server for $*\" >&2\nexit 32\n")
        os.chmod(f"{daemon.root}/bin/mount", 0o755)
        daemon.end()
        before = os.environ["PATH"]
        os.environ["PATH"] = f"{daemon.root}/bin:{before}"
        try:
            daemon.start()
        finally:
            os.environ["PATH"] = before
        for form, source in (("nfs", "far:/export"), ("auto", "far:/export"), ("cifs", "//far/export"), ("glusterfs", "far:/export")):
            daemon.virsh("pool-define-as", "n", "netfs", "--source-host", "far", "--source-path", "/export", "--source-format",
                         form, "--target", folder)
            said = daemon.virsh("pool-start", "n", status=1)
            asked = f"-t {'nfs' if form == 'auto' else form} -o nodev,nosuid,noexec -- {source} {folder}"
            assert f"operation failed: mount: no server for {asked}" in said, said
            assert rows(daemon.virsh("pool-list", "--all", "--type", "netfs"))[0][:2] == ["n", "inactive"]
            daemon.virsh("pool-undefine", "n")
        for words, message in ((["netfs", "--source-host", "-o", "--source-path", "/x"], "needs the <host"),
                               (["netfs", "--source-host", "a b", "--source-path", "/x"], "needs the <host"),
                               (["netfs", "--source-host", "far"], "needs the <host"), (["fs"], "needs the <device"),
                               (["fs", "--source-dev", "sdb"], "needs the <device"),
                               (["fs", "--source-dev", "/dev/sdb", "--source-format", "proc"], "none that is mounted"),
                               (["logical", "--source-name", "vg"], "only storage pools of type")):
            said = daemon.virsh("pool-define-as", "n", *words, "--target", folder, status=1)
            assert message in said, (words, said)


def test_members_mount_nothing():
    need_root()
    with lodged(LODGED, "--group", GROUP) as daemon:
        os.chmod(daemon.root, 0o755)
        folder = f"{daemon.root}/folder"
        os.mkdir(folder)
        os.chown(folder, ANNE, ANNE)

        def virsh(*words):
            return subprocess.run(["virsh", "-c", daemon.uri(), *words], capture_output=True, text=True, cwd="/", user=ANNE,
                                  group=ANNE, extra_groups=[GID], env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"})

        assert virsh("pool-define-as", "p", "fs", "--source-dev", "/dev/null", "--target", folder).returncode == 0
        for done in (virsh("pool-start", "p"), subprocess.run(["virsh", "-c", daemon.uri(), "pool-start", "p"],
                                                             capture_output=True, text=True)):
            assert done.returncode == 1 and "mounting is for root" in done.stderr, done
        assert not mounted(folder)


tap.main(globals())
