# SPDX-License-Identifier: GPL-2.0-or-later
"""Processors as virsh sees them: what this host's are, whether a guest's would be here, what several hosts share.

    test_lodged_cpu.py LODGED LODGE-VMM BUTTON-IMAGE
"""
import json
import re
import shutil
import subprocess
import sys

import tap
from lodged import guest_xml, lodged

LODGED, VMM, IMAGE = sys.argv[1:]
INTEL = ["Conroe", "Penryn", "Nehalem", "Westmere", "SandyBridge", "IvyBridge", "Haswell", "Broadwell"]


def file(daemon, name, text):
    with open(f"{daemon.root}/{name}", "w") as out:
        out.write(text)
    return f"{daemon.root}/{name}"


def offered():
    """By what lodge-vmm says of itself."""
    said = json.loads(subprocess.run([VMM, "--describe"], check=True, capture_output=True, text=True).stdout)["processor"]
    with open("/proc/cpuinfo") as cpuinfo:
        assert f": {said['vendor']}\n" in cpuinfo.read()
    return set(said["features"])


def valid(path, schema):
    if not shutil.which("virt-xml-validate"):
        raise tap.Skip("there is no virt-xml-validate")
    done = subprocess.run(["virt-xml-validate", path, schema], capture_output=True, text=True)
    assert done.returncode == 0, done


def test_capabilities_name_the_processor():
    with lodged(LODGED) as daemon:
        host = daemon.virsh("capabilities")
        valid(file(daemon, "host.xml", host), "capability")
        guest = daemon.virsh("domcapabilities")
        valid(file(daemon, "guest.xml", guest), "domaincaps")
        model = re.search(r"<model>(.+)</model>", host).group(1)
        assert f"<model fallback='forbid'>{model}</model>" in guest, (model, guest)
        usable = {name: word for word, name in re.findall(r"<model usable='(\w+)' vendor='\w+'>(.+)</model>", guest)}
        assert usable[model] == usable["qemu64"] == "yes" and set(usable) == set(daemon.virsh("cpu-models", "x86_64").split())
        has = offered()
        assert usable["Nehalem"] == ("yes" if {"sse4_2", "popcnt", "ssse3", "lahf_lm"} <= has else "no")
        assert usable["Skylake-Server"] == ("no" if "avx512f" not in has else usable["Skylake-Server"])
        # each of a line of models is the one before and more
        words = [usable[name] for name in INTEL]
        assert words == sorted(words, reverse=True), words


def test_comparing():
    with lodged(LODGED) as daemon:
        host = file(daemon, "host.xml", daemon.virsh("capabilities"))
        assert "is identical to host CPU" in daemon.virsh("cpu-compare", host)
        assert "is identical to the CPU provided by hypervisor" in daemon.virsh("hypervisor-cpu-compare", host)
        small = file(daemon, "small.xml", "<cpu mode='custom'><model>qemu64</model></cpu>")
        assert "Host CPU is a superset of CPU" in daemon.virsh("cpu-compare", small)
        for feature in ("mpx", "avx512f") if "avx512f" not in offered() else ("mpx",):
            large = file(daemon, "large.xml", f"<cpu><model>qemu64</model><feature policy='require' name='{feature}'/></cpu>")
            daemon.virsh("cpu-compare", large, status=1)
            said = daemon.virsh("cpu-compare", large, "--error", status=1)
            assert f"the CPU is incompatible with host CPU: guests have no {feature} here" in said, said
        without = file(daemon, "without.xml", "<cpu mode='host-passthrough'><feature policy='disable' name='sse4.1'/></cpu>")
        assert "Host CPU is a superset" in daemon.virsh("cpu-compare", without)
        said = daemon.virsh("cpu-compare", file(daemon, "odd.xml", "<cpu><model>abacus</model></cpu>"), status=1)
        assert "the processor model 'abacus' is not in this version" in said, said


def test_what_several_share_starts():
    with lodged(LODGED) as daemon:
        both = ("<cpu><model>Haswell</model><feature name='sha-ni'/></cpu>"
                "<cpu><model>Penryn</model><feature name='sse4.2'/><feature name='popcnt'/></cpu>")
        path = file(daemon, "both.xml", both)
        cpu = daemon.virsh("cpu-baseline", path)
        assert re.search(r"<model fallback='forbid'>Nehalem</model>", cpu) and "<feature" not in cpu, cpu
        assert daemon.virsh("hypervisor-cpu-baseline", path) == cpu
        more = daemon.virsh("cpu-baseline", path, "--features")
        assert "<feature policy='require' name='sse4.2'/>" in more and "avx" not in more, more
        daemon.virsh("define", file(daemon, "g.xml", guest_xml("g", IMAGE).replace("<devices>", cpu + "<devices>")))
        daemon.virsh("start", "g")
        assert "<model fallback='forbid'>Nehalem</model>" in daemon.virsh("dumpxml", "g")
        # what the host has itself runs on it
        own = daemon.virsh("cpu-baseline", file(daemon, "host.xml", daemon.virsh("capabilities")))
        daemon.virsh("define", file(daemon, "h.xml", guest_xml("h", IMAGE).replace("<devices>", own + "<devices>")))
        daemon.virsh("start", "h")


def test_a_silent_vmm_is_no_obstacle():
    """Nothing is known of the processor then: it is every guest's."""
    with lodged(LODGED, "--vmm", "/bin/true") as daemon:
        assert "<model>qemu64</model>" in daemon.virsh("capabilities")
        assert "does not say what it can do" in daemon.text()


tap.main(globals())
