"""Images without a registry: archives as ``docker save`` writes them, made of files of this machine."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO

BUSYBOX = "launchcore.test/busybox:1"
PYTHON = "launchcore.test/python:1"
USER = "1000:1000"
"""Images run as nobody special, as clusters with restricted pods want it."""

LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "__pycache__"}

Fill = Callable[[tarfile.TarFile], None]


def archive(
    name: str,
    fill: Fill,
    into: IO[bytes],
    *,
    command: Sequence[str] = (),
    entrypoint: Sequence[str] = (),
    environ: Iterable[str] = ("PATH=/usr/local/bin:/usr/bin:/bin",),
    user: str = USER,
    scratch: Path,
) -> None:
    """Write an image of one layer.

    :param scratch: a directory for the layer while it is made.
    """
    layer = scratch / f"layer-{os.getpid()}.tar"
    try:
        with tarfile.open(layer, "w", format=tarfile.GNU_FORMAT) as tar:
            fill(tar)
        with layer.open("rb") as raw:
            digest = hashlib.file_digest(raw, "sha256").hexdigest()
        config = {
            "architecture": "amd64" if os.uname().machine == "x86_64" else "arm64",
            "os": "linux",
            "config": {
                "Cmd": list(command),
                "Entrypoint": list(entrypoint),
                "Env": list(environ),
                "User": user,
                "WorkingDir": "/tmp",  # noqa: S108
            },
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        }
        text = json.dumps(config).encode()
        config_name = f"{hashlib.sha256(text).hexdigest()}.json"
        manifest = [{"Config": config_name, "RepoTags": [name], "Layers": [f"{digest}/layer.tar"]}]
        with tarfile.open(fileobj=into, mode="w") as out:
            _add(out, config_name, text)
            out.add(layer, f"{digest}/layer.tar")
            _add(out, "manifest.json", json.dumps(manifest).encode())
    finally:
        layer.unlink(missing_ok=True)


def busybox(tar: tarfile.TarFile) -> None:
    """A shell and the small programs, all one static file."""
    found = shutil.which("busybox")
    if found is None:
        raise RuntimeError("there is no busybox here (Debian: busybox-static)")
    _folders(tar)
    _add(tar, "bin/busybox", Path(found).read_bytes(), 0o755)
    applets = subprocess.run([found, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for applet in applets:
        if applet != "busybox":
            _link(tar, f"bin/{applet}", "/bin/busybox")


def python(tar: tarfile.TarFile, natives: Iterable[Path] = ()) -> None:
    """Beside that, this machine's Python with its library, and what these and ``natives`` load."""
    busybox(tar)
    executable = Path(sys.executable).resolve()
    library = Path(sysconfig.get_path("stdlib"))
    _add(tar, str(executable).lstrip("/"), executable.read_bytes(), 0o755)
    for name in ("bin/python", "bin/python3"):
        _link(tar, name, str(executable))
    tar.add(library, str(library).lstrip("/"), filter=wanted)
    add_libraries(tar, [executable, *library.glob("lib-dynload/*.so"), *natives])


def add_libraries(tar: tarfile.TarFile, natives: Iterable[Path]) -> None:
    """The shared libraries that programs and extension modules load."""
    found = [str(each) for each in natives]
    told = subprocess.run(["ldd", *found], capture_output=True, text=True, check=False).stdout
    for needed in sorted(set(re.findall(r"(/\S+) \(0x", told))):
        _add(tar, needed.lstrip("/"), Path(needed).read_bytes(), 0o755)


def _folders(tar: tarfile.TarFile) -> None:
    for folder in ("bin", "etc", "tmp", "root", "run", "var", "home"):
        entry = tarfile.TarInfo(folder)
        entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
        tar.addfile(entry)
    _add(tar, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n")
    _add(tar, "etc/group", b"root:x:0:\nuser:x:1000:\n")


def wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """A filter for ``TarFile.add``: nobody's files in particular, and none that only developers want."""
    name = Path(entry.name).name
    if name in LEFT_OUT or name.startswith("config-3.") or (name == "site-packages" and entry.isdir()):
        return None
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    tar.addfile(entry, io.BytesIO(data))


def _link(tar: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    tar.addfile(entry)
