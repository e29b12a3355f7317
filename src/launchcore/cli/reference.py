"""docs/cli.md, from the commands themselves: ``python -m launchcore.cli.reference > docs/cli.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from launchcore.cli.app import COMMANDS, root
from launchcore.cli.exits import MEANINGS

_HEAD = """\
# The command line

<!-- Written by `python -m launchcore.cli.reference`; a test compares. -->

`launch` talks to the queues at `--base-url`, else `LAUNCHCORE_BASE_URL`, else the `base_url` of the
[configuration](configuration.md), else a database of your own on this machine. `--base-url` may stand
before the command or after it.

Results go to stdout, talk about them to stderr. Tables fit a terminal, and are plain and uncut in a
pipe. Text of strangers (names, messages, logs) is shown with its control characters made visible; log
bytes go into a pipe as they are. An error is one line on stderr: what is wrong, its reason, stage and
whose fault it is, and a hint. `LAUNCHCORE_DEBUG=1` shows the traceback of an unexpected one.
"""

_JSON = """\
## JSON

What `--json` prints is the value itself: the classes of `launchcore.queues.base` and
`launchcore.plugin`, an object for each, with their field names. Times are UNIX seconds, durations
seconds, sizes bytes, digests text, priorities numbers (0 critical, 1 high, 2 medium, 3 low). What is
not there is `null`. Fields may be added; none is renamed or removed within a major version.

| command | prints |
|---|---|
| `submit`, `retry` | `RunInfo` |
| `runs` | `Page`: `{"runs": [RunInfo…], "next": CURSOR or null}` |
| `show` | `{"run": RunInfo, "timeline": [{"attempt": N, …TimelineEvent}…]}` |
| `queue list` | `[QueueInfo…]` |
| `queue create`, `queue show`, `queue edit` | `QueueInfo` |
| `job list` | `[Job…]` |
| `job create` | `Job` |
| `job show` | `{"job": Job, "versions": [Job…]}` |
| `agents` | `[AgentRow…]` |
| `config check` | `{"file": PATH or null, "problems": [{"path", "message", "hint"}…]}` |
| `config show` | `{"file": PATH or null, "values": AgentConfig, "origins": {KEY: TEXT}}` |
| `doctor` | `[{"name", "by", "verdict", "detail", "hint"}…]` |
| `version` | `{"launchcore", "plugins": {NAME: VERSION}, "python", "system"}` |
"""


def markdown() -> str:
    """The whole page."""
    launch = root()
    parts = [_HEAD, "## Exit codes\n\n| code | meaning |\n|---|---|\n"]
    parts += [f"| {int(code)} | {meaning} |\n" for code, meaning in MEANINGS]
    parts += ["\n", _JSON, "\n## Commands\n"]
    section = ""
    for entry in COMMANDS:
        if entry.section != section:
            section = entry.section
            parts.append(f"\n**{section}**\n\n")
        parts.append(f"- [`launch {entry.name}`](#launch-{entry.name}): {entry.summary}\n")
    for entry in COMMANDS:
        parts += _command(f"launch {entry.name}", launch.get_command(None, entry.name))
    return "".join(parts)


def _command(name: str, command: Any) -> Iterator[str]:
    yield f"\n## {name}\n\n"
    for paragraph in (command.help or "").strip().split("\n\n"):
        yield " ".join(paragraph.split())
        yield "\n\n"
    inner = getattr(command, "commands", None)
    if inner is not None:
        for word, each in inner.items():
            yield from _command(f"{name} {word}", each)
        return
    yield f"```text\n{name} {' '.join(_usage(command))}\n```\n"
    rows = [_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
    if rows:
        yield "\n| | |\n|---|---|\n"
        yield from rows


def _usage(command: Any) -> Iterator[str]:
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            word = str(parameter.metavar)
            yield word if parameter.required else f"[{word}]"
    yield "[OPTIONS]"
    if type(command).__name__ == "TrailingCommand":
        yield "[-- COMMAND [ARGS]...]"


def _row(parameter: Any) -> str:
    about = " ".join((parameter.help or "").split()).replace("|", "\\|")
    if parameter.param_type_name == "argument":
        return f"| `{parameter.metavar}` | {about} |\n"
    flags = ", ".join(f"`{flag}`" for flag in (*parameter.opts, *parameter.secondary_opts))
    value = "" if parameter.is_flag else f" `{str(parameter.metavar).replace('|', chr(92) + '|')}`"
    default = parameter.default
    shown = "" if default in (None, False, (), []) else f" Default: `{default}`."
    return f"| {flags}{value} | {about}{shown} |\n"


if __name__ == "__main__":
    sys.stdout.write(markdown())
