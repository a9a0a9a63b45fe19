# SPDX-License-Identifier: GPL-2.0-or-later
"""virt-manager, unmodified, on a screen of its own: it connects, shows, starts and stops a guest, and has its serial
console.

    test_virt_manager.py LODGED BUTTON-IMAGE

LODGE_PICTURES names a folder where pictures of each step are kept for people to look at.
"""
import os
import shutil
import subprocess
import sys

import tap
from lodged import WAIT, guest_xml, lodged

LODGED, IMAGE = sys.argv[1:]
STEPS = ["connected", "running", "opened", "console", "off"]
PYTHON = "/usr/bin/python3"  # which has the modules of Debian's packages


def need(*programs):
    for name in programs:
        if not shutil.which(name):
            raise tap.Skip(f"there is no {name}: sh tools/deps.sh slow")
    if subprocess.run([PYTHON, "-c", "import gi; gi.require_version('Atspi', '2.0')"], capture_output=True).returncode:
        raise tap.Skip("there is no gir1.2-atspi-2.0: sh tools/deps.sh slow")


def test_a_guest_in_virt_manager():
    need("virt-manager", "Xvfb", "xdotool", "xwd", "xwdtopnm", "dbus-run-session")
    with lodged(LODGED) as daemon:
        home, pictures = f"{daemon.root}/home", os.environ.get("LODGE_PICTURES") or f"{daemon.root}/pictures"
        for folder in home, f"{home}/run", pictures:
            os.makedirs(folder, mode=0o700, exist_ok=True)
        xml = f"{daemon.root}/g.xml"
        with open(xml, "w") as out:
            out.write(guest_xml("g", IMAGE))
        daemon.virsh("define", xml)
        env = {"PATH": os.environ["PATH"], "HOME": home, "LC_ALL": "C.UTF-8", "XDG_RUNTIME_DIR": f"{home}/run",
               "GSETTINGS_BACKEND": "memory", "GTK_MODULES": "gail:atk-bridge", "GDK_BACKEND": "x11", "NO_AT_BRIDGE": "0"}
        read, write = os.pipe()
        with subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x900x24", "-nolisten", "tcp"],
                              pass_fds=[write], stderr=subprocess.DEVNULL) as screen:
            os.close(write)
            try:
                with os.fdopen(read) as number:
                    env["DISPLAY"] = f":{number.readline().strip()}"
                script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "virt_manager_script.py")
                done = subprocess.run(["dbus-run-session", "--", PYTHON, script, daemon.uri(), "g", pictures], env=env,
                                      capture_output=True, text=True, timeout=10 * WAIT, check=False)
            finally:
                screen.terminate()
        steps = [line[6:] for line in done.stdout.split("\n") if line.startswith("done: ")]
        assert done.returncode == 0 and steps == STEPS, (done, daemon.text())
        assert daemon.virsh("domstate", "g") == "shut off"
        assert len([name for name in os.listdir(pictures) if name.endswith(".png")]) >= len(STEPS)


tap.main(globals())
