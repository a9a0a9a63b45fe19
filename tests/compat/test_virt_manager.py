# SPDX-License-Identifier: GPL-2.0-or-later
"""virt-manager, unmodified, on a screen of its own: it connects, shows, starts and stops a guest, and has its serial
console; and a guest that all clients have in turn.

    test_virt_manager.py LODGED BUTTON-IMAGE LODGE LOGS

Pictures of each step are kept for people to look at: in LOGS/virt-manager, or in the folder that LODGE_PICTURES names.
"""
import json
import os
import re
import shutil
import subprocess
import sys

import tap
from lodged import WAIT, guest_xml, lodged, until

LODGED, IMAGE, LODGE, LOGS = sys.argv[1:]
STEPS = ["connected", "running", "opened", "console", "off"]
PYTHON = "/usr/bin/python3"  # which has the modules of Debian's packages


def need(*programs):
    for name in programs:
        if not shutil.which(name):
            raise tap.Skip(f"there is no {name}: sh tools/deps.sh slow")
    if subprocess.run([PYTHON, "-c", "import gi; gi.require_version('Atspi', '2.0')"], capture_output=True).returncode:
        raise tap.Skip("there is no gir1.2-atspi-2.0: sh tools/deps.sh slow")


def virt_manager(daemon, name, *steps):
    """A person takes these steps there, with the guest g; a folder of that name has the pictures."""
    need("virt-manager", "Xvfb", "xdotool", "xwd", "xwdtopnm", "dbus-run-session")
    home, pictures = f"{daemon.root}/home", f"{os.environ.get('LODGE_PICTURES') or f'{LOGS}/virt-manager'}/{name}"
    shutil.rmtree(pictures, ignore_errors=True)
    for folder in home, f"{home}/run", pictures:
        os.makedirs(folder, mode=0o700, exist_ok=True)
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
            done = subprocess.run(["dbus-run-session", "--", PYTHON, script, daemon.uri(), "g", pictures, *steps], env=env,
                                  capture_output=True, text=True, timeout=10 * WAIT, check=False)
        finally:
            screen.terminate()
    taken = [line[6:] for line in done.stdout.split("\n") if line.startswith("done: ")]
    assert done.returncode == 0 and taken == list(steps), (done, daemon.text())
    return pictures


def test_a_guest_in_virt_manager():
    with lodged(LODGED) as daemon:
        daemon.virsh("define", write(daemon, "g"))
        pictures = virt_manager(daemon, "alone", *STEPS)
        assert daemon.virsh("domstate", "g") == "shut off"
        assert len([name for name in os.listdir(pictures) if name.endswith(".png")]) >= len(STEPS)


class Watch:
    """A client that prints events, from when it gets them."""

    def __init__(self, daemon, name, words, environment=None):
        self.path = f"{daemon.root}/{name}.events"
        with open(self.path, "w") as out:
            self.process = subprocess.Popen(words, stdout=out, stdin=subprocess.DEVNULL, env=environment)
        probe = write(daemon, "probe", "<uuid>6ba7b810-9dad-11d1-80b4-00c04fd430c8</uuid>")

        def seen():
            daemon.virsh("define", probe)
            return "probe" in self.text()

        until(f"{name} gets events", seen)
        daemon.virsh("undefine", "probe")

    def text(self):
        with open(self.path) as text:
            return text.read()

    def lines(self):
        """Of the guest g, what has happened to it."""
        return [line.replace("event 'lifecycle' for domain 'g': ", "").replace("guest 'g': ", "").split()[0].lower()
                for line in self.text().split("\n") if re.search(r"(event 'lifecycle' for domain|guest) 'g': ", line)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(WAIT)


def write(daemon, name, more=""):
    path = f"{daemon.root}/{name}.xml"
    with open(path, "w") as out:
        out.write(guest_xml(name, IMAGE).replace("<memory", f"{more}<memory", 1))
    return path


def test_one_guest_of_all_clients():
    """Made by virt-install, started by lodge, stopped in virt-manager, removed by virsh: all say the same of it."""
    need("virt-install")
    with lodged(LODGED) as daemon:
        environment = dict(os.environ, LODGE_URI=daemon.socket, LC_ALL="C", HOME=f"{daemon.root}/home")

        def run(*words):
            done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=WAIT, stdin=subprocess.DEVNULL)
            assert done.returncode == 0, (words, done, daemon.text())
            return done.stdout.strip()

        def say(state):
            assert run(LODGE, "domstate", "g") == daemon.virsh("domstate", "g") == state
            rows = [row for row in json.loads(run(LODGE, "list", "--all", "--json")) if row["name"] == "g"]
            assert [row["state"] for row in rows] == [state]
            assert daemon.virsh("list", "--all", "--name").split() == ["g"]

        with Watch(daemon, "virsh", ["virsh", "-c", daemon.uri(), "event", "--event", "lifecycle", "--loop"]) as theirs, \
                Watch(daemon, "lodge", [LODGE, "event", "--loop"], environment) as ours:
            run("virt-install", "--connect", daemon.uri(), "--name", "g", "--memory", "32", "--vcpus", "1", "--osinfo",
                "linux2022", "--noautoconsole", "--import", "--disk", "none", "--network", "none", "--boot", f"kernel={IMAGE}")
            say("running")
            daemon.virsh("destroy", "g")
            run(LODGE, "start", "g")
            say("running")
            virt_manager(daemon, "shared", "found", "opened", "off")
            say("shut off")
            daemon.virsh("undefine", "g")
            assert daemon.virsh("list", "--all", "--name") == run(LODGE, "list", "--all", "--name") == ""
            wanted = ["started", "defined", "stopped", "started", "shutdown", "stopped", "undefined"]
            for watch in theirs, ours:
                until(f"the last event, {watch.path}", lambda watch=watch: "undefined" in watch.lines())
                assert [word for word in watch.lines() if word != "resumed"] == wanted, watch.text()


tap.main(globals())
