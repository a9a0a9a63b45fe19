# SPDX-License-Identifier: GPL-2.0-or-later
"""lodged, driven by an unmodified virsh and by a raw client: definitions, the life of guests, events,
what survives kill -9, what a read-only client may do, and what it does to hostile bytes.

    test_lodged.py LODGED BUTTON-IMAGE
"""
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

import rpc
import tap
from lodged import WAIT, Lodged, guest_xml, is_sanitized, lodged, until
from rpc import refused

LODGED, IMAGE = sys.argv[1:]
TOP = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))
NO_DOMAIN, DENIED, NO_SUPPORT, WRONG = 42, 29, 3, 8


# What is not in this version, by the words that virsh's message must have.
ABSENT = {
    "SMBIOS": ["sysinfo"],
    "saving guests": ["save g FILE.saved", "managedsave g"],
    "saved guests": ["restore FILE"],
    "snapshots": ["snapshot-create g", "snapshot-create-as g s --disk-only"],
    "checkpoints": ["checkpoint-create g"],
    "backups": ["backup-begin g"],
    "migration": ["migrate-setspeed g 5", "migrate-getmaxdowntime g", "migrate-postcopy g"],
    "dumps": ["dump g FILE.core"],
    "no screen": ["screenshot g FILE.shot"],
    "guest agents": ["domtime g", "domhostname g", "domfsinfo g", "domfsfreeze g", "guestinfo g", "qemu-agent-command g {}",
                     "set-user-password g root x"],
    "I/O threads": ["iothreadadd g 1", "iothreaddel g 1", "iothreadset g 1 --poll-max-ns 5"],
    "keep their size": ["blockresize g vda 1M"],
    "backing files": ["blockcommit g vda", "blockpull g vda"],
    "virsh blkiotune limits": ["blkdeviotune g vda"],
    "network cards": ["domiftune g net0"],
    "virsh suspend": ["dompmsuspend g mem", "dompmwakeup g"],
    "one by one": ["setvcpu g 1 --disable"],
    "command lines": ["domxml-from-native qemu-argv FILE"],
    "neither made nor given": ["nodedev-create FILE"],
}

def write(daemon, name, text):
    path = f"{daemon.root}/{name}.xml"
    with open(path, "w") as out:
        out.write(text)
    return path


def define(daemon, name="g", **settings):
    daemon.virsh("define", write(daemon, name, guest_xml(name, IMAGE, **settings)))


class Console:
    """The guest's first serial port, by the path that its live XML names."""

    def __init__(self, daemon, name):
        path = re.search(r"<console type='pty' tty='([^']+)'", daemon.virsh("dumpxml", name))
        path = path or re.search(r"<source path='(/dev/pts/\d+)'", daemon.virsh("dumpxml", name))
        self.fd = os.open(path.group(1), os.O_RDWR | os.O_NOCTTY)
        self.text = b""
        until("the guest sees that somebody looks", self.greet)
        self.text = b""

    def greet(self):
        os.write(self.fd, b"h")
        if select.select([self.fd], [], [], 0.1)[0]:
            self.text += os.read(self.fd, 4096)
        return b"here" in self.text

    def wait(self, text):
        end = time.monotonic() + WAIT
        while text not in self.text:
            assert time.monotonic() < end, self.text
            if select.select([self.fd], [], [], 0.1)[0]:
                self.text += os.read(self.fd, 4096)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)


class Events:
    """virsh event --all --loop, from when it has registered."""

    def __init__(self, daemon):
        self.path = f"{daemon.root}/events"
        self.out = open(self.path, "w")
        self.process = subprocess.Popen(["virsh", "-c", daemon.uri(), "event", "--all", "--loop"],
                                        stdout=self.out, stdin=subprocess.DEVNULL)
        # the probe is defined again until its event comes: then all are registered for
        uuid = "<uuid>6ba7b810-9dad-11d1-80b4-00c04fd430c8</uuid><memory"
        probe = write(daemon, "probe", guest_xml("probe", IMAGE).replace("<memory", uuid))

        def seen():
            daemon.virsh("define", probe)
            return "probe" in self.text()

        until("virsh gets events", seen)
        daemon.virsh("undefine", "probe")

    def text(self):
        with open(self.path) as text:
            return text.read()

    def of(self, name):
        return re.findall(rf"event '([a-z-]+)' for domain '{name}'(?:: (.+))?", self.text())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGINT)
        self.process.wait(WAIT)
        self.out.close()


# --- the life of a guest ---


def test_life_by_virsh():
    with lodged(LODGED) as daemon, Events(daemon) as events:
        define(daemon)
        assert re.search(r"- +g +shut off", daemon.virsh("list", "--all"))
        assert daemon.virsh("list", "--name") == ""
        daemon.virsh("start", "g")
        assert re.search(r"\d+ +g +running", daemon.virsh("list"))
        assert daemon.state("g") == "running (booted)"
        info = daemon.virsh("dominfo", "g")
        for line in (r"State: +running", r"CPU\(s\): +1", r"Max memory: +16384 KiB",
                     r"Persistent: +yes", r"OS Type: +hvm"):
            assert re.search(line, info), info
        live, inactive = daemon.virsh("dumpxml", "g"), daemon.virsh("dumpxml", "--inactive", "g")
        assert "<alias name='serial0'/>" in live and re.match(r"<domain type='qemu' id='\d+'>", live), live
        assert "<alias" not in inactive and " id='" not in inactive.split("\n")[0], inactive
        with Console(daemon, "g") as console:
            daemon.virsh("reset", "g")
            console.wait(b"up")
            daemon.virsh("suspend", "g")
            assert daemon.state("g") == "paused (user)"
            daemon.virsh("resume", "g")
            assert daemon.state("g") == "running (unpaused)"
            console.text = b""
            daemon.virsh("reboot", "g")
            console.wait(b"button")
            console.wait(b"up")
            daemon.virsh("shutdown", "g")
        daemon.wait_state("g", "shut off (shutdown)")
        daemon.virsh("undefine", "g")
        assert daemon.virsh("list", "--all", "--name") == ""
        until("the last event", lambda: ("lifecycle", "Undefined Removed") in events.of("g"))
        found = [f"{kind} {text}".strip() for kind, text in events.of("g")]
        assert found == ["lifecycle Defined Added", "lifecycle Started Booted", "reboot",
                         "lifecycle Suspended Paused", "lifecycle Resumed Unpaused", "reboot",
                         "lifecycle Shutdown Finished after guest request", "lifecycle Stopped Shutdown",
                         "lifecycle Undefined Removed"], found
        assert not os.listdir(f"{daemon.root}/run/guests")
        until("nothing is kept", lambda: not any(os.listdir(f"{daemon.root}/state/{d}")
                                                 for d in ("domains", "running", "autostart")))


def test_destroy_and_crash():
    with lodged(LODGED) as daemon:
        define(daemon)
        daemon.virsh("start", "g")
        pid = daemon.pid("g")
        daemon.virsh("destroy", "g")
        assert daemon.state("g") == "shut off (destroyed)" and not os.path.exists(f"/proc/{pid}")
        daemon.virsh("start", "g")
        os.kill(daemon.pid("g"), signal.SIGKILL)
        daemon.wait_state("g", "shut off (failed)")
        daemon.virsh("start", "g")
        with Console(daemon, "g") as console:
            os.write(console.fd, b"x")
            daemon.wait_state("g", "shut off (crashed)")


def test_transient_guests():
    with lodged(LODGED) as daemon:
        path = write(daemon, "t", guest_xml("t", IMAGE))
        daemon.virsh("create", "--paused", path)
        assert daemon.state("t") == "paused (user)"
        assert "transient" in daemon.virsh("undefine", "t", status=1)
        daemon.virsh("resume", "t")
        with open(path) as text:
            keep = text.read().replace("<memory", f"<uuid>{daemon.virsh('domuuid', 't')}</uuid><memory")
        daemon.virsh("define", write(daemon, "keep", keep.replace(">16<", ">32<")))
        assert re.search(r"Persistent: +yes", daemon.virsh("dominfo", "t"))
        assert ">16384<" in daemon.virsh("dumpxml", "t")
        assert ">32768<" in daemon.virsh("dumpxml", "--inactive", "t")
        daemon.virsh("undefine", "t")
        assert re.search(r"Persistent: +no", daemon.virsh("dominfo", "t"))
        daemon.virsh("destroy", "t")
        assert daemon.virsh("list", "--all", "--name") == ""
        define(daemon, "d")  # runs as something else, and stays what it is
        other = daemon.virsh("dumpxml", "d").replace(">16384<", ">32768<")
        bad = daemon.virsh("dumpxml", "d").replace(IMAGE, "/nowhere/vmlinuz")
        daemon.virsh("create", write(daemon, "bad", bad), status=1)
        daemon.virsh("create", write(daemon, "other", other))
        assert ">32768<" in daemon.virsh("dumpxml", "d") and ">16384<" in daemon.virsh("dumpxml", "--inactive", "d")
        daemon.virsh("destroy", "d")
        daemon.virsh("start", "d")
        assert ">16384<" in daemon.virsh("dumpxml", "d")
        daemon.virsh("destroy", "d")
        daemon.virsh("undefine", "d")
        daemon.virsh(f"create --autodestroy {path}; list")
        until("autodestroy", lambda: daemon.virsh("list", "--all", "--name") == "")


def test_errors():
    with lodged(LODGED) as daemon:
        define(daemon)
        uuid = daemon.virsh("domuuid", "g")
        assert "already exists with uuid " + uuid in \
            daemon.virsh("define", write(daemon, "g", guest_xml("g", IMAGE)), status=1)
        other = guest_xml("other", IMAGE).replace("<memory", f"<uuid>{uuid}</uuid><memory")
        assert "already defined with uuid" in daemon.virsh("define", write(daemon, "o", other), status=1)
        assert "domain XML:1: " in daemon.virsh("define", write(daemon, "bad", "<domain/>"), status=1)
        assert "not running" in daemon.virsh("suspend", "g", status=1)
        assert "failed to get domain" in daemon.virsh("start", "nobody", status=1)
        daemon.virsh("define", write(daemon, "n", guest_xml("n", "/nowhere/vmlinuz")))
        assert "cannot open /nowhere/vmlinuz" in daemon.virsh("start", "n", status=1)
        assert daemon.state("n") == "shut off (failed)"
        daemon.virsh("define", write(daemon, "s", guest_xml("s", f"{daemon.root}/s.xml")))
        assert "kernel" in daemon.virsh("start", "s", status=1)  # what lodge-vmm says of it
        daemon.virsh("start", "g")
        assert "already active" in daemon.virsh("start", "g", status=1)
        assert "already running" in daemon.virsh("resume", "g", status=1)
        for lacking, commands in ABSENT.items():
            for words in commands:
                said = daemon.virsh(*words.replace("FILE", f"{daemon.root}/g.xml").split(), status=1)
                assert "not supported by the connection driver: " in said and lacking in said, (words, said)
        done = subprocess.run(["virsh", "-c", daemon.uri().replace("qemu", "xen"), "list"],
                              capture_output=True, text=True)
        assert "no connection driver available for xen:///system" in done.stderr, done


def test_passwords_are_for_read_write_clients():
    secret = "<graphics type='vnc' passwd='geheim'/>"
    with lodged(LODGED) as daemon:
        define(daemon, extra=secret)
        assert "geheim" not in daemon.virsh("dumpxml", "g")
        assert "geheim" in daemon.virsh("dumpxml", "--security-info", "g")
        with daemon.client(flags=1) as client:
            dom = client.call("domain_lookup_by_name", name="g")["dom"]
            assert "geheim" not in client.call("domain_get_xml_desc", dom=dom, flags=2)["xml"]
            for flags in (1, 8):
                refused(DENIED, client.call, "domain_get_xml_desc", dom=dom, flags=flags)


def test_metadata():
    with lodged(LODGED) as daemon:
        define(daemon)
        assert "metadata not found" in daemon.virsh("metadata", "g", "http://a/b", status=1)
        daemon.virsh("desc", "g", "--title", "The web", "server")
        daemon.virsh("desc", "g", "for <all> & everybody")
        assert daemon.virsh("desc", "g", "--title") == "The web server"
        assert re.search(r"- +g +shut off +The web server", daemon.virsh("list", "--all", "--title"))
        daemon.virsh("metadata", "g", "http://a/b", "--key", "ab", "--set", "<owner id='7'><mail>x</mail></owner>")
        daemon.virsh("start", "g")
        daemon.virsh("metadata", "g", "http://a/b", "--live", "--key", "ab", "--set", "<owner id='8'/>")
        daemon.virsh("desc", "g", "--live", "--config", "--title", "Another")
        daemon.restart(signal.SIGKILL)
        assert daemon.virsh("desc", "g", "--title") == daemon.virsh("desc", "g", "--config", "--title") == "Another"
        assert daemon.virsh("desc", "g", "--config") == "for <all> & everybody"
        assert 'id="8"' in daemon.virsh("metadata", "g", "http://a/b")
        config = daemon.virsh("metadata", "g", "http://a/b", "--config")
        assert config.replace('"', "'").split() == ["<owner", "id='7'>", "<mail>x</mail>", "</owner>"] or \
            config == '<owner id="7"><mail>x</mail></owner>', config
        daemon.virsh("metadata", "g", "http://a/b", "--config", "--remove")
        assert "metadata not found" in daemon.virsh("metadata", "g", "http://a/b", "--config", status=1)
        with daemon.client() as client:
            dom = client.call("domain_lookup_by_name", name="g")["dom"]
            for values in ({"type": 1, "metadata": "two\nlines"}, {"type": 3, "metadata": "x"},
                           {"type": 2, "metadata": "<a/>", "uri": "u"},
                           {"type": 2, "metadata": "<a/>", "uri": "u", "key": "a b"},
                           {"type": 0, "metadata": "x", "flags": 8}):
                refused(WRONG, client.call, "domain_set_metadata", dom=dom, **values)
            refused(27, client.call, "domain_set_metadata", dom=dom, type=2, uri="u", key="k", metadata="<a>")
        daemon.virsh("destroy", "g")


def test_lists_choose():
    with lodged(LODGED) as daemon:
        for name in "abc":
            define(daemon, name)
        daemon.virsh("start", "b")
        daemon.virsh("autostart", "c")
        daemon.virsh("create", write(daemon, "d", guest_xml("d", IMAGE)))
        daemon.virsh("suspend", "d")
        for flags, names in (([], "bd"), (["--all"], "abcd"), (["--inactive"], "ac"),
                             (["--all", "--persistent"], "abc"), (["--all", "--transient"], "d"),
                             (["--state-running"], "b"), (["--state-paused"], "d"),
                             (["--all", "--autostart"], "c"), (["--all", "--with-snapshot"], "")):
            assert sorted(daemon.virsh("list", "--name", *flags).split()) == list(names), flags
        with daemon.client() as client:
            listed = client.call("connect_list_all_domains", need_results=1)
            assert listed["ret"] == len(listed["domains"]) == 4
            counted = client.call("connect_list_all_domains", need_results=0, flags=1)
            assert counted == {"domains": [], "ret": 2}
            assert client.call("connect_num_of_defined_domains")["num"] == 2
            assert client.call("connect_list_defined_domains", maxnames=1)["names"] == ["a"]
            ids = client.call("connect_list_domains", maxids=9)["ids"]
            assert len(ids) == 2
            assert client.call("domain_lookup_by_id", id=ids[0])["dom"]["name"] in "bd"
            refused(NO_DOMAIN, client.call, "domain_lookup_by_id", id=-1)
            stats = client.call("connect_get_all_domain_stats")["retStats"]
            assert [record["dom"]["name"] for record in stats] == list("abcd")
            params = {p["field"]: p["value"] for p in stats[1]["params"]}
            assert params["state.state"] == 1 and params["balloon.maximum"] == 16384 and "cpu.time" in params


def stream_until(client, text):
    data = b""
    while text not in data:
        status, part = client.packet()
        assert status == rpc.CONTINUE and part, (status, data)
        data += part


def test_console_stream():
    call = "domain_open_console"
    with lodged(LODGED) as daemon, daemon.client() as one, daemon.client() as two:
        define(daemon)
        dom = one.call("domain_lookup_by_name", name="g")["dom"]
        assert "not running" in refused(55, one.call, call, dom=dom)
        one.call("domain_create", dom=dom)
        assert "no console" in refused(1, one.call, call, dom=dom, dev_name="serial7")
        one.call(call, dom=dom, dev_name="serial0")
        serial = one.serial
        one.send_packet(call, serial, rpc.CONTINUE, b"h")
        stream_until(one, b"here")
        assert "Active console session" in refused(9, two.call, call, dom=dom)
        two.call(call, dom=dom, flags=1)  # by force
        assert one.packet() == (rpc.CONTINUE, b"")
        one.send_packet(call, serial, rpc.OK)
        assert one.packet() == (rpc.OK, b"")
        two.send_packet(call, two.serial, rpc.CONTINUE, b"h")
        stream_until(two, b"here")
        two.send_packet(call, two.serial, rpc.OK)
        while (packet := two.packet()) != (rpc.OK, b""):
            assert packet[0] == rpc.CONTINUE
        one.call(call, dom=dom)  # free again
        one.send_packet(call, one.serial, rpc.CONTINUE, b"h" * 200000)  # more than a terminal takes
        two.call("domain_destroy", dom=dom)
        while one.packet() != (rpc.CONTINUE, b""):
            pass


def read_end(path, count=3):
    with open(path) as text:
        return text.read()[-count:]


def test_console_shows_what_was_before():
    call = "domain_open_console"
    with lodged(LODGED) as daemon, daemon.client() as client:
        define(daemon)
        dom = client.call("domain_lookup_by_name", name="g")["dom"]
        for turn in range(2):  # not what an earlier start printed
            client.call("domain_create", dom=dom)
            log = f"{daemon.root}/log/g.console.log"
            until("it has said that it is up", lambda turn=turn: os.path.exists(log) and os.stat(log).st_size == 13 * turn + 3)
            for visit in range(2):
                client.call(call, dom=dom)
                assert client.packet() == (rpc.CONTINUE, b"up\n" + visit * b"here\n"), turn
                client.send_packet(call, client.serial, rpc.CONTINUE, b"h")
                data = b""
                while not data.endswith(b"here\n"):
                    data += client.packet()[1]
                assert b"up" not in data, "said twice"
                client.send_packet(call, client.serial, rpc.OK)
                while (packet := client.packet()) != (rpc.OK, b""):
                    assert packet[0] == rpc.CONTINUE
            client.call("domain_destroy", dom=dom)
        with open(log, "a") as out:  # much of it: whole lines
            out.write("".join(f"line {i}\n" for i in range(10000)))
        client.call("domain_create", dom=dom)
        daemon.restart()  # who takes it over does not know where it began
        with daemon.client() as again:
            until("it is up", lambda: read_end(log) == "up\n")
            again.call(call, dom=dom)
            data = b""
            while not data.endswith(b"up\n"):
                data += again.packet()[1]
            assert re.match(rb"line \d+\nline \d+\n", data) and 16000 < len(data) <= 16384, (len(data), data[:40])


def test_virsh_console():
    with lodged(LODGED) as daemon:
        define(daemon)
        daemon.virsh("start", "g")
        master, slave = os.openpty()
        virsh = subprocess.Popen(["virsh", "-c", daemon.uri(), "console", "g"], stdin=slave, stdout=slave,
                                 stderr=slave, start_new_session=True)
        os.close(slave)
        text = b""
        end = time.monotonic() + WAIT
        while b"here" not in text:
            assert time.monotonic() < end, text
            os.write(master, b"h" if b"Escape character" in text else b"")
            if select.select([master], [], [], 0.1)[0]:
                text += os.read(master, 4096)
        os.write(master, b"\x1d")
        while virsh.poll() is None:
            assert time.monotonic() < end, text
            if select.select([master], [], [], 0.1)[0]:
                try:
                    os.read(master, 4096)
                except OSError:
                    break
        assert virsh.wait(WAIT) == 0
        os.close(master)
        assert daemon.state("g") == "running (booted)"


# --- what survives ---


def test_running_guests_survive_lodged():
    for number in (signal.SIGKILL, signal.SIGTERM):
        with lodged(LODGED) as daemon:
            define(daemon)
            daemon.virsh("start", "g")
            daemon.virsh("create", write(daemon, "t", guest_xml("t", IMAGE)))
            daemon.virsh("suspend", "t")
            before = daemon.virsh("list")
            pids = daemon.pid("g"), daemon.pid("t")
            tty = daemon.virsh("ttyconsole", "g")
            daemon.restart(number)
            assert daemon.virsh("list") == before
            assert (daemon.pid("g"), daemon.pid("t")) == pids
            assert daemon.virsh("ttyconsole", "g") == tty
            until("the pause is known", lambda: daemon.state("t") == "paused (user)")
            daemon.virsh("shutdown", "g")
            daemon.wait_state("g", "shut off (shutdown)")
            daemon.virsh("destroy", "t")
            assert daemon.virsh("list", "--all", "--name") == "g"
            daemon.virsh("start", "g")  # a new number, nobody else's
            assert int(daemon.virsh("domid", "g")) > 2


def test_guests_that_end_without_lodged():
    with lodged(LODGED) as daemon:
        define(daemon)
        daemon.virsh("start", "g")
        daemon.virsh("create", write(daemon, "t", guest_xml("t", IMAGE)))
        pids = daemon.pid("g"), daemon.pid("t")
        daemon.end(signal.SIGKILL)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            until("it ends", lambda: not os.path.exists(f"/proc/{pid}") or
                  open(f"/proc/{pid}/stat").read().split(") ")[1][0] == "Z")
        daemon.start()
        assert daemon.virsh("list", "--all", "--name") == "g"
        assert daemon.state("g").startswith("shut off")
        assert not os.listdir(f"{daemon.root}/run/guests")
        daemon.virsh("start", "g")


def test_kill_at_any_time_loses_no_answer():
    """lodged is killed while clients define and start: what was answered is there afterwards."""
    with lodged(LODGED) as daemon:
        for turn in range(8):
            answered = []
            with daemon.client() as client:
                for n in range(4):
                    name = f"g{turn}-{n}"
                    xml = guest_xml(name, IMAGE)
                    procedure = rpc.PROCEDURES["remote:domain_define_xml"]
                    dom = client.call("domain_define_xml", xml=xml)["dom"]
                    answered.append(name)
                client.call("domain_create", dom=dom)
                running = name
                # and one more, killed somewhere between its request and its answer
                client.serial += 1
                client.socket.sendall(rpc.frame(procedure.program, procedure.number, rpc.encode(
                    procedure.args, {"xml": guest_xml(f"u{turn}", IMAGE)}), serial=client.serial))
                create = rpc.PROCEDURES["remote:domain_create"]
                client.socket.sendall(rpc.frame(create.program, create.number, rpc.encode(
                    create.args, {"dom": client.call("domain_lookup_by_name", name=f"g{turn}-0")["dom"]})))
                time.sleep(turn * 0.003)
                daemon.end(signal.SIGKILL)
            daemon.start()
            there = daemon.virsh("list", "--all", "--name").split()
            assert set(answered) <= set(there), (turn, answered, there)
            active = daemon.virsh("list", "--name").split()
            assert running in active, (turn, active)
            for name in os.listdir(f"{daemon.root}/run/guests"):
                assert name in active and os.path.exists(f"/proc/{daemon.pid(name)}"), (name, active)
            for name in active:
                daemon.virsh("destroy", name)


def test_bad_files_are_left_alone():
    with lodged(LODGED) as daemon:
        define(daemon)
        define(daemon, "h")
        uuid = daemon.virsh("domuuid", "g")
        daemon.end()
        path = f"{daemon.root}/state/domains/{uuid}.xml"
        with open(path, "r+") as out:
            out.truncate(100)
        for name, text in (("domains/half.xml.new", "<dom"), (f"running/{uuid}.0000000009", "no record"),
                           ("running/x.new", "")):
            with open(f"{daemon.root}/state/{name}", "w") as out:
                out.write(text)
        daemon.start()
        assert daemon.virsh("list", "--all", "--name") == "h"
        assert path in daemon.text() and os.path.getsize(path) == 100
        assert "does not begin as a record does" in daemon.text()


def test_a_definition_that_cannot_be_kept_is_refused():
    with lodged(LODGED) as daemon:
        define(daemon)
        old = daemon.virsh("dumpxml", "g")
        shutil.move(f"{daemon.root}/state/domains", f"{daemon.root}/elsewhere")
        again = guest_xml("g", IMAGE, memory=64).replace(
            "<memory", f"<uuid>{daemon.virsh('domuuid', 'g')}</uuid><memory")
        assert "cannot create" in daemon.virsh("define", write(daemon, "g", again), status=1)
        assert "cannot create" in daemon.virsh("define", write(daemon, "h", guest_xml("h", IMAGE)), status=1)
        assert daemon.virsh("list", "--all", "--name") == "g" and daemon.virsh("dumpxml", "g") == old
        shutil.move(f"{daemon.root}/elsewhere", f"{daemon.root}/state/domains")
        define(daemon, "h")


def test_autostart():
    with lodged(LODGED) as daemon:
        define(daemon)
        define(daemon, "h")
        daemon.virsh("autostart", "g")
        assert re.search(r"Autostart: +enable", daemon.virsh("dominfo", "g"))
        daemon.restart()
        assert daemon.virsh("list", "--name") == ""  # the host has not started since
        os.unlink(f"{daemon.root}/run/autostarted")
        daemon.restart()
        until("it starts", lambda: daemon.virsh("list", "--name") == "g")
        daemon.virsh("autostart", "--disable", "g")
        daemon.virsh("undefine", "h")
        daemon.restart()
        assert re.search(r"Autostart: +disable", daemon.virsh("dominfo", "g"))


# --- guests that do not answer ---


def test_a_stopped_process_holds_up_nobody():
    with lodged(LODGED) as daemon:
        define(daemon)
        define(daemon, "h")
        daemon.virsh("start", "g")
        pid = daemon.pid("g")
        os.kill(pid, signal.SIGSTOP)
        with daemon.client() as waiting, daemon.client() as other:
            dom = other.call("domain_lookup_by_name", name="g")["dom"]
            procedure = rpc.PROCEDURES["remote:domain_suspend"]
            waiting.serial += 1
            waiting.socket.sendall(rpc.frame(procedure.program, procedure.number,
                                             rpc.encode(procedure.args, {"dom": dom}), serial=waiting.serial))
            assert other.call("domain_get_state", dom=dom)["state"] == 1
            assert other.call("domain_get_info", dom=dom)["maxMem"] == 16384
            assert len(other.call("connect_get_all_domain_stats")["retStats"]) == 2
            daemon.virsh("start", "h")
            assert not select.select([waiting.socket], [], [], 0)[0], "suspended, by a process that stands"
            os.kill(pid, signal.SIGCONT)
            waiting.reply(procedure)
            assert other.call("domain_get_state", dom=dom)["state"] == 3
        os.kill(pid, signal.SIGSTOP)
        daemon.virsh("destroy", "g")  # by SIGKILL, in the end
        assert not os.path.exists(f"/proc/{pid}")


# --- clients that may not, or should not ---


def test_read_only_clients_change_nothing():
    with lodged(LODGED) as daemon:
        define(daemon)
        daemon.virsh("start", "g")
        before = daemon.virsh("list", "--all"), daemon.virsh("dumpxml", "g"), daemon.virsh("dominfo", "g")
        with rpc.Client(daemon.socket_ro) as client:
            dom = client.call("domain_lookup_by_name", name="g")["dom"]
            denied = served = 0
            for procedure in rpc.PROCEDURES.values():
                if procedure.kind == "event" or procedure.name in ("connect_close", "connect_open"):
                    continue
                changes = any(not re.match(r"getattr$|read$|search_", rule.split(":")[1])
                              for rule in procedure.access.split(",")
                              if rule != "none" and (rule.count(":") == 1 or ":!" in rule))
                try:
                    client.call(("qemu:" if procedure.program == rpc.QEMU else "") + procedure.name, dom=dom)
                    assert not changes, f"{procedure.name} was done"
                    served += 1
                except rpc.Refused as error:
                    if changes and error.code != NO_SUPPORT:
                        assert error.code == DENIED, error
                        denied += 1
            assert denied > 15 and served > 20, (denied, served)
        after = daemon.virsh("list", "--all"), daemon.virsh("dumpxml", "g"), daemon.virsh("dominfo", "g")
        assert [re.sub(r"CPU time.*", "", text) for text in before] == \
            [re.sub(r"CPU time.*", "", text) for text in after]


def test_hostile_bytes():
    with lodged(LODGED) as daemon:
        define(daemon)
        good = daemon.client()
        idle = [rpc.Client(daemon.socket_ro, open=False) for _ in range(1000)]
        open_call = rpc.encode(rpc.PROCEDURES["remote:connect_open"].args, {"name": "qemu:///system"})
        closing = [b"\xff" * 28, struct.pack(">I", 27) + bytes(40), struct.pack(">I", 40 << 20) + bytes(40),
                   rpc.frame(rpc.REMOTE, 1, b""), rpc.frame(rpc.REMOTE, 1, open_call + bytes(4)),
                   rpc.frame(rpc.REMOTE, 1, struct.pack(">III", 1, 0xffffffff, 0)),
                   rpc.frame(rpc.REMOTE, 1, open_call, kind=9), b"GET / HTTP/1.1\r\n\r\n" * 4]
        for data in closing:
            with rpc.Client(daemon.socket, open=False) as bad:
                bad.socket.sendall(data)
                assert bad.socket.recv(100) == b"", data
        with rpc.Client(daemon.socket, open=False) as half:  # and goes on living
            half.socket.sendall(rpc.frame(rpc.REMOTE, 66)[:17])
            assert good.call("connect_get_hostname")["hostname"]
            half.socket.sendall(rpc.frame(rpc.REMOTE, 66)[17:])
            assert half.message()[0][5] == 0
            half.socket.sendall(rpc.frame(0x12345678, 1))
            assert half.message()[0][5] == 1
            half.socket.sendall(rpc.frame(rpc.REMOTE, 59))
            assert b"not open" in half.message()[1]
        many = rpc.frame(rpc.REMOTE, 7) * 20000  # asks for more than it ever reads
        greedy = daemon.client()
        greedy.socket.setblocking(False)
        try:
            for _ in range(100):
                greedy.socket.send(many)
        except BlockingIOError:
            pass
        assert good.call("domain_lookup_by_name", name="g")["dom"]["name"] == "g"
        with open(f"/proc/{daemon.process.pid}/status") as status:
            rss = int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))
        assert rss < 64 << 10 or is_sanitized(LODGED), f"{rss} KiB"
        for client in [good, greedy] + idle:
            client.socket.close()
        daemon.virsh("list")


def test_register_for_every_event():
    with lodged(LODGED) as daemon:
        define(daemon)
        with daemon.client(flags=1) as client:
            numbers = [client.call("connect_domain_event_callback_register_any", eventID=n)["callbackID"]
                       for n in range(27)]
            assert len(set(numbers)) == 27
            refused(WRONG, client.call, "connect_domain_event_callback_register_any", eventID=27)
            client.call("connect_domain_event_callback_deregister_any", callbackID=numbers[0])
            refused(WRONG, client.call, "connect_domain_event_callback_deregister_any", callbackID=numbers[0])
            daemon.virsh("start", "g")
            client.call("connect_get_hostname")
            assert not client.events, "an event that was deregistered"


# --- the program ---


def run(*words, **settings):
    return subprocess.run([LODGED, *words], capture_output=True, text=True, timeout=WAIT, **settings)


def test_one_lodged_for_one_root():
    with lodged(LODGED) as daemon:
        done = run("--root", daemon.root)
        assert done.returncode == 1 and f"another lodged, process {daemon.process.pid}," in done.stderr, done
        daemon.virsh("list")
        daemon.end(signal.SIGKILL)  # sockets and lock are left
        with socket.socket(socket.AF_UNIX) as other:
            os.unlink(daemon.socket)
            other.bind(daemon.socket)
            other.listen()
            done = run("--root", daemon.root)
            assert done.returncode == 1 and "another daemon answers at " + daemon.socket in done.stderr, done
            assert os.path.exists(daemon.socket)
        daemon.start()


def test_places_that_cannot_be():
    with lodged(LODGED) as daemon:
        long = f"{daemon.root}/{'x' * 120}"
        done = run("--root", long)
        assert done.returncode == 1 and "too long for a socket's path" in done.stderr, done
        with open(f"{daemon.root}/file", "w"):
            pass
        done = run("--root", f"{daemon.root}/file")
        assert done.returncode == 1 and "cannot make" in done.stderr, done
        os.makedirs(f"{daemon.root}/runtime/libvirt")
        with open(f"{daemon.root}/runtime/libvirt/virtqemud-sock", "w"):
            pass
        env = dict(os.environ, XDG_RUNTIME_DIR=f"{daemon.root}/runtime", HOME=daemon.root,
                   XDG_DATA_HOME=f"{daemon.root}/data", XDG_STATE_HOME=f"{daemon.root}/st",
                   XDG_CACHE_HOME=f"{daemon.root}/cache")
        done = run("--session", env=env)
        assert done.returncode == 1 and "virtqemud" in done.stderr, done


def test_usage_and_manual():
    assert run().returncode == 2 and run("--root", "/tmp/x", "--session").returncode == 2
    for option, known in (("--engine", "auto, kvm, soft"), ("--kvm-absent", "soft, refuse")):
        done = run("--root", "/tmp/x", option, "warp")
        assert done.returncode == 2 and done.stderr == f"lodged: {option} is one of {known}, not 'warp'\n", done
    assert re.fullmatch(r"lodged \d+\.\d+\.\d+\n", run("--version").stdout)
    options = set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", run("--help").stdout, re.M)) - {"--help"}
    assert {"--root", "--system", "--session"} <= options
    with open(f"{TOP}/man/lodged.8") as page:
        text = page.read().replace("\\-", "-")
    with open(f"{TOP}/completion/lodged") as script:
        completion = script.read()
    for option in options:
        assert option in text, f"{option} is not in the manual page"
        assert option in completion, f"{option} is not in the completion"


tap.main(globals())
