"""The environment `aws`: who the agent is, and what of that it lends to builders and runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from launch_aws.session import Account, Keys
from launch_aws.settings import AccountSettings
from launchcore.plugin import Contribution, EnvVar, RunPlan, SecretFile


class AwsEnvironment:
    """An account, and the credentials to work in it."""

    def __init__(self, settings: AccountSettings) -> None:
        self.settings = settings
        self.account = Account(settings)

    def verify(self) -> str:
        """Who AWS says we are: ``aws account 123456789012 as arn:… in us-east-1``."""
        region = self.account.region
        who = self.account.whoami()
        return f"aws account {who.account} as {who.arn} in {region}"

    def access(self, store: str) -> Sequence[EnvVar | SecretFile]:
        """For ``s3://``: region, endpoint, and credentials that last for a while. For others nothing."""
        if store.partition("://")[0].lower() != "s3" or "://" not in store:
            return ()
        found = [*_region(self.account.region)]
        if (url := self.account.endpoint("s3")) is not None:
            found.append(EnvVar(name="AWS_ENDPOINT_URL_S3", value=url))
        if self.settings.store_credentials:
            found += _credentials(self.account.keys())
        return tuple(found)

    def contribute_to_run(self, plan: RunPlan) -> Sequence[Contribution]:
        """The region, and credentials to runs of the queues that the settings open."""
        found: list[EnvVar] = []
        if _names(self.settings.region_for, plan.queue):
            found += _region(self.account.region)
        if _names(self.settings.credentials_for, plan.queue):
            found += _credentials(self.account.run_keys())
        return tuple(found)


def make_environment(settings: AccountSettings) -> AwsEnvironment:
    """Asks nobody: that is for :meth:`AwsEnvironment.verify`."""
    return AwsEnvironment(settings)


def _names(patterns: Iterable[str], queue: str) -> bool:
    return any(fnmatchcase(queue, pattern) for pattern in patterns)


def _region(region: str) -> Iterable[EnvVar]:
    """By both names: SDKs of different languages read one or the other."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        yield EnvVar(name=name, value=region)


def _credentials(keys: Keys) -> Iterable[EnvVar]:
    yield EnvVar(name="AWS_ACCESS_KEY_ID", value=keys.key_id)
    yield EnvVar(name="AWS_SECRET_ACCESS_KEY", value=keys.secret)
    if keys.token is not None:
        yield EnvVar(name="AWS_SESSION_TOKEN", value=keys.token)
