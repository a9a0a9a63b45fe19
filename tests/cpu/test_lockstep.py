# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/lockstep: silent where the engines agree, exact where one of them is made to lie."""
import os
import subprocess
import sys
import tempfile

import tap

CPU_EXEC = os.path.abspath(sys.argv[1])
LOCKSTEP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tools/lockstep")

# mov ecx, 5; 1: lea rax, [rax + rcx]; mov [rbx + rcx * 8], rax; add edx, eax; adc edi, 1;
# dec ecx; jnz 1b; hlt
LOOP = "b905000000" "488d0408" "488904cb" "01c2" "83d701" "ffc9" "75ef" "f4"

# Passes everything on, and spoils rdx where a translated block has run past the ADD.
LIAR = """#!{python}
import json, subprocess, sys
real = subprocess.Popen([{program!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
for line in sys.stdin:
    real.stdin.write(line)
    real.stdin.flush()
    answer = json.loads(real.stdout.readline())
    asked = json.loads(line)
    ends = int(answer["regs"]["rip"], 0)
    if asked["engine"] == "block" and (ends >= 0x1000f or "stop" not in asked):
        answer["regs"]["rdx"] = hex(int(answer["regs"]["rdx"], 0) ^ 0x10)
    print(json.dumps(answer), flush=True)
real.stdin.close()
real.wait()
"""


def lockstep(*arguments, program=CPU_EXEC):
    done = subprocess.run([sys.executable, LOCKSTEP, "--exec", program, *arguments],
                          stdout=subprocess.PIPE, text=True, timeout=100)
    return done.returncode, done.stdout


def test_engines_agree_on_a_loop():
    status, text = lockstep("--code", LOOP, "--regs", '{"rbx": "0x30000"}')
    assert (status, text) == (0, "no difference in 32 instructions; ended with halted\n"), text


def test_engines_agree_up_to_an_exception():
    status, text = lockstep("--code", "ffc031c948f7f1")  # inc eax; xor ecx, ecx; div rcx
    assert status == 0 and "in 3 instructions; ended with {'vector': 0}" in text, text


def test_engines_agree_in_real_mode():
    status, text = lockstep("--mode", "16", "--code", "b90400" "01c8" "e2fc" "f4")
    assert status == 0 and "ended with halted" in text, text


def test_number_of_steps_is_a_limit():
    status, text = lockstep("--code", "ebfe", "--steps", "50")  # jmp to itself
    assert status == 0 and "ended with stopped" in text, text


def test_a_lie_is_found_at_its_instruction():
    with tempfile.TemporaryDirectory() as directory:
        liar = os.path.join(directory, "liar")
        with open(liar, "w") as out:
            out.write(LIAR.format(python=sys.executable, program=CPU_EXEC))
        os.chmod(liar, 0o755)
        status, text = lockstep("--code", LOOP, "--regs", '{"rbx": "0x30000"}', program=liar)
    assert status == 1, text
    assert text.startswith("first difference: the instruction at 0x1000d\n"), text
    assert "bytes from there: 01c283d701" in text and "rdx: stepped 0x5, translated 0x15" in text, text


if __name__ == "__main__":
    tap.main(globals())
