"""The executor's image for the live tests: the real program, as ``go build`` makes it."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

EXECUTOR: Final = "launchcore.test/kaniko:1"
ENVIRON: Final = (
    "PATH=/usr/local/bin:/bin:/kaniko",
    "HOME=/root",
    "USER=root",
    "SSL_CERT_DIR=/kaniko/ssl/certs",
)
"""What the executor's own image sets."""


def fill(program: Path) -> Callable[[tarfile.TarFile], None]:
    """What goes into the image. :param program: the executor, a static program."""

    def add(tar: tarfile.TarFile) -> None:
        _file(tar, "kaniko/executor", program.read_bytes(), 0o755)
        for name in ("etc/ssl/certs/ca-certificates.crt",):
            found = Path("/", name)
            if found.exists():
                _file(tar, f"kaniko/ssl/certs/{found.name}", found.read_bytes(), 0o644)

    return add


def _file(tar: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    tar.addfile(entry, io.BytesIO(data))
