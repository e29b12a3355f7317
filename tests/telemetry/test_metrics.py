"""What a scrape of an agent says."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator

import attrs
import pytest
from prometheus_client.parser import text_string_to_metric_families

from launchcore.config.address import address
from launchcore.plugin import (
    Claim,
    Failure,
    Fault,
    LaunchError,
    Lease,
    Outcome,
    QueueConfig,
    Reason,
    RunSpec,
    RunState,
    SourceRef,
    Stage,
    StageEvent,
    Verdict,
)
from launchcore.telemetry.gauges import Gauges
from launchcore.telemetry.metrics import Metrics
from launchcore.telemetry.serving import Endpoint, healthy

QUIET = Gauges(attempts={}, free=None, renewed_age=1.0, queue_away=0.0, watched_age={}, draining=False)
CLAIM = Claim(
    lease=Lease(attempt_id="r1-1", token="t", expires_at=0.0),
    run_id="r1",
    attempt=1,
    queue="gpu",
    queue_config=QueueConfig(type="process"),
    spec=RunSpec(source=SourceRef(type="image", fields={})),
    state=RunState.CLAIMED,
    submitted_at=100.0,
    claimed_at=103.0,
)
OOM = Failure(reason=Reason.OUT_OF_MEMORY, fault=Fault.USER, stage=Stage.EXECUTE, detail="too much")


def samples(text: bytes) -> dict[tuple[str, ...], float]:
    """Samples by name and the values of their labels, sorted."""
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


class Scene:
    """An agent that is where the test says it is."""

    def __init__(self) -> None:
        self.now = QUIET
        self.metrics = Metrics("one", lambda: self.now)
        self.endpoint = Endpoint(
            "127.0.0.1:0", metrics=self.metrics.text, look=lambda: self.now, lease_seconds=30.0
        )

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(self.endpoint.url + path, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def scrape(self) -> dict[tuple[str, ...], float]:
        status, body = self.get("/metrics")
        assert status == 200
        return samples(body)


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.endpoint.close()


def test_claims_and_ends_are_counted_by_queue_and_reason(scene: Scene) -> None:
    scene.metrics.claimed(CLAIM)
    scene.metrics.claimed(attrs.evolve(CLAIM, adopted=True))
    scene.metrics.ended(CLAIM, Outcome(verdict=Verdict.SUCCEEDED))
    scene.metrics.ended(CLAIM, Outcome(verdict=Verdict.FAILED, failure=OOM))
    found = scene.scrape()

    assert found["launchcore_agent_claims_total", "false", "gpu"] == 1
    assert found["launchcore_agent_claims_total", "gpu", "true"] == 1
    assert found["launchcore_agent_attempts_ended_total", "", "gpu", "succeeded"] == 1
    assert found["launchcore_agent_attempts_ended_total", "failed", "gpu", "out_of_memory"] == 1
    assert found["launchcore_agent_queue_wait_seconds_sum", "gpu"] == 3.0


def test_stages_are_timed_when_they_end(scene: Scene) -> None:
    for what, seconds in (("started", None), ("finished", 2.0), ("failed", 5.0)):
        event = StageEvent(
            run_id="r1",
            attempt_id="r1-1",
            queue="gpu",
            stage=Stage.BUILD,
            what=what,
            at=1.0,
            seconds=seconds,
        )
        scene.metrics.launch_observe(event)
    found = scene.scrape()

    assert found["launchcore_agent_stage_seconds_sum", "build", "finished"] == 2.0
    assert found["launchcore_agent_stage_seconds_count", "build", "failed"] == 1
    assert ("launchcore_agent_stage_seconds_count", "build", "started") not in found


def test_gauges_are_read_at_the_moment_of_the_scrape(scene: Scene) -> None:
    assert ("launchcore_agent_free_slots",) not in scene.scrape()
    scene.now = attrs.evolve(
        QUIET, attempts={"running": 3}, free=2, watched_age={"docker": 0.5}, queue_away=7.0
    )
    found = scene.scrape()

    assert found["launchcore_agent_attempts", "running"] == 3
    assert found["launchcore_agent_free_slots",] == 2
    assert found["launchcore_agent_watch_age_seconds", "docker"] == 0.5
    assert found["launchcore_agent_queue_away_seconds",] == 7.0
    assert found["launchcore_agent_lease_age_seconds",] == 1.0


def test_a_hostile_queue_name_stays_a_label(scene: Scene) -> None:
    queue = 'x"} 1\nlaunchcore_agent_claims_total{queue="y'
    scene.metrics.claimed(attrs.evolve(CLAIM, queue=queue))

    assert scene.scrape()["launchcore_agent_claims_total", "false", queue] == 1


def test_it_is_ready_until_it_drains_or_loses_its_queue(scene: Scene) -> None:
    assert scene.get("/readyz") == (200, b"ok\n")
    scene.now = attrs.evolve(QUIET, draining=True)
    assert scene.get("/readyz") == (503, b"draining\n")
    scene.now = attrs.evolve(QUIET, queue_away=1.0)
    assert scene.get("/readyz") == (503, b"the queue is away\n")
    assert scene.get("/healthz") == (200, b"ok\n")


def test_it_is_unhealthy_when_leases_are_not_renewed_and_the_queue_is_there(scene: Scene) -> None:
    scene.now = attrs.evolve(QUIET, renewed_age=91.0)
    assert scene.get("/healthz") == (503, b"leases are not renewed\n")
    assert healthy(attrs.evolve(scene.now, queue_away=91.0), lease_seconds=30.0)


def test_nothing_else_is_there(scene: Scene) -> None:
    assert scene.get("/../etc/passwd")[0] == 404


def test_an_address_that_is_taken_is_one_clear_line(scene: Scene) -> None:
    taken = scene.endpoint.url.removeprefix("http://")
    with pytest.raises(LaunchError, match=f"metrics_address: cannot listen on {taken}") as error:
        Endpoint(taken, metrics=scene.metrics.text, look=lambda: QUIET, lease_seconds=30.0)
    assert error.value.hint


@pytest.mark.parametrize("text", ["", "9464", "host", "host:", "host:x", "host:70000", "a b:1", "[x]:1"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        address(text)
