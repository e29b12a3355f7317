"""The tutorial's plugin in docs/plugins.md keeps every promise of a runner: it passes the conformance kit."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import ClassVar

import pytest

from launchcore.testing.conformance import RunnerConformance
from tests.docs.markdown import ROOT, blocks


@pytest.fixture(autouse=True, scope="module")
def launch_nohup(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The page's Python blocks as an importable module, as the tutorial's reader has it."""
    folder = tmp_path_factory.mktemp("tutorial")
    parts = [block.text for block in blocks(ROOT / "docs" / "plugins.md") if block.language == "python"]
    (folder / "launch_nohup.py").write_text(next(part for part in parts if "class NohupRunner" in part))
    sys.path.insert(0, str(folder))
    yield
    sys.path.remove(str(folder))
    sys.modules.pop("launch_nohup", None)


class TestTutorial(RunnerConformance):
    plugin = "launch_nohup"
    name = "nohup"
    patience: ClassVar = 10.0
