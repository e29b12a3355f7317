"""Each hook: asked one plugin at a time, in the order of names, and every error has an owner."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from launchcore.host import Host
from launchcore.host.discovery import PluginState
from launchcore.plugin import (
    BuildPlan,
    Cancelled,
    Check,
    CheckResult,
    CheckVerdict,
    EnvVar,
    Failure,
    Fault,
    Hint,
    Label,
    LaunchError,
    Reason,
    RunnerSpec,
    RunPlan,
    Secret,
    SecretFile,
    SourceRef,
    SourceTree,
    Stage,
    StageEvent,
    Volume,
    hookimpl,
    setting,
)

RUN = RunPlan(
    run_id="r", attempt_id="r-1", attempt=1, queue="q", name="launch-r-1", settings=None, scratch=Path("/x")
)
BUILD = BuildPlan(
    run_id="r",
    attempt_id="r-1",
    queue="q",
    tree=SourceTree(path=Path("/x"), identity="i", pinned=SourceRef(type="git")),
    destination=None,
    settings=None,
)
FAILURE = Failure(reason=Reason.LOST, fault=Fault.INFRASTRUCTURE, stage=Stage.EXECUTE, detail="gone")
EVENT = StageEvent(run_id="r", attempt_id="r-1", queue="q", stage=Stage.BUILD, what="started", at=1.0)


def plugin(hook: str, answer: Callable[..., Any]) -> object:
    """A plugin with one hook; ``answer`` takes the hook's argument, or nothing."""
    return type("Plugin", (), {hook: staticmethod(hookimpl(answer))})()


def load(*plugins: tuple[str, object]) -> Host:
    return Host.load(builtin=(), path=[], extra=plugins)


def raises(error: BaseException) -> Callable[[], Any]:
    def answer() -> Any:
        raise error

    return answer


# -- contributions ---------------------------------------------------------------------------------


def test_contributions_come_in_the_order_of_the_plugins_names() -> None:
    def of_generator(plan: RunPlan) -> Iterator[EnvVar]:
        yield EnvVar(name="A", value=plan.run_id)
        yield EnvVar(name="B", value=Secret("s"))

    host = load(
        ("zeta", plugin("launch_contribute_to_run", lambda: [Label(name="l", value="v")])),
        ("alpha", plugin("launch_contribute_to_run", of_generator)),
        ("none", plugin("launch_contribute_to_run", lambda: None)),
        ("other", plugin("launch_contribute_to_build", lambda: [EnvVar(name="C", value="c")])),
    )

    assert host.calls.contribute_to_run(RUN) == (
        ("(alpha)", EnvVar(name="A", value="r")),
        ("(alpha)", EnvVar(name="B", value=Secret("s"))),
        ("(zeta)", Label(name="l", value="v")),
    )
    assert host.calls.contribute_to_build(BUILD) == (("(other)", EnvVar(name="C", value="c")),)


def test_what_a_contributor_raises_is_its_fault_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    def late(plan: RunPlan) -> Iterator[EnvVar]:
        yield EnvVar(name="A", value="a")
        raise ZeroDivisionError("half way")

    host = load(("bad", plugin("launch_contribute_to_run", late)))
    with pytest.raises(LaunchError) as caught:
        host.calls.contribute_to_run(RUN)

    assert caught.value.reason is Reason.PLUGIN_ERROR
    assert caught.value.fault is Fault.PLUGIN
    assert caught.value.plugin == "(bad)"
    assert caught.value.detail == "launch_contribute_to_run of (bad) raised ZeroDivisionError: half way"
    assert "Traceback" in caplog.text


def test_a_launch_error_keeps_its_reason_and_gets_the_plugins_name() -> None:
    error = LaunchError("no token", reason=Reason.CONFIG_ERROR, hint="log in", retryable=True)
    host = load(("aws", plugin("launch_contribute_to_run", raises(error))))
    with pytest.raises(LaunchError) as caught:
        host.calls.contribute_to_run(RUN)

    assert caught.value is error
    assert error.plugin == "(aws)"


def test_cancelled_stays_cancelled() -> None:
    host = load(("aws", plugin("launch_contribute_to_run", raises(Cancelled()))))
    with pytest.raises(Cancelled):
        host.calls.contribute_to_run(RUN)


def test_system_exit_does_not_end_the_agent() -> None:
    host = load(("bad", plugin("launch_contribute_to_build", raises(SystemExit(1)))))
    with pytest.raises(LaunchError, match="raised SystemExit: 1"):
        host.calls.contribute_to_build(BUILD)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("abc", "returned a str; put the values in a list, or yield them"),
        ({"A": "b"}, "returned a dict; put the values in a list, or yield them"),
        (EnvVar(name="A", value="b"), "returned an EnvVar; put the values in a list, or yield them"),
        (3, "returned an int; put the values in a list, or yield them"),
        (["A=b"], "returned a str; expected a contribution"),
        ([None], "returned a NoneType; expected a contribution"),
        ([EnvVar(name="A=B", value="c")], "returned an EnvVar with a name that cannot be used"),
        ([EnvVar(name="A", value="a\0b")], "returned an EnvVar with a value that cannot be used"),
        ([EnvVar(name="A", value=7)], "returned an EnvVar with a value that cannot be used"),  # type: ignore[arg-type]
        (
            [SecretFile(name="../x", content=Secret("s"))],
            "returned a SecretFile with a name that cannot be used",
        ),
        (
            [SecretFile(name="x", content="plain hunter2")],  # type: ignore[arg-type]
            "returned a SecretFile with a content that cannot be used",
        ),
        ([Volume(source="/a", path="b")], "returned a Volume with a path that cannot be used"),
        ([EnvVar(name="A", value="b")] * 1001, "returned more than 1000 values"),
    ],
)
def test_nonsense_is_named_and_never_shown(answer: Any, text: str) -> None:
    host = load(("odd", plugin("launch_contribute_to_run", lambda: answer)))
    with pytest.raises(LaunchError) as caught:
        host.calls.contribute_to_run(RUN)

    assert caught.value.reason is Reason.PLUGIN_ERROR
    assert caught.value.plugin == "(odd)"
    assert caught.value.detail == f"launch_contribute_to_run of (odd) {text}"


def test_a_hidden_coroutine_is_named_and_closed() -> None:
    async def later() -> None: ...

    def answer() -> Any:
        return later()

    host = load(("odd", plugin("launch_contribute_to_run", answer)))
    with pytest.raises(LaunchError, match="returned a coroutine; hooks are synchronous"):
        host.calls.contribute_to_run(RUN)


def test_a_generator_without_end_is_ended() -> None:
    def forever(plan: RunPlan) -> Iterator[EnvVar]:
        while True:
            yield EnvVar(name="A", value="b")

    host = load(("odd", plugin("launch_contribute_to_run", forever)))
    with pytest.raises(LaunchError, match="more than 1000 values"):
        host.calls.contribute_to_run(RUN)


# -- explanations, observers, checks ---------------------------------------------------------------


def test_one_bad_explanation_does_not_silence_the_others(caplog: pytest.LogCaptureFixture) -> None:
    host = load(
        ("bad", plugin("launch_explain_failure", raises(ValueError("x")))),
        ("good", plugin("launch_explain_failure", lambda failure: [Hint(text=failure.detail)])),
        ("odd", plugin("launch_explain_failure", lambda: ["text"])),
    )

    assert host.calls.explain_failure(FAILURE) == (Hint(text="gone"),)
    assert "launch_explain_failure of (odd) returned a str; expected a Hint; ignored" in caplog.text


def test_observers_never_affect_the_run(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[StageEvent] = []

    def watch(event: StageEvent) -> None:
        seen.append(event)

    host = load(
        ("a", plugin("launch_observe", raises(SystemExit()))),
        ("b", plugin("launch_observe", watch)),
        ("c", plugin("launch_observe", lambda: "anything")),
    )
    with caplog.at_level(logging.ERROR):
        host.calls.observe(EVENT)

    assert seen == [EVENT]
    assert "(a): launch_observe raised; ignored" in caplog.text


def test_errors_of_checks_are_failed_checks() -> None:
    def fine() -> CheckResult:
        return CheckResult(verdict=CheckVerdict.OK, detail="80 GB free")

    host = load(
        ("bad", plugin("launch_checks", raises(ValueError("x")))),
        (
            "some",
            plugin(
                "launch_checks",
                lambda: [
                    Check(name="disk", run=fine),
                    Check(name="net", run=raises(OSError("down"))),
                    Check(name="odd", run=lambda: "fine"),  # type: ignore[arg-type,return-value]
                ],
            ),
        ),
    )

    found = [(label, check.name, check.run()) for label, check in host.calls.checks()]
    assert [(label, name, result.verdict.value, result.detail) for label, name, result in found] == [
        ("(bad)", "bad: checks", "failed", "launch_checks of (bad) raised ValueError: x"),
        ("(some)", "disk", "ok", "80 GB free"),
        ("(some)", "net", "failed", "OSError: down"),
        ("(some)", "odd", "failed", "returned str, not a CheckResult"),
    ]


# -- registration ----------------------------------------------------------------------------------


@attrs.define
class Mutable:
    port: int = setting("A port.", default=1)


@attrs.frozen
class Unresolvable:
    port: NotImported = 1  # type: ignore[name-defined] # noqa: F821


def spec(**changes: Any) -> RunnerSpec:
    return RunnerSpec(**{"name": "hello", "summary": "Hello.", "create": lambda *_: None, **changes})


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (raises(OSError("no")), "launch_register_runners of (odd) raised OSError: no"),
        (lambda: ["hello"], "returned a str; expected RunnerSpec"),
        (lambda: [spec(name="Hello World")], "offers the name 'Hello World'"),
        (lambda: [spec(aliases=("",))], "offers the name ''"),
        (lambda: [spec(summary=" ")], "offers 'hello' without a summary of one line"),
        (lambda: [spec(create=None)], "offers 'hello' with a create that cannot be called"),
        (lambda: [spec(settings=dict)], "expected a frozen attrs class"),
        (lambda: [spec(config=Mutable)], "offers 'hello' with the settings Mutable, which are not frozen"),
        (lambda: [spec(config=Unresolvable)], "offers 'hello': Unresolvable: name 'NotImported' is not"),
        (lambda: [spec(applies={"env"})], "expected a frozenset of Kind"),
        (lambda: [spec(), spec()], "offers 'hello' twice"),
        (lambda: [spec(), spec(name="other", aliases=("hello",))], "offers 'hello' twice"),
    ],
)
def test_a_plugin_that_registers_nonsense_is_failed(answer: Any, text: str) -> None:
    host = load(
        ("good", plugin("launch_register_runners", lambda: [spec(name="good")])),
        ("odd", plugin("launch_register_runners", answer)),
    )
    good, odd = host.plugins

    assert odd.state is PluginState.FAILED
    assert text in (odd.reason or "")
    assert good.loaded
    assert [offer.spec.name for offer in host.catalog.offers(RunnerSpec)] == ["good"]


def test_a_failed_plugin_is_not_asked_anything_any_more() -> None:
    class Half:
        @hookimpl
        def launch_register_runners(self) -> list[Any]:
            return [spec(name="half")]

        @hookimpl
        def launch_register_sources(self) -> list[Any]:
            raise ValueError("x")

        @hookimpl
        def launch_contribute_to_run(self) -> list[Any]:
            return [EnvVar(name="A", value="b")]

    host = load(("half", Half()))

    assert host.plugins[0].state is PluginState.FAILED
    assert host.catalog.offers(RunnerSpec) == ()
    assert host.calls.contribute_to_run(RUN) == ()


# -- plugins that are classes ----------------------------------------------------------------------


class WithSettings:
    @attrs.frozen(kw_only=True)
    class Settings:
        region: str = setting("Where.", default="nowhere")

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @hookimpl
    def launch_contribute_to_run(self, plan: RunPlan) -> list[EnvVar]:
        return [EnvVar(name="REGION", value=self.settings.region)]


def test_a_class_gets_its_settings_checked() -> None:
    extra = (("cloud", WithSettings),)
    host = Host.load(builtin=(), path=[], extra=extra, settings={"cloud": {"region": "north"}})
    bare = Host.load(builtin=(), path=[], extra=extra)

    assert host.calls.contribute_to_run(RUN)[0][1] == EnvVar(name="REGION", value="north")
    assert bare.calls.contribute_to_run(RUN)[0][1] == EnvVar(name="REGION", value="nowhere")


def test_bad_settings_of_a_class_fail_the_plugin_and_are_a_problem() -> None:
    host = Host.load(
        builtin=(), path=[], extra=(("cloud", WithSettings),), settings={"cloud": {"regoin": "north"}}
    )

    assert host.plugins[0].state is PluginState.FAILED
    assert [str(problem) for problem in host.problems] == ["plugins.cloud.regoin: is not a known key"]
    assert host.plugins[0].reason == "plugins.cloud.regoin: is not a known key"


def test_settings_of_a_class_must_have_defaults() -> None:
    class Demanding(WithSettings):
        @attrs.frozen(kw_only=True)
        class Settings:
            region: str = setting("Where.")

    host = load(("cloud", Demanding))

    assert host.plugins[0].reason == "its Settings must all have defaults; region has none"


def test_a_class_without_settings_is_refused() -> None:
    class Bare:
        @hookimpl
        def launch_checks(self) -> None: ...

    assert load(("bare", Bare)).plugins[0].reason == "Bare is a class without a class Settings (frozen attrs)"


def test_a_section_has_one_reader() -> None:
    """``plugins.cloud`` cannot be both the plugin's and its runner's."""

    class Both(WithSettings):
        @hookimpl
        def launch_register_runners(self) -> list[RunnerSpec]:
            return [spec(name="cloud", settings=WithSettings.Settings)]

    class Own(WithSettings):
        @hookimpl
        def launch_register_runners(self) -> list[RunnerSpec]:
            return [spec(name="cloud")]

    assert load(("cloud", Both)).plugins[0].reason == (
        "plugins.cloud would be the settings of the plugin and of its runner cloud"
    )
    assert load(("cloud", Own)).has_own_section("cloud")
    assert not load(("cloud", plugin("launch_checks", lambda: None))).has_own_section("cloud")
    assert not load().has_own_section("nothing")
