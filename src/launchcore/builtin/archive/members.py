"""The members of a tar stream, one by one: POSIX (pax), ustar and GNU long names.

``tarfile.TarInfo.frombuf`` decodes a block; everything around it, where ``tarfile`` trusts the archive
(sizes of extended headers, sparse maps, links, offsets), is done here, with bounds.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator

import attrs

from launchcore.builtin.archive.stream import BadArchive, Unpacked
from launchcore.builtin.text import shown

_BLOCK = 512
_ZEROS = bytes(_BLOCK)
_MAX_EXTENDED = 64 << 10
_MAX_EXTENDED_TOGETHER = 64 << 20
_MAX_GLOBAL = 8

_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a named pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


@attrs.frozen
class Member:
    """A regular file or a directory. The name is as the archive has it: hostile."""

    name: str
    directory: bool
    size: int
    executable: bool


def read_members(unpacked: Unpacked, *, max_members: int) -> Iterator[Member]:
    """Give each member; the content of a file must have been read when the next one is asked for.

    :raises BadArchive: broken, or something else than files and directories.
    """
    count, globals_seen, spent, extended = 0, 0, 0, False
    name: str | None = None
    size: int | None = None
    while (block := unpacked.exactly(_BLOCK)) != _ZEROS:
        header = _decode(block)
        if header.type == tarfile.XGLTYPE:
            globals_seen += 1
            if globals_seen > _MAX_GLOBAL:
                raise BadArchive("it has too many global headers")
            _pax(_extended(unpacked, header), everywhere=True)
        elif header.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME):
            if extended:
                raise BadArchive("two extended headers for one member")
            extended = True
            data = _extended(unpacked, header)
            spent += len(data)
            if spent > _MAX_EXTENDED_TOGETHER:
                raise BadArchive("it has far too many extended headers")
            if header.type == tarfile.GNUTYPE_LONGNAME:
                name = _utf8(data.rstrip(b"\0"))
            else:
                name, size = _pax(data)
        else:
            count += 1
            if count > max_members:
                raise BadArchive(f"it has more than {max_members} files")
            member = _member(header, name, size)
            name, size, extended = None, None, False
            yield member
            if padding := -member.size % _BLOCK:
                unpacked.exactly(padding, member.name)
    if unpacked.exactly(_BLOCK) != _ZEROS:
        raise BadArchive("something comes after its end")
    if extended:
        raise BadArchive("it ends with an extended header")
    unpacked.finish()


def _decode(block: bytes) -> tarfile.TarInfo:
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError, OverflowError) as error:
        raise BadArchive(f"a header is broken ({error})") from error
    if header.size < 0:
        raise BadArchive(f"{shown(header.name)} has a negative size")
    return header


def _member(header: tarfile.TarInfo, name: str | None, size: int | None) -> Member:
    name = header.name if name is None else name
    size = header.size if size is None else size
    directory = header.type == tarfile.DIRTYPE
    if not directory and header.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        kind = _KINDS.get(header.type, f"of the unknown type {header.type!r}")
        raise BadArchive(f"{shown(name)} is {kind}; only files and directories are taken")
    if directory and size:
        raise BadArchive(f"{shown(name)} is a directory with content")
    return Member(name, directory, size, bool(header.mode & 0o100))


def _extended(unpacked: Unpacked, header: tarfile.TarInfo) -> bytes:
    if header.size > _MAX_EXTENDED:
        raise BadArchive(f"an extended header of {header.size} bytes")
    data = unpacked.exactly(header.size)
    unpacked.exactly(-header.size % _BLOCK)
    return data


def _pax(data: bytes, *, everywhere: bool = False) -> tuple[str | None, int | None]:
    """Read ``LENGTH KEY=VALUE\\n`` records; of all keys only ``path`` and ``size`` are honoured."""
    name: str | None = None
    size: int | None = None
    while data and data.strip(b"\0"):
        digits, space, _ = data[:12].partition(b" ")
        if not space or not digits.isdigit():
            raise BadArchive("an extended header is broken")
        length = int(digits)
        record = data[len(digits) + 1 : length]
        key, equals, value = record.partition(b"=")
        if length > len(data) or not equals or not value.endswith(b"\n"):
            raise BadArchive("an extended header is broken")
        data, value = data[length:], value[:-1]
        if key.startswith(b"GNU.sparse"):
            raise BadArchive("it has a sparse file; only files and directories are taken")
        if key in (b"path", b"size", b"linkpath") and everywhere:
            raise BadArchive(f"a global header sets {shown(key)} of all members")
        if key == b"path":
            name = _utf8(value)
        elif key == b"size":
            if not value.isdigit() or len(value) > 18:
                raise BadArchive(f"an extended header with the size {shown(value, 40)}")
            size = int(value)
    return name, size


def _utf8(value: bytes) -> str:
    if b"\0" in value:
        raise BadArchive(f"{shown(value)}: a name with a zero byte")
    return value.decode("utf-8", "surrogateescape")
