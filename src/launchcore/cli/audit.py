"""``launch audit``."""

from __future__ import annotations

from typing import Annotated

import typer

from launchcore.cli.admin import Db, admin
from launchcore.cli.options import AsJson, BaseUrl
from launchcore.cli.output import emit_json, say


def audit(
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many.")] = 50,
    before: Annotated[
        str | None, typer.Option("--before", metavar="CURSOR", help="Go on where the last page ended.")
    ] = None,
    db: Db = None,
    as_json: AsJson = False,
    base_url: BaseUrl = None,
) -> None:
    """Show who changed what.

    At a queue service; the newest first. With --json, a page: its entries, and the cursor of the next one.
    """
    with admin(base_url, db) as service:
        page = service.trail(before, limit)
    if as_json:
        emit_json(page)
        return
    from launchcore.cli.output import show
    from launchcore.cli.token_views import audit_view

    if page.entries:
        show(audit_view(page.entries))
    else:
        say("nothing was changed through a server yet")
    if page.next is not None:
        say(f"there is more: --before {page.next}")
