"""Logs of runs, live and complete, while streams end for all sorts of reasons."""

from __future__ import annotations

import itertools
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from launch_k8s import feed, tails
from launch_k8s.settings import RunConfig
from launch_k8s.testing.api_server import ApiServer
from launch_k8s.testing.scripted import Bench, wait_until

from launchcore.plugin import LaunchError, Phase, RunHandle

COUNT = "i=0; while [ $i -lt {} ]; do i=$((i+1)); echo line $i; done"


def counted(number: int) -> bytes:
    return b"".join(b"line %d\n" % index for index in range(1, number + 1))


def test_lines_come_while_it_runs(bench: Bench) -> None:
    with bench.watching():
        handle = bench.start("sh", "-c", "echo one; sleep 300")
        found = wait_until("a line", lambda: bench.runner.logs(handle, None, 1000).data)
    assert found == b"one\n"


@pytest.mark.slow
def test_streams_that_break_off_lose_and_repeat_nothing(bench: Bench) -> None:
    cut, reads = threading.Event(), itertools.count()

    def break_off() -> None:
        if next(reads) % 5 == 0 and not cut.is_set():
            bench.server.cut_streams()

    with bench.watching():
        script = "for i in 1 2 3 4 5 6 7 8; do " + COUNT.format(200) + "; sleep 0.1; done"
        handle = bench.start("sh", "-c", script)
        wait_until("it to run", lambda: Phase.RUNNING in bench.phases(handle))
        found, gaps = bench.log(handle, limit=300, between=break_off)
    assert found == counted(200) * 8
    assert gaps == []


def test_a_stream_that_ends_in_order_while_it_runs_is_opened_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "TOGETHER", 0.2)
    gate = bench.root / "gate"
    with bench.watching():
        bench.server.machine.held = lambda _: True
        handle = bench.start("sh", "-c", "true")
        pod = bench.pod(handle)["metadata"]["name"]
        log = bench.server.machine.begin_log("default", pod)
        running: dict[str, Any] = {"running": {"startedAt": "2027-01-15T08:00:00Z"}}
        status = {"name": "main", "restartCount": 0, "state": running}
        bench.server.store.set_status("pods", "default", pod, phase="Running", containerStatuses=[status])
        log.add(b"before\n", "2027-01-15T08:00:01.000000000Z")
        first = wait_until("a line", lambda: (it := bench.runner.logs(handle, None, 100)).data and it)
        log.end()  # as the kubelet does when it rotates
        wait_until("the stream's end", lambda: not bench.runner.logs(handle, first.cursor, 100).data)
        log.over = False
        log.add(b"after\n", "2027-01-15T08:00:01.000000000Z")
        rest = wait_until("more", lambda: bench.runner.logs(handle, first.cursor, 100).data)
    assert (first.data, rest) == (b"before\n", b"after\n")
    assert not gate.exists()


def test_an_api_server_that_is_away_only_delays(bench: Bench) -> None:
    with bench.watching():
        gate = bench.root / "gate"
        script = f"{COUNT.format(50)}; until [ -e {gate} ]; do sleep 0.02; done; {COUNT.format(50)}"
        handle = bench.start("sh", "-c", script)
        seen = wait_until("lines", lambda: (it := bench.runner.logs(handle, None, 100)).data and it)
        bench.server.stop()
        gate.touch()
        bench.server.start()
        rest, gaps = bench.log(handle, seen.cursor)
    assert seen.data + rest == counted(50) * 2
    assert gaps == []


@pytest.mark.slow
def test_a_megabyte_in_small_pieces_by_agents_that_come_and_go(bench: Bench) -> None:
    handle = bench.start("sh", "-c", "yes 'a line of some length, as they are' | head -n 30000")
    bench.end(handle)
    found, cursor, done = b"", None, False
    while not done:
        reader = bench.again()

        def read(reader: Any = reader, at: str | None = cursor) -> Any:
            batch = reader.logs(handle, at, 200_000)
            return batch if batch.data or batch.end else None

        batch = wait_until("more", read)
        found, cursor, done = found + batch.data, batch.cursor, batch.end
    assert found == b"a line of some length, as they are\n" * 30000


@pytest.mark.slow
def test_a_line_longer_than_the_limit_comes_in_parts(bench: Bench) -> None:
    handle = bench.start("sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end")
    bench.end(handle)
    assert bench.log(handle, limit=999)[0] == b"x" * 100000 + b"\nend\n"


def test_output_without_a_line_end_is_complete(bench: Bench) -> None:
    handle = bench.start("sh", "-c", "printf 'no end'")
    bench.end(handle)
    assert bench.log(handle)[0] == b"no end"


def test_a_run_without_output_has_an_end(bench: Bench) -> None:
    handle = bench.start("true")
    bench.end(handle)
    assert bench.log(handle) == (b"", [])


def test_what_is_lost_to_rotation_is_told(bench: Bench) -> None:
    handle = bench.start("sh", "-c", COUNT.format(100))
    bench.end(handle)
    first = wait_until("lines", lambda: (it := bench.runner.logs(handle, None, 50)).data and it)
    pod = bench.pod(handle)["metadata"]["name"]
    bench.server.machine.log("default", pod, None).rotate(10)
    rest, gaps = bench.log(handle, first.cursor, runner=bench.again())
    assert rest.endswith(b"line 100\n")
    assert len(gaps) == 1
    assert "rotated" in gaps[0]


def several(bench: Bench) -> RunHandle:
    """A run of two pods, whose logs a test writes."""
    bench.server.machine.pods_held = True
    config = RunConfig(manifest={"apiVersion": "batch/v1", "kind": "Job", "spec": {"completions": 2}})
    handle = bench.start("true", config=config)
    template = bench.job(handle)["spec"]["template"]
    owner = {"kind": "Job", "name": handle.data["name"], "uid": handle.data["uid"]}
    for index in (0, 1):
        name = f"{handle.data['name']}-{index}-abcde"
        labels = {
            **template["metadata"]["labels"],
            "batch.kubernetes.io/job-completion-index": str(index),
        }
        state = {"terminated": {"exitCode": 0, "finishedAt": "2027-01-15T08:00:09Z"}}
        status = {"name": "main", "restartCount": 0, "state": state}
        pod = {
            "metadata": {"name": name, "labels": labels, "ownerReferences": [owner]},
            "spec": template["spec"],
            "status": {"phase": "Succeeded", "containerStatuses": [status]},
        }
        bench.server.store.create("pods", "default", pod)
        log = bench.server.machine.begin_log("default", name)
        for number in range(3):
            log.add(b"hello %d\n" % number, f"2027-01-15T08:00:0{number}.000000000Z")
        log.end()
    condition = {"type": "Complete", "status": "True"}
    bench.server.store.set_status("jobs", "default", handle.data["name"], conditions=[condition])
    return handle


def test_several_pods_are_told_apart(bench: Bench) -> None:
    handle = several(bench)
    lines = bench.log(handle, limit=20)[0].splitlines()
    assert sorted(lines) == sorted(b"[%d] hello %d" % (pod, n) for pod in (0, 1) for n in range(3))
    for pod in (0, 1):
        mine = [line for line in lines if line.startswith(b"[%d] " % pod)]
        assert mine == sorted(mine)


def test_a_restarted_container_has_all_its_logs(bench: Bench) -> None:
    bench.server.machine.held = lambda _: True
    handle = bench.start("true")
    pod = bench.pod(handle)["metadata"]["name"]
    for start, words in enumerate((b"lost", b"first", b"second")):
        log = bench.server.machine.begin_log("default", pod, start)
        log.add(words + b"\n", f"2027-01-15T08:00:0{start}.000000000Z")
        log.end()
    ended = {"exitCode": 1, "startedAt": "2027-01-15T08:00:02Z", "finishedAt": "2027-01-15T08:00:03Z"}
    status = {
        "name": "main",
        "restartCount": 2,
        "state": {"terminated": ended},
        "lastState": {"terminated": ended},
    }
    bench.server.store.set_status("pods", "default", pod, phase="Failed", containerStatuses=[status])
    found, gaps = bench.log(handle)
    assert found == b"first\nsecond\n"
    assert gaps == [f"{pod}: the logs of earlier starts are gone"]


def test_the_log_of_an_init_container_that_failed(bench: Bench) -> None:
    bench.server.machine.held = lambda _: True
    handle = bench.start("true")
    pod = bench.pod(handle)["metadata"]["name"]
    log = bench.server.machine.begin_log("default", pod)
    log.add(b"no such bucket\n")
    log.end()
    ended = {"exitCode": 2, "finishedAt": "2027-01-15T08:00:03Z"}
    bench.server.store.set_status(
        "pods",
        "default",
        pod,
        phase="Failed",
        initContainerStatuses=[{"name": "fetch", "restartCount": 0, "state": {"terminated": ended}}],
        containerStatuses=[
            {"name": "main", "restartCount": 0, "state": {"waiting": {"reason": "PodInitializing"}}}
        ],
    )
    condition = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}
    bench.server.store.set_status("jobs", "default", handle.data["name"], conditions=[condition])
    assert bench.log(handle)[0] == b"no such bucket\n"


def test_more_runs_than_streams_are_read_in_turn(
    tmp_path: Path, server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails, "TURN", 0.1)
    monkeypatch.setattr(tails, "TURNS", 100.0)
    bench = Bench(tmp_path, server, log_streams=2)
    with bench.watching():
        handles = [bench.start("sh", "-c", f"echo run {number}; sleep 300") for number in range(5)]
        for number, handle in enumerate(handles):
            look = partial(bench.runner.logs, handle, None, 100)
            found = wait_until("its line", lambda look=look: look().data)  # type: ignore[misc]
            assert found == b"run %d\n" % number
        assert server.open_streams <= 2 + 2  # two watches, two logs


def test_logs_that_may_not_be_read_say_what_to_add(bench: Bench) -> None:
    bench.server.denied.add(("get", "pods/log"))
    handle = bench.start("echo", "hello")
    bench.end(handle)
    with pytest.raises(LaunchError, match="may not read logs") as caught:
        bench.log(handle)
    assert "pods/log" in (caught.value.hint or "")


def test_a_pod_that_was_removed_leaves_a_gap(bench: Bench) -> None:
    with bench.watching():
        handle = bench.start("sh", "-c", "echo hello")
        bench.wait_told(handle, Phase.SUCCEEDED)
        bench.server.store.remove("pods", "default", bench.pod(handle)["metadata"]["name"])
        found, gaps = bench.log(handle)
    assert found == b""
    assert len(gaps) == 1


def test_streams_are_closed_when_it_is_over_for_us(bench: Bench) -> None:
    with bench.watching():
        handle = bench.start("sh", "-c", "echo hello; sleep 300")
        wait_until("a line", lambda: bench.runner.logs(handle, None, 100).data)
        bench.runner.cleanup(handle)
    until = time.monotonic() + 20
    while any(thread.name == "kubernetes-logs" for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_line_that_is_split_between_two_files_is_one(bench: Bench) -> None:
    bench.server.machine.held = lambda _: True
    with bench.watching():
        handle = bench.start("true")
        pod = bench.pod(handle)["metadata"]["name"]
        log = bench.server.machine.begin_log("default", pod)
        status = {
            "name": "main",
            "restartCount": 0,
            "state": {"running": {"startedAt": "2027-01-15T08:00:00Z"}},
        }
        bench.server.store.set_status("pods", "default", pod, phase="Running", containerStatuses=[status])
        log.add(b"one\n", "2027-01-15T08:00:01.000000000Z")
        log.add(b"two an", "2027-01-15T08:00:01.500000000Z")
        log.end()
        first = wait_until("it", lambda: b"an" in (it := bench.runner.logs(handle, None, 100)).data and it)
        log.rotate(0)
        log.add(b"d a half\n", "2027-01-15T08:00:01.600000000Z")
        ended = {"exitCode": 0, "startedAt": "2027-01-15T08:00:00Z", "finishedAt": "2027-01-15T08:00:03Z"}
        status = {"name": "main", "restartCount": 0, "state": {"terminated": ended}}
        bench.server.store.set_status("pods", "default", pod, phase="Succeeded", containerStatuses=[status])
        rest, _ = bench.log(handle, first.cursor)
    assert first.data + rest == b"one\ntwo and a half\n"


def test_a_line_that_was_cut_on_its_way_is_read_on(bench: Bench) -> None:
    bench.server.machine.held = lambda _: True
    with bench.watching():
        handle = bench.start("true")
        pod = bench.pod(handle)["metadata"]["name"]
        log = bench.server.machine.begin_log("default", pod)
        status = {
            "name": "main",
            "restartCount": 0,
            "state": {"running": {"startedAt": "2027-01-15T08:00:00Z"}},
        }
        bench.server.store.set_status("pods", "default", pod, phase="Running", containerStatuses=[status])
        log.add(b"two an", "2027-01-15T08:00:01.500000000Z")
        log.end()
        first = wait_until("it", lambda: b"an" in (it := bench.runner.logs(handle, None, 100)).data and it)
        log.rotate(0)
        log.add(b"two and a half\n", "2027-01-15T08:00:01.500000000Z")
        log.over = False
        rest = wait_until("the rest", lambda: bench.runner.logs(handle, first.cursor, 100).data)
    assert first.data + rest == b"two and a half\n"
