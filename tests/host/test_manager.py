"""A plugin is registered as a whole or not at all, and told what is wrong with its wiring."""

from __future__ import annotations

from typing import Any

import pytest

from launchcore.host import Host
from launchcore.host.discovery import PluginState
from launchcore.host.manager import Manager, Refused
from launchcore.plugin import Hint, hookimpl


def refused(plugin: type) -> str:
    manager = Manager()
    with pytest.raises(Refused) as caught:
        manager.register("bad", "launch-bad 1.0", plugin())
    assert all(not manager.implementations(hook) for hook in manager.specified)
    return str(caught.value)


class Unknown:
    @hookimpl
    def launch_register_runner(self) -> list[Any]:
        return []

    @hookimpl
    def launch_checks(self) -> list[Any]:
        return []


class UnknownFarFromAny:
    @hookimpl
    def zzz(self) -> None: ...


class Argument:
    @hookimpl
    def launch_checks(self) -> list[Any]:
        return []

    @hookimpl
    def launch_contribute_to_run(self, plan: Any, agent: Any) -> None: ...


class ArgumentToNone:
    @hookimpl
    def launch_checks(self, host: Any) -> None: ...


class Starred:
    @hookimpl
    def launch_observe(self, *events: Any) -> None: ...


class Wrapper:
    @hookimpl(wrapper=True)
    def launch_checks(self) -> Any:
        return (yield)


class OldWrapper:
    @hookimpl(hookwrapper=True)
    def launch_checks(self) -> Any:
        yield


class Asynchronous:
    @hookimpl
    async def launch_checks(self) -> None: ...


class AsynchronousGenerator:
    @hookimpl
    async def launch_checks(self) -> Any:
        yield


class Ordered:
    @hookimpl(tryfirst=True)
    def launch_checks(self) -> None: ...


class Unmarked:
    def launch_checks(self) -> None: ...


class Empty:
    pass


@pytest.mark.parametrize(
    ("plugin", "text"),
    [
        (Unknown, "launch_register_runner is not a hook; launch_register_runners is"),
        (UnknownFarFromAny, "zzz is not a hook"),
        (
            Argument,
            "launch_contribute_to_run has an argument 'agent' that it is never given;"
            " its arguments are: plan",
        ),
        (
            ArgumentToNone,
            "launch_checks has an argument 'host' that it is never given; it has no arguments",
        ),
        (Starred, "launch_observe has the argument *events: 'Any'; arguments are passed by name"),
        (Wrapper, "launch_checks is a wrapper; hooks are called one by one and cannot be wrapped"),
        (OldWrapper, "launch_checks is a wrapper; hooks are called one by one and cannot be wrapped"),
        (Asynchronous, "launch_checks is asynchronous; hooks are synchronous"),
        (AsynchronousGenerator, "launch_checks is asynchronous; hooks are synchronous"),
        (
            Ordered,
            "launch_checks asks for a place in the order; plugins are asked in the order of names",
        ),
        (Unmarked, "launch_checks has no @hookimpl, so it would never be called"),
        (Empty, "it implements no hook"),
    ],
)
def test_bad_wiring_is_refused_and_leaves_nothing_behind(plugin: type, text: str) -> None:
    assert refused(plugin) == text


def test_a_refused_plugin_shows_so_and_the_others_go_on() -> None:
    class Good:
        @hookimpl
        def launch_explain_failure(self) -> list[Hint]:
            return []

    host = Host.load(builtin=(), path=[], extra=(("bad", Argument()), ("good", Good())))

    states = {record.name: record.state for record in host.plugins}
    assert states == {"bad": PluginState.REFUSED, "good": PluginState.LOADED}
    assert host.calls.checks() == ()


def test_an_implementation_may_leave_out_arguments_or_take_them_by_keyword() -> None:
    class Short:
        @hookimpl
        def launch_observe(self) -> str:
            return "short"

    class Keyword:
        @hookimpl
        def launch_observe(self, *, event: str, extra: int = 3) -> str:
            return f"{event} {extra}"

    class Renamed:
        @hookimpl(specname="launch_observe")
        def on_event(self, event: str) -> str:
            return f"renamed {event}"

    manager = Manager()
    manager.register("c", "c 1", Short())
    manager.register("b", "b 1", Keyword())
    manager.register("a", "a 1", Renamed())

    found = manager.implementations("launch_observe")
    assert [one.plugin for one in found] == ["a", "b", "c"]
    assert [one(event="e") for one in found] == ["renamed e", "e 3", "short"]


def test_a_hook_of_a_newer_launchcore_may_be_marked_optional() -> None:
    class Ahead:
        @hookimpl(optionalhook=True)
        def launch_from_the_future(self, anything: Any) -> None: ...

        @hookimpl
        def launch_checks(self) -> None: ...

    assert Manager().register("ahead", "ahead 1", Ahead()) == ("launch_checks",)


def test_importing_the_contract_into_a_plugin_is_no_implementation() -> None:
    from types import ModuleType

    from launchcore.plugin import hooks

    module = ModuleType("launch_hello")
    module.launch_checks = hooks.launch_checks  # type: ignore[attr-defined]

    with pytest.raises(Refused, match="it implements no hook"):
        Manager().register("hello", "hello 1", module)


def test_unregister_forgets_all_of_a_plugin() -> None:
    class Good:
        @hookimpl
        def launch_checks(self) -> None: ...

    manager = Manager()
    manager.register("good", "good 1", Good())
    manager.unregister("good")
    manager.unregister("never there")

    assert manager.implementations("launch_checks") == ()
