#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Stands in for lodge-vmm: does what the guest's kernel command line says behind "do=".

exit:N     end with status N            hello:N  print a line on the console, then end with N
descriptors print what is open          echo     give every console byte back until 'q'
resize     print the console's size, at first and when the monitor hears of another, three in all
sleep      wait for SIGTERM or SIGINT; the second ends it with 5, as lodge-vmm does
message    complain on standard error, end with 1
monitor:F  be a guest that runs: note every command of its monitor in F.commands, and send every line that
           comes into F to who has connected
"""
import json
import os
import re
import select
import signal
import socket
import sys
import time


def read_plan(number):
    data = b""
    while chunk := os.read(number, 65536):
        data += chunk
    return json.loads(data)


def console(plan):
    for backend in plan["backends"]:
        if backend["kind"] == "console" and backend["driver"] == "fd":
            return backend["fd_out"]
        if backend["kind"] == "console" and backend["driver"] in ("pty", "file"):
            return backend["fd"]
        if backend["kind"] == "console" and backend["driver"] == "listen":
            return socket.socket(fileno=backend["fd"]).accept()[0].detach()
    return None


def echo(number):
    while (byte := os.read(number, 1)) not in (b"", b"q"):
        os.write(number, b"<" + byte + b">")


def resize(number, plan):
    device = next(d for d in plan["devices"] if d["type"] == "virtserialport")
    os.write(number, f"size {device['columns']} {device['rows']}\r\n".encode())
    listener = socket.socket(fileno=plan["monitor"]["fd"])
    for _ in range(2):
        client = listener.accept()[0].makefile("rw")
        print('{"QMP": {}}', file=client, flush=True)
        client.readline()
        print('{"return": {}}', file=client, flush=True)
        command = json.loads(client.readline())
        size = command["arguments"]
        assert command["execute"] == "console-resize" and size["id"] == device["id"], command
        os.write(number, f"size {size['columns']} {size['rows']}\r\n".encode())
        print('{"return": {}}', file=client, flush=True)


actual = [0]  # what the balloon leaves, now and when it is asked again


def answer(command):
    if command["execute"] == "query-status":
        return {"return": {"status": "running", "running": True}}
    if command["execute"] == "query-balloon":
        return {"return": {"actual": actual.pop(0) if len(actual) > 1 else actual[0]}}
    if command["execute"] == "balloon":
        # a guest comes to what is wanted in steps
        wanted = command["arguments"]["value"]
        actual[:] = [(actual[-1] + wanted) // 2, wanted]
        return {"return": {}}
    if command["execute"] == "complain":
        return {"error": {"class": "GenericError", "desc": "as it was told"}}
    return {"return": command.get("arguments", {})}


def monitor(plan, path):
    listener = socket.socket(fileno=plan["monitor"]["fd"])
    clients, terms, sent = {}, [], 0
    actual[0] = plan["memory"]["bytes"]
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: terms.append(1))
    while len(terms) < 2:
        for ready in select.select([listener, *clients], [], [], 0.02)[0]:
            if ready is listener:
                client = listener.accept()[0]
                clients[client] = client.makefile("rw")
                print('{"QMP": {}}', file=clients[client], flush=True)
                continue
            line = clients[ready].readline()
            if not line:
                del clients[ready]
                continue
            with open(f"{path}.commands", "a") as out:
                out.write(line)
            command = json.loads(line)
            print(json.dumps(dict(answer(command), id=command["id"])), file=clients[ready], flush=True)
        with open(path) as events:
            lines = events.read().split("\n")[:-1]
        for client in clients.values():
            for line in lines[sent:]:
                print(line, file=client, flush=True)
        sent = len(lines)
    sys.exit(5)


def sleep(number):
    terms = []
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: terms.append(1))
    if number is not None:
        os.write(number, b"sleeping\r\n")
    while len(terms) < 2:
        time.sleep(0.02)
    sys.exit(5)


def main():
    numbers = sorted(int(name) for name in os.listdir("/proc/self/fd"))
    plan = read_plan(int(sys.argv[2]))
    what = re.search(r"do=(\S+)", plan["boot"]["cmdline"]).group(1)
    verb, _, value = what.partition(":")
    out = console(plan)
    if verb == "descriptors":
        os.write(out, json.dumps({"open": numbers, "plan": plan}).encode() + b"\n")
    elif verb == "hello":
        os.write(out, b"hello from the guest\r\n")
        time.sleep(0.1)
    elif verb == "echo":
        os.write(out, b"ready\r\n")
        echo(out)
    elif verb == "sleep":
        sleep(out)
    elif verb == "monitor":
        monitor(plan, value)
    elif verb == "resize":
        resize(out, plan)
    elif verb == "message":
        print("lodge-vmm: cannot build the machine: no reason", file=sys.stderr)
        sys.exit(1)
    sys.exit(int(value or 0))


main()
