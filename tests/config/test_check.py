"""Checking a configuration against what is installed; and the descriptions made from its class."""

from __future__ import annotations

import re
from typing import Any

import attrs
import pytest
import yaml
from jsonschema import Draft202012Validator

from launchcore.config.check import check_config
from launchcore.config.describe import config_schema, starter_config
from launchcore.config.load import LoadedConfig, load_config
from launchcore.host import Host
from launchcore.plugin import (
    BuilderSpec,
    EnvironmentSpec,
    QueueSpec,
    RegistrySpec,
    RunnerSpec,
    SourceSpec,
    hookimpl,
    setting,
)
from tests.config.conftest import File


@attrs.frozen(kw_only=True)
class Store:
    build_context_store: str = setting("Where contexts go.")
    retries: int = setting("How often.", default=3)


@attrs.frozen(kw_only=True)
class Place:
    region: str = setting("Where.", default="here")


def never(*_: Any) -> Any:
    raise AssertionError("checking makes nothing")


class Sky:
    """A plugin that offers one of each kind."""

    @hookimpl
    def launch_register_environments(self) -> Any:
        yield EnvironmentSpec(name="sky", summary="A cloud.", create=never, settings=Place)
        yield EnvironmentSpec(name="local", summary="Here.", create=never)

    @hookimpl
    def launch_register_registries(self) -> Any:
        yield RegistrySpec(
            name="harbour", summary="In the sky.", create=never, settings=Place, requires_environment="sky"
        )
        yield RegistrySpec(name="local", summary="Here.", create=never)

    @hookimpl
    def launch_register_builders(self) -> Any:
        yield BuilderSpec(name="mason", summary="Builds.", create=never, settings=Store)
        yield BuilderSpec(name="none", summary="Nothing.", create=never, aliases=("noop",))

    @hookimpl
    def launch_register_sources(self) -> Any:
        yield SourceSpec(name="hg", summary="Mercurial.", create=never, settings=Place)

    @hookimpl
    def launch_register_runners(self) -> Any:
        yield RunnerSpec(name="process", summary="Here.", create=never, settings=Place, aliases=("proc",))

    @hookimpl
    def launch_register_queues(self) -> Any:
        yield QueueSpec(name="sqlite", summary="A file.", schemes=("sqlite",), connect=never)


@pytest.fixture(scope="module")
def host() -> Host:
    return Host.load(builtin=(), path=(), extra=[("sky", Sky())])


GOOD = """\
base_url: sqlite:////tmp/q.db
environment: {type: sky, region: east}
registry: {type: harbour, region: east}
builder: {type: mason, build-context-store: x://y, destination: harbour.example.com/jobs}
plugins: {hg: {region: west}, process: {}}
"""


def found(loaded: LoadedConfig, host: Host) -> list[tuple[str, str]]:
    problems = check_config(loaded.config, host)
    return [(loaded.where(p.path).rpartition(" ")[2], f"{p} | {p.hint}") for p in problems]


@pytest.mark.parametrize("text", ["", GOOD, "builder: {type: noop}"])
def test_good(text: str, file: File, host: Host) -> None:
    assert found(file.load(text), host) == []


@pytest.mark.parametrize(
    ("change", "line", "problem"),
    [
        (
            "environment: {type: sly}",
            "2",
            "environment.type: no installed plugin offers .* 'sly'.*write 'sky'",
        ),
        ("environment: {region: x}", "2", "environment.type: is required .*environment: {type: NAME}"),
        (
            "environment: {type: local}",
            "3",
            "registry.type: the registry 'harbour' needs the environment 'sky', and `environment` is 'local'",
        ),
        ("environment: {type: sky, regoin: x}", "2", "environment.regoin: is not a known key .*use 'region'"),
        ("registry: {type: 5}", "3", "registry.type: is required"),
        ("registry: {type: harbour, region: 5}", "3", "registry.region: expected text, got 5"),
        ("builder: {type: mason}", "4", "builder.build_context_store: is required"),
        (
            "builder: {type: mason, build-context-store: x, retries: lots}",
            "4",
            "builder.retries: expected a whole number",
        ),
        (
            "builder: {type: noop, destination: 3}",
            "4",
            "builder.destination: expected the name of an image repository",
        ),
        ("builder: {type: nothing}", "4", "builder.type: no installed plugin offers the builder 'nothing'"),
        ("plugins: {hg: {regoin: x}}", "5", "plugins.hg.regoin: is not a known key"),
        ("plugins: {proces: {}}", "5", "plugins.proces: is no source, .* or plugin .*write plugins.process"),
        ("plugins: {proc: {}}", "5", "plugins.proc: is another name of 'process' .*write plugins.process"),
        ("plugins: {mason: {}}", "5", "plugins.mason: 'mason' is a builder .*builder: {type: mason"),
        (
            "base_url: redis://h",
            "1",
            "base_url: no installed plugin serves 'redis://'; installed schemes: sqlite://",
        ),
    ],
)
def test_mistakes(change: str, line: str, problem: str, file: File, host: Host) -> None:
    key = change.partition(":")[0]
    lines = [change if each.startswith(f"{key}:") else each for each in GOOD.splitlines()]

    problems = found(file.load("\n".join(lines)), host)

    assert [where for where, _ in problems] == [line]
    assert re.search(problem, problems[0][1]), problems


def test_all_mistakes_at_once(file: File, host: Host) -> None:
    loaded = file.load(
        "environment: {type: a}\nregistry: {type: b}\nbuilder: {}\nplugins: {d: {}}\nbase_url: e://\n"
    )

    assert [problem.path for problem in check_config(loaded.config, host)] == [
        "environment.type",
        "registry.type",
        "builder.type",
        "base_url",
        "plugins.d",
    ]


def test_the_settings_of_a_plugin_itself(file: File) -> None:
    class Plugin:
        @attrs.frozen(kw_only=True)
        class Settings:
            level: int = setting("How much.", default=1)

        def __init__(self, settings: Plugin.Settings) -> None:
            self.level = settings.level

    loaded = file.load("plugins: {mine: {level: high}}")
    host = Host.load(
        builtin=(), path=(), extra=[("sky", Sky()), ("mine", Plugin)], settings=loaded.config.plugins
    )

    assert [str(problem) for problem in check_config(loaded.config, host)] == [
        "plugins.mine.level: expected a whole number, got 'high'"
    ]


def test_problems_are_located(file: File, host: Host) -> None:
    loaded = file.load("max_jobs: 1\nbuilder:\n  type: nothing\n", {"LAUNCHCORE_BASE_URL": "redis://h"})

    located = loaded.located(check_config(loaded.config, host))

    assert [problem.path for problem in located] == [
        f"{file.path} line 3: builder.type",
        "environment LAUNCHCORE_BASE_URL: base_url",
    ]


# --- descriptions ------------------------------------------------------------------------------


def valid(schema: Any, text: str) -> bool:
    return bool(Draft202012Validator(schema).is_valid(yaml.safe_load(text) or {}))


def test_the_schema_without_plugins() -> None:
    schema = config_schema()
    Draft202012Validator.check_schema(schema)

    assert valid(schema, "")
    assert valid(schema, GOOD)
    assert valid(schema, "secrets: {A: {env: B}}\nmax-jobs: 3")
    assert not valid(schema, "max_jobs: soon")
    assert not valid(schema, "max_job: 3")
    assert not valid(schema, "secrets: {A: {env: B, file: c}}")
    assert schema["properties"]["queues"]["description"].startswith("The queues to serve")


def test_the_schema_with_plugins(host: Host) -> None:
    schema = config_schema(host)
    Draft202012Validator.check_schema(schema)

    assert valid(schema, GOOD)
    assert valid(schema, "builder: {type: noop, destination: x}")
    assert not valid(schema, "builder: {type: mason}")
    assert not valid(schema, "builder: {type: mortar}")
    assert not valid(schema, "environment: {region: x}")
    assert not valid(schema, "plugins: {hg: {regoin: x}}")


def test_the_starter_file_says_everything_and_changes_nothing(file: File) -> None:
    text = starter_config()
    loaded = file.load(text)

    assert loaded.config == load_config(path=file.path, environ={}, flags={}).config
    assert all(origin == "default" for origin in loaded.origins.values())


def test_each_line_of_the_starter_file_shows_the_default(file: File) -> None:
    text = starter_config()
    default = file.load("").config
    uncommented = re.sub(
        r"^#(?! )", "", re.sub(r"^#(?=  [A-Z_]+: \{)", "", text, flags=re.MULTILINE), flags=re.MULTILINE
    )

    config = file.load(uncommented).config

    assert set(yaml.safe_load(uncommented)) == {field.name for field in attrs.fields(type(config))}
    assert config.queues == ("default",)
    assert set(config.secrets) == {"HF_TOKEN", "DB_PASSWORD"}
    assert attrs.evolve(config, queues=default.queues, secrets=default.secrets) == default
    assert max(map(len, text.splitlines())) < 120
