"""Run arrays, retries and limits at the command line, against the real queue."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from launchcore.cli.exits import Exit
from tests.cli.conftest import Launch
from tests.cli.player import create_queue, player
from tests.store.rig import failure

IMAGE = ("--image", "busybox")


@pytest.fixture(autouse=True)
def default(home: Path) -> None:
    create_queue("default")


@pytest.fixture
def work(home: Path) -> Path:
    directory = home / "work"
    directory.mkdir()
    (directory / "train.py").write_text("print('hello')\n")
    return directory


def test_one_submit_makes_a_run_for_each_combination(launch: Launch, work: Path) -> None:
    result = launch(
        *("submit", work, "--name", "sweep", "--array", "lr=0.1,0.01", "--array", "seed=1..5"),
        *("--max-parallel", "3", "--", "python", "train.py", "--lr", "${inputs.lr}"),
    )

    assert result.code == Exit.OK, result.err
    array = result.out.strip()
    assert array.startswith("a-")
    assert f"array {array} of 10 runs is in default" in result.err
    shown = launch("show", "sweep", "--json").json
    assert (shown["array"]["id"], shown["array"]["max_parallel"]) == (array, 3)
    assert shown["array"]["axes"] == {"lr": [0.1, 0.01], "seed": [1, 2, 3, 4, 5]}
    assert [run["spec"]["name"] for run in shown["members"]][:2] == [
        "sweep[lr=0.1,seed=1]",
        "sweep[lr=0.1,seed=2]",
    ]
    assert len({run["spec"]["source"]["fields"]["digest"] for run in shown["members"]}) == 1
    page = launch("show", array).out
    assert "10: 10 queued" in page
    assert "seed = 1, 2, 3, 4, 5" in page


def test_values_have_the_types_that_the_job_wants(launch: Launch, tmp_path: Path) -> None:
    inputs = tmp_path / "inputs.json"
    inputs.write_text('{"tag": {"type": "string"}, "epochs": {"type": "integer", "default": 3}}')
    made = launch("job", "create", "train", *IMAGE, "--inputs", inputs, "--", "train", "${inputs.tag}")
    assert made.code == Exit.OK, made.err

    launch("submit", "--job", "train", "--array", "tag=1..2,x", "--array", "epochs=1..2")

    members = launch("runs", "--json").json["runs"]
    assert {run["spec"]["inputs"]["tag"] for run in members} == {"1..2", "x"}
    assert {run["spec"]["inputs"]["epochs"] for run in members} == {1, 2}
    refused = launch("submit", "--job", "train", "--array", "tag=a,b", "--array", "epochs=1,x")
    assert refused.code != Exit.OK
    assert "input epochs" in refused.err


def test_an_array_is_listed_in_its_order_and_cancelled_as_a_whole(launch: Launch) -> None:
    array = launch("submit", *IMAGE, "--array", "x=1..3", "--", "true").out.strip()
    launch("submit", *IMAGE, "--name", "other", "--", "true")

    listed = launch("runs", "--array", array, "--json").json["runs"]
    assert [run["array"]["index"] for run in listed] == [0, 1, 2]
    more = launch("runs", "--array", array, "--limit", "2")
    assert "more: the same command with --page 1" in more.err
    assert launch("cancel", array, "other").lines[0] == f"{array} cancelled"
    assert launch("cancel", array).out == f"{array} had already ended\n"
    assert "3: 3 cancelled" in launch("show", array).out
    assert launch("show", listed[0]["id"]).out.count(array) == 1


def test_retry_takes_what_did_not_succeed(launch: Launch) -> None:
    array = launch("submit", *IMAGE, "--array", "x=1..3", "--", "true").out.strip()
    first = launch("runs", "--array", array, "--json").json["runs"][0]["id"]
    assert launch("retry", array).err.startswith("0 of the 3 runs")
    launch("cancel", first)

    again = launch("retry", array)

    assert again.code == Exit.OK
    (made,) = again.lines
    assert launch("show", made, "--json").json["run"]["retry_of"] == first


def test_watching_an_array_waits_for_all_of_its_runs(launch: Launch, home: Path) -> None:
    def perform(names: list[str]) -> None:
        with player(os.environ["LAUNCHCORE_BASE_URL"]) as agent:
            agent.perform()
            names.append(agent.perform(failure=failure(), exit_code=3).run_id)

    failed: list[str] = []
    thread = threading.Thread(target=perform, args=(failed,))
    thread.start()
    result = launch("submit", *IMAGE, "--array", "x=1,2", "--watch", "--", "true")
    thread.join(60)

    assert result.code == Exit.FAILED
    assert "succeeded after" in result.err
    assert f"run {failed[0]} failed after" in result.err


def test_the_same_key_is_the_same_array(launch: Launch) -> None:
    words = ("submit", *IMAGE, "--array", "x=1,2", "--key", "k", "--", "true")
    assert launch(*words).out == launch(*words).out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--array", "lr"), "write --array NAME=VALUE"),
        (("--array", "lr="), "empty value"),
        (("--array", "lr=5..1"), "never gets"),
        (("--array", "lr=1", "--array", "lr=2"), "lr is given twice"),
        (("--array", "lr=1..100", "--array", "seed=1..100"), "10000 runs"),
        (("--array", "env.LD_PRELOAD=a,b"), "env LD_PRELOAD"),
        (("--max-parallel", "2"), "--max-parallel belongs to an array"),
        (("--retry-on", "evicted"), "add --retries N"),
        (("--retries", "1", "--retry-on", "evict"), "did you mean 'evicted'"),
        (("--retries", "1"), "retry.max_retries: 1 is more than the queue allows (0)"),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_packed(
    launch: Launch, work: Path, words: tuple[str, ...], said: str
) -> None:
    result = launch("submit", work, *words, "--", "python", "train.py")

    assert result.code != Exit.OK
    assert said in result.err
    assert "packed" not in result.err
    assert launch("runs", "--json").json["runs"] == []


def test_a_run_s_own_retries_and_patience(launch: Launch) -> None:
    launch("queue", "edit", "default", "--max-retries", "3", "--queue-timeout", "2h")

    run = launch("submit", *IMAGE, "--retries", "2", "--retry-on", "evicted", "--json", "--", "true").json

    assert run["spec"]["retry"]["max_retries"] == 2
    assert run["spec"]["retry"]["reasons"] == ["evicted"]
    assert run["spec"]["limits"]["queue_seconds"] == 7200.0
    page = launch("show", run["id"]).out
    assert "retried 0 of at most 2 times" in page
    assert "wait 2h" in page


def test_limits_of_a_queue_are_told(launch: Launch) -> None:
    launch("queue", "edit", "default", "--max-queued", "1", "--max-priority", "medium")
    launch("submit", *IMAGE, "--", "true")

    assert "and 1 wait already" in launch("submit", *IMAGE, "--", "true").err
    assert "more urgent" in launch("submit", *IMAGE, "-p", "high", "--", "true").err
    assert "1 of 1 queued" in launch("queue", "show", "default").out


def test_releasing_a_job_that_is_not_refused(launch: Launch) -> None:
    result = launch("queue", "edit", "default", "--release", "train:1")
    assert result.code != Exit.OK
    assert "refuses no runs of 'train:1'" in result.err


def test_a_queue_travels_with_its_new_keys(launch: Launch, tmp_path: Path) -> None:
    launch("queue", "edit", "default", "--max-running-per-submitter", "2", "--max-priority", "low")
    file = tmp_path / "queue.yaml"
    file.write_text(launch("queue", "show", "default", "--yaml").out)

    again = launch("queue", "create", "copy", "--from", file, "--json").json
    assert again["config"] == launch("queue", "show", "default", "--json").json["config"]
    file.write_text(file.read_text().replace("max_priority: low", "max_priority: lowest"))
    assert "max_priority" in launch("queue", "create", "third", "--from", file).err
