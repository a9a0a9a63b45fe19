# SPDX-License-Identifier: GPL-2.0-or-later
"""Secrets of lodged, by an unmodified virsh and a raw client: what is kept over a SIGKILL, what is given
out to whom.

    test_lodged_secret.py LODGED
"""
import base64
import os
import re
import shutil
import signal
import stat
import subprocess
import sys

import rpc
import tap
from lodged import lodged, rows, until
from rpc import refused

LODGED = sys.argv[1]
UUID = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
XML_ERROR, FAILED, DENIED, NO_SECRET, INVALID = 27, 9, 29, 66, 65


def secret_xml(usage="<usage type='ceph'><name>a</name></usage>", uuid=f"<uuid>{UUID}</uuid>", attributes=""):
    return f"<secret {attributes}>{uuid}<description>of a test</description>{usage}</secret>"


def define(daemon, text):
    path = f"{daemon.root}/secret.xml"
    with open(path, "w") as out:
        out.write(text)
    return re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", daemon.virsh("secret-define", path)).group()


def set_value(daemon, uuid, value):
    path = f"{daemon.root}/value"
    with open(path, "wb") as out:
        out.write(value)
    daemon.virsh("secret-set-value", uuid, "--file", path, "--plain")


def value_file(daemon, uuid=UUID):
    return f"{daemon.root}/state/secrets/{uuid}.base64"


def test_life_of_a_secret():
    with lodged(LODGED) as daemon:
        assert define(daemon, secret_xml()) == UUID
        assert rows(daemon.virsh("secret-list")) == [[UUID, "ceph", "a"]]
        assert "does not have a value" in daemon.virsh("secret-get-value", UUID, status=1)
        value = bytes(range(256))
        set_value(daemon, UUID, value)
        assert base64.b64decode(daemon.virsh("secret-get-value", UUID)) == value
        assert stat.S_IMODE(os.stat(value_file(daemon)).st_mode) == 0o600
        before = daemon.virsh("secret-dumpxml", UUID)
        assert "ephemeral='no' private='no'" in before and "of a test" in before
        daemon.restart(signal.SIGKILL)
        assert base64.b64decode(daemon.virsh("secret-get-value", UUID)) == value
        assert daemon.virsh("secret-dumpxml", UUID) == before
        assert value.hex() not in daemon.text() and base64.b64encode(value).decode() not in daemon.text()
        daemon.virsh("secret-undefine", UUID)
        assert daemon.virsh("secret-list").count("\n") <= 2 and os.listdir(f"{daemon.root}/state/secrets") == ["autostart"]
        assert "no secret" in daemon.virsh("secret-get-value", UUID, status=1)


def test_what_is_not_written_and_not_given_out():
    with lodged(LODGED) as daemon:
        define(daemon, secret_xml(attributes="ephemeral='yes'"))
        set_value(daemon, UUID, b"short-lived")
        assert base64.b64decode(daemon.virsh("secret-get-value", UUID)) == b"short-lived"
        assert not os.path.exists(value_file(daemon))
        daemon.restart()
        assert "does not have a value" in daemon.virsh("secret-get-value", UUID, status=1)
        define(daemon, secret_xml(attributes="ephemeral='no'"))
        set_value(daemon, UUID, b"kept")
        define(daemon, secret_xml(attributes="ephemeral='yes'"))
        until("its file goes", lambda: not os.path.exists(value_file(daemon)))
        define(daemon, secret_xml(attributes="private='yes'"))
        assert "secret is private" in daemon.virsh("secret-get-value", UUID, status=1)
        path = f"{daemon.root}/secret.xml"
        with open(path, "w") as out:
            out.write(secret_xml(attributes="private='no'"))
        assert "stays private" in daemon.virsh("secret-define", path, status=1)
        with rpc.Client(daemon.socket_ro) as client:
            secret = client.call("secret_lookup_by_usage", usageType=2, usageID="a")["secret"]
            assert "<secret" in client.call("secret_get_xml_desc", secret=secret)["xml"]
            refused(DENIED, client.call, "secret_get_value", secret=secret)
            refused(DENIED, client.call, "secret_set_value", secret=secret, value=b"x")
            refused(DENIED, client.call, "secret_undefine", secret=secret)
            refused(DENIED, client.call, "secret_define_xml", xml=secret_xml())


def test_usages_name_one_each():
    with lodged(LODGED) as daemon, daemon.client() as client:
        usages = [(0, "", ""), (1, "/images/a", "<usage type='volume'><volume>/images/a</volume></usage>"),
                  (2, "c", "<usage type='ceph'><name>c</name></usage>"),
                  (3, "i", "<usage type='iscsi'><target>i</target></usage>"),
                  (4, "t", "<usage type='tls'><name>t</name></usage>"),
                  (5, "v", "<usage type='vtpm'><name>v</name></usage>")]
        made = [client.call("secret_define_xml", xml=secret_xml(usage, uuid=""))["secret"] for _, _, usage in usages]
        assert [(s["usageType"], s["usageID"]) for s in made] == [(kind, name) for kind, name, _ in usages]
        for (kind, name, usage), secret in list(zip(usages, made))[1:]:
            assert client.call("secret_lookup_by_usage", usageType=kind, usageID=name)["secret"] == secret
            refused(FAILED, client.call, "secret_define_xml", xml=secret_xml(usage, uuid=""))
        refused(NO_SECRET, client.call, "secret_lookup_by_usage", usageType=2, usageID="t")
        for kind in (-1, 0, 6):
            refused(NO_SECRET, client.call, "secret_lookup_by_usage", usageType=kind, usageID="")
        refused(NO_SECRET, client.call, "secret_lookup_by_uuid", uuid=bytes(16))
        for bad in ("<usage type='ceph'/>", "<usage type='ceph'><name/></usage>", "<usage type='disk'><name>a</name></usage>",
                    "<usage><name>a</name></usage>"):
            refused(XML_ERROR, client.call, "secret_define_xml", xml=secret_xml(bad))
        for attributes in ("ephemeral='maybe'", "private=''"):
            refused(XML_ERROR, client.call, "secret_define_xml", xml=secret_xml(attributes=attributes))
        assert client.call("connect_num_of_secrets")["num"] == 6
        assert len(client.call("connect_list_secrets", maxuuids=4)["uuids"]) == 4
        client.call("secret_define_xml", xml=secret_xml(attributes="private='yes'", uuid=""))
        for flags, count in ((0, 7), (1, 0), (2, 7), (4, 1), (8, 6), (3, 7), (12, 7), (5, 0)):
            assert client.call("connect_list_all_secrets", need_results=1, flags=flags)["ret"] == count, flags
        client.call("secret_set_value", secret=made[0], value=bytes(65536))
        assert client.call("secret_get_value", secret=made[0])["value"] == bytes(65536)


def test_events():
    with lodged(LODGED) as daemon, daemon.client() as client:
        life, changed = (client.call("connect_secret_event_register_any", eventID=n)["callbackID"] for n in (0, 1))
        define(daemon, secret_xml())
        set_value(daemon, UUID, b"x")
        daemon.virsh("secret-undefine", UUID)
        client.call("connect_get_hostname")
        found = []
        for _, number, payload in client.events:
            procedure = next(p for p in rpc.PROCEDURES.values() if p.number == number and p.kind == "event"
                             and p.program == rpc.REMOTE)
            value = rpc.Reader(payload).struct(procedure.args)
            assert (value["secret"]["usageType"], value["secret"]["usageID"]) == (2, "a"), value
            found.append((procedure.name, value["callbackID"], value.get("event")))
        assert found == [("secret_event_lifecycle", life, 0), ("secret_event_value_changed", changed, None),
                         ("secret_event_lifecycle", life, 1)], found


def test_xml_is_valid():
    if not shutil.which("virt-xml-validate"):
        raise tap.Skip("virt-xml-validate is not installed (package libvirt-clients)")
    with lodged(LODGED) as daemon:
        uuid = define(daemon, secret_xml(uuid="", attributes="private='yes'"))
        path = f"{daemon.root}/dumped.xml"
        with open(path, "w") as out:
            out.write(daemon.virsh("secret-dumpxml", uuid))
        done = subprocess.run(["virt-xml-validate", path, "secret"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done


tap.main(globals())
