"""The ways to an engine elsewhere, on loopback: certificates for TCP with TLS, and an ssh server."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from launch_docker.testing.machine import wait_until


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def answers(port: int) -> bool:
    """Does somebody listen there?"""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


class Certificates:
    """An authority, and what it has signed: ``server.pem`` for 127.0.0.1, ``cert.pem`` for a client."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True)
        self.ca, self.cert, self.key = root / "ca.pem", root / "cert.pem", root / "key.pem"
        self.server, self.server_key = root / "server.pem", root / "server-key.pem"
        words = ["req", "-x509", "-days", "2", "-subj", "/CN=test authority", "-keyout", "ca-key.pem"]
        self._openssl(*words, "-out", "ca.pem", "-newkey", "rsa:2048", "-nodes")
        self._sign("server.pem", "server-key.pem", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth")
        self._sign("cert.pem", "key.pem", "extendedKeyUsage=clientAuth")

    def flags(self, port: int) -> list[str]:
        """Those of ``dockerd``, to listen there for whom the authority knows."""
        files = [f"--tlscacert={self.ca}", f"--tlscert={self.server}", f"--tlskey={self.server_key}"]
        return ["-H", f"tcp://127.0.0.1:{port}", "--tlsverify", *files]

    def _sign(self, name: str, key: str, extensions: str) -> None:
        (self.root / "extensions").write_text(extensions + "\n")
        words = ["req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", "-keyout", key]
        self._openssl(*words, "-out", "request.pem")
        words = ["x509", "-req", "-days", "2", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca-key.pem"]
        self._openssl(*words, "-CAcreateserial", "-extfile", "extensions", "-out", name)

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self.root, check=True, capture_output=True)


def missing_ssh() -> str | None:
    """Why no ssh server can be started here; None: one can."""
    if os.getuid() != 0:
        return "an ssh server for this account's test needs root"
    for program in ("/usr/sbin/sshd", "ssh", "ssh-keygen"):
        if shutil.which(program) is None:
            return f"there is no {program} here (Debian: openssh-server, openssh-client)"
    return None


class SshServer:
    """One ``sshd`` with a host key and an authorised key of its own; ``bin`` has an ``ssh`` that knows both.

    The system's and the account's configuration of ssh are neither read nor changed.
    """

    def __init__(self) -> None:
        # Nobody else may write to any directory above the keys: sshd looks.
        self.root = Path(tempfile.mkdtemp(prefix="lc-ssh-", dir="/run"))
        self.port = free_port()
        self.bin = self.root / "bin"
        self.process: subprocess.Popen[bytes] | None = None
        for name in ("host", "user"):
            words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.root / name)]
            subprocess.run(words, check=True, capture_output=True)
        (self.root / "authorized").write_bytes((self.root / "user.pub").read_bytes())
        host_key = (self.root / "host.pub").read_text()
        (self.root / "known").write_text(f"[127.0.0.1]:{self.port} {host_key}")
        client = [f"IdentityFile {self.root}/user", f"UserKnownHostsFile {self.root}/known"]
        client += ["IdentitiesOnly yes", "StrictHostKeyChecking yes", "GlobalKnownHostsFile none"]
        (self.root / "config").write_text("\n".join(client) + "\n")
        self.bin.mkdir()
        (self.bin / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {self.root}/config "$@"\n')
        (self.bin / "ssh").chmod(0o755)

    def url(self, engine: str) -> str:
        """``ssh://`` to an engine whose ``unix://`` URL is given."""
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{engine.removeprefix('unix://')}"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        lines = [f"Port {self.port}", "ListenAddress 127.0.0.1", f"HostKey {self.root}/host"]
        lines += [f"AuthorizedKeysFile {self.root}/authorized", f"PidFile {self.root}/pid", "UsePAM no"]
        lines += ["PermitRootLogin prohibit-password", "PasswordAuthentication no", "AllowTcpForwarding yes"]
        (self.root / "sshd_config").write_text("\n".join([*lines, "AllowStreamLocalForwarding yes"]) + "\n")
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it confines itself before a login
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["/usr/sbin/sshd", "-D", "-e", "-f", str(self.root / "sshd_config")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until("sshd listens", lambda: answers(self.port), seconds=20)

    def cut(self) -> None:
        """End all its connections, and the server."""
        if self.process is not None:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            self.process.kill()
            self.process.wait()
            for child in children:
                subprocess.run(["kill", "-KILL", child], check=False, capture_output=True)
            self.process = None

    def log(self) -> str:
        return (self.root / "log").read_text(errors="replace")

    def close(self) -> None:
        self.cut()
        shutil.rmtree(self.root, ignore_errors=True)
