# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/lockstep against QEMU: silent where both agree, exact where ours is made to lie."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

import tap

FOLLOW, IMAGE = (os.path.abspath(path) for path in sys.argv[1:3])
LOCKSTEP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/lockstep")

# Passes everything on; after the instruction that leads to RIP it spoils a register or a byte of memory.
LIAR = """#!{python}
import json, subprocess, sys
real = subprocess.Popen([{program!r}, *sys.argv[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                        text=True)
for line in sys.stdin:
    real.stdin.write(line)
    real.stdin.flush()
    answer = json.loads(real.stdout.readline())
    if json.loads(line).get("step") and int(answer["state"]["rip"], 16) == {rip}:
        if {where!r} == "memory":
            with open(sys.argv[1], "r+b") as ram:
                ram.seek(0x90008)
                ram.write(b"!")
        else:
            answer["state"]["{where}"] = hex(int(answer["state"]["{where}"], 16) ^ 0x10)[2:]
    print(json.dumps(answer), flush=True)
real.stdin.close()
"""


def symbol(name):
    table = subprocess.run(["nm", IMAGE], check=True, stdout=subprocess.PIPE, text=True).stdout
    return int(re.search(rf"^([0-9a-f]+) \w {name}$", table, re.M)[1], 16)


def lockstep(*arguments, follow=FOLLOW):
    if not shutil.which("qemu-system-x86_64"):
        raise tap.Skip("qemu-system-x86_64 is not installed")
    done = subprocess.run([sys.executable, LOCKSTEP, "--follow", follow, *arguments, IMAGE],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=500)
    return done.returncode, done.stdout


def lie(where, rip, *arguments):
    with tempfile.TemporaryDirectory() as directory:
        liar = os.path.join(directory, "liar")
        with open(liar, "w") as out:
            out.write(LIAR.format(python=sys.executable, program=FOLLOW, where=where, rip=rip))
        os.chmod(liar, 0o755)
        return lockstep(*arguments, follow=liar)


def test_no_difference_over_a_whole_image():
    status, text = lockstep()
    assert status == 0, text
    assert re.match(r"no difference in 1[0-9]{3} instructions; ended because QEMU has ended\n", text), text
    assert "known: rdtsc: the clock: 1 times" in text and "known: in: a port" in text, text


def test_a_register_is_found_at_its_instruction():
    planted = symbol("follow_planted")
    status, text = lie("rax", planted + 5)  # behind the LEA
    assert status == 1, text
    assert re.match(rf"first difference: instruction \d+ at {planted:#x}: lea rax, \[rdi\+rdi\*2\+0x05\]\n",
                    text), text
    assert re.search(r"^  rax: QEMU (0x[0-9a-f]+), ours (?!\1$)0x[0-9a-f]+$", text, re.M), text


def test_a_byte_of_memory_is_found_at_its_instruction():
    planted = symbol("follow_planted")
    status, text = lie("memory", planted + 5)
    assert status == 1, text
    assert re.match(rf"first difference: instruction \d+ at {planted:#x}: lea rax", text), text
    assert "  memory at 0x90008: QEMU 0x0, ours 0x21\n" in text, text


def test_a_hidden_part_is_found_at_its_instruction():
    planted = symbol("follow_planted")
    status, text = lie("ds.limit", planted + 5, "--start", hex(planted), "--deep")
    assert status == 1, text
    assert text.startswith(f"first difference: instruction 1 at {planted:#x}: lea rax"), text
    assert "  ds.limit: QEMU 0xffffffff, ours 0xffffffef\n" in text, text


def test_start_and_number_of_steps():
    planted = symbol("follow_planted")
    status, text = lockstep("--start", hex(planted), "--skip", "1", "--steps", "7", "--deep")
    assert status == 0 and text.startswith("no difference in 7 instructions"), text


if __name__ == "__main__":
    tap.main(globals())
