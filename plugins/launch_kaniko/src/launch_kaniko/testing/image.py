"""The executor's image for the live tests, made of files of this machine.

It has the real executor, a static program as ``go build`` makes it, where there is one; otherwise the model
(:mod:`launch_kaniko.testing.model`), and a Python to run it.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

EXECUTOR: Final = "launchcore.test/kaniko:1"
_MODEL: Final = b"""#!/bin/python3
import sys
sys.path.insert(0, "/kaniko/lib")
import os
from model.executor import main
sys.exit(main(sys.argv[1:], os.environ))
"""


ENVIRON: Final = (
    "PATH=/usr/local/bin:/bin:/kaniko",
    "HOME=/root",
    "USER=root",
    "SSL_CERT_DIR=/kaniko/ssl/certs",
)
"""What the executor's own image sets."""


def fill(
    program: Path | None, python: Callable[[tarfile.TarFile], None]
) -> Callable[[tarfile.TarFile], None]:
    """What goes into the image.

    :param program: the real executor.
    :param python: adds a Python with its library.
    """

    def add(tar: tarfile.TarFile) -> None:
        if program is not None:
            _file(tar, "kaniko/executor", program.read_bytes(), 0o755)
        else:
            python(tar)
            _file(tar, "kaniko/executor", _MODEL, 0o755)
            for path in sorted(Path(__file__).with_name("model").glob("*.py")):
                _file(tar, f"kaniko/lib/model/{path.name}", path.read_bytes(), 0o644)
        for name in ("etc/ssl/certs/ca-certificates.crt",):
            found = Path("/", name)
            if found.exists():
                _file(tar, f"kaniko/ssl/certs/{found.name}", found.read_bytes(), 0o644)

    return add


def _file(tar: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    tar.addfile(entry, io.BytesIO(data))
