"""Who hears of the beginnings and the ends of attempts, besides the hook ``launch_observe``."""

from __future__ import annotations

from typing import Protocol

from launchcore.plugin import Claim, Outcome, StageEvent, hookimpl


class Witness(Protocol):
    """Its methods are called from many threads, and neither block nor raise."""

    def launch_observe(self, event: StageEvent) -> None:
        """A boundary of a stage: the hook itself."""

    def claimed(self, claim: Claim) -> None:
        """An attempt has come to this agent, new or adopted."""

    def ended(self, claim: Claim, outcome: Outcome) -> None:
        """The end of an attempt is stored."""

    def close(self) -> None:
        """Send what is left, within seconds."""


class Witnesses:
    """All of them as one, and as the plugin that hears the hook for them."""

    def __init__(self) -> None:
        self._all: list[Witness] = []

    def add(self, witness: Witness) -> None:
        """From now on it hears too."""
        self._all.append(witness)

    @hookimpl
    def launch_observe(self, event: StageEvent) -> None:
        """Pass it on."""
        for each in self._all:
            each.launch_observe(event)

    def claimed(self, claim: Claim) -> None:
        """Pass it on."""
        for each in self._all:
            each.claimed(claim)

    def ended(self, claim: Claim, outcome: Outcome) -> None:
        """Pass it on."""
        for each in self._all:
            each.ended(claim, outcome)

    def close(self) -> None:
        """Close all."""
        for each in self._all:
            each.close()
