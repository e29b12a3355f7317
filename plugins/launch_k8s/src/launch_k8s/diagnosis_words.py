"""Words for what happened: exit codes, signals, memory; failures with whose fault and what to do. Pure."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from typing import Any, Final

from launchcore.plugin import Failure, Fault, LaunchError, Reason, Stage

_NOISE: Final = re.compile(
    r'rpc error: code = \w+ desc = |Back-off pulling image "[^"]*": |ErrImagePull: |'
    r'failed to pull and unpack image "[^"]*": |failed to resolve reference "[^"]*": |'
    r"failed to do request: |failed to create (?:containerd task|shim task): |"
    r"OCI runtime create failed: |runc create failed: |unable to start container process: |"
    r" ?preemption: 0/\d+ nodes are available: .*$"
)
"""What says only through how many programs an error has come."""
_PRINTED: Final = "`launch logs` shows what it printed"


def failure(reason: Reason, detail: str, hint: str | None = None, fault: Fault | None = None) -> Failure:
    """A failure at this runner's door; ``fault`` is the reason's usual one when it is not given."""
    return Failure(
        reason=reason,
        fault=LaunchError(detail, reason=reason, fault=fault).fault,
        stage=Stage.EXECUTE,
        detail=line(detail, 500),
        hint=hint,
    )


def infrastructure(detail: str, hint: str | None = None) -> Failure:
    """Nobody's code."""
    return failure(Reason.INFRASTRUCTURE, detail, hint)


def line(text: object, limit: int = 300) -> str:
    """One line of a text that may hold anything: its gist, and not all of it."""
    clean = _NOISE.sub("", " ".join(str(text or "").split()))
    clean = "".join(letter if letter.isprintable() else "?" for letter in clean)
    return clean if len(clean) <= limit else f"{clean[: limit - 1]}…"


def ending(code: int) -> dict[str, int]:
    """``{"exit_code": …}``, or ``{"signal": …}``: 128 + n is how a runtime reports an end by signal n.

    >>> ending(3), ending(137)
    ({'exit_code': 3}, {'signal': 9})
    """
    if code > 128 and code - 128 in set(signal.Signals):
        return {"signal": code - 128}
    return {"exit_code": code}


def ending_words(code: int) -> str:
    """``exit code 3``, ``signal 9 (SIGKILL)``."""
    number = ending(code).get("signal")
    return f"signal {number} ({signal.Signals(number).name})" if number else f"exit code {code}"


def exit_failure(code: int, message: str = "") -> Failure:
    """The run's own program failed."""
    said = f": {line(message, 200)}" if message.strip() else ""
    if code == 127:
        detail, hint = "exit code 127: a command was not found", "is it in the image, and on its PATH?"
    elif code == 126:
        detail, hint = (
            "exit code 126: a command could not be executed",
            "is it executable, for this platform?",
        )
    elif number := ending(code).get("signal"):
        more = {
            signal.SIGKILL: "; out of memory on the node, perhaps",
            signal.SIGSEGV: "; a crash in native code",
            signal.SIGBUS: "; /dev/shm may be too small: the queue's `shm_size`",
        }.get(signal.Signals(number), "")
        detail, hint = f"killed by {ending_words(code)}", f"{_PRINTED}{more}"
    else:
        detail, hint = ending_words(code), _PRINTED
    return failure(Reason.USER_ERROR, f"{detail}{said}", hint)


def memory_failure(container: Mapping[str, Any] | None) -> Failure:
    """A container was killed for want of memory; ``container`` is its part of the pod's spec."""
    resources = (container or {}).get("resources") or {}
    limit = (resources.get("limits") or {}).get("memory")
    if limit is None:
        return failure(
            Reason.OUT_OF_MEMORY,
            "the node ran out of memory",
            "give the queue `resources: {limits: {memory: …}}`: runs are placed where there is enough",
            Fault.INFRASTRUCTURE,
        )
    return failure(
        Reason.OUT_OF_MEMORY,
        f"it needed more memory than its limit of {memory_words(limit)}",
        "use less memory, or raise the limit: the run's --memory, within the queue's",
    )


def memory_words(limit: object) -> str:
    """A quantity as it is, a bare number of bytes in MiB.

    >>> memory_words("4Gi"), memory_words("67108864")
    ('4Gi', '64 MiB')
    """
    text = str(limit)
    return f"{int(text) >> 20} MiB" if text.isdecimal() and int(text) >> 20 else line(text, 30)
