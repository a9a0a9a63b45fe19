#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""`make demo`: a stock Debian guest, twice.

Boots the Debian disk of tools/guest under the stock cloud kernel with two processors, shows what
the guest prints as it comes, logs in, looks around, writes a file and powers off; boots again and
finds the file. Ends with the times. Exit status 0 means that all of it happened.

demo.py --build DIRECTORY

For working on this script without waiting for a guest engine: LODGE_DEMO_COMMAND is a command to
run instead of `lodge run`, with {kernel}, {initrd}, {disk} and {append} in it.
"""
import argparse
import codecs
import os
import pty
import re
import resource
import select
import shlex
import shutil
import subprocess
import sys
import time
import tty

TOP = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
LOGIN_SECONDS = 240   # from the start to the login prompt
COMMAND_SECONDS = 90  # for one command in the guest
OFF_SECONDS = 120     # from poweroff to the end
PROMPT = "guest# "
UNFINISHED = re.compile(r"\x1b(\[[0-9;?]*|\][^\x07]*|[()])?$")
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b\][^\x07]*\x07|\x1b[()][A-Z0-9]|\r|\x07")


class DemoError(Exception):
    """What went wrong, in words for the person who watches."""


def title(text):
    print(f"\n\033[1m== {text}\033[0m" if sys.stdout.isatty() else f"\n== {text}", flush=True)


# --- a guest on a pseudo terminal ---

class Guest:
    """A running guest's console: shows everything, waits for text, types lines."""

    def __init__(self, command, deadline):
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        self.process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave,
                                        start_new_session=True)
        os.close(slave)
        self.started = time.monotonic()
        self.deadline = self.started + deadline
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.unfinished = ""  # the beginning of a control sequence whose rest is still to come
        self.text = ""        # since the last match, without control sequences
        self.whole = ""

    def age(self):
        return time.monotonic() - self.started

    def read_more(self, seconds):
        """False when the guest's end of the console has closed."""
        if not select.select([self.master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        if not data:
            return False
        raw = self.unfinished + self.decoder.decode(data)
        tail = UNFINISHED.search(raw)
        self.unfinished = tail.group() if tail else ""
        plain = CONTROLS.sub("", raw[:tail.start()] if tail else raw)
        sys.stdout.write(plain)
        sys.stdout.flush()
        self.text += plain
        self.whole += plain
        return True

    def expect(self, pattern, seconds, doing):
        """Waits until the console shows PATTERN; returns what stood before it."""
        end = time.monotonic() + seconds
        while True:
            match = re.search(pattern, self.text)
            if match:
                before = self.text[:match.start()]
                self.text = self.text[match.end():]
                return before
            left = end - time.monotonic()
            if left <= 0:
                raise DemoError(f"{doing}: nothing like '{pattern}' within {seconds} seconds")
            if not self.read_more(min(left, 1)):
                raise DemoError(f"{doing}: the guest ended with status {self.process.wait()}")

    def type_line(self, line):
        os.write(self.master, line.encode() + b"\n")

    def run(self, command, seconds=COMMAND_SECONDS):
        """Runs a command in the guest's shell; returns its output, fails when it fails."""
        print(command, flush=True)  # the guest does not echo what is typed
        self.type_line(f'{command}; echo "status=$?"')
        output = self.expect(r"(?m)^status=\d+$", seconds, command)
        self.expect(re.escape(PROMPT), seconds, command)
        status = re.findall(r"(?m)^status=(\d+)$", self.whole)[-1]
        if status != "0":
            raise DemoError(f"'{command}' ended with status {status} in the guest")
        return output

    def wait(self, seconds):
        end = time.monotonic() + seconds
        while self.read_more(0.2):
            if time.monotonic() > end:
                raise DemoError(f"the guest did not end within {seconds} seconds of poweroff")
            if self.process.poll() is not None and not select.select([self.master], [], [], 0.2)[0]:
                break
        return self.process.wait()

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        os.close(self.master)


# --- what is done with it ---

def log_in(guest):
    guest.expect(r"login: ?$", LOGIN_SECONDS, "waiting for the login prompt")
    seconds = guest.age()
    guest.type_line("root")
    guest.expect(r"[#$] ?$", COMMAND_SECONDS, "logging in")
    guest.type_line("bind 'set enable-bracketed-paste off' 2>/dev/null; stty -echo; "
                    f"export TERM=dumb SYSTEMD_PAGER= PS1='{PROMPT[:-1]}'' '")
    guest.expect(re.escape(PROMPT), COMMAND_SECONDS, "setting up the shell")
    return seconds


def init_seconds(guest):
    match = re.search(r"lodge-guest: init reached after ([\d.]+) s", guest.whole)
    return float(match.group(1)) if match else None


def look_around(guest):
    guest.run("uname -a")
    guest.run("lscpu | grep -E '^(Architecture|CPU\\(s\\)|Vendor|Model name|Hypervisor|Thread|Core|Socket)'")
    guest.run("lsblk; df -h /")
    guest.run("for i in 1 2 3 4 5 6 7 8 9 10; do ip -4 -br addr show scope global | grep -q . && break; "
              "sleep 1; done; ip -br addr")
    failed = guest.run("systemctl list-units --state=failed --no-legend --plain")
    if failed.strip():
        raise DemoError(f"units failed in the guest: {failed.strip()}")


def power_off(guest):
    guest.type_line("poweroff")
    status = guest.wait(OFF_SECONDS)
    if status:
        raise DemoError(f"the guest ended with status {status} instead of 0")


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def boot(number, command, work):
    """One life of the guest; returns its times."""
    title(f"boot {number}: {' '.join(command)}")
    before = cpu_seconds()
    guest = Guest(command, LOGIN_SECONDS)
    try:
        login = log_in(guest)
        work(guest)
        power_off(guest)
        return {"init": init_seconds(guest), "login": login, "whole": guest.age(),
                "cpu": cpu_seconds() - before}
    finally:
        guest.close()


# --- the whole ---

def prepare(directory):
    """Builds or finds the guest's files; returns (kernel, initrd, disk)."""
    script = os.path.join(TOP, "tools/guest/build.sh")

    def build(*what):
        return subprocess.run([script, *what], check=True, capture_output=False,
                              stdout=subprocess.PIPE, text=True).stdout.strip()

    kernel, initrd, image = build("kernel", "cloud"), build("initrd", "cloud"), build("debian")
    os.makedirs(directory, exist_ok=True)
    disk = os.path.join(directory, "disk.img")
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", image, disk], check=True)
    return kernel, initrd, disk


def write_xml(directory, kernel, initrd, disk):
    with open(os.path.join(TOP, "examples/debian.xml")) as text:
        xml = text.read()
    for old, new in (("../build/guest/vmlinuz", kernel), ("../build/guest/initrd.img", initrd),
                     ("../build/guest/debian.img", disk), ("<name>debian<", "<name>demo<")):
        assert old in xml, old
        xml = xml.replace(old, new)
    path = os.path.join(directory, "demo.xml")
    with open(path, "w") as out:
        out.write(xml)
    return path


def demo_command(build, directory, kernel, initrd, disk):
    other = os.environ.get("LODGE_DEMO_COMMAND")
    if other:
        words = shlex.split(other)
        return [word.format(kernel=kernel, initrd=initrd, disk=disk,
                            append="console=ttyS0 root=/dev/vda") for word in words]
    return [os.path.join(build, "lodge"), "run", write_xml(directory, kernel, initrd, disk)]


def summary(boots, prepared):
    title("summary")
    print(f"{'':10}{'to /init':>10}{'to login':>10}{'in all':>10}{'CPU time':>10}")
    for number, times in enumerate(boots, 1):
        init = f"{times['init']:.1f} s" if times["init"] is not None else "?"
        print(f"{'boot ' + str(number):10}{init:>10}{times['login']:>8.1f} s{times['whole']:>8.1f} s"
              f"{times['cpu']:>8.1f} s")
    print(f"Preparing the guest took {prepared:.1f} s. It booted, logged in, powered off, booted "
          "again and found its file.")
    print("Next: `make run` leaves you at its login prompt.")


def demo(build):
    begun = time.monotonic()
    directory = os.path.join(build, "demo")
    title("a Debian 12 guest from Debian packages")
    kernel, initrd, disk = prepare(directory)
    prepared = time.monotonic() - begun
    command = demo_command(build, directory, kernel, initrd, disk)
    note = f"written {time.strftime('%H:%M:%S')} by make demo"

    def first(guest):
        look_around(guest)
        guest.run(f"echo '{note}' >/root/note && sync && cat /root/note")

    def second(guest):
        found = guest.run("cat /root/note")
        if note not in found:
            raise DemoError(f"the file does not hold '{note}' but '{found.strip()}'")

    boots = [boot(1, command, first), boot(2, command, second)]
    shutil.rmtree(directory)
    summary(boots, prepared)


def main():
    parser = argparse.ArgumentParser(description="Boot a Debian guest, twice.")
    parser.add_argument("--build", default="build", help="the build directory")
    arguments = parser.parse_args()
    try:
        demo(os.path.abspath(arguments.build))
    except DemoError as error:
        print(f"\ndemo: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"\ndemo: {error.cmd[0]} ended with status {error.returncode}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
