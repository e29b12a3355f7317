"""Where a run's words, variables and secrets go: into the request, or into the store."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from launch_sagemaker import names
from launch_sagemaker.bundle import ENTRYPOINT
from launch_sagemaker.testing.samples import (
    AGENT,
    OWNER,
    RUN,
    WITH_STORE,
    body,
    ordered,
    refused,
    secret,
)

from launchcore.plugin import (
    EnvVar,
    Fault,
    Given,
    Secret,
    SecretFile,
)

# -- the command ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("queue", "command", "entrypoint", "arguments"),
    [
        ({}, ("a", "b"), None, ["a", "b"]),
        ({}, (), None, None),
        ({"command": ["own"]}, (), None, ["own"]),
        ({"command": ["own"]}, ("a",), None, ["a"]),
        ({"AlgorithmSpecification": {"ContainerArguments": ["--n", 3]}}, (), None, ["--n", "3"]),
        ({"AlgorithmSpecification": {"ContainerArguments": ["x"]}}, ("a",), None, ["a"]),
        ({"AlgorithmSpecification": {"ContainerEntrypoint": ["tini", "--"]}}, ("a",), ["tini", "--"], ["a"]),
        ({"AlgorithmSpecification": {"ContainerEntrypoint": ["x"]}}, (), ["x"], None),
        ({"AlgorithmSpecification": {"ContainerArguments": []}}, (), None, None),
    ],
)
def test_what_is_executed(
    queue: dict[str, Any], command: tuple[str, ...], entrypoint: Any, arguments: Any
) -> None:
    found = body(queue, command=command)["AlgorithmSpecification"]
    assert (found.get("ContainerEntrypoint"), found.get("ContainerArguments")) == (entrypoint, arguments)


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (("python", "-c", "a\nb"), "has more than one line"),
        (("x" * 257,), "has 257 characters, and 256 fit"),
        (("x",) * 101, "the command has 101 words, and 100 fit"),
        (("🙂" * 129,), "has 258 characters"),
    ],
)
def test_a_command_that_does_not_fit_waits_in_the_store(command: tuple[str, ...], what: str) -> None:
    error = refused(command=command)
    assert what in error.detail
    assert "plugins.sagemaker.store" in str(error.hint)
    assert error.fault is Fault.USER
    made = ordered(command=command, settings=WITH_STORE)
    assert made.body["AlgorithmSpecification"]["ContainerEntrypoint"] == [*ENTRYPOINT]
    assert "ContainerArguments" not in made.body["AlgorithmSpecification"]
    assert made.bundle is not None
    assert command[-1] in made.bundle.files["start"].reveal()


def test_a_command_that_just_fits_does() -> None:
    command = ("x" * 256, *("y",) * 99)
    made = ordered(command=command)
    assert made.bundle is None
    assert made.body["AlgorithmSpecification"]["ContainerArguments"] == [*command]


def test_a_command_of_the_queue_that_does_not_fit_is_the_queues_mistake() -> None:
    assert refused({"command": ["a\nb"]}, command=()).fault is Fault.INFRASTRUCTURE


@pytest.mark.parametrize("command", [("a\0b",), ("a", "\0"), ("\ud800",)])
def test_a_zero_byte_is_refused(command: tuple[str, ...]) -> None:
    for settings in (AGENT, WITH_STORE):
        assert "zero byte" in refused(command=command, settings=settings).detail


@pytest.mark.parametrize("words", ["train", [["a"]], {"a": 1}, 7])
def test_an_entry_point_that_is_none_is_told(words: Any) -> None:
    queue = {"AlgorithmSpecification": {"ContainerEntrypoint": words}}
    assert "AlgorithmSpecification.ContainerEntrypoint" in refused(queue).detail


# -- variables --------------------------------------------------------------------------------


def test_whose_variables_win() -> None:
    given = Given(env=(EnvVar(name="B", value="plugin"), EnvVar(name="C", value="plugin")))
    made = body(
        {"Environment": {"A": "queue", "B": "queue", "C": "queue", "N": 1, "T": True, "LAUNCH_QUEUE": "x"}},
        given=given,
        env={"C": "run", "D": "run"},
    )
    assert made["Environment"] == {
        "A": "queue",
        "B": "plugin",
        "C": "run",
        "D": "run",
        "N": "1",
        "T": "true",
        "LAUNCH_RUN_ID": RUN,
        "LAUNCH_ATTEMPT_ID": f"{RUN}-1",
        "LAUNCH_QUEUE": "gpu",
    }


@pytest.mark.parametrize("name", ["A-B", "1A", "", "A B", "é", "A\nB", "A=B"])
def test_a_name_that_no_variable_has(name: str) -> None:
    assert refused(env={name: "x"}).fault is Fault.USER
    assert refused({"Environment": {name: "x"}}).fault is Fault.INFRASTRUCTURE
    error = refused(given=Given(env=(EnvVar(name=name, value="x"),), origin={f"env:{name}": "launch-x 1.0"}))
    assert "launch-x 1.0" in str(error.hint)


@pytest.mark.parametrize("value", ["a\0b", "\ud800"])
def test_a_value_that_no_variable_has(value: str) -> None:
    assert "in its value" in refused(env={"A": value}).detail
    assert "in its value" in refused(given=secret("A", value), settings=WITH_STORE).detail


@pytest.mark.parametrize("value", [["x"], {"a": 1}, None])
def test_a_variable_of_the_queue_that_is_no_text(value: Any) -> None:
    assert "Environment.A: expected text" in refused({"Environment": {"A": value}}).detail


def test_a_long_value_waits_in_the_store() -> None:
    env = {"LONG": "x" * 513, "SHORT": "y" * 512}
    error = refused(env=env)
    assert "LONG has 513 characters, and 512 fit" in error.detail
    assert error.fault is Fault.USER
    made = ordered(env=env, settings=WITH_STORE)
    assert made.body["Environment"]["SHORT"] == "y" * 512
    assert "LONG" not in made.body["Environment"]
    assert made.bundle is not None
    assert f"export LONG={'x' * 513}" in made.bundle.files["start"].reveal()


def test_more_than_a_hundred_variables() -> None:
    env = {f"V{n}": "" for n in range(98)}
    error = refused(env=env)
    assert "there are 101 variables with launchcore's own, and 100 fit" in error.detail
    made = ordered(env=env, settings=WITH_STORE)
    assert len(made.body["Environment"]) == 100
    assert made.bundle is not None
    assert made.bundle.files["start"].reveal().count("export ") == 1
    del env["V0"]
    assert ordered(env=env).bundle is None


# -- secrets ----------------------------------------------------------------------------------


def test_a_secret_is_never_in_the_request() -> None:
    given = Given(
        env=(EnvVar(name="TOKEN", value=Secret("canary")),),
        files=(SecretFile(name="key.json", content=Secret("canary"), path_env="KEY"),),
    )
    made = ordered({"Environment": {"TOKEN": "of the queue"}}, given=given, settings=WITH_STORE)
    assert "canary" not in json.dumps(made.body)
    assert "canary" not in repr(made)
    assert "TOKEN" not in made.body["Environment"]
    assert made.body["AlgorithmSpecification"]["ContainerEntrypoint"] == [*ENTRYPOINT]
    assert made.bundle_url == f"s3://bucket/launch/{OWNER}/{RUN}-1/"
    assert made.body["InputDataConfig"] == [
        {
            "ChannelName": "launch",
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "S3Prefix",
                    "S3Uri": made.bundle_url,
                    "S3DataDistributionType": "FullyReplicated",
                }
            },
            "InputMode": "File",
        }
    ]
    assert made.bundle is not None
    assert set(made.bundle.files) == {"start", "files/key.json"}
    start = made.bundle.files["start"].reveal()
    assert "export TOKEN=canary\n" in start
    assert f"export KEY={names.CHANNEL_FOLDER}/files/key.json\n" in start
    assert start.endswith("\nexec python train.py\n")


def test_without_a_store_a_secret_is_refused() -> None:
    error = refused(given=secret("TOKEN"))
    assert "the secret TOKEN would stand in the request" in error.detail
    assert "plugins.sagemaker.store" in str(error.hint)
    assert "canary" not in f"{error.detail} {error.hint}"
    file = Given(files=(SecretFile(name="key", content=Secret("canary")),))
    assert "the secret file key would stand" in refused(given=file).detail


def test_an_optional_secret_is_left_out() -> None:
    given = attrs.evolve(
        secret("TOKEN", optional=True),
        files=(SecretFile(name="f", content=Secret("canary"), path_env="F", optional=True),),
    )
    assert ordered(given=given) == ordered()
    with_it = ordered(given=given, settings=WITH_STORE)
    assert with_it.bundle is not None


def test_a_secret_needs_a_command() -> None:
    error = refused(given=secret("TOKEN"), settings=WITH_STORE, command=())
    assert "there is no command, and the secret TOKEN needs one" in error.detail
    assert error.fault is Fault.USER
    for command in (("--epochs", "3"), ("",)):
        error = refused(given=secret("TOKEN"), settings=WITH_STORE, command=command)
        assert f"begins with no program, but with {command[0]!r}" in error.detail
        assert "ContainerEntrypoint" in str(error.hint)
        assert ordered(command=command).bundle is None
    entry = {"AlgorithmSpecification": {"ContainerEntrypoint": ["tini", "--"]}}
    made = ordered(entry, given=secret("TOKEN"), settings=WITH_STORE, command=())
    assert made.bundle is not None
    assert made.bundle.files["start"].reveal().endswith("exec tini --\n")
    made = ordered(entry, given=secret("TOKEN"), settings=WITH_STORE)
    assert made.bundle is not None
    assert made.bundle.files["start"].reveal().endswith("exec tini -- python train.py\n")


def test_the_runs_own_variable_comes_before_a_secret() -> None:
    made = ordered(given=secret("TOKEN"), env={"TOKEN": "own"}, settings=WITH_STORE)
    assert made.bundle is None
    assert made.body["Environment"]["TOKEN"] == "own"


@pytest.mark.parametrize("name", ["A B", "a;rm -rf /", "$(id)", "UID", "SHELLOPTS", "", "1"])
def test_a_secret_that_no_shell_can_set(name: str) -> None:
    refused(given=secret(name), settings=WITH_STORE)


def test_two_files_of_one_name_are_refused() -> None:
    files = tuple(SecretFile(name=name, content=Secret("")) for name in ("a b", "a/b"))
    assert (
        "two secret files are called 'a_b'" in refused(given=Given(files=files), settings=WITH_STORE).detail
    )


def test_what_is_too_large_for_the_store_is_refused() -> None:
    large = Secret("x" * (1024 * 1024 + 1))
    files = (SecretFile(name="large", content=large),)
    assert (
        "files/large would have more than 1024 KiB"
        in refused(given=Given(files=files), settings=WITH_STORE).detail
    )
