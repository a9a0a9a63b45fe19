# SPDX-License-Identifier: GPL-2.0-or-later
"""The Debian packages: they are built from a copy of the tree, looked into and judged by lintian; a program is
compiled with what is in them; and apt says what it would do with them. Nothing is installed here.

    test_packages.py TREE
"""
import glob
import re
import shutil
import sys
import tempfile

import tap
from debs import build, copy, run

TREE = sys.argv[1]
NAMES = ("lodge", "lodged", "lodge-libvirt-compat", "liblodge0", "liblodge-dev")
built = None


def packages():
    """The folder with the packages, which are built once."""
    global built
    if not built:
        built = tempfile.TemporaryDirectory(prefix="lodge-packages-")
        copy(TREE, f"{built.name}/tree")
        build(f"{built.name}/tree")
    return built.name


def package(name):
    found = glob.glob(f"{packages()}/{name}_*.deb")
    assert len(found) == 1, found
    return found[0]


def files(name):
    return {line.split()[5][1:] for line in run("dpkg-deb", "-c", package(name)).splitlines() if line[0] != "d"}


def field(name, what):
    return run("dpkg-deb", "-f", package(name), what).strip()


def script(name, what):
    return run("sh", "-c", f"dpkg-deb --ctrl-tarfile {package(name)} | tar -xO ./{what}")


def test_what_is_in_them():
    multiarch = run("dpkg-architecture", "-qDEB_HOST_MULTIARCH").strip()
    wanted = {
        "lodge": {"/usr/bin/lodge", "/usr/libexec/lodge/lodge-vmm", "/usr/libexec/lodge/lodge-net",
                  "/usr/bin/lodge-img", "/usr/libexec/lodge/lodge-img",
                  "/usr/share/man/man1/lodge.1.gz", "/usr/share/bash-completion/completions/lodge"},
        "lodged": {"/usr/sbin/lodged", "/lib/systemd/system/lodged.service", "/lib/systemd/system/lodged.socket",
                   "/lib/systemd/system/lodged-ro.socket", "/usr/lib/systemd/user/lodged.service",
                   "/usr/lib/systemd/user/lodged.socket", "/usr/share/man/man8/lodged.8.gz",
                   "/usr/share/man/man5/lodged.conf.5.gz", "/etc/lodge/lodged.conf"},
        "lodge-libvirt-compat": {"/lib/systemd/system/libvirtd.service", "/lib/systemd/system/libvirtd.socket",
                                 "/usr/bin/virt-ssh-helper"},
        "liblodge0": {f"/usr/lib/{multiarch}/liblodge.so.0"},
        "liblodge-dev": {"/usr/include/lodge/lodge.h", f"/usr/lib/{multiarch}/pkgconfig/lodge.pc",
                         f"/usr/lib/{multiarch}/liblodge.so"},
    }
    for name, paths in wanted.items():
        assert paths <= files(name), (name, paths - files(name))
    assert script("lodged", "conffiles").split() == ["/etc/lodge/lodged.conf"], "an upgrade keeps what was changed there"
    everything = [path for name in NAMES for path in files(name)]
    assert len(everything) == len(set(everything)), "a file in two packages"


def test_how_they_belong_together():
    assert f"lodge (= {field('lodged', 'Version')})" in field("lodged", "Depends")
    assert "libvirt-daemon-system" in field("lodge-libvirt-compat", "Provides")
    assert "libvirt-daemon-system" in field("lodge-libvirt-compat", "Conflicts")
    for name in ("lodge", "lodged", "liblodge0"):
        assert "libvirt" not in field(name, "Conflicts") and "libglib2.0-0" in field(name, "Depends")


def test_the_service():
    with tempfile.TemporaryDirectory() as root:
        run("dpkg-deb", "-x", package("lodged"), root)
        with open(f"{root}/lib/systemd/system/lodged.service") as unit:
            assert "\nExecStart=/usr/sbin/lodged --system\n" in unit.read()
        assert "lodged 0." in run(f"{root}/usr/sbin/lodged", "--version")
        if shutil.which("systemd-analyze"):
            shutil.copytree(f"{root}/lib/systemd/system", f"{root}/units")
            with open(f"{root}/units/lodged.service") as unit:
                text = unit.read().replace("/usr/sbin", f"{root}/usr/sbin")
            text = re.sub("^Documentation=.*\n", "", text, flags=re.M)
            with open(f"{root}/units/lodged.service", "w") as unit:
                unit.write(text)
            said = run("systemd-analyze", "verify", "--man=no", f"{root}/units/lodged.service",
                       SYSTEMD_UNIT_PATH=f"{root}/units:")
            assert "lodged" not in said, said
    after = script("lodged", "postinst")
    assert "addgroup --quiet --system libvirt" in after
    assert re.search("deb-systemd-invoke try-restart .*'lodged.service'", after), "an upgrade restarts what runs"
    assert not re.search(r"deb-systemd-invoke (start|restart)|_dh_action", after), "and no more"
    assert " preinst " not in run("dpkg-deb", "-I", package("lodged")), "it runs until then"
    compat = script("lodge-libvirt-compat", "postinst")
    assert "deb-systemd-invoke start lodged.socket" in compat


def test_a_program_with_the_library():
    with tempfile.TemporaryDirectory() as root:
        for name in ("liblodge0", "liblodge-dev"):
            run("dpkg-deb", "-x", package(name), root)
        multiarch = run("dpkg-architecture", "-qDEB_HOST_MULTIARCH").strip()
        flags = run("pkg-config", "--cflags", "--libs", "lodge", PKG_CONFIG_SYSROOT_DIR=root,
                    PKG_CONFIG_PATH=f"{root}/usr/lib/{multiarch}/pkgconfig").split()
        run("gcc", "-Wall", "-Werror", "-o", f"{root}/watch", f"{root}/usr/share/doc/liblodge-dev/examples/watch.c",
            *[flag for flag in flags])
        said = run(f"{root}/watch", f"qemu+unix:///system?socket={root}/none", status=None,
                   LD_LIBRARY_PATH=f"{root}/usr/lib/{multiarch}")
        assert root in said, said


def test_lintian():
    if not shutil.which("lintian"):
        raise tap.Skip("there is no lintian")
    # it leaves files in its TMPDIR
    said = run("nice", "env", f"TMPDIR={packages()}", "lintian", "--allow-root", "--fail-on", "error,warning", "--profile", "debian",
               "--suppress-tags", "initial-upload-closes-no-bugs,unknown-field", *map(package, NAMES), status=None)
    bad = [line for line in said.splitlines() if line.startswith(("E:", "W:"))]
    assert not bad, bad


def test_what_apt_would_do():
    local = [package(name) for name in NAMES]
    said = run("apt-get", "-s", "-y", "--no-install-recommends", "install", *local, "libvirt-dbus", "cockpit-machines",
               status=None)
    if "Unable to locate package" in said or "has no installation candidate" in said:
        raise tap.Skip("apt knows no cockpit-machines")
    for name in (*NAMES, "libvirt-dbus", "cockpit-machines"):
        assert re.search(rf"^Inst {name} |^{name} is already", said, re.M) or shutil.which("dpkg") and \
            "install ok" in run("dpkg-query", "-Wf", "${Status}", name, status=None), (name, said)
    assert not re.search(r"^Inst libvirt-daemon(-system)? ", said, re.M), said


tap.main(globals())
