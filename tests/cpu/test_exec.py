# SPDX-License-Identifier: GPL-2.0-or-later
"""cpu-exec: instructions of each mode with results written from the manuals."""
import json
import subprocess
import sys

import tap

CPU_EXEC = sys.argv[1]


def run(*lines):
    text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    done = subprocess.run([CPU_EXEC], input=text, stdout=subprocess.PIPE, text=True, check=True,
                          timeout=60)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(answers) == len(lines), answers
    return answers if len(answers) > 1 else answers[0]


def reg(answer, name):
    return int(answer["regs"][name], 0)


def step(code, mode="64", mem=(), engine="step", **regs):
    return run({"mode": mode, "code": code, "regs": regs, "mem": list(mem), "engine": engine})


def test_add_sets_result_flags_and_rip():
    answer = step("4801d8", rax="0xffffffffffffffff", rbx=1)  # add rax, rbx
    assert reg(answer, "rax") == 0 and reg(answer, "rip") == 0x10003, answer
    assert reg(answer, "rflags") == 0x57, answer  # CF PF AF ZF and the bit that is always 1
    assert answer["exit"] == "stopped" and answer["mem"] == [] and "exception" not in answer


def test_one_instruction_and_no_more():
    answer = step("ffc0ffc0", rax=5)  # inc eax; inc eax
    assert reg(answer, "rax") == 6 and reg(answer, "rip") == 0x10002, answer


def test_a_block_is_more():
    answer = step("ffc0ffc0f4", rax=5, engine="block")  # inc eax; inc eax; hlt
    assert reg(answer, "rax") == 7, answer


def test_store_is_reported():
    answer = step("8903", rax="0x12345678", rbx="0x30002")  # mov [rbx], eax
    assert answer["mem"] == [{"gpa": "0x30000", "hex": "0000785634120000" + "00" * 8}], answer


def test_load_comes_from_memory():
    answer = step("8b03", rbx=0x30000, mem=[{"gpa": 0x30000, "hex": "efbeadde"}])
    assert reg(answer, "rax") == 0xdeadbeef, answer


def test_repeated_string_runs_to_its_end():
    answer = step("f3aa", rax=0x5a, rdi=0x30ff8, rcx=0x20)  # rep stosb, across a page
    assert reg(answer, "rcx") == 0 and reg(answer, "rdi") == 0x31018, answer
    assert reg(answer, "rip") == 0x10002 and len(answer["mem"]) == 3, answer


def test_divide_error_changes_nothing():
    answer = step("48f7f1", rax=7, rdx=0, rcx=0)  # div rcx
    assert answer["exception"] == {"vector": 0}, answer
    assert reg(answer, "rax") == 7 and reg(answer, "rip") == 0x10000, answer


def test_page_fault_has_error_code_and_address():
    answer = step("8903", rbx="0x40000000")  # mov [rbx], eax behind the mapped GiB
    assert answer["exception"] == {"vector": 14, "error": 2}, answer
    assert reg(answer, "cr2") == 0x40000000, answer


def test_non_canonical_address():
    answer = step("8b03", rbx="0x800000000000")
    assert answer["exception"] == {"vector": 13, "error": 0}, answer


def test_undefined_opcode():
    assert step("0f0b")["exception"] == {"vector": 6}


def test_protected_mode():
    answer = step("60", mode="32", rax=1, rsp=0x20000)  # pusha: not in 64-bit mode
    assert reg(answer, "rsp") == 0x1ffe0, answer
    assert step("60", mode="64")["exception"] == {"vector": 6}


def test_real_mode_wraps_at_16_bits():
    answer = step("40", mode="16", rax="0x1ffff")  # inc ax
    assert reg(answer, "rax") == 0x10000 and reg(answer, "rip") == 0x7c01, answer


def test_hlt():
    assert step("f4")["exit"] == "halted"


def test_stop_ends_a_block_early():
    line = {"mode": "64", "code": "ffc0ffc0ffc0f4", "engine": "block", "stop": 0x10002}
    answer = run(line)
    assert reg(answer, "rax") == 1 and answer["exit"] == "stopped", answer
    assert answer["mem"] == [], answer


def test_lines_are_independent():
    first, second = run({"mode": "64", "code": "ffc0"}, {"mode": "64", "code": "90"})
    assert reg(first, "rax") == 1 and reg(second, "rax") == 0, second


def test_bad_lines_are_answered():
    bad = ["}\n", {"mode": "65"}, {"mode": "64", "regs": {"xyz": 1}},
           {"mode": "64", "regs": {"rax": "zz"}}, {"mode": "64", "code": "9"},
           {"mode": "64", "mem": [{"gpa": 1 << 40, "hex": "00"}]}, {"mode": "64", "stop": 1 << 40}]
    answers = run(*bad, {"mode": "64", "code": "90"})
    assert all("error" in answer for answer in answers[:-1]), answers
    assert reg(answers[-1], "rip") == 0x10001, answers[-1]


if __name__ == "__main__":
    tap.main(globals())
