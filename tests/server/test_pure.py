"""The parts without a server: limits, problems, strict reading."""

from __future__ import annotations

import attrs
import msgspec
import pytest

from launchcore.plugin import (
    AgentNameTaken,
    Cancelled,
    Fault,
    LaunchError,
    LeaseLost,
    QueueDamaged,
    QueueUnavailable,
    Reason,
)
from launchcore.queues.base import NotFound
from launchcore.queues.http_problems import error_of
from launchcore.server import problems, strict
from launchcore.server.limits import Buckets
from launchcore.server.problems import Refusal
from launchcore.store.engine import Conflict


def test_a_bucket_lets_in_what_its_rate_says() -> None:
    now = [0.0]
    buckets = Buckets(rate=2.0, burst=3.0, clock=lambda: now[0])

    assert [buckets.take("a") for _ in range(3)] == [0, 0, 0]
    assert buckets.empty("a")
    assert buckets.take("a") == pytest.approx(0.5)
    assert buckets.take("b") == 0
    now[0] += 0.5
    assert buckets.take("a") == 0
    assert buckets.take("a") > 0
    now[0] += 1000
    assert [buckets.take("a") > 0 for _ in range(4)] == [False, False, False, True]


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (NotFound("no queue 'x'", hint="did you mean y?"), 404, "not_found"),
        (LeaseLost("gone"), 409, "lease_lost"),
        (AgentNameTaken("taken"), 409, "agent_name_taken"),
        (Cancelled("cancelled by bob"), 409, "cancelled"),
        (QueueDamaged("damaged", hint="mend it"), 500, "damaged"),
        (LaunchError("no", reason=Reason.CONFIG_ERROR, hint="do this"), 422, "config_error"),
        (LaunchError("no archive", reason=Reason.SOURCE_FAILED, fault=Fault.USER), 404, "config_error"),
        (LaunchError("away", reason=Reason.INFRASTRUCTURE, retryable=True), 503, "unavailable"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_error_comes_out_as_it_went_in(error: Exception, status: int, kind: str) -> None:
    """Through the document, to what the client raises."""
    found = problems.of(error).problem
    sent = msgspec.json.decode(msgspec.json.encode(found), type=type(found))

    assert (sent.status, sent.type) == (status, problems.URN + kind)
    if kind != "unavailable":
        again = error_of(sent)
        assert type(again) is type(error)
        assert str(again) == str(error)
        if isinstance(error, LaunchError) and isinstance(again, LaunchError):
            assert (again.reason, again.fault, again.hint) == (error.reason, error.fault, error.hint)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (QueueUnavailable("away"), 503),
        (strict.Malformed("at $.x"), 400),
        (Refusal("too_large", "x"), 413),
        (Conflict("unique"), 409),
        (ZeroDivisionError("secret"), 500),
        (LaunchError("core", fault=Fault.CORE), 500),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_has_a_status(error: Exception, status: int) -> None:
    found = problems.of(error)

    assert found.problem.status == status
    assert "secret" not in found.body.decode()
    assert "unique" not in found.body.decode()
    assert ("Retry-After" in found.headers) == (status == 503)


def test_a_problem_is_one_line_of_text() -> None:
    found = problems.problem("invalid", "two\nlines\ud800 and\x1b[31m")

    assert "\n" not in found.detail
    assert msgspec.json.encode(found)


@attrs.frozen(kw_only=True)
class Inner:
    number: int = 0


@attrs.frozen(kw_only=True)
class Outer:
    name: str
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    named: dict[str, Inner] = attrs.field(factory=dict)


def test_a_body_is_read_strictly() -> None:
    raw = b'{"name": "x", "inner": {"number": 1}, "many": [{"number": 2}], "named": {"a": {"number": 3}}}'
    value = strict.body(Outer, raw)
    assert (value.inner, value.many, value.named) == (
        Inner(number=1),
        (Inner(number=2),),
        {"a": Inner(number=3)},
    )
    assert strict.body(Outer, b'{"name": "x", "inner": null}').inner is None


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        (b'{"name": "x", "typo": 1}', "'typo' - at `$`"),
        (b'{"name": "x", "inner": {"typo": 1}}', "'typo' - at `$.inner`"),
        (b'{"name": "x", "many": [{"typo": 1}]}', "'typo' - at `$.many[...]`"),
        (b'{"name": "x", "named": {"a": {"typo": 1}}}', "'typo' - at `$.named[...]`"),
        (b'{"name": "x", "inner": {"number": 99999999999999999999}}', "number"),
        (b'{"name": "x", "inner": {"number": true}}', "$.inner.number"),
        (b'{"name": "x", "inner": {"number": "1"}}', "$.inner.number"),
        (b'{"inner": null}', "name"),
        (b'{"name": "x"} more', ""),
    ],
)
def test_what_is_wrong_is_told_with_its_path(raw: bytes, where: str) -> None:
    with pytest.raises(strict.Malformed) as caught:
        strict.body(Outer, raw)
    assert where in str(caught.value)
