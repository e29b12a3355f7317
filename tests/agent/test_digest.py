"""A builder asks the run's registry through the core, once it is known which one that is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from launchcore.agent.attempt import Attempt
from launchcore.agent.failpoints import Failpoints
from launchcore.plugin import (
    Claim,
    CredentialHelper,
    ImageRef,
    Lease,
    Login,
    QueueClient,
    QueueConfig,
    RunSpec,
    RunState,
    SourceRef,
)

HERE = ImageRef(name="registry.example/train:1")


class Shelf:
    """A registry with one image."""

    def resolve(self, repository: str) -> str:
        return repository

    def ensure(self, ref: ImageRef) -> None: ...

    def digest(self, ref: ImageRef) -> str | None:
        return "sha256:1" if ref == HERE else None

    def logins(self, repository: str) -> Sequence[Login | CredentialHelper]:
        return ()


def test_the_registry_of_the_run_is_asked(tmp_path: Path) -> None:
    claim = Claim(
        lease=Lease(attempt_id="r-1", token="t", expires_at=0.0),
        run_id="r",
        attempt=1,
        queue="q",
        queue_config=QueueConfig(type="process"),
        spec=RunSpec(source=SourceRef(type="archive")),
        state=RunState.CLAIMED,
        submitted_at=0.0,
        claimed_at=0.0,
    )
    # Nothing here goes to the queue.
    client = cast("QueueClient", None)
    attempt = Attempt(claim, client, Failpoints.parse(""), tmp_path, lease_ends=0.0, damaged=lambda _: None)
    assert attempt.digest(HERE) is None

    attempt.pushes_to(Shelf())

    assert attempt.digest(HERE) == "sha256:1"
    assert attempt.digest(ImageRef(name="registry.example/train:2")) is None
