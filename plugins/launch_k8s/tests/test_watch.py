"""Following runs while the API server does what API servers do."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from launch_k8s import watch
from launch_k8s.testing.api_server import ApiServer
from launch_k8s.testing.scripted import Bench, wait_until

from launchcore.plugin import Phase, RunHandle, RunStatus

WATCHES = ("WATCH jobs", "WATCH pods")


def lasting(bench: Bench) -> tuple[RunHandle, Path]:
    """A run that runs until the file is there, followed from its start."""
    gate = bench.root / "gate"
    handle = bench.start("sh", "-c", f"until [ -e {gate} ]; do sleep 0.02; done; exit 3")
    bench.wait_told(handle, Phase.RUNNING)
    return handle, gate


def check_end(bench: Bench, handle: RunHandle) -> None:
    assert bench.wait_told(handle, Phase.FAILED).exit_code == 3
    assert Phase.GONE not in bench.phases(handle)
    assert [phase for phase in bench.phases(handle) if phase.final] == [Phase.FAILED]


def reopened(bench: Bench, before: int) -> bool:
    return all(bench.server.requests[name] > before for name in WATCHES)


def test_all_changes_are_told_in_order(bench: Bench) -> None:
    with bench.watching():
        handle = bench.start("true")
        bench.wait_told(handle, Phase.SUCCEEDED)
    assert bench.phases(handle) == sorted(
        bench.phases(handle), key=[Phase.PENDING, Phase.RUNNING, Phase.SUCCEEDED].index
    )


def test_streams_that_break_off_are_opened_again(bench: Bench) -> None:
    with bench.watching():
        handle, gate = lasting(bench)
        bench.server.cut_streams()
        gate.touch()
        check_end(bench, handle)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [{"code": 410}, {"event": 410}, {"event": 500, "reason": "InternalError"}])
def test_a_version_that_was_forgotten_is_no_end(bench: Bench, fault: dict[str, Any]) -> None:
    with bench.watching():
        handle, gate = lasting(bench)
        bench.server.faults.add("GET", "/", watch=True, times=4, **fault)
        bench.server.store.compact()
        bench.server.cut_streams()
        gate.touch()
        check_end(bench, handle)


@pytest.mark.slow
@pytest.mark.parametrize("code", [429, 500])
def test_a_storm_of_refusals_is_waited_out(bench: Bench, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "AGAIN", (0.05, 0.5))
    with bench.watching():
        handle, gate = lasting(bench)
        storm = bench.server.faults.add("GET", "/", times=8, code=code, headers={"Retry-After": "0"})
        bench.server.cut_streams()
        gate.touch()
        check_end(bench, handle)
    assert storm.hits == storm.times


@pytest.mark.slow
def test_a_silent_stream_is_not_believed(
    tmp_path: Path, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SILENCE", 1.0)
    bench = Bench(tmp_path, server)
    with bench.watching():
        handle, gate = lasting(bench)
        server.silent = True  # the streams stay open, and nothing comes on them any more
        before = min(server.requests[name] for name in WATCHES)
        gate.touch()
        wait_until("the streams to be opened again", lambda: reopened(bench, before))
        server.silent = False
        check_end(bench, handle)


def test_versions_that_go_back_do_not_hide_the_end(bench: Bench) -> None:
    with bench.watching():
        handle, gate = lasting(bench)
        bench.server.store.rewind(20)
        gate.touch()
        check_end(bench, handle)


def test_repeated_events_are_told_once(bench: Bench) -> None:
    bench.server.repeat_events = True
    with bench.watching():
        handle, gate = lasting(bench)
        gate.touch()
        check_end(bench, handle)
    phases = bench.phases(handle)
    assert len(phases) == len(set(phases))


def test_an_api_server_that_is_away_is_not_an_end(bench: Bench) -> None:
    with bench.watching():
        handle, gate = lasting(bench)
        bench.server.stop()
        unseen: RunStatus = wait_until(
            "blindness", lambda: (it := bench.status(handle)).phase is Phase.UNKNOWN and it
        )
        assert "cannot be asked" in (unseen.message or "")
        gate.touch()
        bench.server.start()
        check_end(bench, handle)


def test_a_run_is_adopted_by_another_agent(bench: Bench) -> None:
    handle = bench.start("sh", "-c", "exit 3")
    other = bench.again()
    with bench.watching(other):
        other.poll([handle])
        check_end(bench, handle)


def test_many_are_adopted_with_a_few_requests(bench: Bench) -> None:
    handles = [bench.start("true") for _ in range(10)]
    for handle in handles:
        bench.end(handle)
    other = bench.again()
    with bench.watching(other):
        bench.server.requests.clear()
        other.poll(handles)
        for handle in handles:
            bench.wait_told(handle, Phase.SUCCEEDED)
    assert sum(bench.server.requests.values()) <= 6


def test_what_somebody_deletes_is_gone(bench: Bench) -> None:
    with bench.watching():
        handle, _ = lasting(bench)
        options = {"propagationPolicy": "Background", "gracePeriodSeconds": 1}
        bench.server.store.delete("jobs", "default", handle.data["name"], options)
        bench.server.store.delete("pods", "default", bench.pod(handle)["metadata"]["name"], options)
        found = wait_until("its end", lambda: [it for it in bench.phases(handle) if it.final])
    assert found == [Phase.GONE]


@pytest.mark.slow
def test_what_was_deleted_while_nobody_looked_is_gone(bench: Bench) -> None:
    with bench.watching():
        handle, gate = lasting(bench)
        bench.server.stop()
        gate.touch()
        name = handle.data["name"]
        wait_until("the end", lambda: bench.job(handle)["status"].get("conditions"))
        bench.server.store.delete("jobs", "default", name, {"propagationPolicy": "Background"})
        bench.server.store.compact()
        bench.server.start()
        found = wait_until("its end", lambda: [it for it in bench.phases(handle) if it.final])
    assert found == [Phase.GONE]


def test_a_bug_in_a_handler_ends_no_watch(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put = bench.runner.observer.cache.put_main
    broken: list[int] = []

    def bad(*args: Any) -> None:
        if not broken:
            broken.append(1)
            raise ZeroDivisionError
        put(*args)

    monkeypatch.setattr(bench.runner.observer.cache, "put_main", bad)
    with caplog.at_level(logging.ERROR, "launchcore.kubernetes"), bench.watching():
        handle, gate = lasting(bench)
        gate.touch()
        check_end(bench, handle)
    assert "could not be used" in caplog.text


def test_the_number_of_watches_does_not_depend_on_the_number_of_runs(bench: Bench) -> None:
    with bench.watching():
        handles = [bench.start("true") for _ in range(12)]
        for handle in handles:
            bench.wait_told(handle, Phase.SUCCEEDED)
        assert {name: bench.server.requests[name] for name in WATCHES} == dict.fromkeys(WATCHES, 1)
        assert bench.server.requests["GET jobs"] == bench.server.requests["GET pods"] == 1


def test_a_run_costs_at_most_five_requests(bench: Bench) -> None:
    with bench.watching():
        bench.wait_told(bench.start("true"), Phase.SUCCEEDED)  # the watches are open
        marked = sum(bench.server.requests.values())
        handle = bench.start("sh", "-c", "echo hello")
        bench.wait_told(handle, Phase.SUCCEEDED)
        assert bench.log(handle)[0] == b"hello\n"
        bench.runner.cleanup(handle)
        assert sum(bench.server.requests.values()) - marked <= 3


def test_ages_of_the_watches_are_told(bench: Bench) -> None:
    with bench.watching():
        lasting(bench)
        ages = bench.runner.watch_ages()
    assert sorted(ages) == ["default/jobs", "default/pods"]
    assert all(0 <= age < 60 for age in ages.values())


def test_nothing_goes_on_after_the_block(bench: Bench) -> None:
    import threading

    with bench.watching():
        lasting(bench)
    names = {thread.name for thread in threading.enumerate() if thread.is_alive()}
    assert not {name for name in names if name.startswith(("kubernetes-watch", "kubernetes-tick"))}
