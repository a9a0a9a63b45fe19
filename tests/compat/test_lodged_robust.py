# SPDX-License-Identifier: GPL-2.0-or-later
"""lodged when things go wrong: killed under the load of eight clients, without room or permission to write, with
files that are no definitions; and after ten thousand calls.

    test_lodged_robust.py LODGED BUTTON-IMAGE KILLS
"""
import contextlib
import ctypes
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid

import rpc
import tap
from lodged import Lodged, guest_xml, is_sanitized, lodged, until

LODGED, IMAGE, KILLS = sys.argv[1], sys.argv[2], int(sys.argv[3])
CLIENTS = 8
CLONE_NEWNS = 0x20000


# --- SIGKILL under load ---

class Worker(threading.Thread):
    """Defines, starts, destroys and undefines guests until the connection breaks. What was answered, and is not
    being undone, is in .defined and .started."""

    def __init__(self, daemon, name):
        super().__init__()
        self.daemon_, self.name_ = daemon, name
        self.defined, self.started, self.calls, self.wrong = set(), set(), 0, None

    def run(self):
        try:
            with self.daemon_.client() as client:
                for number in range(1000000):
                    self.turn(client, f"{self.name_}-{number}")
        except (OSError, ConnectionError):
            pass  # it was killed
        except Exception as error:  # told by who joins
            self.wrong = error

    def turn(self, client, name):
        dom = client.call("domain_define_xml", xml=guest_xml(name, IMAGE))["dom"]
        self.defined.add(name)
        self.calls += 1
        if self.calls % 5 == 0:
            client.call("domain_create", dom=dom)
            self.started.add(name)
        if self.calls % 10 == 0:
            self.started.discard(name)
            client.call("domain_destroy", dom=dom)
        if self.calls % 4 == 0:
            other = random.choice(sorted(self.defined - self.started))
            self.defined.discard(other)
            gone = client.call("domain_lookup_by_name", name=other)["dom"]
            client.call("domain_undefine", dom=gone)


def names(client, flags):
    return {dom["name"]: dom for dom in client.call("connect_list_all_domains", need_results=1, flags=flags)["domains"]}


def test_kill_under_load():
    random.seed(17)
    with lodged(LODGED) as daemon:
        answered = 0
        for turn in range(KILLS):
            workers = [Worker(daemon, f"w{turn}-{n}") for n in range(CLIENTS)]
            for worker in workers:
                worker.start()
            time.sleep(random.uniform(0, 0.5))
            daemon.end(signal.SIGKILL)
            for worker in workers:
                worker.join()
                assert not worker.wrong, (turn, worker.wrong)
            daemon.start()
            with daemon.client() as client:
                there, active = names(client, 0), names(client, 1)
                defined = set().union(*(worker.defined for worker in workers))
                started = set().union(*(worker.started for worker in workers))
                answered += len(defined) + len(started)
                assert defined <= set(there), (turn, defined - set(there))
                assert started <= set(active), (turn, started - set(active), daemon.text()[-3000:])
                for name in os.listdir(f"{daemon.root}/run/guests"):
                    assert name in active and os.path.exists(f"/proc/{daemon.pid(name)}"), (turn, name)
                for dom in active.values():
                    client.call("domain_destroy", dom=dom)
                for dom in there.values():
                    client.call("domain_undefine", dom=dom)
            until("nothing is left", lambda: not os.listdir(f"{daemon.root}/state/running"))
            assert not os.listdir(f"{daemon.root}/state/domains"), turn
        assert answered > 3 * KILLS, f"only {answered} answers before {KILLS} kills"
        print(f"# {KILLS} kills, {answered} answered definitions and starts")


# --- nowhere to write ---

@contextlib.contextmanager
def small_disk():
    """A lodged on a disk of 2 MiB, in a mount namespace of this process's own."""
    if os.geteuid():
        raise tap.Skip("only root mounts for sure")
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        raise tap.Skip("there are no mount namespaces here")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    with lodged(LODGED) as daemon:
        assert daemon.end() == 0
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "lodged", daemon.root], capture_output=True)
        if done.returncode:
            daemon.start()
            raise tap.Skip("nothing can be mounted here")
        try:
            daemon.start()
            yield daemon
        finally:
            if daemon.process.poll() is None:
                daemon.end()
            daemon.kill_guests()
            subprocess.run(["umount", "-l", daemon.root], check=True)
            daemon.start()  # for the end of lodged()


def define(client, name, **options):
    return client.call("domain_define_xml", xml=guest_xml(name, IMAGE, **options))["dom"]


def refused(call, *arguments, **values):
    try:
        call(*arguments, **values)
    except rpc.Refused as error:
        return error.message
    raise AssertionError("it was not refused")


def fill(path):
    with open(path, "wb", buffering=0) as out:
        with contextlib.suppress(OSError):
            while True:
                out.write(bytes(4096))


def test_a_full_disk():
    with small_disk() as daemon:
        with daemon.client() as client:
            kept, other = define(client, "kept"), define(client, "other")
            client.call("domain_create", dom=kept)
            before = client.call("domain_get_xml_desc", dom=kept, flags=2)["xml"]
        pid = daemon.pid("kept")
        fill(f"{daemon.root}/big")
        for again in (False, True):  # and once more after a restart, which a full disk is no obstacle to
            with daemon.client() as client:
                assert "No space left" in refused(define, client, "new")
                assert "No space left" in refused(client.call, "domain_create", dom=other)
                assert "No space left" in refused(client.call, "network_define_xml",
                                                  xml="<network><name>n</name><forward mode='nat'/></network>")
                assert set(names(client, 0)) == {"kept", "other"} and set(names(client, 1)) == {"kept"}
                assert client.call("domain_get_xml_desc", dom=kept, flags=2)["xml"] == before
                client.call("domain_suspend", dom=kept)
                client.call("domain_resume", dom=kept)
            if not again:
                daemon.end(signal.SIGKILL)
                daemon.start()
        with open(f"{daemon.root}/state/networks/default", "w"):
            fill(f"{daemon.root}/more")  # with what has become free, lest its uuid be made up and kept
        daemon.restart()
        with daemon.client() as client:
            assert client.call("connect_list_all_networks", need_results=1, flags=0)["ret"] == 1
        assert not os.path.getsize(f"{daemon.root}/state/networks/default"), "nor is there room for a log here"
        assert daemon.pid("kept") == pid
        assert not [name for name in os.listdir(f"{daemon.root}/state/domains") if name.endswith(".new")]
        with daemon.client() as client:
            client.call("domain_destroy", dom=kept)
            client.call("domain_undefine", dom=kept)
        os.unlink(f"{daemon.root}/more")
        os.unlink(f"{daemon.root}/big")
        with daemon.client() as client:
            define(client, "new")
            client.call("domain_create", dom=other)
            client.call("domain_destroy", dom=other)
            assert set(names(client, 0)) == {"new", "other"}


def test_a_state_folder_that_is_read_only():
    with small_disk() as daemon:
        with daemon.client() as client:
            kept, other = define(client, "kept"), define(client, "other")
            client.call("domain_create", dom=kept)
        state = f"{daemon.root}/state"
        subprocess.run(["mount", "--bind", state, state], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", state], check=True)
        for again in (False, True):
            with daemon.client() as client:
                for call in ((define, client, "new"), (client.call, "domain_undefine")):
                    said = refused(*call, **({} if call[0] is define else {"dom": other}))
                    assert "Read-only file system" in said and state in said, said
                assert "Read-only file system" in refused(client.call, "domain_create", dom=other)
                assert set(names(client, 0)) == {"kept", "other"} and set(names(client, 1)) == {"kept"}
            if not again:
                daemon.restart()
        with daemon.client() as client:
            client.call("domain_destroy", dom=kept)
            assert not names(client, 1)
        daemon.restart(signal.SIGKILL)  # its record is still there, and it is not
        with daemon.client() as client:
            assert not names(client, 1) and set(names(client, 0)) == {"kept", "other"}
        subprocess.run(["umount", state], check=True)
        daemon.restart()
        with daemon.client() as client:
            client.call("domain_create", dom=kept)
            client.call("domain_destroy", dom=kept)
            client.call("domain_undefine", dom=other)


# --- the journal ---

def journal(daemon):
    return f"{daemon.root}/state/journal"


def lose_files(daemon):
    """What a disk may have after a failure of the power: names without contents, and no names."""
    folder = f"{daemon.root}/state/domains"
    for number, name in enumerate(sorted(os.listdir(folder))):
        if number % 2:
            os.truncate(f"{folder}/{name}", 0)
        else:
            os.unlink(f"{folder}/{name}")


def kill_before_files_last(daemon, change):
    """What CHANGE gives, called again without what is defined until the kill comes before its files are made to last."""
    while True:
        before = len(daemon.text())
        with daemon.client() as client:
            result = change(client)
        daemon.end(signal.SIGKILL)
        if "files are made to last" not in daemon.text()[before:]:
            return result
        daemon.start()
        with daemon.client() as client:
            for dom in names(client, 0).values():
                client.call("domain_undefine", dom=dom)


def test_what_is_answered_is_in_the_journal():
    def change(client):
        doms = [define(client, f"g{number}") for number in range(6)]
        xml = client.call("domain_get_xml_desc", dom=doms[1], flags=0)["xml"]
        client.call("domain_undefine", dom=doms[0])
        client.call("domain_set_autostart", dom=doms[1], autostart=1)
        return doms, xml

    with lodged(LODGED) as daemon:
        doms, before = kill_before_files_last(daemon, change)
        lose_files(daemon)
        daemon.start()
        with daemon.client() as client:
            assert set(names(client, 0)) == {f"g{number}" for number in range(1, 6)}, daemon.text()
            assert client.call("domain_get_xml_desc", dom=doms[1], flags=0)["xml"] == before
            assert client.call("domain_get_autostart", dom=doms[1])["autostart"] == 1
        assert f"files were made as {journal(daemon)} says" in daemon.text()
        daemon.end()
        os.unlink(f"{daemon.root}/state/domains/{uuid_of(doms[2])}.xml")  # by its owner: nothing brings it back
        daemon.start()
        with daemon.client() as client:
            assert set(names(client, 0)) == {"g1", "g3", "g4", "g5"}


def uuid_of(dom):
    return str(uuid.UUID(bytes=dom["uuid"]))


def test_the_journal_is_emptied_when_all_is_quiet():
    with lodged(LODGED) as daemon:
        with daemon.client() as client:
            define(client, "g")
        until("its file lasts by itself", lambda: "store: 1 files last, and the journal is empty" in daemon.text())
        daemon.end(signal.SIGKILL)
        lose_files(daemon)
        daemon.start()
        assert "files were made as" not in daemon.text()


def test_a_state_folder_without_a_journal():
    """As lodged had it before."""
    with lodged(LODGED) as daemon:
        with daemon.client() as client:
            define(client, "old")
        daemon.end()
        os.unlink(journal(daemon))
        daemon.start()
        with daemon.client() as client:
            define(client, "new")
        daemon.restart(signal.SIGKILL)
        with daemon.client() as client:
            assert set(names(client, 0)) == {"old", "new"}


def refused_start(daemon):
    done = subprocess.run([LODGED, "--root", daemon.root], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done
    return done.stderr


def test_a_journal_of_another_version():
    with lodged(LODGED) as daemon:
        with daemon.client() as client:
            define(client, "kept")
        daemon.end(signal.SIGKILL)
        with open(journal(daemon), "r+b") as file:
            before = file.read()
            for header in (0, 4096):
                assert before[header:header + 13] == b"lodge journal"
                file.seek(header + 16)
                file.write(b"\2\0\0\0")
        said = refused_start(daemon)
        assert journal(daemon) in said and "version 2" in said and "knows 1" in said, said
        with open(journal(daemon), "r+b") as file:
            assert len(file.read()) == len(before), "it is left alone"
            file.seek(0)
            file.write(before)
        daemon.start()
        with daemon.client() as client:
            assert set(names(client, 0)) == {"kept"}


def test_a_journal_that_is_none():
    with lodged(LODGED) as daemon:
        with daemon.client() as client:
            define(client, "kept")
        for content in (b"", b"hello\n", bytes(1 << 20), bytes(range(256)) * 4096):
            daemon.end()
            with open(journal(daemon), "wb") as file:
                file.write(content)
            daemon.start()
            with daemon.client() as client:
                assert set(names(client, 0)) == {"kept"}
                client.call("domain_undefine", dom=define(client, "more"))
            assert f"{journal(daemon)} is no journal, and is now {journal(daemon)}.damaged" in daemon.text()
            with open(journal(daemon) + ".damaged", "rb") as file:
                assert file.read() == content


def test_a_journal_on_a_folder_that_has_become_read_only():
    with small_disk() as daemon:
        dom = kill_before_files_last(daemon, lambda client: define(client, "kept"))
        state = f"{daemon.root}/state"
        subprocess.run(["mount", "--bind", state, state], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", state], check=True)
        daemon.start()
        with daemon.client() as client:
            assert set(names(client, 0)) == {"kept"}
            for call, values in (("domain_undefine", {"dom": dom}), ("domain_define_xml", {"xml": guest_xml("new", IMAGE)})):
                said = refused(client.call, call, **values)
                assert "Read-only file system" in said and "started again" in said and journal(daemon) in said, said
        subprocess.run(["umount", "-l", state], check=True)  # its journal is open there
        with daemon.client() as client:
            assert "started again" in refused(define, client, "new"), "the journal would undo it"
        daemon.restart()
        with daemon.client() as client:
            define(client, "new")
            assert set(names(client, 0)) == {"kept", "new"}


def test_two_that_would_share_a_state_folder():
    with tempfile.TemporaryDirectory(prefix="lodged-") as folder:
        def start(number):
            run = f"{folder}/run{number}"
            os.mkdir(run, 0o700)
            environment = dict(os.environ, HOME=folder, XDG_RUNTIME_DIR=run, XDG_DATA_HOME=f"{folder}/data",
                               XDG_STATE_HOME=f"{folder}/log{number}", XDG_CACHE_HOME=f"{folder}/cache")
            process = subprocess.Popen([LODGED, "--session"], env=environment, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            return process, f"{run}/libvirt/libvirt-sock"

        first, socket = start(1)
        try:
            until("it listens", lambda: os.path.exists(socket))
            second, _ = start(2)
            said = second.communicate(timeout=60)[1]
            assert second.returncode == 1, said
            assert f"another lodged has {folder}/data/lodge/session" in said, said
        finally:
            first.terminate()
            first.communicate(timeout=60)
        assert first.returncode == 0


# --- what is no definition ---

BAD = {
    "empty": b"",
    "zeros": bytes(4096),
    "noise": bytes(random.Random(5).randrange(256) for _ in range(4096)),
    "another element": b"<thing><name>x</name></thing>",
    "no end": b"<domain type='qemu'><name>x</name>",
    "deep": b"<domain type='qemu'>" + b"<a>" * 100000,
    "entities": b"<!DOCTYPE d [<!ENTITY a 'aaaaaaaaaa'>" + b"".join(
        b"<!ENTITY %c '%s'>" % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9)) + b"]><domain><name>&j;</name></domain>",
    "a file of the host": b"<!DOCTYPE d [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><domain><name>&a;</name></domain>",
}


def test_files_that_are_no_definitions():
    with lodged(LODGED) as daemon:
        with daemon.client() as client:
            define(client, "good")
        daemon.end()
        files = {}
        for folder in ("domains", "networks", "pools", "secrets", "running"):
            for number, (what, content) in enumerate(BAD.items()):
                path = f"{daemon.root}/state/{folder}/00000000-0000-4000-8000-{number:012d}" + (
                    ".0000000007" if folder == "running" else ".xml")
                with open(path, "wb") as out:
                    out.write(content)
                files[path] = content
            os.mkdir(f"{daemon.root}/state/{folder}/10000000-0000-4000-8000-000000000000.xml")
        daemon.start()
        with daemon.client() as client:
            assert set(names(client, 0)) == {"good"}
            assert client.call("connect_list_all_networks", need_results=1, flags=0)["ret"] == 1
            assert client.call("connect_list_all_storage_pools", need_results=1, flags=0)["ret"] == 0
            assert client.call("connect_list_all_secrets", need_results=1, flags=0)["ret"] == 0
            define(client, "more")
        said = daemon.text()
        for path, content in files.items():
            assert path in said, f"nothing is said of {path}"
            with open(path, "rb") as kept:
                assert kept.read() == content, f"{path} was not left alone"
        assert "root:" not in said


# --- no leak ---

def resident_kib(pid):
    with open(f"/proc/{pid}/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


def mixed_calls(daemon, count):
    """That many calls on connections of a hundred each: what is answered, what is refused, and what changes."""
    xml = guest_xml("g", IMAGE)
    made = 0
    while made < count:
        with daemon.client() as client:
            for turn in range(10):
                dom = client.call("domain_define_xml", xml=xml)["dom"]
                client.call("domain_get_xml_desc", dom=dom, flags=0)
                client.call("connect_list_all_domains", need_results=1, flags=0)
                client.call("connect_get_all_domain_stats", doms=[], stats=0, flags=0)
                client.call("domain_set_metadata", dom=dom, type=1, metadata=f"title {turn}", flags=2)
                client.call("connect_get_capabilities")
                refused(client.call, "domain_lookup_by_name", name="nobody")
                refused(client.call, "domain_define_xml", xml="<domain>")
                refused(client.call, "domain_suspend", dom=dom)
                client.call("domain_undefine", dom=dom)
            made += 10 * 10
        assert not client.events


def test_ten_thousand_calls():
    if is_sanitized(LODGED):
        raise tap.Skip("a sanitizer keeps what was freed")
    with lodged(LODGED) as daemon:
        mixed_calls(daemon, 2000)
        pid = daemon.process.pid
        before, files = resident_kib(pid), len(os.listdir(f"/proc/{pid}/fd"))
        mixed_calls(daemon, 10000)
        until("its connections are closed", lambda: len(os.listdir(f"/proc/{pid}/fd")) <= files)
        after = resident_kib(pid)
        print(f"# resident: {before} KiB, and after ten thousand calls {after} KiB")
        assert after - before < 1024, (before, after)


def test_a_thousand_guests_are_small():
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "xml/virt-install/import-debian.xml")) as text:
        xml = re.sub(r"<uuid>.*?</uuid>|<mac [^>]*>", "", text.read())
    with lodged(LODGED) as daemon:
        before = resident_kib(daemon.process.pid)
        with daemon.client() as client:
            for number in range(1000):
                client.call("domain_define_xml", xml=re.sub(r"<name>.*?</name>", f"<name>g{number}</name>", xml))
        made = resident_kib(daemon.process.pid)
        daemon.restart()
        again = resident_kib(daemon.process.pid)
        print(f"# resident: {before} KiB, with a thousand guests {made} KiB, started again with them {again} KiB")
        if not is_sanitized(LODGED):
            assert max(made, again) < 30 * 1024, (before, made, again)
        with daemon.client() as client:
            assert len(names(client, 0)) == 1000


tap.main(globals())
