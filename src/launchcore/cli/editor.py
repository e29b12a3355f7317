"""A queue's configuration in the user's editor, until it can be used or is given up."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from launchcore.cli.errors import CommandError, describe
from launchcore.cli.targets import queue_config, read_yaml, to_yaml

if TYPE_CHECKING:
    from launchcore.host import Host
    from launchcore.plugin import QueueConfig

_HEAD = """\
# The configuration of queue {name}. Save and leave the editor to change it.
# Leave it without a change, or with nothing in it, to give up.
"""


def edit_config(name: str, config: QueueConfig, host: Host | None) -> QueueConfig:
    """Open ``config`` as YAML in ``$VISUAL`` or ``$EDITOR`` until it is valid.

    A text that is not valid is opened again with the error above it; leaving it as it was gives up,
    and the text is kept.
    :raises CommandError: given up, or there is no editor.
    """
    from launchcore.plugin import LaunchError

    text = _HEAD.format(name=name) + to_yaml(config)
    descriptor, file = tempfile.mkstemp(prefix=f"queue-{name}-", suffix=".yaml")
    os.close(descriptor)
    path = Path(file)
    problem: str | None = None
    while True:
        path.write_text(text, encoding="utf-8")
        _edit(path)
        after = path.read_text(encoding="utf-8", errors="replace")
        body = _without_comments(after)
        if not body.strip() or after == text:
            if problem is None:
                path.unlink()
                return config
            raise CommandError(f"gave up: {problem}", hint=f"your text is in {path}")
        try:
            made = queue_config(name, read_yaml(body, f"queue {name}"), host)
        except (LaunchError, CommandError) as error:
            lines, _ = describe(error)
            problem = lines[0].removeprefix("error: ")
            text = "".join(f"# {line}\n" for line in lines) + body
            continue
        path.unlink()
        return made


def _without_comments(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


def _edit(path: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        subprocess.run([*shlex.split(editor), str(path)], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise CommandError(
            f"the editor {editor!r} did not work: {error}", hint="set EDITOR, or use the flags"
        ) from None
