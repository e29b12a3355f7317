"""Nothing of this account's Docker gets into the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.oci.service import Service


@pytest.fixture(autouse=True)
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory of Docker's configuration."""
    folder = tmp_path / "docker-config"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    return folder


@pytest.fixture
def serve() -> Iterator[Callable[..., Service]]:
    """Starts services, and ends them."""
    made: list[Service] = []

    def start(auth: str = "none") -> Service:
        made.append(Service(auth))
        return made[-1]

    yield start
    for each in made:
        each.close()
