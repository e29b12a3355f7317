"""What a run says about its source: read strictly, since it is a stranger's."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import attrs

from launchcore.builtin.text import shown
from launchcore.plugin import LaunchError, Reason, SourceRef

T = TypeVar("T")
Validator = Callable[[Any, Any, Any], None]

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def read_fields(cls: type[T], source: SourceRef) -> T:
    """Make ``cls`` from the fields of a reference.

    :raises LaunchError: ``source_failed``: an unknown field, a missing or an unfit one.
    """
    known = {field.name: field for field in attrs.fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(set(source.fields) - set(known)):
        raise _unfit(source, f"{shown(unknown[0])} is not a known field; known: {', '.join(sorted(known))}")
    for name, field in known.items():
        if field.default is attrs.NOTHING and name not in source.fields:
            raise _unfit(source, f"'{name}' is required")
    try:
        return cls(**source.fields)
    except (TypeError, ValueError) as error:
        raise _unfit(source, str(error)) from error


def _unfit(source: SourceRef, detail: str) -> LaunchError:
    return LaunchError(f"source {source.type}: {detail}", reason=Reason.SOURCE_FAILED)


def check_text(name: str, value: object, *, longest: int) -> str:
    """One line of text of a sane length, that no program takes for an option."""
    if not isinstance(value, str) or not value:
        raise ValueError(f"'{name}' must be a text, and not empty")
    if len(value) > longest:
        raise ValueError(f"'{name}' must have at most {longest} characters, not {len(value)}")
    if not value.isprintable():
        raise ValueError(f"'{name}' must be without control characters: {shown(value)}")
    if value.startswith("-"):
        raise ValueError(f"'{name}' must not begin with '-': {shown(value)}")
    return value


def a_digest(_: Any, attribute: Any, value: Any) -> None:
    """Validator: ``sha256:`` and 64 hex digits; ``None`` where that is the default."""
    if value is None and attribute.default is None:
        return
    if not (isinstance(value, str) and _DIGEST.fullmatch(value)):
        raise ValueError(
            f"'{attribute.name}' must be 'sha256:' and 64 hex digits, not {shown(str(value), 80)}"
        )


def a_subdir(_: Any, attribute: Any, value: Any) -> None:
    """Validator: a relative path that stays inside, or ``None``."""
    if value is None:
        return
    check_text(attribute.name, value, longest=1024)
    if value.startswith("/") or "\\" in value or ".." in value.split("/"):
        raise ValueError(
            f"'{attribute.name}' must be a path inside the source, like 'a/b', not {shown(value)}"
        )


def a_truth(_: Any, attribute: Any, value: Any) -> None:
    """Validator: true or false."""
    if value is not True and value is not False:
        raise ValueError(f"'{attribute.name}' must be true or false")


def positive(_: Any, attribute: Any, value: Any) -> None:
    """Validator for settings: more than nothing."""
    if value <= 0:
        raise ValueError(f"'{attribute.name}' must be more than 0")


def tidy(subdir: str | None) -> str | None:
    """``./a//b/`` → ``a/b``; nothing at all → ``None``."""
    parts = [part for part in (subdir or "").split("/") if part not in ("", ".")]
    return "/".join(parts) or None


def enter(root: Path, subdir: str | None) -> Path:
    """The directory ``subdir`` of a fetched tree.

    :raises LaunchError: ``source_failed``: it is not there, no directory, or a link that leaves the tree.
    """
    wanted = tidy(subdir)
    if wanted is None:
        return root
    path = root / wanted
    if not path.resolve().is_relative_to(root.resolve()):
        raise LaunchError(f"subdir {shown(wanted)} leads out of the source", reason=Reason.SOURCE_FAILED)
    if path.is_dir():
        return path
    there = sorted(one.name for one in root.iterdir() if one.is_dir())
    known = ", ".join(shown(name, 40) for name in there[:8]) or "none"
    what = "is a file, not a directory" if path.exists() else "does not exist in the source"
    raise LaunchError(
        f"subdir {shown(wanted)} {what}",
        reason=Reason.SOURCE_FAILED,
        hint=f"directories at the top: {known}{', …' if len(there) > 8 else ''}",
    )


def variant(base: str, **details: object) -> str:
    """An identity for ``base`` with details that change the tree; ``base`` alone when there are none.

    >>> variant("git:4b1d", subdir=None)
    'git:4b1d'
    """
    said = {name: value for name, value in details.items() if value is not None}
    if not said:
        return base
    text = json.dumps(said, sort_keys=True)
    return f"{base}+{hashlib.sha256(text.encode()).hexdigest()[:16]}"
