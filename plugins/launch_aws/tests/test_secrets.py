"""Keys and tokens show nowhere, not even in a log of everything. A canary of each looks for itself."""

from __future__ import annotations

import base64
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from launch_aws.environment import AwsEnvironment
from launch_aws.registry import EcrRegistry
from launch_aws.testing.cloud import CANARY, KEY_ID, OTHER_ACCOUNT

from launchcore.plugin import EnvVar, Given, ImageRef, Login, RunPlan, Secret
from launchcore.testing.conformance.leaks import Records

ROLE = f"arn:aws:iam::{OTHER_ACCOUNT}:role/launch"
PLAN = RunPlan(
    run_id="r", attempt_id="r-1", attempt=1, queue="q", name="r-1", settings=None, scratch=Path("/nowhere")
)


def journey(environment: AwsEnvironment, registry: EcrRegistry) -> tuple[list[str], Given]:
    """All that an agent does in AWS: what can be seen of it, and what it gives to others."""
    shown = [environment.verify()]
    access = environment.access("s3://my-bucket")
    env = [one for one in environment.contribute_to_run(PLAN) if isinstance(one, EnvVar)]
    ref = ImageRef(name=f"{registry.resolve('my-repo')}:1")
    registry.ensure(ref)
    registry.digest(ref)
    logins = [one for one in registry.logins(ref.name) if isinstance(one, Login)]
    given = Given(env=tuple(env), access=tuple(access), logins=tuple(logins))
    parts = (environment, environment.account, environment.settings, registry, registry.tokens, given)
    shown += [f"{part!r} {part}" for part in parts]
    shown += [str(vars(part)) for part in (environment, environment.account, registry, registry.tokens)]
    return shown, given


@pytest.mark.parametrize("role", [None, ROLE])
def test_nothing_shows_in_a_log_of_everything(
    environment: Callable[..., AwsEnvironment], registry: Callable[..., EcrRegistry], role: str | None
) -> None:
    made = environment(role_arn=role, credentials_for=["*"])
    with Records() as records:
        shown, given = journey(made, registry(made))

    secrets = {secret.reveal() for secret in given.secrets()}
    (login,) = given.logins
    assert isinstance(login, Login)
    password = login.password.reveal()
    assert password.endswith("-auth-token")
    assert len(secrets) == (4 if role else 3)  # password, key's id, key and a role's token
    secrets |= {CANARY, KEY_ID, base64.b64encode(f"AWS:{password}".encode()).decode()}
    for text in (*shown, records.text()):
        assert [secret for secret in secrets if secret in text] == []


def test_everything_that_is_secret_can_be_masked(environment: Callable[..., AwsEnvironment]) -> None:
    """The core masks what is a Secret in a run's log, and nothing else."""
    made = environment(role_arn=ROLE, credentials_for=["*"])
    given = made.contribute_to_run(PLAN)
    secret = {one.name for one in given if isinstance(one, EnvVar) and isinstance(one.value, Secret)}
    assert secret == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}


def test_whoever_wants_the_sdks_own_log_gets_it() -> None:
    """Said to its logger, in a process of its own: the level of a logger stays."""
    code = (
        "import logging; from launch_aws.session import quiet; log = logging.getLogger('botocore')\n"
        "quiet(); print(log.level); log.setLevel(logging.DEBUG); quiet(); print(log.level)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(logging.INFO), str(logging.DEBUG)]
