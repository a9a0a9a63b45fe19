# SPDX-License-Identifier: GPL-2.0-or-later
"""Open files that clients hand to guests: what a guest gets of them, what is refused, and that lodged keeps none. Python's
library does the same in test_python_libvirt.py; how they pass is in unit/test-rpc-files.c.

    test_lodged_files.py LODGED BUTTON-IMAGE LODGE
"""
import contextlib
import glob
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys

import rpc
import tap
from lodged import WAIT, guest_xml, lodged, until

LODGED, IMAGE, LODGE = sys.argv[1:]
INVALID, DENIED, NO_SUPPORT, FAILED, SYSTEM, BUSY = 8, 29, 3, 9, 38, 87
NOWHERE = "/nowhere/disk.img"


def disk(group, more="", path=NOWHERE):
    return (f"<disk type='file'><driver name='qemu' type='raw'/><source file='{path}' fdgroup='{group}'/>"
            f"<target dev='vda' bus='virtio'/>{more}</disk>")


@contextlib.contextmanager
def opened(path, flags=os.O_RDWR, size=1 << 20):
    if not os.path.exists(path):
        with open(path, "wb") as out:
            out.truncate(size)
    fd = os.open(path, flags)
    try:
        yield fd
    finally:
        os.close(fd)


def count(daemon):
    return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))


def settled(daemon):
    """The same, when nothing is being written and no other client is there any more."""
    seen = []
    until("it is settled", lambda: seen.append(count(daemon)) or len(seen) > 20 and len(set(seen[-20:])) == 1)
    return seen[-1]


def held(pid, path):
    """How a process has the file open: the access modes."""
    wanted, found = os.stat(path), []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        st = os.stat(f"/proc/{pid}/fd/{fd}")
        if (st.st_dev, st.st_ino) == (wanted.st_dev, wanted.st_ino):
            with open(f"/proc/{pid}/fdinfo/{fd}") as info:
                found.append(int(re.search(r"flags:\s*(\d+)", info.read()).group(1), 8) & os.O_ACCMODE)
    return found


def define(client, name, extra):
    return client.call("domain_define_xml", xml=guest_xml(name, IMAGE, extra))["dom"]


def associate(client, dom, *fds, name="image", **options):
    return client.call_with_files("domain_fd_associate", fds, dom=dom, name=name, **options)


def start(client, dom):
    client.call("domain_create_with_flags", dom=dom)


def test_a_disk_that_was_passed():
    with lodged(LODGED) as daemon, daemon.client() as client, opened(f"{daemon.root}/d.img") as fd:
        guest = define(client, "g", disk("image"))
        associate(client, guest, fd)
        start(client, guest)
        assert held(daemon.pid("g"), f"{daemon.root}/d.img") == [os.O_RDWR]
        assert f"<source file='{NOWHERE}' fdgroup='image'/>" in daemon.virsh("dumpxml", "g")
        # its size is that of what was passed, whatever the path says
        assert client.call("domain_get_block_info", dom=guest, path="vda")["capacity"] == 1 << 20
        # the guest has it beyond the group, and lodged finds it again
        daemon.restart()
        with daemon.client() as again:
            assert daemon.state("g").startswith("running") and held(daemon.pid("g"), f"{daemon.root}/d.img") == [os.O_RDWR]
            assert "taken back" in rpc.refused(84, again.call, "domain_get_block_info", dom=guest, path="vda")
            again.call("domain_destroy", dom=guest)
            assert "was not associated" in rpc.refused(INVALID, start, again, guest)


def test_what_a_disk_can_be():
    with lodged(LODGED) as daemon, daemon.client() as client:
        path = f"{daemon.root}/d.img"
        writes, reads = define(client, "w", disk("image")), define(client, "r", disk("image", "<readonly/>"))
        with opened(path) as both, opened(path, os.O_RDONLY) as only_read, opened(path, os.O_WRONLY) as only_write, \
                opened(path, os.O_RDWR | os.O_APPEND) as append, opened(path, os.O_PATH) as name_only:
            refusals = (((only_read,), "no descriptor of the group 'image' is open for reading and writing"),
                        ((only_write,), "is open for reading and writing"), ((name_only,), "is open for reading and writing"),
                        ((append,), "it can only be appended to"))
            for fds, text in refusals:
                associate(client, writes, *fds)
                assert text in rpc.refused(SYSTEM, start, client, writes), text
            associate(client, writes, only_write, only_read, both)  # one that fits is enough
            start(client, writes)
            client.call("domain_destroy", dom=writes)
            for fds in ((both,), (both, only_read), (only_read,)):  # never more than it needs
                associate(client, reads, *fds)
                start(client, reads)
                assert held(daemon.pid("r"), path) == [os.O_RDONLY]
                client.call("domain_destroy", dom=reads)
        read_end, write_end = os.pipe()
        one, two = socket.socketpair()
        no_files = [read_end, one.fileno(), os.open(daemon.root, os.O_RDONLY), os.open("/dev/null", os.O_RDWR)]
        for fd in no_files:
            associate(client, reads, fd)
            assert "it is no file or block device" in rpc.refused(SYSTEM, start, client, reads)
        for path in ("/proc/self/mounts", "/sys/kernel/uevent_seqnum", "/sys/fs/cgroup/cgroup.procs"):
            if not os.path.exists(path):
                continue
            with opened(path, os.O_RDONLY) as fd:
                associate(client, reads, fd)
                assert "it is the kernel's, and no disk" in rpc.refused(SYSTEM, start, client, reads), path
        for fd in no_files[2:] + [read_end, write_end]:
            os.close(fd)
        one.close(), two.close()
        memory = os.memfd_create("disk")
        os.truncate(memory, 1 << 20)
        associate(client, writes, memory)
        os.close(memory)
        start(client, writes)
        assert client.call("domain_get_block_info", dom=writes, path="vda")["capacity"] == 1 << 20


def test_nobody_else_writes_it():
    with lodged(LODGED) as daemon, daemon.client() as client, opened(f"{daemon.root}/d.img") as fd:
        one, two = define(client, "one", disk("image")), define(client, "two", disk("image"))
        three = define(client, "three", f"<disk type='file'><source file='{daemon.root}/d.img'/>"
                                        "<target dev='vda' bus='virtio'/></disk>")
        associate(client, one, fd)
        associate(client, two, fd)  # the very same
        start(client, one)
        for other in (two, three):
            assert "in use" in rpc.refused(BUSY, start, client, other)
        client.call("domain_destroy", dom=one)
        start(client, three)
        assert "in use" in rpc.refused(BUSY, start, client, two)
        client.call("domain_destroy", dom=three)
        start(client, two)


def test_without_the_right_to_open_it():
    """A lodged of nobody's: what it cannot open by any path it is handed, and takes once."""
    if os.geteuid():
        raise tap.Skip("only root opens files for others")
    with lodged(LODGED) as daemon:
        root = f"{daemon.root}/nobodys"
        os.chmod(daemon.root, 0o755)
        os.mkdir(root)
        os.chown(root, 65534, 65534)
        process = subprocess.Popen([LODGED, "--root", root], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                   user=65534, group=65534, extra_groups=[])
        try:
            until("it listens", lambda: os.path.exists(f"{root}/run/lodged-sock") or process.poll() is not None)
            if process.poll() is not None:
                raise tap.Skip(f"nobody cannot run it here: {process.stderr.read()}")
            kernel = f"{daemon.root}/kernel"
            shutil.copy(IMAGE, kernel)
            os.chmod(kernel, 0o644)
            with rpc.Client(f"{root}/run/lodged-sock") as client, opened(f"{daemon.root}/d.img") as fd:
                os.chmod(f"{daemon.root}/d.img", 0o600)
                xml = guest_xml("g", kernel, disk("image"))
                guest = client.call("domain_define_xml", xml=xml)["dom"]
                other = client.call("domain_define_xml", xml=xml.replace("<name>g<", "<name>h<"))["dom"]
                associate(client, guest, fd)
                associate(client, other, fd)
                start(client, guest)
                assert "it is locked" in rpc.refused(SYSTEM, start, client, other)
                client.call("domain_destroy", dom=guest)
        finally:
            process.terminate()
            process.wait(WAIT)
            process.stderr.close()
            for lock in glob.glob(f"{root}/run/guests/*/lock"):  # if it went wrong
                with contextlib.suppress(OSError, IndexError, ValueError), open(lock) as text:
                    os.kill(int(text.read().split()[1]), signal.SIGKILL)


def test_nothing_is_left_open():
    with lodged(LODGED) as daemon, daemon.client() as client, opened(f"{daemon.root}/d.img") as fd:
        guest = define(client, "g", disk("image"))
        gone = define(client, "gone", disk("image"))
        before = settled(daemon)
        for _ in range(20):  # replaced
            associate(client, guest, fd, fd, fd)
        assert count(daemon) == before + 3, (count(daemon), before)
        with daemon.client() as other:  # ends with its connection
            associate(other, guest, fd, fd, name="other")
            associate(other, guest, fd)  # which has this one now
            assert count(daemon) == before + 1 + 3
        until("its groups are closed", lambda: count(daemon) == before)
        associate(client, gone, fd)  # ends with the guest
        client.call("domain_undefine", dom=gone)
        assert settled(daemon) == before
        for name in ("", "x" * 257):
            rpc.refused(INVALID, associate, client, guest, fd, name=name)
        rpc.refused(INVALID, associate, client, guest)
        rpc.refused(INVALID, associate, client, guest, fd, flags=4)
        rpc.refused(42, associate, client, {"name": "none"}, fd)
        rpc.refused(NO_SUPPORT, client.call_with_files, "connect_get_hostname", [fd])
        rpc.refused(NO_SUPPORT, client.call_with_files, "qemu:domain_monitor_command_with_files", [fd], dom=guest,
                    cmd='{"execute": "query-status"}')
        rpc.refused(NO_SUPPORT, client.call, "domain_open_graphics_fd", dom=guest)
        assert count(daemon) == before
        for i in range(8):
            associate(client, guest, *[fd] * 32, name=str(i))
        assert "at most 256 descriptors" in rpc.refused(FAILED, associate, client, guest, fd, name="one more")
        associate(client, guest, *[fd] * 32, name="0")  # in place of others
        assert count(daemon) == before + 256
        for i in range(8):  # a start has copies, and closes them when it fails
            rpc.refused(INVALID, start, client, guest)
        assert settled(daemon) == before + 256
    # whatever dies between
    with lodged(LODGED) as daemon, daemon.client() as client, opened(f"{daemon.root}/d.img") as fd:
        guest, before = define(client, "g", disk("image")), settled(daemon)
        args = rpc.encode(rpc.PROCEDURES["remote:domain_fd_associate"].args, {"dom": guest, "name": "image"})
        for sent in range(4):
            with daemon.client() as other:
                other.socket.sendall(rpc.frame(rpc.REMOTE, 443, struct.pack(">I", 4) + args, rpc.CALL_FDS, 9))
                for _ in range(sent):
                    socket.send_fds(other.socket, [b"\0"], [fd])
                client.call("connect_get_hostname")  # who waits for the rest waits alone
        with daemon.client() as other:  # a byte that carries none
            other.socket.sendall(rpc.frame(rpc.REMOTE, 443, struct.pack(">I", 1) + args, rpc.CALL_FDS, 9) + b"\0")
            assert other.socket.recv(1) == b""
        with daemon.client() as other:
            other.socket.sendall(rpc.frame(rpc.REMOTE, 443, struct.pack(">I", 33) + args, rpc.CALL_FDS, 9))
            assert other.socket.recv(1) == b""
        until("all is closed", lambda: count(daemon) == before)


def test_by_sockets_that_carry_none():
    with lodged(LODGED, "--listen-tcp", "localhost:0") as daemon, daemon.client() as client, \
            opened(f"{daemon.root}/d.img") as fd:
        guest = define(client, "g", disk("image"))
        assert client.call("connect_supports_feature", feature=8)["supported"] == 1
        before = settled(daemon)
        with rpc.Client(daemon.socket_ro) as other:
            assert "forbidden for read only access" in rpc.refused(DENIED, associate, other, guest, fd)
            other.call("connect_get_hostname")
        with daemon.client(flags=1) as other:
            rpc.refused(DENIED, associate, other, guest, fd, fd)
            other.call("connect_get_hostname")
        port = int(re.search(r"port (\d+)", daemon.text()).group(1))
        with daemon.client(open=False) as other:
            other.socket.close()
            other.socket = socket.create_connection(("localhost", port), WAIT)
            other.call("auth_list")
            other.call("connect_open", name="qemu:///system")
            assert other.call("connect_supports_feature", feature=8)["supported"] == 0
            procedure = rpc.PROCEDURES["remote:domain_fd_associate"]
            payload = struct.pack(">I", 1) + rpc.encode(procedure.args, {"dom": guest, "name": "image"})
            other.serial += 1
            other.socket.sendall(rpc.frame(rpc.REMOTE, 443, payload, rpc.CALL_FDS, other.serial) + b"\0")
            assert "UNIX sockets" in rpc.refused(NO_SUPPORT, other.reply, procedure)
            other.call("connect_get_hostname")
        until("all is closed", lambda: count(daemon) == before)


def test_virsh():
    with lodged(LODGED) as daemon, daemon.client() as client, opened(f"{daemon.root}/d.img") as fd:
        if not shutil.which("virsh"):
            raise tap.Skip("there is no virsh")
        define(client, "g", disk("image"))

        def virsh(command, status=0):
            done = subprocess.run(["virsh", "-c", daemon.uri(), command], capture_output=True, text=True, timeout=WAIT,
                                  pass_fds=[fd])
            assert done.returncode == status, (command, done, daemon.text())
            return done.stdout + done.stderr

        virsh(f"dom-fd-associate g --name image --pass-fds {fd}; start g")
        assert held(daemon.pid("g"), f"{daemon.root}/d.img") == [os.O_RDWR]
        virsh("destroy g")
        assert "file descriptor group 'image' of disk 'vda' was not associated" in virsh("start g", 1)
        assert "no disk of domain 'g' uses descriptor 0" in virsh(f"start g --pass-fds {fd}", 1)
        with open(f"{daemon.root}/h.xml", "w") as out:
            out.write(guest_xml("h", IMAGE, disk(0)))
        virsh(f"create {daemon.root}/h.xml --pass-fds {fd}")
        assert held(daemon.pid("h"), f"{daemon.root}/d.img") == [os.O_RDWR]


def test_lodge():
    with lodged(LODGED) as daemon, daemon.client() as client, opened(f"{daemon.root}/d.img") as fd:
        define(client, "g", disk("image"))
        define(client, "h", disk(0))

        def lodge(*words, status=0, text=None):
            done = subprocess.run([LODGE, *words], capture_output=True, text=True, timeout=WAIT, pass_fds=[fd], input=text,
                                  env=dict(os.environ, LODGE_URI=daemon.socket))
            assert done.returncode == status and bool(done.stderr) == bool(status), (words, done, daemon.text())
            return done.stdout + done.stderr

        for words, name in ((("start", "g", "--fd-group", f"image={fd}"), "g"),
                            (("start", "h", "--pass-fds", str(fd), "--paused"), "h"),
                            (("create", "-", "--pass-fds", str(fd)), "i")):
            lodge(*words, text=guest_xml("i", IMAGE, disk(0)))
            assert held(daemon.pid(name), f"{daemon.root}/d.img") == [os.O_RDWR]
            lodge("destroy", name)
        assert "was not associated" in lodge("start", "g", status=1)
        assert "'99' is no open descriptor" in lodge("start", "h", "--pass-fds", "99", status=1)
        assert "NAME=NUMBER" in lodge("start", "g", "--fd-group", str(fd), status=1)
        assert "no disk of domain 'g' uses descriptor 0" in lodge("start", "g", "--pass-fds", str(fd), status=1)
        assert "--fd-group" in lodge("dom-fd-associate", "g", status=2)
        with open(f"{daemon.root}/run.xml", "w") as out:
            out.write(guest_xml("r", IMAGE, disk("image")))
        assert "no descriptors were passed as group 'image'" in lodge("run", f"{daemon.root}/run.xml", status=1)


tap.main(globals())
