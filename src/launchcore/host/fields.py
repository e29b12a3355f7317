"""The fields of a settings class, as users write them: the ground under ``settings`` and ``schema``."""

from __future__ import annotations

import enum
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any

import attrs

from launchcore.host.names import fold


@attrs.frozen(kw_only=True)
class Field:
    """One setting: ``key`` is its spelling in YAML, ``type`` is resolved."""

    key: str
    name: str
    alias: str
    type: Any
    help: str
    attribute: attrs.Attribute[Any]

    @property
    def required(self) -> bool:
        return self.attribute.default is attrs.NOTHING

    def default(self) -> Any:
        """Its default; a factory is called. Only for a field that is not required."""
        default: Any = self.attribute.default
        if not isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            return default
        # A factory that looks at the instance has no value before there is one.
        return None if default.takes_self else default.factory()


@functools.cache
def fields_of(cls: type) -> Mapping[str, Field]:
    """The fields of a frozen attrs class, by the folded spelling of their key.

    :raises TypeError: it is no attrs class, its types cannot be resolved, or two keys are the same.
    """
    if not attrs.has(cls):
        raise TypeError(f"{cls.__name__} is not an attrs class; settings are frozen attrs classes")
    try:
        hints = typing.get_type_hints(cls)
    except NameError as error:
        raise TypeError(
            f"{cls.__name__}: {error}; the types of settings must be importable at run time"
        ) from None
    found: dict[str, Field] = {}
    for attribute in attrs.fields(cls):
        if not attribute.init:
            continue
        key = attribute.metadata.get("key") or attribute.name
        if fold(key) in found:
            raise TypeError(f"{cls.__name__}: two settings are called {key!r}")
        found[fold(key)] = Field(
            key=key,
            name=attribute.name,
            alias=attribute.alias or attribute.name,
            type=hints.get(attribute.name, Any),
            help=attribute.metadata.get("help", ""),
            attribute=attribute,
        )
    return found


def is_union(kind: Any) -> bool:
    """``X | Y`` in either spelling."""
    return typing.get_origin(kind) in (typing.Union, types.UnionType)


def choices(kind: type[enum.Enum]) -> dict[str, enum.Enum]:
    """What a user may write for an enumeration: values that are text, else the members' names."""
    return {member.value if isinstance(member.value, str) else member.name.lower(): member for member in kind}


def is_frozen(cls: type) -> bool:
    """Whether instances of an attrs class cannot be changed."""
    probe: Any = object.__new__(cls)
    names = [attribute.name for attribute in attrs.fields(cls)] or ["anything"]
    try:
        setattr(probe, names[0], None)
    except attrs.exceptions.FrozenInstanceError:
        return True
    except Exception:  # a setter of its own
        return False
    return False
