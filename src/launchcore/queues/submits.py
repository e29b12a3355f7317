"""From what a user submits to what is stored: admission, outside of the transaction that stores it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import attrs

from launchcore.plugin import Json, Priority, QueueConfig, QueueUnavailable, RunSpec
from launchcore.queues.admission import admit
from launchcore.queues.arrays import members
from launchcore.queues.base import JobDefinition, RunInfo
from launchcore.queues.macros import validate_inputs
from launchcore.store import arrays, codec, jobs, lookup, runs_change, runs_read
from launchcore.store.database import Database
from launchcore.store.engine import Conflict
from launchcore.store.writer import Transaction

T = TypeVar("T")

_MOST_TRIES = 20
_LONGEST_KEY = 255
_MOST_PARALLEL = 1_000_000


@attrs.frozen
class _Entry:
    """A queue as it is at this moment, and the job that a run is made from."""

    queue: str
    revision: int
    config: QueueConfig
    job: JobDefinition | None

    def admit(self, spec: RunSpec, priority: Priority) -> RunSpec:
        """Its inputs are checked by its job, everything else by the queue."""
        if self.job is not None:
            spec = attrs.evolve(spec, inputs=validate_inputs(self.job.inputs, spec.inputs))
        return admit(self.queue, self.config, spec, priority)

    def members(self, spec: RunSpec, axes: Mapping[str, Sequence[Json]]) -> list[RunSpec]:
        inputs = None if self.job is None else self.job.inputs
        return members(spec, axes, inputs=inputs, variables=self.config.variables)


class Submits:
    """Submits to the queues of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def one(
        self,
        queue: str,
        spec: RunSpec,
        *,
        priority: Priority,
        submitter: str,
        key: str | None = None,
        retry_of: str | None = None,
    ) -> RunInfo:
        """Store a run, or find the one that has this key.

        :raises LaunchError: with everything that is wrong.
        """
        _check_key(key)

        def attempt() -> RunInfo | str:
            entry = self._entry(queue, spec)
            # Admission may take milliseconds: it is no part of the transaction.
            asked = _submission(entry, spec, priority, submitter, key=key, retry_of=retry_of)
            return self._database.write(functools.partial(runs_change.submit, asked=asked))

        stored = self._until_stored(queue, attempt)
        if isinstance(stored, RunInfo):
            return stored
        with self._database.read() as connection:
            return runs_read.known(connection, stored)

    def array(
        self,
        queue: str,
        spec: RunSpec,
        axes: Mapping[str, Sequence[Json]],
        *,
        max_parallel: int | None,
        priority: Priority,
        submitter: str,
        key: str | None,
    ) -> str:
        """Store an array, or find the one that has this key; returns its id.

        :raises LaunchError: with everything that is wrong.
        """
        _check_key(key)
        if max_parallel is not None and not 1 <= max_parallel <= _MOST_PARALLEL:
            raise codec.user_error(f"max_parallel: {max_parallel} is not a number of runs from 1 up")

        def attempt() -> str:
            entry = self._entry(queue, spec)
            made = entry.members(spec, axes)
            asked = arrays.ArraySubmission(
                members=[_submission(entry, each, priority, submitter) for each in made],
                axes={name: tuple(values) for name, values in axes.items()},
                name=spec.name,
                max_parallel=max_parallel,
                key=key,
            )
            return self._database.write(functools.partial(arrays.submit, asked=asked))

        return self._until_stored(queue, attempt)

    def check(
        self,
        queue: str,
        spec: RunSpec,
        axes: Mapping[str, Sequence[Json]] | None,
        *,
        priority: Priority,
        submitter: str,
    ) -> None:
        """Whether it would be accepted now.

        :raises LaunchError: with everything that is wrong.
        """
        entry = self._entry(queue, spec)
        wanted = [spec] if axes is None else entry.members(spec, axes)
        asked = [_submission(entry, each, priority, submitter) for each in wanted]
        with self._database.read() as connection:
            looking = Transaction(connection, self._database.clock(), self._database.configs)
            row = lookup.find_queue(connection, queue)
            runs_change.check(looking, row, asked[0], count=len(asked), lock=False)

    def _entry(self, queue: str, spec: RunSpec) -> _Entry:
        with self._database.read() as connection:
            row = lookup.find_queue(connection, queue)
            config = lookup.config_of(connection, self._database.configs, row.id, row.revision)
            job = None if spec.job is None else jobs.find(connection, spec.job).definition
        return _Entry(queue, row.revision, config, job)

    def _until_stored(self, queue: str, attempt: Callable[[], T]) -> T:
        for _ in range(_MOST_TRIES):
            with contextlib.suppress(runs_change.QueueChanged, Conflict):  # edited meanwhile; an id twice
                return attempt()
        raise QueueUnavailable(f"queue {queue!r} changes faster than a run can be submitted")


def _submission(
    entry: _Entry,
    spec: RunSpec,
    priority: Priority,
    submitter: str,
    *,
    key: str | None = None,
    retry_of: str | None = None,
) -> runs_change.Submission:
    admitted = entry.admit(spec, priority)
    return runs_change.Submission(
        queue=entry.queue,
        revision=entry.revision,
        spec=admitted,
        stored_spec=codec.encode_asked(admitted, "the run"),
        priority=priority,
        submitter=codec.text(submitter, 255),
        key=key,
        retry_of=retry_of,
    )


def _check_key(key: str | None) -> None:
    if key is not None and len(key) > _LONGEST_KEY:
        raise codec.user_error(
            f"the submit key has {len(key)} characters", f"use at most {_LONGEST_KEY}, a UUID for example"
        )
