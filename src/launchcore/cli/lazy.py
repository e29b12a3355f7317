"""A command group that imports a command's module when that command is used, and not before."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

_TRAILING = "launchcore.cli.trailing"
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@dataclass(frozen=True)
class Entry:
    """One command: where it is, and what ``launch --help`` says about it."""

    name: str
    target: str
    """``module:attribute``: a function, or a :class:`typer.Typer` with commands of its own."""
    summary: str
    section: str
    group: bool = False
    trailing: bool = False
    """It takes a command of the user's after ``--``."""

    def load(self) -> Any:
        _keep_log_records_in()
        module, _, attribute = self.target.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        kind = TrailingCommand if self.trailing else PlainCommand
        return command_of(found if self.group else alone(self.name, found, kind))


def _keep_log_records_in() -> None:
    """Log records are for the agent to show; a command itself says what matters.

    Without a handler, Python would print warnings and tracebacks of plugins to stderr.
    """
    import logging

    logger = logging.getLogger("launchcore")
    if not logger.handlers and os.environ.get("LAUNCHCORE_DEBUG") != "1":
        logger.addHandler(logging.NullHandler())


def alone(name: str, function: Callable[..., Any], kind: type[TyperCommand]) -> typer.Typer:
    """An app with one command."""
    app = new_app()
    app.command(name, cls=kind)(function)
    return app


class App(typer.Typer):
    """A :class:`typer.Typer` whose commands are ours."""

    def command(
        self, name: str | None = None, *, cls: type[TyperCommand] | None = None, **options: Any
    ) -> Any:
        return super().command(name, cls=cls or PlainCommand, context_settings=CONTEXT, **options)


def new_app(**options: Any) -> typer.Typer:
    """An app with our settings: plain help, and errors that reach our own handler."""
    options.setdefault("cls", HelpfulGroup)
    return App(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=CONTEXT,
        **options,
    )


def command_of(app: typer.Typer) -> Any:
    """The command object behind an app."""
    return typer.main.get_command(app)


class PlainCommand(TyperCommand):
    """A command whose usage line is as in manuals: ``NAME [FILE]``."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]


class TrailingCommand(PlainCommand):
    """A command that takes another one after ``--``: :func:`trailing` gives it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--" in args:
            at = args.index("--")
            ctx.meta[_TRAILING] = tuple(args[at + 1 :])
            args = args[:at]
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            message = getattr(error, "message", "")
            if "unexpected extra argument" in message:
                error.message = f"{message.rstrip('.')}: the command stands after --"  # type: ignore[attr-defined]
            raise

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "[-- COMMAND [ARGS]...]"]


def trailing(ctx: Any) -> tuple[str, ...]:
    """What stood after ``--``."""
    found: tuple[str, ...] = ctx.meta.get(_TRAILING, ())
    return found


class HelpfulGroup(TyperGroup):
    """A group that shows its help when it is asked for nothing."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["--help"])


class LazyGroup(HelpfulGroup):
    """The root: commands come from a table of :class:`Entry`."""

    entries: Sequence[Entry] = ()

    def _entry(self, name: str) -> Entry | None:
        return next((entry for entry in self.entries if entry.name == name), None)

    def list_commands(self, ctx: Any) -> list[str]:
        return [entry.name for entry in self.entries]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        entry = self._entry(cmd_name)
        if entry is None:
            return None
        if cmd_name not in self.commands:
            self.commands[cmd_name] = entry.load()
        return self.commands[cmd_name]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if self._entry(args[0]) is None and not args[0].startswith("-"):
            raise UnknownCommand(args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise OutputClosed from error  # before typer makes an exit code of its own of it

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        width = max(len(entry.name) for entry in self.entries)
        for section in dict.fromkeys(entry.section for entry in self.entries):
            rows = [(e.name.ljust(width), e.summary) for e in self.entries if e.section == section]
            with formatter.section(section):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        from launchcore.cli.exits import MEANINGS

        with formatter.section("Exit codes"):
            formatter.write_dl([(str(int(code)), meaning) for code, meaning in MEANINGS])


class OutputClosed(Exception):
    """Whoever read our output went away."""


class UnknownCommand(Exception):
    """``launch`` was asked for a command that it does not have."""

    def __init__(self, name: str, names: Sequence[str]) -> None:
        super().__init__(name)
        self.name = name
        self.names = names
