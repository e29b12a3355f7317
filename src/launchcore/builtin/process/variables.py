"""The environment of a run: a short list of the agent's variables, and what it is given. Pure."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from launchcore.builtin.process.procfs import ATTEMPT_MARK, KEEPER_MARK, OWNER_MARK
from launchcore.plugin import Given, LaunchError, Reason, RunPlan, Secret

INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "CUDA_VISIBLE_DEVICES", "XDG_RUNTIME_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy"),
)
"""Patterns of the agent's variables that a run gets. Nothing else of it: the rest may be secrets."""

DEFAULTS = {"PYTHONUNBUFFERED": "1"}
"""Set unless somebody sets it otherwise: a log is to be read while it is written."""

MARKS = (ATTEMPT_MARK, OWNER_MARK, KEEPER_MARK)


def inherited(environ: Mapping[str, str], more: Iterable[str] = ()) -> dict[str, str]:
    """The part of the agent's environment that is no secret."""
    patterns = (*INHERITED, *more)
    exact = {each for each in patterns if not set("*?[") & set(each)}
    loose = [each for each in patterns if each not in exact]
    return {
        name: value
        for name, value in environ.items()
        if name in exact or any(fnmatchcase(name, each) for each in loose)
    }


def environment_of(
    plan: RunPlan,
    given: Given,
    *,
    base: Mapping[str, str],
    queue_env: Mapping[str, str],
    owner: str,
    keeper: str,
    venv: Path | None,
    python_path: Iterable[str] = (),
    bin_path: Iterable[str] = (),
) -> dict[str, str]:
    """All variables of a run, secrets in clear: to be sent to the keeper, and kept nowhere.

    Later ones win: the agent's, those of plugins and secrets, the queue's, the run's, and last ours.

    :raises LaunchError: ``user_error``: a name or value that no process can have.
    """
    env = {**DEFAULTS, **base}
    for variable in given.env:
        value = variable.value
        env[variable.name] = value.reveal() if isinstance(value, Secret) else value
    env |= {**queue_env, **plan.env}
    programs = [*bin_path]
    if venv is not None:
        env["VIRTUAL_ENV"] = str(venv)
        env.pop("PYTHONHOME", None)
        programs.append(str(venv / "bin"))
    if programs:
        env["PATH"] = os.pathsep.join([*programs, env.get("PATH") or os.defpath])
    if modules := [*python_path]:
        env["PYTHONPATH"] = os.pathsep.join([*modules, *filter(None, [env.get("PYTHONPATH")])])
    env.update(
        {
            "LAUNCH_RUN_ID": plan.run_id,
            "LAUNCH_ATTEMPT_ID": plan.attempt_id,
            "LAUNCH_QUEUE": plan.queue,
            "LAUNCH_LABELS": json.dumps(all_labels(plan, given), sort_keys=True),
            ATTEMPT_MARK: plan.attempt_id,
            OWNER_MARK: owner,
            KEEPER_MARK: keeper,
        }
    )
    for name, value in env.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise LaunchError(
                f"the variable {name!r} cannot be set: its name or value has a character that none may have",
                reason=Reason.USER_ERROR,
                hint="names have no '=' and no zero bytes, values have no zero bytes",
            )
    return env


def all_labels(plan: RunPlan, given: Given) -> dict[str, str]:
    """The labels of an attempt: the core's, and those that plugins add."""
    return {**{label.name: label.value for label in given.labels}, **plan.labels}
