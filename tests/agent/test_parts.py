"""The small parts of the agent: failpoints, names, fairness, slots, what it shows."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from launchcore.agent.failpoints import Failpoints
from launchcore.agent.identity import take_identity
from launchcore.agent.intake import rotate
from launchcore.agent.live import age, render
from launchcore.agent.view import JsonView, PlainView, Row, Snapshot
from launchcore.plugin import Claim, LaunchError, Lease, QueueConfig, RunSpec, RunState, SourceRef


def claim(queue: str = "q", attempt: str = "r-1") -> Claim:
    return Claim(
        lease=Lease(attempt_id=attempt, token="t", expires_at=0),
        run_id="r",
        attempt=1,
        queue=queue,
        queue_config=QueueConfig(type="process"),
        spec=RunSpec(source=SourceRef(type="image", fields={"image": "x"})),
        state=RunState.CLAIMED,
        submitted_at=0,
        claimed_at=0,
    )


def test_a_failpoint_acts_as_often_as_it_says() -> None:
    points = Failpoints.parse("claim.before=error*2; renew.before=sleep:0")

    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"claim\.before"):
            points.hit("claim.before")
    points.hit("claim.before")
    points.hit("renew.before")
    points.hit("report.after")


@pytest.mark.parametrize("text", ["nowhere=kill", "claim.before=explode", "claim.before"])
def test_an_unknown_failpoint_is_an_error(text: str) -> None:
    with pytest.raises(LaunchError, match="cannot use"):
        Failpoints.parse(text)


def test_a_queue_that_gave_goes_to_the_end() -> None:
    assert rotate(["a", "b", "c"], [claim("a")]) == ["b", "c", "a"]
    assert rotate(["a", "b", "c"], [claim("a"), claim("b")]) == ["c", "a", "b"]
    assert rotate(["a", "b"], []) == ["a", "b"]


def test_a_name_has_one_holder(tmp_path: Path) -> None:
    first = take_identity("gpu", tmp_path)

    with pytest.raises(LaunchError, match="runs on this machine already"):
        take_identity("gpu", tmp_path)
    first.lock.close()
    take_identity("gpu", tmp_path).lock.close()


def test_a_name_is_free_when_its_holder_has_died(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, pathlib; from launchcore.agent.identity import take_identity;"
            "held = take_identity('gpu', pathlib.Path(sys.argv[1]));"
            "print('held', flush=True); sys.stdin.read()",
            str(tmp_path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(LaunchError):
        take_identity("gpu", tmp_path)

    holder.kill()
    holder.communicate()

    take_identity("gpu", tmp_path).lock.close()


def test_agents_without_a_name_are_numbered(tmp_path: Path) -> None:
    held = [take_identity(None, tmp_path) for _ in range(3)]

    host = held[0].host
    assert [each.name for each in held] == [host, f"{host}-2", f"{host}-3"]
    for each in held:
        each.lock.close()


@pytest.mark.parametrize("name", ["", "a/b", "../x", "x" * 64, "\x1b[2J"])
def test_a_hostile_name_is_refused(name: str, tmp_path: Path) -> None:
    if name:
        with pytest.raises(LaunchError, match="not usable"):
            take_identity(name, tmp_path)


def test_plain_lines_cannot_drive_a_terminal() -> None:
    out = io.StringIO()

    PlainView(out).event("claimed", "r-1 (\x1b]0;evil\x07) from q")

    assert "\x1b" not in out.getvalue()
    assert out.getvalue().endswith("claimed    r-1 (\\x1b]0;evil\\x07) from q\n")


def test_json_lines_are_json() -> None:
    out = io.StringIO()

    JsonView(out).event("claimed", "r-1\nfrom q", attempt="r-1")

    assert json.loads(out.getvalue())["attempt"] == "r-1"
    assert out.getvalue().count("\n") == 1


def test_the_live_table_fits_the_screen() -> None:
    rows = tuple(
        Row(attempt_id=f"r{number}-1", queue="q", name="[red]x", state="running", seconds=90.0)
        for number in range(50)
    )
    snapshot = Snapshot(
        agent="one",
        queues=("q",),
        base_url="sqlite:///q.db",
        status="polling",
        rows=rows,
        succeeded=1,
        failed=2,
        cancelled=3,
    )
    out = io.StringIO()

    Console(file=out, width=80, height=20).print(render(snapshot, 20))

    lines = out.getvalue().splitlines()
    assert len(lines) < 20
    assert max(map(len, lines)) <= 80
    assert "… and 36 more" in out.getvalue()
    assert "[red]x" in out.getvalue()


@pytest.mark.parametrize(("seconds", "text"), [(7.9, "7s"), (192, "3m12s"), (18120, "5h02m")])
def test_age(seconds: float, text: str) -> None:
    assert age(seconds) == text
