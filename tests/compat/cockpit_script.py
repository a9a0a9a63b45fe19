# SPDX-License-Identifier: GPL-2.0-or-later
"""Cockpit's page of virtual machines, as a person looks at it and clicks: with a Chromium and WebDriver, in the network
namespace of Cockpit's host. Each step that was done is a line, and a picture.

    cockpit_script.py USER PASSWORD GUEST POOL VOLUME PICTURES
"""
import base64
import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

PATIENCE = 300  # only ends what would never end
PORT = 9515
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # WebDriver's name for one
USER, PASSWORD, GUEST, POOL, VOLUME, PICTURES = sys.argv[1:]
PAGE = "http://127.0.0.1:9090/machines"
FRAME = "iframe[name$='/machines']"
OPTIONS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
           "--disable-background-networking", "--disable-component-update", "--disable-sync", "--lang=en-US",
           "--window-size=1300,1900"]


class Refused(Exception):
    """What WebDriver says it cannot do; often, it can a little later."""


def ask(method, path, **body):
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", method=method,
                                     data=json.dumps(body).encode() if method == "POST" else None)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise Refused(error.read().decode()[:500]) from None


def until(what, condition):
    """What CONDITION says once that is something; an element that has just gone is nothing."""
    end, last = time.monotonic() + PATIENCE, None
    while time.monotonic() < end:
        try:
            if found := condition():
                return found
            last = found
        except (Refused, OSError) as error:
            last = error
        time.sleep(0.2)
    raise AssertionError(f"never: {what} ({last})")


class Browser:
    def __init__(self):
        until("chromedriver answers", lambda: ask("GET", "/status")["ready"])
        made = ask("POST", "/session", capabilities={"alwaysMatch": {"goog:chromeOptions": {"args": OPTIONS}}})
        self.path, self.pictures = f"/session/{made['sessionId']}", 0

    def post(self, path, **body):
        return ask("POST", self.path + path, **body)

    def element(self, css):
        return self.post("/element", using="css selector", value=css)[ELEMENT]

    def click(self, css):
        until(f"{css} is clicked", lambda: self.post(f"/element/{self.element(css)}/click") is None)

    def click_text(self, text):
        path = f"//*[text()='{text}']"
        until(f"{text} is clicked", lambda: self.post(
            f"/element/{self.post('/element', using='xpath', value=path)[ELEMENT]}/click") is None)

    def type(self, css, text):
        self.post(f"/element/{self.element(css)}/value", text=text)

    def text(self, css="body"):
        return self.post("/execute/sync", script="return document.querySelector(arguments[0])?.innerText || ''", args=[css])

    def wait(self, css, wanted):
        until(f"{css} says {wanted}", lambda: re.search(wanted, self.text(css)))

    def page(self, where=""):
        """The machines page anew; it lies in a frame of its own."""
        self.post("/frame", id=None)
        self.post("/url", url=PAGE + where)
        self.post("/refresh")

    def enter(self):
        self.post("/frame", id={ELEMENT: until("the page is there", lambda: self.element(FRAME))})

    def picture(self, name):
        self.pictures += 1
        with open(f"{PICTURES}/{self.pictures:02}-{name}.png", "wb") as out:
            out.write(base64.b64decode(ask("GET", f"{self.path}/screenshot")))

    def done(self, name):
        self.picture(name)
        print(f"done: {name}", flush=True)


def log_in(browser):
    browser.page()
    until("the login form is there", lambda: browser.element("#login-user-input"))
    browser.type("#login-user-input", USER)
    browser.type("#login-password-input", PASSWORD)
    browser.click("#login-button")
    browser.enter()
    until("the list or a word about the processor",
          lambda: re.search(r"Ignore|\b%s\b" % GUEST, browser.text()))
    if "Ignore" in browser.text():  # virt-host-validate finds no virtualization: Cockpit's word, not lodged's
        browser.click("#ignore-hw-virtualization-disabled-btn")


def look_at_list(browser):
    browser.wait(f"#vm-{GUEST}-system-state", "^Running$")
    browser.wait("#card-pf-storage-pools", "1 Storage pool")
    browser.wait("#card-pf-networks", "1 Network")
    assert "Failed to fetch" not in browser.text(), browser.text()
    browser.done("list")


def look_at_guest(browser):
    browser.click_text(GUEST)
    for name, value in (("memory-count", "16.0 MiB"), ("vcpus-count", "^1"), ("cpu-model", "host passthrough"),
                        ("emulated-machine", "lodge-q35"), ("usage", r"[\d.]+ / 16 MiB[^%]*[\d.]+% of 1 vCPU")):
        browser.wait(f"#vm-{GUEST}-{name}", value)
    browser.wait(f"#vm-{GUEST}-networks", r"network\s+virtio\s+52:54:00:\S+\s+Unknown\s+default\s+up")
    browser.wait(".xterm-accessibility-tree", "Escape character")
    browser.wait(".xterm-accessibility-tree", "up")
    browser.type(".xterm-helper-textarea", "h")
    browser.wait(".xterm-accessibility-tree", "here")
    assert browser.text(".xterm-accessibility-tree").split().count("up") == 1, "what was said before is shown once"
    browser.done("guest")


def live(browser):
    state = f"#vm-{GUEST}-system-state"

    def choose(what):
        browser.click(f"#vm-{GUEST}-system-action-kebab button")
        browser.click_text(what)

    choose("Pause")
    browser.wait(state, "^Paused$")
    choose("Resume")
    browser.wait(state, "^Running$")
    browser.click(f"#vm-{GUEST}-system-shutdown-button")
    browser.wait(state, "^Shut off$")
    browser.done("off")
    browser.click(f"#vm-{GUEST}-system-run")
    browser.wait(state, "^Running$")
    browser.done("on")
    choose("Force shut down")
    browser.wait(state, "^Shut off$")
    browser.done("forced")


def look_at_the_rest(browser):
    browser.page("#/storages")
    browser.enter()
    browser.wait(f"#pool-{POOL}-system-state", "^active$")
    browser.click(".pf-c-table__toggle button")
    browser.click_text("Storage volumes")
    browser.wait("#storage-pools-listing", VOLUME)
    browser.done("pools")
    browser.page("#/networks")
    browser.enter()
    browser.wait("#network-default-system-state", "^active$")
    browser.done("networks")


def delete(browser):
    browser.page(f"#/vm?name={GUEST}&connection=system")
    browser.enter()
    browser.click(f"#vm-{GUEST}-system-action-kebab button")
    browser.click_text("Delete")
    browser.click(".pf-c-modal-box button.pf-m-danger")
    browser.wait("#virtual-machines-listing", "No VM is running or defined")
    browser.done("deleted")


def main():
    environment = dict(os.environ, TMPDIR=os.environ["HOME"])
    with open(f"{PICTURES}/chromedriver.log", "w") as log, \
            subprocess.Popen(["chromedriver", f"--port={PORT}"], stdout=log, stderr=log, env=environment) as driver:
        try:
            browser = Browser()
            try:
                for step in (log_in, look_at_list, look_at_guest, live, look_at_the_rest, delete):
                    step(browser)
            except BaseException:
                browser.picture("failed")
                print(browser.text())
                raise
            finally:
                ask("DELETE", browser.path)
        finally:
            driver.terminate()


main()
