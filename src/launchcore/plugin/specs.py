"""Descriptors: what a plugin offers, under which name, and what the core may assume about it.

Frozen data. ``create`` is called when the thing is used for the first time, and is the place to
import an SDK. Capabilities are fields, read by the pipeline and by the conformance suites alike; no
code asks for the class of another component.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeAlias

import attrs

from launchcore.plugin.checks import Check
from launchcore.plugin.claims import QueueClient
from launchcore.plugin.contributions import Given, Kind
from launchcore.plugin.protocols import Builder, Environment, Registry, Runner, Source
from launchcore.plugin.runs import QueueConfig
from launchcore.plugin.settings import NoSettings
from launchcore.plugin.values import RunPlan


@attrs.frozen(kw_only=True)
class Site:
    """Where a component works: the agent's own directories and name.

    ``state`` survives restarts of the agent, ``cache`` may be deleted at any time. ``owner`` is the
    value of the owner label on everything that this agent makes.
    """

    state: Path
    cache: Path
    owner: str
    host: str
    environment: Environment | None = None
    """The agent's environment; only for what says in its descriptor that it requires it."""


@attrs.frozen(kw_only=True)
class SourceSpec:
    """A source."""

    name: str
    """What a run says: ``source: {type: git}``."""
    summary: str
    """One line for ``launch plugins list``."""
    create: Callable[[Any, Site], Source]
    """Called with an instance of ``settings``."""
    settings: type = NoSettings
    fields: type = NoSettings
    """A frozen attrs class of what a run may say about it; the core checks a run's source with it."""
    fetches: bool = True
    """False: there is nothing to fetch, and ``fields`` has an ``image``."""
    aliases: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class BuilderSpec:
    """A builder."""

    name: str
    summary: str
    create: Callable[[Any, Site], Builder]
    settings: type = NoSettings
    applies: frozenset[Kind] = frozenset()
    """The kinds of contribution that it honours; any other is an error naming both."""
    pushes: bool = False
    """``build`` has already pushed; the push stage only looks up the digest."""
    stores: Callable[[Any], Sequence[str]] = lambda _settings: ()
    """URLs of the object stores that its builds read or write, from an instance of ``settings``; pure. The
    core asks the environment for access to them (:attr:`Given.access`)."""
    builds: bool = True
    """False: it cannot build anything (``none``); a run that needs an image and has none is refused."""
    aliases: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class RegistrySpec:
    """A registry."""

    name: str
    summary: str
    create: Callable[[Any, Site], Registry]
    settings: type = NoSettings
    repository: Callable[[Any], str | None] = lambda _settings: None
    """The repository that images go to, from an instance of ``settings``; pure."""
    owns: Callable[[str], bool] = lambda _repository: False
    """Whether a repository, with its host, is surely in this registry; pure. So ``builder.destination``
    alone is enough to choose it, and needs no ``registry``."""
    requires_environment: str | None = None
    """The name of the environment without which it cannot work; it is handed over as
    :attr:`Site.environment`."""
    remote: bool = True
    """False: images stay on the machine that built them."""
    aliases: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class EnvironmentSpec:
    """An environment."""

    name: str
    summary: str
    create: Callable[[Any, Site], Environment]
    settings: type = NoSettings
    aliases: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class RunnerSpec:
    """A runner."""

    name: str
    """What a queue's ``type`` says."""
    summary: str
    create: Callable[[Any, Site], Runner]
    """Called with an instance of ``settings``: the agent's, not the queue's."""
    settings: type = NoSettings
    """The agent's settings for this runner: ``plugins.<name>``."""
    config: type = NoSettings
    """A frozen attrs class for a queue's target configuration."""
    needs_image: bool = True
    """False: it executes the source tree itself."""
    applies: frozenset[Kind] = frozenset({Kind.ENV, Kind.LABEL})
    """The kinds of contribution that it honours; any other is an error naming both."""
    watches: bool = False
    """It pushes status changes; otherwise the core polls it."""
    immediate: bool = False
    """``start`` returns only when the object runs, so that starting and running are one write."""
    host_bound: bool = False
    """Only an agent on the same machine can adopt what it started."""
    own_logins: bool = False
    """Its backend pulls images with credentials of its own: registries are not asked for logins."""
    keeps_records: bool = False
    """Its backend keeps what has ended for good: cleanup removes what a run still uses, and
    :meth:`Runner.poll` and :meth:`Runner.find` know the end afterwards."""
    log_patience: float = 10.0
    """Seconds that the log of an ended run may take to say more, or to end."""
    render: Callable[[RunPlan, Given, Any], Sequence[str]] | None = None
    """What a start would create, as YAML documents in which secrets have names only. Pure: it asks nobody.
    The last argument is an instance of ``settings``. ``launch queue render`` prints it."""
    validate: Callable[[RunPlan, Given, Any], Sequence[str]] | None = None
    """Asks the backend whether it would take that, and creates nothing: what is wrong, one line each.
    A :class:`LaunchError`: the backend could not be asked."""
    checks: Callable[[Any], Iterable[Check]] = lambda _settings: ()
    """What ``launch doctor`` looks at, from an instance of ``settings``; they run later, one by one."""
    sample: Callable[[Any], AbstractContextManager[QueueConfig]] | None = None
    """A queue of this type for ``launch demo``, from an instance of ``settings``. Entering it makes what a
    small Python program without dependencies needs there, without network, or raises :class:`LaunchError`
    (why it cannot be had here). Leaving it removes that; it is not left when the demo's agent goes on."""
    watch_ages: Callable[[Any], Mapping[str, float]] | None = None
    """Of a runner that ``create`` has made: seconds since each of its watches was heard, by any name. The
    agent shows them among its metrics."""
    requires_environment: str | None = None
    aliases: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class QueueSpec:
    """A kind of queue service, chosen by the scheme of ``base_url``."""

    name: str
    summary: str
    schemes: tuple[str, ...]
    connect: Callable[[str, Any], QueueClient]
    """Called with the URL and an instance of ``settings``."""
    settings: type = NoSettings
    local: bool = False
    """Whoever submits has this machine's account."""
    aliases: tuple[str, ...] = ()


Spec: TypeAlias = SourceSpec | BuilderSpec | RegistrySpec | EnvironmentSpec | RunnerSpec | QueueSpec
"""Any descriptor."""
