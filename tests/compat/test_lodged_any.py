# SPDX-License-Identifier: GPL-2.0-or-later
"""Every call of the protocol, many times, with arguments that are right, nearly right or neither: each is answered by
a reply or an error that decodes, lodged goes on, and what it has kept it reads again.

    test_lodged_any.py LODGED BUTTON-IMAGE CALLS [SEED]

What the fuzz target of the protocol has no handlers for, lodged has; a build with sanitizers tells the most.
"""
import os
import random
import sys

import rpc
import tap
from lodged import guest_xml, lodged

LODGED, IMAGE, CALLS = sys.argv[1], sys.argv[2], int(sys.argv[3])
SEED = int(sys.argv[4]) if len(sys.argv) > 4 else 11
ACTIVE, PERSISTENT = 1, 4  # of connect_list_all_domains
# What would change the host, or wait for it.
LEFT_ALONE = {"node_alloc_pages", "node_set_memory_parameters", "node_suspend_for_duration"}
NUMBERS = [0, 0, 0, 1, 1, 2, 3, 4, 5, 7, 8, 16, 64, 100, 1024, 4096, 65536, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1]
LONG = [*NUMBERS, 1 << 32, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
DISK = "<disk type='file'><source file='{0}/disk.img'/><target dev='vda' bus='virtio'/></disk>"
CARD = "<interface type='network'><mac address='52:54:00:00:00:07'/><source network='default'/></interface>"


def xmls(root):
    guest = guest_xml("g", IMAGE)
    return [guest, guest_xml("h", IMAGE, DISK.format(root) + CARD), DISK.format(root), CARD, "<domain>", "<a/>",
            "<network><name>lan</name><forward mode='nat'/><ip address='192.168.7.1' netmask='255.255.255.0'/></network>",
            f"<pool type='dir'><name>p</name><target><path>{root}/images</path></target></pool>",
            "<volume><name>v.img</name><capacity>4096</capacity></volume>", "<host ip='192.168.7.7'><hostname>a</hostname></host>",
            "<volume><name>w.img</name><capacity>1</capacity><allocation>0</allocation></volume>",
            "<secret ephemeral='no' private='no'><usage type='ceph'><name>k</name></usage></secret>",
            "<cpu><arch>x86_64</arch><model>Nehalem</model></cpu>", "<rng model='virtio'><backend model='random'/></rng>",
            "<domainsnapshot><name>s</name></domainsnapshot>"]


class Arguments:
    """At random, with what there is among it."""

    def __init__(self, daemon, client):
        self.client, self.xmls = client, xmls(daemon.root)
        self.strings = ["", "g", "h", "default", "lan", "p", "v.img", "w.img", "vda", "vdb", "net0", "serial0", "52:54:00:00:00:07",
                        "x86_64", "kvm", "qemu", "q35", "hvm", "disk", "a/b", "../x", "a" * 300, "\u00e4\n", "%s%n", "urn:x",
                        "cpu_shares", "vcpu_quota", "hard_limit", "weight", "numa_nodeset", "0-1", f"{daemon.root}/images",
                        f"{daemon.root}/images/v.img", f"{daemon.root}/disk.img", "/nowhere", "{\"execute\":\"query-status\"}"]
        self.objects = {}

    def learn(self):
        """The objects that there are now, by the name of their type."""
        for name, field in (("connect_list_all_domains", "domains"), ("connect_list_all_networks", "nets"),
                            ("connect_list_all_storage_pools", "pools"), ("connect_list_all_secrets", "secrets")):
            kind = dict(rpc.PROCEDURES["remote:" + name].ret)[field]
            self.objects[rpc.TYPE.match(kind).group(1)] = self.client.call(name, need_results=1)[field]

    def value(self, kind, name=""):
        base, suffix, fixed, most, bound = rpc.TYPE.match(kind).groups()
        if suffix == "?":
            return None if random.random() < 0.3 else self.value(base, name)
        if base == "opaque":
            return random.randbytes(int(fixed) if fixed else random.choice([0, 1, 7, 64]))
        if fixed:
            return [self.value(base, name) for _ in range(int(fixed))]
        if suffix:
            return [self.value(base, name) for _ in range(random.choice([0, 1, 1, 2, 5]))]
        if base == "string":
            return random.choice(self.xmls if "xml" in name.lower() and random.random() < 0.9 else self.strings)
        if base in ("u64", "i64"):
            return random.choice(LONG)
        if base == "f64":
            return random.choice([0.0, -1.5, 1e300, float("nan")])
        if base == "typed_param_value":
            number = random.choice(list(rpc.PARAM_TYPES))
            return number, self.value(rpc.PARAM_TYPES[number])
        if base in rpc.WORDS:
            return random.choice(NUMBERS[:12] if "flag" in name.lower() and random.random() < 0.8 else NUMBERS)
        if self.objects.get(base) and random.random() < 0.9:
            return random.choice(self.objects[base])
        return self.all(rpc.STRUCTS[base])

    def all(self, kinds):
        return {name: self.value(kind, name) for name, kind in kinds}


def names(client, flags):
    return {dom["name"] for dom in client.call("connect_list_all_domains", need_results=1, flags=flags)["domains"]}


def ask(daemon, counts, connect):
    """A connection's worth of calls."""
    callable_ = [p for p in rpc.PROCEDURES.values() if p.kind != "event" and p.name not in LEFT_ALONE]
    with connect() as client:
        arguments = Arguments(daemon, client)
        for turn in range(50):
            if turn % 10 == 0:
                arguments.learn()
            procedure = random.choice(callable_)
            name = ("qemu:" if procedure.program == rpc.QEMU else "") + procedure.name
            values = arguments.all(procedure.args)
            counts["calls"] += 1
            try:
                client.call(name, **values)
                counts["done"] += 1
            except rpc.Refused as error:
                assert error.message and error.code, (name, values)
                counts["refused"] += 1
            except (OSError, AssertionError) as error:
                if procedure.name == "connect_close":
                    return
                raise AssertionError(f"{name} {values}: {error!r}; {daemon.text()[-3000:]}") from error
            if procedure.kind.startswith("stream"):
                return  # packets of the stream would come between


def test_any_call_is_answered():
    random.seed(SEED)
    with lodged(LODGED) as daemon:
        os.mkdir(f"{daemon.root}/images")
        with open(f"{daemon.root}/disk.img", "wb") as out:
            out.truncate(1 << 20)
        with daemon.client() as client:
            dom = client.call("domain_define_xml", xml=guest_xml("kept", IMAGE))["dom"]
            client.call("domain_create", dom=dom)
        counts = {"calls": 0, "done": 0, "refused": 0}
        while counts["calls"] < CALLS:
            ask(daemon, counts, daemon.client)
            assert daemon.process.poll() is None, daemon.text()[-5000:]
        print(f"# {counts}")
        assert counts["done"] > CALLS // 20 and counts["refused"] > CALLS // 20, counts
        with daemon.client() as client:
            before, running = names(client, PERSISTENT), names(client, ACTIVE)
        assert daemon.end() == 0, daemon.text()[-5000:]
        daemon.start()
        with daemon.client() as client:
            assert names(client, PERSISTENT) == before and names(client, ACTIVE) <= running


# --- who may only look ---

def make_one_of_each(daemon):
    root, texts = daemon.root, xmls(daemon.root)
    os.mkdir(f"{root}/images")
    with open(f"{root}/disk.img", "wb") as out:
        out.truncate(1 << 20)
    with daemon.client() as client:
        for text in texts[:2]:
            dom = client.call("domain_define_xml", xml=text)["dom"]
        client.call("domain_create", dom=dom)
        client.call("network_define_xml", xml=texts[6])
        pool = client.call("storage_pool_define_xml", xml=texts[7])["pool"]
        client.call("storage_pool_create", pool=pool)
        client.call("storage_vol_create_xml", pool=pool, xml=texts[8])
        client.call("secret_define_xml", xml=texts[11])


def everything(daemon):
    """What may be changed, as one who may change it sees it."""
    seen = []
    with daemon.client() as client:
        for dom in client.call("connect_list_all_domains", need_results=1)["domains"]:
            seen += [client.call("domain_get_xml_desc", dom=dom, flags=flags)["xml"] for flags in (1, 3)]
            seen += [client.call("domain_get_state", dom=dom), client.call("domain_get_autostart", dom=dom)]
        for net in client.call("connect_list_all_networks", need_results=1)["nets"]:
            seen += [client.call("network_get_xml_desc", net=net), client.call("network_get_autostart", net=net)]
        for pool in client.call("connect_list_all_storage_pools", need_results=1)["pools"]:
            seen += [client.call("storage_pool_get_autostart", pool=pool), client.call("storage_pool_is_active", pool=pool)]
        seen += client.call("connect_list_all_secrets", need_results=1)["secrets"]
    for folder in ("images", "state/domains", "state/networks", "state/pools", "state/secrets", "state/autostart"):
        seen += sorted(os.listdir(f"{daemon.root}/{folder}"))
    return seen


def test_any_call_of_a_reader_changes_nothing():
    random.seed(SEED)
    with lodged(LODGED) as daemon:
        make_one_of_each(daemon)
        before, counts = everything(daemon), {"calls": 0, "done": 0, "refused": 0}
        while counts["calls"] < CALLS:
            ask(daemon, counts, lambda: rpc.Client(daemon.socket_ro, flags=1))
            assert daemon.process.poll() is None, daemon.text()[-5000:]
        print(f"# {counts}")
        assert counts["done"] > CALLS // 40, counts
        assert everything(daemon) == before, (before, everything(daemon))


tap.main(globals())
