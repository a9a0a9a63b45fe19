# SPDX-License-Identifier: GPL-2.0-or-later
"""`lodge run` as a person at a terminal and as a script meet it, with a stand-in for lodge-vmm."""
import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import termios
import time

import tap

LODGE = sys.argv[1]
FAKE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fake_vmm.py")
WAIT = 30


class Place:
    """A directory for one test: runtime and state directories, a kernel, a disk."""

    def __init__(self, directory):
        self.directory = directory
        self.env = dict(os.environ, XDG_RUNTIME_DIR=f"{directory}/run",
                        XDG_STATE_HOME=f"{directory}/state",
                        XDG_CACHE_HOME=f"{directory}/cache")
        os.mkdir(f"{directory}/run", 0o700)
        for name in ("vmlinuz", "disk.img"):
            with open(f"{directory}/{name}", "wb") as out:
                out.truncate(1 << 20)

    def command(self, do, *arguments):
        return [LODGE, "run", "--vmm", FAKE, "--kernel", f"{self.directory}/vmlinuz", "--append",
                f"do={do}", "--name", "t", *arguments]

    def run(self, do, *arguments, **options):
        return subprocess.run(self.command(do, *arguments), env=self.env, capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=WAIT, **options)

    def start(self, do, *arguments, **options):
        return subprocess.Popen(self.command(do, *arguments), env=self.env, **options)

    def leftovers(self):
        return os.listdir(f"{self.directory}/run/lodge")

    def log(self):
        with open(f"{self.directory}/state/lodge/t.log") as text:
            return text.read()


@contextlib.contextmanager
def place():
    with tempfile.TemporaryDirectory() as directory:
        yield Place(directory)


def set_size(terminal, rows, columns):
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Terminal:
    """`lodge run` on a pseudo terminal."""

    def __init__(self, where, do, *arguments, size=(0, 0)):
        self.master, slave = pty.openpty()
        self.slave = slave
        set_size(slave, *size)
        self.before = termios.tcgetattr(slave)
        self.process = where.start(do, *arguments, stdin=slave, stdout=slave, stderr=slave,
                                   start_new_session=True)
        self.text = ""

    def read(self, until):
        end = time.monotonic() + WAIT
        while not re.search(until, self.text):
            left = end - time.monotonic()
            assert left > 0, f"no '{until}' in {self.text!r}"
            if select.select([self.master], [], [], left)[0]:
                self.text += os.read(self.master, 4096).decode(errors="replace")
        return self.text

    def type(self, keys):
        os.write(self.master, keys)

    def is_raw(self):
        return not termios.tcgetattr(self.slave)[3] & termios.ECHO

    def end(self):
        """The exit status; the terminal must be as it was."""
        status = self.process.wait(WAIT)
        with contextlib.suppress(OSError):
            while select.select([self.master], [], [], 0.2)[0]:
                self.text += os.read(self.master, 4096).decode(errors="replace")
        after = termios.tcgetattr(self.slave)
        os.close(self.slave)
        os.close(self.master)
        assert after == self.before, "the terminal was not restored"
        return status


def children(pid):
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True)
    return [int(word) for word in found.stdout.split()]


def program(pid):
    with open(f"/proc/{pid}/comm") as text:
        return text.read().strip()


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as text:
            return text.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(what, seconds=WAIT):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def read_lines(stream, lines):
    return b"".join(stream.readline() for _ in range(lines))


# --- what a script sees ---

def test_first_line_names_the_engine_and_why():
    with place() as where:
        first = where.run("exit:0").stderr.decode().splitlines()[0]
    assert re.match(r"lodge: engine (soft: .*/dev/kvm|kvm: /dev/kvm works)", first), first


def test_console_is_standard_output_and_nothing_else():
    with place() as where:
        assert where.run("hello:0").stdout == b"hello from the guest\r\n"


def test_exit_status_is_the_guests():
    with place() as where:
        for status in (0, 3, 4, 5, 85):
            assert where.run(f"hello:{status}").returncode == status


def test_end_is_said():
    with place() as where:
        assert b"lodge: the guest powered off\n" in where.run("hello:0").stderr
        assert b"lodge: the guest crashed, or its watchdog ended it\n" in where.run("hello:4").stderr


def test_messages_of_lodge_vmm_are_passed_on():
    with place() as where:
        done = where.run("message")
    assert done.returncode == 1 and b"cannot build the machine: no reason" in done.stderr, done


def test_vmm_holds_only_what_it_was_handed():
    with place() as where:
        extra = os.open("/dev/null", os.O_RDONLY)
        os.set_inheritable(extra, True)
        done = where.run("descriptors", "--disk", f"{where.directory}/disk.img", close_fds=False)
        os.close(extra)
    seen = json.loads(done.stdout)
    plan = seen["plan"]
    named = {plan["boot"]["kernel"], plan["monitor"]["fd"], plan["log"]["fd"], plan["statistics"]["fd"]}
    for backend in plan["backends"]:
        named |= {backend[key] for key in ("fd", "fd_in", "fd_out") if key in backend}
    opened = set(seen["open"]) - {0, 1, 2}
    # beside what the plan names: the plan, the name's lock, and the listing of the directory
    assert named < opened and len(opened - named) == 3, (sorted(named), sorted(opened))


def test_perf_map_is_made_for_the_vmm():
    """A file of its own, named after the process that holds it under the number in the plan."""
    with place() as where:
        process = where.start("sleep", "--perf-map", stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        process.stdout.readline()
        vmm = children(process.pid)[0]
        path = f"/tmp/perf-{vmm}.map"
        try:
            plan = json.loads(re.search(r"plan (.*)", where.log()).group(1))
            number = plan["cpu_debug"]["perf_map"]
            assert os.readlink(f"/proc/{vmm}/fd/{number}") == path
            status = os.lstat(path)
            assert stat.S_ISREG(status.st_mode) and not status.st_size, status
            assert not status.st_mode & 0o133 and status.st_uid == os.geteuid(), status
        finally:
            process.terminate()
            # the third line says that the first signal was seen: two at once would count as one
            said = read_lines(process.stderr, 3)
            process.terminate()
            process.communicate(timeout=WAIT)
            os.remove(path)
    assert f" -p {vmm}\n".encode() in said and b"power button" in said, said


def test_jitdump_is_made_for_the_vmm():
    """As the map, in a folder that was named, and open for reading, as it is to be mapped."""
    with place() as where:
        process = where.start("sleep", "--jitdump", where.directory, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        process.stdout.readline()
        vmm = children(process.pid)[0]
        path = f"{where.directory}/jit-{vmm}.dump"
        try:
            plan = json.loads(re.search(r"plan (.*)", where.log()).group(1))
            number = plan["cpu_debug"]["jitdump"]
            assert "perf_map" not in plan["cpu_debug"], plan
            assert os.readlink(f"/proc/{vmm}/fd/{number}") == path
            with open(f"/proc/{vmm}/fdinfo/{number}") as text:
                flags = int(re.search(r"flags:\s*(\d+)", text.read()).group(1), 8)
            assert flags & os.O_ACCMODE == os.O_RDWR, oct(flags)
        finally:
            process.terminate()
            said = read_lines(process.stderr, 3)
            process.terminate()
            process.communicate(timeout=WAIT)
        assert f" -k mono -e cpu-clock -p {vmm}\n".encode() in said, said
        done = where.run("exit:0", "--jitdump", f"{where.directory}/none")
        assert done.returncode == 1 and b"/none/jit-" in done.stderr, done


def test_saved_code_is_asked_for():
    with place() as where:
        done = where.run("exit:0", "--dry-run", "--saved-code")
        cpu = json.loads(done.stdout)["cpu"]
        assert cpu["code_to"] > 2 and "code_from" not in cpu, cpu
        cpu = json.loads(where.run("exit:0", "--dry-run").stdout)["cpu"]
        assert "code_to" not in cpu and "code_from" not in cpu, cpu


def test_damaged_saved_code_is_refused():
    with place() as where:
        name = json.loads(where.run("exit:0", "--dry-run").stdout)["name"]
        os.makedirs(f"{where.directory}/cache/lodge")
        path = f"{where.directory}/cache/lodge/{name}.code"
        header = struct.pack("<8sIIQ64sIIQ", b"LodgeTC", 1, 104, 104, b"", 0, 1, 104)
        for content, why in ((b"", None), (b"LodgeTS\0" + bytes(32), "is none or cut short"),
                             (b"LodgeTS\0" + bytes(32) + header, "was changed")):
            with open(path, "wb") as saved:
                saved.write(content)
            done = where.run("exit:0", "--saved-code")
            assert done.returncode == 0, done
            assert not why or why in where.log(), where.log()
            assert "code_from" not in json.loads(re.findall(r"plan (.*)", where.log())[-1])["cpu"]
        key = f"{where.directory}/state/lodge/code-key"
        assert os.stat(key).st_mode & 0o777 == 0o600 and os.path.getsize(key) == 32


def test_without_perf_map_none_is_made():
    with place() as where:
        done = where.run("descriptors")
        assert "cpu_debug" not in json.loads(done.stdout)["plan"], done
        before = set(os.listdir("/tmp"))
        done = where.run("exit:0", "--dry-run", "--perf-map")
        assert json.loads(done.stdout)["cpu_debug"]["perf_map"] > 2, done
        made = set(os.listdir("/tmp")) - before
    assert not [name for name in made if re.fullmatch(r"perf-\d+\.map", name)
                and os.stat(f"/tmp/{name}").st_size == 0], made


def test_guest_symbols_are_handed_over():
    with place() as where:
        path = f"{where.directory}/System.map"
        with open(path, "w") as text:
            text.write("ffffffff81000000 T _text\n")
        plan = json.loads(where.run("exit:0", "--dry-run", "--perf-map", "--guest-symbols",
                                    path).stdout)
        assert plan["cpu_debug"]["guest_symbols"] > 2, plan
        assert plan["cpu_debug"]["guest_symbols"] != plan["cpu_debug"]["perf_map"], plan
        alone = where.run("exit:0", "--guest-symbols", path)
        for wrong, why in ((f"{path}.no", b"No such file"), (where.directory, b"not a regular")):
            done = where.run("exit:0", "--dry-run", "--perf-map", "--guest-symbols", wrong)
            assert done.returncode == 1 and why in done.stderr and wrong.encode() in done.stderr, done
    assert alone.returncode in (1, 2) and b"--perf-map" in alone.stderr, alone


def test_perf_map_that_is_there_is_refused():
    """Where the next process ids can be chosen: links wait at their paths, and lead nowhere."""
    with open("/proc/sys/kernel/pid_max") as text:
        first = int(text.read()) - 100
    with place() as where:
        paths = [f"/tmp/perf-{pid}.map" for pid in range(first, first + 60)]
        made = []
        try:
            for path in paths:
                os.symlink(f"{where.directory}/trap", path)
                made.append(path)
            inside = f"echo {first} >/proc/sys/kernel/ns_last_pid && echo set >&2 && exec \"$@\""
            done = subprocess.run(
                ["unshare", "--user", "--map-root-user", "--pid", "--fork", "sh", "-c", inside, "sh",
                 *where.command("hello:0", "--perf-map")], env=where.env, capture_output=True,
                stdin=subprocess.DEVNULL, timeout=WAIT)
            assert not os.path.exists(f"{where.directory}/trap")
        finally:
            for path in made:
                os.remove(path)
    if b"set\n" not in done.stderr:
        raise tap.Skip("no namespace of process ids can be made here")
    assert done.returncode == 1 and b"hello" not in done.stdout, done
    assert re.search(rb"lodge run: cannot create /tmp/perf-\d+\.map for perf: File exists; .*remove",
                     done.stderr), done


def test_timeout_ends_the_guest_with_124():
    with place() as where:
        done = where.run("sleep", "--timeout", "1")
        assert done.returncode == 124 and not where.leftovers(), done


def test_first_sigterm_presses_the_button_second_ends():
    with place() as where:
        process = where.start("sleep", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL)
        assert process.stdout.readline() == b"sleeping\r\n"
        process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT) == 5
        assert b"power button pressed" in process.stderr.read()


def test_nothing_is_left_behind():
    with place() as where:
        where.run("hello:0")
        assert not where.leftovers()
        assert "plan {" in where.log() and "ended with status 0" in where.log()


def test_killed_vmm_leaves_nothing():
    with place() as where:
        process = where.start("sleep", stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL)
        process.stdout.readline()
        os.kill(children(process.pid)[0], signal.SIGKILL)
        assert process.wait(WAIT) == 128 + signal.SIGKILL
        assert b"killed by signal 9" in process.stderr.read() and not where.leftovers()


def test_vmm_dies_with_lodge():
    with place() as where:
        process = where.start("sleep", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              stdin=subprocess.DEVNULL)
        process.stdout.readline()
        child = children(process.pid)[0]
        process.kill()
        process.wait(WAIT)
        wait_until(lambda: not alive(child))
        assert where.run("hello:0").returncode == 0, "what was left must not be in the way"
        assert not where.leftovers()


def test_one_name_runs_once():
    with place() as where:
        process = where.start("sleep", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              stdin=subprocess.DEVNULL)
        process.stdout.readline()
        second = where.run("hello:0")
        process.kill()
        process.wait(WAIT)
    assert second.returncode == 1, second
    assert f"'t' is running already, started by process {process.pid}" in second.stderr.decode()


def test_image_in_use_names_the_holder():
    with place() as where:
        disk = f"{where.directory}/disk.img"
        process = where.start("sleep", "--disk", disk, stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        process.stdout.readline()
        command = [word if word != "t" else "other" for word in where.command("hello:0")]
        second = subprocess.run([*command, "--disk", disk], env=where.env, capture_output=True,
                                text=True, timeout=WAIT, stdin=subprocess.DEVNULL)
        vmm, = children(process.pid)
        process.kill()
        process.wait(WAIT)
        wait_until(lambda: not alive(vmm))  # which dies of it a moment later
        third = where.run("hello:0", "--disk", disk)
    assert third.returncode == 0, third
    assert second.returncode == 1 and f"{disk} is in use" in second.stderr, second
    assert f"by process {process.pid} (" in second.stderr, second.stderr


def test_disk_named_twice():
    with place() as where:
        disk = f"{where.directory}/disk.img"
        done = where.run("hello:0", "--disk", disk, "--disk", disk)
    assert done.returncode == 1, done
    assert f"vdb: {disk} is also disk vda of this guest" in done.stderr.decode(), done


def test_foreign_lock_on_an_image_is_respected():
    with place() as where:
        with open(f"{where.directory}/disk.img", "r+b") as image:
            # byte 201: "nobody else may write", as QEMU says it
            lock = bytes(fcntl.fcntl(image, 37, _flock(fcntl.F_RDLCK, 201)))
            assert lock
            done = where.run("hello:0", "--disk", f"{where.directory}/disk.img")
    assert done.returncode == 1 and b"is in use" in done.stderr, done


def _flock(kind, start):
    import struct
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, start, 1, 0)


def test_console_file():
    with place() as where:
        path = f"{where.directory}/console.txt"
        done = where.run("hello:0", "--console", f"file:{path}")
        with open(path) as text:
            assert text.read() == "hello from the guest\n"
    assert done.stdout == b"", done


def test_console_unix_socket():
    with place() as where:
        path = f"{where.directory}/console.sock"
        process = where.start("echo", "--console", f"unix:{path}", stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL)
        wait_until(lambda: os.path.exists(path))
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(path)
            peer.sendall(b"aq")
            assert peer.makefile("rb").read() == b"ready\r\n<a>"
        assert process.wait(WAIT) == 0 and not os.path.exists(path)
        assert f"the console is {path}" in process.stderr.read().decode()


def test_console_pty():
    with place() as where:
        process = where.start("echo", "--console", "pty", stderr=subprocess.PIPE,
                              stdin=subprocess.DEVNULL)
        process.stderr.readline()
        path = re.search(r"the console is (/dev/pts/\d+)", process.stderr.readline().decode())
        number = os.open(path.group(1), os.O_RDWR | os.O_NOCTTY)
        with open(number, "r+b", buffering=0) as terminal:
            terminal.write(b"x")
            text = b""
            while not text.endswith(b"<x>"):
                text += terminal.read(1)
            terminal.write(b"q")  # its end would take away what is not read
        assert process.wait(WAIT) == 0


def test_console_none():
    with place() as where:
        done = where.run("exit:0", "--console", "none")
    assert done.returncode == 0 and done.stdout == b"", done


def test_wrong_values_are_said_of_the_option():
    with place() as where:
        empty = f"{where.directory}/empty"
        with open(empty, "wb"):
            pass
        for arguments, text in (
                (("--cpus", "1000"), "--cpus: '1000' is not a number from 1 to 255"),
                (("--memory", "5Q"), "--memory: unit='Q' is not a unit: use KiB, MiB or GiB"),
                (("--initrd", "/nowhere"), "--initrd: cannot open /nowhere: No such file or "
                 "directory; correct the path, or make the file readable"),
                (("--initrd", "/tmp"), "--initrd: cannot boot /tmp: it is a directory; name a "
                 "file in it"),
                (("--initrd", empty), f"--initrd: cannot boot {empty}: it is empty; was it "
                 "written completely?"),
                (("--disk", "/nowhere"), "--disk: vda: cannot open /nowhere: No such file or "
                 "directory; create it, or correct <source>")):
            done = where.run("hello:0", *arguments)
            assert done.returncode == 1, done
            assert f"lodge run: {text}\n" == done.stderr.decode(), done.stderr


def test_guest_without_a_log_says_so():
    with place() as where:
        where.env["XDG_STATE_HOME"] = "/proc/nowhere"
        done = where.run("hello:0")
    assert done.returncode == 0, done
    assert b"warning: there will be no log: /proc/nowhere/lodge/t.log: No such" in done.stderr, done


def test_death_of_the_network_is_said():
    with place() as where:
        process = where.start("sleep", "--net", "user", stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        process.stdout.readline()
        vmm = [pid for pid in children(process.pid) if program(pid) != "lodge-net"]
        net = [pid for pid in children(process.pid) if program(pid) == "lodge-net"]
        assert len(net) == 1 and len(vmm) == 1, (net, vmm)
        os.kill(net[0], signal.SIGKILL)
        said = b""
        while b"network" not in said:
            line = process.stderr.readline()
            assert line, said
            said += line
        assert b"warning: lodge-net was killed by signal 9 (Killed); the guest goes on" in said, said
        assert alive(vmm[0]) and process.poll() is None
        process.terminate()
        process.stderr.readline()
        process.terminate()
        assert process.wait(WAIT) == 5


def test_wrong_options_end_with_usage():
    with place() as where:
        for words in (["--engine", "warp"], ["--no-such"], ["--timeout"], ["--console=radio"],
                      ["--timeout", "soon"], ["--no-reboot=yes"]):
            done = where.run("exit:0", *words)
            assert done.returncode == 2 and done.stderr.startswith(b"lodge run: "), done


def test_no_reboot_is_in_the_plan():
    with place() as where:
        plan = json.loads(where.run("exit:0", "--dry-run", "--no-reboot").stdout)
    assert plan["lifecycle"]["reboot"] == "destroy", plan


def test_dry_run_starts_nothing_and_leaves_nothing():
    with place() as where:
        done = where.run("exit:7", "--dry-run")
        assert done.returncode == 0 and not where.leftovers(), done


def test_xml_from_standard_input():
    xml = "<domain type='qemu'><name>in</name><memory unit='MiB'>64</memory><os><type>hvm</type>" \
          "<kernel>/k</kernel></os></domain>"
    done = subprocess.run([LODGE, "run", "--print-xml", "-"], input=xml, capture_output=True,
                          text=True, timeout=WAIT)
    assert "<name>in</name>" in done.stdout, done


def test_forward_reaches_the_interface():
    with place() as where:
        done = where.run("exit:0", "--print-xml", "--forward", "127.0.0.1:2222:22", "--forward",
                         "udp:5353:53")
    text = done.stdout.decode()
    assert "<portForward proto='tcp' address='127.0.0.1'>" in text, done
    assert "<portForward proto='udp' address='127.0.0.1'>" in text, "not for the world"
    assert "<range start='5353' to='53'/>" in text, done


# --- what a person sees ---

def test_terminal_is_raw_and_restored():
    with place() as where:
        terminal = Terminal(where, "echo")
        terminal.read("escape key is Ctrl-\\]")
        terminal.read("ready")
        assert terminal.is_raw()
        terminal.type(b"\x03a")
        terminal.read("<a>")
        assert "<\x03>" in terminal.text, "Ctrl-C belongs to the guest"
        terminal.type(b"q")
        assert terminal.end() == 0


def test_escape_key_quits():
    with place() as where:
        terminal = Terminal(where, "sleep")
        terminal.read("sleeping")
        terminal.type(b"\x1d")
        terminal.read("p power button, r reset, q quit")
        terminal.type(b"q")
        assert terminal.end() == 5


def test_escape_key_itself_can_be_sent():
    with place() as where:
        terminal = Terminal(where, "echo")
        terminal.read("ready")
        terminal.type(b"\x1d]b")
        terminal.read("<\x1d><b>")
        terminal.type(b"q")
        assert terminal.end() == 0


def test_terminal_is_restored_when_vmm_is_killed():
    with place() as where:
        terminal = Terminal(where, "sleep")
        terminal.read("sleeping")
        os.kill(children(terminal.process.pid)[0], signal.SIGKILL)
        assert terminal.end() == 128 + signal.SIGKILL


def test_terminal_is_restored_after_signals():
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        with place() as where:
            terminal = Terminal(where, "sleep")
            terminal.read("sleeping")
            terminal.process.send_signal(number)
            terminal.read("power button pressed")
            terminal.process.send_signal(number)
            assert terminal.end() == 5


def test_terminal_is_restored_after_a_fatal_signal():
    with place() as where:
        terminal = Terminal(where, "sleep")
        terminal.read("sleeping")
        terminal.process.send_signal(signal.SIGSEGV)
        assert terminal.end() != 0


def test_terminal_is_given_back_while_stopped():
    with place() as where:
        terminal = Terminal(where, "echo")
        terminal.read("ready")
        terminal.process.send_signal(signal.SIGTSTP)
        wait_until(lambda: not terminal.is_raw())
        terminal.process.send_signal(signal.SIGCONT)
        wait_until(terminal.is_raw)
        terminal.type(b"q")
        assert terminal.end() == 0


XML_OF_A_CONSOLE = """<domain type='qemu'><name>t</name><memory unit='MiB'>64</memory>
<os><type>hvm</type><kernel>/dev/null</kernel><cmdline>do=resize</cmdline></os>
<devices><console type='pty'><target type='virtio'/></console></devices></domain>"""


def test_virtio_console_has_the_terminals_size():
    with place() as where:
        with open(f"{where.directory}/t.xml", "w") as xml:
            xml.write(XML_OF_A_CONSOLE.replace("/dev/null", f"{where.directory}/vmlinuz"))
        where.command = lambda do, *arguments: [LODGE, "run", "--vmm", FAKE,
                                                f"{where.directory}/t.xml"]
        terminal = Terminal(where, "resize", size=(50, 132))
        terminal.read("size 132 50")
        for rows, columns in ((24, 80), (60, 200)):
            set_size(terminal.slave, rows, columns)
            terminal.process.send_signal(signal.SIGWINCH)
            terminal.read(f"size {columns} {rows}")
        assert terminal.end() == 0


tap.main(globals())
