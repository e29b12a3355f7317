"""One image, and several who need it: on a scripted API server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from launch_k8s.testing.api_server import ApiServer
from launch_k8s.testing.scripted import wait_until
from launch_kaniko.cluster import STALE
from launch_kaniko.order import job_name
from launch_kaniko.testing.scripted import left
from launch_kaniko.testing.scripted_place import ScriptedPlace, done_job, held_job, image_name, refused, slow

from launchcore.plugin import (
    Cancelled,
    LaunchError,
    Reason,
)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[ScriptedPlace]:
    with ApiServer(token="t0ken") as server:
        made = ScriptedPlace(tmp_path, server)
        yield made
        made.pool.shutdown(cancel_futures=True)


# -- one image, several who need it ------------------------------------------------------------------


def test_two_agents_build_it_once(site: ScriptedPlace) -> None:
    one, _ = site.begin(site.plan(slow(1.0)))
    site.running()
    elsewhere = site.bench.again(site.bench.elsewhere())
    other, told = site.begin(site.plan(slow(1.0)), builder=elsewhere)
    images = [one.result(60), other.result(60)]
    assert sorted(image.cached for image in images) == [False, True]
    assert images[0].ref == images[1].ref
    assert len(site.registry.pushes) == 1
    assert any("builds it already" in line for line in told.lines)
    assert "begun" in told.lines
    assert left(site.server) == []


def test_who_waits_begins_anew_when_the_first_gives_up(site: ScriptedPlace) -> None:
    one, context = site.begin(site.plan(slow(3.0)))
    site.running()
    other, told = site.begin(site.plan(slow(3.0)), builder=site.bench.again(site.bench.elsewhere()))
    wait_until("the other waits", lambda: any("builds it already" in line for line in told.lines))
    context.cancel()
    with pytest.raises(Cancelled):
        one.result(60)
    assert not other.result(60).cached
    assert left(site.server) == []


def test_who_waits_takes_nothing_along_when_it_gives_up(site: ScriptedPlace) -> None:
    one, _ = site.begin(site.plan(slow(2.0)))
    site.running()
    plan = site.plan(slow(2.0))
    other, told = site.begin(plan)
    wait_until("the other waits", lambda: any("builds it already" in line for line in told.lines))
    told.cancel()
    with pytest.raises(Cancelled):
        other.result(60)
    site.bench.again().cleanup(plan.attempt_id)
    assert not one.result(60).cached


def test_both_hear_of_a_failure(site: ScriptedPlace) -> None:
    files = {"Dockerfile": "FROM base\nRUN say begun\nRUN sleep 1\nRUN exit 4\n"}
    one, _ = site.begin(site.plan(files))
    site.running()
    other, _ = site.begin(site.plan(files))
    for future in (one, other):
        with pytest.raises(LaunchError, match=r"RUN exit 4: exit code 4") as caught:
            future.result(60)
        assert caught.value.reason is Reason.BUILD_FAILED
    assert left(site.server) == []


def test_the_next_attempt_of_a_run_takes_over(site: ScriptedPlace) -> None:
    """Its agent was killed in mid-build: what it has begun goes on, and belongs to the new attempt."""
    plan = site.plan(slow(2.0), run_id="r", attempt_id="r-1")
    _, first = site.begin(plan)
    site.running()
    again = site.plan(
        slow(2.0), run_id="r", attempt_id="r-2", labels={**plan.labels, "launchcore.run": plan.run_id}
    )
    future, told = site.begin(again)
    wait_until("it waits", lambda: any("builds it already" in line for line in told.lines))
    site.bench.again().cleanup("r-1")
    assert future.result(60).ref.digest
    assert len(site.registry.pushes) == 1
    del first


def test_a_job_of_a_stranger_is_left_alone(site: ScriptedPlace) -> None:
    plan = site.plan()
    name = image_name(site, plan)
    stranger = {"metadata": {"name": job_name(name), "labels": {}}, "spec": {"suspend": True}}
    site.store.create("jobs", "default", stranger)
    error = refused(site, plan)
    assert "does not build" in error.detail
    assert left(site.server) == [f"jobs/{job_name(name)}"]


def test_an_image_that_was_removed_is_built_again(site: ScriptedPlace) -> None:
    """Although the Job that had built it is still there."""
    plan = site.plan()
    site.store.create("jobs", "default", done_job(image_name(site, plan), "Complete"))
    assert not site.bench.build(plan).cached
    assert left(site.server) == []


def test_an_old_failure_is_tried_again(site: ScriptedPlace) -> None:
    plan = site.plan()
    site.store.create("jobs", "default", done_job(image_name(site, plan), "Failed"))
    assert not site.bench.build(plan).cached


def test_a_held_job_is_let_go_by_who_comes_next(site: ScriptedPlace) -> None:
    """Whoever made it died before it had its Secret."""
    plan = site.plan()
    site.store.create("jobs", "default", held_job(site, plan))
    assert site.bench.build(plan).ref.digest
    assert left(site.server) == []


def test_a_job_that_has_been_held_for_long_is_begun_anew(site: ScriptedPlace) -> None:
    """Its Secret may be as old."""
    plan = site.plan()
    job = held_job(site, plan)
    site.store.create("jobs", "default", job)
    old = datetime.now(UTC) - timedelta(seconds=STALE + 60)
    key = ("jobs", "default", job["metadata"]["name"])
    site.store.things[key]["metadata"]["creationTimestamp"] = f"{old:%Y-%m-%dT%H:%M:%SZ}"
    uid = site.store.things[key]["metadata"]["uid"]
    changes = site.store.history
    assert not site.bench.build(plan).cached
    assert [each.what for each in changes if each.thing["metadata"].get("uid") == uid][-1] == "DELETED"


def test_a_build_that_everybody_deletes_is_given_up(site: ScriptedPlace) -> None:
    stop = threading.Event()

    def delete() -> None:
        while not stop.is_set():
            for job in site.jobs():
                site.store.delete("jobs", "default", job["metadata"]["name"])
            time.sleep(0.01)

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        error = refused(site, site.plan(slow(30.0)))
    finally:
        stop.set()
        thread.join()
    assert "removed 5 times" in error.detail
    assert error.retryable
