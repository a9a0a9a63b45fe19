# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon that serves libvirt's protocol by the tables and has no guest but the one that is asked for: what clients send
it is written down. For what lodged does not serve in this version, and its clients ask all the same."""
import contextlib
import os
import socket
import struct
import tempfile
import threading

import rpc

GUEST = {"name": "g", "uuid": bytes(range(16)), "id": 1}
NUMBERS = {(procedure.program, procedure.number): procedure for procedure in rpc.PROCEDURES.values()}
ANSWERS = {
    "auth_list": {"types": [0]},
    "connect_supports_feature": lambda args: {"supported": args["feature"] in (9, 14, 15)},
    "connect_get_uri": {"uri": "qemu:///system"}, "connect_get_type": {"type": "QEMU"},
    "domain_lookup_by_name": {"dom": GUEST}, "domain_lookup_by_uuid": {"dom": GUEST}, "domain_lookup_by_id": {"dom": GUEST},
    "domain_is_active": {"active": 1},
}


def receive(connection, count):
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise ConnectionError
        data += part
    return data


class FakeDaemon:
    """ANSWERS, by the call's name: what is returned, or a function of the arguments that returns it. Whatever has none
    is said not to be supported."""

    def __init__(self, path, answers):
        self.path, self.answers, self.calls = path, {**ANSWERS, **answers}, []
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection, contextlib.suppress(OSError):
            while True:
                length, *head = struct.unpack(">7I", receive(connection, 28))
                payload = receive(connection, length - 28)
                if head[0] != rpc.KEEPALIVE:
                    connection.sendall(self.answer(*head, payload))

    def answer(self, program, version, number, kind, serial, status, payload):
        procedure = NUMBERS[program, number]
        args = rpc.Reader(payload).struct(procedure.args)
        self.calls.append((procedure.name, args))
        answer = self.answers.get(procedure.name, {} if not procedure.ret and procedure.name.startswith("connect_") else None)
        if answer is None:
            error = {"code": 3, "domain": 7, "message": f"{procedure.name} is not served", "level": 2, "int1": -1, "int2": -1}
            return rpc.frame(program, number, rpc.encode(rpc.STRUCTS["msg_error"], error), rpc.REPLY, serial, 1)
        ret = answer(args) if callable(answer) else answer
        return rpc.frame(program, number, rpc.encode(procedure.ret, ret), rpc.REPLY, serial)

    def taken(self, name):
        """The arguments of the calls of that name so far, which are forgotten."""
        found = [args for called, args in self.calls if called == name]
        self.calls.clear()
        return found


@contextlib.contextmanager
def fake_daemon(answers):
    with tempfile.TemporaryDirectory(prefix="fake-") as folder:
        daemon = FakeDaemon(os.path.join(folder, "sock"), answers)
        try:
            yield daemon
        finally:
            daemon.listener.shutdown(socket.SHUT_RDWR)
            daemon.listener.close()
