"""Everything at once: agents are killed while SageMaker throttles, forgets, breaks off and hides."""

from __future__ import annotations

import random
import time

import pytest
from launch_sagemaker.testing import faults
from launch_sagemaker.testing.faults import Faults

from launchcore.plugin import RetryPolicy
from tests.crash import invariants
from tests.live.sagemaker.world import SageMakerWorld

pytestmark = [pytest.mark.live, pytest.mark.slow]

RUNS, LIMIT, SECONDS = 10, 3, 25.0


def trouble(chance: random.Random, now: Faults) -> str:
    """One more fault; its name."""
    operation = chance.choice(["CreateTrainingJob", "DescribeTrainingJob", "Search", "ListTags", "*"])
    which = chance.randrange(5)
    if which == 0:
        now.throttle(operation, seconds=2.0)
        return f"throttled {operation}"
    if which == 1:
        made = chance.random() < 0.5
        now.cut("CreateTrainingJob", made=made, calls=2)
        return f"cut, made {made}"
    if which == 2:
        now.refuse(operation, faults.INTERNAL, calls=3, made=chance.random() < 0.5)
        return f"broken {operation}"
    if which == 3:
        now.slow(operation, 1.5, calls=3)
        return f"slow {operation}"
    now.throttle("*", above=3.0, seconds=3.0)
    return "throttled above 3/s"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", [1, 2])
def test_no_run_is_lost_and_none_is_trained_twice(world: SageMakerWorld, seed: int) -> None:
    chance = random.Random(seed)
    world.queue(max_running=LIMIT, retry=RetryPolicy(max_lost=100))
    world.sagemaker.faults.hide(1.0)
    for _ in range(RUNS):
        world.submit(seconds=1.0)
    agent, told = world.agent("a0", ready=False), []
    end = time.monotonic() + SECONDS
    number = 0
    while time.monotonic() < end:
        told.append(trouble(chance, world.sagemaker.faults))
        time.sleep(chance.uniform(0.5, 2.5))
        if chance.random() < 0.4:
            agent.kill()
            number += chance.random() < 0.5
            agent = world.agent(f"a{number}", ready=False)
            told.append(f"killed, now a{number}")
    world.sagemaker.faults.lift()
    runs = world.finished(seconds=150)

    try:
        invariants.check_all(world, runs, limit=LIMIT, left_seconds=60)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{told}") from None
