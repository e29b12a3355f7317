"""``launch job``: create, list, show."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from launchcore.cli.completers import complete_job
from launchcore.cli.errors import CommandError, during, usage
from launchcore.cli.lazy import TrailingCommand, new_app, trailing
from launchcore.cli.options import AsJson, BaseUrl
from launchcore.cli.output import emit_json, plain, say
from launchcore.cli.service import loaded_config, service
from launchcore.cli.source_options import (
    Directory,
    Dirty,
    Git,
    Image,
    NoPin,
    Patch,
    Ref,
    SourceFlags,
    Subdir,
)
from launchcore.cli.submit import Env, EnvFile, variables

app = new_app(help="Create and look at jobs.")


@app.command("create", cls=TrailingCommand)
def create(
    ctx: typer.Context,
    *,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The job's name.")],
    directory: Directory = None,
    git: Git = None,
    ref: Ref = None,
    subdir: Subdir = None,
    patch: Patch = None,
    dirty: Dirty = False,
    no_pin: NoPin = False,
    image: Image = None,
    env: Env = None,
    env_file: EnvFile = None,
    inputs: Annotated[
        str | None,
        typer.Option("--inputs", metavar="FILE|JSON", help="A JSON Schema for the name of each input."),
    ] = None,
    dockerfile: Annotated[
        str | None, typer.Option("--dockerfile", metavar="PATH", help="For builders: its path in the source.")
    ] = None,
    build_context: Annotated[
        str | None,
        typer.Option(
            "--build-context", metavar="DIR", help="For builders: the directory of the source to build."
        ),
    ] = None,
    description: Annotated[str, typer.Option("--description", metavar="TEXT", help="What it is for.")] = "",
    as_json: AsJson = False,
    base_url: BaseUrl = None,
) -> None:
    """Create a job, or a new version of it. Its command stands after --.

    ${inputs.NAME} in the command stands for the value of an input. The same definition again is the
    same version. With --json, the job.
    """
    from launchcore.cli.source import make_source
    from launchcore.cli.targets import mapping
    from launchcore.plugin import Stage
    from launchcore.queues.base import JobDefinition

    flags = SourceFlags(
        directory=directory,
        git=git,
        ref=ref,
        subdir=subdir,
        patch=patch,
        dirty=dirty,
        no_pin=no_pin,
        image=image,
    )
    flags.check()
    command = trailing(ctx)
    if not command and image is None:
        raise CommandError("a job needs a command", hint="write it after --")
    with usage():
        environ = variables(env or [], env_file or [])
    schemas: dict[str, Any] = {} if inputs is None else mapping(inputs, "--inputs")
    with during(Stage.SUBMIT):
        config = loaded_config(base_url).config
        with service(base_url) as queues:
            definition = JobDefinition(
                source=make_source(flags, queues, config, say),
                command=command,
                env=environ,
                inputs=schemas,
                dockerfile=dockerfile,
                build_context=build_context,
                description=description,
            )
            made = queues.create_job(name, definition)
    if as_json:
        emit_json(made)
        return
    say(f"job {made.ref}; run it with: launch submit --job {made.name}")


@app.command("list")
def list_jobs(as_json: AsJson = False, base_url: BaseUrl = None) -> None:
    """List jobs, each with its newest version.

    With --json, a list.
    """
    with service(base_url) as queues:
        found = list(queues.list_jobs())
    if as_json:
        emit_json(found)
        return
    from launchcore.cli.output import show as show_view
    from launchcore.cli.views import jobs_view

    if found:
        show_view(jobs_view(found, time.time()))
    else:
        say("no jobs: create one with launch job create NAME DIRECTORY -- COMMAND")


@app.command("show")
def show(
    job: Annotated[
        str,
        typer.Argument(
            metavar="JOB", help="NAME (its newest version) or NAME:VERSION.", autocompletion=complete_job
        ),
    ],
    as_json: AsJson = False,
    base_url: BaseUrl = None,
) -> None:
    """Show one job: its source, command, inputs and versions.

    With --json, an object: `job`, and `versions`, a list.
    """
    with service(base_url) as queues:
        found = queues.job(job)
        versions = list(queues.job_versions(found.name))
    if as_json:
        emit_json({"job": plain(found), "versions": plain(versions)})
        return
    from launchcore.cli.output import show as show_view
    from launchcore.cli.views import job_view

    show_view(job_view(found, versions, time.time()))
