# SPDX-License-Identifier: GPL-2.0-or-later
"""The VALIDATE flags of calls: what libvirt's formats have is taken, what is not known is refused with path and line, by
unmodified virsh and lodge. Without the flag both are kept.

    test_lodged_validate.py LODGED BUTTON-IMAGE LODGE
"""
import glob
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET

import rpc
import tap
from lodged import WAIT, guest_xml, lodged

LODGED, IMAGE, LODGE = sys.argv[1:]
HERE = os.path.dirname(os.path.abspath(__file__))
SCHEMAS = "/usr/share/libvirt/schemas"
RNG = "{http://relaxng.org/ns/structure/1.0}"
INVALID_SCHEMA = 92
KINDS = {"domain": ("domain.rng", "domain_define_xml_flags", "xml", 1), "network": ("network.rng", "network_define_xml_flags", "xml", 1),
         "pool": ("storagepool.rng", "storage_pool_define_xml", "xml", 1), "secret": ("secret.rng", "secret_define_xml", "xml", 1),
         "volume": ("storagevol.rng", "storage_vol_create_xml", "xml", 4)}
OTHERS = {"metadata", "customElement"}  # of which the schemas say nothing


class Schema:
    """The elements and attributes of a RELAX NG schema, as an example of all of them: each once below its parent."""

    def __init__(self, name):
        self.definitions, self.start = {}, None
        self.load(name)

    def load(self, name):
        def visit(node):
            for child in node:
                if child.tag == RNG + "include":
                    self.load(child.get("href"))
                    visit(child)
                elif child.tag == RNG + "define":
                    self.definitions.setdefault(child.get("name"), []).extend(child)
                elif child.tag == RNG + "start":
                    self.start = list(child)
                elif child.tag == RNG + "div":
                    visit(child)
        visit(ET.parse(f"{SCHEMAS}/{name}").getroot())

    def example(self, root):
        top = ET.Element("top")
        self.walk(self.start, top, "", [])
        return top.find(root)

    def walk(self, nodes, parent, space, stack):
        for node in nodes:
            tag = node.tag.removeprefix(RNG) if isinstance(node.tag, str) else ""
            names = [node.get("name")] if node.get("name") else [n.text for n in node if n.tag == RNG + "name"] or \
                [n.text for c in node if c.tag == RNG + "choice" for n in c.iter(RNG + "name")]
            if tag == "element":
                below = node.get("ns") or space
                for name in names:
                    if stack.count(id(node)) > 1:
                        continue
                    name = f"{{{below}}}{name}" if below else name
                    child = parent.find(name)
                    if child is None:
                        child = ET.SubElement(parent, name)
                    self.walk([n for n in node if n.tag != RNG + "name"], child, below, stack + [id(node)])
            elif tag == "attribute":
                for name in names:
                    parent.set(name, "x")
            elif tag == "ref":
                if node.get("name") not in OTHERS and stack.count(node.get("name")) < 3:
                    self.walk(self.definitions[node.get("name")], parent, space, stack + [node.get("name")])
            elif tag not in ("name", "data", "value", "text", "empty", "notAllowed", "param", ""):
                self.walk(list(node), parent, space, stack)


for prefix, what in (("qemu", "domain"), ("lxc", "domain"), ("xen", "domain"), ("bhyve", "domain"), ("vmware", "domain"),
                     ("dnsmasq", "network"), ("fs", "storagepool"), ("rbd", "storagepool")):
    ET.register_namespace(prefix, f"http://libvirt.org/schemas/{what}/{prefix}/1.0")


def code_and_text(client, kind, xml):
    """How a definition with the flag is answered; (0, "") when it is taken."""
    _, call, argument, flag = KINDS[kind]
    values = {argument: xml, "flags": flag}
    if kind == "volume":
        values["pool"] = client.call("storage_pool_lookup_by_name", name="p")["pool"]
    try:
        client.call(call, **values)
    except rpc.Refused as error:
        return error.code, error.message
    return 0, ""


def pool(daemon):
    os.makedirs(f"{daemon.root}/p", exist_ok=True)
    daemon.virsh("pool-create-as", "p", "dir", "--target", f"{daemon.root}/p")


def test_all_of_libvirts_schemas_is_known():
    if not os.path.exists(f"{SCHEMAS}/domain.rng"):
        raise tap.Skip("there are no schemas of libvirt (package libvirt-clients)")
    with lodged(LODGED) as daemon, daemon.client() as client:
        pool(daemon)
        for kind, (file, *_) in KINDS.items():
            root = Schema(file).example(kind)
            count = sum(1 + len(node.attrib) for node in root.iter())
            assert count > (1000 if kind == "domain" else 8), (kind, count)
            code, text = code_and_text(client, kind, ET.tostring(root, encoding="unicode"))
            assert code and code != INVALID_SCHEMA, (kind, code, text)  # its values make no sense
            # and nothing else: a new one at each place, and an attribute
            elements = [node for node in root.iter() if "}" not in node.tag]
            for node in elements[::max(1, len(elements) // 100)]:
                more = ET.SubElement(node, "unheard-of")
                code, text = code_and_text(client, kind, ET.tostring(root, encoding="unicode"))
                assert code == INVALID_SCHEMA and f"unknown element <unheard-of> in /{kind}" in text, (kind, node.tag, code, text)
                node.remove(more)
                node.set("unheardof", "x")
                code, text = code_and_text(client, kind, ET.tostring(root, encoding="unicode"))
                assert code == INVALID_SCHEMA and f"unknown attribute unheardof in /{kind}" in text, (kind, node.tag, code, text)
                del node.attrib["unheardof"]


def test_what_tools_write_is_taken():
    with lodged(LODGED) as daemon, daemon.client() as client:
        pool(daemon)
        files = sorted(glob.glob(f"{HERE}/xml/*/*.xml") + glob.glob(f"{HERE}/../../examples/*.xml"))
        assert len(files) > 30
        taken = 0
        for path in files:
            with open(path) as text:
                code, said = code_and_text(client, "domain", text.read())
            assert code != INVALID_SCHEMA or path.endswith("hand/versioned-machine.xml"), (path, said)
            taken += not code
        assert taken > 20, taken
        for dom in client.call("connect_list_all_domains", need_results=1, flags=0)["domains"]:  # and what lodged makes of it
            xml = client.call("domain_get_xml_desc", dom=dom, flags=0)["xml"]
            assert code_and_text(client, "domain", xml) == (0, ""), dom
        net = client.call("network_get_xml_desc", net=client.call("network_lookup_by_name", name="default")["net"])["xml"]
        assert code_and_text(client, "network", net.replace("default", "n").replace("<uuid>", "<uuid>1"))[0] != INVALID_SCHEMA
        own = client.call("storage_pool_lookup_by_name", name="p")["pool"]
        xml = client.call("storage_pool_get_xml_desc", pool=own)["xml"]
        assert code_and_text(client, "pool", xml)[0] != INVALID_SCHEMA
        daemon.virsh("vol-create-as", "p", "v", "1M")
        xml = daemon.virsh("vol-dumpxml", "v", "--pool", "p").replace("<name>v", "<name>w")
        assert code_and_text(client, "volume", xml) == (0, "")


def write(daemon, text):
    path = f"{daemon.root}/it.xml"
    with open(path, "w") as out:
        out.write(text)
    return path


def lodge(daemon, *words, status=0, **env):
    done = subprocess.run([LODGE, *words], capture_output=True, text=True, timeout=WAIT, stdin=subprocess.DEVNULL,
                          env=dict(os.environ, LODGE_URI=daemon.socket, **env))
    assert done.returncode == status, (words, done, daemon.text())
    return done.stdout + done.stderr


def test_commands():
    with lodged(LODGED) as daemon:
        if not shutil.which("virsh"):
            raise tap.Skip("there is no virsh")
        pool(daemon)
        wrong = {
            "domain": ("define", "create", guest_xml("g", IMAGE, "\n<disk type='file'><foo/><source file='/x'/>"
                                                                 "<target dev='vda'/></disk>"),
                       "unknown element <foo> in /domain/devices/disk, line 2"),
            "network": ("net-define", "net-create", "<network>\n<name>n</name><bridge nmae='b'/></network>",
                        "unknown attribute nmae in /network/bridge, line 2"),
            "pool": ("pool-define", None, f"<pool type='dir'><name>q</name><target><path>{daemon.root}</path><mode/></target></pool>",
                     "unknown element <mode> in /pool/target, line 1"),
            "secret": ("secret-define", None, "<secret><usage type='volume'><volume>/v</volume></usage>\n\n<key/></secret>",
                       "unknown element <key> in /secret, line 3"),
        }
        for define, create, xml, text in wrong.values():
            path = write(daemon, xml)
            for command in filter(None, (define, create)):
                for said in (daemon.virsh(command, path, "--validate", status=1), lodge(daemon, command, path, "--validate", status=1)):
                    assert f"XML document failed to validate against schema: {text}" in said, said
            daemon.virsh(define, path)  # kept
        path = write(daemon, "<volume><name>v</name><capacity>1</capacity><target><pth/></target></volume>")
        for said in (daemon.virsh("vol-create", "p", path, "--validate", status=1),
                     lodge(daemon, "vol-create", "p", path, "--validate", status=1)):
            assert "unknown element <pth> in /volume/target, line 1" in said
        daemon.virsh("vol-create", "p", path)
        # virsh edit asks for it, and so does lodge
        done = subprocess.run(["virsh", "-c", daemon.uri(), "edit", "g"], capture_output=True, text=True, timeout=WAIT,
                              stdin=subprocess.DEVNULL, env=dict(os.environ, EDITOR="sed -i s,foo/,baz/,"))
        assert "Failed" in done.stderr and "<baz/>" not in daemon.virsh("dumpxml", "g"), done
        said = lodge(daemon, "edit", "g", status=1, EDITOR="sed -i s,foo/,bar/,")
        assert "unknown element <bar> in /domain/devices/disk" in said and "--skip-validate takes it" in said
        assert "has been changed" in lodge(daemon, "edit", "g", "--skip-validate", EDITOR="sed -i s,foo/,bar/,")
        assert "<bar/>" in daemon.virsh("dumpxml", "g")


tap.main(globals())
