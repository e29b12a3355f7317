"""Name → what a plugin offers under it, for each kind. Selection is by name and by nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

import attrs

from launchcore.host.discovery import PluginRecord
from launchcore.host.names import fold, nearest, show
from launchcore.plugin import (
    BuilderSpec,
    EnvironmentSpec,
    LaunchError,
    QueueSpec,
    Reason,
    RegistrySpec,
    RunnerSpec,
    SourceSpec,
    Spec,
)

S = TypeVar("S", SourceSpec, BuilderSpec, RegistrySpec, EnvironmentSpec, RunnerSpec, QueueSpec)

KINDS: Final[Mapping[type, str]] = MappingProxyType(
    {
        SourceSpec: "source",
        BuilderSpec: "builder",
        RegistrySpec: "registry",
        EnvironmentSpec: "environment",
        RunnerSpec: "runner",
        QueueSpec: "queue service",
    }
)

WITH_SECTIONS: Final = (SourceSpec, RunnerSpec, QueueSpec)
"""The kinds whose settings are ``plugins.<name>``; those of the others stand beside their ``type``."""

INSTALL_HINTS: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
    {
        ("builder", "docker"): "docker",
        ("builder", "kaniko"): "kaniko",
        ("environment", "aws"): "aws",
        ("queue service", "http"): "server",
        ("queue service", "https"): "server",
        ("registry", "ecr"): "aws",
        ("registry", "oci"): "docker",
        ("runner", "docker"): "docker",
        ("runner", "k8s"): "k8s",
        ("runner", "kubernetes"): "k8s",
        ("runner", "sagemaker"): "sagemaker",
    }
)
"""What first-party plugins offer → the extra that brings it. The only place with product names."""


@attrs.frozen(kw_only=True)
class Offer(Generic[S]):
    """A descriptor, and who offers it."""

    spec: S
    plugin: str
    """``"distribution version"``, for errors."""
    entry: str = ""
    """The plugin's own name."""


class Catalog:
    """Everything that the loaded plugins offer.

    A name that two plugins offer belongs to neither: asking for it is an error that names both.
    Every method with a name raises :class:`LaunchError` (``config_error``) when there is no such
    offer, with who offers what and what to do.
    """

    def __init__(self, offers: Iterable[Offer[Any]] = (), records: Sequence[PluginRecord] = ()) -> None:
        self._offers = tuple(sorted(offers, key=lambda offer: (offer.spec.name, offer.plugin)))
        self._records = tuple(records)
        self._by_name: dict[tuple[str, str], list[Offer[Any]]] = {}
        self._by_scheme: dict[str, list[Offer[QueueSpec]]] = {}
        for offer in self._offers:
            for name in (offer.spec.name, *offer.spec.aliases):
                self._by_name.setdefault((_kind(offer), name), []).append(offer)
            for scheme in getattr(offer.spec, "schemes", ()):
                self._by_scheme.setdefault(scheme.lower(), []).append(offer)

    def source(self, name: str) -> Offer[SourceSpec]:
        return self._find(SourceSpec, name)

    def builder(self, name: str) -> Offer[BuilderSpec]:
        return self._find(BuilderSpec, name)

    def registry(self, name: str) -> Offer[RegistrySpec]:
        return self._find(RegistrySpec, name)

    def environment(self, name: str) -> Offer[EnvironmentSpec]:
        return self._find(EnvironmentSpec, name)

    def runner(self, name: str) -> Offer[RunnerSpec]:
        return self._find(RunnerSpec, name)

    def queue(self, name: str) -> Offer[QueueSpec]:
        return self._find(QueueSpec, name)

    def queue_for(self, url: str) -> Offer[QueueSpec]:
        """The queue service for a ``base_url``, by its scheme."""
        scheme = url.partition("://")[0].lower() if "://" in url else ""
        found = self._by_scheme.get(scheme, [])
        if len(found) == 1:
            return found[0]
        if found:
            raise self._clash(f"the URL scheme {scheme!r}", found)
        known = ", ".join(f"{one}://" for one in sorted(self._by_scheme)) or "none"
        # Only the scheme: the rest of a URL may hold a password.
        raise _error(
            f"no installed plugin serves {show(scheme + '://') if scheme else 'a base_url without a scheme'};"
            f" installed schemes: {known}",
            self._advice("queue service", scheme, self._by_scheme),
        )

    def registry_of(self, repository: str) -> Offer[RegistrySpec]:
        """The registry that a repository is in, by its name alone: the one that owns it, else ``oci``."""
        owners = [offer for offer in self.offers(RegistrySpec) if offer.spec.owns(repository)]
        if len(owners) > 1:
            raise self._clash(f"the repository {show(repository)}", owners)
        return owners[0] if owners else self.registry("oci")

    def offers(self, kind: type[S]) -> tuple[Offer[S], ...]:
        """All offers of one kind, by name."""
        return tuple(offer for offer in self._offers if type(offer.spec) is kind)

    def all(self) -> tuple[Offer[Any], ...]:
        """All offers of all kinds, by name."""
        return self._offers

    def find_all(self, name: str) -> tuple[Offer[Any], ...]:
        """Whatever is offered under a name, of any kind."""
        return tuple(offer for offer in self._offers if name in (offer.spec.name, *offer.spec.aliases))

    def clashes(self) -> Iterator[tuple[str, Offer[Any], Offer[Any]]]:
        """``("runner 'hello'", mine, theirs)`` for every name that two offer, from both sides."""
        named = [(f"{kind} {name!r}", found) for (kind, name), found in self._by_name.items()]
        named += [(f"scheme {scheme!r}", found) for scheme, found in self._by_scheme.items()]
        for what, found in named:
            yield from ((what, mine, theirs) for mine in found for theirs in found if mine is not theirs)

    def _find(self, kind: type[S], name: str) -> Offer[S]:
        word = KINDS[kind]
        found = self._by_name.get((word, name), [])
        if len(found) == 1:
            return found[0]
        if found:
            raise self._clash(f"the {word} {name!r}", found)
        listed = ", ".join(f"{offer.spec.name} ({offer.plugin})" for offer in self.offers(kind)) or "none"
        plural = {"registry": "registries"}.get(word, f"{word}s")
        failed = self._unloaded(name)
        if failed:
            raise _error(
                f"no loaded plugin offers the {word} {name!r}; the plugin {failed.name!r} ({failed.label})"
                f" is {failed.state.value}: {failed.reason}; installed {plural}: {listed}",
                f"launch plugins show {failed.name}",
            )
        names = [known for (its, known) in self._by_name if its == word]
        raise _error(
            f"no installed plugin offers the {word} {show(name)}; installed {plural}: {listed}",
            self._advice(word, name, names),
        )

    def _unloaded(self, name: str) -> PluginRecord | None:
        """A plugin that probably offers this name, but is not in use."""
        wanted = fold(name)
        for record in self._records:
            distribution = fold(record.distribution)
            short = distribution.removeprefix("launchcore_").removeprefix("launch_")
            if wanted and not record.loaded and wanted in (fold(record.name), distribution, short):
                return record
        return None

    def _advice(self, word: str, name: str, names: Iterable[str]) -> str:
        """What to do about an unknown name: install, or write another."""
        known = [*names, *(hidden for kind, hidden in INSTALL_HINTS if kind == word)]
        near = name if name in known else nearest(name, known)
        if near is None:
            return f"`launch plugins list` shows every {word} there is"
        extra = INSTALL_HINTS.get((word, near)) if (word, near) not in self._by_name else None
        install = f"pip install 'launchcore[{extra}]'"
        if near == name:
            return install
        return f"write {near!r}, and {install}" if extra else f"write {near!r}"

    def _clash(self, what: str, found: Sequence[Offer[Any]]) -> LaunchError:
        labels = list(dict.fromkeys(offer.plugin for offer in found))
        entries = list(dict.fromkeys(offer.entry for offer in found))
        return _error(
            f"{what} is offered by {' and '.join(labels)}; it belongs to neither",
            f"disable one of them: disabled_plugins: [{' or '.join(entries)}]",
        )


def _kind(offer: Offer[Any]) -> str:
    return KINDS[type(offer.spec)]


def describe(spec: Spec) -> str:
    """``runner process``: how lists show an offer."""
    return f"{KINDS[type(spec)]} {spec.name}"


def _error(detail: str, hint: str) -> LaunchError:
    return LaunchError(detail, reason=Reason.CONFIG_ERROR, hint=hint)
