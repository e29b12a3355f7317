"""Secrets: only what the agent's configuration opens can be had, and errors say what to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launchcore.config.secrets import MAX_BYTES, SecretStore
from launchcore.config.values import SecretSource
from launchcore.plugin import Fault, LaunchError, Reason, Secret

ENVIRON = {
    "HF": "hf_value",
    "EMPTY": "",
    "AWS_SECRET_ACCESS_KEY": "hunter2",
    "LAUNCHCORE_SECRET_WANDB": "wandb_value",
    "LAUNCHCORE_SECRET_HF_TOKEN": "shadowed",
    "LAUNCHCORE_SECRET_a-b": "hunter2",
}


def store(**secrets: SecretSource) -> SecretStore:
    return SecretStore(secrets, ENVIRON)


def failure(found: SecretStore, name: str, allowed: tuple[str, ...] | None = None) -> LaunchError:
    with pytest.raises(LaunchError) as caught:
        found.resolve(name, allowed=allowed)
    assert caught.value.reason is Reason.CONFIG_ERROR
    assert "hunter2" not in f"{caught.value.detail} {caught.value.hint}"
    return caught.value


def test_from_a_variable_a_file_and_the_agents_own(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("-----BEGIN-----\nabc\n-----END-----\n")
    found = store(HF_TOKEN=SecretSource(env="HF"), KEY=SecretSource(file=str(tmp_path / "key")))

    assert found.resolve("HF_TOKEN") == Secret("hf_value"), "the configuration comes first"
    assert found.resolve("KEY") == Secret("-----BEGIN-----\nabc\n-----END-----"), "without the last line end"
    assert found.resolve("WANDB") == Secret("wandb_value")
    assert found.names() == ("HF_TOKEN", "KEY", "WANDB")


def test_a_rotated_file_counts_at_once(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old")
    found = store(KEY=SecretSource(file=str(path)))
    assert found.resolve("KEY") == Secret("old")

    path.write_text("new\r\n")

    assert found.resolve("KEY") == Secret("new")


@pytest.mark.parametrize(
    "name", ["AWS_SECRET_ACCESS_KEY", "HF", "PATH", "LAUNCHCORE_SECRET_WANDB", "SECRET_WANDB"]
)
def test_no_other_variable_of_the_agent_can_be_had(name: str) -> None:
    error = failure(store(HF_TOKEN=SecretSource(env="HF")), name)

    assert error.fault is Fault.INFRASTRUCTURE
    assert error.detail == f"this agent has no secret {name} (it has: HF_TOKEN, WANDB)"
    assert f"LAUNCHCORE_SECRET_{name}" in str(error.hint)


@pytest.mark.parametrize("name", ["", "a-b", "../key", "A=B", "A\n", "Ä", "A" * 200, "\x1b[2J"])
def test_what_is_no_name(name: str) -> None:
    error = failure(store(), name)

    assert error.fault is Fault.USER
    assert error.detail.isprintable()


def test_the_queue_decides_which_may_be_had() -> None:
    found = store(HF_TOKEN=SecretSource(env="HF"))

    assert found.resolve("HF_TOKEN", allowed=("HF_TOKEN",)) == Secret("hf_value")
    assert failure(found, "WANDB", ("HF_TOKEN",)).fault is Fault.USER
    assert failure(found, "WANDB", ("HF_TOKEN",)).hint == "it opens HF_TOKEN"
    assert failure(found, "WANDB", ()).detail == "the queue does not open the secret WANDB"


def test_what_cannot_be_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "large").write_bytes(b"x" * (MAX_BYTES + 1))
    (tmp_path / "empty").write_bytes(b"\n")
    (tmp_path / "nul").write_bytes(b"a\0b")
    names = {"pipe": "regular", "binary": "UTF-8", "large": "larger", "empty": "is empty", "nul": "NUL"}
    names |= {"none": "No such file", ".": "Is a directory"}
    for name, problem in names.items():
        error = failure(store(KEY=SecretSource(file=str(tmp_path / name))), "KEY")
        assert problem in error.detail
        assert error.fault is Fault.INFRASTRUCTURE
        assert error.hint
    assert "does not have" in failure(store(KEY=SecretSource(env="NONE")), "KEY").detail
    assert "EMPTY" in str(failure(store(KEY=SecretSource(env="EMPTY")), "KEY").hint)


def test_what_is_odd_is_warned_about(tmp_path: Path) -> None:
    for name, mode in (("open", 0o644), ("closed", 0o600)):
        (tmp_path / name).write_text("x")
        (tmp_path / name).chmod(mode)
    found = store(
        OPEN=SecretSource(file=str(tmp_path / "open")),
        CLOSED=SecretSource(file=str(tmp_path / "closed")),
        GONE=SecretSource(env="NONE"),
    )

    assert found.warnings() == [
        "the secret GONE comes from the variable NONE, which the agent does not have",
        f"the secret OPEN: others can read or write {tmp_path}/open (mode 0644); chmod 600 {tmp_path}/open",
    ]


def test_nothing_of_it_shows() -> None:
    assert repr(store(HF_TOKEN=SecretSource(env="HF"))) == "SecretStore(HF_TOKEN, WANDB)"
