"""Every hook and every public name is documented, and the examples of the hooks work."""

from __future__ import annotations

import doctest
import types
from collections.abc import Iterable
from typing import Any

import pluggy
import pytest

import launchcore.plugin
from launchcore.plugin import (
    BuilderSpec,
    BuildPlan,
    Check,
    Contribution,
    EnvironmentSpec,
    Failure,
    Fault,
    Hint,
    QueueSpec,
    Reason,
    RegistrySpec,
    RunnerSpec,
    RunPlan,
    SourceRef,
    SourceSpec,
    SourceTree,
    Stage,
    StageEvent,
    hooks,
)
from scripts import reference
from tests.docs.markdown import ROOT

HOOKS = reference.hook_functions()
PAGE = (ROOT / "docs" / "plugins.md").read_text()
TREE = SourceTree(path=ROOT, identity="git:0", pinned=SourceRef(type="git"))
ARGUMENTS: dict[str, dict[str, Any]] = {
    "launch_contribute_to_build": {
        "plan": BuildPlan(run_id="r", attempt_id="r-1", queue="q", tree=TREE, destination=None, settings=None)
    },
    "launch_contribute_to_run": {
        "plan": RunPlan(
            run_id="r", attempt_id="r-1", attempt=1, queue="q", name="launch-r-1", settings=None, scratch=ROOT
        )
    },
    "launch_explain_failure": {
        "failure": Failure(
            reason=Reason.OUT_OF_MEMORY, fault=Fault.USER, stage=Stage.EXECUTE, detail="killed at 2 GB"
        )
    },
    "launch_observe": {
        "event": StageEvent(
            run_id="r", attempt_id="r-1", queue="q", stage=Stage.SOURCE, what="started", at=1.0
        )
    },
}
RETURNS: dict[str, Any] = {
    "launch_register_sources": SourceSpec,
    "launch_register_builders": BuilderSpec,
    "launch_register_registries": RegistrySpec,
    "launch_register_environments": EnvironmentSpec,
    "launch_register_runners": RunnerSpec,
    "launch_register_queues": QueueSpec,
    "launch_contribute_to_build": Contribution,
    "launch_contribute_to_run": Contribution,
    "launch_explain_failure": Hint,
    "launch_checks": Check,
}


def _factory(*args: object) -> object:
    raise AssertionError("registration makes nothing")


EXAMPLES = ("make_hg_source", "make_buildah", "make_quay", "make_slurm", "make_slurm_runner", "connect_redis")
FACTORIES = dict.fromkeys(EXAMPLES, _factory)


def run_example(name: str, text: str) -> dict[str, Any]:
    """Run one doctest; return what it defined."""
    namespace: dict[str, Any] = dict(FACTORIES)
    test = doctest.DocTestParser().get_doctest(text, namespace, name, None, None)
    assert test.examples, f"{name} has no example"
    failures: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(test, out=failures.append, clear_globs=False)
    assert not failures, "".join(failures)
    return test.globs


@pytest.mark.parametrize("name", HOOKS)
def test_hook_says_when_given_return_failure_and_has_an_example(name: str) -> None:
    parts = reference.hook_parts(HOOKS[name])

    assert parts["summary"]
    assert [part for part in reference.PARTS if not parts.get(part)] == []
    assert parts["example"]


@pytest.mark.parametrize("name", HOOKS)
def test_example_of_the_hook_is_a_plugin_that_works(name: str) -> None:
    """The example runs, pluggy accepts what it defines, and it returns what the signature says."""
    defined = run_example(name, HOOKS[name].__doc__ or "")
    plugin = types.SimpleNamespace(**{name: defined[name]})
    manager = pluggy.PluginManager(launchcore.plugin.PROJECT)
    manager.add_hookspecs(hooks)

    manager.register(plugin)
    manager.check_pending()
    answers = getattr(manager.hook, name)(**ARGUMENTS.get(name, {}))

    assert manager.get_hookcallers(plugin), "not recognised as a hook"
    if name in RETURNS:
        given = [one for answer in answers for one in _iterate(answer)]
        assert given
        assert all(isinstance(one, RETURNS[name]) for one in given)


def _iterate(answer: object) -> Iterable[object]:
    assert isinstance(answer, Iterable)
    return answer


@pytest.mark.parametrize("name", HOOKS)
def test_hook_is_in_the_reference_with_its_exact_signature(name: str) -> None:
    assert f"#### `{reference.hook_signature(HOOKS[name])}`" in PAGE


def test_every_public_name_says_what_it_is() -> None:
    assert [name for name, text in reference.public_names() if not text] == []


def test_reference_is_as_the_contract_says_now() -> None:
    """``make docs`` writes it again."""
    assert reference.splice(PAGE, reference.render()) == PAGE


@pytest.mark.parametrize("module", reference.MODULES, ids=lambda module: module.__name__)
def test_examples_in_the_contract_run(module: types.ModuleType) -> None:
    """Those of classes and functions; the hooks' own have a test above."""
    names = {**vars(module), **FACTORIES}
    found = doctest.DocTestFinder(exclude_empty=True).find(module, globs=names)
    for test in found:
        failures: list[str] = []
        doctest.DocTestRunner(verbose=False).run(test, out=failures.append)
        assert not failures, "".join(failures)
