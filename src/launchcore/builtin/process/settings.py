"""What can be set: for the agent (``plugins.process``), and for a queue (its ``config``)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from launchcore.plugin import setting


class Python(enum.Enum):
    """Whose Python a run gets."""

    VENV = "venv"
    NONE = "none"


def _at_least(least: float) -> Any:
    return attrs.validators.ge(least)


@attrs.frozen(kw_only=True)
class ProcessSettings:
    """The agent's settings of the runner: ``plugins.process``."""

    idle_seconds: float = setting(
        "Seconds without runs and without an agent after which the keeper process ends.",
        default=60.0,
        validator=_at_least(0),
    )
    cgroups: bool = setting(
        "Enforce memory limits by control groups where this account may make them; otherwise, and "
        "elsewhere, by looking at the processes' memory five times a second.",
        default=True,
    )
    inherit: tuple[str, ...] = setting(
        "Patterns of variables of the agent's environment that every run gets, besides the documented few.",
        default=(),
    )
    keep_environments: int = setting(
        "How many virtual environments are kept in the cache.", default=20, validator=_at_least(1)
    )
    keep_bytes: int = setting(
        "How many bytes of virtual environments are kept in the cache.",
        default=50 * 1024**3,
        validator=_at_least(0),
    )
    install_seconds: float = setting(
        "Seconds that the installation of a run's dependencies may take.",
        default=1800.0,
        validator=_at_least(1),
    )
    python_downloads: bool = setting(
        "Let uv download a Python version that a source asks for and this machine does not have.",
        default=False,
    )
    uv: Path | None = setting(
        "The uv program; without it, the one that is installed with launchcore.", default=None
    )
    uv_env: Mapping[str, str] = setting(
        "Variables for uv: UV_DEFAULT_INDEX, UV_FIND_LINKS, UV_OFFLINE … (see uv's documentation).",
        factory=dict,
    )


@attrs.frozen(kw_only=True)
class ProcessConfig:
    """What a queue's owner decides: the queue's ``config``."""

    python: Python = setting(
        "`venv`: a virtual environment with the source's dependencies; `none`: whatever PATH has.",
        default=Python.VENV,
    )
    requirements: tuple[str, ...] = setting(
        "Files of the source that name its dependencies (requirements.txt, pyproject.toml …); "
        "without any, they are looked for.",
        default=(),
    )
    extras: tuple[str, ...] = setting(
        "Optional dependencies (extras) of the source's pyproject.toml to install too.", default=()
    )
    env: Mapping[str, str] = setting(
        "Variables that every run of this queue gets; a run's own come before them.", factory=dict
    )
    nice: int = setting(
        "How much lower than the agent's the priority of runs is: 0 to 19.",
        default=0,
        validator=attrs.validators.and_(attrs.validators.ge(0), attrs.validators.le(19)),
    )
