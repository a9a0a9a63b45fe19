# SPDX-License-Identifier: GPL-2.0-or-later
"""What people type, by one virsh against lodged and against a libvirtd: the transcripts, without what differs at each
run, are the same, but for the differences that tests/compat/allowed-differences lists with their reasons.

    test_transcripts.py LODGED BUTTON-IMAGE [--print]

A block of that file is a command, why it differs, and the lines of libvirtd's (-) and lodged's (+) transcript that the
other has not. With --print, all differences are printed in that form.
"""
import difflib
import os
import re
import shutil
import subprocess
import sys

import tap
from libvirtd import libvirtd
from lodged import WAIT, lodged

LODGED, IMAGE = sys.argv[1:3]
ALLOWED = f"{os.path.dirname(os.path.abspath(__file__))}/allowed-differences"

GUEST = """<domain type='qemu'><name>g</name><uuid>c7a5fdbd-edaf-9455-926a-d65c16db1809</uuid><title>Title</title>
<memory unit='MiB'>64</memory><vcpu>2</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{root}/button</kernel></os><features><acpi/></features>
<devices><controller type='usb' model='none'/><disk type='file' device='disk'><driver name='qemu' type='raw'/>
<source file='{root}/disk.img'/><target dev='vda' bus='virtio'/></disk>
<interface type='user'><mac address='52:54:00:00:00:07'/><model type='virtio'/></interface>
<serial type='pty'/><memballoon model='virtio'/></devices></domain>"""
SECRET = """<secret ephemeral='no' private='no'><uuid>6ba7b810-9dad-11d1-80b4-00c04fd430c8</uuid>
<usage type='ceph'><name>key</name></usage></secret>"""
VOLUME = "<volume><name>v.img</name><capacity>1048576</capacity></volume>"

# In this order. What prints XML is compared by status and root element alone: other tests look into it. Nothing here may
# change the host, nor tell what this kernel alone has.
COMMANDS = """
uri
version --daemon
hostname
nodeinfo
nodecpumap
nodecpustats
nodememstats
freecell
maxvcpus
capabilities
domcapabilities
sysinfo
cpu-models x86_64
cpu-compare {root}/broken.xml
hypervisor-cpu-compare {root}/broken.xml
cpu-baseline {root}/broken.xml
freepages
nwfilter-list
list --all
list --all --name
dominfo g
define {root}/guest.xml
define {root}/nowhere.xml
define {root}/broken.xml
list
list --all
list --inactive --name
list --all --uuid
list --all --title
list --state-running --name
dominfo g
domstate g
domstate g --reason
domid g
domuuid g
domname c7a5fdbd-edaf-9455-926a-d65c16db1809
dumpxml g
dumpxml g --inactive
domblklist g
domblklist g --details
domiflist g
domblkinfo g vda
domstats g
vcpucount g
vcpucount g --maximum
numatune g
domcontrol g
domjobinfo g
domdisplay g
ttyconsole g
desc g
desc g A guest for comparing
desc g
desc g --title
desc g --title --config Another title
desc g --title
metadata g urn:x
metadata g urn:x --set <note>hello</note> --key x
metadata g urn:x
metadata g urn:x --remove
autostart g
dominfo g
autostart g --disable
setmem g 32M --config
setmaxmem g 48M --config
setvcpus g 1 --config
vcpucount g
setvcpus g 9 --config
set-lifecycle-action g poweroff destroy --config
domrename g h
domname c7a5fdbd-edaf-9455-926a-d65c16db1809
domrename h g
setmaxmem g 64M --config
setmem g 64M --config
setvcpus g 2 --config
schedinfo g
memtune g
blkiotune g
blkdeviotune g vda
domiftune g 52:54:00:00:00:07
vcpupin g
vcpupin g 0 0 --config
vcpupin g
emulatorpin g
emulatorpin g 0 --config
emulatorpin g
iothreadinfo g
guestvcpus g
perf g
cpu-stats g
attach-disk g {root}/other.img vdb --config
attach-disk g {root}/other.img vdb --config
domblklist g
detach-disk g vdb --config
detach-disk g vdb --config
attach-interface g network lan --mac 52:54:00:00:00:08 --model virtio --config
domiflist g
detach-interface g network --mac 52:54:00:00:00:08 --config
detach-interface g network --mac 52:54:00:00:00:08 --config
attach-device g {root}/device.xml --config
detach-device g {root}/device.xml --config
detach-device g {root}/device.xml --config
update-device g {root}/device.xml --config
detach-device-alias g nothing --config
send-key g KEY_A
inject-nmi g
send-process-signal g 1 9
qemu-monitor-command g {{"execute":"query-status"}}
save g {root}/saved
save-image-dumpxml {root}/nowhere
save-image-define {root}/nowhere {root}/guest.xml
restore {root}/nowhere
managedsave-remove g
managedsave-dumpxml g
dump g {root}/core
screenshot g {root}/shot
blockcommit g vda
blockpull g vda
blockcopy g vda {root}/copy
blockresize g vda 1M
domfsfreeze g
domfstrim g
dompmsuspend g mem
set-user-password g root x
get-user-sshkeys g root
domdirtyrate-calc g
domlaunchsecinfo g
vncdisplay g
migrate-getspeed g
migrate-setspeed g 5
migrate-getmaxdowntime g
migrate-setmaxdowntime g 5
backup-begin g
backup-dumpxml g
checkpoint-create g
checkpoint-create-as g c
checkpoint-info g nothing
checkpoint-dumpxml g nothing
checkpoint-parent g nothing
checkpoint-delete g nothing
snapshot-create g {root}/broken.xml
snapshot-dumpxml g nothing
snapshot-parent g nothing
snapshot-revert g nothing
snapshot-delete g nothing
suspend g
shutdown g
destroy g
reboot g
reset g
console g
domblkstat g
dommemstat g
vcpuinfo g
managedsave g
snapshot-list g
snapshot-current g
checkpoint-list g
start g
start g
list
list --all --title
domstate g --reason
domid g
domname 1
dumpxml g
domblkstat g vda
domblkstat g vdx
domblkinfo g vda
domblkerror g
domifstat g vnet9
domiflist g
domif-getlink g 52:54:00:00:00:07
send-key g KEY_A
send-key g KEY_NOTHING
inject-nmi g
vcpupin g
emulatorpin g
vncdisplay g
screenshot g {root}/shot
domfstrim g
-r list --all
-r dominfo nobody
-r destroy g
dommemstat g
domstats g --state
domstats --list-active --state
vcpucount g
vcpuinfo g
domcontrol g
domjobinfo g
domjobabort g
domtime g
domhostname g
domfsinfo g
guestinfo g
domifaddr g
iothreadinfo g
qemu-agent-command g {{}}
domblklist g
domrename g h
undefine nobody
suspend g
suspend g
domstate g --reason
resume g
resume g
domstate g --reason
setmem g 65M
setvcpus g 1 --config
setvcpus g 2 --config
define {root}/guest.xml
create {root}/guest.xml
snapshot-list g
snapshot-info g nothing
blockjob g vda
reset g
undefine g
dominfo g
define {root}/guest.xml
destroy g
destroy g
domstate g --reason
list --all
undefine g
undefine g
list --all
create {root}/guest.xml --paused
list
dominfo g
destroy g
list --all
domid 77
domstate 00000000-0000-0000-0000-000000000000
net-list --all --name
net-info nothing
net-dumpxml nothing
net-start nothing
net-define {root}/network.xml
net-list --all
net-info lan
net-uuid lan
net-name 11111111-9dad-11d1-80b4-00c04fd430c8
net-autostart lan
net-list --all
net-update lan add dns-host {root}/host.xml --config
net-update lan add dns-host {root}/host.xml --config
net-update lan delete dns-host {root}/host.xml --config
net-create {root}/broken.xml
net-autostart lan --disable
net-destroy lan
net-dhcp-leases lan
net-port-list lan
net-undefine lan
net-undefine lan
pool-list --all
pool-define-as p dir --target {root}/images
pool-list --all
pool-info p
pool-build p
pool-start p
pool-start p
pool-list
pool-info p
pool-dumpxml p
pool-uuid p
pool-autostart p
pool-refresh p
pool-autostart p --disable
vol-list p
vol-create p {root}/volume.xml
vol-create p {root}/volume.xml
vol-create-as p w.img 1M
vol-list p
vol-list p --details
vol-info v.img --pool p
vol-info {root}/images/v.img
vol-info nothing --pool p
vol-path v.img --pool p
vol-key v.img --pool p
vol-name {root}/images/v.img
vol-pool {root}/images/v.img
vol-dumpxml v.img --pool p
vol-resize v.img 2M --pool p
vol-resize v.img 1M --pool p
vol-resize v.img 1M --pool p --shrink
vol-clone v.img x.img --pool p
vol-create-from p {root}/copy.xml v.img
vol-create-from p {root}/copy.xml v.img
vol-upload v.img {root}/button --pool p
vol-download v.img {root}/download --pool p
vol-wipe v.img --pool p
vol-delete v.img --pool p
vol-delete v.img --pool p
pool-delete p
pool-destroy p
pool-destroy p
pool-undefine p
pool-undefine p
pool-create-as q dir --target {root}/images
pool-list --all
pool-destroy q
pool-list --all
pool-capabilities
find-storage-pool-sources-as netfs
secret-list
secret-define {root}/secret.xml
secret-list
secret-dumpxml 6ba7b810-9dad-11d1-80b4-00c04fd430c8
secret-get-value 6ba7b810-9dad-11d1-80b4-00c04fd430c8
secret-set-value 6ba7b810-9dad-11d1-80b4-00c04fd430c8 --base64 Z2VoZWlt
secret-get-value 6ba7b810-9dad-11d1-80b4-00c04fd430c8
secret-undefine 6ba7b810-9dad-11d1-80b4-00c04fd430c8
secret-undefine 6ba7b810-9dad-11d1-80b4-00c04fd430c8
nwfilter-dumpxml nothing
nwfilter-binding-list
iface-dumpxml nothing
nodedev-dumpxml nothing
nodedev-list --cap nothing
event --list
net-event --list
pool-event --list
secret-event --list
"""


def prepare(daemon):
    """The same files below each root."""
    files = {"copy.xml": VOLUME.replace("v.img", "y.img"),
             "host.xml": "<host ip='192.168.7.7'><hostname>web</hostname></host>",
             "device.xml": "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>", "other.img": "other",
             "guest.xml": GUEST.format(root=daemon.root), "broken.xml": "<domain>", "secret.xml": SECRET, "volume.xml": VOLUME,
             "network.xml": "<network><name>lan</name><uuid>11111111-9dad-11d1-80b4-00c04fd430c8</uuid></network>"}
    for name, text in files.items():
        with open(f"{daemon.root}/{name}", "w") as out:
            out.write(text)
    shutil.copy(IMAGE, f"{daemon.root}/button")
    with open(f"{daemon.root}/disk.img", "wb") as out:
        out.truncate(1 << 20)
    for name in ("disk.img", "button"):
        os.chmod(f"{daemon.root}/{name}", 0o666)


NORMAL = ((r"\d\d\d\d-\d\d-\d\d \d\d:\d\d:\d\d.\d+\+0000: ", ""),
          (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID"), (r"/dev/pts/\d+", "PTY"),
          (r"\b\d+\.\d+ ?(GiB|MiB|KiB|s)\b", r"N \1"), (r" +", " "), (r"-{3,}", "---"), (r" +$", ""))
# Of these, only names stand for themselves.
MEASURED = {"nodeinfo", "nodecpumap", "nodecpustats", "nodememstats", "freecell", "maxvcpus", "freepages", "dommemstat", "vcpuinfo",
            "cpu-stats", "domblkstat", "version", "domstats", "pool-info", "domblkinfo", "sysinfo"}


def normal(command, text, daemon):
    text = text.replace(daemon.root, "ROOT").replace(os.uname().nodename, "HOST") if command == "hostname" else text.replace(daemon.root, "ROOT")
    for pattern, by in NORMAL:
        text = re.sub(pattern, by, text, flags=re.M)
    if command in MEASURED:
        text = re.sub(r"\b\d+(\.\d+)*\b", "N", text)
    if re.match(r"\s*<\w+", text):
        return [re.match(r"\s*(<\w+)", text).group(1)]
    # a guest that has only just started has used none, or some
    return [line for line in text.split("\n") if line and not line.startswith("CPU time:")]


def transcript(daemon):
    prepare(daemon)
    said = []
    for line in COMMANDS.strip().split("\n"):
        words = [word.format(root=daemon.root) for word in line.split(" ")]
        done = subprocess.run(["virsh", "-c", daemon.uri(), *words], capture_output=True, text=True, timeout=WAIT,
                              env=dict(os.environ, LC_ALL="C"), stdin=subprocess.DEVNULL, check=False)
        said.append((line, normal(words[0], done.stdout + done.stderr, daemon) + [f"status {done.returncode}"]))
    return said


def differences(theirs, ours):
    """[(command, its differing lines)], each command with its number where it is typed again."""
    found, count = [], {}
    for (line, their), (_, our) in zip(theirs, ours):
        count[line] = count.get(line, 0) + 1
        lines = [d.rstrip() for d in difflib.ndiff(their, our) if d[0] in "-+"]
        if lines:
            found.append((line if count[line] == 1 else f"{line} #{count[line]}", lines))
    return found


def read_allowed():
    blocks, why = {}, None
    with open(ALLOWED) as text:
        for line in text.read().split("\n"):
            if line.startswith("== "):
                command, why = line[3:], None
                blocks[command] = [None, []]
            elif line.startswith("why: "):
                blocks[command][0] = line[5:]
            elif line[:2] in ("- ", "+ "):
                blocks[command][1].append(line)
    return blocks


def compare():
    with libvirtd() as other, lodged(LODGED) as daemon:
        daemon.uri = lambda: f"qemu+unix:///session?socket={daemon.socket}"
        return differences(transcript(other), transcript(daemon))


def test_transcripts():
    if not shutil.which("virsh"):
        raise tap.Skip("there is no virsh (package libvirt-clients)")
    found, allowed = dict(compare()), read_allowed()
    for command, (why, lines) in allowed.items():
        assert why, f"'{command}' has no reason"
        assert command in found, f"'{command}' no longer differs: take it off the list"
        assert found[command] == lines, (command, found[command], lines)
    assert found.keys() == allowed.keys(), {c: found[c] for c in found.keys() - allowed.keys()}


if "--print" in sys.argv:
    for command, lines in compare():
        print(f"== {command}", "why: ", *lines, "", sep="\n")
else:
    tap.main(globals())
