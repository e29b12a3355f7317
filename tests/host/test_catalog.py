"""Selection by name: golden error texts that say who offers what, and what to do."""

from __future__ import annotations

from typing import Any

import pytest

from launchcore.host.catalog import INSTALL_HINTS, KINDS, Catalog, Offer
from launchcore.host.discovery import PluginRecord, PluginState
from launchcore.plugin import BuilderSpec, LaunchError, QueueSpec, Reason, RegistrySpec, RunnerSpec


def make(*_: Any) -> Any:
    return None


def runner(name: str, plugin: str, *aliases: str) -> Offer[RunnerSpec]:
    spec = RunnerSpec(name=name, summary="x", create=make, aliases=aliases)
    return Offer(spec=spec, plugin=plugin, entry=plugin.split(maxsplit=1)[0].removeprefix("launch-"))


def builder(name: str, plugin: str) -> Offer[BuilderSpec]:
    return Offer(spec=BuilderSpec(name=name, summary="x", create=make), plugin=plugin)


def queue(name: str, plugin: str, *schemes: str) -> Offer[QueueSpec]:
    return Offer(
        spec=QueueSpec(name=name, summary="x", connect=make, schemes=schemes), plugin=plugin, entry=name
    )


def text(error: pytest.ExceptionInfo[LaunchError]) -> str:
    assert error.value.reason is Reason.CONFIG_ERROR
    return f"{error.value.detail} Try: {error.value.hint}"


def test_names_and_aliases_find_the_offer() -> None:
    catalog = Catalog([runner("process", "launchcore 0.1", "local")])

    assert catalog.runner("process") == catalog.runner("local")
    assert [offer.spec.name for offer in catalog.find_all("local")] == ["process"]


def test_an_unknown_name_says_who_offers_what_and_what_to_install() -> None:
    catalog = Catalog([builder("docker", "launchcore-docker 1.2.0"), builder("none", "launchcore 0.1")])
    with pytest.raises(LaunchError) as error:
        catalog.builder("kaniko")

    assert text(error) == (
        "no installed plugin offers the builder 'kaniko'; installed builders: docker"
        " (launchcore-docker 1.2.0), none (launchcore 0.1) Try: pip install 'launchcore[kaniko]'"
    )


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("proces", "write 'process'"),
        ("kubernets", "write 'kubernetes', and pip install 'launchcore[k8s]'"),
        ("sagemaker", "pip install 'launchcore[sagemaker]'"),
        ("zzz", "`launch plugins list` shows every runner there is"),
        ("", "`launch plugins list` shows every runner there is"),
    ],
)
def test_what_to_do_about_an_unknown_runner(name: str, hint: str) -> None:
    with pytest.raises(LaunchError) as error:
        Catalog([runner("process", "launchcore 0.1")]).runner(name)

    assert error.value.hint == hint


def test_an_installed_name_needs_no_install() -> None:
    with pytest.raises(LaunchError) as error:
        Catalog([runner("docker", "launchcore-docker 1.2.0")]).runner("dokcer")

    assert error.value.hint == "write 'docker'"


def test_a_hostile_name_is_shown_harmless() -> None:
    with pytest.raises(LaunchError) as error:
        Catalog().source("\x1b[2J" + "x" * 500)

    assert "\x1b" not in error.value.detail
    assert len(error.value.detail) < 200


@pytest.mark.parametrize("name", ["kaniko", "launch-kaniko", "launch_kaniko"])
def test_a_plugin_that_failed_is_named(name: str) -> None:
    record = PluginRecord(
        name="kaniko",
        distribution="launch-kaniko",
        version="1.2.0",
        state=PluginState.FAILED,
        reason="ModuleNotFoundError: No module named 'kubernetes'",
        module="launch_kaniko.plugin",
    )
    with pytest.raises(LaunchError) as error:
        Catalog([], [record]).builder(name)

    assert text(error) == (
        f"no loaded plugin offers the builder {name!r}; the plugin 'kaniko' (launch-kaniko 1.2.0) is failed:"
        " ModuleNotFoundError: No module named 'kubernetes'; installed builders: none"
        " Try: launch plugins show kaniko"
    )


def test_a_name_that_two_offer_belongs_to_neither_and_the_rest_goes_on() -> None:
    catalog = Catalog(
        [
            runner("hello", "launch-one 1.0"),
            runner("hello", "launch-two 2.0"),
            runner("fine", "launch-two 2.0"),
            runner("third", "launch-three 1.0", "fine-too"),
        ]
    )
    with pytest.raises(LaunchError) as error:
        catalog.runner("hello")

    assert text(error) == (
        "the runner 'hello' is offered by launch-one 1.0 and launch-two 2.0; it belongs to neither"
        " Try: disable one of them: disabled_plugins: [one or two]"
    )
    assert catalog.runner("fine").plugin == "launch-two 2.0"
    assert {what for what, _, _ in catalog.clashes()} == {"runner 'hello'"}


def test_an_alias_clashes_like_a_name_but_kinds_are_apart() -> None:
    catalog = Catalog(
        [runner("one", "a 1", "both"), runner("both", "b 1"), builder("both", "c 1"), builder("one", "c 1")]
    )
    with pytest.raises(LaunchError, match=r"offered by (a 1 and b 1|b 1 and a 1)"):
        catalog.runner("both")

    assert catalog.runner("one").plugin == "a 1"
    assert catalog.builder("both").plugin == "c 1"


def test_queue_services_are_chosen_by_scheme() -> None:
    catalog = Catalog(
        [queue("embedded", "launchcore 0.1", "sqlite"), queue("redis", "x 1", "redis", "valkey")]
    )

    assert catalog.queue_for("sqlite:///a/b.db").spec.name == "embedded"
    assert catalog.queue_for("VALKEY://host").spec.name == "redis"


@pytest.mark.parametrize(
    ("url", "shown", "hint"),
    [
        (
            "https://user:hunter2@host/",
            "'https://'; installed schemes: sqlite://",
            "pip install 'launchcore[server]'",
        ),
        ("sqlit:///x", "'sqlit://'; installed schemes: sqlite://", "write 'sqlite'"),
        ("queue.db", "a base_url without a scheme; installed schemes: sqlite://", None),
    ],
)
def test_an_unknown_scheme_shows_no_more_than_the_scheme(url: str, shown: str, hint: str | None) -> None:
    with pytest.raises(LaunchError) as error:
        Catalog([queue("embedded", "launchcore 0.1", "sqlite")]).queue_for(url)

    assert error.value.detail == f"no installed plugin serves {shown}"
    assert hint is None or error.value.hint == hint
    assert "hunter2" not in text(error)


def test_two_services_of_one_scheme_clash() -> None:
    catalog = Catalog([queue("a", "a 1", "redis"), queue("b", "b 1", "redis")])
    with pytest.raises(LaunchError, match="the URL scheme 'redis' is offered by a 1 and b 1"):
        catalog.queue_for("redis://x")


def test_offers_are_in_the_order_of_names() -> None:
    catalog = Catalog([runner("b", "x 1"), runner("a", "y 1"), builder("c", "x 1")])

    assert [offer.spec.name for offer in catalog.offers(RunnerSpec)] == ["a", "b"]
    assert catalog.offers(RegistrySpec) == ()


def test_install_hints_name_extras_that_first_parties_have() -> None:
    assert set(INSTALL_HINTS.values()) == {"docker", "k8s", "kaniko", "aws", "sagemaker", "server"}
    assert {kind for kind, _ in INSTALL_HINTS} <= set(KINDS.values())
