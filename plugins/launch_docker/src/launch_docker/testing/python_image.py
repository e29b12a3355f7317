"""A base image with Python and pip, made of this machine's interpreter: nothing is downloaded.

The tar is kept below ``~/.cache/launchcore``; making it takes some seconds.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from launch_docker.engine import Engine
from launch_docker.machine_image import (
    ENV,
    add,
    python_name,
    python_program,
    write_base,
    write_python,
)
from launch_docker.testing.machine import import_image

PYTHON_IMAGE = "launchcore-test:python"
_ENV = (*ENV, "ENV PIP_NO_INDEX=1")
FORMAT = "3"


def python_image(engine: Engine, name: str = PYTHON_IMAGE) -> str:
    """Import the image, if the engine does not have it."""
    if not any(name in (each.get("RepoTags") or ()) for each in engine.get("/images/json")):
        import_image(engine, name, python_tar().read_bytes(), _ENV)
    return name


def python_tar() -> Path:
    """The root file system as a tar, kept between sessions."""
    key = hashlib.sha256(f"{FORMAT} {sys.version} {sys.base_prefix}".encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "launchcore", "test-images")
    path = cache / f"python-{key}.tar"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        _make(fresh)
        fresh.rename(path)
    return path


def _make(into: Path) -> None:
    busybox = Path(shutil.which("busybox") or "busybox")
    with tarfile.open(into, "w") as tar:
        write_base(tar)
        add(tar, "bin/busybox", busybox.read_bytes(), mode=0o755)
        links = subprocess.run([str(busybox), "--list"], capture_output=True, check=True, text=True)
        for link in links.stdout.split():
            if link != "busybox":
                add(tar, f"bin/{link}", kind=tarfile.SYMTYPE, link="busybox")
        add(tar, f"usr/local/bin/{python_name()}", python_program().read_bytes(), mode=0o755)
        write_python(tar)
        for wheel in sorted((Path(os.__file__).parent / "ensurepip" / "_bundled").glob("*.whl")):
            with zipfile.ZipFile(wheel) as packed:
                for member in packed.namelist():
                    add(tar, f"usr/local/lib/{python_name()}/site-packages/{member}", packed.read(member))


def wheel(name: str, version: str, files: dict[str, str]) -> bytes:
    """A wheel of these files: what a test installs without any index."""
    folder = f"{name}-{version}.dist-info"
    members = {
        **files,
        f"{folder}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{folder}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{member},,\n" for member in [*members, f"{folder}/RECORD"])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for member, text in {**members, f"{folder}/RECORD": record}.items():
            packed.writestr(zipfile.ZipInfo(member), text)
    return out.getvalue()
