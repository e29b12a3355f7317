"""How a training container is executed: what the endpoint asks for, and a way that needs no engine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import attrs

ROOT: Final = "/opt/ml"
DEFAULT_WORDS: Final = ("train",)
"""What an image is run with where the request has no ContainerArguments."""


class NoImage(Exception):
    """The image cannot be had; the text is its FailureReason without the prefix."""


class NoStart(Exception):
    """The container cannot be started: there is no such program in it."""


@attrs.frozen(kw_only=True)
class Order:
    """One container. ``folder``: a directory here that has what SageMaker puts into it, below ``opt/ml``."""

    name: str
    host: str
    image: str
    entrypoint: tuple[str, ...]
    """Replaces the image's ENTRYPOINT; empty: the image's own."""
    words: tuple[str, ...]
    variables: Mapping[str, str]
    folder: Path
    isolated: bool = False
    """Without a network."""


class Running(Protocol):
    """A container that was started."""

    def signal(self, number: int) -> None:
        """To its first process; nothing when it has ended."""

    def ended(self) -> int | None:
        """Its exit code; None: it runs, or not all of its output was given on yet."""

    def fetch(self, path: str) -> None:
        """Bring what is there now at ``path`` in it (``/opt/ml/model``) into the order's folder."""

    def remove(self) -> None:
        """Kill it if need be, and leave nothing behind. Idempotent."""


class Containers(Protocol):
    """A way to run them."""

    def pull(self, image: str) -> None:
        """Have the image. May take long.

        :raises NoImage:
        """

    def run(self, order: Order, output: Callable[[bytes], None], over: Callable[[], None]) -> Running:
        """Start it. ``output`` is called with what it prints, ``over`` once when it has ended.

        :raises NoStart:
        """


class ProcessContainers:
    """For machines without an engine: the words are a process of this machine, in its own session.

    There is no image and no isolation. ``/opt/ml`` becomes a directory of its own: the text is replaced in
    the words, the variables and the files of the channel ``launch``. A process is no process 1, so a
    SIGTERM that it does not handle ends it, unlike in a container.

    :param entrypoint: what stands for the ENTRYPOINT of every image.
    :param train: what is run instead of ``train`` where a request names no arguments.
    """

    def __init__(
        self, entrypoint: Sequence[str] = (), train: Sequence[str] = ("/bin/sh", "-c", "echo trained")
    ) -> None:
        self._entrypoint = tuple(entrypoint)
        self._train = tuple(train)

    def pull(self, image: str) -> None:
        """There are no images."""

    def run(self, order: Order, output: Callable[[bytes], None], over: Callable[[], None]) -> Running:
        root = str(order.folder / ROOT[1:])
        launch = order.folder / ROOT[1:] / "input" / "data" / "launch"
        for path in (each for each in launch.rglob("*") if each.is_file()):
            path.write_bytes(path.read_bytes().replace(ROOT.encode(), root.encode()))
        first = order.entrypoint or self._entrypoint
        words = order.words
        if words == DEFAULT_WORDS and not first and shutil.which(words[0]) is None:
            words = self._train
        variables = {key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ}
        variables |= {"HOME": "/root", "HOSTNAME": order.host, **order.variables}
        return _Process(
            [word.replace(ROOT, root) for word in (*first, *words)],
            {key: value.replace(ROOT, root) for key, value in variables.items()},
            order.folder,
            output,
            over,
        )


class _Process:
    def __init__(
        self,
        words: Sequence[str],
        variables: Mapping[str, str],
        folder: Path,
        output: Callable[[bytes], None],
        over: Callable[[], None],
    ) -> None:
        try:
            self._process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=variables,
                cwd=folder,
                start_new_session=True,
                bufsize=0,
            )
        except (OSError, ValueError) as error:
            raise NoStart(str(error)) from error
        self._code: int | None = None
        self._reader = threading.Thread(
            target=self._read, args=(output,), name="container-output", daemon=True
        )
        self._watcher = threading.Thread(target=self._watch, args=(over,), name="container", daemon=True)
        self._reader.start()
        self._watcher.start()

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(self._process.pid, number)
            else:
                self._process.send_signal(number)

    def ended(self) -> int | None:
        return self._code

    def fetch(self, path: str) -> None:
        """It writes there anyway."""

    def remove(self) -> None:
        if self._code is None:
            self.signal(signal.SIGKILL)
        self._watcher.join(10)

    def _read(self, output: Callable[[bytes], None]) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            while data := pipe.read(65536):
                output(data)

    def _watch(self, over: Callable[[], None]) -> None:
        code = self._process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # a container ends with its first process
        self._reader.join()
        self._code = 128 - code if code < 0 else code
        over()
