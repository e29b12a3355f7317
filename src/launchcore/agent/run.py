"""``launch agent``: put an agent together from its configuration, and run it until it is told to end."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from launchcore.agent.agent import Agent
from launchcore.agent.failpoints import Failpoints
from launchcore.agent.identity import lock_folder, take_identity
from launchcore.agent.signals import Wakeup
from launchcore.agent.view import AgentView, ViewHandler
from launchcore.agent.wiring import Wiring, wire
from launchcore.config.load import LoadedConfig
from launchcore.plugin import AgentInfo, Claim, QueueUnavailable
from launchcore.telemetry.opening import telemetry

log = logging.getLogger("launchcore.agent")
T = TypeVar("T")


def run_agent(loaded: LoadedConfig, *, view: AgentView) -> int:
    """Run until SIGTERM or SIGINT, and return the exit code.

    The first signal drains: no new claims; what has not started goes back to its queue. Running runs
    are left to be adopted, or waited for: ``drain_seconds`` says which; Ctrl-C always waits. The second
    cancels them, with their grace. The third leaves at once.

    A queue service that cannot be reached is waited for, at the start too.

    :raises LaunchError: the configuration cannot work.
    :raises AgentNameTaken: a live agent on another machine has this name.
    """
    failpoints = Failpoints.parse(os.environ.get("LAUNCHCORE_FAILPOINTS", ""))
    handler = ViewHandler(view)
    logger = logging.getLogger("launchcore")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    wakeup = Wakeup()
    try:
        wiring = _patiently(lambda: wire(loaded), wakeup, view)
        return 0 if wiring is None else _run(wiring, failpoints, wakeup, view)
    finally:
        wakeup.close()
        logger.removeHandler(handler)
        view.close()


def _run(wiring: Wiring, failpoints: Failpoints, wakeup: Wakeup, view: AgentView) -> int:
    config = wiring.loaded.config
    for warning in (*wiring.loaded.warnings, *wiring.secrets.warnings()):
        view.event("warning", warning)
    identity = take_identity(config.name, lock_folder(wiring.client.identity()))
    try:
        info = identity.info(queues=config.queues, max_jobs=config.max_jobs, host_bound=wiring.host_bound)
        agent = _make_agent(wiring, info, failpoints, view)
        told = telemetry(config, wiring.witnesses, agent=info.name, version=info.version, look=agent.gauges)
        with told as lines:
            for line in lines:
                view.event("info", line)
            return _serve(agent, wiring, wakeup, view)
    finally:
        identity.lock.close()


def _patiently(call: Callable[[], T], wakeup: Wakeup, view: AgentView) -> T | None:
    """Repeat ``call`` while the queue is away; None when the agent is told to end meanwhile."""
    delay = 0.5
    while not wakeup.asked:
        try:
            return call()
        except QueueUnavailable as error:
            if delay == 0.5:
                view.event("warning", f"the queue is unavailable, waiting for it: {error}")
        wakeup.wait(delay)
        delay = min(delay * 2, 10.0)
    return None


def _make_agent(wiring: Wiring, info: AgentInfo, failpoints: Failpoints, view: AgentView) -> Agent:
    return Agent(
        info=info,
        config=wiring.loaded.config,
        client=wiring.client,
        shop=wiring.shop,
        secrets=wiring.secrets,
        failpoints=failpoints,
        view=view,
        witness=wiring.witnesses,
        local=wiring.local,
    )


def _serve(agent: Agent, wiring: Wiring, wakeup: Wakeup, view: AgentView) -> int:
    config = wiring.loaded.config
    client, lease = wiring.client, config.lease_seconds

    def register() -> Sequence[Claim]:
        # The lock on the name is ours, so an older session of it on this machine is dead.
        client.register(agent.info, lease_seconds=lease, previous_is_dead=True)
        return client.reclaim(agent.info, lease_seconds=lease)

    claims = _patiently(register, wakeup, view)
    if claims is None:
        return 0
    agent.on_change = wakeup.ring
    agent.start(claims)
    jobs = "no limit" if config.max_jobs < 0 else str(config.max_jobs)
    view.event(
        "polling",
        f"agent {agent.info.name} serves {', '.join(config.queues)} at {config.base_url} (max jobs: {jobs})",
        agent=agent.info.name,
        queues=config.queues,
    )
    _until_asked(agent, wakeup, view)
    return _leave(agent, wakeup, view, config.drain_seconds)


def _until_asked(agent: Agent, wakeup: Wakeup, view: AgentView) -> None:
    while not wakeup.asked and agent.replaced is None and agent.damaged is None:
        _look(agent, view)
        wakeup.wait(_pause(agent, view))


def _leave(agent: Agent, wakeup: Wakeup, view: AgentView, drain_seconds: float) -> int:
    if agent.damaged is not None:
        agent.close()
        raise agent.damaged
    if agent.replaced is not None:
        view.event("error", f"this agent has been replaced and leaves: {agent.replaced}")
        agent.close()
        return 1
    waits = -1.0 if wakeup.interrupts else drain_seconds
    agent.drain()
    until = None if waits < 0 else time.monotonic() + waits
    running = len(agent.roster)
    if running and waits != 0:
        view.event(
            "draining", f"waiting for {running} run(s); again to cancel them, a third time to leave at once"
        )
    cancelled = False
    while len(agent.roster) and wakeup.asked < 3 and agent.damaged is None:
        if wakeup.asked == 2 and not cancelled:
            cancelled, until = True, None
            view.event("stopping", f"cancelling {len(agent.roster)} run(s)")
            agent.cancel_all("the agent was told to stop")
        if until is not None and time.monotonic() >= until and not agent.unfinished():
            break
        _look(agent, view)
        wakeup.wait(0.2)
    left = len(agent.roster)
    if left:
        view.event("leaving", f"{left} run(s) keep running; the next agent of their queue adopts them")
    agent.close()
    view.event("stopped", f"agent {agent.info.name} has left")
    return 0


def _look(agent: Agent, view: AgentView) -> None:
    agent.tick(time.monotonic())
    if view.refresh_seconds is not None:
        view.refresh(agent.snapshot())


def _pause(agent: Agent, view: AgentView) -> float | None:
    """Nothing to write and nothing to show: sleep until something changes."""
    if len(agent.roster):
        return view.refresh_seconds or 0.5
    return view.refresh_seconds and max(view.refresh_seconds, 2.0)
