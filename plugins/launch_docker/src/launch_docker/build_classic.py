"""The engine's own builder, through its API: for engines without BuildKit, and agents without buildx."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

from launch_docker.build_diagnosis import build_failed
from launch_docker.build_order import Order
from launch_docker.build_progress import ClassicProgress
from launch_docker.engine import Engine
from launch_docker.errors import EngineAway, EngineError, away
from launch_docker.streams import stopping
from launchcore.plugin import Cancelled, Fault, LaunchError, Reason, StageContext
from launchcore.recipes.context import pack


def refuse(order: Order) -> None:
    """:raises LaunchError: ``config_error``: only BuildKit can build this."""
    what = "build secrets" if order.secrets else "several platforms at once" if order.many_platforms else None
    if what is None and (order.cache_from or order.cache_to or order.builder):
        what = "the builder's cache_from, cache_to and buildx_builder"
    if what is not None:
        raise LaunchError(
            f"{what} need BuildKit, which is not to be had here",
            reason=Reason.CONFIG_ERROR,
            fault=Fault.INFRASTRUCTURE,
            hint="install the `docker` program with its buildx plugin beside the agent",
        )


def build(engine: Engine, order: Order, context: StageContext, *, silent_seconds: float) -> str:
    """Build, and say the image's id. A connection that ends, ends the build and its container.

    :raises LaunchError: ``build_failed`` with the step; ``infrastructure``.
    """
    refuse(order)
    progress = ClassicProgress()
    body = _Body(order, context)
    try:
        response = engine.request(
            "POST",
            "/build",
            params={
                "t": order.name,
                "dockerfile": order.dockerfile,
                "buildargs": dict(order.build_args),
                "labels": dict(order.labels),
                "platform": order.platform,
                "target": order.target,
                "networkmode": order.network,
                "pull": "1" if order.pull else None,
                "rm": True,
                "forcerm": True,
            },
            headers={"Content-Type": "application/x-tar", **_logins(order)},
            data=body,
            stream=True,
            seconds=silent_seconds,
        )
        with stopping(context, response):
            for message in engine.lines(response):
                for line in progress.feed(message):
                    context.log(line)
                if progress.error is not None:
                    break
    except EngineError as error:
        raise build_failed(None, str(error)) from None
    except (EngineAway, Cancelled, LaunchError) as error:
        if body.error is not None:  # it was our side that broke off: the tree, or a cancel
            raise body.error from None
        context.check()
        if isinstance(error, EngineAway):
            raise away(error) from None
        raise
    for line in progress.close():
        context.log(line)
    context.check()
    if progress.error is not None:
        raise build_failed(progress.step, progress.error, list(progress.tail))
    if progress.image is None:
        raise away(EngineAway("it ended the build without a word"))
    return progress.image


class _Body:
    """The context as the request's body. ``error``: what stopped it, which requests would hide."""

    def __init__(self, order: Order, context: StageContext) -> None:
        self._pieces = pack(order.context, context.check)
        self.error: LaunchError | None = None

    def __iter__(self) -> Iterator[bytes]:
        try:
            buffer = bytearray()
            for piece in self._pieces:  # many small files make few chunks
                buffer += piece
                if len(buffer) >= 1 << 16:
                    yield bytes(buffer)
                    buffer.clear()
            if buffer:
                yield bytes(buffer)
        except LaunchError as error:
            self.error = error
            raise


def _logins(order: Order) -> dict[str, str]:
    """``X-Registry-Config``: for base images. Docker Hub goes by its old name."""
    if not order.logins:
        return {}
    named = {
        "https://index.docker.io/v1/" if host == "docker.io" else host: dict(login)
        for host, login in order.logins.items()
    }
    return {"X-Registry-Config": base64.urlsafe_b64encode(json.dumps(named).encode()).decode()}
