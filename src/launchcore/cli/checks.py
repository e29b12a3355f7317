"""What ``launch doctor`` looks at itself. Plugins add theirs (git, uv …) through ``launch_checks``."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from launchcore.cli.times import size
from launchcore.plugin import Check, CheckResult, CheckVerdict

if TYPE_CHECKING:
    from launchcore.config.load import LoadedConfig
    from launchcore.config.values import AgentConfig
    from launchcore.host import Host

LOW_DISK, TIGHT_DISK = 200_000_000, 2_000_000_000
"""Bytes free: below the first nothing works, below the second not for long."""

OK, WARNING, FAILED = CheckVerdict.OK, CheckVerdict.WARNING, CheckVerdict.FAILED


def python() -> CheckResult:
    """The interpreter that launchcore runs on."""
    return CheckResult(verdict=OK, detail=f"{platform.python_version()} at {sys.executable}")


def clock(directory: Path) -> CheckResult:
    """Whether the clock of the file system and ours agree: leases are told in time."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        apart = abs(Path(file.name).stat().st_mtime - time.time())
    if time.time() < 1_700_000_000:
        return CheckResult(verdict=FAILED, detail="the clock is years behind", hint="set it, or start NTP")
    if apart > 5:
        detail = f"the file system of {directory} is {apart:.0f} s apart from this machine"
        return CheckResult(verdict=WARNING, detail=detail, hint="start NTP on both machines")
    return CheckResult(verdict=OK, detail="this machine and its file system agree")


def directory_works(directory: Path) -> CheckResult:
    """Whether a directory of ours can be written to, and has room."""
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=directory) as file:
            file.write(b"launch doctor")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        detail = f"{directory}: {error.strerror or error}"
        return CheckResult(
            verdict=FAILED, detail=detail, hint="mend its permissions, or configure another one"
        )
    free = shutil.disk_usage(directory).free
    detail = f"{directory}, {size(free)} free"
    if free < LOW_DISK:
        return CheckResult(verdict=FAILED, detail=detail, hint="make room on this file system")
    if free < TIGHT_DISK:
        return CheckResult(verdict=WARNING, detail=detail, hint="make room on this file system soon")
    return CheckResult(verdict=OK, detail=detail)


def queue_works(config: AgentConfig) -> CheckResult:
    """Whether the queue service answers; and an embedded one takes a durable write: a queue made and
    removed again."""
    from launchcore.cli.service import open_configured
    from launchcore.queues.connect import is_http

    if is_http(config.base_url):
        from launchcore.cli.service_checks import service_answers

        return service_answers(config)
    base_url = config.base_url
    began = time.perf_counter()
    queues = open_configured(config)
    try:
        from launchcore.plugin import QueueConfig

        name = f"doctor-{uuid.uuid4().hex[:12]}"
        queues.create_queue(name, QueueConfig(type="doctor", description="made by launch doctor"))
        queues.delete_queue(name, force=True)
        count = len(queues.list_queues())
    finally:
        queues.close()
    took = (time.perf_counter() - began) * 1000
    return CheckResult(verdict=OK, detail=f"{base_url}: {count} queues; opened and written in {took:.0f} ms")


def agents_live(config: AgentConfig) -> CheckResult:
    """Whether somebody serves the queues."""
    from launchcore.cli.service import open_configured

    queues = open_configured(config)
    try:
        found = list(queues.list_queues())
    finally:
        queues.close()
    if not found:
        hint = "launch queue create default --type process"
        return CheckResult(verdict=WARNING, detail="there are no queues yet", hint=hint)
    alone = [queue.name for queue in found if not queue.agents]
    if alone:
        detail = f"no agent serves {', '.join(alone[:5])}"
        return CheckResult(verdict=WARNING, detail=detail, hint=f"launch agent --queue {alone[0]}")
    return CheckResult(verdict=OK, detail=f"all {len(found)} queues are served")


def configuration(loaded: LoadedConfig, host: Host) -> CheckResult:
    """Whether everything that the configuration names is there and has good settings."""
    from launchcore.config.check import check_config

    problems = check_config(loaded.config, host)
    where = str(loaded.file) if loaded.file else "the defaults (there is no file)"
    if problems:
        detail = "; ".join(f"{problem.path}: {problem.message}" for problem in problems)
        return CheckResult(verdict=FAILED, detail=f"{where}: {detail}", hint="launch config check")
    return CheckResult(verdict=OK, detail=where)


def plugins(host: Host) -> CheckResult:
    """Whether all plugins that are installed could be used."""
    bad = [record for record in host.plugins if record.state.value in ("failed", "refused")]
    if bad:
        detail = "; ".join(f"{record.label} is {record.state.value}: {record.reason}" for record in bad)
        return CheckResult(verdict=WARNING, detail=detail, hint=f"launch plugins show {bad[0].name}")
    return CheckResult(verdict=OK, detail=f"{len(host.plugins)} plugins")


def environment(config: AgentConfig, host: Host) -> CheckResult:
    """Who the agent is in its environment, or why it is nobody there."""
    from launchcore.plugin import LaunchError, Site
    from launchcore.stages.workshop import Workshop

    site = Site(
        state=Path(config.state_dir), cache=Path(config.cache_dir), owner="doctor", host=platform.node()
    )
    try:
        made = Workshop(host, config, site).environment(config.environment)
    except LaunchError as error:  # its settings: the check of the configuration has told it
        return CheckResult(verdict=CheckVerdict.SKIPPED, detail=error.detail, hint=error.hint)
    return CheckResult(verdict=OK, detail=made.object.verify())


def core_checks(loaded: LoadedConfig, host: Host) -> Iterator[Check]:
    """Our own checks, in the order in which they are shown."""
    config = loaded.config
    yield Check(name="Python", run=python)
    yield Check(name="configuration", run=lambda: configuration(loaded, host))
    yield Check(name="plugins", run=lambda: plugins(host))
    yield Check(name="state directory", run=lambda: directory_works(Path(config.state_dir)))
    yield Check(name="cache directory", run=lambda: directory_works(Path(config.cache_dir)))
    yield Check(name="environment", run=lambda: environment(config, host))
    yield Check(name="clock", run=lambda: clock(Path(config.state_dir)))
    yield Check(name="queue", run=lambda: queue_works(config))
    yield Check(name="agents", run=lambda: agents_live(config))


def runner_checks(loaded: LoadedConfig, host: Host) -> Iterator[tuple[str, Check]]:
    """``(plugin, check)`` of all runners, each with the agent's settings for it (``plugins.<name>``)."""
    from launchcore.host.settings import SettingsError, structure
    from launchcore.plugin import RunnerSpec

    for offer in host.catalog.offers(RunnerSpec):
        spec = offer.spec
        raw = {} if host.has_own_section(spec.name) else loaded.config.plugins.get(spec.name, {})
        try:
            found = tuple(spec.checks(structure(spec.settings, raw, path=f"plugins.{spec.name}")))
        except SettingsError:
            continue  # the check of the configuration tells it
        except Exception as error:
            text = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            failed = CheckResult(verdict=FAILED, detail=text, hint=f"launch plugins show {offer.entry}")
            found = (Check(name=f"{spec.name} runner", run=lambda failed=failed: failed),)  # type: ignore[misc]
        yield from ((offer.plugin, check) for check in found)


def run_check(check: Check) -> CheckResult:
    """Run one check; whatever it raises is a failed check."""
    from launchcore.plugin import LaunchError, QueueUnavailable

    try:
        return check.run()
    except LaunchError as error:
        return CheckResult(verdict=FAILED, detail=error.detail, hint=error.hint)
    except QueueUnavailable as error:
        hint = "start it with launch server; look at base_url, the network and the proxies on the way"
        return CheckResult(verdict=FAILED, detail=f"the queue service is away: {error}", hint=hint)
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        return CheckResult(verdict=FAILED, detail=f"{type(error).__name__}: {text}")
