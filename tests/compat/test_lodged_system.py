# SPDX-License-Identifier: GPL-2.0-or-later
"""lodged where libvirt's clients look without being told: --system and --session, in a mount namespace of this
test's own, so that the host's places stay as they are.

    test_lodged_system.py LODGED BUTTON-IMAGE
"""
import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile

import tap
from lodged import WAIT, guest_xml, until

LODGED, IMAGE = sys.argv[1:]
CLONE_NEWNS = 0x20000
GID, ANNE, BERT = 54300, 54321, 54322  # Bert is in no group
PLACES = ("/var/lib/lodge", "/var/log/lodge", "/var/cache/lodge", "/run/lodge", "/run/libvirt")


def mount(*words):
    done = subprocess.run(["mount", *words], capture_output=True, text=True)
    if done.returncode:
        raise tap.Skip(f"nothing can be mounted here: {done.stderr.strip()}")


@contextlib.contextmanager
def throw_away():
    """A folder that goes, in a namespace where /run, /var/log and /var/cache are empty and /var/lib has what
    tools need, and where there are a group lodge and a user anne."""
    if os.geteuid():
        raise tap.Skip("only root has mount namespaces for sure")
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise tap.Skip("there are no mount namespaces here")
    mount("--make-rprivate", "/")
    with tempfile.TemporaryDirectory(prefix="lodged-system-") as root:
        os.chmod(root, 0o755)
        os.mkdir(f"{root}/lib")
        mount("--bind", "/var/lib", f"{root}/lib")
        for place in ("/run", "/var/log", "/var/cache", "/var/lib"):
            mount("-t", "tmpfs", "-o", "mode=755", "lodged", place)
        for name in ("usbutils", "misc"):  # tools' lists of devices are links to there
            if os.path.isdir(f"{root}/lib/{name}"):
                os.mkdir(f"/var/lib/{name}")
                mount("--bind", f"{root}/lib/{name}", f"/var/lib/{name}")
        subprocess.run(["umount", f"{root}/lib"], check=True)
        with open("/etc/group") as groups, open(f"{root}/group", "w") as out:
            out.write(re.sub(r"^(libvirt|lodge):.*\n", "", groups.read(), flags=re.M) + f"lodge:x:{GID}:\n")
        with open("/etc/passwd") as users, open(f"{root}/passwd", "w") as out:
            out.write(users.read() + f"anne:x:{ANNE}:{ANNE}:::/bin/sh\n")
        mount("--bind", f"{root}/group", "/etc/group")
        mount("--bind", f"{root}/passwd", "/etc/passwd")
        shutil.copyfile(IMAGE, f"{root}/kernel")
        os.chmod(f"{root}/kernel", 0o644)
        try:
            yield root
        finally:
            for place in ("/etc/group", "/etc/passwd", "/var/lib/usbutils", "/var/lib/misc", "/var/lib", "/var/cache", "/var/log", "/run"):
                subprocess.run(["umount", "-l", place], capture_output=True)


def environment(root, user):
    home = f"{root}/home{user}"
    if not os.path.exists(home):
        for path in (home, f"{home}/run"):
            os.mkdir(path, 0o700)
            os.chown(path, user, user)
    return {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": home, "XDG_RUNTIME_DIR": f"{home}/run",
            "LIBVIRT_AUTOSTART": "0"}


def run(root, user, *words, status=0, members=()):
    if not shutil.which(words[0]):
        raise tap.Skip(f"there is no {words[0]}")
    done = subprocess.run(words, capture_output=True, text=True, timeout=WAIT, env=environment(root, user), cwd="/",
                          stdin=subprocess.DEVNULL, user=user, group=user, extra_groups=list(members))
    assert done.returncode == status, (words, done)
    return (done.stdout + done.stderr).strip()


@contextlib.contextmanager
def served(root, user, *options):
    """A lodged that USER has started, and the guests it started with it."""
    with open(f"{root}/log{user}", "a+") as log:
        daemon = subprocess.Popen([LODGED, *options], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                                  env=environment(root, user), user=user, group=user)
        try:
            def listens():
                assert daemon.poll() is None, open(log.name).read()
                return "serves" in open(log.name).read()

            until("it listens", listens)
            yield daemon
        finally:
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(WAIT) == 0


def guest(root):
    path = f"{root}/guest.xml"
    with open(path, "w") as out:
        out.write(guest_xml("g", f"{root}/kernel"))
    os.chmod(path, 0o644)
    return path


def test_system():
    with throw_away() as root, served(root, 0, "--system"):
        assert run(root, 0, "virsh", "uri") == "qemu:///system"
        run(root, 0, "virsh", "define", guest(root))
        run(root, 0, "virsh", "start", "g")
        assert run(root, 0, "virsh", "list", "--name") == "g"
        st = os.stat("/run/libvirt/libvirt-sock")
        assert stat.S_IMODE(st.st_mode) == 0o660 and st.st_gid == GID, "the group lodge, as there is no libvirt"
        assert run(root, ANNE, "virsh", "-c", "qemu:///system", "list", "--name", members=(GID,)) == "g"
        assert run(root, BERT, "virsh", "-r", "-c", "qemu:///system", "list", "--name") == "g"
        assert "Permission denied" in run(root, BERT, "virsh", "-c", "qemu:///system", "list", status=1)
        run(root, ANNE, "virsh", "-c", "qemu:///system", "destroy", "g", members=(GID,))
        run(root, 0, "virsh", "undefine", "g")
        said = run(root, 0, "virt-install", "--name", "vi", "--memory", "32", "--disk", "none", "--import", "--boot",
                   f"kernel={root}/kernel", "--osinfo", "linux2022", "--noautoconsole")
        assert "Domain creation completed" in said, said
        assert "<source network='default'/>" in run(root, 0, "virsh", "dumpxml", "vi"), "what people get by default"
        run(root, 0, "virsh", "destroy", "vi")
        for place in PLACES:
            assert os.path.isdir(place), place
        done = subprocess.run([LODGED, "--system"], capture_output=True, text=True, timeout=WAIT)
        assert done.returncode == 1 and "another lodged" in done.stderr, done


@contextlib.contextmanager
def settings_of_system(root, text):
    """They are in a copy of /etc, in place of the host's."""
    subprocess.run(["cp", "-a", "/etc", f"{root}/etc"], check=True)
    os.makedirs(f"{root}/etc/lodge", exist_ok=True)
    with open(f"{root}/etc/lodge/lodged.conf", "w") as out:
        out.write(text)
    mount("--bind", f"{root}/etc", "/etc")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", "/etc"], check=True)


def test_settings_of_the_system():
    with throw_away() as root, settings_of_system(root, "socket-mode = 0666\nsocket-ro-mode = 0600\n"), \
            served(root, 0, "--system"):
        st = os.stat("/run/libvirt/libvirt-sock")
        assert stat.S_IMODE(st.st_mode) == 0o666 and st.st_gid == GID
        assert run(root, ANNE, "virsh", "-c", "qemu:///system", "list", "--name", members=(GID,)) == ""
        with socket.socket(socket.AF_UNIX) as knocking:  # the mode lets him knock
            os.seteuid(BERT)
            try:
                knocking.connect("/run/libvirt/libvirt-sock")
            finally:
                os.seteuid(0)
            assert knocking.recv(1) == b"", "lodged does not let him in"
        said = run(root, BERT, "virsh", "-r", "-c", "qemu:///system", "list", status=1)
        assert "Permission denied" in said, said


def test_session():
    with throw_away() as root, served(root, ANNE, "--session"):
        assert run(root, ANNE, "virsh", "uri") == "qemu:///session"
        assert run(root, ANNE, "env", "-u", "LIBVIRT_AUTOSTART", "virsh", "uri") == "qemu:///session", "as people have it"
        run(root, ANNE, "virsh", "define", guest(root))
        run(root, ANNE, "virsh", "start", "g")
        assert run(root, ANNE, "virsh", "list", "--name") == "g"
        assert "failed to connect" in run(root, BERT, "virsh", "list", status=1)
        run(root, ANNE, "virsh", "destroy", "g")
        found = {os.path.join(top, name) for top, _, names in os.walk(f"{root}/home{ANNE}") for name in names}
        assert all(os.stat(path).st_uid == ANNE for path in found if os.path.exists(path)), found
        assert not any(os.path.exists(place) for place in PLACES), "a user's lodged in the system's places"


def test_libvirt_dbus():
    for tool in ("/usr/sbin/libvirt-dbus", "dbus-run-session", "gdbus"):
        if not shutil.which(tool):
            raise tap.Skip(f"there is no {tool} (packages libvirt-dbus, dbus-daemon, libglib2.0-bin)")
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "libvirt_dbus.sh")
    with throw_away() as root, served(root, ANNE, "--session"):
        shutil.copyfile(script, f"{root}/script")
        os.chmod(f"{root}/script", 0o755)
        said = run(root, ANNE, "dbus-run-session", "--", f"{root}/script", guest(root))
        answers = [line.split(" ", 1) for line in said.splitlines() if re.match(r"\w+ [({]", line)]
        assert [name for name, _ in answers] == [
            "DomainDefineXML", "ListDomains", "Create", "GetState", "GetStats", "properties", "ListNetworks",
            "NodeGetCPUStats", "GetCapabilities", "Destroy", "Undefine", "ListDomains"], said
        found = [answer for _, answer in answers]
        assert found[1].count("/org/libvirt/QEMU/domain/") == 1 and found[3] == "((1, 1),)", found
        assert "'balloon.maximum': <<uint64 16384>>" in found[4] and "'Name': <<'g'>>" in found[5], found
        assert found[6].count("/network/") == 1 and "'idle': " in found[7] and "lodge-q35" in said, found
        assert found[11] == "(@ao [],)", found


def test_libvirts_own_socket_is_not_taken():
    with throw_away() as root:
        os.mkdir("/run/libvirt")
        with open("/run/libvirt/virtqemud-sock", "w"):
            pass
        done = subprocess.run([LODGED, "--system"], capture_output=True, text=True, timeout=WAIT)
        assert done.returncode == 1 and "clients would go to it" in done.stderr, done
        assert not os.path.exists("/run/libvirt/libvirt-sock")


tap.main(globals())
