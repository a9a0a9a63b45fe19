# SPDX-License-Identifier: GPL-2.0-or-later
"""Which engine a guest gets, and what is said about it, for every /dev/kvm there may be.

    test_engine.py LODGE LODGED FAKE_KVM

fake-kvm.c is the /dev/kvm; nothing runs, for --dry-run chooses the engine and prints the plan.
"""
import grp
import json
import os
import subprocess
import sys
import tempfile

import tap
from lodged import guest_xml, lodged

LODGE, LODGED, FAKE = sys.argv[1:4]

ABSENT = ("there is no /dev/kvm: load kvm_amd or kvm_intel; where that fails, turn virtualization on "
          "in this machine's firmware, or nested virtualization on its host")
GONE = "nothing is behind /dev/kvm: load kvm_amd or kvm_intel"
OWNER = "/dev/kvm: Permission denied: its owner alone may use it"
OLD = "/dev/kvm is too old: it lacks KVM_CAP_IMMEDIATE_EXIT; Linux 4.11 and newer have it"
BUSY = ("/dev/kvm is there, but the processor's virtualization is busy: another hypervisor "
        "(VirtualBox, VMware) uses it; end its guests")
FAILS = ("/dev/kvm is there, but it fails at its first run: it cannot run a kernel's instructions")
REFUSES = "/dev/kvm is there, but it fails at its first run: the processor refuses the guest"
WRONG = "/dev/kvm is there, but it fails at its first run: a wrong result"


def run(kvm, *words, group=0):
    with tempfile.TemporaryDirectory() as directory:
        kernel = os.path.join(directory, "kernel")
        with open(kernel, "w") as file:
            file.write("a kernel\n")
        return subprocess.run(
            [LODGE, "run", "--dry-run", "--kernel", kernel, *words],
            env={**os.environ, "LD_PRELOAD": FAKE, "FAKE_KVM": kvm, "FAKE_KVM_GROUP": str(group),
                 "XDG_RUNTIME_DIR": directory, "XDG_STATE_HOME": directory},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def plan(kvm, *words, **settings):
    done = run(kvm, *words, **settings)
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def engine(kvm, *words, **settings):
    return plan(kvm, *words, **settings)["engine"]


def refusal(kvm, *words, status=1, **settings):
    done = run(kvm, *words, **settings)
    assert done.returncode == status and not done.stdout, done
    return done.stderr


def check(kvm, why, **settings):
    """auto goes on without it and says why; who insists is refused, with the same reason."""
    assert engine(kvm, **settings) == {"name": "soft", "why": why}
    assert refusal(kvm, "--engine", "kvm", **settings) == \
        f"lodge run: {why}; --engine auto runs the guest without it\n"
    assert refusal(kvm, "--kvm-absent", "refuse", **settings) == \
        f"lodge run: {why}; the guest shall not run without it (--kvm-absent refuse)\n"


def test_absent():
    check("absent", ABSENT)


def test_driver_gone():
    check("gone", GONE)


def test_permission_denied_names_the_group():
    group = next(g for g in grp.getgrall() if g.gr_gid)
    text = refusal("denied", "--engine", "kvm", group=group.gr_gid)
    assert f"/dev/kvm: Permission denied: the group {group.gr_name} may use it; join that " \
           f"(usermod -aG {group.gr_name} " in text and "log in again" in text, text
    assert f"the group {group.gr_name} may" in engine("denied", group=group.gr_gid)["why"]


def test_permission_denied_to_all():
    check("owner", OWNER)


def test_too_old():
    check("old", OLD)


def test_busy():
    check("busy", BUSY)


def test_fails_at_first_run():
    check("fails", FAILS)
    check("refuses", REFUSES)
    check("wrong", WRONG)


def test_works():
    chosen = engine("works")
    assert chosen["name"] == "kvm" and chosen["why"] == "/dev/kvm works" and chosen["fd"] > 2, chosen
    assert engine("works", "--engine", "kvm")["why"] == "asked for"
    assert engine("works", "--engine", "soft") == {"name": "soft", "why": "asked for"}
    assert engine("works", "--kvm-absent", "refuse")["name"] == "kvm"


def test_movable():
    assert engine("works", "--movable")["movable"] is True
    assert "movable" not in engine("works")
    assert "movable" not in engine("absent", "--movable")
    assert "movable" not in engine("works", "--movable", "--engine", "soft")


def test_the_kernel_is_unpacked_in_the_guest_with_kvm():
    assert plan("works")["boot"]["classic"] is True
    assert plan("absent")["boot"]["classic"] is False
    for words in (["--engine", "soft"], ["--movable"], ["--no-kaslr"], ["--unpack", "host"]):
        assert plan("works", *words)["boot"]["classic"] is False, words
    assert plan("works", "--movable", "--unpack", "guest")["boot"]["classic"] is True
    assert plan("absent", "--unpack", "guest")["boot"]["classic"] is True
    assert refusal("works", "--unpack", "here", status=2) == "lodge run: --unpack is host|guest, not 'here'\n"
    assert "give it nokaslr by --append" in refusal("works", "--unpack", "guest", "--no-kaslr", status=2)


def test_switches_of_the_software_cpu_choose_it():
    assert engine("works", "--cpu-step") == {"name": "soft", "why": "--cpu-step looks into it"}
    text = refusal("works", "--cpu-step", "--engine", "kvm")
    assert text == "lodge run: --cpu-step looks into the software CPU; use --engine soft\n", text


XML = """<domain type='kvm'><name>named</name><memory unit='MiB'>64</memory><vcpu>1</vcpu>
<os><type arch='x86_64'>hvm</type><kernel>{kernel}</kernel></os>
<cpu mode='custom'><model>EPYC</model></cpu></domain>"""


def test_a_named_model_has_nothing_of_hardware_alone():
    with tempfile.TemporaryDirectory() as directory:
        for name, content in (("kernel", "a kernel\n"),
                              ("guest.xml", XML.format(kernel=os.path.join(directory, "kernel")))):
            with open(os.path.join(directory, name), "w") as file:
                file.write(content)
        hidden = {}
        for kvm in ("works", "absent"):
            done = subprocess.run(
                [LODGE, "run", "--dry-run", os.path.join(directory, "guest.xml")],
                env={**os.environ, "LD_PRELOAD": FAKE, "FAKE_KVM": kvm, "XDG_RUNTIME_DIR": directory,
                     "XDG_STATE_HOME": directory}, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            assert done.returncode == 0, done
            hidden[kvm] = set(json.loads(done.stdout)["cpu"]["features_off"])
    assert {"ibpb", "pku", "kvm_steal_time"} <= hidden["works"] - hidden["absent"], hidden


SHOW_PLAN = """#!{python}
import sys
assert sys.argv[1] == "--plan"
with open("/dev/fd/" + sys.argv[2]) as plan, open("{root}/plan", "w") as copy:
    copy.write(plan.read())
sys.exit(1)
"""


def lodged_start(kvm, *words):
    """What virsh says about a start in a lodged with these options, and the plan of the guest, if it came to one."""
    os.environ.update({"LD_PRELOAD": FAKE, "FAKE_KVM": kvm})
    try:
        with tempfile.TemporaryDirectory() as directory:
            for name, content in (("kernel", "a kernel\n"),
                                  ("vmm", SHOW_PLAN.format(python=sys.executable, root=directory)),
                                  ("g.xml", guest_xml("g", f"{directory}/kernel"))):
                with open(f"{directory}/{name}", "w") as file:
                    file.write(content)
            os.chmod(f"{directory}/vmm", 0o755)
            with lodged(LODGED, "--vmm", f"{directory}/vmm", *words) as daemon:
                daemon.virsh("define", f"{directory}/g.xml")
                text = daemon.virsh("start", "g", status=1)
            if not os.path.exists(f"{directory}/plan"):
                return text, None
            with open(f"{directory}/plan") as file:
                return text, json.load(file)
    finally:
        del os.environ["LD_PRELOAD"], os.environ["FAKE_KVM"]


def test_lodged_has_the_same_settings():
    text, plan = lodged_start("absent", "--kvm-absent", "refuse")
    assert f"{ABSENT}; the guest shall not run without it" in text and not plan, (text, plan)
    assert lodged_start("absent", "--movable")[1]["engine"] == {"name": "soft", "why": ABSENT}
    assert lodged_start("works", "--movable")[1]["engine"]["movable"] is True
    assert "movable" not in lodged_start("works")[1]["engine"]


def test_wrong_words():
    assert "--engine is auto|kvm|soft, not 'warp'" in \
        refusal("works", "--engine", "warp", status=2)
    assert "--kvm-absent is soft|refuse, not 'cry'" in \
        refusal("works", "--kvm-absent", "cry", status=2)


tap.main(globals())
