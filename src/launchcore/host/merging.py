"""All contributions to one build or run → one :class:`Given`, with who gave what.

Pure. Nothing is dropped in silence, and nobody overwrites anybody: two plugins that disagree are an
error that names both, and so is a kind of contribution that the receiver does not apply.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from launchcore.plugin import (
    Contribution,
    CredentialHelper,
    EnvVar,
    Given,
    Kind,
    Label,
    LaunchError,
    Login,
    Reason,
    Secret,
    SecretFile,
    Volume,
)

RESERVED_LABELS = "launchcore."
"""Labels that begin so are the core's own: by them it finds what is its, and removes it."""


def merge(
    contributions: Iterable[tuple[str, Contribution]],
    *,
    applies: frozenset[Kind],
    receiver: str,
    fixed: Mapping[str, str],
) -> Given:
    """Merge ``(plugin, contribution)`` pairs, in their order.

    :param applies: the kinds that the receiver honours, from its descriptor.
    :param receiver: who gets them, for the errors: ``runner slurm (launch-slurm 1.0)``.
    :param fixed: the environment that queue and run say; it wins over every contribution.
    :raises LaunchError: ``plugin_error``, naming both sides. Values are never shown.
    """
    merged = _Merged()
    for plugin, one in contributions:
        if one.kind not in applies:
            if one.optional:
                continue
            raise _error(plugin, f"{plugin} contributes {_describe(one)}, which {receiver} cannot apply")
        _check_label(plugin, one)
        merged.add(plugin, one, fixed)
    return merged.given()


class _Merged:
    """What has been accepted so far, by what it decides."""

    def __init__(self) -> None:
        self.values: dict[str, Contribution] = {}
        self.origin: dict[str, str] = {}
        self.env_of: dict[str, str] = {}
        """Variable → the key of what sets it: an EnvVar, or a file with ``path_env``."""

    def add(self, plugin: str, one: Contribution, fixed: Mapping[str, str]) -> None:
        key = _key(one)
        variable = _variable(one)
        if variable is not None and variable in fixed:
            if isinstance(one, EnvVar):
                return
            one, variable = _without_variable(one), None
        if variable is not None:
            holder = self.env_of.setdefault(variable, key)
            if holder != key:
                raise self.disagree(plugin, holder, f"the variable {variable}")
        before = self.values.get(key)
        if before is None:
            self.values[key], self.origin[key] = one, plugin
            return
        both = _agreed(before, one)
        if both is None:
            raise self.disagree(plugin, key, _describe(one))
        self.values[key] = both

    def disagree(self, plugin: str, key: str, what: str) -> LaunchError:
        first = self.origin[key]
        return _error(plugin, f"{first} and {plugin} disagree about {what}", both=first)

    def given(self) -> Given:
        def those(*kinds: type) -> Any:
            return tuple(value for value in self.values.values() if isinstance(value, kinds))

        return Given(
            env=those(EnvVar),
            files=those(SecretFile),
            logins=those(Login, CredentialHelper),
            labels=those(Label),
            volumes=those(Volume),
            origin=dict(self.origin),
        )


def _key(one: Contribution) -> str:
    """What a contribution decides, as :attr:`Given.origin` writes it."""
    match one:
        case Login() | CredentialHelper():
            return f"login:{one.host}"
        case Volume():
            return f"volume:{one.path}"
        case _:
            return f"{one.kind.value}:{one.name}"


def _variable(one: Contribution) -> str | None:
    match one:
        case EnvVar():
            return one.name
        case SecretFile():
            return one.path_env
        case _:
            return None


def _without_variable(one: Contribution) -> Contribution:
    return attrs.evolve(one, path_env=None) if isinstance(one, SecretFile) else one


def _agreed(first: Contribution, second: Contribution) -> Contribution | None:
    """Both as one, if they say the same: required wins over optional, secret over plain."""
    if _plain(first) != _plain(second):
        return None
    chosen = second if isinstance(first, EnvVar) and not isinstance(first.value, Secret) else first
    return attrs.evolve(chosen, optional=first.optional and second.optional)


def _plain(one: Contribution) -> Contribution:
    """Without what does not count as a disagreement; the texts of secrets are compared as secrets."""
    match one:
        case EnvVar():
            value = one.value if isinstance(one.value, Secret) else Secret(one.value)
            return attrs.evolve(one, value=value, optional=False)
        case Login():
            return attrs.evolve(one, expires_at=None, optional=False)
        case _:
            return attrs.evolve(one, optional=False)


def _check_label(plugin: str, one: Contribution) -> None:
    if isinstance(one, Label) and one.name.startswith(RESERVED_LABELS):
        raise _error(plugin, f"{plugin} contributes {_describe(one)}; labels of that name are the core's own")


def _describe(one: Contribution) -> str:
    match one:
        case EnvVar():
            return f"the variable {one.name}"
        case SecretFile():
            return f"the file {one.name!r}"
        case Login() | CredentialHelper():
            return f"a login to {one.host!r}"
        case Label():
            return f"the label {one.name!r}"
        case Volume():
            return f"a volume at {one.path!r}"


def _error(plugin: str, detail: str, both: str | None = None) -> LaunchError:
    others = f" or {both}" if both and both != plugin else ""
    error = LaunchError(
        detail, reason=Reason.PLUGIN_ERROR, hint=f"change the settings of {plugin}{others}, or disable it"
    )
    error.plugin = plugin
    return error
