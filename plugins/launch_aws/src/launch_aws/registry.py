"""The registry `ecr`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from launch_aws import names
from launch_aws.environment import AwsEnvironment
from launch_aws.repositories import Private, Public, Repositories, elsewhere
from launch_aws.settings import RegistrySettings
from launch_aws.tokens import Token, Tokens
from launchcore.plugin import CredentialHelper, ImageRef, LaunchError, Login

log = logging.getLogger("launchcore.aws")


class EcrRegistry:
    """Asks the API; what speaks the registry's own protocol are builders and engines, with a login."""

    def __init__(self, settings: RegistrySettings, environment: AwsEnvironment) -> None:
        self.settings = settings
        self.account = environment.account
        self.tokens = Tokens(self.account)

    @property
    def region(self) -> str:
        """Of the registry of short names."""
        return self.settings.region or self.account.region

    def resolve(self, repository: str) -> str:
        """``my-repo`` → ``123456789012.dkr.ecr.us-east-1.amazonaws.com/my-repo``. Asks once who we are."""
        if names.is_full(repository):
            return repository
        if self.settings.public_alias is not None:
            return f"{names.PUBLIC_HOSTS[0]}/{self.settings.public_alias}/{repository}"
        host = self.settings.host or names.private(self._number(), self.region)
        return f"{host}/{repository}"

    def ensure(self, ref: ImageRef) -> None:
        """Make the repository, unless it is there or the settings say that we should not."""
        if self.settings.create:
            where, image = self._where(ref)
            where.ensure(image)

    def digest(self, ref: ImageRef) -> str | None:
        """The digest of ``ref``, or ``None``: no such image, or no such repository."""
        where, image = self._where(ref)
        return where.digest(image)

    def logins(self, repository: str) -> Sequence[Login | CredentialHelper]:
        """For registries of ECR, whoever's they are: AWS itself answers there, and it is AWS's own policy
        that says what our role may pull. Public images need a login only where they are pushed."""
        found = {login.host: login for login in self._logins(repository)}
        if found:
            further = (login for host in self.settings.login_hosts for login in self._logins(f"{host}/x"))
            found = {**{login.host: login for login in further}, **found}
        return tuple(found.values())

    def _logins(self, repository: str) -> Iterator[Login]:
        image = names.image(repository)
        if image is None:
            return
        host = names.host(image.host)
        if host is None:
            if image.host == self.settings.host:
                yield _login(image.host, self.tokens.private(self.region))
        elif host.region is None:
            yield from self._public_login(image)
        elif names.suffix(host.region) == names.suffix(self.account.region):  # no other partition knows us
            yield _login(image.host, self.tokens.private(host.region))

    def _public_login(self, image: names.Image) -> Iterator[Login]:
        """Only for our own: everybody may pull, and not every role may have a token for it."""
        alias = image.path.partition("/")[0]
        if self.settings.repository is None and self.settings.public_alias is None:
            try:  # builder.destination may be there, or may not: who pushes without a login is told
                yield _login(image.host, self.tokens.public())
            except LaunchError as error:
                log.info("no login for public images: %s", error.detail)
        elif alias == self.settings.public_alias or f"/{alias}/" in f"{self.settings.repository}":
            yield _login(image.host, self.tokens.public())

    def _where(self, ref: ImageRef) -> tuple[Repositories, names.Image]:
        """The registry that an image is in."""
        image = names.image(ref.name, ref.digest)
        if image is None:
            raise elsewhere(ref.name)
        if image.host == self.settings.host:
            return self._private(self._number(), self.region), image
        host = names.host(image.host)
        if host is None:
            raise elsewhere(ref.name)
        if host.account is None or host.region is None:
            return Public(account=self.account, settings=self.settings), image
        return self._private(host.account, host.region), image

    def _private(self, number: str, region: str) -> Private:
        return Private(account=self.account, number=number, region=region, settings=self.settings)

    def _number(self) -> str:
        return self.settings.account or self.account.identity().account


def _login(host: str, token: Token) -> Login:
    return Login(host=host, username=token.username, password=token.password, expires_at=token.expires_at)


def make_registry(settings: RegistrySettings, environment: AwsEnvironment) -> EcrRegistry:
    """Asks nobody."""
    return EcrRegistry(settings, environment)
