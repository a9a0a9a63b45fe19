# SPDX-License-Identifier: GPL-2.0-or-later
"""lodged.conf: what it says holds, the command line wins, and what is wrong in it is named. See test_lodged_system.py
for the one of --system.

    test_lodged_settings.py LODGED
"""
import contextlib
import grp
import os
import pwd
import re
import stat
import subprocess
import sys
import tempfile

import tap
from lodged import WAIT, Lodged

LODGED, = sys.argv[1:]
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ON_LINE_ALONE = {"root", "system", "session", "config", "version", "help"}
WRONG = (
    ("colour = red", "there is no setting 'colour'; lodged.conf(5) lists them"),
    ("Engine = soft", "there is no setting 'Engine'; lodged.conf(5) lists them"),
    ("--engine = soft", "there is no setting '--engine'; lodged.conf(5) lists them"),
    ("= soft", "there is no setting ''; lodged.conf(5) lists them"),
    ("movable", "'movable' is not NAME = VALUE; see lodged.conf(5)"),
    ("root = /tmp", "root is for the command line alone"),
    ("config = /tmp/other", "config is for the command line alone"),
    ("version = yes", "version is for the command line alone"),
    ("engine = warp", "engine is one of auto, kvm, soft, not 'warp'"),
    ("engine = soft # a note", "engine is one of auto, kvm, soft, not 'soft # a note'"),
    ("kvm-absent=", "kvm-absent is one of soft, refuse, not ''"),
    ("movable = true", "movable is yes or no, not 'true'"),
    ("patience = -1", "patience takes 0 to 86400 seconds, not '-1'"),
    ("patience = 86401", "patience takes 0 to 86400 seconds, not '86401'"),
    ("patience = 1 m", "patience takes 0 to 86400 seconds, not '1 m'"),
    ("socket-mode = 0680", "socket-mode takes an octal mode from 0600 to 0777, not '0680'"),
    ("socket-mode = 66", "socket-mode takes an octal mode from 0600 to 0777, not '66'"),
    ("socket-ro-mode = 01777", "socket-ro-mode takes an octal mode from 0600 to 0777, not '01777'"),
    ("log = lodged.log", "log takes a path that begins with /, not 'lodged.log'"),
)


def write(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as out:
        out.write(text)
    os.chmod(path, mode)
    return path


def refusal(*words, status=2, **settings):
    """What lodged says that it does not start for."""
    done = subprocess.run([LODGED, *words], capture_output=True, text=True, timeout=WAIT, stdin=subprocess.DEVNULL, **settings)
    assert done.returncode == status and re.fullmatch("lodged: .*\n", done.stderr), done
    return done.stderr[len("lodged: "):-1]


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory(prefix="lodged-settings-") as root:
        os.chmod(root, 0o755)
        yield root


@contextlib.contextmanager
def served(text, *options):
    """A lodged with a file of these settings."""
    with folder() as root:
        daemon = Lodged(LODGED, root, *options, verbose=False)
        write(f"{root}/lodged.conf", text)
        try:
            daemon.start()
            yield daemon
        finally:
            if daemon.process and daemon.process.poll() is None:
                assert daemon.end() == 0, daemon.text()


def modes(daemon):
    return [stat.S_IMODE(os.stat(path).st_mode) for path in (daemon.socket, daemon.socket_ro)]


def is_verbose(daemon):
    with daemon.client() as client:
        client.call("connect_get_lib_version")
    return " debug " in daemon.text()


def test_settings_hold():
    with served("# What we want:\n\nsocket-mode=0640\n  socket-ro-mode =\t 600 \nlisten-tcp = localhost:0\nverbose = yes\n"
                "#engine = warp\n") as daemon:
        assert modes(daemon) == [0o640, 0o600]
        assert "may come to " in daemon.text() and f"settings are those of {daemon.root}/lodged.conf" in daemon.text()
        assert is_verbose(daemon)
    with served("") as daemon:
        assert modes(daemon) == [0o600, 0o666] and "may come to " not in daemon.text() and not is_verbose(daemon)


def test_the_log_and_no_newline_at_the_end():
    with folder() as root:
        daemon = Lodged(LODGED, root, verbose=False)
        write(f"{root}/lodged.conf", f"log = {root}/other.log")
        daemon.start()
        with open(f"{root}/other.log") as log:
            assert f"serves {daemon.socket}" in log.read()
        assert daemon.text() == "" and daemon.end() == 0


def test_the_command_line_wins():
    with served("socket-mode = 0640\nsocket-ro-mode = 0600\nverbose = yes\nmovable = yes\nlisten-tcp = 192.0.2.1\n",
                "--socket-mode", "0660", "--verbose=no", "--listen-tcp", "localhost:0") as daemon:
        assert modes(daemon) == [0o660, 0o600] and not is_verbose(daemon)
    with served("verbose = no\n", "--verbose") as daemon:
        assert is_verbose(daemon)
    with folder() as root:
        write(f"{root}/lodged.conf", "engine = warp\n")
        assert "engine is one of" in refusal("--root", root, "--engine", "soft"), "wrong is wrong"


def test_modes_with_a_group():
    if os.geteuid():
        raise tap.Skip("only root has groups to give")
    group = next(one for one in grp.getgrall() if one.gr_gid)
    for line, mode in (("", 0o660), ("socket-mode = 0600\n", 0o600), ("socket-mode = 0666\n", 0o666)):
        with served(f"group = {group.gr_name}\n{line}") as daemon:
            st = os.stat(daemon.socket)
            assert st.st_gid == group.gr_gid and modes(daemon) == [mode, 0o666], (st, line)


def test_another_file():
    with folder() as root:
        write(f"{root}/lodged.conf", "engine = warp\n")
        other = write(f"{root}/other/name", "socket-mode = 0666\n")
        daemon = Lodged(LODGED, root, "--config", other, verbose=False)
        daemon.start()
        assert modes(daemon) == [0o666, 0o666] and f"settings are those of {other}" in daemon.text()
        assert daemon.end() == 0
        said = refusal("--root", root, "--config", f"{root}/none")
        assert said == f"cannot open the settings file {root}/none: No such file or directory", said


def test_what_is_wrong_is_named():
    with folder() as root:
        path = f"{root}/lodged.conf"
        for line, message in WRONG:
            write(path, f"# one\npatience = 3\n\n{line}\n" if "patience" not in line else f"#\n#\n\n{line}\n")
            said = refusal("--root", root)
            assert said == f"{path}, line 4: {message}", said
        write(path, "tls-allow = a\ntls-allow = b\nverbose = no\nverbose = no\n")
        assert refusal("--root", root) == f"{path}, line 4: verbose stands here once more; leave one"
        assert os.listdir(root) == ["lodged.conf"], "nothing was made"
        assert refusal("--root", root, "--socket-mode", "9") == \
            "--socket-mode takes an octal mode from 0600 to 0777, not '9'"


def test_files_that_are_not_read():
    with folder() as root:
        path = f"{root}/lodged.conf"
        for mode in (0o664, 0o646, 0o666, 0o620):
            write(path, "", mode)
            said = refusal("--root", root)
            assert said == f"the settings file {path} may be written by others than its owner; mend that (chmod go-w)", said
        os.unlink(path)
        os.mkdir(path)
        assert refusal("--root", root) == f"the settings file {path} is no plain file"
        os.rmdir(path)
        os.mkfifo(path, 0o600)
        assert refusal("--root", root) == f"the settings file {path} is no plain file", "and nobody waits for a writer"
        os.unlink(path)
        os.symlink(write(f"{root}/other", "", 0o666), path)
        assert "may be written by others" in refusal("--root", root)


def test_owners():
    if os.geteuid():
        raise tap.Skip("only root gives files away")
    nobody = pwd.getpwnam("nobody").pw_uid
    with folder() as root:
        path = write(f"{root}/lodged.conf", "engine = warp\n", 0o600)
        user = {"user": nobody, "group": nobody, "extra_groups": []}
        said = refusal("--root", root, **user)
        assert said == f"cannot open the settings file {path}: Permission denied", said
        os.chmod(path, 0o644)
        assert "engine is one of" in refusal("--root", root, **user), "root's is read by all"
        os.chown(path, nobody, -1)
        assert "engine is one of" in refusal("--root", root, **user), "and their own"
        assert refusal("--root", root) == f"the settings file {path} belongs to user {nobody}, neither root nor who runs " \
            "lodged; mend that (chown)"


def test_the_file_of_a_session():
    with folder() as root:
        env = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")} | {"HOME": root}
        for home, more in ((f"{root}/.config", {}), (f"{root}/settings", {"XDG_CONFIG_HOME": f"{root}/settings"})):
            path = write(f"{home}/lodge/lodged.conf", "colour = red\n")
            assert refusal("--session", env=env | more).startswith(f"{path}, line 1: there is no setting 'colour'")


def test_all_are_in_the_example_and_the_manual():
    said = subprocess.run([LODGED, "--help"], capture_output=True, text=True, timeout=WAIT).stdout
    names = set(re.findall(r"^  (?:-\w, )?--([a-z-]+)", said, re.M)) - ON_LINE_ALONE
    with open(f"{TOP}/packaging/lodged.conf") as example:
        text = example.read()
    assert set(re.findall(r"^#([a-z-]+) = ", text, re.M)) == names and not re.search("^[^#\n]", text, re.M)
    with open(f"{TOP}/man/lodged.conf.5") as page:
        listed = set(re.findall(r'^\.BR? "?([a-z-]+)"? " = ', page.read().replace("\\-", "-").replace(".BI", ".BR"), re.M))
    assert listed == names, listed ^ names
    with folder() as root:
        lines = re.sub("^#([a-z-]+ = )", r"\1", text, flags=re.M) + "the end\n"
        write(f"{root}/lodged.conf", lines)
        assert refusal("--root", root).endswith(f"line {lines.count(chr(10))}: 'the end' is not NAME = VALUE; see "
                                                "lodged.conf(5)"), "all of it is right until there"


tap.main(globals())
