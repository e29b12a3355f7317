"""Archives that attack."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchcore.builtin.archive.extract import Extracted, ExtractLimits, extract
from launchcore.plugin import Cancelled, LaunchError
from tests.sources.support import everything, fresh, member, packed, refused, tar, tgz

LINK = {"type": tarfile.SYMTYPE}
HARD = {"type": tarfile.LNKTYPE}


def run(data: bytes, target: Path, **limits: int) -> Extracted:
    return extract(io.BytesIO(data), target, limits=ExtractLimits(**limits))


def raw_header(
    name: bytes = b"x", *, size: bytes = b"00000000000\0", type: bytes = b"0", magic: bytes = b"ustar\00000"
) -> bytes:
    """One header block, with whatever fields, and a right checksum."""
    block = bytearray(512)
    block[0 : len(name)] = name
    block[100:108] = b"0000644\0"
    block[108:116] = block[116:124] = b"0000000\0"
    block[124:136] = size
    block[136:148] = b"00000000000\0"
    block[148:156] = b" " * 8
    block[156:157] = type
    block[257:265] = magic
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pax(records: bytes, type: bytes = b"x") -> bytes:
    padding = -len(records) % 512
    return raw_header(b"pax", size=b"%011o\0" % len(records), type=type) + records + bytes(padding)


def record(key: str, value: str) -> bytes:
    body = f" {key}={value}\n".encode()
    length = len(body) + 1
    while len(f"{length}".encode()) + len(body) != length:
        length = len(f"{length}".encode()) + len(body)
    return f"{length}".encode() + body


END = bytes(1024)
HUGE = b"77777777777\0"

HOSTILE: dict[str, tuple[bytes, str]] = {
    "dot-dot": (tgz(member("../evil", b"x")), "'../evil' leads out"),
    "dot-dot inside": (tgz(member("a/../../evil", b"x")), "leads out"),
    "absolute": (tgz(member("/etc/evil", b"x")), "absolute"),
    "Windows drive": (tgz(member("C:\\evil", b"x")), "Windows"),
    "UNC": (tgz(member("\\\\host\\share\\evil", b"x")), "Windows"),
    "backslash dot-dot": (tgz(member("..\\evil", b"x")), "Windows"),
    "symlink": (tgz(member("l", linkname="/etc", **LINK)), "'l' is a symbolic link"),
    "symlink, then a file through it": (
        tgz(member("l", linkname="/tmp", **LINK), member("l/evil", b"x")),
        "symbolic link",
    ),
    "symlink inside": (tgz(member("a", b"x"), member("l", linkname="a", **LINK)), "symbolic link"),
    "symlink chain beyond PATH_MAX (CVE-2025-4517)": (
        tgz(*(member("/".join("d" * depth) or "d", linkname="d" * 200, **LINK) for depth in range(1, 20))),
        "symbolic link",
    ),
    "hard link outside": (tgz(member("h", linkname="/etc/passwd", **HARD)), "hard link"),
    "hard link to a symlink": (
        tgz(member("l", linkname="/etc/passwd", **LINK), member("h", linkname="l", **HARD)),
        "symbolic link",
    ),
    "character device": (tgz(member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3)), "device"),
    "block device": (tgz(member("sda", type=tarfile.BLKTYPE, devmajor=8)), "device"),
    "fifo": (tgz(member("pipe", type=tarfile.FIFOTYPE)), "named pipe"),
    "unknown type": (tgz(member("odd", type=b"Z")), "unknown type"),
    "contiguous file": (tgz(member("odd", type=tarfile.CONTTYPE)), "unknown type"),
    "GNU sparse": (packed(raw_header(type=b"S", magic=b"ustar  \0") + END), "sparse"),
    "pax sparse": (packed(pax(record("GNU.sparse.major", "1")) + raw_header() + END), "sparse"),
    "duplicate": (tgz(member("a", b"1"), member("a", b"2")), "'a' is there twice"),
    "duplicate by another spelling": (tgz(member("a/b", b"1"), member("./a//b", b"2")), "twice"),
    "file, then directory": (tgz(member("a", b"1"), member("a", type=tarfile.DIRTYPE)), "twice"),
    "file, then below it": (tgz(member("a", b"1"), member("a/b", b"2")), "a file and a directory"),
    "directory, then file": (tgz(member("a/b", b"1"), member("a", b"2")), "a directory and a file"),
    "case-fold collision": (tgz(member("A/x", b"1"), member("a/x", b"2")), "case"),
    ".git/hooks": (tgz(member(".git/hooks/post-checkout", b"x", mode=0o755)), ".git"),
    ".GIT": (tgz(member("sub/.GIT/config", b"x")), ".git"),
    "control characters": (tgz(member("a\x1b]8;;http://evil\x07b", b"x")), "control"),
    "newline": (tgz(member("a\nforged log line", b"x")), "control"),
    "not UTF-8": (packed(raw_header(b"\xff\xfe") + END), "UTF-8"),
    "zero byte in a pax path": (packed(pax(record("path", "a\0b")) + raw_header() + END), "zero byte"),
    "too deep": (tgz(member("d/" * 70 + "x", b"x")), "deeper"),
    "too long": (tgz(member("d" * 300, b"x")), "part longer"),
    "endless name": (tgz(member("dd/" * 2000 + "x", b"x")), "longer than"),
    "GNU long name that leads out": (
        tgz(member("../" + "d" * 200, b"x"), format=tarfile.GNU_FORMAT),
        "leads out",
    ),
    "pax path that leads out": (packed(pax(record("path", "../../evil")) + raw_header() + END), "leads out"),
    "pax path over an innocent name": (
        packed(raw_header(b"a") + pax(record("path", "a")) + raw_header(b"b") + END),
        "twice",
    ),
    "pax link path": (
        packed(pax(record("linkpath", "/etc")) + raw_header(type=b"2") + END),
        "symbolic link",
    ),
    "global pax path": (packed(pax(record("path", "/etc/x"), b"g") + END), "global header"),
    "global pax size": (packed(pax(record("size", "9"), b"g") + END), "global header"),
    "endless global headers": (packed(pax(record("comment", "x"), b"g") * 50 + END), "too many"),
    "pax size that is none": (packed(pax(record("size", "-1")) + raw_header() + END), "size"),
    "pax size beyond the end": (packed(pax(record("size", "4096")) + raw_header() + END), "too early"),
    "two extended headers": (
        packed(pax(record("path", "a")) + pax(record("path", "../b")) + raw_header() + END),
        "two extended headers",
    ),
    "long name and pax path": (
        packed(
            raw_header(b"L", size=b"%011o\0" % 2, type=b"L")
            + b"a\0".ljust(512, b"\0")
            + pax(record("path", "b"))
            + raw_header()
            + END
        ),
        "two extended headers",
    ),
    "huge extended header": (packed(raw_header(size=HUGE, type=b"x") + END), "extended header of"),
    "huge long name": (packed(raw_header(size=HUGE, type=b"L") + END), "extended header of"),
    "broken pax record": (packed(pax(b"9999 path=x\n") + raw_header() + END), "broken"),
    "pax without a length": (packed(pax(b"path=x\n") + raw_header() + END), "broken"),
    "negative size": (packed(raw_header(size=b"\xff" * 12) + END), "negative size"),
    "size of no number": (packed(raw_header(size=b"not-a-number") + END), "broken"),
    "bad checksum": (packed(raw_header().replace(b"ustar", b"USTAR") + END), "broken"),
    "directory with content": (packed(raw_header(b"d", size=HUGE, type=b"5") + END), "content"),
    "file called like a directory": (tgz(member("a/", b"x", type=b"0")), "name of a directory"),
    "file without a name": (packed(raw_header(b".") + END), "without a name"),
    "no end mark": (packed(tar(member("a", b"x"))[:1024]), "too early"),
    "half an end mark": (packed(raw_header() + bytes(512)), "too early"),
    "something after half an end": (packed(raw_header() + bytes(512) + raw_header()), "after its end"),
    "something after the end": (packed(tar(member("a", b"x")) + b"evil".ljust(512)), "after its end"),
    "endless zeros after the end": (packed(tar(member("a", b"x")) + bytes(3 << 20)), "after its end"),
    "ends with an extended header": (packed(pax(record("path", "a")) + END), "extended header"),
    "truncated": (tgz(member("a", os.urandom(100_000)))[:50_000], "cut off"),
    "truncated by its checksum": (tgz(member("a", b"x"))[:-4], "cut off"),
    "damaged": (tgz(member("a", bytes(5000)))[:-8] + b"\0" * 8, "damaged"),
    "two archives in one": (tgz(member("a", b"x")) + tgz(member("b", b"x")), "several archives"),
    "rubbish after the archive": (tgz(member("a", b"x")) + b"rubbish", "after the compressed data"),
    "plain tar": (tar(member("a", b"x")), "no gzip"),
    "empty": (b"", "cut off"),
    "text": (b"hello", "no gzip"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_are_refused_and_leave_nothing(case: str, tmp_path: Path) -> None:
    data, word = HOSTILE[case]
    target = fresh(tmp_path / "inside" / "target")
    before = everything(tmp_path)
    with refused("the archive is refused", word):
        run(data, target)
    assert everything(tmp_path) == before


def test_a_zip_file_is_named(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("a", "x")
    with refused("zip"):
        run(out.getvalue(), tmp_path)


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_honest_archives(tmp_path: Path, format: int) -> None:
    long = f"{'d' * 90}/{'e' * 90}/f.py"
    data = tgz(
        member("./", type=tarfile.DIRTYPE),
        member("./a.py", b"print()"),
        member("bin/run", b"#!", mode=0o777),
        member("bin", type=tarfile.DIRTYPE, mode=0o700),
        member(long, b"deep"),
        member("empty", b""),
        member("block", b"b" * 512),
        format=format,
    )
    found = run(data, tmp_path)
    assert found == Extracted(files=5, bytes=7 + 2 + 4 + 512)
    assert (tmp_path / long).read_bytes() == b"deep"
    assert (tmp_path / "bin" / "run").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "bin").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "a.py").stat().st_mode & 0o7777 == 0o644


def test_modes_are_plain(tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        run(tgz(member("setuid", b"x", mode=0o6755), member("d/none", b"x", mode=0)), tmp_path)
    finally:
        os.umask(old)
    assert (tmp_path / "setuid").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "d" / "none").stat().st_mode & 0o7777 == 0o644
    assert (tmp_path / "d").stat().st_mode & 0o7777 == 0o755


def test_archives_of_other_tools(tmp_path: Path) -> None:
    source = fresh(tmp_path / "source")
    (source / "ünï").mkdir()
    (source / "ünï" / "a.py").write_text("x")
    made = tmp_path / "a.tgz"
    subprocess.run(["tar", "-C", source, "-czf", made, "."], check=True)
    run(made.read_bytes(), fresh(tmp_path / "tar"))
    assert everything(tmp_path / "tar") == everything(source)
    subprocess.run(["git", "init", "-q", source], check=True)
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "-C", source, "add", "."], check=True)
    subprocess.run(["git", "-C", source, *identity, "commit", "-qm", "x"], check=True)
    subprocess.run(["git", "-C", source, "archive", "--format=tgz", "-o", made, "HEAD"], check=True)
    run(made.read_bytes(), fresh(tmp_path / "git"))  # it has a global pax header with the commit
    assert everything(tmp_path / "git") == {"ünï": None, "ünï/a.py": b"x"}


def test_limits(tmp_path: Path) -> None:
    with refused("more than 3 files"):
        run(tgz(*(member(f"f{n}") for n in range(5))), tmp_path, max_files=3)
    with refused("with 'b' (600 bytes) it is more than 1000 bytes"):
        run(tgz(member("a", bytes(600)), member("b", bytes(600))), tmp_path, max_bytes=1000)
    with refused("more than 1000 bytes"):
        run(packed(raw_header(size=b"77777777777\0")), tmp_path, max_bytes=1000)
    assert everything(tmp_path) == {}


class Endless(io.RawIOBase):
    """A gzip stream that is made while it is read: as large as one likes, without memory."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._deflate = zlib.compressobj(9, wbits=31)
        self._blocks = blocks
        self._ready = b""
        self.given = 0

    def read(self, count: int = -1) -> bytes:
        while len(self._ready) < count:
            block = next(self._blocks, None)
            if block is None:
                self._ready += self._deflate.flush()
                break
            self._ready += self._deflate.compress(block)
        data, self._ready = self._ready[:count], self._ready[count:]
        self.given += len(data)
        return data


def test_ten_million_empty_files(tmp_path: Path) -> None:
    bomb = Endless(raw_header(b"f%d" % number) for number in range(10_000_000))
    with refused("more than 2000 files"):
        extract(cast("IO[bytes]", bomb), tmp_path, limits=ExtractLimits(max_files=2000))
    assert everything(tmp_path) == {}
    assert bomb.given < 1 << 20, "the rest was never looked at"


def test_ten_million_extended_headers(tmp_path: Path) -> None:
    bomb = Endless(pax(record("comment", "x")) for _ in range(10_000_000))
    with refused("two extended headers"):
        extract(cast("IO[bytes]", bomb), tmp_path)


def test_a_ratio_bomb_is_refused_early(tmp_path: Path) -> None:
    size = 3 << 30
    blocks = (bytes(1 << 16) for _ in range(size >> 16))
    bomb = Endless(block for part in ([raw_header(size=b"%011o\0" % size)], blocks) for block in part)
    with refused("unpacks to more than 400 times its size"):
        extract(cast("IO[bytes]", bomb), tmp_path)
    assert everything(tmp_path) == {}
    assert bomb.given < 1 << 20


@pytest.mark.slow
def test_memory_stays_small(tmp_path: Path) -> None:
    """24 MiB of content, in a process that says how much it took."""
    archive = tmp_path / "a.tgz"
    archive.write_bytes(gzip.compress(tar(member("big", os.urandom(1 << 20) * 24)), 1))
    code = (
        "import resource, sys, io; from pathlib import Path; "
        "from launchcore.builtin.archive.extract import extract; "
        "from launchcore.builtin.archive.pack import pack; "
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; "
        "extract(open(sys.argv[1], 'rb'), Path(sys.argv[2])); "
        "pack(Path(sys.argv[2]), open('/dev/null', 'wb')); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    target = fresh(tmp_path / "t")
    done = subprocess.run([sys.executable, "-c", code, archive, target], capture_output=True, check=True)
    assert int(done.stdout) < 16 << 10  # KiB


def test_nothing_in_the_target_is_followed(tmp_path: Path) -> None:
    """Even if somebody had put a link into the target: every step is made from an open directory."""
    outside, target = fresh(tmp_path / "outside"), fresh(tmp_path / "target")
    (target / "d").symlink_to(outside)
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        run(tgz(member("d/evil", b"x")), target)
    (target / "f").symlink_to(outside / "evil")
    with pytest.raises(FileExistsError):
        run(tgz(member("f", b"x")), target)
    assert everything(outside) == {}


def test_cancelling_leaves_nothing(tmp_path: Path) -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise Cancelled

    data = tgz(*(member(f"f{number}", os.urandom(100_000)) for number in range(50)))
    with pytest.raises(Cancelled):
        extract(io.BytesIO(data), tmp_path, check=check)
    assert everything(tmp_path) == {}


types = st.sampled_from(
    [b"0", b"\0", b"5", b"1", b"2", b"3", b"4", b"6", b"7", b"S", b"L", b"K", b"x", b"g", b"Z"]
)
likely = st.sampled_from([b"0", b"5"])
parts = st.sampled_from(["a", "b", "A", "..", ".", "", "l", "é", "x" * 120, ".git", "C:", "\\"])
members_ = st.builds(
    lambda names, kind, link, content, mode: member(
        "/".join(names), content if kind in b"0\0" else b"", type=kind, linkname=link, mode=mode
    ),
    st.lists(parts, min_size=1, max_size=4),
    st.one_of(likely, likely, types),
    st.sampled_from(["", "/etc", "../..", "a", "."]),
    st.binary(max_size=700),
    st.sampled_from([0o644, 0o7777, 0]),
)


@settings(max_examples=100, deadline=None)
@given(
    members=st.lists(members_, max_size=6),
    cut=st.one_of(st.none(), st.integers(0, 4000)),
    flip=st.one_of(st.none(), st.integers(0, 3000)),
)
def test_random_archives_never_write_outside(
    tmp_path_factory: pytest.TempPathFactory, members: list[Any], cut: int | None, flip: int | None
) -> None:
    """All or nothing, inside the target only, and never any other exception."""
    root = tmp_path_factory.mktemp("random")
    target = fresh(root / "in" / "target")
    data = bytearray(tar(*members))
    if flip is not None and flip < len(data):
        data[flip] ^= 0xFF
    stream = packed(bytes(data))[:cut]
    try:
        found = run(stream, target)
    except LaunchError as error:
        outcome = (error.detail.isprintable(), everything(target))
        assert outcome == (True, {})
    else:
        files = [path for path in target.rglob("*") if not path.is_dir()]
        assert len(files) == found.files
        assert not any(path.is_symlink() for path in target.rglob("*"))
    assert [path.name for path in root.rglob("*") if not path.is_relative_to(target)] == ["in"]
