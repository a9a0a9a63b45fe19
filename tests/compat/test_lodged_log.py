# SPDX-License-Identifier: GPL-2.0-or-later
"""What lodged logs, and where to: a file, systemd's journal with fields that can be searched for, and the areas of
debugging. The journal is this test's own socket, in a mount namespace.

    test_lodged_log.py LODGED BUTTON-IMAGE
"""
import contextlib
import ctypes
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile

import tap
from lodged import WAIT, Lodged, guest_xml, until
from rpc import Refused

LODGED, IMAGE = sys.argv[1:]
SOURCES = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../src"))
CLONE_NEWNS = 0x20000


class Logging(Lodged):
    """A lodged whose standard error is an open FILE, with more in its environment."""

    def begin(self, file, *options, **variables):
        self.log = file
        self.process = subprocess.Popen([LODGED, "--root", self.root, *options], stdin=subprocess.DEVNULL, stdout=file,
                                        stderr=file, env=dict(os.environ, **variables))
        until("lodged listens", self.answers)

    def text(self):
        return ""


@contextlib.contextmanager
def root():
    with tempfile.TemporaryDirectory(prefix="lodged-") as path:
        daemon = Logging(LODGED, path)
        try:
            yield daemon
        finally:
            if daemon.process and daemon.process.poll() is None:
                daemon.end(signal.SIGKILL)
            daemon.kill_guests()


def run_guest(daemon):
    with daemon.client() as client:
        dom = client.call("domain_define_xml", xml=guest_xml("g", IMAGE))["dom"]
        client.call("domain_create", dom=dom)
        client.call("domain_destroy", dom=dom)


def lines_of(path):
    with open(path) as text:
        lines = text.read().splitlines()
    for line in lines:
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (error|warning|info|debug) [a-z]+: .", line), line
    return lines


def test_a_file_and_areas():
    for areas, wanted, others in ((None, [], ["rpc", "store", "monitor"]),
                                  ("rpc", ["rpc: user %d calls domain_define_xml" % os.geteuid()], ["store", "monitor"]),
                                  ("store,monitor", ["store: write", 'monitor: ask: {"execute": "query-status"'], ["rpc"])):
        with root() as daemon, open(os.devnull, "w") as null:
            path = f"{daemon.root}/file.log"
            daemon.begin(null, "--log", path, **({"LODGE_DEBUG": areas} if areas else {}))
            run_guest(daemon)
            assert daemon.end() == 0
            lines = lines_of(path)
            text = "\n".join(lines)
            assert "guest g, number 1, runs" in text and "guest g, number 1, was ended" in text, text
            for one in wanted:
                assert f"debug {one}" in text.replace('":"', '": "'), (one, text)
            for one in others:
                assert f"debug {one}:" not in text, (areas, one)


def test_an_unknown_area_is_said_once():
    with root() as daemon, open(os.devnull, "w") as null:
        path = f"{daemon.root}/file.log"
        daemon.begin(null, "--log", path, LODGE_DEBUG="rpc,nix")
        run_guest(daemon)
        assert daemon.end() == 0
        said = [line for line in lines_of(path) if "LODGE_DEBUG" in line]
        assert len(said) == 1 and "warning lodged: LODGE_DEBUG: no area 'nix' has debug lines" in said[0], said
        listed = re.search("these have: ([a-z,]+); or all", said[0])[1].split(",")
    found = set()
    for folder, _, names in os.walk(SOURCES):
        for name in names:
            if name.endswith(".c"):
                with open(f"{folder}/{name}") as source:
                    found |= set(re.findall(r'(?:log_debug\(|log_(?:line|about)\(\s*LOG_DEBUG,)\s*"([a-z]+)"', source.read()))
    assert sorted(listed) == sorted(found), (listed, found)


def fields(message):
    """Of one message of the journal's protocol."""
    found = {}
    while message:
        line, message = message.split(b"\n", 1)
        if b"=" in line:
            name, value = line.split(b"=", 1)
        else:
            name, (length,) = line, struct.unpack("<Q", message[:8])
            value, message = message[8:8 + length], message[9 + length:]
        found[name.decode()] = value.decode()
    return found


def test_the_journal():
    if os.geteuid():
        raise tap.Skip("only root has mount namespaces for sure")
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise tap.Skip("there are no mount namespaces here")
    if subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True).returncode or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "mode=755", "lodged", "/run"], capture_output=True).returncode:
        raise tap.Skip("nothing can be mounted here")
    os.makedirs("/run/systemd/journal")
    with root() as daemon, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind("/run/systemd/journal/socket")
        journal.settimeout(WAIT)
        with open(f"{daemon.root}/stderr", "w+") as stderr:
            st = os.fstat(stderr.fileno())
            daemon.begin(stderr, JOURNAL_STREAM=f"{st.st_dev}:{st.st_ino}")
            run_guest(daemon)
            assert daemon.end() == 0
            assert os.path.getsize(f"{daemon.root}/stderr") == 0
            said = []
            while not said or not said[-1]["MESSAGE"].endswith("was ended"):
                said.append(fields(journal.recv(65536)))
            assert all(one["SYSLOG_IDENTIFIER"] == "lodged" and one["LODGE_AREA"] == "lodged" for one in said), said
            assert said[0]["MESSAGE"].startswith("version ") and "LODGE_GUEST" not in said[0], said
            runs = [one for one in said if one["MESSAGE"] == "guest g, number 1, runs"]
            assert len(runs) == 1 and runs[0]["LODGE_GUEST"] == "g" and runs[0]["PRIORITY"] == "6", said
        with open(f"{daemon.root}/stderr", "w+") as stderr:  # standard error is another's: the variable is inherited
            daemon.begin(stderr, JOURNAL_STREAM="1:2")
            assert daemon.end() == 0
            assert "serves" in "".join(lines_of(f"{daemon.root}/stderr"))
    subprocess.run(["umount", "-l", "/run"], check=True)


def console_guest(kernel, log=""):
    xml = guest_xml("g", kernel).replace("<serial type='pty'/>", f"<serial type='pty'>{log}</serial>")
    return xml.replace("<os>", "<uuid>12345678-1234-1234-1234-1234567890ab</uuid><os>")


def boot(daemon, xml):
    """What its console has printed is in a file before anybody has looked at it."""
    with daemon.client() as client:
        dom = client.call("domain_define_xml", xml=xml)["dom"]
        client.call("domain_create", dom=dom)


def end(daemon):
    with daemon.client() as client:
        client.call("domain_destroy", dom=client.call("domain_lookup_by_name", name="g")["dom"])


def read(path):
    if not os.path.exists(path):
        return None
    with open(path) as text:
        return text.read()


def test_console():
    with root() as daemon, open(os.devnull, "w") as nothing:
        daemon.begin(nothing)
        log = f"{daemon.root}/log/g.console.log"
        for start in (1, 2):  # it goes on where it was
            boot(daemon, console_guest(IMAGE))
            until("it is kept", lambda: read(log) == "up\n" * start)
            end(daemon)
        assert os.stat(log).st_mode & 0o777 == 0o600
        own = f"{daemon.root}/own.log"
        with open(own, "w") as out:
            out.write("before\n")
        boot(daemon, console_guest(IMAGE, f"<log file='{own}' append='on'/>"))
        until("it is kept where its owner wants it", lambda: read(own) == "before\nup\n")
        end(daemon)
        boot(daemon, console_guest(IMAGE, f"<log file='{own}'/>"))
        until("it begins again", lambda: read(own) == "up\n")
        end(daemon)
        assert read(log) == "up\nup\n"
        with daemon.client() as client:
            dom = client.call("domain_define_xml", xml=console_guest(IMAGE, "<log file='/nowhere/at/all'/>"))["dom"]
            xml = client.call("domain_get_xml_desc", dom=dom, flags=0)["xml"]
            assert xml.count("<log file='/nowhere/at/all'/>") == 2, "of the serial port, and of its other name"
            try:
                client.call("domain_create", dom=dom)
                raise AssertionError("it has started without")
            except Refused as error:
                assert "<log>: cannot open /nowhere/at/all: No such file" in str(error), error


tap.main(globals())
