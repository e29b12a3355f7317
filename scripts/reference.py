"""Write the reference part of docs/plugins.md from the contract's own docstrings.

``python -m scripts.reference`` (``make docs``) writes it again; a test compares. Nothing is imported
but the contract: texts of fields and constants come from the source, where they stand below them.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

import launchcore.plugin
from launchcore.plugin import (
    checks,
    claims,
    contributions,
    events,
    failures,
    hooks,
    protocols,
    runs,
    secret,
    settings,
    specs,
    values,
)

PAGE = Path(__file__).parent.parent / "docs" / "plugins.md"
BEGIN = "<!-- reference: begin, written by `make docs` -->"
END = "<!-- reference: end -->"
PARTS = ("When", "Given", "Return", "Failure")
COMMON = ("name", "summary", "create", "settings", "aliases", "requires_environment", "schemes")
MODULES = (
    specs,
    protocols,
    values,
    contributions,
    failures,
    checks,
    events,
    settings,
    secret,
    runs,
    claims,
    hooks,
)


def plain(text: str | None) -> str:
    """A docstring's text as Markdown: roles and double backquotes become code."""
    text = re.sub(r":[a-z]+:`~?(?:launchcore\.[\w.]*\.)?([^`]+)`", r"`\1`", text or "")
    return text.replace("``", "`").strip()


def first_line(text: str | None) -> str:
    """The first paragraph of a docstring on one line."""
    return " ".join(plain(inspect.cleandoc(text or "")).split("\n\n")[0].split())


def cell(text: str) -> str:
    """Safe inside a table."""
    return text.replace("|", "\\|")


def hook_functions() -> dict[str, Callable[..., object]]:
    """Name → specification, in the order of the source."""
    return {name: value for name, value in vars(hooks).items() if name.startswith("launch_")}


def hook_signature(function: Callable[..., object]) -> str:
    """As it stands in the source: ``launch_observe(event: StageEvent) -> None``."""
    return f"{function.__name__}{inspect.signature(function)}".replace("'", "")


def hook_parts(function: Callable[..., object]) -> dict[str, str]:
    """The docstring of a hook: ``summary``, the four parts, and ``example``."""
    text, _, example = inspect.cleandoc(function.__doc__ or "").partition("\n>>> ")
    summary, _, rest = text.partition("\n\n")
    found = {"summary": plain(summary), "example": f">>> {example}" if example else ""}
    for name, body in re.findall(r"^(\w+):\s+(.*(?:\n +.*)*)", rest, re.MULTILINE):
        found[name] = " ".join(plain(body).split())
    return found


def attribute_docs(tree: ast.Module | ast.ClassDef) -> dict[str, str]:
    """Name → the string below its assignment. One string serves the assignments right above it."""
    found: dict[str, str] = {}
    waiting: list[tuple[str, int]] = []
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if waiting and node.lineno > waiting[-1][1] + 1:
                waiting = []
            waiting.append((ast.unparse(target), node.end_lineno or node.lineno))
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and waiting:
            names = waiting if isinstance(tree, ast.Module) else waiting[-1:]
            found.update({name: str(node.value.value) for name, _ in names})
            waiting = []
        else:
            waiting = []
    return found


def module_tree(module: ModuleType) -> ast.Module:
    return ast.parse(inspect.getsource(module))


def public_names() -> Iterator[tuple[str, str]]:
    """(public name, its text), for everything in ``__all__``; the text is empty when there is none."""
    constants = {module.__name__: attribute_docs(module_tree(module)) for module in MODULES}
    for name in launchcore.plugin.__all__:
        value = getattr(launchcore.plugin, name)
        home = next((m for m in MODULES if m.__name__ == getattr(value, "__module__", None)), None)
        if home and isinstance(value, type):
            yield name, first_line(class_doc(value))
        elif home and inspect.isfunction(value):
            yield name, first_line(value.__doc__)
        else:
            yield name, next((first_line(docs[name]) for docs in constants.values() if name in docs), "")


def class_doc(value: type) -> str:
    """The class's own docstring: enums and attrs classes inherit or make one when there is none."""
    return value.__dict__.get("__doc__") or ""


def kind(value: object) -> str:
    if isinstance(value, type) and issubclass(value, BaseException):
        return "exception"
    if isinstance(value, type):
        return "protocol" if getattr(value, "_is_protocol", False) else "class"
    return "function" if inspect.isfunction(value) else "constant"


def render_hooks() -> Iterator[str]:
    for name, function in hook_functions().items():
        parts = hook_parts(function)
        yield f"#### `{hook_signature(function)}`\n"
        yield f'<a id="{name}"></a>{parts["summary"]}\n'
        yield from (f"- **{part}**: {parts.get(part, '')}" for part in PARTS)
        yield f"\n```pycon\n{parts['example']}\n```\n"


def default_text(field: attrs.Attribute[Any]) -> str:
    """A field's default as the reader would write it."""
    default = field.default
    if default is attrs.NOTHING:
        return "required"
    factory = getattr(default, "factory", None)
    if factory is not None:
        return f"`{factory()!r}`"
    if isinstance(default, frozenset):  # in an order of its own, so that the page does not change
        return ", ".join(sorted(f"`{member.name}`" for member in default)) or "none"
    shown = getattr(default, "__name__", None) or repr(default)
    return f"`{shown}`" if shown != "<lambda>" else "a function"


def render_specs() -> Iterator[str]:
    """The descriptors, with those of their fields that the page does not explain once for all."""
    for node in (n for n in module_tree(specs).body if isinstance(n, ast.ClassDef)):
        docs = attribute_docs(node)
        yield f"#### `{node.name}`\n\n{plain(ast.get_docstring(node))}\n"
        fields = [
            f for f in attrs.fields(getattr(specs, node.name)) if f.name in docs or f.name not in COMMON
        ]
        if any(field.name in docs for field in fields):
            yield "| field | type | default | meaning |\n|---|---|---|---|"
            for field in fields:
                meaning = first_line(docs.get(field.name))
                yield cell_row(f"`{field.name}`", f"`{field.type}`", default_text(field), meaning)
            yield ""


def render_contributions() -> Iterator[str]:
    """One line each: how it is made, and what it is."""
    yield "| contribution | meaning |\n|---|---|"
    for node in (n for n in module_tree(contributions).body if isinstance(n, ast.ClassDef)):
        cls = getattr(contributions, node.name)
        if attrs.has(cls):
            made = ", ".join(
                f.name if f.default is attrs.NOTHING else f"{f.name}={default_text(f).strip('`')}"
                for f in attrs.fields(cls)
            )
            yield cell_row(f"`{node.name}({made})`", " ".join(plain(ast.get_docstring(node)).split()))
    yield ""


def cell_row(*cells: str) -> str:
    return f"| {' | '.join(map(cell, cells))} |"


def render_protocols() -> Iterator[str]:
    for node in module_tree(protocols).body:
        if not isinstance(node, ast.ClassDef):
            continue
        yield f"#### `{node.name}`\n\n{plain(ast.get_docstring(node))}\n"
        for method in (m for m in node.body if isinstance(m, ast.FunctionDef)):
            arguments = ast.unparse(method.args).removeprefix("self, ").removeprefix("self")
            returns = ast.unparse(method.returns) if method.returns else "None"
            text = plain((ast.get_docstring(method) or "").partition("\n>>> ")[0])
            text = re.sub(r":raises (\w+): ", r"Raises `\1`: ", text)
            yield f"- `{method.name}({arguments}) -> {returns}`\n" + textwrap.indent(text, "  ")
        yield ""


def render_names() -> Iterator[str]:
    yield "| name | | meaning |\n|---|---|---|"
    for name, text in public_names():
        yield cell_row(f"`{name}`", kind(getattr(launchcore.plugin, name)), text)


def render() -> str:
    """The whole generated part, without its markers."""
    lines = [
        "### Hooks\n",
        *render_hooks(),
        "### Descriptors\n",
        *render_specs(),
        "### Contributions\n",
        *render_contributions(),
        "### Protocols\n",
        *render_protocols(),
        "### Every public name\n",
        "`from launchcore.plugin import …`; nothing else is public.\n",
        *render_names(),
    ]
    return "\n".join(lines).rstrip() + "\n"


def splice(page: str, part: str) -> str:
    """The page with the text between the markers replaced."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has lost its markers")
    return f"{head}{begin}\n\n{part}\n{end}{tail}"


def main() -> int:
    PAGE.write_text(splice(PAGE.read_text(), render()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
