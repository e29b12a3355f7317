"""Run arrays: axes in, the runs of all combinations of their values out. Pure."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import attrs

from launchcore.plugin import Fault, Json, LaunchError, Reason, RunSpec
from launchcore.queues.bounds import ENV_NAME, json_problems, shown
from launchcore.queues.macros import nearest, written
from launchcore.queues.shape import MAX_NAME

MAX_SIZE: Final = 5000
"""Runs of one array."""
MAX_AXES: Final = 16
PLACES: Final = ("input", "var", "env", "arg")
"""What stands before the dot in the name of an axis that says itself where its values go."""


def members(
    spec: RunSpec,
    axes: Mapping[str, Sequence[Json]],
    *,
    inputs: Collection[str] | None,
    variables: Collection[str],
) -> list[RunSpec]:
    """One run for each combination of values; the last axis varies fastest.

    An axis ``NAME`` is an input of the job, else a template variable of the queue, else, of a run without
    a job, an input by that name. ``input.NAME``, ``var.NAME`` and ``env.NAME`` say it themselves;
    ``arg.NAME`` puts ``--NAME=VALUE`` at the end of the command. A member is called
    ``name[lr=0.1,seed=3]``.

    :param inputs: of the job; ``None``: the run is of no job.
    :param variables: that the queue declares.
    :raises LaunchError: ``config_error`` of the user, with everything that is wrong.
    """
    problems = list(axes_problems(axes))
    places: dict[str, tuple[str, str]] = {}
    if not problems:
        for axis in axes:
            try:
                places[axis] = _place(axis, inputs, variables)
            except ValueError as error:
                problems.append(str(error))
    if problems:
        raise LaunchError(
            f"this array cannot be: {'; '.join(problems[:20])}",
            reason=Reason.CONFIG_ERROR,
            fault=Fault.USER,
            hint="an axis is an input of the job, a variable of the queue, or env.NAME, input.NAME, arg.NAME",
        )
    base = spec.name or (spec.job or "array").partition(":")[0]
    made = []
    for index, values in enumerate(itertools.product(*axes.values())):
        point = dict(zip(axes, values, strict=True))
        member = attrs.evolve(spec, name=member_name(base, point, index))
        for axis, value in point.items():
            member = _set(member, *places[axis], value)
        made.append(member)
    return made


def axes_problems(axes: Mapping[str, Sequence[Json]]) -> Iterator[str]:
    """What makes axes unreadable: no values, too many, values twice, values that are none."""
    if not axes:
        yield "it has no axis"
    if len(axes) > MAX_AXES:
        yield f"{len(axes)} axes are too many (at most {MAX_AXES})"
        return
    for axis, values in axes.items():
        if isinstance(values, str) or not isinstance(values, Sequence):
            yield f"axis {shown(axis)}: its values are not a list"
        elif not values:
            yield f"axis {shown(axis)} has no values"
        elif len(values) <= MAX_SIZE:
            yield from json_problems(list(values), f"axis {shown(axis)}")
            if None in values:
                yield f"axis {shown(axis)}: null is no value"
            twice = [key for key, count in Counter(map(_key, values)).items() if count > 1]
            if twice:
                yield f"axis {shown(axis)}: it has {twice[0][:60]} twice"
    size = math.prod(len(values) for values in axes.values())
    if size > MAX_SIZE:
        yield f"it has {size} runs (at most {MAX_SIZE})"


def member_name(base: str, point: Mapping[str, Json], index: int) -> str:
    """What a member is called: after its values, or after its index when that gets too long."""
    label = ",".join(f"{axis.rpartition('.')[2]}={written(value)}" for axis, value in point.items())
    if not label.isprintable() or len(base) + len(label) + 2 > MAX_NAME:
        label = str(index)
    return f"{base[: MAX_NAME - len(label) - 2]}[{label}]"


def axis_values(text: str, schema: Mapping[str, Json] | None = None) -> list[Json]:
    """What people write for an axis: ``0.1,0.01``, ``1..5``, ``0..1:0.25``, ``sgd,adam`` or a JSON list.

    Ranges have both of their ends. Values are JSON where they parse as JSON, and texts where they do not,
    or where the schema wants a text.

    :param schema: of the input or variable that the axis stands for.
    :raises ValueError: with one line.
    """
    if text.startswith("["):
        try:
            found = json.loads(text, parse_constant=_no_constant)
        except ValueError as error:
            raise ValueError(f"{text[:60]!r} is not a list in JSON: {error}") from None
        return list(found)
    kinds = (schema or {}).get("type", ())
    wants_text = bool(kinds) and set([kinds] if isinstance(kinds, str) else kinds) <= {"string", "null"}
    values: list[Json] = []
    for part in map(str.strip, text.split(",")):
        if not part:
            raise ValueError(f"{text[:60]!r} has an empty value; write V,V,… or FIRST..LAST[:STEP]")
        if wants_text:
            values.append(part)
        elif ".." in part and (numbers := _numbers(part)) is not None:
            values += _range(*numbers, part)
        else:
            values.append(_json_or_text(part))
        if len(values) > MAX_SIZE:
            raise ValueError(f"{text[:60]!r} has more than {MAX_SIZE} values")
    return values


def _place(axis: str, inputs: Collection[str] | None, variables: Collection[str]) -> tuple[str, str]:
    """Where the values of an axis go, and by which name."""
    place, dot, name = axis.partition(".")
    if dot and place in PLACES:
        if place == "var" and name not in variables:
            raise ValueError(f"axis {shown(axis)}: the queue has no such variable{nearest(name, variables)}")
        if place == "input" and inputs is not None and name not in inputs:
            raise ValueError(f"axis {shown(axis)}: the job has no such input{nearest(name, inputs)}")
        if not _is_name(name, hyphens=place in ("arg", "input")):
            raise ValueError(f"axis {shown(axis)}: {shown(name)} is not a name")
        return place, name
    if inputs is not None and axis in inputs:
        return "input", axis
    if axis in variables:
        return "var", axis
    if inputs is None and _is_name(axis, hyphens=True):
        return "input", axis
    if inputs is None:
        raise ValueError(f"axis {shown(axis)} is not a name")
    known = {*inputs, *variables}
    raise ValueError(
        f"axis {shown(axis)} is neither an input of the job nor a variable of the queue{nearest(axis, known)}"
    )


def _set(spec: RunSpec, place: str, name: str, value: Json) -> RunSpec:
    if place == "input":
        return attrs.evolve(spec, inputs={**spec.inputs, name: value})
    if place == "var":
        return attrs.evolve(spec, variables={**spec.variables, name: value})
    if place == "env":
        return attrs.evolve(spec, env={**spec.env, name: written(value)})
    return attrs.evolve(spec, command=(*spec.command, f"--{name}={written(value)}"))


def _is_name(name: str, *, hyphens: bool) -> bool:
    return bool(ENV_NAME.fullmatch(name.replace("-", "_") if hyphens else name))


def _key(value: Json) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _numbers(part: str) -> tuple[Decimal, Decimal, Decimal] | None:
    """First, last and step of ``1..9:2``; ``None``: it is a text with two dots in it."""
    span, _, step = part.partition(":")
    first, _, last = span.partition("..")
    try:
        found = Decimal(first), Decimal(last), Decimal(step or 1)
    except InvalidOperation:
        return None
    return found if all(number.is_finite() for number in found) else None


def _range(first: Decimal, last: Decimal, step: Decimal, part: str) -> list[Json]:
    if step == 0 or (last - first) * step < 0:
        raise ValueError(f"{part[:60]!r} never gets from {first} to {last}")
    count = (last - first) / step
    if count >= MAX_SIZE:
        raise ValueError(f"{part[:60]!r} has more than {MAX_SIZE} values")
    whole = all(number == number.to_integral_value() and "." not in str(number) for number in (first, step))
    made = (first + step * place for place in range(int(count) + 1))
    return [int(number) if whole else float(number) for number in made]


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return text


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
