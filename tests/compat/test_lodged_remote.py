# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients that come by TLS and TCP: virsh and lodge, with certificates that are good and such that are not.

    test_lodged_remote.py LODGED LODGE BUTTON-IMAGE
"""
import contextlib
import os
import random
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile

import tap
from lodged import WAIT, guest_xml, lodged, until

LODGED, LODGE, IMAGE = sys.argv[1:]
NOBODY, NO_USER = 65534, 54399
NEWCOMERS = 100  # RPC_NEWCOMERS_MAX
WORDS = {"ca": ["ca", "cert_signing_key", "crl_signing_key"], "server": ["tls_www_server", "signing_key", "encryption_key"],
         "client": ["tls_www_client", "signing_key", "encryption_key"]}


class Authority:
    """Makes certificates below FOLDER, with certtool."""

    def __init__(self, folder, name):
        self.folder = f"{folder}/{name}"
        os.mkdir(self.folder)
        self.make("ca", name, "ca")

    def certtool(self, *words):
        if not shutil.which("certtool"):
            raise tap.Skip("there is no certtool")
        subprocess.run(["certtool", *words], check=True, capture_output=True, timeout=WAIT)

    def path(self, name):
        return f"{self.folder}/{name}"

    def make(self, file, name, kind, *lines):
        with open(self.path(f"{file}.info"), "w") as info:
            info.write("\n".join([f'cn = "{name}"', "expiration_days = 10", *WORDS[kind], *lines]) + "\n")
        self.certtool("--generate-privkey", "--key-type", "rsa", "--bits", "2048", "--outfile", self.path(f"{file}.key"))
        signer = ["--generate-self-signed"] if kind == "ca" else [
            "--generate-certificate", "--load-ca-certificate", self.path("ca.pem"), "--load-ca-privkey", self.path("ca.key")]
        self.certtool(*signer, "--load-privkey", self.path(f"{file}.key"), "--template", self.path(f"{file}.info"),
                      "--outfile", self.path(f"{file}.pem"))

    def revoke(self, file):
        with open(self.path("crl.info"), "w") as info:
            info.write("crl_next_update = 10\ncrl_number = 1\n")
        self.certtool("--generate-crl", "--load-ca-certificate", self.path("ca.pem"), "--load-ca-privkey",
                      self.path("ca.key"), "--load-certificate", self.path(f"{file}.pem"), "--template",
                      self.path("crl.info"), "--outfile", self.path("crl.pem"))

    def pki(self, file, side, authority=None, revoked=False):
        """A folder as lodged and its clients want one."""
        folder = self.path(f"pki-{file}-{side}" + ("-other" if authority else ""))
        os.mkdir(folder)
        shutil.copy((authority or self).path("ca.pem"), f"{folder}/cacert.pem")
        shutil.copy(self.path(f"{file}.pem"), f"{folder}/{side}cert.pem")
        shutil.copy(self.path(f"{file}.key"), f"{folder}/{side}key.pem")
        if revoked:
            shutil.copy(self.path("crl.pem"), f"{folder}/cacrl.pem")
        return folder


@contextlib.contextmanager
def authority():
    with tempfile.TemporaryDirectory(prefix="lodged-pki-") as folder:
        ours = Authority(folder, "ours")
        ours.make("server", "the house", "server", 'dns_name = "localhost"')
        ours.make("anne", "anne", "client", 'organization = "Guests & Sons"')
        yield ours


def port_of(daemon, who="who has a certificate"):
    return int(re.search(rf"{who} may come to \S+ port (\d+)", daemon.text()).group(1))


def tls_uri(daemon, pki, scheme="qemu+tls", host="localhost"):
    return f"{scheme}://{host}:{port_of(daemon)}/system?pkipath={pki}"


def run(*words, status=0, user=None):
    if not shutil.which(words[0]):
        raise tap.Skip(f"there is no {words[0]}")
    done = subprocess.run(words, capture_output=True, text=True, timeout=WAIT, env=dict(os.environ, LC_ALL="C"), stdin=subprocess.DEVNULL,
                          user=user, extra_groups=None if user is None else [])
    assert done.returncode == status, (words, done)
    return (done.stderr if status else done.stdout).strip()


def refusal(daemon, uri):
    """Why lodge's connection is refused: what lodge says, and what lodged has logged since."""
    logged = len(daemon.text())
    said = run(LODGE, "-c", uri, "list", status=1)
    until("it is logged", lambda: "is refused: " in daemon.text()[logged:] or "refuses" not in said)
    return said, daemon.text()[logged:]


def knock(daemon, authority, *certificate):
    """A client that shows what it was told, whoever signed that, and is sent away."""
    context = ssl.create_default_context(cafile=authority.path("ca.pem"))
    if certificate:
        context.load_cert_chain(*certificate)
    with socket.create_connection(("localhost", port_of(daemon)), WAIT) as plain:
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            with context.wrap_socket(plain, server_hostname="localhost") as secure:
                assert secure.recv(1) == b""


def test_clients_with_certificates_do_what_others_do():
    with authority() as ours, lodged(LODGED, "--listen-tls", "localhost:0", "--pki", ours.pki("server", "server")) as daemon:
        uri = tls_uri(daemon, ours.pki("anne", "client"))
        with open(f"{daemon.root}/g.xml", "w") as out:
            out.write(guest_xml("g", IMAGE))
        run("virsh", "-c", uri, "define", f"{daemon.root}/g.xml")
        run("virsh", "-c", uri, "start", "g")
        assert "running" in run(LODGE, "-c", uri.replace("qemu+", "lodge+"), "list")
        assert daemon.state("g") == "running (booted)"
        run(LODGE, "-c", uri, "destroy", "g")
        assert "shut off" in run("virsh", "-c", uri, "list", "--all")
        assert re.search(r"CN=anne,O=Guests & Sons, \S+ port \d+ has come", daemon.text()), daemon.text()


def test_streams_go_through():
    data = random.Random(7).randbytes(9 << 20) + bytes(1 << 20)
    with authority() as ours, lodged(LODGED, "--listen-tls", "localhost:0", "--pki", ours.pki("server", "server")) as daemon:
        uri = tls_uri(daemon, ours.pki("anne", "client"))
        sent, back = f"{daemon.root}/sent", f"{daemon.root}/back"
        with open(sent, "wb") as out:
            out.write(data)
        daemon.virsh("pool-create-as", "p", "dir", "--target", f"{daemon.root}/p", "--build")
        for program in (["virsh", "-c", uri], [LODGE, "-c", uri]):
            daemon.virsh("vol-create-as", "p", "v", str(len(data)))
            run(*program, "vol-upload", "v", sent, "--pool", "p")
            with open(f"{daemon.root}/p/v", "rb") as volume:
                assert volume.read() == data
            run(*program, "vol-download", "v", back, "--pool", "p")
            with open(back, "rb") as volume:
                assert volume.read() == data
            daemon.virsh("vol-delete", "v", "--pool", "p")


def test_many_threads_and_events_share_a_connection():
    """python3-libvirt's own event loop, over TLS, with calls at the same time."""
    script = """
import libvirt, sys, threading
libvirt.virEventRegisterDefaultImpl()
conn = libvirt.open(sys.argv[1])
seen = []
conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lambda c, d, event, *_: seen.append(event), None)
def ask():
    for _ in range(100):
        conn.listAllDomains()
        conn.getCapabilities()
threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads: thread.start()
domain = conn.defineXML(open(sys.argv[2]).read())
domain.undefine()
for thread in threads: thread.join()
while len(seen) < 2: libvirt.virEventRunDefaultImpl()
print(seen)
"""
    with authority() as ours, lodged(LODGED, "--listen-tls", "localhost:0", "--pki", ours.pki("server", "server")) as daemon:
        with open(f"{daemon.root}/g.xml", "w") as out:
            out.write(guest_xml("g", IMAGE))
        uri = tls_uri(daemon, ours.pki("anne", "client"))
        assert run("/usr/bin/python3", "-c", script, uri, f"{daemon.root}/g.xml") == "[0, 1]"


def test_certificates_that_are_not_good():
    with authority() as ours, tempfile.TemporaryDirectory(prefix="lodged-pki-") as folder:
        theirs = Authority(folder, "theirs")
        theirs.make("mallory", "mallory", "client")
        ours.make("old", "old", "client", 'activation_date = "2001-01-01 00:00:00"', 'expiration_date = "2002-01-01 00:00:00"')
        ours.make("lost", "lost", "client")
        ours.revoke("lost")
        pki = ours.pki("server", "server", revoked=True)
        with lodged(LODGED, "--listen-tls", "localhost:0", "--pki", pki) as daemon:
            knock(daemon, ours, theirs.path("mallory.pem"), theirs.path("mallory.key"))
            until("it is logged", lambda: "The certificate issuer is unknown" in daemon.text())
            for folder, why in ((theirs.pki("mallory", "client", ours), "it showed no certificate"),
                                (ours.pki("old", "client"), "The certificate chain uses expired certificate"),
                                (ours.pki("lost", "client"), "The certificate chain is revoked")):
                said, logged = refusal(daemon, tls_uri(daemon, folder))
                assert "it refuses our certificate" in said, said
                assert why in logged, (why, logged)
            anne = ours.pki("anne", "client")
            run(LODGE, "-c", tls_uri(daemon, anne), "list")
            # and the server's own: for another name, of another authority
            said = run(LODGE, "-c", tls_uri(daemon, anne, host="127.0.0.1"), "list", status=1)
            assert "its certificate, of CN=the house, is not for the name 127.0.0.1" in said, said
            said = run(LODGE, "-c", tls_uri(daemon, ours.pki("anne", "client", theirs)), "list", status=1)
            assert "The certificate issuer is unknown" in said, said


def test_only_allowed_names_come():
    with authority() as ours:
        ours.make("bert", "bert", "client")
        anne, bert = ours.pki("anne", "client"), ours.pki("bert", "client")
        options = ["--tls-allow", "CN=carla", "--tls-allow", "CN=anne,O=Guests*"]
        settings = ours.path("settings")
        with open(settings, "w") as out:
            out.write(f"listen-tls = localhost:0\npki = {ours.pki('server', 'server')}\n")
        with lodged(LODGED, "--config", settings, *options) as daemon:
            run(LODGE, "-c", tls_uri(daemon, anne), "list")
            said, logged = refusal(daemon, tls_uri(daemon, bert))
            assert "it refuses our certificate" in said and "the name in its certificate, CN=bert, is not allowed" in logged, \
                (said, logged)
        with open(settings, "a") as out:
            out.write("tls-allow = CN=carla\ntls-allow = CN=bert\n")
        with lodged(LODGED, "--config", settings) as daemon:
            run(LODGE, "-c", tls_uri(daemon, bert), "list")
        with lodged(LODGED, "--config", settings, *options) as daemon:  # the file's names count no more
            run(LODGE, "-c", tls_uri(daemon, anne), "list")
            refusal(daemon, tls_uri(daemon, bert))


def test_without_a_certificate():
    with authority() as ours, lodged(LODGED, "--listen-tls", "localhost:0", "--pki", ours.pki("server", "server")) as daemon:
        knock(daemon, ours)
        until("it is logged", lambda: "is refused: it showed no certificate" in daemon.text())


def test_newcomers_hold_up_nobody():
    with authority() as ours, lodged(LODGED, "--listen-tls", "localhost:0", "--pki", ours.pki("server", "server")) as daemon:
        uri = tls_uri(daemon, ours.pki("anne", "client"))
        with socket.create_connection(("localhost", port_of(daemon)), WAIT) as noisy:
            noisy.sendall(bytes(range(256)) * 40)
            until("noise is sent away", lambda: "is refused: the TLS handshake failed" in daemon.text())
        with contextlib.ExitStack() as stack:
            silent = [stack.enter_context(socket.create_connection(("localhost", port_of(daemon)), WAIT))
                      for _ in range(NEWCOMERS - 1)]
            silent[0].sendall(b"\x16\x03\x01")  # the beginning of a handshake
            run(LODGE, "-c", uri, "list")
            more = stack.enter_context(socket.create_connection(("localhost", port_of(daemon)), WAIT))
            one_too_many = stack.enter_context(socket.create_connection(("localhost", port_of(daemon)), WAIT))
            assert one_too_many.recv(1) == b"" and "too many are at their TLS handshake" in daemon.text()
            daemon.virsh("list")  # the UNIX socket is not concerned
            more.close()
            until("there is room again", lambda: subprocess.run([LODGE, "-c", uri, "list"], capture_output=True).returncode == 0)


def test_tcp_is_for_the_users_of_this_host():
    with lodged(LODGED, "--listen-tcp", "localhost:0") as daemon:
        uri = f"qemu+tcp://localhost:{port_of(daemon, 'users of this host')}/system"
        assert "Id" in run("virsh", "-c", uri, "list")
        assert "Id" in run(LODGE, "-c", uri.replace("qemu+", "lodge+"), "list")
        if os.geteuid() == 0:
            said = run("virsh", "-c", uri, "list", status=1, user=NOBODY)
            assert said.startswith("error: failed to connect"), said
            until("it is logged", lambda: f"user {NOBODY}, process 0 may not connect" in daemon.text())
            run("virsh", "-c", uri, "list", status=1, user=NO_USER)
            until("it is logged", lambda: "is refused: its user is not in this host's user database" in daemon.text())


# A stand-in for ssh: checks the host, and runs the command here, with our programs first in PATH.
SSH = """#!/bin/sh
echo "$@" >>"{log}"
while [ "$1" != -- ]; do shift; done
[ "$2" = there ] || {{ echo "ssh: no host $2" >&2; exit 255; }}
shift 2
PATH="{path}:$PATH" exec sh -c "$*"
"""


def stand_in(daemon, path):
    with open(f"{daemon.root}/ssh", "w") as out:
        out.write(SSH.format(log=f"{daemon.root}/ssh.log", path=path))
    os.chmod(f"{daemon.root}/ssh", 0o755)
    return f"command={daemon.root}/ssh&socket={daemon.socket}"


def test_through_ssh():
    with lodged(LODGED) as daemon:
        rest = f"there/system?{stand_in(daemon, os.path.dirname(os.path.abspath(LODGE)))}"
        with open(f"{daemon.root}/g.xml", "w") as out:
            out.write(guest_xml("g", IMAGE))
        run(LODGE, "-c", f"lodge+ssh://anne@{rest}&keyfile=/k&no_tty=1", "define", f"{daemon.root}/g.xml")
        with open(f"{daemon.root}/ssh.log") as log:
            asked = log.read()
        assert asked.startswith("-T -enone -lanne -i/k -oBatchMode=yes -- there sh -c "), asked
        data = random.Random(3).randbytes(3 << 20)
        with open(f"{daemon.root}/data", "wb") as out:
            out.write(data)
        daemon.virsh("pool-create-as", "p", "dir", "--target", f"{daemon.root}/p", "--build")
        daemon.virsh("vol-create-as", "p", "v", str(len(data)))
        run(LODGE, "-c", f"qemu+ssh://{rest}", "vol-upload", "v", f"{daemon.root}/data", "--pool", "p")
        run(LODGE, "-c", f"qemu+ssh://{rest}", "vol-download", "v", f"{daemon.root}/back", "--pool", "p")
        with open(f"{daemon.root}/back", "rb") as back:
            assert back.read() == data
        said = run(LODGE, "-c", f"lodge+ssh://{rest.replace('there', 'nowhere')}", "list", status=1)
        assert said.startswith("ssh: no host nowhere\nlodge: ssh has ended before a daemon answered\n"), said
        said = run(LODGE, "-c", f"lodge+ssh://{rest.replace('lodged-sock', 'none')}", "list", status=1)
        assert f"cannot connect to {daemon.root}/run/none: No such file" in said, said
        said = run(LODGE, "-c", "lodge+ssh://there/system?command=/nowhere/ssh", "list", status=1)
        assert "cannot start ssh: " in said and "openssh-client" in said, said


def test_bridge_ends_with_either_side():
    with lodged(LODGED) as daemon:
        here = f"lodge+unix:///system?socket={daemon.socket}"
        assert run(LODGE, "bridge", here) == ""  # run()'s standard input has no bytes
        with subprocess.Popen([LODGE, "bridge", here], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as bridge:
            bridge.stdin.write(b"\0\0\0\1")  # a length that is none
            bridge.stdin.flush()
            assert bridge.stdout.read() == b"" and bridge.wait(WAIT) == 0
        assert "is not on this host" in run(LODGE, "bridge", "lodge+tls://localhost/system", status=1)


def start_fails(*options):
    with tempfile.TemporaryDirectory(prefix="lodged-") as root:
        return run(LODGED, "--root", root, *options, status=1).replace(root, "ROOT")


def test_what_cannot_be():
    assert start_fails("--listen-tcp", "0.0.0.0:0").endswith(
        "'0.0.0.0:0' is not only this host: without TLS, clients come to 127.0.0.1 and ::1; for others use --listen-tls")
    assert "cannot listen at 'no.such.host.invalid': " in start_fails("--listen-tcp", "no.such.host.invalid")
    assert "--listen-tls: cannot read /nowhere/cacert.pem: No such file or directory" in \
        start_fails("--listen-tls", "", "--pki", "/nowhere")
    assert "--pki and --tls-allow are for --listen-tls" in start_fails("--pki", "/nowhere")
    with authority() as ours:
        pki = ours.pki("server", "server")
        shutil.copy(ours.path("anne.key"), f"{pki}/serverkey.pem")
        assert f"cannot use the certificate and its key {pki}/servercert.pem: " in start_fails("--listen-tls", ":0", "--pki", pki)
        with open(f"{pki}/cacert.pem", "w") as out:
            out.write("nothing\n")
        said = start_fails("--listen-tls", ":0", "--pki", pki)
        assert f"cannot use the authority's certificate {pki}/cacert.pem: " in said or "holds no certificate" in said, said
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            assert f"cannot listen at '127.0.0.1:{port}': Address already in use" in start_fails("--listen-tcp", f"127.0.0.1:{port}")
    said = run(LODGE, "-c", "lodge+tls://localhost/system?no_verify=1", "list", status=1)
    assert "a server that is not verified is no server" in said, said
    said = run(LODGE, "-c", "lodge+tls://localhost/system?pkipath=/nowhere", "list", status=1)
    assert "cannot read /nowhere/cacert.pem" in said and "pkipath=DIR" in said, said


tap.main(globals())
