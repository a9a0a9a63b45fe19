# SPDX-License-Identifier: GPL-2.0-or-later
"""liblodge: its program (liblodge.c) against a lodged, against one that is killed, and against servers
that answer nonsense; the examples; and what the shared library shows to others.

    test_liblodge.py LODGED BUTTON-IMAGE PROGRAM WATCH USAGE PROVISION LIBRARY
"""
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading

import tap
from lodged import WAIT, guest_xml, lodged

LODGED, IMAGE, PROGRAM, WATCH, USAGE, PROVISION, LIBRARY = sys.argv[1:]
INCLUDE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../include/lodge")


def run(uri, *words):
    return subprocess.run([PROGRAM, *words], env=dict(os.environ, LODGE_URI=uri), capture_output=True, text=True,
                          timeout=WAIT, check=False)


def test_all():
    with lodged(LODGED) as daemon:
        done = run(f"lodge+unix:///?socket={daemon.socket}", "all", IMAGE)
        results = re.findall(r"^(ok|not ok) \d+ (\S+)", done.stdout, re.M)
        assert done.returncode == 0 and len(results) == 8, (done, daemon.text())
        assert all(good == "ok" for good, _ in results), done


def test_daemon_is_killed():
    with lodged(LODGED) as daemon:
        done = run(daemon.socket, "gone", str(daemon.process.pid))
        assert done.returncode == 0, done
        daemon.end()
        daemon.start()


def message(procedure, kind, serial, status, payload, program=0x20008086):
    return struct.pack(">IIIiiIi", 28 + len(payload), program, 1, procedure, kind, serial, status) + payload


AUTH_NONE = struct.pack(">II", 1, 0)
NONSENSE = [
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what is no message"),
    (struct.pack(">I", 0xffffffff), "what is no message"),
    (message(66, 1, 7, 0, AUTH_NONE), "a call that nobody made"),
    (message(1, 1, 1, 0, b""), "a call that nobody made"),
    (message(66, 1, 1, 0, struct.pack(">I", 0x7fffffff)), "cannot be read"),
    (message(66, 1, 1, 1, b"abcd"), "an error that is none"),
    (message(66, 9, 1, 0, b""), "a message of type 9"),
    (message(66, 1, 1, 0, AUTH_NONE)[:20], "lost"),
    (b"", "lost"),
]


def serve_once(listener, answer):
    peer, _ = listener.accept()
    with peer:
        peer.recv(65536)
        peer.sendall(answer)
        peer.shutdown(socket.SHUT_WR)
        peer.settimeout(WAIT)
        peer.recv(65536)


def test_servers_that_are_none():
    with tempfile.TemporaryDirectory(prefix="liblodge-") as folder:
        path = f"{folder}/sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            for answer, part in NONSENSE:
                server = threading.Thread(target=serve_once, args=(listener, answer))
                server.start()
                done = run(path, "refused", part)
                server.join()
                assert done.returncode == 0, (answer, part, done)
        assert run(path, "refused", "Connection refused").returncode == 0
        assert run(f"{folder}/none", "refused", "No such file").returncode == 0
        assert run("/" + 200 * "x", "refused", "too long").returncode == 0


def read_message(peer):
    head = peer.recv(28, socket.MSG_WAITALL)
    length, _, _, procedure, _, serial, _ = struct.unpack(">IIIiiIi", head)
    return procedure, serial, length - 28


def serve_flood(listener):
    """Takes a call in only when all of eight megabytes of events have been taken."""
    peer, _ = listener.accept()
    with peer:
        procedure, serial, rest = read_message(peer)
        peer.sendall(message(procedure, 1, serial, 0, AUTH_NONE))
        procedure, serial, rest = read_message(peer)
        peer.recv(rest, socket.MSG_WAITALL)
        peer.sendall(message(procedure, 1, serial, 0, b""))
        procedure, serial, rest = read_message(peer)
        event = struct.pack(">iI4s16siii", 7, 4, b"web1", bytes(16), 1, 2, 0)
        peer.sendall(message(318, 2, 0, 0, event) * (8 * 1024 * 1024 // 80))
        peer.recv(rest, socket.MSG_WAITALL)
        error = struct.pack(">iiII", 27, 10, 1, 7) + b"drained\0" + struct.pack(">iIIIIiiI", 2, 0, 0, 0, 0, 0, 0, 0)
        peer.sendall(message(procedure, 1, serial, 1, error))
        peer.recv(1)


def test_server_that_sends_before_it_reads():
    with tempfile.TemporaryDirectory(prefix="liblodge-") as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/sock")
        listener.listen()
        server = threading.Thread(target=serve_flood, args=(listener,), daemon=True)
        server.start()
        done = run(f"{folder}/sock", "flood")
        assert done.returncode == 0, done
        server.join()


def test_example():
    with lodged(LODGED) as daemon:
        xml = f"{daemon.root}/web1.xml"
        with open(xml, "w") as out:
            out.write(guest_xml("web1", IMAGE))
        daemon.virsh("define", xml)
        with subprocess.Popen([WATCH, daemon.socket_ro], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True) as watch:
            assert watch.stdout.readline() == "web1: shut off\n"
            daemon.virsh("start", "web1")
            assert watch.stdout.readline() == "web1: started\n"
            daemon.virsh("destroy", "web1")
            assert watch.stdout.readline() == "web1: stopped\n"
            daemon.end(signal.SIGKILL)
            rest, errors = watch.communicate(timeout=WAIT)
            assert (watch.returncode, rest) == (1, "") and "lost" in errors, (watch, rest, errors)
        daemon.start()
    done = subprocess.run([WATCH, "/nowhere"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "start the daemon" in done.stderr, done


def test_example_that_makes_a_guest_and_one_that_counts():
    with lodged(LODGED) as daemon:
        folder, env = f"{daemon.root}/images", dict(os.environ, LODGE_URI=daemon.socket)
        daemon.virsh("pool-define-as", "p", "dir", "--target", folder)
        daemon.virsh("pool-build", "p")
        daemon.virsh("pool-start", "p")

        def provision(*words):
            return subprocess.run([PROVISION, *words], capture_output=True, text=True, env=env, check=False, timeout=WAIT)
        assert provision().returncode == 2
        done = provision("web1", "p", "/nowhere")
        assert done.returncode == 1 and "/nowhere" in done.stderr, done
        assert os.listdir(folder) == [] and daemon.virsh("list", "--all", "--name") == ""
        done = provision("web1", "p", IMAGE)
        assert done.returncode == 0 and done.stdout == f"web1 runs, with the disk {folder}/web1.img\n", done
        assert os.path.getsize(f"{folder}/web1.img") == 1 << 30
        counted = subprocess.run([USAGE, daemon.socket_ro], capture_output=True, text=True, check=True, timeout=WAIT).stdout
        lines = dict(line.rsplit(" ", 1) for line in counted.splitlines())
        assert lines["web1 state.state"] == "1" and lines["web1 block.0.path"] == f"{folder}/web1.img", counted
        assert int(lines["web1 balloon.current"]) == 65536, counted


def test_symbols():
    """The shared library shows what its headers promise, all of it and nothing else."""
    if not shutil.which("nm"):
        raise tap.Skip("nm is not installed (package binutils)")
    promised = set()
    for name in os.listdir(INCLUDE):
        with open(f"{INCLUDE}/{name}") as text:
            promised |= set(re.findall(r"\b(lodge_[a-z_]+)(?<!_fn)\(", re.sub(r"/\*.*?\*/", "", text.read(), flags=re.S)))
    listing = subprocess.run(["nm", "-D", "--defined-only", "--with-symbol-versions", LIBRARY], capture_output=True,
                             text=True, check=True)
    shown = {line.split()[-1] for line in listing.stdout.splitlines() if " T " in line}
    promised = {f"{name}@@LODGE_0.1" for name in promised}
    assert len(promised) > 60 and shown == promised, shown ^ promised


tap.main(globals())
