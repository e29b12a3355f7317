"""What a run is told of itself, whatever runs it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from launchcore.plugin import ArrayMember, Claim, Lease, QueueConfig, RunSpec, RunState, SourceRef
from launchcore.stages.s4_execute import _told


def claim(**parts: Any) -> Claim:
    return Claim(
        lease=Lease(attempt_id="r-1", token="t", expires_at=1.0),
        run_id="r",
        queue="default",
        queue_config=QueueConfig(type="process"),
        spec=RunSpec(source=SourceRef(type="image"), inputs=parts.pop("inputs", {})),
        state=RunState.CLAIMED,
        submitted_at=0.0,
        claimed_at=0.0,
        **{"attempt": 1, **parts},
    )


@pytest.mark.parametrize(("attempt", "resumed", "said"), [(1, False, "0"), (2, True, "1"), (3, False, "0")])
def test_which_attempt_it_is_and_whether_one_ran_before(attempt: int, resumed: bool, said: str) -> None:
    told = _told(claim(attempt=attempt, resumed=resumed))
    assert told == {"LAUNCH_ATTEMPT": str(attempt), "LAUNCH_RESUMED": said}


def test_its_inputs_and_its_place_in_an_array() -> None:
    told = _told(claim(inputs={"lr": 0.1}, array=ArrayMember(id="a-1", index=2, size=5)))
    assert json.loads(told["LAUNCH_INPUTS"]) == {"lr": 0.1}
    assert told["LAUNCH_ARRAY_ID"] == "a-1"
    assert (told["LAUNCH_ARRAY_INDEX"], told["LAUNCH_ARRAY_SIZE"]) == ("2", "5")
