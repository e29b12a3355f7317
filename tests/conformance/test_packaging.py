"""The packaging suite: a good distribution passes each test, and a broken one fails it."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import pytest

from launchcore.testing.conformance import PackagingConformance
from tests.host.conftest import Installed
from tests.host.conftest import installed as installed  # noqa: PLC0414  # the fixture

FITS = ("launchcore>=0.0.1,<99",)
GOOD = """
import attrs
from launchcore.plugin import RunnerSpec, hookimpl, setting

@attrs.frozen(kw_only=True)
class Config:
    nodes: int = setting("How many nodes.", default=1)

@hookimpl
def launch_register_runners():
    return [RunnerSpec(name="hello", summary="Hello.", create=lambda settings, site: None, config=Config)]
"""
EAGER = "import a_heavy_sdk\n" + GOOD
UNDOCUMENTED = GOOD.replace('setting("How many nodes.", default=1)', "1")

MUTANTS: dict[str, dict[str, Any]] = {
    "test_it_has_an_entry_point": {"source": GOOD, "points": {"hello": "launch_hello"}, "group": "other"},
    "test_it_is_loaded": {"source": "1 / 0"},
    "test_it_says_which_launchcore_it_needs": {"source": GOOD, "requires": ["launchcore>=0.0.1"]},
    "test_it_has_a_summary": {"source": GOOD, "summary": None},
    "test_registration_imports_no_sdk": {"source": EAGER, "requires": [*FITS, "heavy-sdk"]},
    "test_every_setting_is_documented": {"source": UNDOCUMENTED},
}
GUARD = "test_no_standard_test_is_overridden_without_a_reason"


class Suite(PackagingConformance):
    distribution: ClassVar = "launch-hello"


def install(
    where: Installed,
    *,
    source: str,
    requires: Any = FITS,
    summary: str | None = "A plugin.",
    group: str = "launchcore",
    points: Any = None,
) -> None:
    """A distribution beside an SDK that it may depend on."""
    where.add("heavy-sdk", "", points={"x": "y"}, requires=[])
    sdk = where.path / "heavy_sdk-1.0.dist-info"
    (sdk / "entry_points.txt").unlink()
    (sdk / "RECORD").write_text("a_heavy_sdk.py,,\n")
    (where.path / "a_heavy_sdk.py").write_text("")
    where.add("launch-hello", source, requires=requires, points=points)
    info = where.path / "launch_hello-1.0.dist-info"
    if summary:
        metadata = (info / "METADATA").read_text()
        (info / "METADATA").write_text(f"{metadata}Summary: {summary}\n")
    entries = (info / "entry_points.txt").read_text()
    (info / "entry_points.txt").write_text(entries.replace("[launchcore]", f"[{group}]"))


def test_every_test_of_the_suite_has_a_mutant() -> None:
    names = {name for name in dir(PackagingConformance) if name.startswith("test_")}

    assert set(MUTANTS) == names - {GUARD}


def test_every_test_says_what_to_check() -> None:
    for name in {*MUTANTS, GUARD}:
        last = inspect.cleandoc(getattr(PackagingConformance, name).__doc__ or "").split("\n\n")[-1]
        assert last.startswith("If this fails, check "), name


@pytest.mark.parametrize("test", MUTANTS)
def test_a_good_distribution_passes(installed: Installed, test: str) -> None:
    install(installed, source=GOOD, requires=[*FITS, "heavy-sdk"])

    getattr(Suite(), test)()


@pytest.mark.parametrize("test", MUTANTS)
def test_a_broken_distribution_fails(installed: Installed, test: str) -> None:
    install(installed, **MUTANTS[test])
    with pytest.raises(AssertionError):
        getattr(Suite(), test)()
