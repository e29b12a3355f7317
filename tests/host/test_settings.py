"""structure(): what users write becomes a frozen value, or every mistake with its path."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest
from attrs import validators

from launchcore.host.settings import Problem, SettingsError, structure
from launchcore.plugin import LaunchError, Limits, NoSettings, Priority, QueueConfig, Reason, Secret, setting


class Pull(enum.Enum):
    ALWAYS = "always"
    IF_MISSING = "if-missing"


@attrs.frozen(kw_only=True)
class Mirror:
    url: str = setting("Where.")
    weight: int = setting("How much.", default=1)


@attrs.frozen(kw_only=True)
class Settings:
    idle_seconds: float = setting("Seconds.", default=10.0, validator=validators.ge(0))
    workers: int = setting("Threads.", default=4)
    verbose: bool = setting("Say more.", default=False)
    cache: Path | None = setting("Directory.", default=None)
    tags: tuple[str, ...] = setting("Tags.", default=())
    pair: tuple[str, int] = setting("A pair.", default=("a", 1))
    names: frozenset[str] = setting("Names.", default=frozenset())
    env: Mapping[str, str] = setting("Variables.", factory=dict)
    pull: Pull = setting("When.", default=Pull.ALWAYS)
    mode: Literal["fast", "safe"] = setting("How.", default="safe")
    mirror: Mirror | None = setting("A mirror.", default=None)
    mirrors: Mapping[str, Mirror] = setting("Mirrors.", factory=dict)
    token: Secret | None = setting("A token.", default=None)
    size: int | str = setting("Size.", default=0)
    store: str = setting("Where contexts go.", default="", key="build-context-store")
    anything: Any = setting("Anything.", default=None)


def problems(raw: object, cls: type = Settings) -> list[tuple[str, str]]:
    with pytest.raises(SettingsError) as caught:
        structure(cls, raw, path="plugins.process")
    return [(problem.path, problem.message) for problem in caught.value.problems]


def test_a_full_example_becomes_a_frozen_value() -> None:
    value = structure(
        Settings,
        {
            "idle-seconds": 5,
            "workers": 2,
            "verbose": True,
            "cache": "/var/cache",
            "tags": ["a", "b"],
            "pair": ["x", 3],
            "names": ["n", "n"],
            "env": {"A": "1"},
            "pull": "if_missing",
            "mode": "fast",
            "mirror": {"url": "u"},
            "mirrors": {"one": {"url": "v", "weight": 2}},
            "token": "hunter2",
            "size": "big",
            "build_context_store": "s3://b",
            "anything": {"deep": [1]},
        },
        path="plugins.process",
    )

    assert value == Settings(
        idle_seconds=5.0,
        workers=2,
        verbose=True,
        cache=Path("/var/cache"),
        tags=("a", "b"),
        pair=("x", 3),
        names=frozenset({"n"}),
        env={"A": "1"},
        pull=Pull.IF_MISSING,
        mode="fast",
        mirror=Mirror(url="u"),
        mirrors={"one": Mirror(url="v", weight=2)},
        token=Secret("hunter2"),
        size="big",
        store="s3://b",
        anything={"deep": [1]},
    )
    assert isinstance(value.idle_seconds, float)


def test_nothing_written_gives_the_defaults() -> None:
    assert structure(Settings, None, path="x") == structure(Settings, {}, path="x") == Settings()
    assert structure(NoSettings, {}, path="x") == NoSettings()


def test_an_instance_passes_through() -> None:
    value = Settings(workers=9)

    assert structure(Settings, value, path="x") is value


@pytest.mark.parametrize(
    ("raw", "path", "message"),
    [
        ({"idle_seconds": "soon"}, "idle_seconds", "expected a number, got 'soon'"),
        ({"idle-seconds": -1}, "idle-seconds", "must be >= 0: -1.0"),
        ({"idle_seconds": True}, "idle_seconds", "expected a number, got true"),
        ({"idle_seconds": float("nan")}, "idle_seconds", "expected a number, got nan"),
        ({"idle_seconds": float("inf")}, "idle_seconds", "expected a number, got inf"),
        ({"idle_seconds": None}, "idle_seconds", "expected a number, got nothing"),
        ({"workers": 1.5}, "workers", "expected a whole number, got 1.5"),
        ({"workers": True}, "workers", "expected a whole number, got true"),
        ({"workers": "4"}, "workers", "expected a whole number, got '4'"),
        ({"verbose": 1}, "verbose", "expected true or false, got 1"),
        ({"verbose": "yes"}, "verbose", "expected true or false, got 'yes'"),
        ({"cache": 3}, "cache", "expected a path, got 3"),
        ({"cache": ""}, "cache", "expected a path, got ''"),
        ({"tags": "a"}, "tags", "expected a list, got 'a'"),
        ({"tags": ["a", 2]}, "tags[1]", "expected text, got 2"),
        ({"pair": ["a"]}, "pair", "expected a list of 2, got one of 1"),
        ({"pair": ["a", "b"]}, "pair[1]", "expected a whole number, got 'b'"),
        ({"env": ["A=1"]}, "env", "expected a mapping, got a list"),
        ({"env": {"A": 1}}, "env.A", "expected text, got 1"),
        ({"env": {"a b": 1}}, "env['a b']", "expected text, got 1"),
        ({"env": {7: "x"}}, "env[7]", "expected text, got 7"),
        ({"pull": "sometimes"}, "pull", "expected one of always, if-missing; got 'sometimes'"),
        ({"mode": "quick"}, "mode", "expected one of fast, safe; got 'quick'"),
        ({"mirror": {}}, "mirror.url", "is required"),
        ({"mirror": "u"}, "mirror", "expected a mapping, got 'u'"),
        ({"mirrors": {"one": {"url": 1}}}, "mirrors.one.url", "expected text, got 1"),
        ({"mirrors": {"one": {"url": "u", "wieght": 1}}}, "mirrors.one.wieght", "is not a known key"),
        ({"size": [1]}, "size", "expected a whole number or text, got a list"),
        ({"idle_secs": 1}, "idle_secs", "is not a known key"),
        ({True: 1}, "[true]", "a key must be text, not true"),
        ({"workers\x1b[2J": 1}, "['workers\\x1b[2J']", "is not a known key"),
        ({"idle_seconds": 10**400}, "idle_seconds", None),
    ],
)
def test_each_mistake_has_its_path(raw: object, path: str, message: str | None) -> None:
    [(where, what)] = problems(raw)

    assert where == (f"plugins.process{path}" if path.startswith("[") else f"plugins.process.{path}")
    assert message is None or what == message


def test_what_is_no_mapping_is_said_once() -> None:
    assert problems([1]) == [("plugins.process", "expected a mapping, got a list")]


def test_a_key_in_two_spellings_is_ambiguous() -> None:
    assert problems({"idle-seconds": 1, "idle_seconds": 2}) == [
        ("plugins.process.idle_seconds", "is given twice, as 'idle-seconds' too")
    ]


def test_all_mistakes_are_collected_into_one_error() -> None:
    with pytest.raises(SettingsError) as caught:
        structure(
            Settings, {"idle_secnds": 1, "workers": "x", "mirror": {"urll": "u"}}, path="plugins.process"
        )

    assert [str(problem) for problem in caught.value.problems] == [
        "plugins.process.idle_secnds: is not a known key",
        "plugins.process.workers: expected a whole number, got 'x'",
        "plugins.process.mirror.urll: is not a known key",
        "plugins.process.mirror.url: is required",
    ]
    assert caught.value.problems[0].hint == "use 'idle_seconds'"
    assert isinstance(caught.value, LaunchError)
    assert caught.value.reason is Reason.CONFIG_ERROR
    assert "\n" not in caught.value.detail


def test_hints_say_what_to_write() -> None:
    with pytest.raises(SettingsError) as caught:
        structure(Settings, {"tags": "a", "env": {"A": 1}, "pull": "alway", "zzz": 1}, path="p")

    by_path = {problem.path: problem.hint for problem in caught.value.problems}
    assert by_path["p.tags"] == "write [a]"
    assert by_path["p.env.A"] == "put it in quotes: '1'"
    assert by_path["p.pull"] == "use 'always'"
    assert (by_path["p.zzz"] or "").startswith("known keys: anything, build-context-store, cache")


def test_a_secret_is_never_in_an_error() -> None:
    with pytest.raises(SettingsError) as caught:
        structure(Settings, {"token": 12345678}, path="p")

    assert caught.value.problems == (
        Problem(path="p.token", message="expected text", hint="put it in quotes"),
    )


def test_keys_of_somebody_else_can_be_ignored() -> None:
    assert structure(Settings, {"type": "x", "workers": 2}, path="builder", ignore={"type"}).workers == 2


def test_a_check_over_several_fields_is_a_problem_of_the_whole() -> None:
    @attrs.frozen(kw_only=True)
    class Range:
        low: int = setting("Low.", default=0)
        high: int = setting("High.", default=1)

        def __attrs_post_init__(self) -> None:
            if self.low > self.high:
                raise ValueError("low is above high")

    assert problems({"low": 3}, Range) == [("plugins.process", "low is above high")]


def test_the_values_of_the_contract_are_settings_too() -> None:
    config = structure(
        QueueConfig,
        {"type": "process", "max-running": 2, "limits": {"run_seconds": 60}, "retry": {"reasons": ["lost"]}},
        path="queue",
    )

    assert config.limits == Limits(run_seconds=60.0)
    assert config.retry.reasons == (Reason.LOST,)


def test_an_enumeration_of_numbers_is_written_by_name_or_number() -> None:
    @attrs.frozen(kw_only=True)
    class Wish:
        priority: Priority = setting("Which.", default=Priority.MEDIUM)

    assert structure(Wish, {"priority": "high"}, path="x").priority is Priority.HIGH
    assert structure(Wish, {"priority": 3}, path="x").priority is Priority.LOW
    assert problems({"priority": True}, Wish) == [
        ("plugins.process.priority", "expected one of critical, high, medium, low; got true")
    ]


def test_a_class_that_is_none_for_settings_is_its_authors_bug() -> None:
    class Plain:
        pass

    @attrs.frozen
    class Odd:
        when: complex = setting("When.", default=0j)

    with pytest.raises(TypeError, match="Plain is not an attrs class"):
        structure(Plain, {}, path="x")
    with pytest.raises(TypeError, match="type <class 'complex'> are not supported"):
        structure(Odd, {"when": 1}, path="x")
