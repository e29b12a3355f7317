"""BuildKit, through ``docker buildx``: the program speaks to the engine, we feed and follow it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

from launch_docker.build_command import Command, command, config_file
from launch_docker.build_diagnosis import build_failed
from launch_docker.build_order import Order
from launch_docker.build_progress import PlainProgress, RawJsonProgress
from launch_docker.endpoint import Endpoint
from launchcore.plugin import LaunchError, StageContext
from launchcore.recipes.context import pack

_RAWJSON = (0, 13)
"""The first version of buildx whose progress can be read as JSON."""


def version() -> tuple[int, int] | None:
    """The version of buildx beside us; ``None``: there is none."""
    if shutil.which("docker") is None:
        return None
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            ["docker", "buildx", "version"], capture_output=True, text=True, timeout=20, check=False
        )
        if done.returncode == 0:
            # A version that says no number was built by hand, from a recent source.
            match = re.search(r"\bv?(\d+)\.(\d+)\.\d+", done.stdout)
            known = match is not None and (match[1], match[2]) != ("0", "0")
            return (int(match[1]), int(match[2])) if match and known else _RAWJSON
    return None


def build(
    order: Order, context: StageContext, *, endpoint: Endpoint, tool: tuple[int, int], folder: Path
) -> str | None:
    """Build; the image is then on the engine. Of several platforms it is in the registry: its digest there.

    :param folder: a private directory that does not exist yet; it is removed at the end.
    :raises LaunchError: ``build_failed`` with the step; ``infrastructure``.
    """
    context.check()
    sweep()
    folder.mkdir(mode=0o700, parents=True)
    holder = -1
    try:
        holder = _prepare(order, folder, endpoint)
        metadata = folder / "metadata.json"
        progress = RawJsonProgress() if tool >= _RAWJSON else PlainProgress()
        words = command(
            order,
            progress="rawjson" if tool >= _RAWJSON else "plain",
            metadata=str(metadata),
            folder=str(folder),
            endpoint=endpoint,
        )
        code = _run(words, order, progress, context)
        context.check()
        if code or progress.error:
            said = progress.error or f"docker buildx: exit code {code}"
            raise build_failed(progress.step, said, list(progress.tail))
        return _digest(metadata) if order.many_platforms else None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if holder >= 0:
            os.close(holder)


def private_folder(attempt_id: str) -> Path:
    """Where a build of this attempt keeps logins, in memory where that is possible; always the same."""
    safe = re.sub(r"[^A-Za-z0-9-]", "_", attempt_id)[:80]
    return _place() / f"{_prefix()}{safe}"


def _place() -> Path:
    shared = Path("/dev/shm")  # noqa: S108  # a directory of ours in it, closed to others
    return shared if os.access(shared, os.W_OK) else Path(tempfile.gettempdir())


def _prefix() -> str:
    return f"launchcore-build-{os.getuid()}-"


def sweep(older_than: float = 60.0) -> None:
    """Remove what killed agents have left: whoever builds holds the lock of its ``config.json``."""
    for folder in _place().glob(f"{_prefix()}*"):
        with contextlib.suppress(OSError):
            status = folder.lstat()
            if status.st_uid != os.getuid() or time.time() - status.st_mtime < older_than:
                continue
            with (folder / "config.json").open() as held:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)


def forget(attempt_id: str) -> None:
    """Remove what a build that was killed has left."""
    folder = private_folder(attempt_id)
    with contextlib.suppress(OSError):
        if not folder.is_symlink() and folder.stat().st_uid == os.getuid():
            shutil.rmtree(folder, ignore_errors=True)


def _prepare(order: Order, folder: Path, endpoint: Endpoint) -> int:
    """Write what the program reads. The descriptor holds the lock that says that somebody builds here."""
    usual = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    plugins = [str(usual / "cli-plugins")]
    with contextlib.suppress(OSError, ValueError, AttributeError):
        plugins += map(str, json.loads((usual / "config.json").read_text()).get("cliPluginsExtraDirs") or ())
    descriptor = os.open(folder / "config.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with open(descriptor, "w", closefd=False) as file:
        file.write(config_file(order, tuple(plugins)))
    for name, path in (("ca", endpoint.ca), ("cert", endpoint.cert), ("key", endpoint.key)):
        if path is not None:
            (folder / f"{name}.pem").symlink_to(path)
    if (usual / "buildx").is_dir():
        (folder / "buildx").symlink_to(usual / "buildx")  # the builders that the account knows
    return descriptor


def _run(
    what: Command, order: Order, progress: RawJsonProgress | PlainProgress, context: StageContext
) -> int:
    process = subprocess.Popen(
        what.words,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **what.env},
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stderr is not None
    failed: list[LaunchError] = []
    feeder = threading.Thread(target=_feed, args=(order, context, process.stdin, failed), daemon=True)
    with context.on_cancel(lambda: _kill(process)):
        feeder.start()
        try:
            for line in process.stderr:
                for shown in progress.feed(line.decode("utf-8", "replace")):
                    context.log(shown)
            for shown in progress.close():
                context.log(shown)
            code = process.wait()
        finally:
            _kill(process)
            process.wait()
            process.stderr.close()
            feeder.join()
    if failed:
        raise failed[0]
    return code


def _feed(order: Order, context: StageContext, into: IO[bytes], failed: list[LaunchError]) -> None:
    """Write the context. A program that ends early has its own reason; the pipe's is none."""
    try:
        with into:
            for piece in pack(order.context, context.check):
                into.write(piece)
    except LaunchError as error:
        failed.append(error)
    except (BrokenPipeError, OSError):
        pass


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def _digest(metadata: Path) -> str | None:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(metadata.read_text()).get("containerimage.digest")
        return str(found) if found else None
    return None
