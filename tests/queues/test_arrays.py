"""Run arrays: what axes mean, and what becomes of an array in its queue."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from launchcore.plugin import Json, LaunchError, RunSpec, RunState, SourceRef
from launchcore.queues.arrays import MAX_SIZE, axis_values, members
from launchcore.queues.base import ArrayInfo, JobDefinition, NotFound, RunFilter
from tests.store.fixtures import quick_path, rig
from tests.store.rig import Rig, spec

__all__ = ["quick_path", "rig"]

RUN = RunSpec(source=SourceRef(type="image"), command=("train",))
AXES: dict[str, list[Json]] = {"lr": [0.1, 0.01], "seed": [1, 2, 3]}


class TestValues:
    @pytest.mark.parametrize(
        ("text", "values"),
        [
            ("0.1,0.01", [0.1, 0.01]),
            ("1..5", [1, 2, 3, 4, 5]),
            ("1..9:4", [1, 5, 9]),
            ("1..8:4", [1, 5]),
            ("5..1:-2", [5, 3, 1]),
            ("-1..1", [-1, 0, 1]),
            ("0..1:0.25", [0.0, 0.25, 0.5, 0.75, 1.0]),
            ("0.1..0.3:0.1", [0.1, 0.2, 0.3]),
            ("1,10..12,20", [1, 10, 11, 12, 20]),
            ("sgd, adam", ["sgd", "adam"]),
            ("true,false", [True, False]),
            ('["a,b", "1..5"]', ["a,b", "1..5"]),
            ("main..dev", ["main..dev"]),
            ("7..7", [7]),
        ],
    )
    def test_are_json_texts_and_ranges(self, text: str, values: list[Json]) -> None:
        found = axis_values(text)
        assert found == values
        assert [type(each) for each in found] == [type(each) for each in values]

    @pytest.mark.parametrize("kind", ["string", ["string", "null"]])
    def test_are_texts_where_the_schema_wants_texts(self, kind: Json) -> None:
        assert axis_values("1,2..3,true", {"type": kind}) == ["1", "2..3", "true"]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "empty value"),
            ("1,,2", "empty value"),
            ("1..5:-1", "never gets"),
            ("1..5:0", "never gets"),
            ("1..1000000000000", "more than"),
            ("0..1:1e-9", "more than"),
            ("[1, 2", "not a list"),
            ("[NaN]", "not a list"),
        ],
    )
    def test_that_make_no_sense_are_told(self, text: str, said: str) -> None:
        with pytest.raises(ValueError, match=said):
            axis_values(text)


class TestMembers:
    def made(self, axes: dict[str, Any], run: RunSpec = RUN, **parts: Any) -> list[RunSpec]:
        return members(run, axes, **{"inputs": None, "variables": (), **parts})

    def test_are_all_combinations_the_last_axis_fastest(self) -> None:
        made = self.made(AXES, attrs.evolve(RUN, name="sweep"))
        assert [run.name for run in made][:4] == [
            "sweep[lr=0.1,seed=1]",
            "sweep[lr=0.1,seed=2]",
            "sweep[lr=0.1,seed=3]",
            "sweep[lr=0.01,seed=1]",
        ]
        assert len(made) == 6
        assert made[3].inputs == {"lr": 0.01, "seed": 1}

    def test_an_axis_is_an_input_of_the_job_before_it_is_a_variable(self) -> None:
        (run,) = self.made({"lr": [1], "gpus": [2]}, inputs=("lr", "gpus"), variables=("lr",))
        assert (run.inputs, run.variables) == ({"lr": 1, "gpus": 2}, {})

    def test_an_axis_may_say_itself_where_its_values_go(self) -> None:
        axes = {"input.a": [1], "var.b": [2], "env.C": [0.5], "arg.d": ["x y"]}
        (run,) = self.made(axes, inputs=("a",), variables=("b",))
        assert (run.inputs, run.variables, run.env) == ({"a": 1}, {"b": 2}, {"C": "0.5"})
        assert run.command == ("train", "--d=x y")
        assert run.name == "array[a=1,b=2,C=0.5,d=x y]"

    def test_without_a_job_an_axis_is_an_input_of_its_name(self) -> None:
        (run,) = self.made({"lr": [1]}, variables=("gpus",))
        assert run.inputs == {"lr": 1}

    def test_a_long_name_has_the_index_instead(self) -> None:
        first, second = self.made({"x": ["a" * 200, "b" * 200]}, attrs.evolve(RUN, job="train:3"))
        assert (first.name, second.name) == ("train[0]", "train[1]")
        (hostile,) = self.made({"x": ["\u202e"]})
        assert hostile.name == "array[0]"
        (cut,) = self.made({"x": [1]}, attrs.evolve(RUN, name="n" * 128))
        assert cut.name == "n" * 125 + "[0]"

    @pytest.mark.parametrize(
        ("axes", "said"),
        [
            ({}, "no axis"),
            ({"lr": []}, "no values"),
            ({"lr": "0.1"}, "not a list"),
            ({"lr": [1, 1]}, "1 twice"),
            ({"lr": [None]}, "null is no value"),
            ({"lr": [float("nan")]}, "not a number"),
            ({"a": list(range(100)), "b": list(range(100))}, f"10000 runs \\(at most {MAX_SIZE}\\)"),
            ({f"a{number}": [1] for number in range(17)}, "17 axes are too many"),
            ({"momentun": [1]}, "did you mean 'momentum'"),
            ({"var.gpu": [1]}, "no such variable"),
            ({"input.x": [1]}, "no such input"),
            ({"env.A B": [1]}, "not a name"),
            ({"arg.": [1]}, "not a name"),
        ],
    )
    def test_everything_that_is_wrong_is_told(self, axes: dict[str, Any], said: str) -> None:
        with pytest.raises(LaunchError, match=said) as error:
            self.made(axes, inputs=("momentum",), variables=("gpus",))
        assert error.value.hint


def submit(rig: Rig, axes: dict[str, Any] | None = None, **parts: Any) -> ArrayInfo:
    named = {key: parts.pop(key) for key in ("max_parallel", "submitter", "key", "priority") if key in parts}
    return rig.service.submit_array("default", spec(**parts), axes or AXES, **named)


def listed(rig: Rig, array: ArrayInfo, **parts: Any) -> list[str]:
    return [run.id for run in rig.service.list_runs(RunFilter(array=array.id, **parts)).runs]


class TestArrays:
    def test_are_submitted_at_once_and_counted(self, rig: Rig) -> None:
        array = submit(rig, name="sweep", submitter="ann", max_parallel=2)
        assert (array.size, array.name, array.submitter, array.max_parallel) == (6, "sweep", "ann", 2)
        assert array.axes == {"lr": (0.1, 0.01), "seed": (1, 2, 3)}
        assert array.counts == {"queued": 6}
        assert not array.ended
        agent = rig.agent()
        (claim,) = agent.claim()
        assert claim.array is not None
        assert (claim.array.id, claim.array.index, claim.array.size) == (array.id, 0, 6)
        assert claim.spec.inputs == {"lr": 0.1, "seed": 1}
        agent.start(claim)
        agent.end(claim)
        assert rig.service.array("sweep").counts == {"queued": 5, "succeeded": 1}
        assert rig.run(claim).array == claim.array

    def test_are_found_by_id_beginning_and_name(self, rig: Rig) -> None:
        array = submit(rig, name="sweep")
        rig.clock.pass_(1000)
        again = submit(rig, name="sweep")
        assert rig.service.array(array.id) == array
        assert rig.service.array("sweep") == again
        assert rig.service.array(again.id[:9]) == again
        with pytest.raises(LaunchError, match="several arrays begin with"):
            rig.service.array("a-0")
        for ref in ("a-zzz", "nobody", "", "\u202e", "a-" + "0" * 500):
            with pytest.raises(NotFound):
                rig.service.array(ref)

    def test_the_same_key_is_the_same_array(self, rig: Rig) -> None:
        first = submit(rig, key="k")
        assert submit(rig, key="k") == first
        assert submit(rig, key="other").id != first.id
        assert len(rig.service.list_runs(RunFilter()).runs) == 12

    def test_all_runs_are_accepted_or_none(self, rig: Rig) -> None:
        with pytest.raises(LaunchError, match="env PATH"):
            submit(rig, {"env.PATH": ["a", "b"], "seed": [1]})
        rig.queue("small", max_queued=5)
        with pytest.raises(LaunchError, match="no room for 6 more"):
            rig.service.submit_array("small", spec(), AXES)
        assert rig.service.list_runs(RunFilter()).runs == ()

    def test_are_listed_in_their_order_page_by_page(self, rig: Rig) -> None:
        array = submit(rig)
        first = rig.service.list_runs(RunFilter(array=array.id, limit=4))
        second = rig.service.list_runs(RunFilter(array=array.id, limit=4, before=first.next))
        runs = (*first.runs, *second.runs)
        assert [run.array.index for run in runs if run.array] == list(range(6))
        assert second.next is None
        rig.service.cancel(runs[2].id)
        assert listed(rig, array, states=(RunState.CANCELLED,)) == [runs[2].id]
        assert listed(rig, array, queue="default", states=(RunState.QUEUED,), limit=2) == [
            runs[0].id,
            runs[1].id,
        ]
        with pytest.raises(NotFound):
            rig.service.list_runs(RunFilter(array="a-nothing"))

    def test_no_more_run_at_a_time_than_allowed_and_others_go_on(self, rig: Rig) -> None:
        array = submit(rig, max_parallel=2)
        other = rig.submit()
        agent = rig.agent()
        claims = agent.claim(limit=10)
        assert [claim.array.index if claim.array else None for claim in claims] == [0, 1, None]
        assert claims[2].run_id == other.id
        assert agent.claim(limit=10) == ()
        agent.end(claims[0])
        assert [claim.array.index for claim in agent.claim(limit=10) if claim.array] == [2]
        assert rig.service.array(array.id).counts["queued"] == 3

    def test_are_cancelled_as_a_whole(self, rig: Rig) -> None:
        array = submit(rig)
        agent = rig.agent()
        done, live = agent.claim(limit=2)
        agent.start(done)
        agent.end(done)
        agent.start(live)
        after = rig.service.cancel_array(array.id, by="ann")
        assert after.counts == {"running": 1, "succeeded": 1, "cancelled": 4}
        assert rig.run(live).cancel_requested_at is not None
        assert rig.service.cancel_array(array.id, by="ann") == after
        assert agent.claim(limit=10) == ()
        with pytest.raises(NotFound):
            rig.service.cancel_array("a-nothing")

    def test_values_are_checked_by_the_job(self, rig: Rig) -> None:
        definition = JobDefinition(
            source=SourceRef(type="image", fields={"image": "busybox"}),
            command=("train", "${inputs.lr}"),
            inputs={"lr": {"type": "number", "maximum": 1}, "epochs": {"type": "integer", "default": 3}},
        )
        rig.service.create_job("train", definition)
        of_job = {"job": "train:1", "command": definition.command}
        with pytest.raises(LaunchError, match="input lr: 2 is greater than"):
            submit(rig, {"lr": [0.5, 2]}, **of_job)
        with pytest.raises(LaunchError, match="'depth' is neither an input"):
            submit(rig, {"depth": [1]}, **of_job)
        array = submit(rig, {"lr": [0.5, 1]}, **of_job)
        (claim,) = rig.agent().claim()
        assert claim.spec.inputs == {"lr": 0.5, "epochs": 3}
        assert claim.spec.name == "train[lr=0.5]"
        assert array.size == 2

    @pytest.mark.parametrize("most", [0, -1, 10**9])
    def test_so_many_at_a_time_is_a_number(self, rig: Rig, most: int) -> None:
        with pytest.raises(LaunchError, match="max_parallel"):
            submit(rig, max_parallel=most)
