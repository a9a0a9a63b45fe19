# SPDX-License-Identifier: GPL-2.0-or-later
"""What runs an image: lodge-vmm translated and stepped, QEMU and Bochs. Each returns its console as text."""
import os
import pty
import shutil
import subprocess
import sys
import tempfile
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, ".."))
sys.path.insert(0, os.path.join(HERE, "../guest"))

import tap  # noqa: E402 (after the path that makes it visible)
from runvm import Vm, die_with_parent  # noqa: E402

PATIENCE = 300  # seconds; only ends what never ends by itself

BOCHS = """\
megs: 32
romimage: file={bios}
vgaromimage: file={vgabios}
cpu: model=corei7_icelake_u, count=1, ips=50000000, reset_on_triple_fault=0, ignore_bad_msrs=0
clock: sync=none
ata0-master: type=disk, path={disk}, mode=flat
boot: disk
com1: enabled=1, mode=file, dev={console}
display_library: term
log: {log}
panic: action=fatal
error: action=report
info: action=report
"""


def clean(output):
    return output.decode(errors="replace").replace("\r", "")


def lodge(options, image, **settings):
    """(console, exit status)"""
    with Vm(options.vmm, image, memory_mib=64, rng=False, **settings) as vm:
        status = vm.wait(PATIENCE)
        return clean(vm.output), status


def qemu(options, image, arguments=()):
    program = shutil.which("qemu-system-x86_64")
    if not program:
        raise tap.Skip("qemu-system-x86_64 is not installed")
    done = subprocess.run(
        [program, "-accel", "tcg", "-cpu", "max", "-machine", "q35", "-m", "64", "-nodefaults",
         "-display", "none", "-no-reboot", "-serial", "stdio", "-device",
         "isa-debug-exit,iobase=0x501", "-kernel", image, *arguments], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, timeout=PATIENCE, preexec_fn=die_with_parent)
    return clean(done.stdout), done.returncode


def make_disk(options, image, path):
    """The boot sector, which is told how many sectors follow it, and the flat image."""
    def flat(program):
        subprocess.run(["objcopy", "-O", "binary", program, path], check=True)
        with open(path, "rb") as file:
            return file.read()

    sector, body = flat(options.boot_sector), flat(image)
    sectors = -(-len(body) // 512)
    with open(path, "wb") as disk:
        disk.write(sector[:508] + sectors.to_bytes(2, "little") + sector[510:512] + body)
        disk.truncate(1 << 23)


def drain(terminal):
    """Bochs wants a terminal; what it shows there is not looked at."""
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:
        pass


def bochs(options, image):
    program = shutil.which("bochs-bin")
    bios, vgabios = "/usr/share/bochs/BIOS-bochs-latest", "/usr/share/bochs/VGABIOS-lgpl-latest"
    if not program or not os.path.exists(bios) or not os.path.exists(vgabios):
        raise tap.Skip("bochs, bochs-term, bochsbios and vgabios are not all installed")
    with tempfile.TemporaryDirectory(prefix="lodge-bochs-") as directory:
        path = {name: os.path.join(directory, name) for name in ("disk", "console", "log", "rc", "go")}
        make_disk(options, image, path["disk"])
        with open(path["rc"], "w") as config:
            config.write(BOCHS.format(bios=bios, vgabios=vgabios, **path))
        with open(path["go"], "w") as commands:  # Debian's has its debugger built in
            commands.write("c\n")
        # meson's MALLOC_PERTURB_ fills fresh memory, some of which this Bochs takes for zero
        environment = dict(os.environ, TERM="linux", MALLOC_PERTURB_="0")
        outer, inner = pty.openpty()
        reader = threading.Thread(target=drain, args=(outer,))
        reader.start()
        try:
            subprocess.run([program, "-q", "-f", path["rc"], "-rc", path["go"]], stdin=inner,
                           stdout=inner, stderr=inner, timeout=PATIENCE, cwd=directory,
                           env=environment, preexec_fn=die_with_parent)
        finally:
            os.close(inner)
            reader.join()
            os.close(outer)
        try:
            with open(path["console"], "rb") as console:
                return clean(console.read())
        except FileNotFoundError:
            with open(path["log"], errors="replace") as log:
                raise AssertionError("Bochs began no machine:\n" + log.read()[-2000:]) from None
