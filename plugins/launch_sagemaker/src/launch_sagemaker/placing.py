"""Where a run's variables go: into the request, or into the bundle in S3. Pure.

Everybody who may describe a training job sees the request, and it has little room: 100 variables, with values
of 512 characters at most.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import attrs

from launch_sagemaker.bundle import UNSETTABLE, file_name, settable
from launch_sagemaker.names import CHANNEL_FOLDER
from launch_sagemaker.refusal import OWNER_HINT, Problems, shown
from launch_sagemaker.shapes import encodable, joined, length
from launchcore.plugin import Given, Json, RunPlan, Secret

FILES: Final = "files/"
"""Where secret files are in the bundle."""
MAX_VARIABLES: Final = 100
MAX_VALUE: Final = 512
STORE_HINT: Final = (
    "set `plugins.sagemaker.store` of the agent to s3://BUCKET/PREFIX, where it waits for the run"
)
_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)


@attrs.frozen(kw_only=True)
class Placed:
    """``clear``: variables of the request. ``hidden`` and ``files``: for the bundle; ``why`` says why."""

    clear: Mapping[str, str]
    hidden: Mapping[str, Secret]
    files: Mapping[str, Secret]
    """Name in the bundle → content."""
    why: tuple[str, ...]


def place_variables(
    plan: RunPlan, given: Given, body: Mapping[str, Json], problems: Problems, *, store: bool
) -> Placed:
    """The queue's variables, then what plugins give, then the run's, then what we tell each run.

    :param body: the queue's ``Environment``.
    :param store: there is one. Without it nothing is hidden: each need of it is a problem, or left out
        where it is optional.
    """
    last = {**plan.env, **_own(plan)}
    hidden: dict[str, Secret] = {}
    for variable in given.env:
        wanted = variable.name not in last and (store or not variable.optional)
        if isinstance(variable.value, Secret) and wanted:
            hidden[variable.name] = variable.value
    files, paths = _files(given, last, problems, store=store)
    hidden.update(paths)
    hidden = {name: value for name, value in hidden.items() if _can_hide(name, value, given, problems)}
    why = [f"the secret {name}" for name in hidden if name not in paths]
    why += [f"the secret file {name.removeprefix(FILES)}" for name in files]
    if why and not store:
        text = f"{', '.join(why)} would stand in the request, where all who may describe the job see it"
        problems.queue("", text, STORE_HINT)
    clear = _clear(plan, given, body, last, problems)
    clear = {name: value for name, value in clear.items() if name not in hidden}
    long = [*_long(clear)]
    if long and not store:
        _too_long(long, clear, plan, problems)
    for name in long if store else ():
        if settable(name):
            hidden[name] = Secret(clear.pop(name))
            why.append(f"the variable {name}, which is long or one too many,")
    return Placed(clear=clear, hidden=hidden, files=files, why=tuple(why))


def _own(plan: RunPlan) -> dict[str, str]:
    """What we tell each run of itself."""
    return {
        "LAUNCH_RUN_ID": plan.run_id,
        "LAUNCH_ATTEMPT_ID": plan.attempt_id,
        "LAUNCH_QUEUE": plan.queue,
    }


def _clear(
    plan: RunPlan, given: Given, body: Mapping[str, Json], last: Mapping[str, str], problems: Problems
) -> dict[str, str]:
    """All variables that are no secret and can be."""
    found: dict[str, str] = {}
    for name, value in body.items():
        if isinstance(value, str):
            found[name] = value
        else:
            problems.queue(joined("Environment", name), f"expected text, got {shown(value)}")
    for variable in given.env:
        if not isinstance(variable.value, Secret):
            found[variable.name] = variable.value
    found.update(last)
    for name, value in list(found.items()):
        wrong = _wrong(name, value)
        if wrong is not None:
            found.pop(name)
            if name in plan.env:
                problems.run("Environment", wrong)
            else:
                problems.queue(
                    "Environment", wrong, OWNER_HINT if name in body else _origin(given, "env", name)
                )
    return found


def _files(
    given: Given, last: Mapping[str, str], problems: Problems, *, store: bool
) -> tuple[dict[str, Secret], dict[str, Secret]]:
    """Secret files by their names in the bundle, and the variables that tell their paths."""
    found: dict[str, Secret] = {}
    paths: dict[str, Secret] = {}
    for file in given.files:
        if not store and file.optional:
            continue
        name = f"{FILES}{file_name(file.name)}"
        if name in found:
            text = f"two secret files are called {file_name(file.name)!r}"
            problems.queue("", text, _origin(given, "file", file.name))
        if not encodable(file.content.reveal()):
            text = f"the secret file {shown(file.name)} has half of a character in it"
            problems.queue("", text, _origin(given, "file", file.name))
            continue
        found[name] = file.content
        if file.path_env and file.path_env not in last:
            paths[file.path_env] = Secret(f"{CHANNEL_FOLDER}/{name}")
    return found, paths


def _wrong(name: str, value: str) -> str | None:
    """Why no training job can have this variable."""
    if not _NAME.fullmatch(name):
        return f"{shown(name)} is no name of a variable: letters, digits and _, no digit first"
    if length(name) > MAX_VALUE:
        return f"{shown(name)} has {length(name)} characters, and {MAX_VALUE} fit"
    if "\0" in value or not encodable(value):
        return f"{name} has a zero byte, or half of a character, in its value"
    return None


def _can_hide(name: str, value: Secret, given: Given, problems: Problems) -> bool:
    text = value.reveal()
    if name in UNSETTABLE:
        wrong = "cannot be a secret variable: a shell has one of this name"
    elif not settable(name):
        wrong = "is no name for a secret variable: letters, digits and _, no digit first"
    elif "\0" in text or not encodable(text):
        wrong = "has a zero byte, or half of a character, in its value"
    else:
        return True
    problems.queue("", f"{shown(name)} {wrong}", _origin(given, "env", name))
    return False


def _long(clear: Mapping[str, str]) -> Iterator[str]:
    """Variables that have no place in the request: too long, or after the first hundred."""
    fit = 0
    for name, value in clear.items():
        if length(value) > MAX_VALUE or fit >= MAX_VARIABLES:
            yield name
        else:
            fit += 1


def _too_long(long: Sequence[str], clear: Mapping[str, str], plan: RunPlan, problems: Problems) -> None:
    many = len(clear) - MAX_VARIABLES
    if many > 0:
        text = f"there are {len(clear)} variables with launchcore's own, and {MAX_VARIABLES} fit"
        problems.run("Environment", text, f"set fewer, or {STORE_HINT}")
    for name in long:
        if (size := length(clear[name])) > MAX_VALUE:
            text = f"{name} has {size} characters, and {MAX_VALUE} fit"
            tell = problems.run if name in plan.env else problems.queue
            tell("Environment", text, f"make it shorter, or {STORE_HINT}")


def _origin(given: Given, kind: str, name: str) -> str:
    return f"it comes from {given.origin.get(f'{kind}:{name}', 'a plugin')}"
