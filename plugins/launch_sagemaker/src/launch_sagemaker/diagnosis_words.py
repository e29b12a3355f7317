"""What SageMaker's words say: exit codes, what a program said last, failures with whose fault. Pure."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from typing import Any, Final

from launch_aws.diagnosis import scrubbed

from launchcore.plugin import Failure, Fault, LaunchError, Reason, Stage

_CODE_AT_END: Final = re.compile(r"\bexit[ _]?code:?\s*'?(-?\d{1,3})'?\W*\Z", re.IGNORECASE | re.ASCII)
_CODE: Final = re.compile(r"\bexit[ _]?code:?\s*'?(-?\d{1,3})\b", re.IGNORECASE | re.ASCII)
_MESSAGE: Final = re.compile(r'ErrorMessage\s+"(.*?)"?\s*(?:\bCommand\s+"|,\s*exit code|\Z)', re.DOTALL)
_EXCEPTION: Final = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Exit|Interrupt|Warning)\b", re.ASCII)
_FRAME: Final = re.compile(r'\s*(?:Traceback \(most recent|File ".*", line \d|During handling of the above)')


def failure(reason: Reason, detail: str, hint: str | None = None, fault: Fault | None = None) -> Failure:
    """A failure at this runner's door; ``fault`` is the reason's usual one when it is not given."""
    return Failure(
        reason=reason,
        fault=LaunchError(detail, reason=reason, fault=fault).fault,
        stage=Stage.EXECUTE,
        detail=scrubbed(detail, 400),
        hint=hint,
    )


def configured(detail: str, hint: str | None) -> Failure:
    """What the queue's configuration, or the account, does not allow: the run's submitter cannot mend it."""
    return failure(Reason.CONFIG_ERROR, detail, hint, Fault.INFRASTRUCTURE)


def exit_code(reason: str) -> int | None:
    """The exit code in a ``FailureReason``. What the program said stands before it, and may hold anything.

    >>> exit_code("AlgorithmError: , exit code: 7"), exit_code("AlgorithmError: Exit Code: 139")
    (7, 139)
    >>> exit_code('AlgorithmError: ExecuteUserScriptError:\\nExitCode 1\\nErrorMessage "no"')
    1
    >>> exit_code("ClientError: no data")
    """
    found = _CODE_AT_END.search(reason) or _CODE.search(reason)
    code = int(found[1]) if found else 0
    # A framework reports a child of its own that signal n has ended as -n.
    return (128 - code if code < 0 else code) if -64 < code < 256 and code else None


def ending(code: int | None) -> dict[str, int]:
    """``{"exit_code": …}``, or ``{"signal": …}``: 128 + n is how a runtime reports an end by signal n.

    >>> ending(3), ending(137), ending(None)
    ({'exit_code': 3}, {'signal': 9}, {})
    """
    if code is None:
        return {}
    if code > 128 and code - 128 in set(signal.Signals):
        return {"signal": code - 128}
    return {"exit_code": code}


def ending_words(code: int) -> str:
    """``exit code 3``, ``signal 9 (SIGKILL)``."""
    number = ending(code).get("signal")
    return f"signal {number} ({signal.Signals(number).name})" if number else f"exit code {code}"


def last_words(text: str) -> str:
    """The one line of a program's own words that says most: the exception at the end of a traceback.

    >>> last_words('Traceback (most recent call last):\\n File "t.py", line 1\\nKeyError: \\'x\\'\\n')
    "KeyError: 'x'"
    """
    found = _MESSAGE.search(text)
    said = found[1] if found else _CODE_AT_END.sub("", text)
    lines = [each.strip(" ,") for each in said.replace("\\n", "\n").splitlines()]
    lines = [each for each in lines if each and not _FRAME.match(each)]
    named = [each for each in lines if _EXCEPTION.match(each)]
    return scrubbed((named or lines or [""])[-1], 240)


def limit_words(described: Mapping[str, Any], name: str) -> str:
    """A number of the job's stopping condition, as text that stands before a verb."""
    limits = described.get("StoppingCondition")
    found = limits.get(name) if isinstance(limits, Mapping) else None
    return f"its {name} of {found} s" if isinstance(found, int) else f"its {name}"
