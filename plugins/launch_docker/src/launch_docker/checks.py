"""What ``launch doctor`` says about Docker."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from typing import Any

import attrs

from launch_docker.engine import Engine
from launch_docker.errors import EngineAway, EngineError
from launch_docker.settings import Settings
from launchcore.plugin import Check, CheckResult, CheckVerdict, LaunchError

LITTLE_DISK = 10 << 30
"""Bytes: an ML image has several gigabytes."""


def checks(settings: Settings) -> Iterable[Check]:
    """The engine that the agent uses, asked with less patience."""
    quick = attrs.evolve(
        settings,
        connect_seconds=min(settings.connect_seconds, 3.0),
        answer_seconds=min(settings.answer_seconds, 10.0),
    )
    return (
        Check(name="docker", run=lambda: check_engine(quick)),
        Check(name="docker disk", run=lambda: check_disk(quick)),
    )


def check_engine(settings: Settings) -> CheckResult:
    """Where an engine was found, which one, and what is odd about it."""
    try:
        engine = Engine(settings)
    except LaunchError as error:
        return CheckResult(verdict=CheckVerdict.FAILED, detail=error.detail, hint=error.hint)
    where = f"{engine.endpoint.url} ({engine.endpoint.found})"
    try:
        info, version = engine.info(), engine.version()
    except EngineAway as error:
        return CheckResult(
            verdict=CheckVerdict.WARNING,
            detail=f"no engine answers at {where}: {error}",
            hint="start Docker, or set DOCKER_HOST; needed only for queues of type docker",
        )
    except (EngineError, LaunchError) as error:
        return CheckResult(verdict=CheckVerdict.FAILED, detail=f"the engine at {where} refuses: {error}")
    finally:
        engine.close()
    return describe(where, info, version)


def describe(where: str, info: dict[str, Any], version: dict[str, Any]) -> CheckResult:
    """Pure: one line about an engine."""
    parts = [str(each.get("Name", "")) for each in version.get("Components") or []]
    podman = any("podman" in part.lower() for part in parts)
    options = " ".join(map(str, info.get("SecurityOptions") or []))
    words = [
        f"{'Podman' if podman else 'Docker'} {version.get('Version')}",
        f"API {version.get('ApiVersion')}",
        f"at {where}",
        *(["rootless"] if "rootless" in options or info.get("Rootless") else []),
        f"{info.get('Driver')} on {info.get('DockerRootDir')}",
        f"{info.get('NCPU')} CPUs",
        f"{int(info.get('MemTotal') or 0) / (1 << 30):.1f} GiB",
    ]
    runtimes = sorted(info.get("Runtimes") or {})
    words += ["nvidia runtime"] if "nvidia" in runtimes else []
    if podman or info.get("LiveRestoreEnabled"):
        return CheckResult(verdict=CheckVerdict.OK, detail=", ".join(words))
    return CheckResult(
        verdict=CheckVerdict.OK,
        detail=", ".join(words),
        hint='a restart of the engine ends its containers; `"live-restore": true` in daemon.json keeps them',
    )


def check_disk(settings: Settings) -> CheckResult:
    """Free space where the engine keeps images, if that is this machine."""
    try:
        engine = Engine(settings)
    except LaunchError:
        return CheckResult(verdict=CheckVerdict.SKIPPED, detail="no engine answers")
    try:
        root = str(engine.info().get("DockerRootDir") or "")
    except (EngineAway, EngineError, LaunchError):
        return CheckResult(verdict=CheckVerdict.SKIPPED, detail="no engine answers")
    finally:
        engine.close()
    if engine.endpoint.socket is None or not os.access(root, os.F_OK):
        return CheckResult(verdict=CheckVerdict.SKIPPED, detail="the engine's disk cannot be seen from here")
    free = shutil.disk_usage(root).free
    detail = f"{free / (1 << 30):.1f} GiB free in {root}"
    if free < LITTLE_DISK:
        hint = "`docker system df` shows what takes the space; plugins.docker.prune keeps images small"
        return CheckResult(verdict=CheckVerdict.WARNING, detail=detail, hint=hint)
    return CheckResult(verdict=CheckVerdict.OK, detail=detail)
