"""Logs and events over HTTP: in pieces, and as they come."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

from tests.server.world import PATIENCE, Caller, World, agent

TEXT = "first\nsecond: größer \U0001f680\nthird\n".encode()


@attrs.define
class Running:
    """A run whose agent is us."""

    worker: Caller
    reader: Caller
    run: str
    lease: dict[str, Any]
    offset: int = 0

    def log(self, data: bytes) -> None:
        append = {"offset": self.offset, "data": base64.b64encode(data).decode(), "cursor": None}
        assert self.worker.write(self.lease, log=append) is None
        self.offset += len(data)

    def end(self) -> None:
        assert self.worker.write(self.lease, outcome={"verdict": "succeeded", "exit_code": 0}) is None

    def stream(self, path: str, last: str | None = None) -> Iterator[dict[str, Any]]:
        headers = {} if last is None else {"Last-Event-ID": last}
        answer = self.reader.get(
            f"/v1/runs/{self.run}/{path}", headers=headers, stream=True, timeout=PATIENCE
        )
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        found: dict[str, Any] = {}
        for line in answer.iter_lines(chunk_size=1):
            if line:
                name, _, value = line.decode().partition(": ")
                found[name] = json.loads(value) if name == "data" else value
            elif found:
                yield found
                found = {}


@pytest.fixture
def running(world: World) -> Running:
    worker, reader = world.caller("agent:*"), world.caller("read")
    run = world.caller("submit").submit()
    worker.register(agent())
    return Running(worker, reader, run, worker.one(agent())["lease"])


def test_a_piece_of_a_log(running: Running) -> None:
    running.log(TEXT)

    answer = running.reader.get(f"/v1/runs/{running.run}/logs?offset=3&limit=5")

    assert answer.content == TEXT[3:8]
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Launch-Log-Attempt"] == f"{running.run}-1"
    assert (answer.headers["Launch-Log-Offset"], answer.headers["Launch-Log-Next"]) == ("3", "8")
    assert answer.headers["Launch-Log-End"] == "false"
    running.end()
    whole = running.reader.get(f"/v1/runs/{running.run}/logs")
    assert (whole.content, whole.headers["Launch-Log-End"]) == (TEXT, "true")
    assert running.reader.get(f"/v1/runs/{running.run}/logs?attempt=7").status_code == 404


def test_bytes_that_are_no_text_stay_as_they_are(running: Running) -> None:
    data = bytes(range(256))
    running.log(data)

    assert running.reader.get(f"/v1/runs/{running.run}/logs").content == data


def test_a_log_as_it_comes(running: Running) -> None:
    """A letter that was cut in two comes whole."""
    events = running.stream("logs/stream")
    cut = TEXT.index("ö".encode()) + 1
    running.log(TEXT[:cut])
    first = next(events)
    assert first["event"] == "log"
    assert first["data"]["text"] == TEXT[: cut - 1].decode()
    assert first["id"] == str(cut - 1)

    running.log(TEXT[cut:])
    running.end()

    rest = list(events)
    assert (
        "".join(event["data"]["text"] for event in rest if event["event"] == "log")
        == TEXT[cut - 1 :].decode()
    )
    assert [event["event"] for event in rest][-1] == "end"
    assert rest[-1]["id"] == str(len(TEXT))


def test_whoever_comes_back_goes_on_there(running: Running) -> None:
    running.log(TEXT)
    running.end()

    again = list(running.stream("logs/stream", last="6"))

    assert again[0]["data"]["text"] == TEXT[6:].decode()
    assert again[0]["data"]["offset"] == 6
    assert [event["event"] for event in again] == ["log", "end"]
    bad = running.reader.get(f"/v1/runs/{running.run}/logs/stream", headers={"Last-Event-ID": "x"})
    assert bad.status_code == 400


def test_nothing_that_a_run_prints_makes_an_event_of_its_own(running: Running) -> None:
    hostile = b"data: {}\n\nevent: end\ndata: x\n\n: comment\r\n\rid: 7\n"
    running.log(hostile)
    running.end()

    events = list(running.stream("logs/stream"))

    assert [event["event"] for event in events] == ["log", "end"]
    assert events[0]["data"]["text"] == hostile.decode()


def test_a_run_each_time_that_it_changes(running: Running) -> None:
    events = running.stream("events")
    first = next(events)
    assert first["event"] == "run"
    assert first["data"]["run"]["state"] == "claimed"
    assert [entry["event"]["stage"] for entry in first["data"]["timeline"]] == ["submit", "claim"]

    running.end()

    rest = list(events)
    assert rest[-2]["data"]["run"]["state"] == "succeeded"
    assert rest[-1] == {"event": "end", "id": rest[-2]["id"], "data": {"state": "succeeded"}}


def test_streams_end_when_the_server_stops(world: World, running: Running) -> None:
    log, events = running.stream("logs/stream"), running.stream("events")
    running.log(b"x")
    assert next(log)["data"]["text"] == "x"
    next(events)

    world.serving.stop()

    assert [event for event in log if event["event"] == "end"] == []
    assert [event for event in events if event["event"] == "end"] == []
