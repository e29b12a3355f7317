"""Macros: ``${run_id}`` in a queue's target configuration, ``${inputs.lr}`` in a job's command.

Pure. Only the owner's text is ever read for macros: a value that is put in is data, is not read
again, cannot become a key, and keeps its place, whatever it holds. Nothing comes from an
environment. An unknown macro is an error, never left standing.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from launchcore.plugin import Fault, Json, LaunchError, Reason

MACROS: Final[Mapping[str, str]] = {
    "run_id": "the run's id",
    "run_name": "the run's name, or its id when it has none",
    "attempt": "the number of this attempt, from 1",
    "queue": "the queue's name",
    "image_uri": "the image, pinned by digest where there is one",
    "args": "the run's command, as a list: it must be the whole string",
    "job": "the job it was made from, as name:version",
    "submitter": "who submitted it",
}
"""Every macro that is there without being declared, and what it means. Besides these there are
``${inputs.<name>}`` and the queue's variables."""

MAX_DEPTH: Final = 64
MAX_CHARACTERS: Final = 4 * 1024 * 1024
"""How large a configuration may get by substitution: a small text can name a large value often."""

_NAME = r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_-]*)?"
_MACRO = re.compile(rf"\$\$\{{|\$\{{(?:(?P<name>{_NAME})\}})?")
_INPUT = re.compile(r"(?P<escape>\$)?\$\{inputs\.(?P<name>[^}]*)\}")


def macro_names(
    *,
    run_id: str,
    attempt: int,
    queue: str,
    run_name: str | None = None,
    image_uri: str | None = None,
    args: Sequence[str] = (),
    job: str | None = None,
    submitter: str | None = None,
    variables: Mapping[str, Json] | None = None,
    inputs: Mapping[str, Json] | None = None,
) -> dict[str, Json]:
    """The names that one attempt gives to :func:`substitute`: :data:`MACROS`, inputs and variables.

    What is ``None`` has no value: using it is an error, and leaving it unused is none.
    """
    own: dict[str, Json] = {
        "run_id": run_id,
        "run_name": run_name or run_id,
        "attempt": attempt,
        "queue": queue,
        "image_uri": image_uri,
        "args": list(args),
        "job": job,
        "submitter": submitter,
        "inputs": dict(inputs or {}),
    }
    return {**(variables or {}), **own}


def substitute(
    value: Json, names: Mapping[str, Json], *, path: str = "config", fault: Fault = Fault.INFRASTRUCTURE
) -> Json:
    """Replace the macros in all strings of ``value``, at any depth, and return a new value.

    A string that is exactly one macro becomes the named value with its type; inside a longer string
    texts, numbers and booleans (as ``true`` and ``false``) are written out. ``$${`` is a literal
    ``${``.

    :param names: what each macro stands for. ``inputs`` maps the names of a run's inputs, for
        ``${inputs.lr}``; as nothing has declared their types to the queue, they have to be texts, numbers
        or booleans.
    :param path: how the value is called in errors.
    :param fault: whose mistake an error is: by default the queue's owner's, for the run that is
        infrastructure.
    :raises LaunchError: ``config_error``, with the path of every string that is wrong.
    """
    work = _Substitution(names)
    result = work.value(value, path, 0)
    if work.problems:
        raise LaunchError(
            "; ".join(work.problems),
            reason=Reason.CONFIG_ERROR,
            fault=fault,
            hint="the queue's owner mends this with `launch queue edit`; a literal ${ is written $${",
        )
    return result


def macro_problems(value: Json, known: Iterable[str], *, path: str = "config") -> list[str]:
    """What :func:`substitute` will refuse in ``value`` when it is given the names ``known``, and inputs."""
    work = _Substitution({**dict.fromkeys(known, ""), "inputs": dict.fromkeys(inputs_named(value), "")})
    work.value(value, path, 0)
    return work.problems


def inputs_named(value: Json) -> set[str]:
    """The inputs that macros anywhere in ``value`` name."""
    if isinstance(value, Mapping):
        return set().union(*map(inputs_named, value.values()))
    if isinstance(value, list | tuple):
        return set().union(*map(inputs_named, value))
    macros = {part for kind, part in _parts(value) if kind == "macro"} if isinstance(value, str) else set()
    return {name.removeprefix("inputs.") for name in macros if name.startswith("inputs.")}


def fill_command(command: Sequence[str], inputs: Mapping[str, Json]) -> tuple[str, ...]:
    """Replace ``${inputs.<name>}`` in each word of a command; each word stays one word.

    Every other ``${…}`` is left alone, since it belongs to a shell. A text goes in as it is, any
    other value as JSON. ``$${inputs.lr}`` is a literal ``${inputs.lr}``. Call it once: what it put
    in must not be read again.

    :raises LaunchError: ``config_error`` of the user: an input that was not given, or is null.
    """
    problems: list[str] = []

    def fill(match: re.Match[str]) -> str:
        name = match["name"]
        if match["escape"]:
            return match[0][1:]
        if name not in inputs:
            problems.append(f"unknown input {name[:80]!r} in the command{nearest(name, inputs)}")
        elif inputs[name] is None:
            problems.append(f"the input {name!r} in the command is null")
        else:
            return written(inputs[name])
        return ""

    words = tuple(_INPUT.sub(fill, word) for word in command)
    if problems:
        raise LaunchError(
            "; ".join(problems),
            reason=Reason.CONFIG_ERROR,
            fault=Fault.USER,
            hint="give it with --set NAME=VALUE, or write $${inputs.NAME} for the text itself",
        )
    return words


def validate_inputs(schemas: Mapping[str, Mapping[str, Json]], values: Mapping[str, Json]) -> dict[str, Json]:
    """A job's inputs: check ``values`` against the JSON Schemas, and fill in the defaults.

    :raises LaunchError: ``config_error`` of the user, with everything that is wrong.
    """
    from launchcore.queues.schemas import fill_defaults

    filled, problems = fill_defaults("input", schemas, values)
    if problems:
        raise LaunchError(
            "; ".join(problems),
            reason=Reason.CONFIG_ERROR,
            fault=Fault.USER,
            hint="`launch job show` prints the inputs of a job",
        )
    return filled


def written(value: Json) -> str:
    """A value inside a longer text: a text as it is, everything else as compact JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def nearest(name: str, known: Iterable[str]) -> str:
    """``" (did you mean 'lr'?)"``, or what there is, to stand at the end of an error."""
    names = sorted(known)
    close = difflib.get_close_matches(name[:100], names, n=1, cutoff=0.6)
    if close:
        return f" (did you mean {close[0]!r}?)"
    if not names:
        return " (there are none)"
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return f" (there are: {', '.join(names[:12])}{more})"


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """``("text", …)``, ``("macro", name)`` and ``("broken", …)``, in order."""
    at = 0
    for match in _MACRO.finditer(text):
        if match.start() > at:
            yield "text", text[at : match.start()]
        if match[0] == "$${":
            yield "text", "${"
        elif match["name"]:
            yield "macro", match["name"]
        else:
            yield "broken", text[match.start() : match.start() + 20]
        at = match.end()
    if at < len(text):
        yield "text", text[at:]


class _Substitution:
    """One walk over one value."""

    def __init__(self, names: Mapping[str, Json]) -> None:
        self.inputs: Mapping[str, Json] = names.get("inputs", {})
        self.names: Mapping[str, Json] = {name: value for name, value in names.items() if name != "inputs"}
        self.problems: list[str] = []
        self.characters = 0

    def value(self, value: Json, path: str, depth: int) -> Json:
        if depth > MAX_DEPTH:
            return self.problem(path, f"nested more than {MAX_DEPTH} deep")
        if isinstance(value, str):
            return self.text(value, path)
        if isinstance(value, Mapping):
            for key in value:
                if any(kind != "text" for kind, _ in _parts(str(key))):
                    self.problem(path, f"a macro in the key {str(key)!r:.80}; only values can have them")
            return {key: self.value(inner, f"{path}.{key}", depth + 1) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(inner, f"{path}[{at}]", depth + 1) for at, inner in enumerate(value)]
        return value

    def text(self, text: str, path: str) -> Json:
        parts = list(_parts(text))
        if len(parts) == 1 and parts[0][0] == "macro":
            return self.copy(self.macro(parts[0][1], path), path)
        words = []
        for kind, part in parts:
            if kind == "text":
                words.append(part)
            elif kind == "broken":
                self.problem(path, f"{part!r} is no macro: a literal ${{ is written $${{")
            else:
                words.append(self.inner(part, path))
        return self.copy("".join(words), path)

    def inner(self, name: str, path: str) -> str:
        """A macro's value inside a longer text."""
        value = self.macro(name, path)
        if isinstance(value, Mapping | list | tuple):
            self.problem(path, f"${{{name}}} is a list or a mapping, and must be the whole string")
            return ""
        return written(value)

    def macro(self, name: str, path: str) -> Json:
        among, key = self.names, name
        if name.startswith("inputs."):
            among, key = self.inputs, name.removeprefix("inputs.")
        if key not in among:
            what = "this run has no input" if among is self.inputs else "unknown macro"
            return self.problem(path, f"{what} ${{{name}}}{nearest(key, among)}")
        value = among[key]
        if value is None:
            return self.problem(path, f"${{{name}}} has no value for this run")
        if among is self.inputs and isinstance(value, Mapping | list | tuple):
            return self.problem(
                path, f"${{{name}}} is a list or a mapping; an input has to be one value here"
            )
        return value

    def copy(self, value: Json, path: str) -> Json:
        """A value of its own, counted, so that no two places share one list."""
        if isinstance(value, Mapping):
            return {key: self.copy(inner, path) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self.copy(inner, path) for inner in value]
        before = self.characters
        self.characters += len(value) if isinstance(value, str) else 8
        if before <= MAX_CHARACTERS < self.characters:
            self.problem(path, f"larger than {MAX_CHARACTERS} characters after substitution")
        return "" if self.characters > MAX_CHARACTERS else value

    def problem(self, path: str, text: str) -> str:
        if len(self.problems) < 20:
            self.problems.append(f"{path}: {text}")
        return ""
