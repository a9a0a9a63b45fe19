# SPDX-License-Identifier: GPL-2.0-or-later
"""`lodge create NAME --from debian-12`: built by mmdebstrap if it is not in the cache, booted, and logged in to on the
console with the password that was printed; over SSH with the key, where there is an SSH client.

    test_create_debian.py LODGED LODGE
"""
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import time

import tap
from lodged import lodged

LODGED, LODGE = sys.argv[1:]
PATIENCE = 900  # of a boot by the software processor


def read_until(process, wanted):
    text, end = b"", time.monotonic() + PATIENCE
    while wanted not in text:
        ready, _, _ = select.select([process.stdout], [], [], max(0, end - time.monotonic()))
        assert ready, text[-2000:]
        more = os.read(process.stdout.fileno(), 4096)
        assert more, text[-2000:]
        text += more
    return text


def type_line(process, line):
    os.write(process.stdin.fileno(), line.encode() + b"\n")


def free_port():
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return any_port.getsockname()[1]


def log_in_by_ssh(port, key):
    done = subprocess.run(["ssh", "-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o",
                           "BatchMode=yes", "-i", key, "-p", str(port), "joe@127.0.0.1", "hostname; df --output=size -m /"],
                          capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done
    host, _, size = done.stdout.split()
    assert host == "web1" and int(size) > 2500, done.stdout  # it has grown into its disk


def test_debian():
    if not shutil.which("mmdebstrap"):
        raise tap.Skip("there is no mmdebstrap")
    with lodged(LODGED) as daemon:
        env, key, port = dict(os.environ, LODGE_URI=daemon.socket), f"{daemon.root}/key", free_port()
        daemon.virsh("pool-define-as", "default", "dir", "--target", f"{daemon.root}/images")
        daemon.virsh("pool-build", "default")
        words = ["--user", "joe", "--disk", "3G", "--ssh-port", str(port), "--no-start", "--json"]
        if shutil.which("ssh-keygen"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
            words += ["--ssh-key", f"{key}.pub"]
        made = subprocess.run([LODGE, "create", "web1", "--from", "debian-12", *words], stdout=subprocess.PIPE, env=env,
                              check=True)
        password = json.loads(made.stdout)["password"]
        daemon.virsh("start", "web1")
        with subprocess.Popen([LODGE, "console", "web1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env) as console:
            read_until(console, b" finished at ")
            type_line(console, "")
            read_until(console, b"web1 login: ")
            type_line(console, "joe")
            read_until(console, b"Password: ")
            type_line(console, password)
            read_until(console, b"joe@web1")
            type_line(console, "sudo id -un")
            read_until(console, b"root\r\n")
            type_line(console, "systemctl is-system-running --wait | sed s/^/it-is-/; systemctl --failed --no-legend | cat; echo that is' 'all")
            said = read_until(console, b"that is all")
            assert b"it-is-running" in said, said
            if os.path.exists(key) and shutil.which("ssh"):
                log_in_by_ssh(port, key)
            console.stdin.close()
            subprocess.run([LODGE, "shutdown", "web1"], check=True, env=env, stdout=subprocess.DEVNULL)
            console.stdout.read()
        subprocess.run([LODGE, "delete", "web1", "--yes"], check=True, env=env, stdout=subprocess.DEVNULL)
        assert os.listdir(f"{daemon.root}/images") == []


tap.main(globals())
