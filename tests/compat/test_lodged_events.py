# SPDX-License-Identifier: GPL-2.0-or-later
"""Events of guests whose process says what a test has it say: failures of disks, watchdogs, notes.

    test_lodged_events.py LODGED IMAGE LODGE
"""
import json
import os
import subprocess
import sys

import rpc
import tap
from lodged import WAIT, guest_xml, lodged, until
from rpc import refused

LODGED, IMAGE, LODGE = sys.argv[1:]
FAKE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fake_vmm.py")
EVENTS = {procedure.number: procedure for procedure in rpc.PROCEDURES.values() if procedure.kind == "event"}


def start(daemon, name="g", extra=""):
    """A guest of ours with a disk; what it says goes into the file whose path is returned."""
    says, disk, xml = (f"{daemon.root}/{name}.{end}" for end in ("says", "img", "xml"))
    for path, content in ((says, ""), (disk, "x" * 4096)):
        with open(path, "w") as out:
            out.write(content)
    extra += f"<disk type='file'><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>"
    with open(xml, "w") as out:
        text = guest_xml(name, IMAGE, extra=extra)
        if "model='virtio'/>" in extra:
            text = text.replace("<memballoon model='none'/>", "")
        out.write(text.replace("</os>", f"<cmdline>do=monitor:{says}</cmdline></os>"))
    daemon.virsh("define", xml)
    daemon.virsh("start", name)
    return says


def say(path, event, **data):
    with open(path, "a") as out:
        out.write(json.dumps({"event": event, "data": data, "timestamp": {}}) + "\n")


def collect(client, count):
    """Waits for so many events: (NAME, FIELDS)."""
    while len(client.events) < count:
        header, payload = client.message()
        assert header[3] == rpc.EVENT, header
        client.events.append((header[0], header[2], payload))
    found = [(EVENTS[number].name, rpc.Reader(payload).struct(EVENTS[number].args))
             for _, number, payload in client.events]
    client.events.clear()
    return found


def test_a_disk_that_fails():
    with lodged(LODGED, "--vmm", FAKE) as daemon, daemon.client() as client:
        says = start(daemon)
        ids = {n: client.call("connect_domain_event_callback_register_any", eventID=n)["callbackID"] for n in (0, 4, 6)}
        say(says, "BLOCK_IO_ERROR", device="vda", operation="write", action="stop", nospace=True, reason="full")
        say(says, "STOP")
        disk = f"{daemon.root}/g.img"
        first, second, third = collect(client, 3)
        assert first[0] == "domain_event_callback_io_error" and first[1]["callbackID"] == ids[4]
        assert (first[1]["msg"]["srcPath"], first[1]["msg"]["devAlias"], first[1]["msg"]["action"]) == \
            (disk, "virtio-disk0", 1), first
        assert second[0] == "domain_event_callback_io_error_reason" and second[1]["msg"]["reason"] == "enospc", second
        assert third[1]["msg"]["event"] == 3 and third[1]["msg"]["detail"] == 2, third  # suspended: I/O error
        assert daemon.virsh("domstate", "g", "--reason") == "paused (I/O error)"
        assert "vda: no space" in daemon.virsh("domblkerror", "g")
        say(says, "RESUME")
        assert collect(client, 1)[0][1]["msg"]["event"] == 4
        assert "No errors found" in daemon.virsh("domblkerror", "g")
        say(says, "BLOCK_IO_ERROR", device="vdz", nospace=False)  # no disk of this guest's
        say(says, "BLOCK_IO_ERROR")
        say(says, "WATCHDOG")
        assert client.call("connect_get_hostname")["hostname"]


def test_watchdogs():
    with lodged(LODGED, "--vmm", FAKE) as daemon, daemon.client() as client, daemon.client() as old:
        says = start(daemon)
        number = client.call("connect_domain_event_callback_register_any", eventID=3)["callbackID"]
        old.call("connect_domain_event_register_any", eventID=3)
        actions = ["none", "pause", "reset", "poweroff", "shutdown", "debug", "inject-nmi"]
        for action in actions:
            say(says, "WATCHDOG", action=action)
        found = collect(client, len(actions))
        assert [(name, event["callbackID"], event["msg"]["action"]) for name, event in found] == \
            [("domain_event_callback_watchdog", number, n) for n in range(len(actions))], found
        assert [(name, event["action"]) for name, event in collect(old, len(actions))] == \
            [("domain_event_watchdog", n) for n in range(len(actions))]


def test_balloons():
    with lodged(LODGED, "--vmm", FAKE) as daemon, daemon.client() as client:
        start(daemon, extra="<memballoon model='virtio'/>")
        number = client.call("connect_domain_event_callback_register_any", eventID=13)["callbackID"]
        daemon.virsh("setmem", "g", "8M")
        found = [(name, event["callbackID"], event["msg"]["actual"]) for name, event in collect(client, 2)]
        assert found == [("domain_event_callback_balloon_change", number, kib) for kib in (12288, 8192)], found
        assert "Used memory:    8192 KiB" in daemon.virsh("dominfo", "g")
        assert "<currentMemory unit='KiB'>8192<" in daemon.virsh("dumpxml", "g")
        assert "<currentMemory unit='KiB'>16384<" in daemon.virsh("dumpxml", "g", "--inactive")
        daemon.virsh("setmem", "g", "12M", "--live", "--config")
        assert collect(client, 2)[-1][1]["msg"]["actual"] == 12288
        assert "<currentMemory unit='KiB'>12288<" in daemon.virsh("dumpxml", "g", "--inactive")
        daemon.restart()
        assert "<currentMemory unit='KiB'>12288<" in daemon.virsh("dumpxml", "g")
        for words in (["17M"], ["0"], ["17M", "--config"]):
            daemon.virsh("setmem", "g", *words, status=1)
        daemon.virsh("destroy", "g")
        assert "not running" in daemon.virsh("setmem", "g", "8M", "--live", status=1)
        assert "<currentMemory unit='KiB'>12288<" in daemon.virsh("dumpxml", "g")


def test_notes():
    with lodged(LODGED, "--vmm", FAKE) as daemon, daemon.client() as client:
        start(daemon)
        client.call("connect_domain_event_callback_register_any", eventID=23)
        daemon.virsh("desc", "g", "--title", "A title", "--config")
        daemon.virsh("desc", "g", "what it is for", "--live")
        daemon.virsh("metadata", "g", "urn:x", "--key", "x", "--set", "<a/>", "--config")
        found = [(event["type"], event["nsuri"]) for _, event in collect(client, 3)]
        assert found == [(1, None), (0, None), (2, "urn:x")], found
        refused(8, client.call, "domain_set_metadata", type=7, dom=client.call(
            "domain_lookup_by_name", name="g")["dom"])
        client.call("connect_get_hostname")
        assert not client.events


def lodge_hears(daemon, words, count, happen):
    """What `lodge event` prints of COUNT things that happen."""
    registered = "connect_domain_event_callback_register_any\n"
    before = daemon.text().count(registered)
    with subprocess.Popen([LODGE, "event", "--loop", "--timeout", str(WAIT), *words], stdout=subprocess.PIPE, text=True,
                          env=dict(os.environ, LODGE_URI=daemon.socket)) as listens:
        until("it listens", lambda: daemon.text().count(registered) == before + (7 if "--all" in words else 1))
        happen()
        lines = [listens.stdout.readline() for _ in range(count)]
        listens.terminate()
    return lines


def test_lodge_tells_them():
    with lodged(LODGED, "--vmm", FAKE) as daemon:
        says = start(daemon, extra="<memballoon model='virtio'/>")

        def happen():
            say(says, "WATCHDOG", action="inject-nmi")
            say(says, "BLOCK_IO_ERROR", device="vda", operation="write", action="stop", nospace=True, reason="full")
            until("it has been heard", lambda: "vda: no space" in daemon.virsh("domblkerror", "g"))
            daemon.virsh("metadata", "g", "urn:x", "--key", "x", "--set", "<a/>", "--config")
            daemon.virsh("desc", "g", "--title", "A title", "--live")

        disk = f"{daemon.root}/g.img"
        error = {"device": "virtio-disk0", "path": disk, "action": "pause"}
        told = [json.loads(line) for line in lodge_hears(daemon, ["--all", "--json"], 6, happen)]
        assert told.pop(3) == {"name": "g", "event": "defined", "detail": 1}, told
        assert [(event["name"], event["event"], event["details"]) for event in told] == [
            ("g", "watchdog", {"action": "inject-nmi"}), ("g", "io-error", error),
            ("g", "io-error-reason", dict(error, reason="enospc")),
            ("g", "metadata-change", {"type": "element", "uri": "urn:x"}),
            ("g", "metadata-change", {"type": "title"})], told
        assert lodge_hears(daemon, ["g", "--event", "balloon-change"], 2, lambda: daemon.virsh("setmem", "g", "8M")) == \
            ["guest 'g': balloon-change: kib 12288\n", "guest 'g': balloon-change: kib 8192\n"]
        line, = lodge_hears(daemon, ["--event", "reboot", "--timestamp"], 1, lambda: say(says, "RESET", guest=True))
        assert line.endswith(": guest 'g': reboot\n"), line


def test_events_of_others_are_not_sent():
    with lodged(LODGED, "--vmm", FAKE) as daemon, daemon.client() as client:
        says, other = start(daemon), start(daemon, "h")
        dom = client.call("domain_lookup_by_name", name="h")["dom"]
        client.call("connect_domain_event_callback_register_any", eventID=3, dom=dom)
        say(says, "WATCHDOG", action="pause")
        say(says, "STOP")
        until("it has been heard", lambda: daemon.virsh("domstate", "g") == "paused")
        say(other, "WATCHDOG", action="reset")
        assert [event["msg"]["dom"]["name"] for _, event in collect(client, 1)] == ["h"]


# --- monitors ---


def test_commands_are_passed_on():
    with lodged(LODGED, "--vmm", FAKE) as daemon, daemon.client() as client:
        says = start(daemon)
        dom = client.call("domain_lookup_by_name", name="g")["dom"]
        command = {"execute": "do-it", "arguments": {"a": [1, "x"]}, "id": "mine"}
        reply = client.call("qemu:domain_monitor_command", dom=dom, cmd=json.dumps(command))["result"]
        assert json.loads(reply) == {"return": {"a": [1, "x"]}, "id": "mine"}, reply
        with open(f"{says}.commands") as commands:
            sent = json.loads(commands.read().splitlines()[-1])
        assert (sent["execute"], sent["arguments"]) == ("do-it", {"a": [1, "x"]}) and sent["id"] != "mine", sent
        reply = client.call("qemu:domain_monitor_command", dom=dom, cmd='{"execute": "complain"}')["result"]
        assert json.loads(reply) == {"error": {"class": "GenericError", "desc": "as it was told"}}, reply
        assert json.loads(daemon.virsh("qemu-monitor-command", "g", "--pretty", '{"execute": "query-status"}'))["return"]
        assert "tainted" in daemon.virsh("dominfo", "g") and "guest g is tainted" in daemon.text()
        for bad in ("", "{}", "[1]", '{"execute": 7}', "query-status", '{"execute": "a", "execute": "b"}'):
            refused(8, client.call, "qemu:domain_monitor_command", dom=dom, cmd=bad)
        assert "QMP alone" in daemon.virsh("qemu-monitor-command", "g", "--hmp", "info status", status=1)
        with daemon.client(flags=1) as reader:
            refused(29, reader.call, "qemu:domain_monitor_command", dom=dom, cmd=json.dumps(command))
        daemon.virsh("destroy", "g")
        refused(55, client.call, "qemu:domain_monitor_command", dom=dom, cmd=json.dumps(command))
        daemon.virsh("start", "g")
        assert "tainted" not in daemon.virsh("dominfo", "g")


def test_events_of_monitors():
    with lodged(LODGED, "--vmm", FAKE) as daemon, daemon.client() as client:
        says = start(daemon)
        register = "qemu:connect_domain_monitor_event_register"
        every = client.call(register)["callbackID"]
        one = client.call(register, event="b.c")["callbackID"]
        matching = client.call(register, event="^b.C$", flags=3)["callbackID"]
        for event in ("abc", "b.c", "bxc"):
            say(says, event, value=event)
        client.events.clear()
        found = []
        while len(found) < 6:
            header, payload = client.message()
            procedure = rpc.PROCEDURES["qemu:domain_monitor_event"]
            assert (header[0], header[2]) == (rpc.QEMU, procedure.number), header
            value = rpc.Reader(payload).struct(procedure.args)
            assert json.loads(value["details"]) == {"value": value["event"]} and value["seconds"] > 1 << 30, value
            found.append((value["event"], value["callbackID"]))
        assert found == [("abc", every), ("b.c", every), ("b.c", one), ("b.c", matching), ("bxc", every),
                         ("bxc", matching)], found
        refused(8, client.call, register, event="(", flags=1)
        refused(8, client.call, register, event="x" * 2000)
        client.call("qemu:connect_domain_monitor_event_deregister", callbackID=every)
        refused(8, client.call, "qemu:connect_domain_monitor_event_deregister", callbackID=every)


tap.main(globals())
