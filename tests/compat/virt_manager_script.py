# SPDX-License-Identifier: GPL-2.0-or-later
"""What a person does in virt-manager, through what it tells assistive programs, on a screen and a bus of their own; run by
test_virt_manager.py with the system's Python: virt_manager_script.py URI GUEST SCREENSHOTS STEP...

Each step prints a line when it is done, and leaves a picture.
"""
import os
import subprocess
import sys
import time
import warnings

import gi
gi.require_version("Atspi", "2.0")
from gi.repository import Atspi, GLib  # noqa: E402

URI, GUEST, PICTURES, *STEPS = sys.argv[1:]
PATIENCE = 90
warnings.simplefilter("ignore")  # of names of functions that newer versions have others for
count = 0


def picture(name):
    global count
    count += 1
    path = f"{PICTURES}/{count}-{name}.png"
    with open(path, "wb") as out:
        shot = subprocess.run(["xwd", "-root", "-silent"], stdout=subprocess.PIPE, check=True)
        pnm = subprocess.run(["xwdtopnm"], input=shot.stdout, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        subprocess.run(["pnmtopng"], input=pnm.stdout, stdout=out, stderr=subprocess.DEVNULL, check=True)


def children(node):
    try:
        return [node.get_child_at_index(i) for i in range(min(node.get_child_count(), 200))]
    except GLib.Error:
        return []


def walk(node, depth=0):
    if node is None or depth > 40:
        return
    yield node
    for child in children(node):
        yield from walk(child, depth + 1)


def applications():
    return [app for app in children(Atspi.get_desktop(0)) if app and "virt-manager" in (app.get_name() or "").lower()]


def shown(node):
    states = node.get_state_set()
    return states.contains(Atspi.StateType.SHOWING)


def find(role, *names):
    """The first of that role that is shown and whose name begins with one of these."""
    for app in applications():
        for node in walk(app):
            try:
                if node.get_role_name() == role and (node.get_name() or "").strip().startswith(names) and shown(node):
                    return node
            except GLib.Error:  # it has gone meanwhile
                continue
    return None


def wait(what, condition):
    end = time.monotonic() + PATIENCE
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            picture("failed")
            for app in applications():
                for node in walk(app):
                    if shown(node):
                        print("shown:", node.get_role_name(), repr(node.get_name()), file=sys.stderr)
            sys.exit(f"never: {what}")
        time.sleep(0.2)


def press(node):
    action = node.get_action_iface()
    assert action and action.do_action(0), node.get_name()


def click(node):
    box = node.get_component_iface().get_extents(Atspi.CoordType.SCREEN)
    subprocess.run(["xdotool", "mousemove", str(box.x + box.width // 2), str(box.y + box.height // 2), "click", "1"], check=True)


def done(step):
    time.sleep(0.5)  # for the eye: what is told may not be painted yet
    picture(step)
    print(f"done: {step}", flush=True)


def cell(text):
    return find("table cell", text)


def state(word):
    """The guest's row says the name, and under it the state."""
    node = cell(GUEST)
    return node if node and word in node.get_name() else None


def text_of(node):
    iface = node.get_text_iface()
    return iface.get_text(0, iface.get_character_count()) if iface else ""


def terminal():
    return find("terminal", "")


def connected():
    click(wait("the guest is listed", lambda: state("Shutoff")))


def running():
    press(wait("a button that starts", lambda: find("push button", "Run")))
    wait("the guest runs", lambda: state("Running"))


def found():
    """It runs already."""
    click(wait("the guest is listed, and runs", lambda: state("Running")))


def opened():
    press(find("push button", "Open"))
    wait("its window", lambda: find("frame", f"{GUEST} on "))


def console():
    screen = wait("the console, which a guest without a screen has there", terminal)
    click(screen)
    subprocess.run(["xdotool", "type", "h"], check=True)
    wait("the guest's answer", lambda: "here" in text_of(terminal() or screen))


def off():
    press(wait("a button that stops", lambda: find("push button", "Shut Down")))
    wait("the guest is off", lambda: state("Shutoff"))


def main():
    program = subprocess.Popen(["virt-manager", "--no-fork", "--connect", URI])
    try:
        wait("its window", lambda: find("frame", "Virtual Machine Manager"))
        for step in STEPS:
            {"connected": connected, "running": running, "found": found, "opened": opened, "console": console, "off": off}[step]()
            done(step)
    finally:
        program.terminate()
        program.wait(30)


main()
