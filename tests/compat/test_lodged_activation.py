# SPDX-License-Identifier: GPL-2.0-or-later
"""lodged under a service manager: sockets that are handed over, what it tells, restarts with guests running, and
the end of the host. The manager is this test, which does what sd_listen_fds(3) and sd_notify(3) describe.

    test_lodged_activation.py LODGED BUTTON-IMAGE
"""
import contextlib
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile

import rpc
import tap
from lodged import WAIT, Lodged, guest_xml, lodged, until

LODGED, IMAGE = sys.argv[1:]


def define(daemon, name):
    with daemon.client() as client:
        return client.call("domain_define_xml", xml=guest_xml(name, IMAGE))["dom"]


def start(daemon, name):
    dom = define(daemon, name)
    with daemon.client() as client:
        client.call("domain_create", dom=dom)
    return dom


def state(daemon, dom):
    with daemon.client() as client:
        return client.call("domain_get_state", dom=dom)["state"]


class Managed(Lodged):
    """A lodged that gets its sockets; they stay when it ends."""

    def __init__(self, root):
        super().__init__(LODGED, root)
        os.makedirs(f"{root}/run")
        self.listening = [self.bind(path) for path in (self.socket, self.socket_ro)]
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(f"{root}/notify")
        self.notify.settimeout(WAIT)
        self.notify_path = f"{root}/notify"

    @staticmethod
    def bind(path):
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(path)
        listening.listen()
        return listening

    def start(self, fds=None, pid="$$", options=()):
        fds = [one.fileno() for one in self.listening] if fds is None else fds
        self.log = open(f"{self.root}/lodged.log", "a")
        moved = [os.dup(fd) for fd in fds]

        def place():
            """From 3 on, without putting one in the place of another."""
            high = [os.dup2(fd, 100 + i) for i, fd in enumerate(moved)]
            for i, fd in enumerate(high):
                os.dup2(fd, 3 + i)

        self.process = subprocess.Popen(
            ["sh", "-c", f'LISTEN_PID={pid} LISTEN_FDS={len(fds)} exec "$@"', "-", self.program, "--root", self.root,
             "--verbose", *options], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, preexec_fn=place,
            close_fds=False, env=dict(os.environ, NOTIFY_SOCKET=self.notify_path))
        for fd in moved:
            os.close(fd)

    def told(self):
        return self.notify.recv(4096).decode().split("\n")


@contextlib.contextmanager
def managed():
    with tempfile.TemporaryDirectory(prefix="lodged-") as root:
        daemon = Managed(root)
        try:
            yield daemon
        finally:
            if daemon.process and daemon.process.poll() is None:
                daemon.end(signal.SIGKILL)
            daemon.kill_guests()
            for one in (*daemon.listening, daemon.notify):
                one.close()


def test_clients_wait_for_it():
    with managed() as daemon:
        early = rpc.Client(daemon.socket, open=False)  # before there is any lodged
        daemon.start()
        assert "READY=1" in daemon.told()
        with early:
            early.call("auth_list")
        define(daemon, "a")
        assert daemon.end() == 0
        assert daemon.told() == ["STOPPING=1"]
        assert os.path.exists(daemon.socket) and os.path.exists(daemon.socket_ro), "they are the manager's"


def test_restarts_leave_guests_alone():
    with managed() as daemon:
        daemon.start()
        dom = start(daemon, "a")
        pid = daemon.pid("a")
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
            daemon.end(number)
            daemon.start()
            assert state(daemon, dom) == 1 and daemon.pid("a") == pid
        with open(f"/proc/{pid}/environ") as variables:
            text = variables.read()
            assert "LISTEN_" not in text and "NOTIFY_SOCKET" not in text, text
        with daemon.client() as client:
            client.call("domain_shutdown", dom=dom)
        until("it is off", lambda: state(daemon, dom) == 5)


def test_both_sockets_are_what_they_were_bound_for():
    with managed() as daemon:
        daemon.listening.reverse()  # the order says nothing
        daemon.start()
        assert "READY=1" in daemon.told()
        dom = define(daemon, "a")
        with rpc.Client(daemon.socket_ro) as reader:
            assert reader.call("domain_lookup_by_name", name="a")["dom"]["name"] == "a"
            rpc.refused(29, reader.call, "domain_create", dom=dom)


def test_what_is_meant_for_another_process_is_not_taken():
    with managed() as daemon:
        daemon.start(pid="1")
        assert daemon.process.wait(WAIT) == 1 and "another daemon answers" in daemon.text()


def test_what_is_no_socket_is_refused():
    with managed() as daemon, open("/dev/null") as null:
        daemon.start(fds=[null.fileno()])
        assert daemon.process.wait(WAIT) == 1
        assert "no UNIX stream socket that listens" in daemon.text(), daemon.text()


def test_a_socket_elsewhere_is_left_alone():
    with managed() as daemon:
        other = daemon.bind(f"{daemon.root}/other")
        daemon.start(fds=[one.fileno() for one in (*daemon.listening, other)])
        assert "READY=1" in daemon.told()
        assert f"listens at {daemon.root}/other, which is none" in daemon.text()
        define(daemon, "a")
        other.close()


def test_modes_of_its_sockets_are_left_alone():
    with managed() as daemon:
        os.chmod(daemon.socket, 0o640)
        daemon.start(options=["--socket-mode", "0666"])
        assert "READY=1" in daemon.told()
        assert stat.S_IMODE(os.stat(daemon.socket).st_mode) == 0o640
        assert "the sockets' modes are the service manager's" in daemon.text(), daemon.text()


def test_the_end_of_the_host():
    with managed() as daemon:
        daemon.start(options=["--patience", "3"])
        assert "READY=1" in daemon.told()
        good, paused, deaf = (start(daemon, name) for name in ("good", "paused", "deaf"))
        pids = [daemon.pid(name) for name in ("good", "paused", "deaf")]
        with daemon.client() as client:
            client.call("domain_suspend", dom=paused)
        os.kill(pids[2], signal.SIGSTOP)
        daemon.process.send_signal(signal.SIGUSR1)
        assert "EXTEND_TIMEOUT_USEC=18000000" in daemon.told()
        with contextlib.suppress(OSError), daemon.client() as client:  # it still answers, and starts nothing
            rpc.refused(55, client.call, "domain_create", dom=define(daemon, "late"))
        assert daemon.process.wait(WAIT) == 0
        said = daemon.text()
        assert "guest good, number 1, has shut down" in said, said
        assert "guest paused, number 2, was ended" in said, said
        assert "guest deaf does not power off in time" in said and "guest good does not" not in said, said
        assert not any(os.path.exists(f"/proc/{pid}") for pid in pids)
        daemon.start()
        assert [state(daemon, dom) for dom in (good, paused, deaf)] == [5, 5, 5]


def test_by_hand_it_leaves_or_powers_down():
    with lodged(LODGED) as daemon:
        dom = start(daemon, "a")
        daemon.restart()
        assert state(daemon, dom) == 1
        daemon.end(signal.SIGUSR1)
        daemon.start()
        assert state(daemon, dom) == 5


tap.main(globals())
