"""Log bytes that the queue has not taken yet, on disk, each piece with the runner's cursor after it.

While the queue is away, engines and clusters rotate their logs away; what was read is kept here, and goes
to the queue in order when it is back. The file survives the agent: its successor compares the cursors with
the one that the queue has stored, and goes on exactly there.

One record: magic, length of the cursor (0: none, else one more than its bytes), length of the data, CRC-32
of both; then the cursor and the data. The first one has no data: its cursor is where the file begins. A
record that was cut off by a crash ends the file.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import struct
import zlib
from pathlib import Path
from typing import Final

import attrs

log = logging.getLogger("launchcore.agent")

_HEAD: Final = struct.Struct(">4sIII")
_MAGIC: Final = b"LSP1"
LEFT_FREE: Final = 512 * 1024 * 1024
"""Bytes of the disk that a spool leaves free: a full disk would hurt more than a log that waits."""
_MOST: Final = 1 << 28
"""Bytes of one record: a larger number in a file is damage."""


@attrs.frozen(kw_only=True)
class Piece:
    """Some bytes from the spool's beginning, and the cursor after them. ``records``: how many it is."""

    data: bytes
    cursor: str | None
    records: int


@attrs.frozen
class _Record:
    at: int
    end: int
    data_at: int
    size: int
    cursor: str | None


class Spool:
    """One attempt's. One thread at a time. The file is there only while there is something in it.

    :param most: bytes of logs that it holds.
    """

    __slots__ = ("_file", "_folder", "_most", "_name", "_records", "_tail", "size")

    def __init__(self, folder: Path, name: str, most: int) -> None:
        self._folder = folder
        self._name = name
        self._most = most
        self._file: int | None = None
        self._records: list[_Record] = []
        self._tail = 0
        self.size = 0
        """Bytes of logs that are in it."""

    def __bool__(self) -> bool:
        return bool(self._records)

    @property
    def cursor(self) -> str | None:
        """Of its end. Only when there is something in it."""
        return self._records[-1].cursor

    def put(self, data: bytes, cursor: str | None, *, after: str | None) -> bool:
        """Add bytes at the end. False: there is no room (the bound, the disk), and nothing was added.

        :param cursor: the runner's, after these bytes.
        :param after: the runner's before them; counts when the spool is empty.
        """
        if self.size + len(data) > self._most or self._tail > 2 * self._most:
            return False  # the file shrinks only when it is empty, so it is bounded as well
        try:
            if self._file is None:
                self._file = self._open(os.O_RDWR | os.O_CREAT | os.O_EXCL)
            if not self._has_room(len(data)):
                self._close_if_empty()
                return False
            if self._tail == 0:
                self._append(after, b"")
            self._records.append(self._append(cursor, data))
        except OSError as error:
            log.warning("%s cannot be written: %s", self._path, error.strerror)
            self._cut()
            return False
        self.size += len(data)
        return True

    def first(self, most: int) -> Piece | None:
        """From its beginning, whole records of about ``most`` bytes; ``None``: it is empty.

        :raises OSError: it cannot be read.
        """
        found: list[bytes] = []
        size, cursor = 0, None
        for record in self._records:
            if found and size + record.size > most:
                break
            found.append(self._read(record.data_at, record.size))
            size, cursor = size + record.size, record.cursor
        return Piece(data=b"".join(found), cursor=cursor, records=len(found)) if found else None

    def drop(self, piece: Piece) -> None:
        """These are stored. An empty spool leaves no file behind."""
        self.size -= sum(each.size for each in self._records[: piece.records])
        del self._records[: piece.records]
        self._close_if_empty()

    def clear(self) -> None:
        """Forget everything in it."""
        self._records.clear()
        self.size = 0
        self._close_if_empty()

    def close(self) -> None:
        """Keep the file for a successor."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def recover(self, stored: str | None) -> None:
        """Take up what an agent before has left, from where the queue has it.

        :param stored: the cursor that the queue has stored. What comes before it is stored; when it is
            nowhere in the file, the file is of no use: somebody else went on meanwhile.
        """
        try:
            self._file = self._open(os.O_RDWR)
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("%s cannot be used: %s", self._path, error.strerror)
            self._unlink()
            return
        try:
            records = self._scan()
        except OSError as error:
            log.warning("%s cannot be read: %s", self._path, error.strerror)
            records = []
        place = next((index for index, each in enumerate(records) if each.cursor == stored), None)
        if place is not None:
            self._records.extend(records[place + 1 :])
            self.size = sum(each.size for each in self._records)
        self._cut()
        self._close_if_empty()

    # -- inside --------------------------------------------------------------------------------

    @property
    def _path(self) -> Path:
        return self._folder / self._name

    def _open(self, flags: int) -> int:
        """Never through a link, and never anything but a file of our own: a run may write beside it."""
        if flags & os.O_CREAT:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._unlink()
        file = os.open(self._path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_uid != os.getuid():
            os.close(file)
            raise OSError(0, "it is not a file of ours")
        return file

    def _has_room(self, count: int) -> bool:
        assert self._file is not None
        disk = os.fstatvfs(self._file)
        return disk.f_bavail * disk.f_frsize - count > LEFT_FREE

    def _append(self, cursor: str | None, data: bytes) -> _Record:
        assert self._file is not None
        name = b"" if cursor is None else cursor.encode("utf-8", "surrogatepass")
        length = 0 if cursor is None else len(name) + 1
        whole = name + data
        raw = _HEAD.pack(_MAGIC, length, len(data), zlib.crc32(whole)) + whole
        at, written = self._tail, 0
        while written < len(raw):
            written += os.pwrite(self._file, raw[written:], at + written)
        self._tail = at + len(raw)
        return _Record(at, self._tail, self._tail - len(data), len(data), cursor)

    def _read(self, at: int, count: int) -> bytes:
        if self._file is None:
            self._file = self._open(os.O_RDWR)
        data = os.pread(self._file, count, at)
        if len(data) < count:
            raise OSError(0, "it is shorter than it was")
        return data

    def _scan(self) -> list[_Record]:
        """All whole records, the first one (without data) included."""
        assert self._file is not None
        found: list[_Record] = []
        size = os.fstat(self._file).st_size
        at = 0
        while at + _HEAD.size <= size:
            magic, length, count, crc = _HEAD.unpack(self._read(at, _HEAD.size))
            name = max(length - 1, 0)
            end = at + _HEAD.size + name + count
            if magic != _MAGIC or count > _MOST or name > _MOST or end > size:
                break
            whole = self._read(at + _HEAD.size, name + count)
            if zlib.crc32(whole) != crc:
                break
            cursor = whole[:name].decode("utf-8", "surrogatepass") if length else None
            found.append(_Record(at, end, end - count, count, cursor))
            at = end
        return found

    def _cut(self) -> None:
        """The file ends behind the last whole record."""
        self._tail = self._records[-1].end if self._records else 0
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._tail)
        self._close_if_empty()

    def _close_if_empty(self) -> None:
        if not self._records:
            self.close()
            self._unlink()
            self._tail = 0

    def _unlink(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink()
