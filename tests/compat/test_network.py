# SPDX-License-Identifier: GPL-2.0-or-later
"""A real guest on its user network: much data, many connections, and a port forwarded inward."""
import hashlib
import http.server
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import tap

LODGE = sys.argv[1]
TOP = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
MEBIBYTES = 100
SECONDS = 240
BLOCK = hashlib.sha512(b"lodge").digest() * (1 << 14)  # 1 MiB


def built(*what):
    done = subprocess.run([f"{TOP}/tools/guest/build.sh", *what], capture_output=True, text=True)
    if done.returncode:
        raise tap.Skip(f"the guest cannot be built here: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.strip()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        blocks = MEBIBYTES if self.path == "/large" else 0
        self.send_response(200)
        self.end_headers()
        for _ in range(blocks):
            self.wfile.write(BLOCK)
        self.wfile.write(b"end\n")

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True


def serve():
    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def start_guest(script, *options):
    command = f"ip link set eth0 up; udhcpc -q -n -i eth0 >/dev/null; ip addr add 10.0.2.15/24 dev eth0; {script}"
    return subprocess.Popen([LODGE, "run", "--net", "user", "--kernel", built("kernel"), "--initrd",
                             built("initrd"), "--memory", "256M", "--timeout", str(SECONDS),
                             "--append", f'quiet lodge.run="{command}"', *options],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, errors="replace")


def run_guest(script, *options):
    text = start_guest(script, *options).communicate(timeout=SECONDS + 20)[0]
    assert "lodge-guest: status 0" in text, text[-3000:]
    return text


def test_large_download_arrives_whole():
    wanted = hashlib.sha256(BLOCK * MEBIBYTES + b"end\n").hexdigest()
    text = run_guest(f"wget -q -O - http://10.0.2.2:{serve()}/large | sha256sum")
    assert wanted in text, text[-1000:]


def test_hundred_connections_at_once():
    port = serve()
    text = run_guest("for i in $(seq 100); do (wget -q -O - http://10.0.2.2:%d/ >>/tmp/got) & done; "
                     "wait; echo got=$(grep -c end /tmp/got)" % port)
    assert re.search(r"^got=100", text, re.M), text[-1000:]


def test_forward_leads_into_the_guest():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    guest = start_guest("mkdir /www; echo hello from inside >/www/index.html; httpd -p 80 -h /www; "
                        "echo serving; sleep 60", "--forward", f"{port}:80")
    try:
        for line in guest.stdout:
            if line.startswith("serving"):
                break
        end = time.monotonic() + 20
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                    assert answer.read() == b"hello from inside\n"
                break
            except OSError:
                assert time.monotonic() < end, "nothing answers at the forwarded port"
                time.sleep(0.5)
    finally:
        guest.terminate()
        guest.terminate()
        guest.kill()
        guest.communicate()


tap.main(globals())
