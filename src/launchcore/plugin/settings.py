"""Typed settings: one frozen attrs class gives validation, JSON Schema, ``--help`` and the docs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import attrs

T = TypeVar("T")


def setting(
    help: str,
    *,
    default: Any = attrs.NOTHING,
    factory: Callable[[], Any] | None = None,
    validator: Callable[[Any, Any, Any], Any] | None = None,
    key: str | None = None,
) -> Any:
    """A documented field of a settings class.

    :param help: one sentence, with the unit; required, since it is all that a user reads.
    :param default: leave out to make the setting required.
    :param validator: an attrs validator; its message becomes the error's text after the key's path.
    :param key: the spelling in YAML; without it, the field's name. ``-`` and ``_`` are the same.

    >>> @attrs.frozen(kw_only=True)
    ... class Settings:
    ...     grace: float = setting("Seconds between asking and forcing a stop.", default=10.0)
    >>> Settings().grace
    10.0
    """
    if not help.strip():
        raise ValueError("a setting needs help")
    metadata = {"help": help, "key": key}
    if factory is not None:
        return attrs.field(factory=factory, validator=validator, metadata=metadata)
    return attrs.field(default=default, validator=validator, metadata=metadata)


@attrs.frozen(kw_only=True)
class NoSettings:
    """For a descriptor that has nothing to set."""
