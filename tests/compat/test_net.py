# SPDX-License-Identifier: GPL-2.0-or-later
"""lodge-net from the guest's side: frames written by hand, the way a driver would send them."""
import contextlib
import os
import socket
import struct
import subprocess
import sys
import time

import tap

LODGE_NET = sys.argv[1]
GUEST_MAC, GUEST, ROUTER, NAMES = b"\x52\x54\0\x12\x34\x56", "10.0.2.15", "10.0.2.2", "10.0.2.3"
EVERYBODY = b"\xff" * 6
WAIT = 10
NEEDS_CSUM, GSO_TCPV4 = 1, 1


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def ethernet(to, kind, payload):
    return to + GUEST_MAC + struct.pack(">H", kind) + payload


def ipv4(protocol, source, target, payload):
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(target))
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + payload


def pseudo(protocol, source, target, length):
    return socket.inet_aton(source) + socket.inet_aton(target) + struct.pack(">HH", protocol, length)


def udp(source, source_port, target, port, data):
    head = struct.pack(">HHHH", source_port, port, 8 + len(data), 0)
    total = checksum(pseudo(17, source, target, len(head + data)) + head + data)
    return ipv4(17, source, target, head[:6] + struct.pack(">H", total) + data)


class Guest:
    """The guest's end of the socket."""

    def __init__(self, *arguments):
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(WAIT)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.process = subprocess.Popen([LODGE_NET, "--fd", str(theirs.fileno()), *arguments],
                                        pass_fds=[theirs.fileno()], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        theirs.close()
        self.ready = self.process.stdout.readline() == "ready\n"
        self.router_mac = EVERYBODY

    def send(self, frame, header=bytes(12)):
        self.socket.send(header + frame)

    def receive(self, wanted):
        """The payload of the first frame for which WANTED(kind, payload) says so."""
        end = time.monotonic() + WAIT
        while time.monotonic() < end:
            message = self.socket.recv(70000)
            assert message[:12] == bytes(12), "nothing is left for the guest to do"
            kind = struct.unpack(">H", message[24:26])[0]
            if kind == 0x0806:
                self.answer_arp(message[26:])
            if wanted(kind, message[26:]):
                return message[26:]
        raise AssertionError("nothing came")

    def answer_arp(self, packet):
        operation, target = struct.unpack(">H", packet[6:8])[0], packet[24:28]
        if operation == 2:
            self.router_mac = packet[8:14]
        elif target == socket.inet_aton(GUEST):
            self.arp(2, packet[8:14], packet[14:18])

    def arp(self, operation, mac, address):
        self.send(ethernet(mac if operation == 2 else EVERYBODY, 0x0806,
                           struct.pack(">HHBBH6s4s6s4s", 1, 0x0800, 6, 4, operation, GUEST_MAC,
                                       socket.inet_aton(GUEST), mac, address)))

    def find_router(self):
        self.arp(1, bytes(6), socket.inet_aton(ROUTER))
        self.receive(lambda kind, packet: kind == 0x0806 and packet[7] == 2)

    def end(self):
        self.socket.close()
        status = self.process.wait(WAIT)
        self.process.stdout.close()
        self.process.stderr.close()
        return status


@contextlib.contextmanager
def guest(*arguments):
    it = Guest(*arguments)
    try:
        assert it.ready, it.process.stderr.read()
        yield it
    finally:
        status = it.end()
    assert status == 0, status


class Tcp:
    """One connection from the guest, without retransmission: a local socket loses nothing."""

    def __init__(self, it, port, source_port=40000):
        self.guest, self.port, self.source_port = it, port, source_port
        self.sequence, self.acknowledged = 1000, 0
        self.send(0x02)
        self.take(lambda flags: flags & 0x12 == 0x12)
        self.send(0x10)

    def segment(self, flags, data=b"", total=None):
        head = struct.pack(">HHIIBBHHH", self.source_port, self.port, self.sequence,
                           self.acknowledged, 5 << 4, flags, 65535, 0, 0)
        if total is None:
            total = checksum(pseudo(6, GUEST, ROUTER, len(head + data)) + head + data)
        return head[:16] + struct.pack(">H", total) + head[18:] + data

    def send(self, flags, data=b"", offload=False):
        header = bytes(12)
        total = None
        if offload:  # the checksum of the pseudo header, the rest is the other side's work
            total = ~checksum(pseudo(6, GUEST, ROUTER, 20 + len(data))) & 0xffff
            header = struct.pack("<BBHHHHH", NEEDS_CSUM, GSO_TCPV4, 54, 1460, 34, 16, 0)
        packet = ipv4(6, GUEST, ROUTER, self.segment(flags, data, total))
        self.guest.send(ethernet(self.guest.router_mac, 0x0800, packet), header)
        self.sequence += len(data) + (flags & 0x03 != 0)

    def take(self, wanted):
        def ours(kind, packet):
            return kind == 0x0800 and packet[9] == 6 and \
                struct.unpack(">H", packet[22:24])[0] == self.source_port and wanted(packet[33])
        packet = self.guest.receive(ours)
        length = struct.unpack(">H", packet[2:4])[0]
        assert checksum(pseudo(6, ROUTER, GUEST, length - 20) + packet[20:length]) == 0
        data = packet[20 + (packet[32] >> 4) * 4:length]
        self.acknowledged = struct.unpack(">I", packet[24:28])[0] + len(data) + \
            (packet[33] & 0x03 != 0)
        return data


def listener():
    return socket.create_server(("127.0.0.1", 0))


# --- tests ---

def test_router_answers_arp():
    with guest() as it:
        it.find_router()
        assert it.router_mac != EVERYBODY


def test_dhcp_offers_the_guests_address():
    with guest() as it:
        question = struct.pack(">BBBBIHHIIII16s192sI", 1, 1, 6, 0, 77, 0, 0, 0, 0, 0, 0,
                               GUEST_MAC, b"", 0x63825363) + b"\x35\x01\x01\xff"
        it.send(ethernet(EVERYBODY, 0x0800, udp("0.0.0.0", 68, "255.255.255.255", 67, question)))
        packet = it.receive(lambda kind, data: kind == 0x0800 and data[9] == 17)
        assert socket.inet_ntoa(packet[28 + 16:28 + 20]) == GUEST


def test_udp_reaches_the_host():
    with guest() as it, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(WAIT)
        it.find_router()
        it.send(ethernet(it.router_mac, 0x0800,
                         udp(GUEST, 5000, ROUTER, server.getsockname()[1], b"from the guest")))
        data, sender = server.recvfrom(100)
        assert data == b"from the guest"
        server.sendto(b"back", sender)
        assert it.receive(lambda kind, packet: kind == 0x0800 and packet[9] == 17)[28:] == b"back"


def test_tcp_both_ways():
    with guest() as it, listener() as server:
        it.find_router()
        connection = Tcp(it, server.getsockname()[1])
        peer = server.accept()[0]
        connection.send(0x18, b"hello")
        assert peer.recv(100) == b"hello"
        peer.sendall(b"and back")
        assert connection.take(lambda flags: flags & 8) == b"and back"
        peer.close()


def test_offloaded_checksum_and_segmentation():
    data = bytes(range(256)) * 100
    with guest() as it, listener() as server:
        it.find_router()
        connection = Tcp(it, server.getsockname()[1])
        peer = server.accept()[0]
        peer.settimeout(WAIT)
        connection.send(0x18, data, offload=True)
        received = b""
        while len(received) < len(data):
            received += peer.recv(65536)
        assert received == data
        peer.close()


def test_forward_reaches_the_guest():
    with listener() as taken:
        port = taken.getsockname()[1]
    with guest("--forward", f"tcp,127.0.0.1,{port}-{port},22") as it:
        it.find_router()
        with socket.socket() as client:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            packet = it.receive(lambda kind, data: kind == 0x0800 and data[9] == 6)
            assert struct.unpack(">H", packet[22:24])[0] == 22 and packet[33] == 2, "a SYN to 22"


def test_taken_port_is_said_before_the_start():
    with listener() as taken:
        port = taken.getsockname()[1]
        it = Guest("--forward", f"tcp,127.0.0.1,{port}-{port},22")
        said = it.process.stderr.read()
        assert not it.ready and it.end() == 1
        assert f"cannot forward TCP port {port} of 127.0.0.1: Address already in use" in said, said


def test_wrong_forward_is_refused():
    for text in ("tcp", "tcp,127.0.0.1,0-0,22", "tcp,127.0.0.1,9-8,22", "tcp,::1,1-1,1",
                 "tcp,,65000-65535,65400", "tcp,,1-2,x"):
        it = Guest("--forward", text)
        assert not it.ready and it.end() == 1, text


def test_garbage_is_dropped():
    with guest() as it:
        for message in (b"", b"x", bytes(12), bytes(25), os.urandom(60), os.urandom(65000),
                        struct.pack("<BBHHHHH", NEEDS_CSUM, 0, 0, 0, 65535, 65535, 0) + bytes(60),
                        struct.pack("<BBHHHHH", NEEDS_CSUM, 0, 0, 0, 14, 46, 0) + bytes(61),
                        struct.pack("<BBHHHHH", NEEDS_CSUM, 9, 9, 9, 0, 0, 9) + bytes(60)):
            if message:  # an empty message would read as the end
                it.socket.send(message)
        for size in range(12, 200):
            it.socket.send(bytes(12) + ethernet(EVERYBODY, 0x0800, os.urandom(size)))
            it.socket.send(bytes(12) + ethernet(EVERYBODY, 0x86dd, os.urandom(size)))
        it.find_router()


def test_guest_that_does_not_read_is_waited_for():
    with guest() as it, listener() as server:
        it.find_router()
        connection = Tcp(it, server.getsockname()[1])
        peer = server.accept()[0]
        peer.settimeout(WAIT)
        for _ in range(40000):  # far more questions than the socket and the queue hold answers
            try:
                it.socket.setblocking(False)
                it.arp(1, bytes(6), socket.inet_aton(ROUTER))
            except BlockingIOError:
                break
            finally:
                it.socket.settimeout(WAIT)
        assert it.process.poll() is None
        connection.guest.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                it.socket.recv(70000)
        it.socket.settimeout(WAIT)
        it.find_router()
        peer.close()


def test_it_is_confined():
    with guest() as it:
        with open(f"/proc/{it.process.pid}/status") as text:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in text if ":\t" in line)
        assert status["Seccomp"] == "2" and status["NoNewPrivs"] == "1", status
        if os.getuid() == 0:
            assert status["Uid"].split() == ["65534"] * 4, status["Uid"]
            assert int(status["CapEff"], 16) == 0, status["CapEff"]


def test_it_ends_with_the_guest():
    with guest() as it:
        assert it.ready


tap.main(globals())
