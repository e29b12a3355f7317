"""A private registry: Debian's ``docker-registry`` on loopback, with a login, with TLS, to be killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from launch_docker.testing.machine import wait_until

USER, PASSWORD = "builder", "correct-horse-battery"


def missing_registry(*, login: bool = True, tls: bool = False) -> str | None:
    """Why no registry can be started here; None: one can."""
    wanted = ["docker-registry", *(["htpasswd"] if login else []), *(["openssl"] if tls else [])]
    for program in wanted:
        if shutil.which(program) is None:
            return f"there is no {program} here (Debian: docker-registry, apache2-utils, openssl)"
    return None


class RegistryMachine:
    """One ``docker-registry``. ``host`` is what the names of its images begin with."""

    def __init__(
        self,
        *,
        login: bool = True,
        tls: bool = False,
        user: str = USER,
        password: str = PASSWORD,
        address: str = "127.0.0.1",
    ) -> None:
        """:param address: where it listens; loopback, unless pods have to reach it."""
        self.user, self.password = user, password
        self.root = Path(tempfile.mkdtemp(prefix="lc-registry-", dir="/var/tmp"))
        self.login = login
        self.tls = tls
        self.address = address
        with socket.socket() as free:
            free.bind((address, 0))
            self.port = int(free.getsockname()[1])
        self.host = f"{address}:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def ca(self) -> Path:
        """The certificate that is its own authority."""
        return self.root / "cert.pem"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        (self.root / "config.yml").write_text(self._config())
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(
                ["docker-registry", "serve", str(self.root / "config.yml")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until("the registry answers", self._answers, seconds=30)

    def kill(self) -> None:
        """As a machine that goes away: no goodbye to anybody."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def pause(self) -> None:
        """It stands still, and its connections with it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def close(self) -> None:
        self.kill()
        shutil.rmtree(self.root, ignore_errors=True)

    def log(self) -> str:
        return (self.root / "log").read_text(errors="replace")

    def stored(self) -> int:
        """Bytes of all that it holds, also of uploads that are not complete."""
        total = 0
        # Not by rglob: it fails when the registry removes a folder that it is about to look into.
        for folder, _, names in os.walk(self.root / "data"):
            for name in names:
                with contextlib.suppress(OSError):
                    total += Path(folder, name).stat().st_size
        return total

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self.address, self.port), timeout=1):
                pass
            if not self.tls:
                urllib.request.urlopen(f"http://{self.host}/v2/", timeout=2).close()
        except urllib.error.HTTPError as error:
            error.close()
            return error.code == 401
        except OSError:
            time.sleep(0.02)
            return False
        return True

    def _config(self) -> str:
        lines = [
            "version: 0.1",
            "log: {level: info}",
            f"storage: {{filesystem: {{rootdirectory: {self.root}/data}}, delete: {{enabled: true}}}}",
            f"http:\n  addr: {self.host}\n  secret: test",
        ]
        if self.tls:
            self._certificate()
            lines.append(f"  tls: {{certificate: {self.ca}, key: {self.root}/key.pem}}")
        if self.login:
            made = subprocess.run(
                ["htpasswd", "-Bbn", self.user, self.password], capture_output=True, check=True, text=True
            )
            (self.root / "htpasswd").write_text(made.stdout)
            lines.append(f"auth: {{htpasswd: {{realm: test, path: {self.root}/htpasswd}}}}")
        return "\n".join(lines) + "\n"

    def _certificate(self) -> None:
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        command += [
            "-keyout",
            str(self.root / "key.pem"),
            "-out",
            str(self.ca),
            "-subj",
            f"/CN={self.address}",
        ]
        command += [
            "-addext",
            f"subjectAltName=IP:{self.address}",
            "-addext",
            "basicConstraints=critical,CA:TRUE",
        ]
        subprocess.run(command, check=True, capture_output=True)
