"""Training containers on a Docker engine, here or elsewhere: files go in and out through its API."""

from __future__ import annotations

import contextlib
import io
import signal
import tarfile
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

from launch_sagemaker.testing.containers import NoImage, NoStart, Order, Running

LABEL: Final = "launchcore.testing.sagemaker"
"""On every container; its value is the training job's name."""


class DockerContainers:
    """As SageMaker runs them: ``docker run [--entrypoint E] IMAGE [arguments or train]``.

    :param host: the engine's URL.
    :param network: the mode of the containers' network; None: the engine's own.
    :param logins: host of a registry → user and password.
    """

    def __init__(
        self,
        host: str,
        *,
        network: str | None = None,
        logins: Mapping[str, tuple[str, str]] | None = None,
    ) -> None:
        self._host = host
        self._network = network
        self._logins = dict(logins or {})
        self._lock = threading.Lock()
        self._made: Any = None

    def close(self) -> None:
        """End its connections."""
        if self._made is not None:
            self._made.close()

    @property
    def _client(self) -> Any:
        with self._lock:
            if self._made is None:
                import docker

                self._made = docker.DockerClient(base_url=self._host, version="auto", timeout=60)
            return self._made

    def pull(self, image: str) -> None:
        from docker.errors import APIError, ImageNotFound

        try:
            self._client.images.get(image)
            return
        except ImageNotFound:
            pass
        login = self._logins.get(image.partition("/")[0])
        auth = None if login is None else {"username": login[0], "password": login[1]}
        try:
            for line in self._client.api.pull(image, stream=True, decode=True, auth_config=auth):
                if "error" in line:  # the SDK's own pull passes over it
                    raise NoImage(f"Failed to pull image {image}: {line['error']}")
        except APIError as error:
            raise NoImage(f"Failed to pull image {image}: {error.explanation}") from error

    def run(self, order: Order, output: Callable[[bytes], None], over: Callable[[], None]) -> Running:
        from docker.errors import APIError

        network = "none" if order.isolated else self._network
        made = self._client.containers.create(
            order.image,
            list(order.words),
            entrypoint=list(order.entrypoint) or None,
            environment=dict(order.variables),
            hostname=order.host,
            labels={LABEL: order.name},
            name=f"{order.name}-{order.host}-{uuid.uuid4().hex[:8]}",
            **({} if network is None else {"network_mode": network}),
        )
        try:
            made.put_archive("/", _packed(order.folder))
            made.start()
        except APIError as error:
            made.remove(force=True, v=True)
            raise NoStart(str(error.explanation)) from error
        return _Container(made, order.folder, output, over)


class _Container:
    def __init__(
        self, made: Any, folder: Path, output: Callable[[bytes], None], over: Callable[[], None]
    ) -> None:
        self._made = made
        self._folder = folder
        self._code: int | None = None
        self._thread = threading.Thread(
            target=self._follow, args=(output, over), name="container", daemon=True
        )
        self._thread.start()

    def signal(self, number: int) -> None:
        from docker.errors import APIError

        with contextlib.suppress(APIError):  # it has ended
            self._made.kill(signal=int(number))

    def ended(self) -> int | None:
        return self._code

    def fetch(self, path: str) -> None:
        from docker.errors import NotFound

        with contextlib.suppress(NotFound):
            chunks, _ = self._made.get_archive(path)
            _unpack(chunks, self._folder.joinpath(*PurePosixPath(path).parent.parts[1:]))

    def remove(self) -> None:
        from docker.errors import APIError

        with contextlib.suppress(APIError):
            self._made.remove(force=True, v=True)
        self._thread.join(30)

    def _follow(self, output: Callable[[bytes], None], over: Callable[[], None]) -> None:
        code = 128 + signal.SIGKILL  # where it is removed before it could be asked
        try:
            for chunk in self._made.logs(stream=True, follow=True):
                output(chunk)
            code = int(self._made.wait()["StatusCode"])
        except Exception as error:
            output(f"the engine has lost the container: {error}\n".encode())
        finally:
            self._code = code
            over()


def _packed(folder: Path) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
    return out.getvalue()


def _unpack(chunks: Iterable[bytes], into: Path) -> None:
    """Files and folders only, and nothing outside."""
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        for member in tar:
            parts = PurePosixPath(member.name).parts
            if ".." in parts or member.name.startswith("/"):
                continue
            path = into.joinpath(*parts)
            if member.isdir():
                path.mkdir(parents=True, exist_ok=True)
            elif member.isfile() and (content := tar.extractfile(member)) is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content.read())
