"""pytest fixtures; a ``conftest.py`` imports those that it wants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from launch_aws.testing.cloud import CANARY, KEY_ID, Cloud


@pytest.fixture(scope="session")
def cloud_process() -> Iterator[Cloud]:
    """One for the session: it takes a second or two to start."""
    made = Cloud()
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def cloud(cloud_process: Cloud) -> Cloud:
    """An empty cloud that lets everybody in."""
    cloud_process.lock(False)
    cloud_process.reset()
    return cloud_process


@pytest.fixture
def own_aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of this account's AWS: the agent's keys, and a directory for its configuration."""
    folder = tmp_path / "aws"
    folder.mkdir()
    for name in (
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_SESSION_TOKEN",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(folder / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", CANARY)
    return folder
