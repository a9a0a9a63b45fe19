# SPDX-License-Identifier: GPL-2.0-or-later
"""Who may connect to root's lodged, and whose files guests get: those of who defined and starts them, by
unmodified virsh of several users. Only root can test this.

    test_lodged_authority.py LODGED BUTTON-IMAGE
"""
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys

import tap
from lodged import WAIT, Lodged, guest_xml, lodged, rows, until

LODGED, IMAGE = sys.argv[1:]
GROUP, GID = "games", 60
ANNE, BERT, CARL = 54321, 54322, 54323  # Carl is no member


def served():
    """A lodged for the group, below a folder that all may enter."""
    if os.geteuid():
        raise tap.Skip("only root opens files as other users")
    return lodged(LODGED, "--group", GROUP)


def virsh(daemon, user, *words, status=0, members=(GID,), socket=None):
    """What virsh says to USER."""
    if not shutil.which("virsh"):
        raise tap.Skip("there is no virsh")
    done = subprocess.run(["virsh", "-c", f"qemu+unix:///system?socket={socket or daemon.socket}", *words],
                          capture_output=True, text=True, timeout=WAIT, env={"PATH": os.environ["PATH"], "LC_ALL": "C",
                          "HOME": "/nonexistent"}, cwd="/", user=user, group=user, extra_groups=list(members))
    assert done.returncode == status, (words, done, daemon.text())
    return done.stdout.strip() if status == 0 else done.stderr.strip()


def is_turned_away(daemon, user, members=()):
    """lodged closes the connection of who may not have one, before or while virsh writes."""
    done = subprocess.run(["virsh", "-c", daemon.uri(), "list"], capture_output=True, text=True, timeout=WAIT, cwd="/",
                          env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"}, user=user, group=user,
                          extra_groups=list(members))
    return done.returncode in (1, -signal.SIGPIPE) and f"user {user}," in daemon.text()


def home(daemon, user):
    """A folder that only USER may look into."""
    os.chmod(daemon.root, 0o755)
    path = f"{daemon.root}/home{user}"
    if not os.path.exists(path):
        os.mkdir(path, 0o700)
        os.chown(path, user, user)
    return path


def file_of(path, user, mode=0o600, group=None, content=b"x" * 4096):
    with open(path, "wb") as out:
        out.write(content)
    os.chown(path, user, group if group is not None else user)
    os.chmod(path, mode)
    return path


def kernel(daemon):
    path = f"{daemon.root}/kernel"
    if not os.path.exists(path):
        shutil.copyfile(IMAGE, path)
        os.chmod(path, 0o644)
    return path


def disk(path):
    return f"<disk type='file'><source file='{path}'/><target dev='vda' bus='virtio'/></disk>"


def define(daemon, user, name, extra="", text=None):
    path = file_of(f"{daemon.root}/{name}.xml", 0, 0o644,
                   content=(text or guest_xml(name, kernel(daemon), extra=extra)).encode())
    return virsh(daemon, user, "define", path) if user else daemon.virsh("define", path)


def test_who_may_connect():
    with served() as daemon:
        home(daemon, ANNE)
        st = os.stat(daemon.socket)
        assert stat.S_IMODE(st.st_mode) == 0o660 and st.st_gid == GID
        assert stat.S_IMODE(os.stat(daemon.socket_ro).st_mode) == 0o666
        virsh(daemon, ANNE, "list")
        assert "Permission denied" in virsh(daemon, CARL, "list", members=(), status=1)
        virsh(daemon, CARL, "list", members=(), socket=daemon.socket_ro)
        os.chmod(daemon.socket, 0o666)  # whatever the mode says, the peer's groups decide
        assert is_turned_away(daemon, CARL)
        virsh(daemon, ANNE, "list")
    with lodged(LODGED) as daemon:  # without a group
        home(daemon, ANNE)
        os.chmod(daemon.socket, 0o666)
        assert is_turned_away(daemon, ANNE, (GID,))


def test_what_the_option_takes():
    if os.geteuid():
        raise tap.Skip("only root has groups to give")
    for words, message in ((["--group", "nobody-has-this"], "there is no group"),):
        done = subprocess.run([LODGED, "--root", "/nonexistent/x", *words], capture_output=True, text=True, timeout=WAIT)
        assert done.returncode == 1 and message in done.stderr, done
    done = subprocess.run([LODGED, "--root", "/nonexistent/x", "--group", GROUP], capture_output=True, text=True,
                          timeout=WAIT, user=ANNE)
    assert done.returncode == 1 and "--group is for root" in done.stderr, done


def test_who_is_trusted():
    if os.geteuid():
        raise tap.Skip("only root trusts others")
    for words, user, message in ((["nobody-is-called-this"], None, "there is no user"), (["nobody"], ANNE, "--trust is for root")):
        done = subprocess.run([LODGED, "--root", "/nonexistent/x", "--trust", *words], capture_output=True, text=True,
                              timeout=WAIT, user=user)
        assert done.returncode == 1 and message in done.stderr, done
    nobody = pwd.getpwnam("nobody").pw_uid
    with lodged(LODGED, "--group", GROUP, "--trust", "nobody") as daemon:
        home(daemon, BERT)  # all may enter where it is
        pool, secret = f"{daemon.root}/pool", file_of(f"{daemon.root}/root.img", 0)
        os.mkdir(pool, 0o700)
        daemon.virsh("pool-create-as", "p", "dir", "--target", pool)
        virsh(daemon, nobody, "vol-create-as", "p", "v", "1M")
        assert owner_of(f"{pool}/v") == 0
        define(daemon, nobody, "r", disk(secret))
        virsh(daemon, nobody, "start", "r")
        virsh(daemon, nobody, "destroy", "r")
        daemon.virsh("start", "r")
        daemon.virsh("destroy", "r")
        assert "Permission denied" in virsh(daemon, BERT, "start", "r", status=1), "not for others"


def test_files_of_homes():
    with served() as daemon:
        own = file_of(f"{home(daemon, ANNE)}/disk.img", ANNE)
        define(daemon, ANNE, "a", disk(own))
        virsh(daemon, ANNE, "start", "a")
        assert stat.S_IMODE(os.stat(own).st_mode) == 0o600 and os.stat(own).st_uid == ANNE
        virsh(daemon, ANNE, "destroy", "a")
        define(daemon, BERT, "b", disk(own))
        assert "Permission denied" in virsh(daemon, BERT, "start", "b", status=1)
        define(daemon, BERT, "s", disk("/etc/shadow"))
        assert "Permission denied" in virsh(daemon, BERT, "start", "s", status=1)
        for user in (BERT, 0):  # not even how large it is, nor whether it is there
            for path in ("/etc/shadow", "/root/nothing"):
                define(daemon, BERT, "s", text=guest_xml("s", kernel(daemon), extra=disk(path)).replace(
                    "<memory", f"<uuid>{daemon.virsh('domuuid', 's')}</uuid><memory"))
                said = (virsh(daemon, user, "domblkinfo", "s", "vda", status=1) if user
                        else daemon.virsh("domblkinfo", "s", "vda", status=1))
                assert "is not running" in said, said
        shared = file_of(f"{daemon.root}/shared.img", 0, 0o660, group=GID)  # by a group that is not the first
        define(daemon, BERT, "c", disk(shared))
        virsh(daemon, BERT, "start", "c")
        secret = file_of(f"{daemon.root}/root.img", 0)
        define(daemon, 0, "r", disk(secret))
        daemon.virsh("start", "r")
        daemon.virsh("destroy", "r")
        assert "Permission denied" in virsh(daemon, BERT, "start", "r", status=1), "root's guest, started by another"


def test_transient_guests_too():
    with served() as daemon:
        path = f"{daemon.root}/t.xml"
        for target, status in (("/etc/shadow", 1), (file_of(f"{home(daemon, ANNE)}/disk.img", ANNE), 0)):
            file_of(path, 0, 0o644, content=guest_xml("t", kernel(daemon), extra=disk(target)).encode())
            said = virsh(daemon, ANNE, "create", path, status=status)
            assert status == 0 or "Permission denied" in said, said


def test_nobody_lends_more_than_the_definer_has():
    with served() as daemon:
        home(daemon, BERT)
        define(daemon, BERT, "s", disk("/etc/shadow"))
        theirs = file_of(f"{home(daemon, ANNE)}/disk.img", ANNE)
        define(daemon, BERT, "d", disk(theirs))

        def refused():
            assert "Permission denied" in daemon.virsh("start", "s", status=1)
            assert "Permission denied" in virsh(daemon, ANNE, "start", "d", status=1), "Anne's own disk, for Bert's guest"

        refused()
        daemon.virsh("setmem", "s", "8M", "--config")  # root changes a part, and vouches for nothing else
        daemon.virsh("desc", "s", "--title", "x", "--config")
        daemon.virsh("domrename", "s", "other")
        daemon.virsh("domrename", "other", "s")
        refused()
        daemon.restart(signal.SIGKILL)
        refused()
        assert "lodge-owner" not in daemon.virsh("dumpxml", "s")
        daemon.virsh("autostart", "s")
        os.unlink(f"{daemon.root}/run/autostarted")
        daemon.restart()
        until("its start is refused", lambda: "Permission denied" in daemon.text().split("serves")[-1])
        define(daemon, 0, "s", text=guest_xml("s", kernel(daemon)).replace(
            "<memory", f"<uuid>{daemon.virsh('domuuid', 's')}</uuid><memory"))
        daemon.virsh("start", "s")


def test_marks_have_an_owner():
    with served() as daemon:
        define(daemon, 0, "r", disk(file_of(f"{daemon.root}/root.img", 0)))
        define(daemon, ANNE, "a", disk(file_of(f"{home(daemon, ANNE)}/disk.img", ANNE)))
        virsh(daemon, ANNE, "autostart", "r")
        virsh(daemon, ANNE, "autostart", "a")
        os.unlink(f"{daemon.root}/run/autostarted")
        daemon.restart()
        until("Anne's runs", lambda: daemon.virsh("list", "--name") == "a")
        assert re.search("guest r does not start.*Permission denied", daemon.text())
        daemon.virsh("autostart", "r")
        daemon.virsh("destroy", "a")
        uuid = daemon.virsh("domuuid", "a")
        file_of(f"{daemon.root}/state/autostart/{uuid}", 0, content=b"lodge-owner 1 x\n")
        os.unlink(f"{daemon.root}/run/autostarted")
        daemon.restart()
        until("root's runs", lambda: daemon.virsh("list", "--name") == "r")
        assert "does not say for whom" in daemon.text()
        file_of(f"{daemon.root}/state/domains/{uuid}.xml", 0,
                content=guest_xml("a", IMAGE).encode() + b"\n<!-- lodge-owner 1 0 0 -->\n")
        daemon.restart()
        assert daemon.virsh("list", "--all", "--name") == "r" and "in whose name" in daemon.text()


def test_every_kind_of_file():
    with served() as daemon:
        where = home(daemon, ANNE)
        theirs = file_of(f"{home(daemon, BERT)}/file", BERT, content=open(IMAGE, "rb").read())
        base = guest_xml("g", kernel(daemon))
        uuid = "<uuid>6ba7b810-9dad-11d1-80b4-00c04fd430c8</uuid><memory"
        base = base.replace("<memory", uuid, 1)
        bad = {
            "kernel": base.replace(kernel(daemon), theirs),
            "initrd": base.replace("</os>", f"<initrd>{theirs}</initrd></os>"),
            "fw_cfg": base.replace("<features>", f"<sysinfo type='fwcfg'><entry name='opt/x' file='{theirs}'/></sysinfo><features>"),
            "console": base.replace("<serial type='pty'/>", f"<serial type='file'><source path='{theirs}'/></serial>"),
            "new console": base.replace("<serial type='pty'/>", f"<serial type='file'><source path='{home(daemon, BERT)}/new'/></serial>"),
            "socket": base.replace("<serial type='pty'/>", f"<serial type='unix'><source mode='bind' path='{home(daemon, BERT)}/s'/></serial>"),
            "state": base.replace("</devices>", disk(f"{daemon.root}/state/domains/6ba7b810-9dad-11d1-80b4-00c04fd430c8.xml") + "</devices>"),
            "proc": base.replace("</devices>", disk("/proc/self/exe") + "</devices>"),
            "lodged's own": base.replace("</devices>", disk("/proc/self/fd/3") + "</devices>"),
            "procfs": base.replace(kernel(daemon), "/proc/self/environ"),
        }
        for what, text in bad.items():
            define(daemon, ANNE, "g", text=text)
            said = virsh(daemon, ANNE, "start", "g", status=1)
            assert re.search("Permission denied|Too many levels of symbolic links", said), (what, said)
            assert os.listdir(home(daemon, BERT)) == ["file"], what
        good = base.replace("<serial type='pty'/>", f"<serial type='file'><source path='{where}/log'/></serial>"
                            f"<serial type='unix'><source mode='bind' path='{where}/socket'/></serial>")
        define(daemon, ANNE, "g", text=good)
        virsh(daemon, ANNE, "start", "g")
        assert os.stat(f"{where}/log").st_uid == ANNE and os.stat(f"{where}/socket").st_uid == ANNE
        os.rename(where, f"{daemon.root}/moved")  # Anne has the path of her socket lead elsewhere
        file_of(f"{daemon.root}/precious", 0)
        os.mkdir(f"{daemon.root}/trap", 0o755)
        file_of(f"{daemon.root}/trap/socket", 0)
        os.symlink(f"{daemon.root}/trap", where)
        virsh(daemon, ANNE, "destroy", "g")
        assert os.path.exists(f"{daemon.root}/trap/socket"), "lodged removed what Anne could not"


def may_only_look(daemon, user, pool, volume):
    virsh(daemon, user, "pool-refresh", virsh(daemon, user, "pool-uuid", pool))
    path = file_of(f"{daemon.root}/{pool}.xml", 0, 0o644, content=virsh(daemon, user, "pool-dumpxml", pool).encode())
    for words in (["pool-define", path], ["pool-destroy", pool], ["pool-autostart", pool],
                  ["vol-delete", volume, pool], ["vol-create-as", pool, "w", "1M"], ["vol-wipe", volume, pool],
                  ["vol-download", volume, "/dev/null", pool], ["vol-upload", volume, "/dev/null", pool],
                  ["vol-resize", volume, "2M", pool], ["vol-clone", volume, "w", "--pool", pool]):
        said = virsh(daemon, user, *words, status=1)
        assert "is for root, and for who has defined" in said, (words, said)
    assert volume in virsh(daemon, user, "vol-list", pool)


def owner_of(path):
    return os.stat(path).st_uid


def test_pools_of_members():
    with served() as daemon:
        where, inside = home(daemon, ANNE), f"{home(daemon, ANNE)}/pool"
        virsh(daemon, ANNE, "pool-define-as", "mine", "dir", "--target", inside)
        for words in (["pool-build", "mine"], ["pool-start", "mine"], ["vol-create-as", "mine", "v", "1M"]):
            virsh(daemon, ANNE, *words)
        assert owner_of(inside) == owner_of(f"{inside}/v") == ANNE
        for user in (ANNE, BERT):
            home(daemon, user)
            define(daemon, user, f"g{user}", disk(f"{inside}/v"))
        virsh(daemon, ANNE, "start", f"g{ANNE}")
        virsh(daemon, ANNE, "destroy", f"g{ANNE}")
        assert "Permission denied" in virsh(daemon, BERT, "start", f"g{BERT}", status=1), "a pool's volume is its owner's"
        for number in (0, signal.SIGTERM, signal.SIGKILL):
            if number:
                daemon.restart(number)
            may_only_look(daemon, BERT, "mine", "v")
            name = f"n{number}"
            daemon.virsh("vol-create-as", "mine", name, "1M")  # root too works there as Anne
            virsh(daemon, ANNE, "vol-clone", name, f"{name}c", "--pool", "mine")
            assert owner_of(f"{inside}/{name}") == owner_of(f"{inside}/{name}c") == ANNE
            text = daemon.virsh("pool-dumpxml", "mine")
            assert "lodge-owner" not in text
            daemon.virsh("pool-define", file_of(f"{daemon.root}/mine.xml", 0, content=text.encode()))
        virsh(daemon, ANNE, "pool-destroy", "mine")
        virsh(daemon, ANNE, "pool-undefine", "mine")


def test_a_members_pool_reaches_no_further_than_the_member():
    with served() as daemon:
        where, inside = home(daemon, ANNE), f"{home(daemon, ANNE)}/pool"
        hidden = f"{daemon.root}/hidden"
        os.mkdir(hidden, 0o700)
        file_of(f"{hidden}/secret", 0)
        virsh(daemon, ANNE, "pool-define-as", "h", "dir", "--target", hidden)
        assert "Permission denied" in virsh(daemon, ANNE, "pool-start", "h", status=1)
        assert "Permission denied" in daemon.virsh("pool-start", "h", status=1), "root lends it nothing"
        virsh(daemon, ANNE, "pool-create-as", "etc", "dir", "--target", "/etc")
        assert "Permission denied" in virsh(daemon, ANNE, "vol-download", "shadow", f"{where}/got", "etc", status=1)
        assert "Permission denied" in virsh(daemon, ANNE, "vol-create-as", "etc", "lodge-test", "1M", status=1)
        assert "Permission denied" in virsh(daemon, ANNE, "vol-delete", "passwd", "etc", status=1)
        assert "Permission denied" in daemon.virsh("vol-create-as", "etc", "lodge-test", "1M", status=1)
        daemon.restart(signal.SIGKILL)  # nor does one without a definition
        assert "Permission denied" in daemon.virsh("vol-create-as", "etc", "lodge-test", "1M", status=1)
        assert not os.path.exists("/etc/lodge-test")

        os.mkdir(f"{where}/real", 0o700)
        os.chown(f"{where}/real", ANNE, ANNE)
        os.symlink(f"{where}/real", inside)
        virsh(daemon, ANNE, "pool-create-as", "p", "dir", "--target", inside)
        for leads, message in ((hidden, "Permission denied"), (f"{daemon.root}/state/domains", "Permission denied"),
                               ("/proc/self/cwd", "Too many levels"), (f"/proc/{daemon.process.pid}/root/etc", "denied|levels")):
            os.unlink(inside)
            os.symlink(leads, inside)
            said = virsh(daemon, ANNE, "pool-refresh", "p", status=1)
            assert re.search(message, said), (leads, said)
            assert virsh(daemon, ANNE, "vol-create-as", "p", "x", "1M", status=1)
        with open(f"{where}/chown.xml", "w") as out:
            out.write("<volume><name>c</name><capacity>1</capacity><target><permissions><owner>0</owner><mode>0644</mode>"
                      "</permissions></target></volume>")
        os.chmod(f"{where}/chown.xml", 0o644)
        os.unlink(inside)
        os.symlink(f"{where}/real", inside)
        assert "not permitted" in virsh(daemon, ANNE, "vol-create", "p", f"{where}/chown.xml", status=1)
        assert os.listdir(f"{where}/real") == []


def test_a_pool_without_its_owners_line_is_not_used():
    with served() as daemon:
        home(daemon, ANNE)
        virsh(daemon, ANNE, "pool-define-as", "mine", "dir", "--target", f"{home(daemon, ANNE)}/pool")
        path = f"{daemon.root}/state/pools/{daemon.virsh('pool-uuid', 'mine')}.xml"
        text = open(path).read()
        assert re.search(rf"\n<!-- lodge-owner 1 {ANNE} {ANNE}.* -->\n$", text), text
        for line in ("<!-- lodge-owner 1 0 0 -->", "<!-- lodge-owner 1 x -->", "<!-- x -->"):
            file_of(path, 0, content=re.sub("<!--.*-->", line, text).encode())
            daemon.restart()
            assert daemon.virsh("pool-list", "--all", "--name") == "" and f"{path} is left alone" in daemon.text(), line


def test_pools_are_roots_and_their_volumes_for_all():
    with served() as daemon:
        home(daemon, ANNE)
        pool = f"{daemon.root}/pool"
        os.mkdir(pool, 0o700)
        daemon.virsh("pool-define-as", "p", "dir", "--target", pool)
        daemon.virsh("pool-start", "p")
        daemon.virsh("vol-create-as", "p", "v", "1M")
        define(daemon, ANNE, "a", disk(f"{pool}/v"))
        virsh(daemon, ANNE, "start", "a")
        virsh(daemon, ANNE, "destroy", "a")
        assert rows(virsh(daemon, ANNE, "vol-list", "p")) == [["v", f"{pool}/v"]]
        may_only_look(daemon, ANNE, "p", "v")
        os.symlink("/etc/shadow", f"{pool}/link")
        daemon.virsh("pool-refresh", "p")
        define(daemon, ANNE, "l", disk(f"{pool}/link"))
        assert "Permission denied" in virsh(daemon, ANNE, "start", "l", status=1)
        boot = guest_xml("k", f"{pool}/kernel").replace("</os>", f"<initrd>{pool}/initrd</initrd></os>")
        define(daemon, 0, "k", text=boot)  # as `lodge create` makes one
        for name in ("kernel", "initrd"):
            file_of(f"{pool}/{name}", 0, content=open(IMAGE, "rb").read())
        daemon.virsh("pool-refresh", "p")
        virsh(daemon, ANNE, "start", "k")
        virsh(daemon, ANNE, "destroy", "k")
        daemon.virsh("pool-destroy", "p")  # and is no pool's any more
        for name in ("a", "k"):
            assert "Permission denied" in virsh(daemon, ANNE, "start", name, status=1)


tap.main(globals())
