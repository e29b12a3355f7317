"""Errors of plugins get the name of the plugin."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from launchcore.host.answers import Nonsense
from launchcore.host.discovery import raised
from launchcore.plugin import LaunchError, Reason

log = logging.getLogger("launchcore.host")


@contextlib.contextmanager
def blamed(label: str, what: str, *, quiet: bool = False) -> Iterator[None]:
    """Whatever goes wrong in the block is this plugin's.

    A :class:`LaunchError` keeps its reason and gets the plugin's name; anything else becomes
    ``plugin_error``, and its traceback goes to the log.

    :param label: ``"distribution version"``.
    :param what: what was called: ``launch_contribute_to_run``, ``runner slurm``.
    :param quiet: the caller keeps the traceback, so it need not be logged.
    """
    try:
        yield
    except LaunchError as error:
        if error.plugin is None:
            error.plugin = label
        raise
    except Nonsense as error:
        raise plugin_error(label, f"{what} of {label} {error}") from error
    except (Exception, SystemExit) as error:
        if not quiet:
            log.exception("%s: %s raised", label, what)
        raise plugin_error(label, f"{what} of {label} raised {raised(error)}") from error


def plugin_error(label: str, detail: str) -> LaunchError:
    """A :class:`LaunchError` that says that a plugin broke its contract."""
    error = LaunchError(
        detail,
        reason=Reason.PLUGIN_ERROR,
        hint=f"report it to the authors of {label}, or disable the plugin (disabled_plugins)",
    )
    error.plugin = label
    return error
