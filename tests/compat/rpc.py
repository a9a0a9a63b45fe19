# SPDX-License-Identifier: GPL-2.0-or-later
"""libvirt's protocol once more, straight from the tables and in another language: a raw client.

It shares nothing with the programs but src/rpc/*.tsv, so that what both agree on is the protocol.
"""
import os
import re
import socket
import struct

TABLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../src/rpc")
REMOTE, QEMU, KEEPALIVE = 0x20008086, 0x20008087, 0x6b656570
CALL, REPLY, EVENT, STREAM, CALL_FDS, REPLY_FDS, HOLE = 0, 1, 2, 3, 4, 5, 6
OK, ERROR, CONTINUE = 0, 1, 2
TYPE = re.compile(r"(.+?)(\?|\[(\d+)\]|\[\]<=(\d+)|<=(\d+))?$")
WORDS = {"u8", "i8", "u16", "u32", "i32", "auth_type"}


def table(name):
    with open(os.path.join(TABLES, name)) as lines:
        return [line.rstrip("\n").split("\t") for line in lines if not line.startswith("#")]


def fields(text):
    return [] if text == "-" else [tuple(field.split(":", 1)) for field in text.split(", ")]


STRUCTS = {name: fields(value) for kind, name, value in table("types.tsv") if kind == "struct"}


class Procedure:
    def __init__(self, row):
        program, number, self.name, args, ret, self.kind, self.priority, self.access = row
        self.program, self.number = {"remote": REMOTE, "qemu": QEMU}[program], int(number)
        self.args, self.ret = fields(args), fields(ret)


PROCEDURES = {row[0] + ":" + row[2]: Procedure(row) for row in table("procedures.tsv")[1:]}


def padded(data):
    return data + bytes(-len(data) % 4)


def encode_value(kind, value):
    """VALUE None is the plainest there is: zero, nothing, an empty list."""
    base, suffix, fixed, _, _ = TYPE.match(kind).groups()
    if suffix == "?":
        return struct.pack(">I", 0) if value is None else struct.pack(">I", 1) + encode_value(base, value)
    if base == "opaque":
        data = value if value is not None else bytes(int(fixed or 0))
        return padded(data) if fixed else struct.pack(">I", len(data)) + padded(data)
    if fixed:
        return b"".join(encode_value(base, v) for v in value or [None] * int(fixed))
    if suffix:
        return struct.pack(">I", len(value or [])) + b"".join(encode_value(base, v) for v in value or [])
    if base == "string":
        data = (value or "").encode()
        return struct.pack(">I", len(data)) + padded(data)
    if base in WORDS:
        return struct.pack(">I", (value or 0) & 0xffffffff)
    if base in ("u64", "i64"):
        return struct.pack(">Q", (value or 0) & 0xffffffffffffffff)
    if base == "f64":
        return struct.pack(">d", value or 0)
    if base == "typed_param_value":  # (type, value)
        return struct.pack(">I", value[0]) + encode_value(PARAM_TYPES[value[0]], value[1])
    return encode(STRUCTS[base], value or {})


def encode(kinds, values):
    return b"".join(encode_value(kind, values.get(name)) for name, kind in kinds)


PARAM_TYPES = {1: "i32", 2: "u32", 3: "i64", 4: "u64", 5: "f64", 6: "i32", 7: "string"}


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        assert self.at + count <= len(self.data), "the message is too short"
        self.at += count
        return self.data[self.at - count:self.at]

    def word(self):
        return struct.unpack(">I", self.take(4))[0]

    def bytes(self, count):
        data = self.take(count)
        assert not any(self.take(-count % 4))
        return data

    def value(self, kind):
        base, suffix, fixed, _, _ = TYPE.match(kind).groups()
        if suffix == "?":
            return self.value(base) if self.word() else None
        if base == "opaque":
            return self.bytes(int(fixed) if fixed else self.word())
        if suffix:
            return [self.value(base) for _ in range(int(fixed) if fixed else self.word())]
        if base == "string":
            return self.bytes(self.word()).decode()
        if base in ("u64", "i64"):
            return struct.unpack(">Q" if base == "u64" else ">q", self.take(8))[0]
        if base == "f64":
            return struct.unpack(">d", self.take(8))[0]
        if base == "typed_param_value":
            return self.value(PARAM_TYPES[self.word()])
        if base in WORDS:
            word = self.word()
            return word - (1 << 32) if base[0] in "ia" and word >> 31 else word
        return self.struct(STRUCTS[base])

    def struct(self, kinds):
        return {name: self.value(kind) for name, kind in kinds}


class Refused(Exception):
    def __init__(self, error):
        super().__init__(f"{error['code']}: {error['message']}")
        self.code, self.message = error["code"], error["message"]


def refused(code, call, *arguments, **values):
    """The message of a call that must be refused with that code."""
    try:
        call(*arguments, **values)
    except Refused as error:
        assert error.code == code, error
        return error.message
    raise AssertionError("it was not refused")


def frame(program, number, payload=b"", kind=CALL, serial=0, status=0, version=1):
    return struct.pack(">7I", 28 + len(payload), program, version, number, kind, serial, status) + payload


class Client:
    """A connection; opened unless OPEN is false."""

    def __init__(self, path, flags=0, open=True):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(path)
        self.socket.settimeout(30)
        self.serial = 0
        self.events = []
        if open:
            self.call("auth_list")
            self.call("connect_open", name="qemu:///system", flags=flags)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def receive(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise ConnectionError("closed")
            data += part
        return data

    def message(self):
        length, *header = struct.unpack(">7I", self.receive(28))
        return header, self.receive(length - 28)

    def reply(self, procedure):
        while True:
            (program, version, number, kind, serial, status), payload = self.message()
            if kind == EVENT:
                self.events.append((program, number, payload))
                continue
            assert (program, version, number, kind, serial) == \
                (procedure.program, 1, procedure.number, REPLY, self.serial), "another call's reply"
            reader = Reader(payload)
            value = reader.struct(STRUCTS["msg_error"] if status else procedure.ret)
            assert reader.at == len(payload), "the reply is too long"
            if status:
                raise Refused(value)
            return value

    def send_packet(self, name, serial, status, data=b"", kind=STREAM):
        procedure = PROCEDURES["remote:" + name]
        self.socket.sendall(frame(procedure.program, procedure.number, data, kind, serial, status))

    def send_hole(self, name, serial, length):
        self.send_packet(name, serial, CONTINUE, struct.pack(">QI", length, 0), HOLE)

    def packet(self):
        """(status, data) of the next packet of a stream; of a hole, its length in place of data. An error
        is raised."""
        (_, _, _, kind, _, status), payload = self.message()
        if kind == HOLE:
            return status, struct.unpack(">QI", payload)[0]
        assert kind == STREAM, kind
        if status == ERROR:
            raise Refused(Reader(payload).struct(STRUCTS["msg_error"]))
        return status, payload

    def call_with_files(self, name, /, fds, count=None, **values):
        """Counts COUNT of them, and sends all."""
        procedure = PROCEDURES[name if ":" in name else "remote:" + name]
        self.serial += 1
        payload = struct.pack(">I", len(fds) if count is None else count) + encode(procedure.args, values)
        self.socket.sendall(frame(procedure.program, procedure.number, payload, CALL_FDS, self.serial))
        for fd in fds:
            socket.send_fds(self.socket, [b"\0"], [fd])
        return self.reply(procedure)

    def call(self, name, /, **values):
        procedure = PROCEDURES[name if ":" in name else "remote:" + name]
        self.serial += 1
        self.socket.sendall(frame(procedure.program, procedure.number, encode(procedure.args, values),
                                  serial=self.serial))
        return self.reply(procedure)
