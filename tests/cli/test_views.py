"""What tables and pages look like: at 80 columns, in a pipe, and with hostile names in them."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from rich.console import RenderableType

from launchcore.cli.output import plain, render
from launchcore.cli.run_page import attempts_view, failure_view, run_facts
from launchcore.cli.tables import Column, table
from launchcore.cli.timeline import step_line, steps, timeline_view
from launchcore.cli.views import (
    agents_view,
    job_view,
    jobs_view,
    queue_view,
    queues_view,
    runs_view,
    source_line,
)
from launchcore.plugin import Priority, QueueConfig, RunState, SourceRef, Stage, TimelineEvent
from tests.cli import samples
from tests.cli.samples import EVIL, FAILURE, NOW, TIMELINE

WIDE = 4000
LONG = "a-name-that-goes-on-and-on-" * 5


def piped(view: RenderableType) -> str:
    return render(view, width=WIDE, colour=False)


def narrow(view: RenderableType) -> str:
    return render(view, width=80, colour=False)


def test_runs_in_a_pipe() -> None:
    rows = [
        samples.run(),
        samples.run(
            id="01jd7x2k9m3r",
            state=RunState.FAILED,
            failure=FAILURE,
            spec=samples.spec(job="train:2"),
            submitted_at=NOW - 7200,
        ),
        samples.run(id="01jd7x2k9m3s", state=RunState.QUEUED, started_at=None, ended_at=None, position=2),
    ]

    assert piped(runs_view(rows, NOW)).splitlines() == [
        "RUN           NAME     QUEUE    STATE      SUBMITTED    TOOK  WHY",
        "01jd7x2k9m3q  first    default  succeeded     3m ago  1m 30s",
        "01jd7x2k9m3r  train:2  default  failed        2h ago  1m 30s  out_of_memory: killed at 2.0 GB",
        "01jd7x2k9m3s  first    default  queued        3m ago       -  2 before it",
    ]


EVERY_VIEW = [
    runs_view([samples.run(spec=samples.spec(name=EVIL + LONG), queue=EVIL, failure=FAILURE)], NOW),
    queues_view([samples.queue(name=EVIL + LONG, agents=(EVIL, LONG))]),
    jobs_view([samples.job(name=EVIL + LONG)], NOW),
    agents_view([samples.agent(name=EVIL + LONG, host=EVIL, queues=(EVIL, LONG))], NOW),
    attempts_view(samples.run(attempts=(samples.attempt(agent=EVIL + LONG, failure=FAILURE),)), NOW),
    run_facts(samples.run(submitter=EVIL, spec=samples.spec(name=EVIL, command=(EVIL, LONG))), NOW),
    failure_view(FAILURE),
    queue_view(samples.queue(name=EVIL), f"type: process\ndescription: {EVIL}\n", NOW),
    job_view(samples.job(name=EVIL), [samples.job()], NOW),
    timeline_view(
        steps(
            [(1, TimelineEvent(at=NOW, stage=Stage.SOURCE, what="warning", detail=EVIL + LONG))],
            NOW,
            over=True,
        ),
        NOW,
    ),
]


@pytest.mark.parametrize("view", EVERY_VIEW)
def test_every_view_fits_eighty_columns(view: RenderableType) -> None:
    assert max(map(cell_len, narrow(view).split("\n"))) <= 80


@pytest.mark.parametrize("view", EVERY_VIEW)
@pytest.mark.parametrize("width", [80, WIDE])
def test_no_view_obeys_a_hostile_name(view: RenderableType, width: int) -> None:
    text = render(view, width=width, colour=False)

    assert "\x1b" not in text
    assert "\u202e" not in text


def test_markup_in_a_name_is_text() -> None:
    shown = piped(runs_view([samples.run(spec=samples.spec(name="[red]x[/red] :rocket:"))], NOW))

    assert "[red]x[/red] :rocket:" in shown


def test_ids_and_states_are_whole_at_eighty_columns() -> None:
    """Names and reasons give way; what is typed into the next command does not."""
    shown = narrow(runs_view([samples.run(spec=samples.spec(name=LONG), failure=FAILURE)], NOW))

    assert "01jd7x2k9m3q" in shown
    assert "succeeded" in shown
    assert "…" in shown


def test_nothing_is_cut_in_a_pipe() -> None:
    assert LONG in piped(runs_view([samples.run(spec=samples.spec(name=LONG))], NOW))


def test_colours_are_for_terminals() -> None:
    view = table((Column("A"),), [["x"]])

    assert "\x1b" in render(view, width=80, colour=True)
    assert "\x1b" not in render(view, width=80, colour=False)


def test_queues_and_agents() -> None:
    shown = piped(queues_view([samples.queue(), samples.queue(name="idle", paused=True, agents=())]))
    assert shown.splitlines()[1].split() == ["default", "process", "open", "3", "1", "4", "box"]
    assert shown.splitlines()[2].split()[-1] == "none"

    gone = samples.agent(alive=False, max_jobs=4, running=2)
    shown = piped(agents_view([samples.agent(), gone], NOW))
    assert "alive" in shown
    assert "2 of 4" in shown


def test_the_page_of_a_run() -> None:
    shown = piped(run_facts(samples.LIMITED, NOW))

    assert "succeeded, took 1m 30s, exit code 0" in shown
    assert "git https://host/repo @ 4b1d2c9e5f60 (main)" in shown
    assert "python train.py --name 'a b'" in shown
    assert "time 2h 00m, memory 2.0 GB" in shown
    assert "HF_TOKEN" in shown


def test_what_was_billed_is_on_the_page_of_a_run() -> None:
    attempts = (
        samples.attempt(usage={"billed_seconds": 61.0}),
        samples.attempt(number=2, usage={"billed_seconds": 3540.0}),
    )

    assert "billed     1h 00m (3601 s)" in piped(run_facts(samples.run(attempts=attempts), NOW))
    assert "billed" not in piped(run_facts(samples.run(attempts=(samples.attempt(),)), NOW))


def test_a_failure_says_what_to_do() -> None:
    assert piped(failure_view(FAILURE)).splitlines() == [
        "reason      out_of_memory",
        "fault       user",
        "stage       execute (launchcore 0.1.0)",
        "detail      killed at 2.0 GB",
        "what to do  ask for more with --memory",
    ]


def test_the_time_line_has_one_line_for_each_stage() -> None:
    shown = piped(timeline_view(steps(TIMELINE, NOW, over=False), NOW - 200)).splitlines()

    assert [line.split()[-1] for line in shown] == ["WHAT", "default", "box", "files", "needed", "10s"]


def test_the_time_line_of_a_live_run_counts_on() -> None:
    last = steps(TIMELINE, NOW, over=False)[-1]

    assert (last.stage, last.what, last.seconds) == ("execute", "started", 190.0)
    assert steps(TIMELINE, NOW, over=True)[-1].seconds is None


def test_a_line_of_watching() -> None:
    step = steps(TIMELINE, NOW, over=True)[2]

    assert step_line(step, NOW - 200) == "✓    +6.0 s  source finished in 1.0 s: 4b1d2c9, 3 files"


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (SourceRef(type="image", fields={"image": "python:3.12"}), "image python:3.12"),
        (SourceRef(type="archive", fields={"digest": "sha256:" + "a" * 64}), "archive sha256:aaaaaaaaaaaa"),
        (
            SourceRef(type="git", fields={"url": "u", "patch": "sha256:1", "subdir": "x"}),
            "git u, subdir x, with a patch",
        ),
        (SourceRef(type="hg", fields={"url": "u"}), "hg url=u"),
    ],
)
def test_sources_in_one_line(source: SourceRef, line: str) -> None:
    assert source_line(source) == line


def test_values_as_json_are_their_fields() -> None:
    shown = plain(samples.run(priority=Priority.HIGH, failure=FAILURE))

    assert shown["state"] == "succeeded"
    assert shown["priority"] == 1
    assert shown["failure"]["reason"] == "out_of_memory"
    assert shown["spec"]["command"] == ["python", "train.py", "--name", "a b"]
    assert plain(QueueConfig(type="process"))["limits"]["grace_seconds"] == 10.0
