"""All that is asked of AWS goes through here: sessions, credentials and clients of one account."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import attrs

from launch_aws.diagnosis import Asked, explain, is_sdk, is_unreachable
from launch_aws.settings import AccountSettings
from launchcore.plugin import LaunchError, Reason, Secret

AGENT: Final = "launchcore"


@attrs.frozen(kw_only=True)
class Identity:
    """Who we are, as AWS says it."""

    account: str
    arn: str


@attrs.frozen(kw_only=True)
class Keys:
    """Credentials at one moment. Permanent ones have no token."""

    key_id: Secret
    secret: Secret
    token: Secret | None = None


class Account:
    """Safe for all threads: botocore's clients are, and each of its sessions is used under a lock of its own,
    so that a role that is long in coming holds up those only who need it."""

    def __init__(self, settings: AccountSettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._locks: dict[str | None, threading.RLock] = {}
        """Taken in one order: of a run's role, of the agent's role, of the profile or chain."""
        self._sessions: dict[str | None, Any] = {}
        """The role that one works as → a botocore session; ``None``: what the profile or chain has."""
        self._sdks: dict[str | None, Any] = {}
        self._clients: dict[tuple[str, str, str | None, int | None], Any] = {}
        self._identity: Identity | None = None

    @property
    def region(self) -> str:
        """The region that we work in.

        :raises LaunchError: nobody has said one.
        """
        from botocore.exceptions import NoRegionError

        said = self.settings.region or os.environ.get("AWS_REGION")  # the SDK reads the other one only
        if not said:
            with self.asking("read the AWS configuration"), self._alone(None):
                said = self._session(None).get_config_variable("region")
                if not said:
                    raise NoRegionError
        return str(said)

    def client(self, service: str, region: str | None = None, *, attempts: int | None = None) -> Any:
        """A client, made once for each service and region. It retries what is worth it, as the settings say.

        :param attempts: how often it asks at most, for whoever has a pace of their own; 1: it never retries.
        """
        return self._client(service, region or self.region, self.settings.role_arn, attempts)

    def identity(self) -> Identity:
        """Who we are; asked once. :raises LaunchError: nobody that AWS knows."""
        known = self._identity
        if known is None:
            known = self._identity = self.whoami()
        return known

    def whoami(self) -> Identity:
        """The same, asked anew."""
        with self.asking("ask AWS who we are"):
            found = self.client("sts").get_caller_identity()
        return Identity(account=str(found["Account"]), arn=str(found["Arn"]))

    def keys(self) -> Keys:
        """Our credentials now; a role's last for half of ``role_seconds`` at least.

        :raises LaunchError: there are none.
        """
        return self._keys(self.settings.role_arn)

    def run_keys(self) -> Keys:
        """Those for runs: of ``run_role_arn``, else our own."""
        return self._keys(self.settings.run_role_arn or self.settings.role_arn)

    def endpoint(self, service: str) -> str | None:
        """Where a service is instead of at AWS's own address."""
        return self.settings.endpoints.get(service) or self.settings.endpoint_url

    @contextmanager
    def asking(self, what: str, *, region: str | None = None, role: str | None = None) -> Iterator[None]:
        """While in the block, errors of the SDK come out as :class:`LaunchError`."""
        try:
            yield
        except Exception as error:
            if isinstance(error, LaunchError) or not is_sdk(error):
                raise
            where = region or self.settings.region
            near = _near(where) if is_unreachable(error) else None
            asked = Asked(what=what, region=where, profile=self.settings.profile, role=role, near=near)
            told = explain(error, asked)
            if told.reason is Reason.CONFIG_ERROR:
                self._forget()
            raise told from None

    def _forget(self) -> None:
        """Credentials are read anew the next time: somebody mends a file while the agent runs."""
        self._sessions.clear()
        self._sdks.clear()
        self._clients.clear()
        self._identity = None

    # -- sessions and clients --------------------------------------------------------------------

    def _client(self, service: str, region: str, role: str | None, attempts: int | None = None) -> Any:
        key = (service, region, role, attempts)
        with self.asking(f"use {service}", region=region), self._alone(role):
            made = self._clients.get(key)
            if made is None:
                made = self._sdk(role).client(
                    service,
                    region_name=region,
                    endpoint_url=self.endpoint(service),
                    config=self._config(attempts),
                )
                self._clients[key] = made
            return made

    def _sdk(self, role: str | None) -> Any:
        """Only with the role's lock held. One for each session: a second one would hook into it again."""
        made = self._sdks.get(role)
        if made is None:
            import boto3

            made = self._sdks[role] = boto3.Session(botocore_session=self._session(role))
        return made

    def _alone(self, role: str | None) -> threading.RLock:
        """The lock of a role's session."""
        with self._lock:
            return self._locks.setdefault(role, threading.RLock())

    def _session(self, role: str | None) -> Any:
        """Only with the role's lock held."""
        session = self._sessions.get(role)
        if session is None:
            from botocore.session import Session

            quiet()
            session = Session(profile=self.settings.profile)
            if role is not None:
                resolver = _Resolver(lambda: self._credentials_of(role))
                session.register_component("credential_provider", resolver)
            self._sessions[role] = session
        return session

    def _config(self, attempts: int | None) -> Any:
        from botocore.config import Config

        return Config(
            connect_timeout=self.settings.connect_seconds,
            read_timeout=self.settings.answer_seconds,
            retries={"mode": "standard", "total_max_attempts": attempts or self.settings.retries + 1},
            user_agent_extra=AGENT,
        )

    def _keys(self, role: str | None) -> Keys:
        from botocore.exceptions import NoCredentialsError

        with self.asking("get AWS credentials"):
            with self._alone(role):
                credentials = self._session(role).get_credentials()
            if credentials is None:
                raise NoCredentialsError
            frozen = credentials.get_frozen_credentials()
        return Keys(
            key_id=Secret(frozen.access_key),
            secret=Secret(frozen.secret_key),
            token=Secret(frozen.token) if frozen.token else None,
        )

    # -- roles -----------------------------------------------------------------------------------

    def _credentials_of(self, role: str) -> Any:
        """Of a role, renewed by whoever uses them when half of their time is over."""
        from botocore.credentials import RefreshableCredentials

        def renew() -> dict[str, Any]:
            return self._assume(role)

        half = self.settings.role_seconds // 2
        return RefreshableCredentials.create_from_metadata(
            renew(), renew, method="assume-role", advisory_timeout=half, mandatory_timeout=min(half, 600)
        )

    def _assume(self, role: str) -> dict[str, Any]:
        mine = role == self.settings.role_arn
        ask: dict[str, Any] = {
            "RoleArn": role,
            "RoleSessionName": self.settings.session_name
            if mine
            else f"{self.settings.session_name}-run"[:64],
            "DurationSeconds": self.settings.role_seconds,
        }
        if mine and self.settings.external_id is not None:
            ask["ExternalId"] = self.settings.external_id
        # The agent's role is assumed by the profile or chain, a run's by the agent.
        sts = self._client("sts", self.region, None if mine else self.settings.role_arn)
        with self.asking(f"assume the role {role}", role=role):
            found = sts.assume_role(**ask)["Credentials"]
        return {
            "access_key": found["AccessKeyId"],
            "secret_key": found["SecretAccessKey"],
            "token": found["SessionToken"],
            "expiry_time": found["Expiration"].isoformat(),
        }


def _near(region: str | None) -> str | None:
    """The region that was probably meant, when the SDK knows none of this name."""
    import difflib

    from botocore.loaders import Loader

    known = {one for each in Loader().load_data("endpoints")["partitions"] for one in each["regions"]}
    if region is None or region in known:
        return None
    close = difflib.get_close_matches(region, sorted(known))
    return min(
        close, key=lambda one: sorted(one) != sorted(region), default=None
    )  # letters that changed places


def quiet() -> None:
    """botocore's debug log has whole requests and answers: session tokens, registry passwords. Whoever wants
    it says so to that logger itself."""
    log = logging.getLogger("botocore")
    if log.level == logging.NOTSET:
        log.setLevel(logging.INFO)


class _Resolver:
    """What botocore asks for credentials, of one role; a failure is not remembered."""

    def __init__(self, load: Callable[[], Any]) -> None:
        self._load = load

    def load_credentials(self) -> Any:
        return self._load()
