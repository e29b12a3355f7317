"""Fixtures for the process runner."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from launchcore.builtin.process import cgroups
from tests.process.kit import Bench


@pytest.fixture(scope="module", autouse=True)
def apart() -> Iterator[None]:
    """In a control group at the top while these tests run: some of them run out of memory on purpose, and
    whoever supervises the tests must not take that for an end of theirs. Version 1 only; in version 2 the
    kernel tells apart what happened below."""
    home = cgroups.find_home()
    if home is None or home.version != 1 or len(home.own.parts) <= 5:
        yield
        return
    group = Path(*home.own.parts[:5]) / f"launchcore-tests-{os.getpid()}"
    try:
        group.mkdir()
    except OSError:
        yield
        return
    cgroups.enter(group)
    try:
        yield
    finally:
        cgroups.enter(home.own)
        cgroups.remove(group)  # a keeper that still ends in it may keep it: it is empty, and does no harm


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()
