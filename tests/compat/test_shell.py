# SPDX-License-Identifier: GPL-2.0-or-later
"""What lodge has for people who look for something: logs, reports, and commands one after the other.

    test_shell.py LODGED BUTTON-IMAGE LODGE
"""
import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import tarfile

import tap
from lodged import WAIT, guest_xml, lodged, until

LODGED, IMAGE, LODGE = sys.argv[1:]


def environment(daemon):
    home = f"{daemon.root}/home"
    os.makedirs(home, exist_ok=True)
    return dict(os.environ, LODGE_URI=daemon.socket, LC_ALL="C", HOME=home, XDG_STATE_HOME=f"{home}/state", TERM="xterm")


def run(daemon, *words, status=0, **options):
    done = subprocess.run([LODGE, *words], capture_output=True, text=True, timeout=WAIT, env=environment(daemon),
                          check=False, stdin=subprocess.DEVNULL, **options)
    assert done.returncode == status, (words, done, daemon.text())
    return done.stderr if status else done.stdout


def start(daemon, name):
    xml = f"{daemon.root}/{name}.xml"
    with open(xml, "w") as out:
        out.write(guest_xml(name, IMAGE))
    run(daemon, "define", xml)
    run(daemon, "start", name)


# --- logs ---

def test_logs():
    with lodged(LODGED) as daemon:
        start(daemon, "web1")
        with open(f"{daemon.root}/log/web1.log") as log:
            text = log.read()
        assert text and run(daemon, "logs", "web1") == text
        lines = text.splitlines(keepends=True)
        assert run(daemon, "logs", "web1", "--lines", "1") == lines[-1]
        assert run(daemon, "logs", "web1", "--lines", str(len(lines) + 7)) == text
        run(daemon, "destroy", "web1")
        run(daemon, "undefine", "web1")
        assert text in run(daemon, "logs", "web1"), "it stays when the guest has gone"
        assert "there is no log of a guest 'x'" in run(daemon, "logs", "x", status=1)
        assert "no name of a guest" in run(daemon, "logs", "../web1", status=1)
        assert run(daemon, "logs", "web1", "--console") == "up\n"
        assert "no console log" in run(daemon, "logs", "x", "--console", status=1)
        assert "no number" in run(daemon, "logs", "web1", "--lines", "0", status=2)


def test_logs_of_run():
    with lodged(LODGED) as daemon:
        folder = f"{daemon.root}/home/state/lodge"
        os.makedirs(folder)
        with open(f"{folder}/own.log", "w") as log:
            log.write("of lodge run\n")
        assert run(daemon, "logs", "own") == "of lodge run\n"


def test_logs_are_followed():
    with lodged(LODGED) as daemon:
        path = f"{daemon.root}/log/g.log"
        with open(path, "w") as log:
            log.write("one\n")
        with subprocess.Popen([LODGE, "logs", "g", "--follow"], stdout=subprocess.PIPE, text=True,
                              env=environment(daemon)) as follow:
            assert follow.stdout.readline() == "one\n"
            with open(path, "a") as log:
                log.write("two\n")
            assert follow.stdout.readline() == "two\n"
            os.rename(path, path + ".1")  # as it is when it has become large
            with open(path, "w") as log:
                log.write("three\n")
            assert follow.stdout.readline() == "three\n"
            follow.send_signal(signal.SIGINT)


# --- report ---

def test_report():
    with lodged(LODGED) as daemon:
        start(daemon, "web1")
        start(daemon, "web2")
        path = f"{daemon.root}/out.tar.gz"
        assert run(daemon, "report", "--output", path).startswith(f"{path}: ")
        assert os.stat(path).st_mode & 0o777 == 0o600
        with tarfile.open(path) as bundle:
            files = {name.split("/", 1)[1]: bundle.extractfile(name).read().decode() for name in bundle.getnames()}
        assert files["versions.txt"].startswith("lodge ") and "Linux " in files["versions.txt"]
        assert {line["what"] for line in json.loads(files["doctor.json"])} > {"engine", "daemon"}
        assert [g["name"] for g in json.loads(files["guests.json"])] == ["web1", "web2"]
        assert files["guests/web1.xml"] == run(daemon, "dumpxml", "web1") and "guests/web2.inactive.xml" in files
        assert json.loads(files["guests/web1.json"])["state"] == "running"
        assert files["logs/web1.log"] == run(daemon, "logs", "web1")
        assert "File exists" in run(daemon, "report", "--output", path, status=1)
        run(daemon, "report", "web2", cwd=daemon.root)
        name, = (n for n in os.listdir(daemon.root) if re.fullmatch(r"lodge-report-[\d-]+\.tar\.gz", n))
        with tarfile.open(f"{daemon.root}/{name}") as bundle:
            names = [n.split("/", 1)[1] for n in bundle.getnames()]
        assert "guests/web2.xml" in names and "guests/web1.xml" not in names, names


def test_report_has_no_passwords():
    with lodged(LODGED) as daemon:
        xml = f"{daemon.root}/g.xml"
        with open(xml, "w") as out:
            out.write(guest_xml("g", IMAGE, "<graphics type='vnc' passwd='geheim'/>"))
        run(daemon, "define", xml)
        assert "geheim" in run(daemon, "dumpxml", "g", "--security-info")
        run(daemon, "report", "--output", f"{daemon.root}/out.tar.gz")
        with tarfile.open(f"{daemon.root}/out.tar.gz") as bundle:
            for name in bundle.getnames():
                assert b"geheim" not in bundle.extractfile(name).read(), name


def test_report_without_a_daemon():
    with lodged(LODGED) as daemon:
        path = f"{daemon.root}/out.tar.gz"
        run(daemon, "report", "--connect", "/nowhere", "--output", path)
        with tarfile.open(path) as bundle:
            said = bundle.extractfile([n for n in bundle.getnames() if n.endswith("/daemon.txt.errors")][0]).read()
        assert b"cannot connect to /nowhere" in said


# --- one after the other ---

class Shell:
    def __init__(self, daemon):
        (self.master, slave), self.text = os.openpty(), b""
        self.process = subprocess.Popen([LODGE], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                        env=environment(daemon), preexec_fn=lambda: control(slave))
        os.close(slave)

    def until(self, wanted):
        """What comes, up to and with that; the rest is the next one's."""
        while wanted not in self.text:
            ready, _, _ = select.select([self.master], [], [], WAIT)
            assert ready, (wanted, self.text)
            self.text += os.read(self.master, 4096)
        end = self.text.index(wanted) + len(wanted)
        text, self.text = self.text[:end], self.text[end:]
        return text.decode()

    def __call__(self, keys, wanted=b"\nlodge> "):
        os.write(self.master, keys)
        return self.until(wanted)

    def end(self, keys):
        """What is printed is read, or else the terminal would wait for that."""
        os.write(self.master, keys)
        with contextlib.suppress(OSError):
            while os.read(self.master, 4096):
                pass
        return self.process.wait(WAIT)


def control(slave):
    import fcntl
    import termios
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)


@contextlib.contextmanager
def shell(daemon):
    made = Shell(daemon)
    try:
        made.until(b"lodge> ")
        yield made
    finally:
        made.process.kill()
        made.process.wait(WAIT)
        os.close(made.master)


def test_commands_one_after_the_other():
    with lodged(LODGED) as daemon:
        start(daemon, "web1")
        with shell(daemon) as s:
            assert "running" in s(b"domstate web1\n")
            assert "there is no command 'levitate'" in s(b"levitate\n")
            assert "argument is missing" in s(b"start\n")
            assert "quote" in s(b"domstate 'web1\n").lower()
            assert "connect" in s(b"help\n") and "Usage: lodge list" in s(b"help list\n")
            s(b"cd /\n")
            assert "\r\n/\r\n" in s(b"pwd\n")
            s(b"connect /nowhere\n")
            assert "cannot connect to /nowhere" in s(b"list\n")
            s(f"connect {daemon.socket}\n".encode())
            assert "web1" in s(b"list\n")
            assert s.end(b"exit\n") == 0


def test_completion():
    with lodged(LODGED) as daemon:
        start(daemon, "web1")
        with shell(daemon) as s:
            s(b"dominf\t we\t\n", b"State:        running")
            s.until(b"lodge> ")
            s(b"dominfo --js\t web1\n", b'"vcpus": 1')


def test_control_c_ends_the_command_alone():
    with lodged(LODGED) as daemon:
        start(daemon, "web1")
        with shell(daemon) as s:
            os.write(s.master, b"event --loop\n")

            def watched():
                children = subprocess.run(["ps", "--ppid", str(s.process.pid), "-o", "pid="], capture_output=True, text=True)
                return children.stdout.strip()
            until("the command runs", watched)
            s(b"\x03")
            assert "running" in s(b"domstate web1\n")


def test_history():
    with lodged(LODGED) as daemon:
        start(daemon, "web1")
        for keys in b"domstate web1\n", b"\x1b[A\x1b[A\n":  # the key up, past `exit`
            with shell(daemon) as s:
                s(keys, b"running")
                s.until(b"lodge> ")
                assert s.end(b"exit\n") == 0
        path = f"{daemon.root}/home/state/lodge/history"
        with open(path) as history:
            assert "domstate" in history.read()


tap.main(globals())
