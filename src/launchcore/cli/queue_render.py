"""``launch queue render``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from launchcore.cli.completers import complete_job
from launchcore.cli.errors import CommandError, during, usage
from launchcore.cli.exits import Exit
from launchcore.cli.lazy import trailing
from launchcore.cli.options import BaseUrl
from launchcore.cli.output import me, say
from launchcore.cli.queue_options import Name
from launchcore.cli.service import host_of, loaded_config, service
from launchcore.cli.source_options import Image

if TYPE_CHECKING:
    from launchcore.plugin import RunSpec
    from launchcore.queues.base import Service
    from launchcore.stages.preview import Preview


def render(
    ctx: typer.Context,
    name: Name,
    *,
    job: Annotated[
        str | None,
        typer.Option(
            "--job",
            "-j",
            metavar="NAME[:V]",
            help="A job: its newest version, or version V.",
            autocompletion=complete_job,
        ),
    ] = None,
    image: Image = None,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", "-e", metavar="K[=V]", help="A variable of the run (repeatable)."),
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option("--secret", metavar="NAME", help="A secret of the run, by its name (repeatable)."),
    ] = None,
    var: Annotated[
        list[str] | None,
        typer.Option("--var", metavar="K=V", help="A variable of the queue's template (repeatable)."),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="K=V", help="An input of the job; V is JSON or text (repeatable)."),
    ] = None,
    timeout: Annotated[
        str | None, typer.Option("--timeout", metavar="TIME", help="The longest it may run: 90s, 15m, 2h.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option("--memory", metavar="SIZE", help="The most memory: 512M, 2GiB.")
    ] = None,
    no_validate: Annotated[
        bool, typer.Option("--no-validate", help="Do not ask the backend whether it would take it.")
    ] = False,
    base_url: BaseUrl = None,
) -> int:
    """Show what a submit would create, and have the backend check it without creating anything.

    For queues whose runner can tell: YAML on stdout, ready for other tools. The run's
    id is 000000000000, secrets have names only, and an image that would be built has a name that
    says so. The command to execute stands after --. The exit code is 1 when the backend refuses it.
    """
    from launchcore.plugin import LaunchError, Stage

    if job is not None and image is not None:
        raise CommandError("a run has one source, and this names two: --job and --image")
    with during(Stage.SUBMIT), tempfile.TemporaryDirectory(prefix="launch-render-") as scratch:
        with service(base_url) as queues, usage():
            parts = _parts(
                command=trailing(ctx),
                env=env,
                secret=secret,
                var=var,
                inputs=inputs,
                timeout=timeout,
                memory=memory,
            )
            config = queues.queue(name).config
            spec = _spec(queues, job, image, parts)
        found = _preview(name, config, spec, base_url, Path(scratch))
        documents = found.documents()
        typer.echo("---\n".join(documents), nl=False)
        if no_validate:
            return Exit.OK
        try:
            problems = found.problems()
        except LaunchError as error:
            say(f"not checked: {error.detail}")
            return Exit.OK
    for problem in problems or ():
        say(f"refused: {problem}")
    if problems == ():
        say("the backend would take it")
    return Exit.FAILED if problems else Exit.OK


def _parts(
    *,
    command: tuple[str, ...],
    env: list[str] | None,
    secret: list[str] | None,
    var: list[str] | None,
    inputs: list[str] | None,
    timeout: str | None,
    memory: str | None,
) -> dict[str, Any]:
    """What the flags say about the run."""
    import os

    from launchcore.cli.parse import environment, values
    from launchcore.cli.times import parse_duration, parse_size
    from launchcore.plugin import Limits

    return {
        "command": command,
        "env": environment(env or [], os.environ),
        "secrets": tuple(dict.fromkeys(secret or [])),
        "variables": values(var or [], "--var"),
        "inputs": values(inputs or [], "--set"),
        "limits": Limits(
            run_seconds=None if timeout is None else parse_duration(timeout),
            memory_bytes=None if memory is None else parse_size(memory),
        ),
    }


def _spec(queues: Service, job: str | None, image: str | None, parts: dict[str, Any]) -> RunSpec:
    from launchcore.plugin import RunSpec, SourceRef
    from launchcore.queues.macros import validate_inputs

    if job is None:
        fields = {"image": image or "an-image"}
        return RunSpec(source=SourceRef(type="image", fields=fields), **parts)
    found = queues.job(job)
    definition = found.definition
    over = {
        **parts,
        "command": parts["command"] or definition.command,
        "env": {**definition.env, **parts["env"]},
        "inputs": validate_inputs(definition.inputs, parts["inputs"]),
    }
    return RunSpec(source=definition.source, job=found.ref, **over)


def _preview(name: str, config: Any, spec: RunSpec, base_url: str | None, scratch: Path) -> Preview:
    import socket

    from launchcore.plugin import Site
    from launchcore.queues.admission import admit
    from launchcore.stages.preview import preview
    from launchcore.stages.workshop import Workshop

    mine = loaded_config(base_url).config
    site = Site(state=scratch, cache=scratch, owner="render", host=socket.gethostname())
    shop = Workshop(host_of(mine), mine, site)
    return preview(shop, name, config, admit(name, config, spec), submitter=me(), scratch=scratch)
