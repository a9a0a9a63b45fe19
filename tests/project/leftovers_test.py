# SPDX-License-Identifier: GPL-2.0-or-later
"""tools/leftovers.py finds what a run leaves behind, and nothing after a run that cleans up."""
import os
import subprocess
import sys

import tap

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../../tools"))
import leftovers  # noqa: E402


def left_by(script, grace=0.5):
    with leftovers.Watch(grace) as watch:
        subprocess.run(["sh", "-c", script], env=watch.environment, check=True)
    return watch


def test_clean_run():
    watch = left_by('sleep 0 & echo x >"$TMPDIR/x"; mkdir "$TMPDIR/d"; rm "$TMPDIR/x"; '
                    'rmdir "$TMPDIR/d"; wait')
    assert watch.found == [], watch.found
    assert not os.path.exists(watch.folder)


def test_process_whose_parent_has_gone():
    watch = left_by('(setsid sleep 987 >/dev/null 2>&1 & echo $! >"$TMPDIR/pid")')
    processes = [what for what in watch.found if what.startswith("process ")]
    assert len(processes) == 1 and "(sleep 987)" in processes[0], watch.found
    number = int(processes[0].split()[1])
    assert not os.path.exists(f"/proc/{number}"), "it still runs"


def test_process_that_is_about_to_end():
    watch = left_by("(sleep 0.3 &)", grace=30)
    assert watch.found == [], watch.found


def test_file():
    watch = left_by('mkdir "$TMPDIR/a"; echo x >"$TMPDIR/a/disk.img"')
    assert watch.found == ["file a/disk.img"], watch.found
    assert not os.path.exists(watch.folder)


def test_empty_folder():
    assert left_by('mkdir "$TMPDIR/a"').found == ["file a"]


def test_shared_memory():
    ended = subprocess.Popen(["true"])
    ended.wait()
    name = f"/dev/shm/lodge-test-{ended.pid}"
    if not os.access("/dev/shm", os.W_OK):
        raise tap.Skip("/dev/shm is not writable here")
    try:
        assert left_by(f"echo x >{name}").found == [name]
    finally:
        os.unlink(name)


def test_shared_memory_of_a_test_that_runs():
    name = f"/dev/shm/lodge-test-{os.getpid()}"
    if not os.access("/dev/shm", os.W_OK):
        raise tap.Skip("/dev/shm is not writable here")
    try:
        assert left_by(f"echo x >{name}").found == []
    finally:
        os.unlink(name)


tap.main(globals())
