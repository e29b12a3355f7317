"""Everything that goes wrong at SageMaker: no run is lost, none is trained twice, nobody else waits."""

from __future__ import annotations

import time

import pytest
from launch_sagemaker.testing import faults
from launch_sagemaker.testing.faults import Ending, Refusal

from launchcore.plugin import Reason, RetryPolicy, RunState
from launchcore.queues.base import RunInfo
from tests.crash import invariants
from tests.crash.world import World, wait_until
from tests.live.sagemaker.world import SageMakerWorld

pytestmark = [pytest.mark.live]

STEADY = {"LAUNCHCORE_LEASE_SECONDS": "15"}
"""For what takes seconds to start: with a lease of two, a busy machine is late, and tries another attempt."""


def ended(world: SageMakerWorld, run: str, *, seconds: float = 60.0) -> RunInfo:
    wait_until("the run is over", lambda: world.service.run(run).state.final, seconds=seconds)
    return world.service.run(run)


def test_a_storm_of_throttling_holds_up_no_other_queue(world: SageMakerWorld) -> None:
    """The runs of the throttled queue wait, with their lease and without a thread, and then go on."""
    world.queue(max_running=None)
    World.queue(world, "local", max_running=None)
    world.agent(queues=("q", "local"), environ={**STEADY, "LAUNCHCORE_STAGE_WORKERS": "2"})
    world.sagemaker.faults.throttle("CreateTrainingJob")
    stuck = [world.submit(seconds=0.1, lines=1) for _ in range(8)]
    wait_until("it is asked", lambda: world.sagemaker.called("CreateTrainingJob"))
    free = [World.submit(world, seconds=0.1, lines=1, queue="local") for _ in range(4)]  # as processes

    for run in free:
        assert ended(world, run, seconds=30).state is RunState.SUCCEEDED, world.report()
    assert not any(world.service.run(run).state.final for run in stuck)
    asked = len(world.sagemaker.called("CreateTrainingJob"))
    assert asked < 40, "a throttled service is not asked all the time"
    world.sagemaker.faults.lift()
    for run in stuck:
        assert ended(world, run, seconds=120).state is RunState.SUCCEEDED, world.report()
    assert {len(world.service.run(run).attempts) for run in stuck} == {1}
    invariants.starts_once(world)


def test_throttled_looks_are_no_failure(world: SageMakerWorld) -> None:
    world.queue()
    world.agent()
    run = world.submit(seconds=1.0)
    wait_until("it runs", world.records)
    world.sagemaker.faults.throttle("DescribeTrainingJob", seconds=4.0)

    assert ended(world, run).state is RunState.SUCCEEDED, world.report()


def test_what_was_just_made_is_unknown_for_a_while(world: SageMakerWorld) -> None:
    world.queue()
    world.sagemaker.faults.hide(3.0)
    world.agent(environ=STEADY)
    run = ended(world, world.submit())

    assert run.state is RunState.SUCCEEDED, world.report()
    assert len(run.attempts) == 1
    invariants.starts_once(world)


def test_a_cancel_of_what_is_still_unknown(world: SageMakerWorld) -> None:
    world.queue()
    world.sagemaker.faults.hide(3.0)
    world.agent(environ=STEADY)
    run = world.submit(seconds=60)
    wait_until("it was made", lambda: world.sagemaker.jobs)
    world.service.cancel(run)

    assert ended(world, run).state is RunState.CANCELLED, world.report()
    assert world.job(run).status == "Stopped"


@pytest.mark.parametrize("made", [True, False])
def test_an_answer_is_lost(world: SageMakerWorld, made: bool) -> None:
    """Whether the training job was made before that, or not: there is one."""
    world.queue()
    world.sagemaker.faults.cut("CreateTrainingJob", made=made)
    world.agent(environ=STEADY)
    run = ended(world, world.submit())

    assert run.state is RunState.SUCCEEDED, world.report()
    assert len(world.sagemaker.jobs) == 1
    invariants.starts_once(world)


@pytest.mark.parametrize("made", [True, False])
def test_it_answers_an_error_of_its_own(world: SageMakerWorld, made: bool) -> None:
    world.queue()
    world.sagemaker.faults.refuse("CreateTrainingJob", faults.INTERNAL, calls=2, made=made)
    world.agent(environ=STEADY)
    run = ended(world, world.submit())

    assert run.state is RunState.SUCCEEDED, world.report()
    assert len(world.sagemaker.jobs) == 1


REFUSED = [
    (faults.QUOTA, Reason.UNSCHEDULABLE, "quota"),
    (faults.BAD_ROLE, Reason.CONFIG_ERROR, "role"),
    (faults.BAD_IMAGE, Reason.IMAGE_PULL, "role"),
    (faults.BAD_BUCKET, Reason.CONFIG_ERROR, "bucket"),
]


@pytest.mark.parametrize(("refusal", "reason", "word"), REFUSED)
def test_it_refuses_a_request(world: SageMakerWorld, refusal: Refusal, reason: Reason, word: str) -> None:
    world.queue()
    world.sagemaker.faults.refuse("CreateTrainingJob", refusal)
    world.agent()
    failure = ended(world, world.submit(secrets=())).failure

    assert failure is not None
    assert failure.reason is reason, failure
    assert word in f"{failure.detail} {failure.hint}".lower(), failure
    assert not world.waiting()


ENDINGS = [
    (faults.NO_CAPACITY, Reason.UNSCHEDULABLE),
    (faults.BROKEN, Reason.INFRASTRUCTURE),
    (faults.NO_IMAGE, Reason.IMAGE_PULL),
    (faults.NO_DATA, Reason.CONFIG_ERROR),
    (faults.NO_ACCESS, Reason.CONFIG_ERROR),
    (faults.OVER_QUOTA, Reason.UNSCHEDULABLE),
]


@pytest.mark.parametrize(("ending", "reason"), ENDINGS)
def test_it_ends_a_training_job(world: SageMakerWorld, ending: Ending, reason: Reason) -> None:
    world.queue()
    world.sagemaker.faults.end_next(ending)
    world.agent()
    failure = ended(world, world.submit()).failure

    assert failure is not None
    assert failure.reason is reason, failure
    assert failure.hint, failure
    assert "launchcore-sagemaker" in (failure.plugin or "")


def test_a_run_that_may_is_tried_again_where_there_was_no_capacity(world: SageMakerWorld) -> None:
    retry = RetryPolicy(reasons=(Reason.UNSCHEDULABLE,), max_retries=2, delay_seconds=0.2)
    world.queue(retry=retry)
    world.sagemaker.faults.end_next(faults.NO_CAPACITY)
    world.agent()
    run = ended(world, world.submit())

    assert run.state is RunState.SUCCEEDED, world.report()
    assert [job.status for job in world.sagemaker.jobs] == ["Failed", "Completed"]


def test_credentials_expire_while_it_runs(world: SageMakerWorld) -> None:
    """Nothing fails for it, and the agent goes on when it has others."""
    world.queue()
    agent = world.agent()
    run = world.submit(seconds=3.0)
    wait_until("it runs", lambda: world.service.run(run).state is RunState.RUNNING)
    world.sagemaker.faults.expire_credentials()
    wait_until("the job is over", lambda: world.job(run).has_ended)
    wait_until("the agent says so", lambda: "expired" in agent.text())
    assert world.service.run(run).state is RunState.RUNNING
    world.sagemaker.faults.expire_credentials(False)

    assert ended(world, run).state is RunState.SUCCEEDED, world.report()


def test_a_stop_that_has_no_effect_is_repeated(world: SageMakerWorld) -> None:
    world.queue()
    world.sagemaker.faults.ignore_stops(1)
    world.agent()
    run = world.submit(command=("sleep", "300"))
    wait_until("it runs", lambda: world.service.run(run).state is RunState.RUNNING)
    world.service.cancel(run)

    assert ended(world, run).state is RunState.CANCELLED, world.report()
    assert len(world.sagemaker.called("StopTrainingJob")) > 1
    assert world.job(run).status == "Stopped"


def test_somebody_else_stops_it(world: SageMakerWorld) -> None:
    world.queue()
    world.agent()
    run = world.submit(command=("sleep", "300"))
    wait_until("it runs", lambda: world.service.run(run).state is RunState.RUNNING)
    world.sagemaker.client().stop_training_job(TrainingJobName=world.job(run).name)
    over = ended(world, run)

    assert over.state is RunState.FAILED
    assert over.failure is not None
    assert over.failure.reason is Reason.CANCELLED
    assert "somebody stopped" in over.failure.detail


def test_lines_that_come_late_are_in_the_log(world: SageMakerWorld) -> None:
    world.queue()
    world.sagemaker.faults.delay_logs(2.0)
    world.agent(settings={"log-settle-seconds": 4.0})
    run = ended(world, world.submit())

    assert run.state is RunState.SUCCEEDED, world.report()
    invariants.log_is_exact(world, run, 20)


def test_events_tell_of_an_end_at_once(world: SageMakerWorld) -> None:
    """With looks so far apart that nothing else could."""
    queue_url = world.cloud.client("sqs").create_queue(QueueName="launch-events")["QueueUrl"]
    world.sagemaker.events_to(queue_url)
    world.queue()
    world.agent(settings={"look-seconds": 120.0, "events-queue": queue_url})
    run = world.submit(seconds=6.0)
    wait_until("it runs", lambda: world.service.run(run).state is RunState.RUNNING)
    before = len(world.sagemaker.called("DescribeTrainingJob"))
    wait_until("the job is over", lambda: world.job(run).has_ended)
    over = time.monotonic()

    assert ended(world, run, seconds=30).state is RunState.SUCCEEDED, world.report()
    assert time.monotonic() - over < 30
    assert len(world.sagemaker.called("DescribeTrainingJob")) - before < 12


def test_an_orphan_is_stopped(world: SageMakerWorld) -> None:
    """Somebody cancels while no agent lives, and the one that knew of it never comes back."""
    world.queue()
    first = world.agent("one", failpoints="execute.after_start=kill", ready=False)
    run = world.submit(command=("sleep", "300"))
    first.died()
    assert world.job(run).status == "InProgress"
    world.service.cancel(run)
    world.agent("two")

    assert ended(world, run).state is RunState.CANCELLED, world.report()
    wait_until("it is stopped", lambda: world.job(run).status == "Stopped")
    invariants.nothing_left(world)
