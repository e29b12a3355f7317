"""A configuration file, read with nothing of this machine in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from launchcore.config.load import LoadedConfig, load_config
from launchcore.host.settings import SettingsError


class File:
    """``launch-config.yaml`` in a directory of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(
        self,
        text: str | bytes,
        environ: Mapping[str, str] | None = None,
        flags: Mapping[str, object] | None = None,
    ) -> LoadedConfig:
        self.path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_config(path=self.path, environ=environ or {}, flags=flags or {})

    def problems(self, text: str | bytes, **more: Mapping[str, object]) -> list[str]:
        """Everything that is wrong, without the file's directory; each is one line."""
        with pytest.raises(SettingsError) as caught:
            self.load(text, **more)  # type: ignore[arg-type]
        found = [str(problem) for problem in caught.value.problems]
        assert all(line.isprintable() for line in found)
        return [line.replace(f"{self.path}", self.path.name) for line in found]


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "launch-config.yaml")
