"""A base image with Python and pip, made of this machine's interpreter: nothing is downloaded.

The tar is kept below ``~/.cache/launchcore``; making it takes some seconds.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from launch_docker.engine import Engine
from launch_docker.testing.machine import import_image

PYTHON_IMAGE = "launchcore-test:python"
_LEFT_OUT = frozenset({"site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo"})
_ENV = (
    "ENV PATH=/usr/local/bin:/bin LD_LIBRARY_PATH=/usr/local/lib PIP_NO_INDEX=1 PYTHONDONTWRITEBYTECODE=1",
    'CMD ["python"]',
)
FORMAT = "2"


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
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    library = Path(os.__file__).parent
    program = Path(sys.base_prefix, "bin", version).resolve()
    busybox = Path(shutil.which("busybox") or "busybox")
    extensions = [*(library / "lib-dynload").glob("*.so")]
    with tarfile.open(into, "w") as tar:
        for folder, mode in (("tmp", 0o1777), ("root", 0o755), ("etc", 0o755), ("bin", 0o755)):
            _add(tar, folder, kind=tarfile.DIRTYPE, mode=mode)
        _add(tar, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
        _add(tar, "etc/group", b"root:x:0:\n")
        _add(tar, "bin/busybox", busybox.read_bytes(), mode=0o755)
        links = subprocess.run([str(busybox), "--list"], capture_output=True, check=True, text=True)
        for link in links.stdout.split():
            if link != "busybox":
                _add(tar, f"bin/{link}", kind=tarfile.SYMTYPE, link="busybox")
        _add(tar, f"usr/local/bin/{version}", program.read_bytes(), mode=0o755)
        for link in ("python", "python3"):
            _add(tar, f"usr/local/bin/{link}", kind=tarfile.SYMTYPE, link=version)
        for shared in sorted(_libraries([program, *extensions])):
            inside = shared.lstrip("/") if "ld-linux" in shared else f"usr/local/lib/{Path(shared).name}"
            _add(tar, inside, Path(shared).resolve().read_bytes(), mode=0o755)
        for path in sorted(library.rglob("*")):
            relative = path.relative_to(library)
            if not ({"__pycache__", *_LEFT_OUT} & set(relative.parts)) and path.is_file():
                _add(tar, f"usr/local/lib/{version}/{relative}", path.read_bytes())
        for wheel in sorted((library / "ensurepip" / "_bundled").glob("*.whl")):
            with zipfile.ZipFile(wheel) as packed:
                for member in packed.namelist():
                    _add(tar, f"usr/local/lib/{version}/site-packages/{member}", packed.read(member))


def _libraries(of: list[Path]) -> set[str]:
    """What the loader needs for these files."""
    done = subprocess.run(["ldd", *map(str, of)], capture_output=True, check=False, text=True)
    return set(re.findall(r"(?:=> |^\t)(/\S+) \(0x", done.stdout, re.MULTILINE))


def _add(
    tar: tarfile.TarFile,
    name: str,
    data: bytes = b"",
    *,
    mode: int = 0o644,
    kind: bytes = tarfile.REGTYPE,
    link: str = "",
) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.type, entry.linkname = len(data), mode, kind, link
    tar.addfile(entry, io.BytesIO(data))


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
