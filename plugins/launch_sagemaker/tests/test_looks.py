"""Looks, events and questions, together, at a SageMaker that runs training jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
from launch_aws.session import Account
from launch_aws.settings import AccountSettings
from launch_aws.testing.cloud import REGION, Cloud
from launch_sagemaker import names
from launch_sagemaker.api import Api, Exists
from launch_sagemaker.events import Events
from launch_sagemaker.observer import Observer
from launch_sagemaker.places import Job, handle_of
from launch_sagemaker.settings import Settings
from launch_sagemaker.testing import faults
from launch_sagemaker.testing.bodies import spot, training_job
from launch_sagemaker.testing.endpoint import Endpoint

from launchcore.plugin import LaunchError, Phase, Reason, RunHandle, RunStatus


def eventually(what: Callable[[], bool], seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.01)


@attrs.define
class Agent:
    """What looks, and what it was told."""

    account: Account
    api: Api
    observer: Observer
    told: list[tuple[str, RunStatus]] = attrs.field(factory=list)

    def start(self, attempt: str, *words: str, region: str = REGION, **members: Any) -> Job:
        job = Job(attempt_id=attempt, name=names.job_name(attempt), region=region)
        tags = [{"Key": names.OWNER, "Value": "me"}, {"Key": names.ATTEMPT, "Value": attempt}]
        self.api.create(region, training_job(job.name, *words, Tags=tags, **members))
        self.observer.follow(job, made_now=True)
        return job

    def phase(self, attempt: str) -> Phase:
        sight = self.observer.sight(attempt)
        return sight.status.phase if sight is not None else Phase.UNKNOWN

    def end(self, job: Job) -> RunStatus:
        eventually(lambda: self.phase(job.attempt_id).final)
        return self.observer.look([handle_of(job)])[job.attempt_id]


Agents = Callable[..., Agent]


@pytest.fixture
def agents(cloud: Cloud, sagemaker: Endpoint, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agents]:
    monkeypatch.setattr("launch_sagemaker.api.CONTROL_PER_SECOND", 1000.0)
    made: list[Agent] = []

    def make(**settings: Any) -> Agent:
        account = Account(
            AccountSettings(region=REGION, endpoint_url=cloud.url, endpoints={"sagemaker": sagemaker.url})
        )
        said = Settings(**{"look_seconds": 0.05, "requests_per_second": 200.0, **settings})
        api = Api(account, said)
        agent = Agent(account, api, Observer(api, said))
        made.append(agent)
        return agent

    yield make
    for each in made:
        each.observer.close()


def test_a_job_is_followed_from_its_start_to_its_end(agents: Agents, sagemaker: Endpoint) -> None:
    agent = agents()
    told: list[tuple[RunHandle, Phase]] = []
    with agent.observer.watching(lambda handle, status: told.append((handle, status.phase))):
        job = agent.start("r-1", "/bin/sh", "-c", "exit 7")
        status = agent.end(job)
        eventually(lambda: bool(told) and told[-1][1].final)

    assert (status.phase, status.exit_code) == (Phase.FAILED, 7)
    assert status.failure is not None
    assert status.failure.reason is Reason.USER_ERROR
    assert status.started_at is not None
    assert status.finished_at is not None
    assert status.started_at <= status.finished_at
    assert status.usage["training_seconds"] >= 1
    assert all(handle == handle_of(job) for handle, _ in told)
    assert [phase for _, phase in told] == sorted((phase for _, phase in told), key=list(Phase).index)
    assert agents().observer.look([handle_of(job)])["r-1"] == status, "whoever looks later sees the same"


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        (faults.NO_CAPACITY, Reason.UNSCHEDULABLE),
        (faults.OVER_QUOTA, Reason.UNSCHEDULABLE),
        (faults.BROKEN, Reason.INFRASTRUCTURE),
        (faults.NO_IMAGE, Reason.IMAGE_PULL),
        (faults.NO_DATA, Reason.CONFIG_ERROR),
        (faults.NO_ACCESS, Reason.CONFIG_ERROR),
    ],
)
def test_what_ends_a_job_before_it_runs_has_its_reason(
    agents: Agents, sagemaker: Endpoint, ending: faults.Ending, reason: Reason
) -> None:
    sagemaker.faults.end_next(ending)
    agent = agents()
    failure = agent.end(agent.start("r-1", "/bin/true")).failure

    assert failure is not None
    assert failure.reason is reason


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (faults.QUOTA, Reason.UNSCHEDULABLE),
        (faults.BAD_ROLE, Reason.CONFIG_ERROR),
        (faults.BAD_IMAGE, Reason.IMAGE_PULL),
        (faults.BAD_BUCKET, Reason.CONFIG_ERROR),
        (faults.INTERNAL, Reason.INFRASTRUCTURE),
    ],
)
def test_a_start_that_is_refused_has_its_reason(
    agents: Agents, sagemaker: Endpoint, refusal: faults.Refusal, reason: Reason
) -> None:
    sagemaker.faults.refuse("CreateTrainingJob", refusal)

    with pytest.raises(LaunchError) as raised:
        agents().start("r-1")
    assert raised.value.reason is reason
    assert raised.value.hint


def test_an_agent_that_may_not_start_jobs_is_told_which_action_it_lacks(
    agents: Agents, sagemaker: Endpoint
) -> None:
    sagemaker.faults.allow_only("sagemaker:DescribeTrainingJob")

    with pytest.raises(LaunchError, match="sagemaker:CreateTrainingJob is not allowed"):
        agents().start("r-1")


def test_a_body_that_sagemaker_refuses_names_the_member(agents: Agents, sagemaker: Endpoint) -> None:
    with pytest.raises(LaunchError, match=r"(?i)maxRuntimeInSeconds") as raised:
        agents().start("r-1", StoppingCondition={"MaxRuntimeInSeconds": 0})
    assert raised.value.reason is Reason.CONFIG_ERROR


def test_a_second_start_of_a_name_finds_the_first(agents: Agents, sagemaker: Endpoint) -> None:
    sagemaker.faults.paper()
    agent = agents()
    agent.start("r-1")

    with pytest.raises(Exists):
        agent.start("r-1")


def test_a_job_that_is_not_visible_yet_is_waited_for(agents: Agents, sagemaker: Endpoint) -> None:
    sagemaker.faults.paper()
    sagemaker.faults.hide(0.5)
    agent = agents()
    job = agent.start("r-1")
    first = agent.observer.look([handle_of(job)])["r-1"]
    assert not first.phase.final

    eventually(lambda: agent.phase("r-1") is Phase.RUNNING)
    assert len([call for call in sagemaker.called("DescribeTrainingJob") if call.error]) >= 2


def test_a_job_that_was_never_made_is_gone_in_the_end(agents: Agents, sagemaker: Endpoint) -> None:
    agent = agents(appear_seconds=0.2)
    job = Job(attempt_id="r-1", name="launch-r-1", region=REGION)
    agent.observer.follow(job)

    assert agent.end(job).phase is Phase.GONE


def test_a_stop_is_seen_as_what_it_was(agents: Agents, sagemaker: Endpoint) -> None:
    sagemaker.faults.paper()
    agent = agents()
    job = agent.start("r-1")
    assert agent.api.stop(job)
    failure = agent.end(job).failure
    assert failure is not None
    assert failure.reason is Reason.CANCELLED

    assert agent.api.stop(job), "it has ended: no error"
    assert not agent.api.stop(attrs.evolve(job, name="launch-no-such"))


def test_spot_instances_that_are_taken_back_are_a_warning_and_their_end_a_preemption(
    agents: Agents, sagemaker: Endpoint
) -> None:
    sagemaker.faults.interrupt_next(comes_back=False)
    agent = agents()
    job = agent.start("r-1", "/bin/sleep", "60", **spot(wait=2, run=2))
    warned: list[str | None] = []
    with agent.observer.watching(lambda _, status: warned.append(status.message)):
        failure = agent.end(job).failure

    assert failure is not None
    assert failure.reason is Reason.PREEMPTED
    assert any("taken back once" in (each or "") for each in warned)


def test_throttled_looks_slow_down_and_see_everything_in_the_end(agents: Agents, sagemaker: Endpoint) -> None:
    sagemaker.faults.paper()
    agent = agents()
    for n in range(10):
        agent.start(f"r-{n}")
    sagemaker.faults.throttle("DescribeTrainingJob", calls=1)
    for each in sagemaker.jobs:
        each.end()

    eventually(lambda: all(agent.phase(f"r-{n}") is Phase.SUCCEEDED for n in range(10)))
    calls = sagemaker.called("DescribeTrainingJob")
    (throttled,) = [at for at, call in enumerate(calls) if call.error == "ThrottlingException"]
    assert calls[throttled + 1].at - calls[throttled].at >= 0.49, "nothing is tried for a while"


def test_a_connection_that_breaks_is_no_end(agents: Agents, sagemaker: Endpoint) -> None:
    sagemaker.faults.paper()
    agent = agents()
    job = agent.start("r-1")
    eventually(lambda: agent.phase("r-1") is Phase.RUNNING)
    sagemaker.faults.cut("DescribeTrainingJob", made=False, calls=None)
    eventually(lambda: agent.observer.look([handle_of(job)])["r-1"].phase is Phase.UNKNOWN)
    sagemaker.faults.lift()

    eventually(lambda: agent.observer.look([handle_of(job)])["r-1"].phase is Phase.RUNNING)


def test_credentials_that_expire_are_said_and_read_again(agents: Agents, sagemaker: Endpoint) -> None:
    sagemaker.faults.paper()
    agent = agents()
    job = agent.start("r-1")
    eventually(lambda: agent.phase("r-1") is Phase.RUNNING)
    sagemaker.faults.expire_credentials()
    eventually(lambda: agent.observer.look([handle_of(job)])["r-1"].phase is Phase.UNKNOWN)
    assert "have expired" in (agent.observer.look([handle_of(job)])["r-1"].message or "")
    sagemaker.faults.expire_credentials(False)

    eventually(lambda: agent.observer.look([handle_of(job)])["r-1"].phase is Phase.RUNNING)


def test_a_search_finds_what_has_not_ended_and_is_ours(agents: Agents, sagemaker: Endpoint) -> None:
    sagemaker.faults.paper()
    agent = agents()
    ours, ended = agent.start("r-1"), agent.start("r-2")
    sagemaker.job(ended.name).end()

    assert agent.api.search(REGION, "me") == [ours]
    assert agent.api.search(REGION, "somebody") == []
    assert agent.api.tags(REGION, sagemaker.job(ours.name).arn)[names.ATTEMPT] == "r-1"


def test_events_bring_ends_at_once_and_lost_ones_are_made_up_for_by_looks(
    agents: Agents, sagemaker: Endpoint, sagemaker_clients: Callable[[str, str], Any]
) -> None:
    sqs = sagemaker_clients("sqs", REGION)
    url = sqs.create_queue(QueueName="launchcore-events")["QueueUrl"]
    sagemaker.events_to(url)
    sagemaker.faults.paper()
    agent = agents(look_seconds=3600.0)
    events = Events(agent.account, url, agent.observer, wait=1)
    events.start()
    try:
        job = agent.start("r-1")
        agent.observer.look([handle_of(job)])
        sagemaker.job(job.name).end()
        assert agent.end(job).phase is Phase.SUCCEEDED
        eventually(events.healthy)
        sagemaker.faults.lose_events(100)
        lost = agent.start("r-2")
        sagemaker.job(lost.name).end()
        assert agent.end(lost).phase is Phase.SUCCEEDED
    finally:
        events.close()
