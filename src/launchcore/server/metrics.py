"""Counters of this process, and numbers of the store, as Prometheus reads them.

Counters are each server's own (Prometheus adds them up); what the store says is the same from all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from launchcore.plugin import Claim, Update
from launchcore.store.numbers import Numbers

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_STAGE_SECONDS = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 14400, 86400)
_REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """All metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "launchcore_http_requests", "Requests, by what they were answered with.",
            ("method", "path", "status"), registry=registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "launchcore_http_request_seconds", "Time of requests that wait for nothing.",
            ("method", "path"), registry=registry, buckets=_REQUEST_SECONDS,
        )  # fmt: skip
        self._claims = Counter(
            "launchcore_claims", "Attempts that were leased to agents.", ("queue", "kind"), registry=registry
        )
        self._ended = Counter(
            "launchcore_attempts_ended", "Attempts that ended, and why.",
            ("verdict", "reason", "fault"), registry=registry,
        )  # fmt: skip
        self._stages = Histogram(
            "launchcore_stage_seconds", "How long the stages of runs took.",
            ("stage", "what"), registry=registry, buckets=_STAGE_SECONDS,
        )  # fmt: skip
        self._waited = Histogram(
            "launchcore_queue_wait_seconds", "Time from the submission of a run to its first claim.",
            ("queue",), registry=registry, buckets=_STAGE_SECONDS,
        )  # fmt: skip
        self.waiting = Gauge("launchcore_long_polls", "Requests that wait for something.", registry=registry)
        self.sweeps = Counter("launchcore_sweeps", "Sweeps over all queues.", ("result",), registry=registry)
        self.sweep_lag = Gauge(
            "launchcore_sweep_lag_seconds", "How much later than planned the last sweep began.",
            registry=registry,
        )  # fmt: skip
        self.swept_at = Gauge(
            "launchcore_last_sweep_timestamp_seconds", "When the last sweep ended.", registry=registry
        )

    def request(self, method: str, path: str, status: int, seconds: float | None) -> None:
        """A request that was answered; ``path`` is the endpoint's, so that there are few."""
        self._requests.labels(method, path, str(status)).inc()
        if seconds is not None:
            self._seconds.labels(method, path).observe(seconds)

    def claimed(self, claims: Iterable[Claim]) -> None:
        for claim in claims:
            self._claims.labels(claim.queue, "adopted" if claim.adopted else "new").inc()
            if claim.attempt == 1 and not claim.adopted:
                waited = max(0.0, claim.claimed_at - claim.submitted_at)
                self._waited.labels(claim.queue).observe(waited)

    def written(self, update: Update) -> None:
        """A fenced write that is stored."""
        for event in update.events:
            if event.seconds is not None and event.seconds >= 0 and event.what in _WHAT:
                self._stages.labels(event.stage.value, event.what).observe(event.seconds)
        if update.outcome is not None:
            failure = update.outcome.failure
            reason, fault = (failure.reason.value, failure.fault.value) if failure else ("", "")
            self._ended.labels(update.outcome.verdict.value, reason, fault).inc()

    def render(self, numbers: Numbers) -> bytes:
        """All of them as text."""
        store = CollectorRegistry()
        store.register(_Store(numbers))
        return generate_latest(self._registry) + generate_latest(store)


_WHAT = frozenset({"finished", "failed", "skipped"})


class _Store(Collector):
    """What the store says now."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers

    def collect(self) -> Iterator[Metric]:
        numbers = self._numbers
        for name, help_text, column in (
            ("launchcore_queue_runs", "Runs that wait, by queue.", "queued"),
            ("launchcore_queue_running", "Runs that hold a slot, by queue.", "running"),
            ("launchcore_queue_oldest_seconds", "Age of the run that has waited for longest.", "oldest"),
        ):
            family = GaugeMetricFamily(name, help_text, labels=["queue"])
            for queue in numbers.queues:
                family.add_metric([queue.name], float(getattr(queue, column)))
            yield family
        yield GaugeMetricFamily("launchcore_agents", "Agents that are alive.", value=numbers.agents)
        yield GaugeMetricFamily(
            "launchcore_leases_expired", "Live attempts whose lease nobody renews.", value=numbers.expired
        )
        yield GaugeMetricFamily(
            "launchcore_lease_overdue_seconds",
            "Time since the lease expired that nobody has renewed for longest.",
            value=numbers.overdue,
        )
