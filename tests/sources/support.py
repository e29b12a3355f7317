"""What the tests of the sources share: a stage, stored archives, tars as no honest tool writes them."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from launchcore.plugin import Cancelled, Fault, FetchPlan, ImageRef, LaunchError, Reason, SourceRef


class Stage:
    """A stage context: keeps what is logged, can be cancelled, serves archives from memory."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.archives: dict[str, bytes] = {}
        self.opened = 0
        self._cancelled = threading.Event()
        self._stops: list[Callable[[], None]] = []

    def log(self, text: str) -> None:
        self.lines.append(text)

    def check(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled

    @contextlib.contextmanager
    def on_cancel(self, stop: Callable[[], None]) -> Iterator[None]:
        self._stops.append(stop)
        try:
            yield
        finally:
            self._stops.remove(stop)

    def cancel(self) -> None:
        self._cancelled.set()
        for stop in list(self._stops):
            stop()

    @property
    def working(self) -> bool:
        return bool(self._stops)

    def store(self, data: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self.archives[digest] = data
        return digest

    def open_archive(self, digest: str) -> IO[bytes]:
        self.opened += 1
        if digest not in self.archives:
            raise LaunchError(f"no archive {digest}", reason=Reason.SOURCE_FAILED)
        return io.BytesIO(self.archives[digest])

    def digest(self, ref: ImageRef) -> str | None:
        return None

    def ensure(self, ref: ImageRef) -> None: ...


def plan(kind: str, cache: Path, *, local: bool = True, **fields: Any) -> FetchPlan:
    cache.mkdir(exist_ok=True)
    return FetchPlan(attempt_id="r-1", source=SourceRef(type=kind, fields=fields), cache=cache, local=local)


def fresh(path: Path) -> Path:
    """A new, empty directory."""
    path.mkdir(parents=True)
    return path


def member(name: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, content


def tar(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    """An uncompressed tar of exactly these members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as file:
        for info, content in members:
            file.addfile(info, io.BytesIO(content))
    return out.getvalue()


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def tgz(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    return packed(tar(*members, format=format))


def everything(root: Path) -> dict[str, bytes | None]:
    """Every path below ``root``: the content of files, ``None`` for directories."""
    return {
        path.relative_to(root).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in sorted(root.rglob("*"))
    }


def tree(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


@contextlib.contextmanager
def refused(*words: str, fault: Fault = Fault.USER, reason: Reason = Reason.SOURCE_FAILED) -> Iterator[None]:
    """A LaunchError of one line, with these words in it, and without a raw control character."""
    with pytest.raises(LaunchError) as caught:
        yield
    error = caught.value
    said = f"{error.detail} | {error.hint}"
    assert error.reason is reason, said
    assert error.fault is fault, said
    for word in words:
        assert word in said
    assert said.isprintable()
    assert len(said) < 900
