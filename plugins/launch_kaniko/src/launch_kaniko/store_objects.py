"""The context store: what is there, putting a context, and sweeping what nobody has used for long."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

from launch_kaniko.store_access import Access, access_of, client_of, retry_of, settings_of
from launch_kaniko.store_bucket import BucketStore, failed
from launch_kaniko.store_files import ClaimStore
from launch_kaniko.store_options import StoreOptions
from launch_kaniko.store_places import StorePlace, check_store
from launchcore.plugin import EnvVar, Fault, LaunchError, Reason, SecretFile

if TYPE_CHECKING:
    from obstore.store import ObjectStore


class ContextStore(Protocol):
    """Build contexts by their digest.

    **Retention.** A context is as old as its object. :meth:`has` makes one that is older than half the
    retention young again (in a bucket, where that takes a new upload, it says that it is not there), so what
    a build has just found or put stays for at least half the retention; a build must be shorter than that.
    The clocks of agents and store may differ, by less than half the retention less the longest build. Right
    before an object is deleted, its age is looked at once more. What is left is an upload that ends between
    that look and the deletion, milliseconds later: its build does not find its context, and succeeds when it
    is tried again.
    """

    def has(self, name: str) -> bool:
        """Whether the context is there, and stays long enough for a build.

        :raises LaunchError: when the store could not be asked.
        """

    def put(self, name: str, pieces: Iterable[bytes], check: Callable[[], None]) -> None:
        """Store ``pieces``, a tar, as gzip. It is there as a whole or not at all; again is harmless.

        ``pieces`` may be read, and ``check`` called, by another thread than the caller's.

        :param check: raises when it is no longer wanted; the upload is then given up.
        :raises LaunchError: as it was raised by ``pieces`` or ``check``, or when the store does not take it.
        """

    def sweep(self, keep_seconds: float | None = None) -> int:
        """Delete our contexts that are older than that (without it, the retention), and say how many.

        :raises LaunchError: when the store could not be asked.
        """

    def close(self) -> None:
        """Forget the credentials."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def open_store(
    place: StorePlace, access: Sequence[EnvVar | SecretFile], options: StoreOptions
) -> ContextStore:
    """The store at ``place``. Asks nothing of it yet.

    :param access: :attr:`Given.access`. When it is empty, the storage library looks for credentials by
        itself: the agent's variables, then its pod's or machine's identity.
    :raises LaunchError: ``config_error``, when options or credentials cannot be used.
    """
    try:
        check_store(place, options)
    except ValueError as error:
        raise LaunchError(
            f"build-context-store: {error}", reason=Reason.CONFIG_ERROR, fault=Fault.INFRASTRUCTURE
        ) from None
    if not place.remote:
        return ClaimStore(place, options)
    url = f"{place.scheme}://{place.bucket}"
    if place.prefix:
        url += f"/{place.prefix}"
    given = access_of(access, lambda name: _known(place.scheme, name), settings_of(place, options))
    try:
        store = _opened(url, given, options)
    except BaseException as error:
        given.close()
        if isinstance(error, Exception):
            raise failed(place, error, "use") from None
        raise
    return BucketStore(place, options, store, given)


@functools.lru_cache
def _known(scheme: str, name: str) -> bool:
    from obstore.exceptions import UnknownConfigurationKeyError
    from obstore.store import from_url

    config: Any = {name: "x"}
    try:
        from_url(f"{scheme}://none", config=config)
    except UnknownConfigurationKeyError:
        return False
    except Exception:  # it knows the name, and wants more
        return True
    return True


def _opened(url: str, given: Access, options: StoreOptions) -> ObjectStore:
    from obstore.store import from_url

    client: Any = client_of(options)
    retry: Any = retry_of(options)
    more: dict[str, Any] = {} if given.provider is None else {"credential_provider": given.provider}

    def build(config: Mapping[str, Any]) -> ObjectStore:
        made: Any = dict(config)
        return from_url(url, config=made, client_options=client, retry_config=retry, **more)

    config = dict(given.config)
    for key in list(config)[::-1]:
        try:
            return build(config)
        except Exception as error:
            if "Duplicate key" not in str(error):
                raise
            if _twice(url, config, key):  # two spellings of one variable
                del config[key]
    return build(config)


def _twice(url: str, config: Mapping[str, Any], key: str) -> bool:
    from obstore.store import from_url

    for other in config:
        pair: Any = {key: "x", other: "x"}
        try:
            from_url(url, config=pair)
        except Exception as error:
            if "Duplicate key" in str(error):
                return True
    return False
