"""``launch token``."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from launchcore.cli.admin import Db, admin
from launchcore.cli.errors import usage
from launchcore.cli.lazy import new_app
from launchcore.cli.options import AsJson, BaseUrl
from launchcore.cli.output import emit, emit_json, say

app = new_app(help="Make, list and revoke tokens.")


@app.command("create")
def create(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Whose it is: runs submitted with it are NAME's.")
    ],
    *,
    scope: Annotated[
        list[str],
        typer.Option(
            "--scope",
            "-s",
            metavar="SCOPE",
            help="submit, read, admin, agent:QUEUE, or agent:* for every queue (repeatable).",
        ),
    ],
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help="Good for so long: 12h, 90d.")
    ] = None,
    db: Db = None,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
) -> None:
    """Make a token, and print its secret: this once, and nowhere else.

    With --json, the token and its secret.
    """
    from launchcore.cli.times import parse_duration
    from launchcore.queues.wire import TokenCreate

    with usage("--expires 90d, for example"):
        expires_at = None if expires is None else time.time() + parse_duration(expires)
    with admin(base_url, db) as service:
        made = service.create(TokenCreate(name=name, scopes=tuple(scope), expires_at=expires_at))
    if as_json:
        emit_json(made)
        return
    say(f"token {made.token.id} for {name}: {', '.join(made.token.scopes)}; its secret is not shown again:")
    emit(made.secret)


@app.command("list")
def list_(
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Also those that were revoked or have expired.")
    ] = False,
    db: Db = None,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
) -> None:
    """List tokens, the newest first. Their secrets are not known to anybody but their holders.

    With --json, a list.
    """
    now = time.time()
    with admin(base_url, db) as service:
        found = [
            token
            for token in service.listed()
            if everything or (token.revoked_at is None and (token.expires_at or now + 1) > now)
        ]
    if as_json:
        emit_json(found)
        return
    from launchcore.cli.output import show
    from launchcore.cli.token_views import tokens_view

    if found:
        show(tokens_view(found, now))
    else:
        say("no tokens: make one with launch token create NAME --scope SCOPE")


@app.command("revoke")
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="As `launch token list` shows it.")],
    db: Db = None,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
) -> None:
    """Revoke a token: within two seconds no server takes it any more.

    With --json, the token.
    """
    with admin(base_url, db) as service:
        token = service.revoke(token_id)
    say(f"revoked token {token.id} of {token.name}")
    if as_json:
        emit_json(token)
