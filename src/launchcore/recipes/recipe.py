"""A build plan → how its tree becomes an image: with the source's Dockerfile, or a generated one.

Reads the tree and nothing else. The same tree, settings and arguments give the same recipe to every builder.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from launchcore.plugin import BuildPlan, Given, LaunchError
from launchcore.recipes.context import Context, collect, digest
from launchcore.recipes.dockerfile import DOCKERFILE, Kit, generate
from launchcore.recipes.ignore import read_ignore
from launchcore.recipes.needs import Needs
from launchcore.recipes.needs import look as look_at_needs
from launchcore.recipes.requirements import bad, inside, read_text, relative
from launchcore.recipes.settings import RecipeSettings
from launchcore.recipes.tags import Ingredients, image_name


@attrs.frozen(kw_only=True)
class Recipe:
    """How a tree is built. ``dockerfile`` is a path in ``context``; ``needs`` is there if it is generated."""

    dockerfile: str
    text: str
    context: Context
    arguments: Mapping[str, str] = attrs.field(factory=dict)
    needs: Needs | None = None

    @property
    def origin(self) -> str:
        """Where the Dockerfile is from, for people."""
        return "a generated Dockerfile" if self.needs else self.dockerfile

    def name(
        self,
        plan: BuildPlan,
        settings: RecipeSettings,
        given: Given,
        *,
        bases: Mapping[str, str],
        check: Callable[[], None],
        content: str | None = None,
    ) -> str:
        """``REPOSITORY:TAG`` of the image; the tag hashes all that determines it (:mod:`.tags`).

        :param bases: digests of base images, as far as they are to be part of it.
        :param check: called now and then while the context is read; may raise.
        :param content: the digest of the context, for who knows it already: it is not read again.
        """
        return image_name(
            plan.destination.repository if plan.destination else None,
            Ingredients(
                context=digest(self.context, check) if content is None else content,
                dockerfile=self.dockerfile,
                build_args=self.arguments,
                bases=bases,
                platform=plan.platform or settings.platform,
                target=settings.target,
                labels={label.name: label.value for label in given.labels},
            ),
        )


def read_recipe(plan: BuildPlan, settings: RecipeSettings, given: Given) -> Recipe:
    """What the tree, the settings and the run say.

    :raises LaunchError: ``build_failed``, the user's fault: a Dockerfile or context that is not there or
        leaves the source, requirements that cannot be read, the name of a build argument.
    """
    arguments = build_arguments(plan, settings, given)
    top = plan.tree.path.resolve()
    root = _root(top, plan, settings)
    said = plan.dockerfile or settings.dockerfile
    if said is None and not settings.generate and (root / "Dockerfile").is_file():
        said = relative(top, root / "Dockerfile")
    if said is not None:
        return attrs.evolve(_own(top, root, said, settings), arguments=arguments)
    needs = look_at_needs(root, python=settings.python, named=settings.requirements, extras=settings.extras)
    files = generate(needs, settings, arguments=arguments)
    packed = collect(root, keep=needs.files, added=files, git=settings.include_git)
    return Recipe(
        dockerfile=DOCKERFILE,
        text=files[DOCKERFILE].decode(),
        context=packed,
        arguments=arguments,
        needs=needs,
    )


def with_kit(recipe: Recipe, plan: BuildPlan, settings: RecipeSettings, kit: Kit) -> Recipe:
    """A generated recipe for a builder that has what ``kit`` says: the same image, and so the same tag."""
    if recipe.needs is None:
        return recipe
    files = generate(recipe.needs, settings, arguments=recipe.arguments, kit=kit)
    root = _root(plan.tree.path.resolve(), plan, settings)
    packed = collect(root, keep=recipe.needs.files, added=files, git=settings.include_git)
    return attrs.evolve(recipe, text=files[DOCKERFILE].decode(), context=packed)


def build_arguments(plan: BuildPlan, settings: RecipeSettings, given: Given) -> dict[str, str]:
    """Of the settings, contributed, and of the run, the later ones winning. Secrets are never among them.

    :raises LaunchError: something cannot be the name of one.
    """
    contributed = {each.name: each.value for each in given.env if isinstance(each.value, str)}
    found = {**settings.build_args, **contributed, **plan.build_args}
    if wrong := [name for name in found if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)]:
        raise bad(f"{wrong[0][:60]!r} cannot be the name of a build argument")
    return found


def _root(top: Path, plan: BuildPlan, settings: RecipeSettings) -> Path:
    """The part of the tree that is built: what the run says, else the settings, else all of it."""
    said = plan.build_context or settings.context
    if not said:
        return top
    asker = "the run's build context" if plan.build_context else "the builder's `context`"
    root = inside(top, top / said, asker)
    if not root.is_dir():
        raise bad(f"{asker} {said[:120]!r} is not a directory")
    return root


def _own(top: Path, root: Path, said: str, settings: RecipeSettings) -> Recipe:
    path = top / said
    if not path.is_file():
        raise _missing(top, said)
    text = read_text(top, path, "the run")
    beside = path.with_name(f"{path.name}.dockerignore")
    ignore = read_ignore(read_text(top, beside, "the run")) if beside.is_file() else None
    within = not path.is_symlink() and path.resolve().is_relative_to(root)
    name = path.resolve().relative_to(root).as_posix() if within else DOCKERFILE
    packed = collect(
        root,
        keep=(name,) if within else (),
        added=None if within else {DOCKERFILE: text.encode()},
        git=settings.include_git,
        ignore=ignore,
    )
    return Recipe(dockerfile=name, text=text, context=packed)


def _missing(top: Path, said: str) -> LaunchError:
    known = sorted(each.name for each in top.iterdir() if "dockerfile" in each.name.lower())
    error = bad(f"the source has no Dockerfile {said[:120]!r}")
    error.hint = f"it has {', '.join(known[:5])}" if known else "name it by its path in the source"
    return error
