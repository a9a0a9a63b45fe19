# SPDX-License-Identifier: GPL-2.0-or-later
"""Limits of guests by virsh's own commands: schedinfo, memtune, blkiotune, numatune. What lodged writes is looked at
in a folder of files that stands for a cgroup, and, where the host has one with controllers, in a real one.

    test_lodged_limit.py LODGED BUTTON-IMAGE [real]

With "real", only the latter, on a host that was made for it.
"""
import contextlib
import os
import re
import stat
import subprocess
import sys
import tempfile

import lodged as lodged_module
import tap
from lodged import guest_xml, lodged, until
from rpc import refused

LODGED, IMAGE = sys.argv[1:3]
UUID = "12345678-1234-1234-1234-1234567890ab"
LOOP = "/dev/loop0"  # of a host that was made for this test
XML_ERROR, WRONG, INVALID = 27, 8, 55
GROUP_FILES = {"cgroup.procs": "", "cgroup.threads": "", "cgroup.type": "domain\n", "cgroup.subtree_control": "",
               "cpu.max": "max 100000\n"}
GUEST_FILES = {"cpu.weight": "100\n", "memory.max": "max\n", "memory.high": "max\n", "memory.swap.max": "max\n",
               "io.weight": "default 100\n", "io.max": ""}


def write(path, text):
    with open(path, "w") as out:
        out.write(text)


def read(path):
    with open(path) as text:
        return text.read().strip()


def make_group(path, files):
    os.makedirs(path, exist_ok=True)
    for name, text in files.items():
        write(f"{path}/{name}", text)


@contextlib.contextmanager
def stand_in(without=()):
    """A folder with the files that a kernel has for the cgroup of one guest with that uuid."""
    with tempfile.TemporaryDirectory(prefix="cgroup-") as root:
        make_group(root, {"cgroup.controllers": "cpu io memory\n", "cgroup.subtree_control": ""})
        guest = f"{root}/lodge-{UUID}"
        make_group(guest, {name: text for name, text in {**GROUP_FILES, **GUEST_FILES}.items() if name not in without})
        for name in ("vcpu0", "vcpu1", "emulator"):
            make_group(f"{guest}/{name}", GROUP_FILES)
        yield root, guest


def define(daemon, tune="", name="g"):
    path = f"{daemon.root}/{name}.xml"
    xml = guest_xml(name, IMAGE, memory=64)
    write(path, xml.replace("<os>", f"<uuid>{UUID}</uuid><vcpu>2</vcpu>{tune}<os>"))
    daemon.virsh("define", path)


def fields(text):
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.split("\n")) if value}


def test_definitions():
    with lodged(LODGED) as daemon:
        define(daemon)
        assert fields(daemon.virsh("schedinfo", "g")) == {
            "Scheduler": "posix", "cpu_shares": "0", "vcpu_period": "0", "vcpu_quota": "0", "emulator_period": "0",
            "emulator_quota": "0", "global_period": "0", "global_quota": "0"}
        told = fields(daemon.virsh("schedinfo", "g", "--config", "--set", "vcpu_quota=50000", "cpu_shares=200"))
        assert told["vcpu_quota"] == "50000" and told["cpu_shares"] == "200", told
        xml = daemon.virsh("dumpxml", "g")
        assert "<shares>200</shares>\n    <quota>50000</quota>" in xml, xml
        daemon.virsh("memtune", "g", "--config", "--hard-limit", "256M", "--soft-limit", "128M", "--swap-hard-limit", "512M")
        assert fields(daemon.virsh("memtune", "g")) == {"hard_limit": "262144", "soft_limit": "131072", "swap_hard_limit": "524288"}
        daemon.virsh("memtune", "g", "--config", "--soft-limit", "-1")
        assert fields(daemon.virsh("memtune", "g"))["soft_limit"] == "unlimited"
        assert "soft_limit" not in daemon.virsh("dumpxml", "g")
        daemon.virsh("blkiotune", "g", "--config", "--weight", "500", "--device-read-bytes-sec", "/dev/vda,1000,/dev/vdb,2000",
                     "--device-weights", "/dev/vdb,300")
        told = fields(daemon.virsh("blkiotune", "g"))
        assert told["device_read_bytes_sec"] == "/dev/vdb,2000,/dev/vda,1000" and told["weight"] == "500", told
        daemon.virsh("blkiotune", "g", "--config", "--device-read-bytes-sec", "/dev/vda,0")
        assert fields(daemon.virsh("blkiotune", "g"))["device_read_bytes_sec"] == "/dev/vdb,2000"
        assert "/dev/vda" not in daemon.virsh("dumpxml", "g")
        daemon.virsh("numatune", "g", "--config", "--mode", "interleave", "--nodeset", "0")
        assert fields(daemon.virsh("numatune", "g")) == {"numa_mode": "interleave", "numa_nodeset": "0"}
        daemon.restart()
        assert fields(daemon.virsh("schedinfo", "g"))["vcpu_quota"] == "50000"


def test_refusals():
    with lodged(LODGED) as daemon, daemon.client() as client:
        define(daemon)
        dom = client.call("domain_lookup_by_name", name="g")["dom"]
        for words in (("schedinfo", "g", "--config", "vcpu_quota=5"), ("schedinfo", "g", "--config", "vcpu_period=999"),
                      ("memtune", "g", "--config", "--swap-hard-limit", "1M"), ("memtune", "g", "--config", "--hard-limit", "0"),
                      ("blkiotune", "g", "--config", "--weight", "10001"),
                      ("blkiotune", "g", "--config", "--device-weights", "/dev/vda"),
                      ("blkiotune", "g", "--config", "--device-weights", "vda,1"),
                      ("schedinfo", "g", "--live", "cpu_shares=5")):
            daemon.virsh(*words, status=1)
        assert "tune" not in daemon.virsh("dumpxml", "g")
        for field, value in (("nothing", (1, 5)), ("cpu_shares", (7, "5")), ("cpu_shares", (5, 0.5))):
            refused(WRONG, client.call, "domain_set_scheduler_parameters_flags", dom=dom,
                    params=[{"field": field, "value": value}], flags=2)
        refused(XML_ERROR, client.call, "domain_set_scheduler_parameters_flags", dom=dom,
                params=[{"field": "cpu_shares", "value": (4, 1 << 63)}], flags=2)
        refused(INVALID, client.call, "domain_get_memory_parameters", dom=dom, nparams=0, flags=3)


def test_without_cgroups():
    """Then a guest with limits runs all the same, and says so."""
    with lodged(LODGED) as daemon:
        define(daemon, "<memtune><hard_limit unit='MiB'>512</hard_limit></memtune>")
        daemon.virsh("start", "g")
        assert "not held to its limits: this lodged has no cgroups" in daemon.virsh("dominfo", "g")
        for words in (("schedinfo", "g"), ("memtune", "g"), ("blkiotune", "g"), ("schedinfo", "g", "--live", "cpu_shares=50")):
            said = daemon.virsh(*words, status=1)
            assert "with --cgroup FOLDER; --config changes those of its next start" in said, said
        assert fields(daemon.virsh("memtune", "g", "--config"))["hard_limit"] == "524288"
        assert "version; --config" in daemon.virsh("numatune", "g", "--live", "--nodeset", "0", status=1)
        assert fields(daemon.virsh("numatune", "g", "--live"))["numa_mode"] == "strict"


def thread_name(pid, thread):
    return thread and read(f"/proc/{pid}/task/{thread}/comm")


def test_start():
    tune = ("<memtune><hard_limit unit='MiB'>512</hard_limit><swap_hard_limit unit='MiB'>768</swap_hard_limit></memtune>"
            "<cputune><shares>300</shares><period>50000</period><quota>25000</quota><emulator_quota>20000</emulator_quota>"
            "<global_quota>-1</global_quota></cputune>")
    with stand_in() as (root, group), lodged(LODGED, "--cgroup", root) as daemon:
        define(daemon, tune)
        daemon.virsh("start", "g")
        pid = daemon.pid("g")
        held = {
            "cgroup.procs": str(pid), "cgroup.subtree_control": "+cpu", "cpu.weight": "300", "memory.max": str(512 << 20),
            "memory.high": "max", "memory.swap.max": str(256 << 20), "io.weight": "default 100", "io.max": "",
            "cpu.max": "max 100000", "vcpu0/cpu.max": "25000 50000", "vcpu1/cpu.max": "25000 50000",
            "vcpu0/cgroup.type": "threaded", "vcpu1/cgroup.type": "threaded", "emulator/cpu.max": "20000 100000"}
        until("it is held", lambda: {name: read(f"{group}/{name}") for name in held} == held)
        until("its processors are", lambda: [thread_name(pid, read(f"{group}/vcpu{i}/cgroup.threads")) for i in (0, 1)] ==
              ["vcpu0", "vcpu1"])
        until("its others are", lambda: thread_name(pid, read(f"{group}/emulator/cgroup.threads")))
        until("controllers are enabled", lambda: read(f"{root}/cgroup.subtree_control"))
        assert "not held" not in daemon.virsh("dominfo", "g")
        told = fields(daemon.virsh("schedinfo", "g"))
        assert told["cpu_shares"] == "300" and told["emulator_period"] == "100000" and told["global_quota"] == "-1", told


def test_running():
    with stand_in() as (root, group), lodged(LODGED, "--cgroup", root) as daemon:
        define(daemon)
        daemon.virsh("start", "g")
        until("it is in its group", lambda: read(f"{group}/cgroup.procs") == str(daemon.pid("g")))
        names = lambda: re.findall("<alias name='.*?'/>", daemon.virsh("dumpxml", "g"))
        before = names()
        told = fields(daemon.virsh("schedinfo", "g", "--live", "global_quota=150000", "vcpu_quota=40000", "cpu_shares=7"))
        assert before and names() == before, (before, names())
        assert told["global_quota"] == "150000" and told["vcpu_period"] == "100000" and told["cpu_shares"] == "7", told
        assert read(f"{group}/cpu.max") == "150000 100000" and read(f"{group}/vcpu1/cpu.max") == "40000 100000"
        assert read(f"{group}/cpu.weight") == "7"
        daemon.virsh("memtune", "g", "--live", "--config", "--hard-limit", "1G")
        assert read(f"{group}/memory.max") == str(1 << 30)
        assert "<hard_limit unit='KiB'>1048576" in daemon.virsh("dumpxml", "g", "--inactive")
        daemon.virsh("blkiotune", "g", "--weight", "900")
        assert read(f"{group}/io.weight") == "default 900"
        assert "is not a block device" in daemon.virsh("blkiotune", "g", "--device-read-iops-sec", "/dev/null,5", status=1)
        disks = [f"/dev/{name}" for name in os.listdir("/sys/class/block") if os.path.exists(f"/dev/{name}")]
        disk = next((path for path in disks if stat.S_ISBLK(os.stat(path).st_mode)), None)
        if disk:
            number = os.stat(disk).st_rdev
            daemon.virsh("blkiotune", "g", "--device-read-iops-sec", f"{disk},50")
            line = f"{os.major(number)}:{os.minor(number)} rbps=max wbps=max riops=%s wiops=max"
            assert read(f"{group}/io.max") == line % 50
            daemon.virsh("blkiotune", "g", "--device-read-iops-sec", f"{disk},0")
            assert read(f"{group}/io.max").startswith(f"{os.major(number)}:{os.minor(number)} rbps=max wbps=max riops=max")
        daemon.restart()  # whoever takes it over knows and holds them on
        assert fields(daemon.virsh("memtune", "g"))["hard_limit"] == "1048576"
        daemon.virsh("schedinfo", "g", "--live", "vcpu_quota=-1")
        assert read(f"{group}/vcpu1/cpu.max") == "max 100000" and read(f"{group}/cpu.weight") == "7"
        assert "vcpu_quota" in daemon.virsh("schedinfo", "g") and "<quota>-1<" in daemon.virsh("dumpxml", "g")
        daemon.virsh("destroy", "g")
        assert fields(daemon.virsh("schedinfo", "g"))["cpu_shares"] == "0"


def test_taken_over():
    """By a lodged that has cgroups, from one that has none; and the other way."""
    tune = "<cputune><shares>300</shares><quota>25000</quota></cputune>"
    with stand_in() as (root, group), lodged(LODGED) as daemon:
        define(daemon, tune)
        daemon.virsh("start", "g")
        until("it says so", lambda: "not held to its limits: " in daemon.virsh("dominfo", "g"))
        for words, held in ((["--cgroup", root], True), ([], False)):
            daemon.options = words
            daemon.restart()
            until("it is known", lambda: ("not held" not in daemon.virsh("dominfo", "g")) == held)
            daemon.virsh("schedinfo", "g", "--live", "cpu_shares=400", status=0 if held else 1)
            assert read(f"{group}/cpu.weight") == "400" and read(f"{group}/vcpu1/cpu.max") == "25000 100000"
        assert thread_name(daemon.pid("g"), read(f"{group}/vcpu1/cgroup.threads")) == "vcpu1"


def test_missing_controller():
    with stand_in(without=("memory.max", "memory.high", "memory.swap.max")) as (root, group):
        with lodged(LODGED, "--cgroup", root) as daemon:
            define(daemon)
            daemon.virsh("start", "g")
            until("it is in its group", lambda: read(f"{group}/cgroup.procs") == str(daemon.pid("g")))
            assert "has no memory.max: its controller is not there" in daemon.virsh("memtune", "g", "--hard-limit", "1G", status=1)
            assert "memtune" not in daemon.virsh("dumpxml", "g")
            assert fields(daemon.virsh("schedinfo", "g", "cpu_shares=40"))["cpu_shares"] == "40"
            daemon.virsh("destroy", "g")
            daemon.virsh("memtune", "g", "--hard-limit", "1G")
            daemon.virsh("start", "g")
            until("it says so", lambda: "not held to its limits: " in daemon.virsh("dominfo", "g"))


def test_folder_that_is_none():
    with tempfile.TemporaryDirectory() as root:
        done = subprocess.run([LODGED, "--root", root, "--cgroup", root], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and "is no cgroup of version 2; name a folder" in done.stderr, done


def real_cgroup():
    """A folder in which groups with a cpu controller can be made."""
    with open("/proc/self/mountinfo") as text:
        mounts = re.findall(r"^\S+ \S+ \S+ \S+ (\S+) .* - cgroup2 ", text.read(), re.M)
    for mount in mounts:
        if os.access(f"{mount}/cgroup.procs", os.W_OK) and "cpu" in read(f"{mount}/cgroup.controllers").split():
            return f"{mount}/lodge-test-{os.getpid()}"
    raise tap.Skip("no cgroup of version 2 here has a cpu controller and lets this user make groups")


def threads_of(path):
    return [read(f"/proc/{thread}/comm") for thread in read(f"{path}/cgroup.threads").split()]


def check_disk_limits(daemon, group):
    """On a loop device, whose scheduler is BFQ; what it alone is given goes away with the wish for it."""
    number = "{}:{}".format(*(part(os.stat(LOOP).st_rdev) for part in (os.major, os.minor)))
    daemon.virsh("blkiotune", "g", "--weight", "2100", "--device-weights", f"{LOOP},300", "--device-read-bytes-sec",
                 f"{LOOP},1000000", "--device-write-iops-sec", f"{LOOP},50")
    assert read(f"{group}/io.max") == f"{number} rbps=1000000 wbps=max riops=max wiops=50"
    assert read(f"{group}/io.bfq.weight") == f"default 281\n{number} 118", read(f"{group}/io.bfq.weight")
    assert read(f"{group}/io.weight").split("\n")[0] == "default 2100"
    daemon.virsh("blkiotune", "g", "--device-weights", f"{LOOP},0", "--device-read-bytes-sec", f"{LOOP},0",
                 "--device-write-iops-sec", f"{LOOP},0")
    assert read(f"{group}/io.max") == "" and read(f"{group}/io.bfq.weight") == "default 281"
    said = daemon.virsh("blkiotune", "g", "--device-write-bytes-sec", "/dev/null,1000", status=1)
    assert "/dev/null is not a block device of the host" in said, said


def test_real_cgroup():
    """The kernel's own: what it takes, it shows."""
    folder = real_cgroup()
    tune = ("<memtune><hard_limit unit='MiB'>512</hard_limit><soft_limit unit='MiB'>400</soft_limit>"
            "<swap_hard_limit unit='MiB'>600</swap_hard_limit></memtune>"
            "<cputune><shares>200</shares><quota>20000</quota><emulator_quota>50000</emulator_quota></cputune>")
    try:
        with lodged(LODGED, "--cgroup", folder, "--engine", "soft") as daemon:
            define(daemon, tune)
            daemon.virsh("start", "g")
            group = f"{folder}/lodge-{UUID}"
            until("its threads are held", lambda: os.path.exists(f"{group}/emulator") and read(f"{group}/emulator/cgroup.threads"),
                  lodged_module.WAIT)
            told = fields(daemon.virsh("schedinfo", "g", "global_quota=60000", "vcpu_quota=30000"))
            assert told["global_quota"] == "60000" and told["emulator_quota"] == "50000", told
            assert read(f"{group}/cgroup.procs") == str(daemon.pid("g"))
            assert threads_of(f"{group}/vcpu0") == ["vcpu0"] and threads_of(f"{group}/vcpu1") == ["vcpu1"]
            assert "lodge-vmm" in threads_of(f"{group}/emulator") and not read(f"{group}/cgroup.threads")
            assert read(f"{group}/cpu.weight") == "200" and read(f"{group}/cpu.max") == "60000 100000"
            for name, held in (("vcpu0", "30000 100000"), ("vcpu1", "30000 100000"), ("emulator", "50000 100000")):
                assert read(f"{group}/{name}/cpu.max") == held, name
            if os.path.exists(f"{group}/memory.max"):
                daemon.virsh("memtune", "g", "--hard-limit", "500M")
                assert [read(f"{group}/memory.{name}") for name in ("max", "high", "swap.max")] == [
                    str(mib << 20) for mib in (500, 400, 100)]
            if sys.argv[3:] == ["real"]:
                check_disk_limits(daemon, group)
            assert "not held" not in daemon.virsh("dominfo", "g")
            daemon.virsh("destroy", "g")
            until("its group is gone", lambda: not os.path.exists(group), lodged_module.WAIT)
    finally:
        if os.path.exists(folder):
            os.rmdir(folder)


def prepare_host():
    """A host that was made for this has no such file system yet, and much less to give."""
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"], check=True)
    real_cgroup()  # or it is a mistake to have come here
    with open("/run/disk", "wb") as disk:
        disk.truncate(8 << 20)
    subprocess.run(["losetup", LOOP, "/run/disk"], check=True)
    write(f"/sys/block/{os.path.basename(LOOP)}/queue/scheduler", "bfq")
    lodged_module.WAIT = 600


if sys.argv[3:] == ["real"]:
    prepare_host()
    tap.main({"test_real_cgroup": test_real_cgroup})
else:
    tap.main(globals())
