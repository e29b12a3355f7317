"""Bundles in S3: put before the training job is made, removed when it has ended."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from launch_aws.diagnosis import code_of
from launch_aws.session import Account

from launch_sagemaker.bundle import MAX_BYTES, Bundle, place, segment, unsegment
from launch_sagemaker.settings import Settings
from launchcore.plugin import Fault, LaunchError, Reason

log = logging.getLogger("launchcore.sagemaker")

_AT_ONCE: Final = 1000
"""DeleteObjects takes no more."""


class Store:
    """The objects of one owner. Safe for all threads: the clients are."""

    def __init__(self, account: Account, settings: Settings, owner: str) -> None:
        self._account = account
        self._settings = settings
        self._owner = owner

    def url(self, attempt_id: str) -> str | None:
        """The URL that an attempt's bundle is below; ``None``: there is no store."""
        store = self._settings.store
        return None if store is None else place(store, self._owner, attempt_id)

    def put(self, url: str, bundle: Bundle) -> None:
        """Put every file of it below ``url``. May be repeated.

        :raises LaunchError: it cannot be put, or a file is larger than 1 MiB.
        """
        if large := bundle.too_large():
            raise LaunchError(
                f"the run's {', '.join(large)} would have more than {MAX_BYTES // 1024} KiB",
                reason=Reason.CONFIG_ERROR,
                hint="use fewer or smaller secrets, or a shorter command",
            )
        bucket, prefix = _parts(url)
        key = self._settings.store_kms_key
        sealed = {} if key is None else {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
        client = self._account.client("s3")
        with self._asking(f"put what a run needs into s3://{bucket}", "s3:PutObject"):
            for name, content in bundle.files.items():
                client.put_object(Bucket=bucket, Key=prefix + name, Body=content.reveal().encode(), **sealed)

    def remove(self, url: str) -> None:
        """Remove everything below ``url``, if there is anything.

        :raises LaunchError: it could not be removed.
        """
        bucket, prefix = _parts(url)
        if prefix.split("/")[-3:-2] != [segment(self._owner)]:  # a tag may claim anything
            log.warning("%s is not below our own part of a store: nothing there is removed", url)
            return
        client = self._account.client("s3")
        with self._asking(f"remove what a run needed from s3://{bucket}", "s3:ListBucket"):
            try:
                keys = [
                    each["Key"] for page in self._pages(bucket, prefix) for each in page.get("Contents", ())
                ]
            except Exception as error:
                if code_of(error) == "NoSuchBucket":
                    return
                raise
            for at in range(0, len(keys), _AT_ONCE):
                doomed = [{"Key": key} for key in keys[at : at + _AT_ONCE]]
                done = client.delete_objects(Bucket=bucket, Delete={"Objects": doomed, "Quiet": True})
                for refused in done.get("Errors", ()):
                    raise LaunchError(
                        f"cannot remove a run's files from s3://{bucket}: {str(refused.get('Code'))[:60]}",
                        hint="allow s3:DeleteObject to the agent's user or role",
                    )

    def attempts(self) -> Sequence[str]:
        """The attempts that still have something in the store.

        :raises LaunchError: the store could not be asked.
        """
        store = self._settings.store
        if store is None:
            return ()
        bucket, prefix = _parts(f"{store.rstrip('/')}/{segment(self._owner)}/")
        found: list[str] = []
        with self._asking(f"look for what runs left in s3://{bucket}", "s3:ListBucket"):
            for page in self._pages(bucket, prefix, Delimiter="/"):
                folders = [each["Prefix"] for each in page.get("CommonPrefixes", ())]
                found += [unsegment(folder[len(prefix) :].rstrip("/")) for folder in folders]
        return found

    @contextmanager
    def _asking(self, what: str, action: str) -> Iterator[None]:
        """Not every answer of S3 says which action it is that it denies."""
        with self._account.asking(what):
            try:
                yield
            except Exception as error:
                if code_of(error) != "AccessDenied":
                    raise
                raise LaunchError(
                    f"cannot {what}: AWS denies it: {action} is not allowed",
                    reason=Reason.CONFIG_ERROR,
                    fault=Fault.INFRASTRUCTURE,
                    hint=f"allow {action} to the agent's user or role",
                ) from None

    def _pages(self, bucket: str, prefix: str, **options: Any) -> Iterator[Any]:
        pages = self._account.client("s3").get_paginator("list_objects_v2")
        yield from pages.paginate(Bucket=bucket, Prefix=prefix, **options)


def _parts(url: str) -> tuple[str, str]:
    """Bucket and prefix. What is no folder is refused: everything below it would go."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not bucket or not prefix.endswith("/") or not prefix.strip("/"):
        raise ValueError("what a run needs is below s3://BUCKET/…/")
    return bucket, prefix
