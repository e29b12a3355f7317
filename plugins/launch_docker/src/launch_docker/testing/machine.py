"""A private Docker engine: its own data, its own socket, nobody else's. Needs root and a ``dockerd``."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from launch_docker.engine import Engine
from launch_docker.errors import EngineAway
from launch_docker.settings import Settings

LINKS = (
    *(
        "sh",
        "cat",
        "sleep",
        "echo",
        "ls",
        "printf",
        "head",
        "seq",
        "env",
        "id",
        "kill",
        "true",
        "false",
        "dd",
    ),
    *("yes", "tr", "date", "touch", "mkdir", "rm", "test", "usleep", "tail", "wc", "grep", "stat", "mount"),
)
"""What the base image has of busybox."""


def missing() -> str | None:
    """Why no engine can be started here; None: one can."""
    if os.getuid() != 0:
        return "starting dockerd needs root"
    for program in ("dockerd", "busybox"):
        if shutil.which(program) is None:
            return f"there is no {program} here (Debian: docker.io, busybox-static)"
    return None


class Machine:
    """One ``dockerd`` that can be killed and started again."""

    def __init__(self, *flags: str, data: Path | None = None) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="lc-docker-", dir="/var/tmp"))
        self.data = data or self.root / "data"
        self.url = f"unix://{self.root}/docker.sock"
        self.flags = flags
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *flags: str, seconds: float = 60.0) -> None:
        """Start it, and wait until it answers."""
        command = ["dockerd", "--data-root", str(self.data), "--exec-root", str(self.root / "exec")]
        command += ["-H", self.url, "-p", str(self.root / "pid"), "--bridge=none", "--iptables=false"]
        (self.root / "pid").unlink(missing_ok=True)
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, *(flags or self.flags)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        engine = self.engine()

        def answers() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log()[-3000:]
            try:
                engine.get("/version")
            except EngineAway:
                return False
            return True

        wait_until("the engine answers", answers, seconds=seconds)
        engine.close()

    def stop(self, number: int = signal.SIGTERM, seconds: float = 60.0) -> None:
        """End the daemon. With SIGKILL its containers go on until it is back."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(seconds)
            self.process = None
            # Its containerd dies with it, a moment later; a dockerd that finds it dying waits for it in vain.
            wait_until("containerd has ended", lambda: not self._containerd(), seconds=seconds)
            (self.root / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)

    def _containerd(self) -> bool:
        try:
            pid = int((self.root / "exec" / "containerd" / "containerd.pid").read_text())
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (OSError, ValueError):
            return False
        return state != "Z"

    def engine(self) -> Engine:
        """A client of it."""
        return Engine(Settings(host=self.url, answer_seconds=30.0), environ={})

    def log(self) -> str:
        return (self.root / "log").read_text(errors="replace")

    def remove_containers(self) -> None:
        """All of them, whoever made them."""
        engine = self.engine()
        for each in engine.get("/containers/json", all=True):
            with contextlib.suppress(Exception):
                engine.request("DELETE", f"/containers/{each['Id']}", params={"force": True, "v": True})
        engine.close()

    def close(self) -> None:
        """End everything that it has started, and remove its data."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(Exception):
                self.remove_containers()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.stop()
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        clear(self.root)  # after a kill -9 its containerd and the shims live on


def clear(root: Path) -> None:
    """End every process that names this directory, unmount what is below it, and remove it."""
    for proc in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if str(root).encode() in (proc / "cmdline").read_bytes() and int(proc.name) != os.getpid():
                os.kill(int(proc.name), signal.SIGKILL)
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        point = line.split(" ")[1]
        if point.startswith(f"{root}/"):
            subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)
    shutil.rmtree(root, ignore_errors=True)


def base_image(engine: Engine, name: str, *, shell: bool = True, labels: Iterable[str] = ()) -> str:
    """Import an image of busybox alone; without a shell, of ``sleep`` and ``cat`` as programs only."""
    busybox = shutil.which("busybox")
    assert busybox is not None
    return import_image(engine, name, busybox_files(Path(busybox).read_bytes(), shell=shell), labels)


def large_image(engine: Engine, name: str, megabytes: int) -> str:
    """The base image with a file of noise in it, which no compression makes smaller."""
    busybox = shutil.which("busybox")
    assert busybox is not None
    noise = os.urandom(megabytes << 20)
    return import_image(engine, name, busybox_files(Path(busybox).read_bytes(), more={"noise": noise}))


def busybox_files(busybox: bytes, *, shell: bool = True, more: Mapping[str, bytes] | None = None) -> bytes:
    """The root file system as a tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for folder in ("bin", "etc", "tmp", "root", "run"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder == "tmp" else 0o755
            tar.addfile(entry)
        files = {
            "bin/busybox": (busybox, 0o755),
            "etc/passwd": (b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n", 0o644),
            "etc/group": (b"root:x:0:\nuser:x:1000:\n", 0o644),
        }
        files |= {path: (data, 0o644) for path, data in (more or {}).items()}
        for path, (data, mode) in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(data), mode
            tar.addfile(entry, io.BytesIO(data))
        for link in LINKS:
            if link == "sh" and not shell:
                continue
            entry = tarfile.TarInfo(f"bin/{link}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    return out.getvalue()


def import_image(engine: Engine, name: str, tar: bytes, changes: Iterable[str] = ()) -> str:
    """``docker import``. ``changes`` are lines of a Dockerfile."""
    repository, _, tag = name.rpartition(":")
    params: dict[str, object] = {"fromSrc": "-", "repo": repository, "tag": tag}
    query = "&".join(f"changes={_quoted(change)}" for change in changes)
    response = engine.request(
        "POST", f"/images/create{'?' + query if query else ''}", params=params, data=tar
    )
    assert "error" not in response.text, response.text
    made = json.loads(response.text.splitlines()[-1])["status"]
    engine.request("POST", f"/images/{made}/tag", params={"repo": repository, "tag": tag})  # not by Podman 4
    return name


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text)


def wait_until(what: str, condition: Callable[[], object], *, seconds: float = 60.0) -> None:
    """Wait for a condition; fail with its name."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited {seconds:g} s in vain: {what}"
        time.sleep(0.02)
