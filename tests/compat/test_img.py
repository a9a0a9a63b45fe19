# SPDX-License-Identifier: GPL-2.0-or-later
"""lodge-img info, by images made here of their headers, hostile ones among them; and held against qemu-img where there
is one.

    test_img.py LODGE-IMG
"""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

import tap

IMG = sys.argv[1]
MIB = 1 << 20


def image(parts, length=0):
    """Bytes of OFFSET: BYTES, as long as they are or LENGTH."""
    end = max([length] + [at + len(data) for at, data in parts.items()])
    out = bytearray(end)
    for at, data in parts.items():
        out[at:at + len(data)] = data
    return bytes(out)


def qcow2(size=10 * MIB, version=3, bits=16, backing=b"", backing_at=None, crypt=0, incompatible=0, header=104, extensions=b"",
          snapshots=0, name_length=None):
    at = backing_at if backing_at is not None else 1024 if backing else 0
    head = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", version, at, len(backing) if name_length is None else name_length, bits, size,
                       crypt, 1, 0x30000, 0x10000, 1, snapshots, 0)
    if version >= 3:
        head += struct.pack(">QQQII", incompatible, 0, 0, 4, header)
    return image({0: head, len(head): extensions, at: backing} if backing else {0: head, len(head): extensions}, 4096)


def extension(kind, data):
    return struct.pack(">II", kind, len(data)) + data + bytes(-len(data) % 8)


def vhd(kind, size=10 * MIB, wrong=0, offset=512):
    footer = bytearray(struct.pack(">8sIIQIIIIQQHBBI", b"conectix", 2, 0x10000, offset, 0, 0, 0x10000, 0, size, size, 1, 1, 1, kind))
    footer = bytearray(image({0: bytes(footer)}, 512))
    footer[64:68] = struct.pack(">I", ~sum(footer) + wrong & 0xffffffff)
    dynamic = image({0: b"cxsparse", 32: struct.pack(">I", 2 * MIB), 64: "parent.vhd".encode("utf-16-be")}, 1024)
    return bytes(footer), dynamic


def vmdk(size=10 * MIB, grain=128, descriptor=1, length=2, text=b"# Disk DescriptorFile\n"):
    head = struct.pack("<4sIIQQQQ", b"KDMV", 1, 0, size // 512, grain, descriptor, length)
    return image({0: head, 512: text}, 4096)


def vdi(size=10 * MIB, kind=1, version=0x10001):
    return image({0x40: struct.pack("<III", 0xbeda107f, version, 0x190) + struct.pack("<I", kind),
                  0x170: struct.pack("<QI", size, MIB)}, 1024)


def qed(size=10 * MIB, features=0, backing=b"", at=64, cluster=65536):
    head = struct.pack("<4sIIIQQQQQII", b"QED\0", cluster, 4, 1, features, 0, 0, cluster, size, at, len(backing))
    return image({0: head, at: backing}, 4096)


REGION = bytes.fromhex("06a27c8b90479a4bb8fe575f050f886e")
SIZE = bytes.fromhex("2442a52f1bcd7648b2115dbed83bf4b8")
PARAMETERS = bytes.fromhex("3767a1ca36fa434db3b633f0aa44e76b")


def vhdx(size=10 * MIB, metadata=256 << 10, count=1, items=2):
    return image({0: b"vhdxfile", 192 << 10: struct.pack("<4sIII", b"regi", 0, count, 0) + REGION + struct.pack("<QII", metadata, 65536, 1),
                  256 << 10: struct.pack("<8sHH", b"metadata", 0, items),
                  (256 << 10) + 32: SIZE + struct.pack("<IIII", 65536, 8, 0, 0) + PARAMETERS + struct.pack("<IIII", 65544, 8, 0, 0),
                  (320 << 10): struct.pack("<QII", size, 8 * MIB, 0)}, 400 << 10)


def luks(version, offset=4096, header=16384, text=None):
    if version == 1:
        return image({0: b"LUKS\xba\xbe\0\1", 104: struct.pack(">I", offset // 512)}, 3 * MIB)
    text = text or json.dumps({"segments": {"0": {"offset": str(offset), "size": "dynamic"}}}).encode()
    return image({0: b"LUKS\xba\xbe\0\2" + struct.pack(">Q", header), 4096: text}, 3 * MIB)


def iso():
    return image({32768: b"\1CD001\1", 32808: b"A DISC".ljust(32)}, 3 * MIB)


def run(*words, status=0, **options):
    done = subprocess.run([IMG, *words], capture_output=True, text=True, timeout=60, **options)
    assert done.returncode == status, (words, done)
    return done


def info(data, status=0):
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        text = run("info", "--json", file.name, status=status).stdout
    assert text.count("\n") == 1
    return json.loads(text)


def test_formats():
    fixed, _ = vhd(2)
    dynamic, table = vhd(3)
    differencing, _ = vhd(4)
    for data, expected in (
            (b"", {"format": "raw", "virtual-size": 0}),
            (b"x" * 700, {"format": "raw", "virtual-size": 700}),
            (qcow2(), {"format": "qcow2", "virtual-size": 10 * MIB, "version": 3, "cluster-size": 65536}),
            (qcow2(version=2, bits=12, backing=b"/base"), {"version": 2, "cluster-size": 4096, "backing-file": "/base"}),
            (qcow2(crypt=1), {"encryption": "aes"}), (qcow2(crypt=2), {"encryption": "luks"}),
            (qcow2(incompatible=3, snapshots=4), {"dirty": True, "corrupt": True, "snapshots": 4}),
            (qcow2(backing=b"b", extensions=extension(0xe2792aca, b"raw") + extension(0x6803f857, bytes(48)) +
                   extension(0x44415441, b"data.raw") + extension(0, b"")),
             {"backing-file": "b", "backing-format": "raw", "data-file": "data.raw"}),
            (qcow2(version=1, crypt=0x0c090000), {"format": "qcow"}),
            (qed(), {"format": "qed", "virtual-size": 10 * MIB, "cluster-size": 65536}),
            (qed(features=5, backing=b"base"), {"backing-file": "base", "backing-format": "raw"}),
            (vmdk(), {"format": "vmdk", "virtual-size": 10 * MIB, "cluster-size": 65536}),
            (vmdk(text=b'# Disk DescriptorFile\nparentFileNameHint="p.vmdk"\n'), {"backing-file": "p.vmdk"}),
            (b'# Disk DescriptorFile\nversion=1\nRW 20480 FLAT "a-flat.vmdk" 0\nRDONLY 2 ZERO\n',
             {"format": "vmdk", "virtual-size": 20482 * 512}),
            (vdi(), {"format": "vdi", "virtual-size": 10 * MIB, "cluster-size": MIB}),
            (bytes(10 * MIB) + fixed, {"format": "vpc", "virtual-size": 10 * MIB}),
            (dynamic + table, {"format": "vpc", "virtual-size": 10 * MIB, "cluster-size": 2 * MIB}),
            (differencing + table, {"format": "vpc", "backing-file": "parent.vhd"}),
            (vhdx(), {"format": "vhdx", "virtual-size": 10 * MIB, "cluster-size": 8 * MIB}),
            (luks(1), {"format": "luks", "version": 1, "virtual-size": 3 * MIB - 4096, "encryption": "luks"}),
            (luks(2), {"format": "luks", "version": 2, "virtual-size": 3 * MIB - 4096}),
            (iso(), {"format": "iso", "label": "A DISC", "virtual-size": 3 * MIB})):
        told = info(data)
        assert {key: told.get(key) for key in expected} == expected, (expected, told)
        assert told["file-size"] == len(data)


def test_hostile():
    dynamic, table = vhd(3)
    for data, why in (
            (qcow2()[:20], "clusters of"), (qcow2(version=9), "version is 9"), (qcow2(bits=8), "clusters of 256"),
            (qcow2(bits=31), "clusters of"), (qcow2(bits=4000000000), "clusters of"), (qcow2(size=1 << 63), "too large"),
            (qcow2(crypt=3), "encryption"), (qcow2(snapshots=1 << 31), "snapshots"), (qcow2(header=96), "header has 96"),
            (qcow2(header=1 << 31), "header has"), (qcow2(backing=b"x" * 2000), "has 2000 bytes"),
            (qcow2(backing=b"x", backing_at=1 << 20), "not in the first cluster"), (qcow2(backing=b"x", backing_at=8), "first cluster"),
            (qcow2(backing=b"x", name_length=4000000000), "has 4000000000 bytes"),
            (qcow2(extensions=struct.pack(">II", 5, 0xffffffff)), "too long"),
            (qcow2(extensions=extension(0xe2792aca, b"raw") * 2), "twice"),
            (qed(cluster=3), "clusters of 3"), (qed(features=1), "no name"), (qed(size=1 << 63), "too large"),
            (vmdk(grain=1 << 60), "clusters of"), (vmdk(grain=3), "clusters of"), (vmdk(descriptor=1 << 60), "beyond"),
            (vmdk(length=1 << 60), "beyond"),
            (b"# Disk DescriptorFile\n" + b"RW 18446744073709551615 FLAT\n" * 2, "too long"),
            (vdi(version=2), "version"), (vdi(kind=9), "type 9"), (vdi(size=1 << 63), "too large"),
            (vhd(3, wrong=1)[0] + table, "sum"), (vhd(7)[0] + table, "type 7"), (vhd(3, offset=1 << 63)[0] + table, "beyond"),
            (vhd(3, offset=0)[0] + table, "dynamic header is none"), (dynamic, "beyond"), (vhd(2)[0] + bytes(512), "shorter"),
            (vhdx(metadata=1 << 63), "beyond"), (vhdx(count=0), "missing"), (vhdx(count=1 << 31), "entries"), (vhdx(items=1), "missing"),
            (vhdx(size=1 << 63), "too large"), (vhdx()[:200000], "beyond"),
            (luks(1, offset=1 << 40 - 1), "beyond"), (luks(2, header=1 << 60), "header has"), (luks(2, text=b"{" * 1000), "where"),
            (luks(2, text=b'{"segments":[]}'), "where"), (luks(2, offset=1 << 62), "beyond")):
        told = info(data, status=1)
        assert list(told) == ["error"] and why in told["error"], (why, told)


def test_names_are_only_text():
    """Nothing is followed, and nothing that a terminal would obey comes out."""
    name = b"/etc/shadow\x1b]0;x\x07\xff\xc2\x9b1m\nformat: raw"
    told = info(qcow2(backing=name))
    assert told["backing-file"].startswith("/etc/shadow") and "\ufffd" in told["backing-file"], told
    with tempfile.NamedTemporaryFile() as file:
        file.write(qcow2(backing=name))
        file.flush()
        text = run("info", file.name).stdout
    assert "backing file: /etc/shadow?]0;x?" in text and "\x1b" not in text and "\x9b" not in text, text


def test_words():
    with tempfile.TemporaryDirectory() as folder:
        for name, data in (("a", qcow2()), ("b", b"raw"), ("-c", vdi())):
            with open(f"{folder}/{name}", "wb") as out:
                out.write(data)
        text = run("info", "a", "b", cwd=folder).stdout
        assert text.startswith("a\nformat: qcow2\n") and "\n\nb\nformat: raw\n" in text, text
        assert "virtual size: 10.0 MiB (10485760 bytes)\n" in text
        lines = run("info", "--json", "--", "a", "-c", cwd=folder).stdout.splitlines()
        assert [json.loads(line)["format"] for line in lines] == ["qcow2", "vdi"]
        fds = [os.open(f"{folder}/{name}", os.O_RDONLY) for name in ("b", "a")]
        words = [word for fd in fds for word in ("--fd", str(fd))]
        lines = run("info", "--json", *words, pass_fds=fds).stdout.splitlines()
        assert [json.loads(line)["format"] for line in lines] == ["raw", "qcow2"]
        for fd in fds:
            os.close(fd)
        assert "cannot open" in run("info", f"{folder}/nothing", status=1).stderr
        with open(f"{folder}/bad", "wb") as out:
            out.write(b"QFI\xfb" + bytes(600))
        assert "bad: it looks like a qcow2 image and is none" in run("info", f"{folder}/bad", status=1).stderr
        os.mkfifo(f"{folder}/pipe")
        for name in ("pipe", "."):
            run("info", f"{folder}/{name}", status=1)
    for words in ((), ("info",), ("info", "--fd"), ("info", "--fd", "999"), ("info", "--fd", "x"), ("info", "--what"), ("convert",)):
        run(*words, status=2)
    assert "Usage:" in run("--help").stdout and "Usage:" in run("info", "--help").stdout
    assert run("--version").stdout.startswith("lodge-img ")


def test_against_qemu_img():
    program = shutil.which("qemu-img")
    if not program:
        raise tap.Skip("there is no qemu-img (package qemu-utils)")
    with tempfile.TemporaryDirectory() as folder:
        for name, options in (("raw", []), ("qcow2", []), ("qcow2", ["-o", "compat=0.10,cluster_size=4096"]), ("qcow", []), ("qed", []),
                              ("vmdk", []), ("vmdk", ["-o", "subformat=monolithicFlat"]), ("vdi", []), ("vpc", []), ("vhdx", []),
                              ("qcow2", ["-b", f"{folder}/base", "-F", "raw"])):
            with open(f"{folder}/base", "wb") as base:
                base.truncate(10 * MIB)
            path = f"{folder}/image"
            subprocess.run([program, "create", "-q", "-f", name, *options, path, "10M"], check=True)
            theirs = json.loads(subprocess.run([program, "info", "--output", "json", path], check=True, capture_output=True).stdout)
            ours = json.loads(run("info", "--json", path).stdout)
            for key, other in (("format", "format"), ("virtual-size", "virtual-size"), ("backing-file", "backing-filename"),
                               ("backing-format", "backing-filename-format")):
                assert ours.get(key) == theirs.get(other), (name, options, ours, theirs)


tap.main(globals())
