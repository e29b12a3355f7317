"""``kill -9`` while an image is built and pushed: on the echo plugin, whose objects are files."""

from __future__ import annotations

import signal

import pytest

from launchcore.plugin import RunSpec, RunState, SourceRef
from tests.crash import invariants
from tests.crash.world import World

pytestmark = pytest.mark.slow

ECHO = {"LAUNCHCORE_PLUGIN_MODULES": "launchcore.testing.echo"}


@pytest.mark.parametrize("successor", ["one", "two"])
@pytest.mark.parametrize("point", ["build.before", "build.after", "push.before", "push.after"])
def test_killed_while_an_image_is_made(world: World, point: str, successor: str) -> None:
    """The run goes back to its queue, since nothing was started, and its next attempt succeeds."""
    world.queue(
        type="echo-image", builder={"type": "echo"}, registry={"type": "echo"}, config={"lines": ["done"]}
    )
    source = SourceRef(type="echo", fields={"files": {"train.py": "print('hello')"}})
    run = world.service.submit("q", RunSpec(source=source)).id
    first = world.agent("one", failpoints=f"{point}=kill", environ=ECHO, ready=False)
    assert first.died() == -signal.SIGKILL, first.text()

    world.agent(successor, environ=ECHO)
    (ended,) = world.finished()

    assert ended.state is RunState.SUCCEEDED, world.report()
    assert len(ended.attempts) == 2
    assert ended.image is not None
    assert world.log(run).endswith(b"done\n")
    invariants.nothing_left(world)
