"""The file system of an image with Python, made of this machine's own interpreter: nothing is downloaded."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

ENV = (
    "ENV PATH=/usr/local/bin:/bin LD_LIBRARY_PATH=/usr/local/lib PYTHONDONTWRITEBYTECODE=1",
    'CMD ["python"]',
)
"""What the image needs besides the files, as lines of a Dockerfile."""
TOOLS = ("sh", "mkdir", "chown")
"""What a generated Dockerfile calls. ``sh`` also hands secret variables over."""
LEFT_OUT = frozenset({"site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "turtledemo"})


def missing() -> str | None:
    """Why no image can be made of this machine; None: one can."""
    if not sys.platform.startswith("linux"):
        return f"its own Python ({sys.platform}) runs in no container"
    programs = [] if shutil.which("busybox") else list(TOOLS)
    lacking = [name for name in ("ldd", *programs) if shutil.which(name) is None]
    return f"it has no {lacking[0]}" if lacking else None


def write_files(tar: tarfile.TarFile) -> None:
    """The interpreter, its library, a shell and what they load: about 60 MB."""
    programs = {python_name(): python_program()}
    if busybox := shutil.which("busybox"):
        programs |= dict.fromkeys(TOOLS, Path(busybox))
    else:
        programs |= {name: Path(shutil.which(name) or name) for name in TOOLS}
    write_base(tar)
    for name, path in programs.items():
        folder = "usr/local/bin" if name == python_name() else "bin"
        add(tar, f"{folder}/{name}", path.resolve().read_bytes(), mode=0o755)
    write_python(tar, extra=programs.values())


def write_base(tar: tarfile.TarFile) -> None:
    """The folders and files that programs expect anywhere."""
    for folder, mode in (("tmp", 0o1777), ("root", 0o755), ("etc", 0o755), ("bin", 0o755)):
        add(tar, folder, kind=tarfile.DIRTYPE, mode=mode)
    add(tar, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    add(tar, "etc/group", b"root:x:0:\n")


def write_python(tar: tarfile.TarFile, extra: Iterable[Path] = ()) -> None:
    """The standard library, and the shared libraries that it, the interpreter and ``extra`` load."""
    library = Path(os.__file__).parent
    for link in ("python", "python3"):
        add(tar, f"usr/local/bin/{link}", kind=tarfile.SYMTYPE, link=python_name())
    extensions = (library / "lib-dynload").glob("*.so")
    for shared in sorted(libraries([python_program(), *extensions, *extra])):
        inside = shared.lstrip("/") if "ld-linux" in shared else f"usr/local/lib/{Path(shared).name}"
        add(tar, inside, Path(shared).resolve().read_bytes(), mode=0o755)
    for path in sorted(library.rglob("*")):
        relative = path.relative_to(library)
        if not ({"__pycache__", *LEFT_OUT} & set(relative.parts)) and path.suffix != ".a" and path.is_file():
            add(tar, f"usr/local/lib/{python_name()}/{relative}", path.read_bytes())


def python_name() -> str:
    """``python3.11``."""
    return f"python{sys.version_info.major}.{sys.version_info.minor}"


def python_program() -> Path:
    return Path(sys.base_prefix, "bin", python_name()).resolve()


def libraries(of: Iterable[Path]) -> set[str]:
    """What the loader needs for these files."""
    done = subprocess.run(["ldd", *map(str, of)], capture_output=True, check=False, text=True)
    return set(re.findall(r"(?:=> |^\t)(/\S+) \(0x", done.stdout, re.MULTILINE))


def add(
    tar: tarfile.TarFile,
    name: str,
    data: bytes = b"",
    *,
    mode: int = 0o644,
    kind: bytes = tarfile.REGTYPE,
    link: str = "",
) -> None:
    """One entry of the tar, with nobody's name on it."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.type, entry.linkname = len(data), mode, kind, link
    tar.addfile(entry, io.BytesIO(data))
