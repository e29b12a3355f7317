"""An agent's numbers, in Prometheus' terms. The registry is the agent's own, not the process's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from launchcore.plugin import Claim, Outcome, StageEvent, hookimpl
from launchcore.telemetry.gauges import Gauges

STAGE_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0)
WAIT_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 43200.0)


class Metrics:
    """Counts what happens, and asks for the rest when it is asked."""

    def __init__(self, agent: str, look: Callable[[], Gauges]) -> None:
        self._registry = CollectorRegistry()
        self._claims = Counter(
            "launchcore_agent_claims",
            "Attempts that came to this agent.",
            ("queue", "adopted"),
            registry=self._registry,
        )
        self._waits = Histogram(
            "launchcore_agent_queue_wait_seconds",
            "From submission to the first claim.",
            ("queue",),
            buckets=WAIT_BUCKETS,
            registry=self._registry,
        )
        self._stages = Histogram(
            "launchcore_agent_stage_seconds",
            "How long a stage took.",
            ("stage", "result"),
            buckets=STAGE_BUCKETS,
            registry=self._registry,
        )
        self._ended = Counter(
            "launchcore_agent_attempts_ended",
            "Attempts that ended, by verdict and reason.",
            ("queue", "verdict", "reason"),
            registry=self._registry,
        )
        self._registry.register(_Looking(agent, look))

    @hookimpl
    def launch_observe(self, event: StageEvent) -> None:
        """Count the time of a stage that has ended."""
        if event.seconds is not None:
            self._stages.labels(event.stage.value, event.what).observe(event.seconds)

    def claimed(self, claim: Claim) -> None:
        """Count a claim, and how long its run had waited."""
        self._claims.labels(claim.queue, str(claim.adopted).lower()).inc()
        if claim.attempt == 1 and not claim.adopted:
            self._waits.labels(claim.queue).observe(max(0.0, claim.claimed_at - claim.submitted_at))

    def ended(self, claim: Claim, outcome: Outcome) -> None:
        """Count an end."""
        reason = outcome.failure.reason.value if outcome.failure else ""
        self._ended.labels(claim.queue, outcome.verdict.value, reason).inc()

    def close(self) -> None:
        """There is nothing to send."""

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self._registry)


class _Looking(Collector):
    """The gauges: read when somebody scrapes, and never kept."""

    def __init__(self, agent: str, look: Callable[[], Gauges]) -> None:
        self._agent = agent
        self._look = look

    def collect(self) -> Iterable[Metric]:
        now = self._look()
        info = GaugeMetricFamily("launchcore_agent_info", "Which agent this is.", labels=("agent",))
        info.add_metric([self._agent], 1)
        yield info
        yield _by("launchcore_agent_attempts", "Attempts in each state.", "state", now.attempts)
        if now.free is not None:
            yield GaugeMetricFamily("launchcore_agent_free_slots", "How many more it takes.", now.free)
        yield GaugeMetricFamily(
            "launchcore_agent_lease_age_seconds", "Since the leases were renewed.", now.renewed_age
        )
        yield GaugeMetricFamily(
            "launchcore_agent_queue_away_seconds", "Since the queue cannot be reached.", now.queue_away
        )
        yield GaugeMetricFamily("launchcore_agent_draining", "1: it takes no runs.", float(now.draining))
        yield _by(
            "launchcore_agent_watch_age_seconds",
            "Since a runner was last heard of, while it has runs.",
            "runner",
            now.watched_age,
        )


def _by(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=(label,))
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family
