"""``launch queue render``: a run's training job as text."""

from __future__ import annotations

from typing import Any

import attrs
import yaml

from launch_sagemaker.request import order
from launch_sagemaker.settings import Settings
from launchcore.plugin import OWNER_LABEL, REDACTED, EnvVar, Given, RunPlan, Secret


class _Dumper(yaml.SafeDumper):
    """Every part is written out, as often as it occurs; texts of several lines are readable."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, value: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Dumper.add_representer(str, _text)


def documents(plan: RunPlan, given: Given, settings: Settings) -> tuple[str, ...]:
    """The request, and what would be put into S3 before it, as YAML documents. Secrets have names only.

    The region is not asked for, so nothing is said about where the image is.

    :raises LaunchError: ``config_error``: it cannot be.
    """
    made = order(plan, _hidden(given), settings, region=None, owner=plan.labels.get(OWNER_LABEL, ""))
    found = [made.body]
    if made.bundle is not None:
        files = {name: content.reveal() for name, content in made.bundle.files.items()}
        found.append({"url": made.bundle_url, "files": files})
    return tuple(
        yaml.dump(each, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110) for each in found
    )


def _hidden(given: Given) -> Given:
    """``given`` with a word in place of every secret, so that whatever is made of it can be shown."""
    return attrs.evolve(
        given,
        env=tuple(_named(each) for each in given.env),
        files=tuple(attrs.evolve(each, content=Secret(REDACTED)) for each in given.files),
    )


def _named(variable: EnvVar) -> EnvVar:
    if isinstance(variable.value, Secret):
        return attrs.evolve(variable, value=Secret(REDACTED))
    return variable
