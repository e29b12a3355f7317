"""The wiring: a plugin's hooks are checked, then registered as a whole or not at all.

pluggy reads the markers and keeps the register. Calls go through ``calls``, one plugin at a time,
so whatever only works inside pluggy's own call loop (wrappers, ordering) is refused here.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import attrs
import pluggy

from launchcore.host.names import nearest
from launchcore.plugin import PROJECT, hooks


class Refused(Exception):
    """The plugin's wiring is wrong; the text says what, in one line."""


@attrs.frozen(kw_only=True)
class Implementation:
    """One hook of one plugin, ready to be called by keyword with ``arguments`` only."""

    plugin: str
    label: str
    hook: str
    arguments: frozenset[str]
    function: Callable[..., Any]

    def __call__(self, **values: object) -> Any:
        return self.function(**{name: value for name, value in values.items() if name in self.arguments})


class Manager:
    """The plugins that are in use, and who implements what."""

    def __init__(self) -> None:
        self._pluggy = pluggy.PluginManager(PROJECT)
        self._pluggy.add_hookspecs(hooks)
        self._labels: dict[str, str] = {}
        self.specified = {
            name: tuple(inspect.signature(getattr(hooks, name)).parameters)
            for name in dir(hooks)
            if name.startswith("launch_")
        }

    def register(self, name: str, label: str, plugin: object) -> tuple[str, ...]:
        """Take a plugin in, and return the hooks that it implements.

        :raises Refused: with the reason; nothing of it stays registered.
        """
        found = self._check(plugin)
        try:
            self._pluggy.register(plugin, name)
            self._pluggy.check_pending()
        except (ValueError, pluggy.PluginValidationError) as error:
            self.unregister(name)
            raise Refused(str(error)) from error
        self._labels[name] = label
        return found

    def unregister(self, name: str) -> None:
        """Forget a plugin, also one that is registered in part only."""
        with contextlib.suppress(ValueError, AssertionError):
            self._pluggy.unregister(name=name)
        self._labels.pop(name, None)

    def implementations(self, hook: str) -> tuple[Implementation, ...]:
        """Who implements a hook, in the order of the plugins' names."""
        caller = getattr(self._pluggy.hook, hook)
        found = [
            Implementation(
                plugin=one.plugin_name,
                label=self._labels[one.plugin_name],
                hook=hook,
                arguments=frozenset(inspect.signature(one.function).parameters) & {*self.specified[hook]},
                function=one.function,
            )
            for one in caller.get_hookimpls()
        ]
        return tuple(sorted(found, key=lambda one: one.plugin))

    def _check(self, plugin: object) -> tuple[str, ...]:
        found: list[str] = []
        for attribute in dir(plugin):
            options = self._pluggy.parse_hookimpl_opts(plugin, attribute)
            if options is not None:
                hook = options.get("specname") or attribute
                found += self._check_one(hook, getattr(plugin, attribute), options)
            elif attribute in self.specified and _is_its_own(plugin, attribute):
                raise Refused(f"{attribute} has no @hookimpl, so it would never be called")
        if not found:
            raise Refused("it implements no hook")
        return tuple(sorted(found))

    def _check_one(self, hook: str, function: Callable[..., Any], options: Any) -> Iterable[str]:
        if hook not in self.specified:
            if options.get("optionalhook"):  # pluggy's way to be ready for a newer host
                return ()
            near = nearest(hook, self.specified)
            raise Refused(f"{hook} is not a hook" + (f"; {near} is" if near else ""))
        if options.get("wrapper") or options.get("hookwrapper"):
            raise Refused(f"{hook} is a wrapper; hooks are called one by one and cannot be wrapped")
        if options.get("tryfirst") or options.get("trylast"):
            raise Refused(f"{hook} asks for a place in the order; plugins are asked in the order of names")
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise Refused(f"{hook} is asynchronous; hooks are synchronous")
        self._check_arguments(hook, function)
        return (hook,)

    def _check_arguments(self, hook: str, function: Callable[..., Any]) -> None:
        known = self.specified[hook]
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
                raise Refused(f"{hook} has the argument {parameter}; arguments are passed by name")
            if name not in known and parameter.default is parameter.empty:
                listed = f"its arguments are: {', '.join(known)}" if known else "it has no arguments"
                raise Refused(f"{hook} has an argument {name!r} that it is never given; {listed}")


def _is_its_own(plugin: object, attribute: str) -> bool:
    """Whether a function was written in this plugin, rather than imported from the contract."""
    found = inspect.getattr_static(plugin, attribute)
    return inspect.isroutine(found) and getattr(found, "__module__", "") != hooks.__name__
