"""What a training job executes: the image, its entry point, the run's words. Pure.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-dockerfile.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from launch_sagemaker import images
from launch_sagemaker.bundle import ENTRYPOINT, MAX_BYTES, START, Bundle, start_script
from launch_sagemaker.patterns import one_line
from launch_sagemaker.placing import STORE_HINT, Placed
from launch_sagemaker.refusal import Problems, shown
from launch_sagemaker.settings import TrainingJob
from launch_sagemaker.shapes import encodable, length
from launchcore.plugin import Json, RunPlan

MAX_WORDS: Final = 100
MAX_WORD: Final = 256
_ENTRYPOINT: Final = "ContainerEntrypoint"
_ARGUMENTS: Final = "ContainerArguments"
_COMMAND_HINT: Final = (
    "a script that is started instead of the image's own entry point sets it: put the whole command after "
    "`--` when you submit, or set AlgorithmSpecification.ContainerEntrypoint in the queue's configuration"
)


def program(
    plan: RunPlan, said: Mapping[str, Json], placed: Placed, problems: Problems, *, store: bool
) -> tuple[dict[str, Json], Bundle | None]:
    """The AlgorithmSpecification, and what has to be in S3 for it.

    The run's words become the arguments of the image's entry point, or of the queue's. Where something is
    hidden from the request, or has no room in it, the entry point is a script of the bundle, which becomes
    the queue's entry point and the run's words. Without any words SageMaker's own way holds: the argument
    is ``train``.

    :param said: the queue's AlgorithmSpecification.
    """
    assert plan.image is not None
    config: TrainingJob = plan.settings
    found = {"TrainingInputMode": "File", **said, "TrainingImage": images.uri(plan.image)}
    found.pop("AlgorithmName", None)
    entrypoint, arguments = (_words(found, member) for member in (_ENTRYPOINT, _ARGUMENTS))
    words = list(plan.command or config.command or arguments)
    if any("\0" in word or not encodable(word) for word in (*entrypoint, *words)):
        problems.run("", "the command has a zero byte, or half of a character, in it")
        return found, None
    wrong = {text: bool(plan.command) for text in word_problems(words)}
    wrong |= dict.fromkeys(word_problems(entrypoint), False)
    if not wrong and not placed.why:
        return {**found, **_given(entrypoint, words)}, None
    if not store:
        for text, of_run in wrong.items():
            tell = problems.run if of_run else problems.queue
            tell("", text, f"make it shorter, or {STORE_HINT}")
    elif not _program([*entrypoint, *words]):
        problems.run("", f"{_needs(words)}, and {_why(placed, wrong)} needs one", _COMMAND_HINT)
    else:
        return {**found, _ENTRYPOINT: [*ENTRYPOINT]}, _bundle([*entrypoint, *words], placed, problems)
    return found, None


def word_problems(words: Sequence[str]) -> Iterator[str]:
    """Why a command cannot stand in a request."""
    if len(words) > MAX_WORDS:
        yield f"the command has {len(words)} words, and {MAX_WORDS} fit"
    for word in words:
        if length(word) > MAX_WORD:
            yield f"a word of the command has {length(word)} characters, and {MAX_WORD} fit"
        elif not one_line(word):
            yield "a word of the command has more than one line, and one fits"


def _words(found: dict[str, Json], member: str) -> list[str]:
    """A list of words, taken out; what is none is left to the service model, which says what is wrong."""
    value = found.get(member)
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        return []
    del found[member]
    return value


def _given(entrypoint: list[str], words: list[str]) -> dict[str, Json]:
    found = {_ENTRYPOINT: entrypoint, _ARGUMENTS: words}
    return {member: value for member, value in found.items() if value}


def _program(words: Sequence[str]) -> bool:
    """Whether they begin with a program, and not with an option for the image's entry point."""
    return bool(words) and words[0] != "" and not words[0].startswith("-")


def _needs(words: Sequence[str]) -> str:
    return (
        f"the command begins with no program, but with {shown(words[0])}" if words else "there is no command"
    )


def _why(placed: Placed, wrong: Mapping[str, bool]) -> str:
    return placed.why[0] if placed.why else f"what has no room in the request ({next(iter(wrong))})"


def _bundle(words: Sequence[str], placed: Placed, problems: Problems) -> Bundle:
    made = Bundle(files={START: start_script(placed.hidden, words), **placed.files})
    for name in made.too_large():
        what = "the command and its variables" if name == START else f"the secret file {name}"
        problems.run("", f"{what} would have more than {MAX_BYTES // 1024} KiB")
    return made
