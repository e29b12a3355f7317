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
[configuration](configuration.md) (`LAUNCHCORE_CONFIG`, or the usual file), else a database of your own
on this machine. `--base-url` may stand before the command or after it.

Results go to stdout, talk about them to stderr. Tables fit a terminal, and are plain and uncut in a
pipe. Text of strangers (names, messages, logs) is shown with its control characters made visible; log
bytes go into a pipe as they are. An error is one line on stderr: what is wrong, its reason, stage and
whose fault it is, and a hint. `LAUNCHCORE_DEBUG=1` shows the traceback of an unexpected one.

## Examples

A queue, and a run of the code in a directory. The run's id is all that goes to stdout:

<!-- run -->
```console
$ launch queue create default --type process --max-running 4 --timeout 2h
created queue default of type process; serve it with: launch agent --queue default
$ mkdir work && echo 'print("hello")' > work/train.py
$ launch submit work --name first --priority high -- python train.py
packed work: 1 files, …
…is queued in default, next in line
…
$ launch show first
run …first
state …queued, next in its queue
queue …default, priority high
…
$ launch runs --state queued
RUN … NAME … QUEUE … STATE …
… first … default … queued …
```

A job keeps code, command and the schema of its inputs; each definition is a version:

<!-- run -->
```console
$ echo '{"lr": {"type": "number", "default": 0.1}}' > inputs.json
$ launch job create train work --inputs inputs.json -- python train.py --lr '${inputs.lr}'
…
job train:1; run it with: launch submit --job train
$ launch submit --job train --set lr=0.5
…
$ launch runs --job train:1 --json | grep -A1 '"inputs"'
"inputs": {
"lr": 0.5
```

Git at a commit, what is not committed here, a job's own command replaced, following to the end:

```console
$ launch submit --git https://example.com/acme/models@v1.2 --subdir mnist -- python train.py
$ launch submit --git . --dirty --watch -- python train.py
$ launch submit --job train --watch -- python evaluate.py
$ launch logs first --follow
```

A mistake is one line:

<!-- run: exit 3 -->
```console
$ launch submit work -q defualt -- python train.py
error: there is no queue 'defualt' (config_error, stage submit, fault user); hint: did you mean 'default'?
```

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
| `token create` | `TokenCreated`: `{"token": TokenInfo, "secret": TEXT}` |
| `token list` | `[TokenInfo…]` |
| `token revoke` | `TokenInfo` |
| `audit` | `AuditPage`: `{"entries": [AuditEntry…], "next": CURSOR or null}` |
| `config check` | `{"file": PATH or null, "problems": [{"path", "message", "hint"}…]}` |
| `config show` | `{"file": PATH or null, "values": AgentConfig, "origins": {KEY: TEXT}}` |
| `plugins list` | a list of objects, see [below](#launch-plugins-list) |
| `plugins show` | such an object, with more |
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
