"""A run's stages as spans of OpenTelemetry, sent by OTLP over HTTP.

All attempts of a run are in one trace, whoever made them: the trace's id is made of the run's id, and
the id of an attempt's span of the attempt's. So two agents that know nothing of each other write one
picture. Headers and certificates come from the standard ``OTEL_EXPORTER_OTLP_*`` variables.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Mapping

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from launchcore.plugin import Claim, Failure, Outcome, StageEvent, hookimpl

_FLUSH_MS = 5_000


def trace_id(run_id: str) -> int:
    """The trace of a run: 128 bits of its id's hash."""
    return int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:16])


def span_id(attempt_id: str) -> int:
    """The span of an attempt: 64 bits of its id's hash."""
    return int.from_bytes(hashlib.sha256(attempt_id.encode()).digest()[:8])


class Traces:
    """Makes a span of each stage, and one of each attempt around them."""

    def __init__(self, endpoint: str, *, agent: str, version: str) -> None:
        self._who = Resource.create(
            {"service.name": "launchcore-agent", "service.instance.id": agent, "service.version": version}
        )
        self._processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint))
        self._began: dict[str, float] = {}
        self._lock = threading.Lock()

    @hookimpl
    def launch_observe(self, event: StageEvent) -> None:
        """A stage that has ended is a span below its attempt's."""
        if event.seconds is None:
            return
        self._send(
            event.stage.value,
            run=event.run_id,
            own=secrets.randbits(64) or 1,
            parent=span_id(event.attempt_id),
            began=event.at - event.seconds,
            ended=event.at,
            attributes={"launchcore.queue": event.queue, "launchcore.attempt": event.attempt_id},
            failure=event.failure,
        )

    def claimed(self, claim: Claim) -> None:
        """Remember when the attempt began; the time that its run waited is a span of its own."""
        with self._lock:
            self._began[claim.attempt_id] = time.time()
        if claim.attempt == 1 and not claim.adopted:
            self._send(
                "queued",
                run=claim.run_id,
                own=secrets.randbits(64) or 1,
                parent=None,
                began=claim.submitted_at,
                ended=claim.claimed_at,
                attributes={"launchcore.queue": claim.queue},
                failure=None,
            )

    def ended(self, claim: Claim, outcome: Outcome) -> None:
        """The attempt's own span, from when this agent had it."""
        with self._lock:
            began = self._began.pop(claim.attempt_id, claim.claimed_at)
        self._send(
            f"attempt {claim.attempt}",
            run=claim.run_id,
            own=span_id(claim.attempt_id),
            parent=None,
            began=began,
            ended=time.time(),
            attributes={
                "launchcore.run": claim.run_id,
                "launchcore.attempt": claim.attempt_id,
                "launchcore.queue": claim.queue,
                "launchcore.type": claim.queue_config.type,
                "launchcore.verdict": outcome.verdict.value,
            },
            failure=outcome.failure,
        )

    def close(self) -> None:
        """Send what is left."""
        self._processor.force_flush(_FLUSH_MS)
        self._processor.shutdown()  # type: ignore[no-untyped-call]

    def _send(
        self,
        name: str,
        *,
        run: str,
        own: int,
        parent: int | None,
        began: float,
        ended: float,
        attributes: Mapping[str, str],
        failure: Failure | None,
    ) -> None:
        status = Status(StatusCode.OK)
        if failure is not None:
            status = Status(StatusCode.ERROR, f"{failure.reason.value}: {failure.detail}")
        span = ReadableSpan(
            name,
            context=_context(run, own),
            parent=None if parent is None else _context(run, parent),
            resource=self._who,
            attributes=dict(attributes),
            kind=SpanKind.INTERNAL,
            status=status,
            start_time=int(began * 1e9),
            end_time=int(max(began, ended) * 1e9),
        )
        self._processor.on_end(span)


def _context(run: str, span: int) -> SpanContext:
    return SpanContext(
        trace_id=trace_id(run), span_id=span, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)
    )
