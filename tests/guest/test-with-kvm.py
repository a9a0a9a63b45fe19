# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/with-kvm: the command has /dev/kvm, its output and status come back, its time ends.

What needs the nested host to boot is one test: a boot under emulation is slow.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import tap

HERE = os.path.dirname(os.path.abspath(__file__))
WITH_KVM = os.path.join(HERE, "../../tools/with-kvm")
PATIENCE = 600

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--tiny", required=True)
options = parser.parse_args()


def with_kvm(*words, **settings):
    done = subprocess.run([sys.executable, WITH_KVM, "--time-limit", str(PATIENCE), *words],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, **settings)
    if done.returncode == 125 and "is not installed" in done.stderr and "env" not in settings:
        raise tap.Skip(done.stderr.strip())
    return done


def test_command_has_kvm_and_is_as_at_home():
    with tempfile.TemporaryDirectory() as kept, tempfile.TemporaryDirectory() as lost:
        script = (f'"$0" && echo "$GREETING" >&2; echo of the host >"{kept}/a"; '
                  f'echo of memory >"{lost}/a" && cat "{lost}/a"; pwd; '
                  'cat /sys/module/kvm/parameters/halt_poll_ns; grep -o "some=words" /proc/cmdline; exit 7')
        done = with_kvm("--cpus", "1", "--writable", kept, "--module", "kvm halt_poll_ns=4321",
                        "--append", "some=words", "--qemu=-name", "--qemu=nested", "--", "sh", "-c", script,
                        os.path.abspath(options.tiny),
                        env={**os.environ, "GREETING": "it's \"quoted\" $HOME"}, cwd=HERE)
        assert done.returncode == 7, done
        assert done.stdout.splitlines() == ["KVM API version 12: the guest says 42 and halts",
                                            "of memory", HERE, "4321", "some=words"], done
        assert done.stderr == "it's \"quoted\" $HOME\n", done
        with open(os.path.join(kept, "a")) as file:
            assert file.read() == "of the host\n"
        assert not os.listdir(lost)


def test_time_limit_ends_it():
    done = with_kvm("--time-limit", "0.5", "true")
    assert done.returncode == 124 and "not done after 0.5 s" in done.stderr, done


def test_missing_qemu_is_named():
    done = with_kvm("true", env={"PATH": HERE})
    assert done.returncode == 125 and "qemu-system-x86_64 is not installed" in done.stderr, done


def test_command_is_needed():
    done = with_kvm("--")
    assert done.returncode == 2 and "a command is missing" in done.stderr, done


tap.main(globals())
