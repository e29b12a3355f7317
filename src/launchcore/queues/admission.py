"""Admission: what a run may ask of a queue, and what a queue's configuration may be. Pure.

The queue's owner is trusted, the run is not: it may only set what the queue opens to it. Everything
that is wrong is said in one error, with what the queue allows.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

import attrs

from launchcore.plugin import (
    Fault,
    LaunchError,
    Limits,
    Priority,
    QueueConfig,
    Reason,
    RunSpec,
)
from launchcore.queues.bounds import (
    ENV_NAME,
    LABEL_NAME,
    MAX_QUEUE_BYTES,
    TYPE_NAME,
    json_problems,
    limits_problems,
    shown,
    text_problem,
)
from launchcore.queues.macros import MACROS, fill_command, inputs_named, macro_problems, nearest
from launchcore.queues.retries import beyond, retry_problems
from launchcore.queues.schemas import fill_defaults, schema_problems
from launchcore.queues.shape import names_problems, shape_problems, spec_problems, typed_problems

if TYPE_CHECKING:
    from launchcore.queues.base import JobDefinition

T = TypeVar("T")

RESERVED_ENV: Final = ("LAUNCH_*", "LAUNCHCORE_*")
"""What launchcore itself tells a run; no queue can open these."""

_ENV_PATTERN: Final = re.compile(r"[A-Za-z0-9_*?]{1,128}", re.ASCII)


def admit(queue: str, config: QueueConfig, spec: RunSpec, priority: Priority | None = None) -> RunSpec:
    """Check that this queue takes this run, and return the run with the queue's defaults filled in.

    Variables get their defaults, limits the queue's. A run's ``grace_seconds`` that is the default of
    :class:`Limits` means: as the queue says.

    :raises LaunchError: ``config_error`` of the user, with everything that is wrong.
    """
    if problems := shape_problems(spec):
        _refuse(queue, problems)
    problems = spec_problems(spec)
    problems += _env_problems(config, spec)
    problems += _secrets_problems(config, spec)
    variables, wrong = fill_defaults("variable", config.variables, spec.variables)
    problems += wrong
    limits, wrong = _limits(config.limits, spec.limits)
    problems += wrong
    if spec.retry is not None:
        problems += [*retry_problems(spec.retry), *beyond(config.retry, spec.retry)]
    problems += _inputs_problems(config, spec)
    if priority is not None and priority < (most := Priority[config.max_priority.upper()]):
        problems.append(
            f"priority: {priority.name.lower()} is more urgent than the queue allows ({most.name.lower()})"
        )
    if problems:
        _refuse(queue, problems)
    return attrs.evolve(spec, variables=variables, limits=limits)


def check_queue(config: QueueConfig) -> None:
    """Check a queue's configuration before it is stored.

    What the runner's own settings class says about ``config`` is for the agent to know: here only
    its macros are read.

    :raises LaunchError: ``config_error`` of the user, with everything that is wrong.
    """
    problems = [
        *_each(
            json_problems(getattr(config, name), name)
            for name in ("config", "variables", "builder", "registry")
        )
    ]
    if not problems:
        problems += typed_problems(config, QueueConfig, MAX_QUEUE_BYTES)
    if not problems:
        problems += _queue_problems(config)
    if problems:
        raise LaunchError(
            f"this queue cannot be: {_listed(problems)}",
            reason=Reason.CONFIG_ERROR,
            fault=Fault.USER,
            hint="mend the configuration; docs/configuration.md describes each key",
        )


def check_name(kind: str, name: str) -> None:
    """Check the name of a new queue or job (``kind``): letters, digits, ``.``, ``_`` and ``-``, at most 63.

    :raises LaunchError: ``config_error`` of the user.
    """
    if not LABEL_NAME.fullmatch(name):
        raise LaunchError(
            f"{shown(name)} cannot be the name of a {kind}",
            reason=Reason.CONFIG_ERROR,
            fault=Fault.USER,
            hint="use 1 to 63 letters, digits, '.', '_' and '-', with a letter or digit at both ends",
        )


def check_job(name: str, definition: JobDefinition) -> None:
    """Check a new version of a job: all of it comes from a user.

    :raises LaunchError: ``config_error`` of the user, with everything that is wrong.
    """
    check_name("job", name)
    as_run = RunSpec(
        source=definition.source,
        command=definition.command,
        env=definition.env,
        dockerfile=definition.dockerfile,
        build_context=definition.build_context,
    )
    problems = shape_problems(as_run) + json_problems(definition.inputs, "inputs")
    if not problems:
        problems = spec_problems(as_run)
        problems += names_problems("env", definition.env)
        for key, schema in definition.inputs.items():
            problems += _input_name(key) or schema_problems(schema, f"inputs.{key}", trusted=False)
        try:
            fill_command(definition.command, dict.fromkeys(definition.inputs, ""))
        except LaunchError as error:
            problems.append(error.detail)
    if (wrong := text_problem(definition.description)) or len(definition.description) > 4096:
        problems.append(f"description: {wrong or 'is longer than 4096 characters'}")
    if problems:
        raise LaunchError(
            f"the job {name} cannot be: {_listed(problems)}", reason=Reason.CONFIG_ERROR, fault=Fault.USER
        )


def _env_problems(config: QueueConfig, spec: RunSpec) -> Iterator[str]:
    """A run sets a variable when the queue opens it, and neither the queue nor launchcore closes it."""
    for name in spec.env:
        if not ENV_NAME.fullmatch(name):
            yield f"env: {shown(name)} is not a variable's name"
        elif _matches(name, RESERVED_ENV):
            yield f"env {name}: {' and '.join(RESERVED_ENV)} are launchcore's own"
        elif _matches(name, config.closed_env):
            yield f"env {name}: closed by the queue (it closes {_names(config.closed_env)})"
        elif not _matches(name, config.open_env):
            yield f"env {name}: not opened by the queue (it opens {_names(config.open_env)})"


def _secrets_problems(config: QueueConfig, spec: RunSpec) -> Iterator[str]:
    """A secret reaches the run as a variable of its name, so closed variables are closed to it too,
    unless the queue's owner names it."""
    for name in sorted({name for name in spec.secrets if spec.secrets.count(name) > 1}):
        yield f"secret {shown(name)}: named twice"
    for name in dict.fromkeys(spec.secrets):
        if not ENV_NAME.fullmatch(name):
            yield f"secret {shown(name)}: not a name (letters, digits and _)"
        elif name in spec.env:
            yield f"secret {name}: also set as a variable; one of them has to go"
        elif config.secrets is not None and name not in config.secrets:
            yield f"secret {name}: not opened by the queue{nearest(name, config.secrets)}"
        elif _matches(name, RESERVED_ENV) or (config.secrets is None and _matches(name, config.closed_env)):
            yield f"secret {name}: no run can have a variable of this name here"


def _inputs_problems(config: QueueConfig, spec: RunSpec) -> Iterator[str]:
    """What the command and the queue's configuration name has to be there; said before the run waits."""
    try:
        fill_command(spec.command, spec.inputs)
    except LaunchError as error:
        yield error.detail
    for name in sorted(inputs_named(config.config)):
        value = spec.inputs.get(name)
        if value is None:
            yield f"input {name} is missing, and the queue's configuration needs it"
        elif isinstance(value, Mapping | list | tuple):
            yield f"input {name}: the queue's configuration needs one value, not a list or a mapping"


def _limits(queue: Limits, run: Limits) -> tuple[Limits, list[str]]:
    """The run's limits within the queue's: less is fine, more is a problem, nothing is the queue's."""
    problems, chosen = [], {}
    for name in ("run_seconds", "start_seconds", "memory_bytes", "grace_seconds", "queue_seconds"):
        most, asked = getattr(queue, name), getattr(run, name)
        unset = asked is None or (name == "grace_seconds" and asked == Limits().grace_seconds)
        if not unset and most is not None and asked > most:
            problems.append(f"limits.{name}: {asked:g} is more than the queue allows ({most:g})")
        chosen[name] = most if unset else asked
    return Limits(**chosen), problems


def _queue_problems(config: QueueConfig) -> list[str]:
    problems = []
    if not TYPE_NAME.fullmatch(config.type):
        problems.append(f"type: {shown(config.type)} is not a runner's name")
    for name, schema in config.variables.items():
        problems += _variable_name(name) or schema_problems(schema, f"variables.{name}", trusted=True)
    problems += macro_problems(config.config, {**MACROS, **config.variables})
    for key, chosen in (("builder", config.builder), ("registry", config.registry)):
        if chosen is not None and not (
            isinstance(chosen.get("type"), str) and TYPE_NAME.fullmatch(chosen["type"])
        ):
            problems.append(f"{key}.type: a name is needed")
    for key in ("max_running", "max_running_per_submitter", "max_queued", "max_queued_per_submitter"):
        count = getattr(config, key)
        if count is not None and count < 1:
            problems.append(f"{key}: {count} is less than 1; to take no runs, pause the queue")
    for key in ("open_env", "closed_env"):
        wrong = [shown(pattern) for pattern in getattr(config, key) if not _ENV_PATTERN.fullmatch(pattern)]
        problems += [f"{key}: {pattern} is not letters, digits, _, * and ?" for pattern in wrong]
    problems += names_problems("secrets", config.secrets or ())
    problems += [*limits_problems(config.limits), *retry_problems(config.retry)]
    if (wrong_text := text_problem(config.description)) or len(config.description) > 4096:
        problems.append(f"description: {wrong_text or 'is longer than 4096 characters'}")
    return problems


def _variable_name(name: str) -> list[str]:
    if not ENV_NAME.fullmatch(name):
        return [f"variables: {shown(name)} is not a name (letters, digits and _)"]
    taken = name in MACROS or name == "inputs"
    return [f"variables.{name}: ${{{name}}} is a macro already"] if taken else []


def _input_name(name: str) -> list[str]:
    fine = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,127}", name, re.ASCII)
    return [] if fine else [f"inputs: {shown(name)} is not a name (letters, digits, _ and -)"]


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _names(patterns: Collection[str]) -> str:
    return ", ".join(patterns) if patterns else "none"


def _each(parts: Iterable[Sequence[str]]) -> Iterator[str]:
    for part in parts:
        yield from part


def _listed(problems: Sequence[str], most: int = 30) -> str:
    more = [f"and {len(problems) - most} more"] if len(problems) > most else []
    return "; ".join([*problems[:most], *more])


def _refuse(queue: str, problems: Sequence[str]) -> NoReturn:
    raise LaunchError(
        f"queue {queue} does not take this run: {_listed(problems)}",
        reason=Reason.CONFIG_ERROR,
        fault=Fault.USER,
        hint=f"`launch queue show {queue}` prints what it allows",
    )
