"""``runs``, ``show``, ``logs``, ``cancel``, ``retry``, ``agents`` and watching, with a played agent."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launchcore.cli.exits import Exit
from launchcore.cli.logs import tail_offset
from launchcore.plugin import Failure, Fault, Reason, Stage
from launchcore.queues.connect import open_service
from tests.cli.conftest import Launch
from tests.cli.player import Player, create_queue, player

FAILURE = Failure(
    reason=Reason.USER_ERROR, fault=Fault.USER, stage=Stage.EXECUTE, detail="exit code 3", hint="read the log"
)


@pytest.fixture(autouse=True)
def work(home: Path) -> Path:
    create_queue("default")
    directory = home / "work"
    directory.mkdir()
    (directory / "train.py").write_text("")
    return directory


@pytest.fixture
def base_url() -> str:
    return os.environ["LAUNCHCORE_BASE_URL"]


@pytest.fixture
def box(work: Path, base_url: str) -> Iterator[Player]:
    with player(base_url) as one:
        yield one


def submit(launch: Launch, *words: str) -> str:
    return launch("submit", "work", *words, "--", "python", "train.py").out.strip()


def test_filters(launch: Launch, box: Player) -> None:
    launch("queue", "create", "other", "--type", "process")
    done = submit(launch, "--name", "first")
    box.perform()
    waiting = submit(launch, "--name", "second")
    elsewhere = submit(launch, "-q", "other")

    def ids(*words: str) -> list[str]:
        return [run["id"] for run in launch("runs", "--json", *words).json["runs"]]

    assert ids() == [elsewhere, waiting, done]
    assert ids("-q", "default") == [waiting, done]
    assert ids("-s", "queued") == [elsewhere, waiting]
    assert ids("-s", "ended") == [done]
    assert ids("-s", "live") == []
    assert ids("--name", "second") == [waiting]
    assert ids("--mine", "--since", "1h") == [elsewhere, waiting, done]
    assert ids("--since", "2999-01-01") == []


def test_pages(launch: Launch) -> None:
    made = [submit(launch) for _ in range(5)]

    first = launch("runs", "-n", "3")
    cursor = first.err.split("--page ")[1].strip()
    second = launch("runs", "-n", "3", "--page", cursor)

    shown = [line.split()[0] for line in first.lines[1:] + second.lines[1:]]
    assert shown == made[::-1]
    assert second.err == ""


def test_no_runs_is_said(launch: Launch) -> None:
    assert launch("runs").err == "no runs\n"
    assert launch("runs", "--json").json == {"runs": [], "next": None}


def test_show(launch: Launch, box: Player) -> None:
    run_id = submit(launch, "--name", "first")
    box.perform(failure=FAILURE, exit_code=3)

    page = launch("show", "first").out
    value = launch("show", run_id[:8], "--json").json

    for part in (
        run_id,
        "failed",
        "exit code 3",
        "user_error",
        "what to do",
        "read the log",
        "4b1d2c9, 3 files",
        "box",
    ):
        assert part in page
    assert value["run"]["failure"]["reason"] == "user_error"
    assert {event["stage"] for event in value["timeline"]} >= {"submit", "source"}
    assert {event["attempt"] for event in value["timeline"]} == {0, 1}


def test_logs(launch: Launch, box: Player) -> None:
    run_id = submit(launch)
    waiting = launch("logs", run_id)
    assert (waiting.code, waiting.out) == (0, "")
    assert waiting.err == f"run {run_id} is queued and has no log yet\n"
    box.perform(b"one\ntwo\nthree\n")

    assert launch("logs", run_id).out == "one\ntwo\nthree\n"
    assert launch("logs", run_id, "-f").out == "one\ntwo\nthree\n"
    assert launch("logs", run_id, "--attempt", "1", "--tail", "2").out == "two\nthree\n"
    assert launch("logs", run_id, "--tail", "0").out == ""
    absent = launch("logs", run_id, "--attempt", "2")
    assert absent.err == f"error: run {run_id} has no attempt 2; hint: its attempts: 1\n"
    assert absent.code == Exit.NOT_FOUND


@pytest.mark.parametrize(
    ("log", "lines"),
    [
        (b"", 3),
        (b"a\nb\nc\n", 1),
        (b"a\nb\nc", 2),
        (b"a\nb\nc\n", 9),
        (b"\n\n\n", 2),
        (b"x" * 200_000 + b"\ny\n", 2),
    ],
)
def test_a_tail_is_the_last_lines(launch: Launch, box: Player, base_url: str, log: bytes, lines: int) -> None:
    run_id = submit(launch)
    claim = box.claim()
    box.start(claim)
    if log:
        box.log(claim, log)
    service = open_service(base_url)

    offset = tail_offset(service, run_id, 1, lines)

    service.close()
    assert log[offset:] == b"".join(log.splitlines(keepends=True)[-lines:])


def test_a_pipe_gets_the_bytes_and_a_terminal_safe_text(
    launch: Launch, box: Player, launch_process: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    hostile = b"\x1b[31mred\x1b[0m \x1b]0;owned\x07 \xff\n"
    run_id = submit(launch)
    box.perform(hostile)

    piped = subprocess.run(
        [sys.executable, "-m", "launchcore.cli", "logs", run_id], check=True, capture_output=True, timeout=60
    )
    shown = in_terminal("logs", run_id)

    assert piped.stdout == hostile
    assert b"\x1b[31mred\x1b[0m" in shown
    assert b"\x1b]" not in shown
    assert "␛]0;owned␇ �".encode() in shown


def in_terminal(*words: str) -> bytes:
    """What a command prints when its output is a terminal."""
    import pty

    main, other = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "launchcore.cli", *words],
        stdin=other,
        stdout=other,
        stderr=other,
        close_fds=True,
    )
    os.close(other)
    shown = b""
    while True:
        try:
            data = os.read(main, 65536)
        except OSError:
            break
        if not data:
            break
        shown += data
    os.close(main)
    assert process.wait(60) == 0, shown
    return shown


def test_a_table_on_a_terminal_fits_it(launch: Launch) -> None:
    submit(launch, "--name", "n" * 60)

    shown = in_terminal("runs").decode()

    assert max(len(re.sub("\x1b\\[[0-9;]*m", "", line)) for line in shown.splitlines()) <= 80
    assert "…" in shown


def test_cancel(launch: Launch, box: Player) -> None:
    done = submit(launch, "--name", "done")
    box.perform()
    live = submit(launch)
    box.start(box.claim())
    queued = submit(launch)

    result = launch("cancel", queued, live, "done", "nope")

    assert result.lines == [
        f"{queued} cancelled",
        f"{live} is being stopped",
        f"{done} had already succeeded",
    ]
    assert result.err.startswith("error: no run 'nope'")
    assert result.code == Exit.NOT_FOUND
    assert "cancel requested" in launch("show", live).out


def test_retry(launch: Launch, box: Player) -> None:
    first = submit(launch)
    assert launch("retry", first).code == Exit.USAGE
    box.perform(failure=FAILURE, exit_code=3)

    again = launch("retry", first)

    assert again.code == 0
    assert launch("show", again.out.strip(), "--json").json["run"]["retry_of"] == first


def test_agents(launch: Launch, box: Player) -> None:
    assert launch("agents", "--json").json[0]["name"] == "box"
    assert launch("agents").lines[1].split()[:3] == ["box", "alive", "box"]


def test_no_agents_is_said(launch: Launch) -> None:
    assert launch("agents").err == "no agents: start one with launch agent --queue NAME\n"


@pytest.mark.parametrize(
    ("failure", "exit_code", "code"),
    [(None, 0, Exit.OK), (FAILURE, 3, Exit.FAILED)],
    ids=["succeeds", "fails"],
)
def test_watching_until_the_end(
    launch: Launch, box: Player, failure: Failure | None, exit_code: int, code: Exit
) -> None:
    other = threading.Thread(target=box.perform, args=(b"epoch 1\nepoch 2\n", failure, exit_code))
    other.start()

    result = launch("submit", "work", "--watch", "--", "python", "train.py")

    other.join()
    assert result.code == code
    assert result.lines[1:] == ["epoch 1", "epoch 2"]
    assert "source finished in 500 ms: 4b1d2c9, 3 files" in result.err
    assert f"run {result.lines[0]} {'succeeded' if failure is None else 'failed'} after" in result.err


def test_watching_a_run_that_is_cancelled(launch: Launch, base_url: str) -> None:
    other = threading.Thread(target=cancel_first, args=(base_url,))
    other.start()
    result = launch("submit", "work", "--watch", "--", "python", "train.py")
    other.join()

    assert result.code == Exit.CANCELLED
    assert "cancelled" in result.err
    assert "no agent serves queue default" in result.err


def cancel_first(base_url: str) -> None:
    from launchcore.queues.base import RunFilter

    service = open_service(base_url)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        runs = service.list_runs(RunFilter()).runs
        if runs:
            service.cancel(runs[0].id)
            break
        time.sleep(0.02)
    service.close()


def test_ctrl_c_detaches(launch: Launch, box: Player) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "launchcore.cli", "submit", "work", "--watch", "--", "x"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background of a shell has it ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    ) as process:
        try:
            claim = box.claim()
            box.start(claim)
            box.log(claim, b"epoch 1\n")
            assert process.stdout is not None
            run_id = process.stdout.readline().strip()
            assert process.stdout.readline() == "epoch 1\n"

            process.send_signal(signal.SIGINT)
            _, talk = process.communicate(timeout=30)
        finally:
            process.kill()

    assert process.returncode == Exit.INTERRUPTED
    assert talk.splitlines()[-3:] == [
        f"detached: run {run_id} goes on",
        f"  come back:  launch logs {run_id} -f",
        f"  stop it:    launch cancel {run_id}",
    ]
    assert launch("show", run_id, "--json").json["run"]["state"] == "running"


def test_a_closed_pipe_is_quiet(launch: Launch, box: Player) -> None:
    run_id = submit(launch)
    box.perform(b"line\n" * 200_000)

    shell = f"{sys.executable} -m launchcore.cli logs {run_id} | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", shell], check=False, capture_output=True, text=True
    )

    assert (done.stdout, done.stderr, done.returncode) == ("line\n", "", Exit.CLOSED)


@pytest.mark.parametrize("command", ["show", "logs", "retry", "cancel"])
def test_a_run_that_is_not_there(launch: Launch, command: str) -> None:
    result = launch(command, "nope")

    assert result.code == Exit.NOT_FOUND
    assert result.err.startswith("error: no run 'nope' (config_error, fault user)")
    assert result.err.count("\n") == 1


def test_an_unambiguous_beginning_is_enough(launch: Launch) -> None:
    run_id = submit(launch)

    assert launch("show", run_id[:-2], "--json").json["run"]["id"] == run_id


def test_base_url_before_or_after_the_command(launch: Launch, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/other/queue.db"
    launch("--base-url", url, "queue", "create", "there", "--type", "process")

    assert [queue["name"] for queue in launch("queue", "list", "--json", "--base-url", url).json] == ["there"]
    assert "there" not in launch("queue", "list").out
    watched = launch("submit", "work", "-q", "there", "--base-url", url, "--", "x")
    assert f"--base-url {url}" in watched.err


def test_a_file_that_is_no_database(launch: Launch, tmp_path: Path) -> None:
    file = tmp_path / "queue.db"
    file.write_bytes(b"this is not a database, and is left as it is" * 100)

    result = launch("runs", "--base-url", f"sqlite:///{file}")

    assert result.code == Exit.UNAVAILABLE
    assert result.err.startswith("error: ")
    assert result.err.count("\n") == 1
    assert file.read_bytes().startswith(b"this is not a database")
