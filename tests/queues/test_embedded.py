"""The user's side of the embedded queue: queues, jobs, runs, by the names that people type."""

from __future__ import annotations

import attrs
import pytest

from launchcore.plugin import (
    Fault,
    LaunchError,
    Limits,
    Priority,
    QueueConfig,
    Reason,
    RunSpec,
    RunState,
    SourceRef,
    Stage,
    TimelineEvent,
    Verdict,
)
from launchcore.queues.admission import admit
from launchcore.queues.base import JobDefinition, NotFound, RunFilter, RunInfo
from tests.store.fixtures import quick_path, rig
from tests.store.rig import Rig, spec

__all__ = ["quick_path", "rig"]

CONFIG = QueueConfig(type="process")


def users_mistake(error: pytest.ExceptionInfo[LaunchError]) -> LaunchError:
    found = error.value
    assert (found.reason, found.fault) == (Reason.CONFIG_ERROR, Fault.USER)
    assert found.hint
    assert "\n" not in found.detail
    return found


class TestQueues:
    def test_are_made_edited_and_listed(self, rig: Rig) -> None:
        made = rig.service.create_queue("gpu", QueueConfig(type="docker", max_running=2, description="A"))
        rig.clock.pass_(5.0)
        edited = rig.service.edit_queue("gpu", attrs.evolve(made.config, max_running=4))

        assert (made.name, made.config.max_running, made.paused) == ("gpu", 2, False)
        assert edited.config.max_running == 4
        assert (edited.created_at, edited.updated_at) == (made.created_at, made.created_at + 5.0)
        assert [queue.name for queue in rig.service.list_queues()] == ["default", "gpu"]

    def test_say_how_busy_they_are(self, rig: Rig) -> None:
        for _ in range(3):
            rig.submit()
        rig.agent(queues=("default",)).one()
        queue = rig.service.queue("default")
        assert (queue.queued, queue.running, queue.agents) == (2, 1, ("one",))

    def test_stay_paused_when_only_their_configuration_is_edited(self, rig: Rig) -> None:
        rig.service.edit_queue("default", CONFIG, paused=True)
        assert rig.service.edit_queue("default", attrs.evolve(CONFIG, max_running=3)).paused

    @pytest.mark.parametrize("name", ["", "a b", "-x", "x" * 64, "../x", "é", "a\nb"])
    def test_have_names_that_are_names(self, rig: Rig, name: str) -> None:
        with pytest.raises(LaunchError) as error:
            rig.service.create_queue(name, CONFIG)
        users_mistake(error)

    def test_exist_once(self, rig: Rig) -> None:
        with pytest.raises(LaunchError, match="exists already") as error:
            rig.service.create_queue("default", CONFIG)
        users_mistake(error)

    def test_that_do_not_exist_are_told_with_the_nearest_name(self, rig: Rig) -> None:
        for act in (
            lambda: rig.service.queue("defualt"),
            lambda: rig.service.edit_queue("defualt", CONFIG),
            lambda: rig.service.delete_queue("defualt"),
            lambda: rig.service.submit("defualt", spec()),
            lambda: rig.service.list_runs(RunFilter(queue="defualt")),
        ):
            with pytest.raises(NotFound, match="no queue 'defualt'") as error:
                act()
            assert users_mistake(error).hint == "did you mean default?"

    def test_that_cannot_be_are_refused(self, rig: Rig) -> None:
        with pytest.raises(LaunchError) as error:
            rig.service.create_queue("x", QueueConfig(type="process", max_running=-1))
        users_mistake(error)

    def test_are_deleted_with_their_history_kept(self, rig: Rig) -> None:
        run = rig.submit()
        agent = rig.agent()
        agent.end(agent.one())

        rig.service.delete_queue("default")

        assert rig.service.list_queues() == ()
        assert rig.run(run).queue == "default"
        assert [each.id for each in rig.service.list_runs(RunFilter(queue="default")).runs] == [run.id]
        rig.queue("default")
        assert rig.service.list_runs(RunFilter(queue="default")).runs == ()

    def test_with_live_runs_are_not_deleted(self, rig: Rig) -> None:
        rig.submit()
        agent = rig.agent()
        claim = agent.one()
        for force in (False, True):
            with pytest.raises(LaunchError, match=r"1 live run") as error:
                rig.service.delete_queue("default", force=force)
            users_mistake(error)
        agent.end(claim)
        rig.service.delete_queue("default")

    def test_with_queued_runs_are_deleted_by_force_only(self, rig: Rig) -> None:
        runs = [rig.submit() for _ in range(3)]
        with pytest.raises(LaunchError, match=r"3 queued run") as error:
            rig.service.delete_queue("default")
        assert "--force" in (users_mistake(error).hint or "")

        rig.service.delete_queue("default", force=True)

        assert {rig.run(run).state for run in runs} == {RunState.CANCELLED}


class TestJobs:
    def definition(self, *command: str) -> JobDefinition:
        return JobDefinition(source=SourceRef(type="image", fields={"image": "busybox"}), command=command)

    def test_have_versions_and_the_same_definition_is_the_same_version(self, rig: Rig) -> None:
        first = rig.service.create_job("train", self.definition("a"))
        second = rig.service.create_job("train", self.definition("b"))
        again = rig.service.create_job("train", self.definition("a"))

        assert (first.ref, second.ref, again.ref) == ("train:1", "train:2", "train:1")
        assert rig.service.job("train") == second
        assert rig.service.job("train:1") == first
        assert rig.service.job_versions("train") == (second, first)
        rig.service.create_job("eval", self.definition())
        assert [job.ref for job in rig.service.list_jobs()] == ["eval:1", "train:2"]

    @pytest.mark.parametrize(
        ("ref", "hint"),
        [("trian", "did you mean train?"), ("train:7", "it has: 1"), ("train:x", "it has: 1")],
    )
    def test_that_do_not_exist(self, rig: Rig, ref: str, hint: str) -> None:
        rig.service.create_job("train", self.definition())
        with pytest.raises(NotFound) as error:
            rig.service.job(ref)
        assert users_mistake(error).hint == hint

    def test_have_names_that_are_names(self, rig: Rig) -> None:
        with pytest.raises(LaunchError) as error:
            rig.service.create_job("a:b", self.definition())
        users_mistake(error)


class TestSubmit:
    def test_gives_an_id_that_fits_a_dns_label(self, rig: Rig) -> None:
        runs = [rig.submit() for _ in range(50)]
        assert len({run.id for run in runs}) == 50
        for run in runs:
            assert len(run.id) == 12
            assert set(run.id) <= set("0123456789abcdefghjkmnpqrstvwxyz")
        rig.clock.pass_(1.0)
        assert rig.submit().id > max(run.id for run in runs)

    def test_returns_what_is_stored(self, rig: Rig) -> None:
        run = rig.submit(submitter="ann", priority=Priority.HIGH, name="baseline")
        assert attrs.evolve(rig.run(run), position=None) == run
        assert (run.state, run.submitter, run.priority) == (RunState.QUEUED, "ann", Priority.HIGH)

    def test_with_the_same_key_is_the_same_run(self, rig: Rig) -> None:
        first = rig.submit(key="k-1")
        assert rig.submit(key="k-1").id == first.id
        assert rig.submit(key="k-2").id != first.id
        rig.queue("other")
        assert rig.submit("other", key="k-1").id != first.id

    def test_admits_by_the_queues_rules(self, rig: Rig) -> None:
        rig.queue("bounded", limits=Limits(run_seconds=60.0))
        assert rig.submit("bounded").spec.limits.run_seconds == 60.0
        with pytest.raises(LaunchError) as error:
            rig.submit("bounded", env={"LD_PRELOAD": "evil.so"})
        assert error.value.reason is Reason.CONFIG_ERROR
        assert rig.service.queue("bounded").queued == 1

    def test_admits_again_when_the_queue_is_edited_meanwhile(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[QueueConfig] = []

        def slow(queue: str, config: QueueConfig, wanted: RunSpec, priority: Priority) -> RunSpec:
            if not asked:
                rig.service.edit_queue(queue, attrs.evolve(config, limits=Limits(run_seconds=9.0)))
            asked.append(config)
            return admit(queue, config, wanted, priority)

        monkeypatch.setattr("launchcore.queues.submits.admit", slow)

        assert rig.submit().spec.limits.run_seconds == 9.0
        assert len(asked) == 2

    def test_takes_keys_that_are_short(self, rig: Rig) -> None:
        with pytest.raises(LaunchError, match="key") as error:
            rig.submit(key="k" * 256)
        users_mistake(error)

    def test_takes_another_id_when_one_comes_twice(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        from launchcore.store import runs_change

        first = rig.submit()
        ids = iter([first.id, first.id, "000000000001"])
        monkeypatch.setattr(runs_change, "new_run_id", lambda _now: next(ids))
        assert rig.submit().id == "000000000001"


class TestFinding:
    def test_by_id_beginning_and_name(self, rig: Rig) -> None:
        old = rig.submit(name="baseline")
        rig.clock.pass_(100_000.0)
        new = rig.submit(name="baseline")

        assert rig.service.run(old.id).id == old.id
        assert rig.service.run(old.id[:7]).id == old.id
        assert rig.service.run(old.id[:7].upper()).id == old.id
        assert rig.service.run("baseline").id == new.id

    def test_of_a_beginning_that_several_have(self, rig: Rig) -> None:
        runs = sorted(rig.submit().id for _ in range(2))
        with pytest.raises(LaunchError, match=f"several runs begin with .*: {runs[0]}, {runs[1]}$") as error:
            rig.service.run(runs[0][:5])
        users_mistake(error)

    def test_of_a_name_that_is_a_beginning_too(self, rig: Rig) -> None:
        runs = [rig.submit() for _ in range(2)]
        named = rig.submit(name=runs[0].id[:4])
        assert rig.service.run(runs[0].id[:4]).id == named.id

    def test_of_nothing(self, rig: Rig) -> None:
        rig.submit(name="baseline")
        with pytest.raises(NotFound) as error:
            rig.service.run("basline")
        assert users_mistake(error).hint == "did you mean baseline?"
        for act in (rig.service.cancel, rig.service.retry, rig.service.timeline, rig.service.logs):
            with pytest.raises(NotFound):
                act("nobody")
        with pytest.raises(NotFound):
            rig.service.wait("nobody", 0, timeout=9)

    def test_tells_the_place_in_the_queue(self, rig: Rig) -> None:
        first, second = rig.submit(), rig.submit()
        urgent = rig.submit(priority=Priority.CRITICAL)
        assert [rig.run(run).position for run in (urgent, first, second)] == [0, 1, 2]
        rig.agent().one()
        assert [rig.run(run).position for run in (urgent, first, second)] == [None, 0, 1]


class TestListing:
    def test_in_pages_the_newest_first(self, rig: Rig) -> None:
        ids = [rig.submit().id for _ in range(7)][::-1]
        seen: list[str] = []
        before = None
        while True:
            page = rig.service.list_runs(RunFilter(limit=3, before=before))
            seen += [run.id for run in page.runs]
            assert len(page.runs) == min(3, 7 - len(seen) + len(page.runs))
            before = page.next
            if before is None:
                break
            rig.submit()  # a newer one does not move the pages
        assert seen == ids

    def test_by_every_filter(self, rig: Rig) -> None:
        rig.queue("other")
        definition = JobDefinition(source=SourceRef(type="image", fields={"image": "busybox"}))
        for command in (("true",), ("false",)):
            rig.service.create_job("train", attrs.evolve(definition, command=command))
        plain = rig.submit()
        rig.clock.pass_(10.0)
        job = rig.submit(job="train:2", submitter="ann")
        other = rig.submit("other", name="baseline")
        agent = rig.agent()
        agent.start(agent.one())  # plain
        gone = rig.submit("other")
        rig.service.cancel(gone.id)

        def found(**parts: object) -> list[str]:
            return [run.id for run in rig.service.list_runs(RunFilter(**parts)).runs]  # type: ignore[arg-type]

        assert found(queue="other") == [gone.id, other.id]
        assert found(states=(RunState.RUNNING,)) == [plain.id]
        assert found(states=(RunState.CANCELLED, RunState.RUNNING)) == [gone.id, plain.id]
        assert found(states=(RunState.QUEUED,)) == [other.id, job.id]
        assert found(job="train") == found(job="train:2") == [job.id]
        assert found(job="train:1") == found(job="train:x") == []
        assert found(name="baseline") == [other.id]
        assert found(submitter="ann") == [job.id]
        assert found(since=rig.clock.now) == [gone.id, other.id, job.id]
        assert found(queue="other", states=(RunState.QUEUED,), name="baseline") == [other.id]
        assert found(limit=0) == [gone.id]

    @pytest.mark.parametrize("cursor", ["x", "-1", "1; DROP TABLE runs", "9" * 30])
    def test_by_a_page_that_is_none(self, rig: Rig, cursor: str) -> None:
        with pytest.raises(LaunchError) as error:
            rig.service.list_runs(RunFilter(before=cursor))
        users_mistake(error)


class TestRetry:
    def test_is_a_new_run_with_the_same_pinned_source(self, rig: Rig) -> None:
        run = rig.submit(name="baseline", priority=Priority.HIGH, submitter="ann")
        agent = rig.agent()
        claim = agent.one()
        pinned = SourceRef(type="git", fields={"url": "https://example.com/x", "commit": "4b1d2c9"})
        agent.write(claim, state=RunState.PREPARING, pinned=pinned)
        agent.end(claim, Verdict.FAILED)

        again = rig.service.retry(run.id, submitter="bob")

        assert again.id != run.id
        assert (again.retry_of, again.spec.source, again.spec.name) == (run.id, pinned, "baseline")
        assert (again.priority, again.submitter, again.state) == (Priority.HIGH, "bob", RunState.QUEUED)
        assert rig.run(run).state is RunState.FAILED

    def test_is_for_runs_that_have_ended(self, rig: Rig) -> None:
        with pytest.raises(LaunchError) as error:
            rig.service.retry(rig.submit().id)
        users_mistake(error)


class TestTimeline:
    def test_tells_the_story_in_order(self, rig: Rig) -> None:
        run = rig.submit(submitter="ann")
        rig.clock.pass_(2.0)
        agent = rig.agent()
        claim = agent.one()
        rig.clock.pass_(1.0)
        event = TimelineEvent(at=rig.clock.now, stage=Stage.SOURCE, what="finished", detail="x", seconds=0.5)
        agent.write(claim, events=(event,))
        rig.clock.pass_(1.0)
        rig.service.cancel(run.id, by="bob")

        told = rig.service.timeline(run.id)

        assert [(number, each.stage.value, each.what, each.detail) for number, each in told] == [
            (0, "submit", "finished", "to queue default, by ann"),
            (1, "claim", "finished", "agent one"),
            (1, "source", "finished", "x"),
            (0, "execute", "note", "cancel requested by bob"),
        ]
        assert told[1][1].seconds == 2.0
        assert told[2][1] == event


def test_two_services_on_one_file_see_the_same(rig: Rig) -> None:
    from launchcore.queues.connect import open_service

    other = open_service(rig.url)
    run = rig.submit()
    assert other.run(run.id).id == run.id
    other.cancel(run.id)
    assert rig.run(run).state is RunState.CANCELLED
    digest = other.put_archive([b"x"])
    assert rig.service.has_archive(digest)
    with rig.service.open_archive(digest) as file, rig.agent().client.open_archive(digest) as same:
        assert file.read() == same.read() == b"x"
    other.close()


def test_hostile_texts_are_values_and_nothing_more(rig: Rig) -> None:
    """SQL, markup and control characters come back as they were; what is no text is refused."""
    hostile = "'; DROP TABLE runs; -- <script>\x1b[31m"
    run: RunInfo = rig.submit(submitter=hostile, key=hostile, env={"X": hostile[:-5]})
    assert rig.run(run).submitter == hostile
    assert rig.run(run).spec.env == {"X": hostile[:-5]}
    assert rig.submit(key=hostile).id == run.id
    for name in (hostile, "\ud800", "\0", "%", "_"):
        with pytest.raises(LaunchError):
            rig.service.run(name)
        with pytest.raises(LaunchError):
            rig.service.queue(name)
