"""Values of ours to stored JSON text, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from launchcore.plugin import (
    Failure,
    Fault,
    LaunchError,
    QueueConfig,
    Reason,
    RunHandle,
    RunSpec,
    SourceRef,
)
from launchcore.queues.base import JobDefinition

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode
decode_spec = msgspec.json.Decoder(RunSpec).decode
decode_config = msgspec.json.Decoder(QueueConfig).decode
decode_job = msgspec.json.Decoder(JobDefinition).decode
decode_usage = msgspec.json.Decoder(dict[str, float]).decode
decode_names = msgspec.json.Decoder(tuple[str, ...]).decode
_decode_failure = msgspec.json.Decoder(Failure).decode
_decode_handle = msgspec.json.Decoder(RunHandle).decode
_decode_source = msgspec.json.Decoder(SourceRef).decode


def encode_asked(value: object, what: str) -> str:
    """What a user hands in, as JSON text.

    :raises LaunchError: ``config_error`` (user): it holds what JSON cannot.
    """
    try:
        return _encode(value).decode()
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise LaunchError(
            f"{what} holds a value that cannot be stored: {text(str(error))}", reason=Reason.CONFIG_ERROR
        ) from None


def encode(value: object) -> str:
    """What an agent reports, as JSON text.

    It comes from logs and backends, and must never keep an end from being written: characters that
    are no text are replaced.
    """
    try:
        return _encode(value).decode()
    except UnicodeEncodeError:
        return _encode(_clean(msgspec.to_builtins(value))).decode()


def optional(value: object | None) -> str | None:
    """:func:`encode`, and ``None`` for ``None``."""
    return None if value is None else encode(value)


def encode_usage(usage: Mapping[str, float]) -> str | None:
    """Finite numbers only; ``None`` when there are none."""
    finite = {name: number for name, number in usage.items() if math.isfinite(number)}
    return encode(finite) if finite else None


def decode_failure(stored: str | None) -> Failure | None:
    return None if stored is None else _decode_failure(stored)


def decode_handle(stored: str | None) -> RunHandle | None:
    return None if stored is None else _decode_handle(stored)


def decode_source(stored: str | None) -> SourceRef | None:
    return None if stored is None else _decode_source(stored)


def text(value: str, limit: int = 4000) -> str:
    """A text that any database takes: at most ``limit`` characters, no lone surrogates, no NUL."""
    return value[:limit].encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def user_error(detail: str, hint: str | None = None) -> LaunchError:
    """A user's mistake: an unknown name, an impossible request."""
    return LaunchError(detail, reason=Reason.CONFIG_ERROR, fault=Fault.USER, hint=hint)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return text(value, limit=len(value))
    if isinstance(value, dict):
        return {_clean(key): _clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    return value
