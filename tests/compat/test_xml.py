# SPDX-License-Identifier: GPL-2.0-or-later
"""Domain XMLs as people have them, below xml/:

  virt-install/  what virt-install 4.1 writes (virt-manager uses the same library)
  libvirt/       what libvirt 9.0 made of the same, as `virsh dumpxml` prints it
  hand/          written by hand, to keep much or to say little

Each is completed; the result passes libvirt's schemas, is the same when completed again, keeps
everything that was there, and starts or is refused as verdicts.txt says. Where libvirt completed
the same XML, PCI addresses are the same.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET

import tap

LODGE = sys.argv[1]
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "xml")
EXAMPLES = os.path.join(HERE, "../../../examples")
IMAGES = "/var/lib/libvirt/images"
# Controllers that libvirt adds although nobody asked, and that we only add when we have them.
UNASKED = {("controller", "sata"), ("controller", "usb")}


def run(*arguments, env=None):
    return subprocess.run([LODGE, "run", *arguments], capture_output=True, text=True, timeout=60,
                          env=env)


def complete(path):
    done = run("--print-xml", path)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- what is kept ---

def leaves(root):
    """Each element as its path, attributes and text; those that completion rewrites are left out."""
    found = []

    def walk(node, path):
        path = f"{path}/{node.tag}"
        attributes = dict(node.attrib)
        text = (node.text or "").strip()
        if node.tag in ("memory", "currentMemory", "maxMemory", "uuid"):
            text = ""
            attributes.pop("unit", None)
        if node.tag == "type" and attributes.get("machine") == "q35":
            del attributes["machine"]
        if node.tag == "address" and attributes.get("type") == "pci":
            for name in ("domain", "bus", "slot", "function"):
                attributes.pop(name, None)
        found.append((path, attributes, text))
        for child in node:
            walk(child, path)

    walk(root, "")
    return found


def assert_kept(before, after):
    rest = leaves(after)
    for path, attributes, text in leaves(before):
        for candidate in rest:
            if candidate[0] == path and candidate[2] == text and \
                    attributes.items() <= candidate[1].items():
                rest.remove(candidate)
                break
        else:
            raise AssertionError(f"lost: {path} {attributes} {text!r}")


# --- addresses ---

def addresses(root):
    found = []
    for device in root.find("devices"):
        address = device.find("address")
        if address is None or address.get("type") not in ("pci", "virtio-serial"):
            continue
        if (device.tag, device.get("type")) in UNASKED:
            continue
        if device.tag == "console":  # libvirt leaves them to QEMU, which chooses as we do
            continue
        target = device.find("target")
        port = (target.get("chassis"), target.get("port")) if target is not None else None
        found.append((device.tag, device.get("model"), device.get("index"), port,
                      tuple(sorted(address.attrib.items()))))
    return sorted(found, key=repr)


def rewrite_paths(text, directory):
    return text.replace(IMAGES, directory).replace("/boot/", f"{directory}/") \
               .replace("/var/log/", f"{directory}/")


def make_files(directory):
    for name in ("disk.img", "disk.qcow2", "vmlinuz", "initrd.img", "iso.iso", "da.img"):
        with open(f"{directory}/{name}", "wb") as out:
            out.truncate(1 << 20)


# --- tests, one per file and kind ---

def check_completed(name):
    path = f"{HERE}/{name}"
    text = complete(path)
    with tempfile.NamedTemporaryFile("w", suffix=".xml") as once:
        once.write(text)
        once.flush()
        assert complete(once.name) == text, "completing again changes it"
    with open(path) as source:  # relative paths become absolute
        build = os.path.normpath(os.path.join(os.path.dirname(path), "../build"))
        before = source.read().replace("../build", build)
    assert_kept(ET.fromstring(before.encode()), ET.fromstring(text))


def check_schema(name):
    if not shutil.which("virt-xml-validate"):
        raise tap.Skip("virt-xml-validate is not installed (package libvirt-clients)")
    with tempfile.NamedTemporaryFile("w", suffix=".xml") as out:
        out.write(complete(f"{HERE}/{name}"))
        out.flush()
        done = subprocess.run(["virt-xml-validate", out.name, "domain"], capture_output=True,
                              text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def check_start(name, verdict):
    with tempfile.TemporaryDirectory() as directory:
        make_files(directory)
        with open(f"{HERE}/{name}") as source, open(f"{directory}/guest.xml", "w") as out:
            out.write(rewrite_paths(source.read(), directory))
        env = dict(os.environ, XDG_RUNTIME_DIR=directory, XDG_STATE_HOME=directory)
        done = run("--dry-run", f"{directory}/guest.xml", env=env)
        if verdict == "starts":
            assert done.returncode == 0, done.stderr
            memory = json.loads(done.stdout)["memory"]
            assert memory["shared"] == ("shared-memory" in name), memory
        else:
            assert done.returncode == 1 and verdict in done.stderr, done.stderr


def check_live(name):
    """An example asks for nothing that this version lacks."""
    with tempfile.TemporaryDirectory() as directory:
        os.makedirs(f"{directory}/build/guest")
        os.mkdir(f"{directory}/examples")
        for file in ("vmlinuz", "initrd.img", "busybox.img", "debian.img", "data.img"):
            with open(f"{directory}/build/guest/{file}", "wb") as out:
                out.truncate(1 << 20)
        copy = shutil.copy(f"{HERE}/{name}", f"{directory}/examples/")
        env = dict(os.environ, XDG_RUNTIME_DIR=directory, XDG_STATE_HOME=directory)
        done = run("--dry-run", copy, env=env)
    assert done.returncode == 0 and not done.stderr, done.stderr


def check_addresses(name, recorded):
    ours = addresses(ET.fromstring(complete(f"{HERE}/{name}")))
    theirs = addresses(ET.parse(f"{HERE}/{recorded}").getroot())
    missing = [device for device in theirs if device not in ours]
    extra = [device for device in ours if device not in theirs]
    assert not missing and not extra, f"only libvirt: {missing}\nonly here: {extra}"


def relative_names():
    for folder in sorted(os.listdir(HERE)):
        if os.path.isdir(f"{HERE}/{folder}"):
            for name in sorted(os.listdir(f"{HERE}/{folder}")):
                yield f"{folder}/{name}"


def verdicts():
    with open(f"{HERE}/verdicts.txt") as lines:
        for line in lines:
            if line.strip() and not line.startswith("#"):
                name, _, verdict = line.strip().partition(": ")
                yield name, verdict


# Devices that need what no machine of ours has (conventional PCI) move libvirt's numbers.
OTHER_NUMBERS = {"hand/addresses-m9.xml", "virt-install/q35-machine.xml",
                 "virt-install/serial-extra.xml", "virt-install/windows-like.xml",
                 "virt-install/cdrom.xml"}


def tests():
    found = {}
    known = dict(verdicts())
    for name in relative_names():
        found[f"test_{name}: completed"] = lambda name=name: check_completed(name)
        found[f"test_{name}: schema"] = lambda name=name: check_schema(name)
        found[f"test_{name}: start"] = lambda name=name: check_start(name, known[name])
        recorded = "libvirt/" + os.path.basename(name)
        if not name.startswith("libvirt/") and name not in OTHER_NUMBERS and \
                os.path.exists(f"{HERE}/{recorded}"):
            found[f"test_{name}: addresses as libvirt's"] = \
                lambda name=name, recorded=recorded: check_addresses(name, recorded)
    for name in sorted(name for name in os.listdir(EXAMPLES) if name.endswith(".xml")):
        path = f"../../../examples/{name}"
        found[f"test_examples/{name}: completed"] = lambda path=path: check_completed(path)
        found[f"test_examples/{name}: schema"] = lambda path=path: check_schema(path)
        found[f"test_examples/{name}: everything in it works"] = lambda path=path: check_live(path)
    return found


tap.main(tests())
