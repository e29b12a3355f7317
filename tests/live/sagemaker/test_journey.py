"""From a source to the result of a training job, by a real engine, a real registry and the model of AWS."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import pytest
from launch_docker.testing.fixtures import IMAGE
from launch_sagemaker.names import ATTEMPT, OWNER, QUEUE, RUN

from launchcore.plugin import LaunchError, Limits, Reason, RetryPolicy, RunState, SourceRef
from launchcore.queues.base import RunInfo
from tests.crash import invariants
from tests.crash.world import wait_until
from tests.live.ecr import make_known
from tests.live.sagemaker.world import BUCKET, RESOURCES, ROLE, SageMakerWorld

pytestmark = [pytest.mark.live]

CANARY = "canary-of-the-run-7f3e"


def ended(world: SageMakerWorld, run: str, *, seconds: float = 90.0) -> RunInfo:
    wait_until("the run is over", lambda: world.service.run(run).state.final, seconds=seconds)
    return world.service.run(run)


def source(world: SageMakerWorld, dockerfile: str) -> object:
    tree = world.root / "job"
    tree.mkdir(exist_ok=True)
    (tree / "Dockerfile").write_text(dockerfile)
    return world.upload()


def test_a_source_is_built_pushed_and_trained(world: SageMakerWorld) -> None:
    """And built no second time."""
    world.queue()
    world.agent()
    made = source(world, f"FROM {IMAGE}\nRUN echo of {world.root} > /word\n")
    command = ("sh", "-c", "cat /word; cat $SM_X; echo model > /opt/ml/model/weights")
    first = ended(world, world.submit(source=made, command=command, env={"SM_X": "/etc/hostname"}))

    assert first.state is RunState.SUCCEEDED, world.report()
    assert f"of {world.root}".encode() in world.log(first.id)
    job = world.job(first.id)
    name, _, digest = (first.image or "").partition("@")
    assert job.body["AlgorithmSpecification"]["TrainingImage"] == f"{name.rpartition(':')[0]}@{digest}"
    assert job.body["RoleArn"] == ROLE
    assert job.body["OutputDataConfig"]["S3OutputPath"] == f"s3://{BUCKET}/output"
    assert job.body["ResourceConfig"] == RESOURCES
    assert {RUN: first.id, QUEUE: "q", ATTEMPT: f"{first.id}-1"}.items() <= job.tags.items()
    assert job.tags[OWNER]
    (attempt,) = first.attempts
    assert attempt.usage["billed_seconds"] >= 1
    output = world.cloud.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=f"output/{job.name}")
    assert [each["Key"].rpartition("/")[2] for each in output["Contents"]] == ["model.tar.gz"]

    assert make_known(world.cloud, world.storage, first.image or "") == digest
    second = ended(
        world, world.submit(source=source(world, f"FROM {IMAGE}\nRUN echo of {world.root} > /word\n"))
    )
    assert second.state is RunState.SUCCEEDED, world.report()
    assert second.image == first.image
    assert b"Step 1/" not in world.log(second.id)
    invariants.nothing_left(world)


def test_its_log_is_live_and_its_progress_shows(world: SageMakerWorld) -> None:
    world.queue()
    world.agent()
    run = world.submit(seconds=8.0, lines=40)
    wait_until("the first lines are there", lambda: b"line 1 of" in world.log(run))

    assert world.service.run(run).state is RunState.RUNNING
    assert not world.job(run).has_ended
    assert ended(world, run).state is RunState.SUCCEEDED, world.report()
    invariants.log_is_exact(world, world.service.run(run), 40)
    notes = [event.detail for _, event in world.service.timeline(run) if event.what == "note"]
    assert any("Training" in note for note in notes), notes


def test_several_instances_have_one_log(world: SageMakerWorld) -> None:
    world.queue(config={"ResourceConfig": {**RESOURCES, "InstanceCount": 2}})
    world.agent()
    command = ("sh", "-c", "for n in 1 2 3; do echo $n on $(hostname); done")
    run = ended(world, world.submit(command=command))

    assert run.state is RunState.SUCCEEDED, world.report()
    lines = [line for line in world.log(run.id).decode().splitlines() if " on " in line]
    for host in ("algo-1", "algo-2"):
        assert [line for line in lines if line.endswith(host)] == [
            f"[{host}] {number} on {host}" for number in (1, 2, 3)
        ]


def test_a_secret_is_in_the_run_and_nowhere_else(world: SageMakerWorld) -> None:
    world.queue()
    world.agent(environ={"LAUNCHCORE_SECRET_HF_TOKEN": CANARY})
    command = (
        "sh",
        "-c",
        'test "$HF_TOKEN" = "$(echo $1 | tr a-z n-za-m)" && echo right; echo $HF_TOKEN',
        "x",
    )
    rot = CANARY.translate(str.maketrans("abcdefghijklmnopqrstuvwxyz", "nopqrstuvwxyzabcdefghijklm"))
    run = ended(world, world.submit(command=(*command, rot), secrets=("HF_TOKEN",)))

    assert run.state is RunState.SUCCEEDED, world.report()
    assert b"right" in world.log(run.id)
    told = [world.log(run.id).decode(), str(run), str(world.service.timeline(run.id))]
    told += [agent.text() for agent in world.agents]
    told += [str(call.body) for call in world.sagemaker.calls]
    assert not any(CANARY in text for text in told)
    wait_until("what waited for it is gone", lambda: not world.waiting())


def test_without_a_store_a_run_with_secrets_is_refused(world: SageMakerWorld) -> None:
    world.queue()
    world.agent(settings={"store": None}, environ={"LAUNCHCORE_SECRET_T": CANARY})
    run = ended(world, world.submit(secrets=("T",)))

    assert run.failure is not None
    assert run.failure.reason is Reason.CONFIG_ERROR
    assert "plugins.sagemaker.store" in (run.failure.hint or "")
    assert not world.sagemaker.called("CreateTrainingJob")


def test_an_exit_code_is_the_result(world: SageMakerWorld) -> None:
    world.queue()
    world.agent()
    run = ended(world, world.submit(command=("sh", "-c", "echo oh dear; exit 7")))

    assert (run.state, run.exit_code) == (RunState.FAILED, 7), world.report()
    assert run.failure is not None
    assert run.failure.reason is Reason.USER_ERROR
    assert b"oh dear" in world.log(run.id)


def up(world: SageMakerWorld, run: str) -> bool:
    return b"up" in world.log(run)


def test_a_cancel_stops_the_training_job(world: SageMakerWorld) -> None:
    """One that listens ends at once; one that does not, after SageMaker's grace."""
    world.queue()
    world.agent()
    listens = world.submit(command=("sh", "-c", "trap 'exit 0' TERM; echo up; sleep 300 & wait"))
    deaf = world.submit(command=("sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done"))
    for run in (listens, deaf):
        wait_until("it is up", partial(up, world, run))
        world.service.cancel(run)

    assert {ended(world, run).state for run in (listens, deaf)} == {RunState.CANCELLED}, world.report()
    assert {world.job(run).status for run in (listens, deaf)} == {"Stopped"}
    invariants.nothing_left(world)


def test_its_time_is_kept_by_sagemaker_when_no_agent_lives(world: SageMakerWorld) -> None:
    world.queue()
    agent = world.agent()
    run = world.submit(seconds=300, lines=3000, limits=Limits(run_seconds=3))
    wait_until("it runs", world.records)
    agent.kill()
    wait_until("SageMaker has stopped it", lambda: world.job(run).has_ended)
    world.agent()
    over = ended(world, run)

    assert world.job(run).secondary == "MaxRuntimeExceeded"
    assert over.failure is not None
    assert over.failure.reason is Reason.RUN_TIMEOUT, world.report()


SPOT = {
    "EnableManagedSpotTraining": True,
    "CheckpointConfig": {"S3Uri": f"s3://{BUCKET}/checkpoints"},
}
STEPS = """\
trap 'exit 1' TERM
cd /opt/ml/checkpoints
step=$(cat step 2>/dev/null || echo 0)
echo "attempt $LAUNCH_ATTEMPT begins at $step, resumed $LAUNCH_RESUMED"
while [ $step -lt 30 ]; do step=$((step + 1)); echo $step > step; sleep 0.1; done
echo "ends at $step"
"""


def test_a_spot_machine_that_is_taken_back_and_given_again(world: SageMakerWorld) -> None:
    """SageMaker goes on by itself: for us it is one attempt."""
    world.queue(config=SPOT, limits=Limits(run_seconds=600))
    world.agent()
    world.sagemaker.faults.interrupt_next(after=1.0, notice=0.5)
    (world.root / "shared" / "steps").write_text(STEPS)
    run = ended(world, world.submit(command=("sh", "/history/steps")))

    assert run.state is RunState.SUCCEEDED, world.report()
    assert len(run.attempts) == 1
    text = world.log(run.id).decode()
    assert text.count("attempt 1 begins at") == 2
    assert "ends at 30" in text
    warnings = [event.detail for _, event in world.service.timeline(run.id) if event.what == "warning"]
    assert any("spot" in warning for warning in warnings), warnings


def test_a_spot_machine_that_does_not_come_back(world: SageMakerWorld) -> None:
    """The run is preempted, and another attempt goes on from its checkpoints."""
    limited = {"StoppingCondition": {"MaxRuntimeInSeconds": 4, "MaxWaitTimeInSeconds": 5}}
    world.queue(config={**SPOT, **limited}, retry=RetryPolicy(max_preempted=3))
    world.agent()
    world.sagemaker.faults.interrupt_next(after=1.0, notice=0.5, comes_back=False)
    (world.root / "shared" / "steps").write_text(STEPS)
    run = ended(world, world.submit(command=("sh", "/history/steps")))

    assert run.state is RunState.SUCCEEDED, world.report()
    first, second = run.attempts
    assert first.failure is not None
    assert first.failure.reason is Reason.PREEMPTED
    assert second.failure is None
    text = world.log(run.id).decode()
    begins = [line for line in text.splitlines() if "begins at" in line]
    assert begins[-1].startswith("attempt 2 begins at ")
    assert begins[-1].endswith("resumed 1")
    assert int(begins[-1].split()[4].rstrip(",")) > 0, "it found its checkpoints"


def test_a_run_chooses_among_what_the_queue_allows(world: SageMakerWorld) -> None:
    variables = {
        "machine": {"type": "string", "enum": ["ml.m5.large", "ml.m5.xlarge"]},
        "count": {"type": "integer"},
    }
    config = {"ResourceConfig": {**RESOURCES, "InstanceType": "${machine}", "InstanceCount": "${count}"}}
    world.queue(config=config, variables=variables)
    world.agent()
    run = ended(world, world.submit(variables={"machine": "ml.m5.xlarge", "count": 1}, command=("true",)))

    assert run.state is RunState.SUCCEEDED, world.report()
    assert world.job(run.id).body["ResourceConfig"]["InstanceType"] == "ml.m5.xlarge"
    with pytest.raises(LaunchError, match="machine"):
        world.submit(variables={"machine": "ml.p5.48xlarge", "count": 1})


def test_an_image_that_is_not_in_ecr(world: SageMakerWorld) -> None:
    world.queue()
    world.agent()
    elsewhere = SourceRef(type="image", fields={"image": "docker.io/library/busybox:1"})
    run = ended(world, world.submit(source=elsewhere))

    assert run.failure is not None
    assert run.failure.reason is Reason.CONFIG_ERROR
    assert "push it to ECR" in (run.failure.hint or ""), run.failure
    assert not world.sagemaker.called("CreateTrainingJob")


def test_its_page_says_what_was_billed(world: SageMakerWorld) -> None:
    world.queue()
    world.agent()
    run = ended(world, world.submit())
    env = {**os.environ, "LAUNCHCORE_BASE_URL": world.url, "HOME": str(world.root)}
    command = [sys.executable, "-m", "launchcore", "show", run.id]
    shown = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout

    assert "billed " in shown
