"""The context store in a bucket or a container, through one storage library for all of them."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Final, Self

from launch_kaniko.store_access import Access
from launch_kaniko.store_errors import store_error
from launch_kaniko.store_gzip import gzipped, threads
from launch_kaniko.store_options import StoreOptions
from launch_kaniko.store_places import StorePlace, file_name, name_of
from launch_kaniko.store_source import Source
from launchcore.plugin import LaunchError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

CHECK_SECONDS: Final = 0.2
GRACE_SECONDS: Final = 10.0
MOST: Final = 20_000
"""How many objects one sweep looks at; the next one begins elsewhere."""


class BucketStore:
    """A :class:`~launch_kaniko.store_objects.ContextStore` in a bucket or a container.

    An upload in parts that was given up is aborted. That of an agent that was killed stays, unseen, until the
    store's own rule removes it (`AbortIncompleteMultipartUpload` of a bucket's lifecycle).
    """

    def __init__(self, place: StorePlace, options: StoreOptions, store: ObjectStore, given: Access) -> None:
        self._place = place
        self._options = options
        self._store = store
        self._given = given

    def has(self, name: str) -> bool:
        import obstore

        try:
            found = obstore.head(self._store, file_name(name))
        except FileNotFoundError:
            return False
        except Exception as error:
            if _cannot_tell(str(error)):
                return False
            raise failed(self._place, error, "read") from None
        return time.time() - found["last_modified"].timestamp() < self._options.keep_seconds / 2

    def put(self, name: str, pieces: Iterable[bytes], check: Callable[[], None]) -> None:
        file = file_name(name)
        check()
        source = Source(pieces)
        done: Future[None] = Future()

        def work() -> None:
            try:
                self._send(file, source)
            except BaseException as error:
                done.set_exception(error)
            else:
                done.set_result(None)

        # Its own thread, so that a cancel is heard while the store is slow. One that does not end in time is
        # left behind, and ends with its requests.
        threading.Thread(target=work, name=f"context-{name[:8]}", daemon=True).start()
        try:
            while not wait([done], timeout=CHECK_SECONDS).done:
                check()
        except BaseException:
            source.give_up()
            wait([done], timeout=GRACE_SECONDS)
            raise
        error = done.exception()
        if source.error is not None:  # the tree's, or the caller's; not the store's
            raise source.error
        if error is not None and not self._completed(name, error):
            raise failed(self._place, error, "write to") from None

    def _completed(self, name: str, error: BaseException) -> bool:
        """The answer to the completion was lost, and some services do not know the upload any more when it is
        repeated. The name stands for the content: what is there is what was put."""
        return "NoSuchUpload" in str(error) and self.has(name)

    def _send(self, file: str, source: Source) -> None:
        import obstore

        part = self._options.part_mb << 20
        with contextlib.closing(gzipped(source, self._options.compression, threads())) as packed:
            first, more = _begin(packed, part)
            if not more:
                obstore.put(self._store, file, first, use_multipart=False)
                return
            obstore.put(
                self._store,
                file,
                itertools.chain([first], packed),
                use_multipart=True,
                chunk_size=part,
                max_concurrency=self._options.concurrency,
            )

    def sweep(self, keep_seconds: float | None = None) -> int:
        keep = self._options.keep_seconds if keep_seconds is None else keep_seconds
        try:
            return sum(self._deleted(file, keep) for file in self._old(keep))
        except Exception as error:
            raise failed(self._place, error, "list and delete in") from None

    def _old(self, keep: float) -> Iterator[str]:
        """Names of old contexts; from anywhere among the digests on, so that all are reached in the end."""
        begin = f"launch-{secrets.token_hex(2)}"
        seen = 0
        for offset, end in ((begin, "launch-g"), ("launch-", begin)):
            for file, age in self._listed(offset, end):
                seen += 1
                if seen > MOST:
                    return
                if age > keep:
                    yield file

    def _listed(self, offset: str, end: str) -> Iterator[tuple[str, float]]:
        import obstore

        now = time.time()
        for page in obstore.list(self._store, offset=offset, chunk_size=1000):
            for one in page:
                file = one["path"]
                if file >= end:
                    return
                if name_of(file):
                    yield file, now - one["last_modified"].timestamp()

    def _deleted(self, file: str, keep: float) -> bool:
        import obstore

        try:
            now = obstore.head(self._store, file)
            if time.time() - now["last_modified"].timestamp() <= keep:
                return False
            obstore.delete(self._store, file)
        except FileNotFoundError:
            return False
        return True

    def close(self) -> None:
        self._given.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _cannot_tell(text: str) -> bool:
    """A store answers so for what is not there when the right to list is missing; putting it will tell.

    A refusal by the machine's own identity service (a link-local address) is not the store's.
    """
    return ("403 Forbidden" in text or "400 Bad Request" in text) and "169.254." not in text


def _begin(packed: Iterator[bytes], part: int) -> tuple[bytes, bool]:
    """The first ``part`` bytes or more, and whether there may be more."""
    held: list[bytes] = []
    size = 0
    for piece in packed:
        held.append(piece)
        size += len(piece)
        if size >= part:
            return b"".join(held), True
    return b"".join(held), False


def failed(place: StorePlace, error: BaseException, doing: str) -> LaunchError:
    if isinstance(error, LaunchError):
        return error
    return store_error(place, type(error).__name__, f"{error} {error!r}", doing)
