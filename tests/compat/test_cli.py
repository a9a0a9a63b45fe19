# SPDX-License-Identifier: GPL-2.0-or-later
"""Help, manual pages and completion say the same, and what the program knows."""
import os
import re
import shutil
import subprocess
import sys

import tap

LODGE = sys.argv[1]
TOP = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))


def lodge(*words):
    return subprocess.run([LODGE, *words], capture_output=True, text=True, timeout=30)


def complete(*words):
    return lodge("--complete", *words).stdout.split()


def options(command="run"):
    return re.findall(r"^  (--[a-z-]+)", lodge(command, "--help").stdout, re.M)


def commands():
    return re.findall(r"^  ([a-z-]+) ", lodge("--help").stdout, re.M)


def test_help_lists_the_commands():
    done = lodge("--help")
    assert done.returncode == 0 and re.search(r"^  run +\S", done.stdout, re.M), done


def test_no_command_is_wrong_usage():
    assert lodge().returncode == 2
    done = lodge("levitate")
    assert done.returncode == 2 and "there is no command 'levitate'" in done.stderr, done


def test_version():
    assert re.fullmatch(r"lodge \d+\.\d+\.\d+\n", lodge("--version").stdout)


def test_manual_page_has_every_option_and_no_other():
    with open(f"{TOP}/man/lodge.1") as text:
        page = text.read().replace("\\-", "-")
    described = set(re.findall(r"^(?:\.TP\n)(?:\.\w+ |\\fB)(--[a-z-]+)", page, re.M))
    known = {option for command in commands() for option in options(command)}
    assert described == known, described ^ known
    described = set(re.findall(r"^\.TP\n\\fB([a-z][a-z-]*)\\fR", page, re.M))
    assert described == set(commands()) - {"run"} and len(described) > 40, described ^ set(commands())


def test_manual_pages_are_well_formed():
    if not shutil.which("groff"):
        raise tap.Skip("groff is not installed")
    for page in ("lodge.1", "lodge-net.1", "lodge-vmm.1"):
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", f"{TOP}/man/{page}"],
                              capture_output=True, text=True)
        assert done.returncode == 0 and not done.stderr, done.stderr


def test_completion_of_commands_and_options():
    assert complete("") == commands() and complete("ru") == ["run"] and complete("x") == []
    assert complete("run", "--cons") == ["--console"]
    assert set(complete("run", "--")) == set(options())


def test_completion_of_values():
    assert complete("run", "--engine", "") == ["auto", "kvm", "soft"]
    assert complete("run", "--engine", "s") == ["soft"]
    assert complete("run", "--kernel", "") == ["<file>"]
    assert complete("run", "--no-reboot", "") == ["<file>"], "a domain XML fits"


def test_bash_completion_script():
    if not shutil.which("bash"):
        raise tap.Skip("bash is not installed")
    script = f"""source {TOP}/completion/lodge
    COMP_WORDS=({LODGE} run --engine so) COMP_CWORD=3
    _lodge; echo "${{COMPREPLY[@]}}" """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "soft", done


def test_zsh_completion_script():
    """With what zsh gives it, and compadd and _files that print."""
    if not shutil.which("zsh"):
        raise tap.Skip("zsh is not installed")
    for words, printed in (("run --engine so", "soft"), ("run --kernel ''", "a file"), ("run --eng", "--engine")):
        script = f"""compadd() {{ print -r -- "${{(@P)2}}" }}; _files() {{ print a file }}
        _lodge() {{ source {TOP}/completion/_lodge }}
        words=({LODGE} {words}); CURRENT=$#words; _lodge"""
        done = subprocess.run(["zsh", "-fc", script], capture_output=True, text=True)
        assert done.stdout.strip() == printed, (words, done)


def test_fish_completion_script():
    if not shutil.which("fish"):
        raise tap.Skip("fish is not installed")
    for words, printed in (("run --engine so", "soft"), ("run --eng", "--engine")):
        done = subprocess.run(["fish", "--no-config", "-c", f"source {TOP}/completion/lodge.fish; complete -C '{LODGE} {words}'"],
                              capture_output=True, text=True, env=dict(os.environ, PATH=os.path.dirname(LODGE) + ":" + os.environ["PATH"]))
        assert done.stdout.strip() == printed, (words, done)


def offered(shell, program, *words):
    """What the shell offers for the last of these words after the program's name."""
    line = " ".join((program, *words))
    script = {
        "bash": f"""source {TOP}/completion/{program}; COMP_WORDS=({line}) COMP_CWORD={len(words)}
                 _{program.replace("-", "_")} 2>/dev/null; printf '%s\\n' "${{COMPREPLY[@]}}" """,
        "zsh": f"""compadd() {{ print -rl -- "${{(@)argv[2,-1]}}" }}; _files() {{ print a file }}
                words=({line}); CURRENT=$#words; complete() {{ source {TOP}/completion/_{program} }}; complete""",
        "fish": f"source {TOP}/completion/{program}.fish; complete -C '{line}'"}[shell]
    start = {"bash": ["bash", "-c"], "zsh": ["zsh", "-fc"], "fish": ["fish", "--no-config", "-c"]}[shell]
    done = subprocess.run([*start, script], capture_output=True, text=True, timeout=30)
    assert not done.stderr, done
    return {re.split("[\t ]", text)[0] for text in done.stdout.split("\n") if text}


def test_completion_of_the_other_programs():
    shells = [shell for shell in ("bash", "zsh", "fish") if shutil.which(shell)]
    if not shells:
        raise tap.Skip("neither bash nor zsh nor fish is installed")
    helped = subprocess.run([f"{os.path.dirname(LODGE)}/lodged", "--help"], capture_output=True, text=True, timeout=30).stdout
    known = set(re.findall(r"^  (?:-h, )?(--[a-z-]+)[ =](?!DIR  )", helped, re.M))
    assert len(known) > 15, helped
    for shell in shells:
        assert offered(shell, "lodged", "--") >= known, (shell, known ^ offered(shell, "lodged", "--"))
        assert {"auto", "kvm", "soft"} <= offered(shell, "lodged", "--engine", "''"), shell
        assert "info" in offered(shell, "lodge-img", "in" if shell != "zsh" else "''"), shell
        assert {"--json", "--fd"} <= offered(shell, "lodge-img", "info", "--"), shell


tap.main(globals())
