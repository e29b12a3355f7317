"""Repositories and images of one registry, private or public, by ECR's API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Protocol

import attrs

from launch_aws.diagnosis import code_of, scrubbed
from launch_aws.names import PUBLIC_REGION, Image, public_path
from launch_aws.session import Account
from launch_aws.settings import RegistrySettings
from launchcore.plugin import Fault, LaunchError, Reason

MEDIA_TYPES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
"""All that an image may be; without it ECR answers with a manifest of another digest."""

_NOT_THERE: Final = frozenset({"RepositoryNotFoundException", "ImageNotFoundException"})
_NO_IMAGE: Final = frozenset({"ImageNotFound", "ImageTagDoesNotMatchDigest"})
"""What ECR calls an image that it does not have."""


class Repositories(Protocol):
    """What is asked of either API."""

    def digest(self, image: Image) -> str | None: ...

    def ensure(self, image: Image) -> None: ...


@attrs.frozen(kw_only=True)
class Private:
    """The registry of an account in a region."""

    account: Account
    number: str
    """The account's."""
    region: str
    settings: RegistrySettings

    def digest(self, image: Image) -> str | None:
        """By BatchGetImage, which whoever pulls must be allowed anyway. It gives what the tag stands for: the
        index of an image for several platforms, and not one of its manifests."""
        which = {"imageDigest": image.digest} if image.digest else {"imageTag": image.tag or "latest"}
        client = self.account.client("ecr", self.region)
        with self.account.asking(f"look for the image {image.path} in ECR", region=self.region):
            try:
                found = client.batch_get_image(
                    registryId=self.number,
                    repositoryName=image.path,
                    imageIds=[which],
                    acceptedMediaTypes=[*MEDIA_TYPES],
                )
            except Exception as error:
                if code_of(error) in _NOT_THERE:
                    return None
                raise
        for failure in found.get("failures") or ():
            if failure.get("failureCode") not in _NO_IMAGE:
                why = scrubbed(failure.get("failureReason") or failure.get("failureCode"))
                raise LaunchError(f"ECR cannot say whether it has the image {image.path}: {why}")
        digests = [str(one["imageId"]["imageDigest"]) for one in found.get("images") or ()]
        return digests[0] if digests else None

    def ensure(self, image: Image) -> None:
        """Make the repository if it is not there. Whoever makes it first decides how it is."""
        client = self.account.client("ecr", self.region)
        which = {"registryId": self.number, "repositoryName": image.path}
        if _exists(self.account, client, which, self.region):
            return
        with self.account.asking(f"make the repository {image.path} in ECR", region=self.region):
            try:
                client.create_repository(**which, **self._properties())
            except Exception as error:
                if code_of(error) != "RepositoryAlreadyExistsException":
                    raise
                return
        if self.settings.lifecycle_policy is not None:
            what = f"set the lifecycle policy of the repository {image.path}, which was made"
            with self.account.asking(what, region=self.region):
                text = json.dumps(self.settings.lifecycle_policy)
                client.put_lifecycle_policy(**which, lifecyclePolicyText=text)

    def _properties(self) -> Mapping[str, Any]:
        with_it: dict[str, Any] = {
            "imageTagMutability": "IMMUTABLE" if self.settings.immutable_tags else "MUTABLE",
            "imageScanningConfiguration": {"scanOnPush": self.settings.scan_on_push},
        }
        if self.settings.kms_key is not None:
            with_it["encryptionConfiguration"] = {"encryptionType": "KMS", "kmsKey": self.settings.kms_key}
        return {**with_it, **_tags(self.settings)}


@attrs.frozen(kw_only=True)
class Public:
    """The public registry of the account; its API knows no other."""

    account: Account
    settings: RegistrySettings

    def digest(self, image: Image) -> str | None:
        """By DescribeImages: there is no BatchGetImage here."""
        which = {"imageDigest": image.digest} if image.digest else {"imageTag": image.tag or "latest"}
        client = self.account.client("ecr-public", PUBLIC_REGION)
        with self.account.asking(f"look for the image {image.path} in ECR", region=PUBLIC_REGION):
            try:
                found = client.describe_images(repositoryName=public_path(image.path), imageIds=[which])
            except Exception as error:
                if code_of(error) in _NOT_THERE:
                    return None
                raise
        digests = [str(one["imageDigest"]) for one in found.get("imageDetails") or ()]
        return digests[0] if digests else None

    def ensure(self, image: Image) -> None:
        client = self.account.client("ecr-public", PUBLIC_REGION)
        which = {"repositoryName": public_path(image.path)}
        if _exists(self.account, client, which, PUBLIC_REGION):
            return
        with self.account.asking(f"make the public repository {image.path} in ECR", region=PUBLIC_REGION):
            try:
                client.create_repository(**which, **_tags(self.settings))
            except Exception as error:
                if code_of(error) != "RepositoryAlreadyExistsException":
                    raise


def _exists(account: Account, client: Any, which: Mapping[str, str], region: str) -> bool:
    """One question that costs nothing is better than a CreateRepository that fails in every trail."""
    name = which["repositoryName"]
    ask = {**which, "repositoryNames": [name]}
    del ask["repositoryName"]
    with account.asking(f"look for the repository {name} in ECR", region=region):
        try:
            client.describe_repositories(**ask)
        except Exception as error:
            if code_of(error) in _NOT_THERE:
                return False
            raise
    return True


def _tags(settings: RegistrySettings) -> Mapping[str, Any]:
    tags = [{"Key": key, "Value": value} for key, value in sorted(settings.tags.items())]
    return {"tags": tags} if tags else {}


def elsewhere(name: str) -> LaunchError:
    """An image that is in no registry of ECR."""
    return LaunchError(
        f"{scrubbed(name, 120)!r} is in no registry of ECR",
        reason=Reason.CONFIG_ERROR,
        fault=Fault.INFRASTRUCTURE,
        hint="look at builder.destination and registry.repository, or choose the registry oci",
    )
