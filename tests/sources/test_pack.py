"""Packing a directory."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launchcore.builtin.archive.extract import extract
from launchcore.builtin.archive.ignore import ALWAYS_LEFT_OUT
from launchcore.builtin.archive.names import BadName, Names, split
from launchcore.builtin.archive.pack import PackSummary, pack
from launchcore.builtin.archive.scan import PackLimits
from tests.sources.support import everything, fresh, refused, tree


def pack_it(root: Path, **limits: int) -> tuple[PackSummary, bytes]:
    out = io.BytesIO()
    return pack(root, out, limits=PackLimits(**limits)), out.getvalue()


def names_in(data: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(data)) as file:
        return [info.name for info in file]


def names_of(root: Path) -> list[str]:
    return names_in(pack_it(root)[1])


def test_the_same_content_is_the_same_bytes(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"b.py": "b", "a/x": "x", "a/y": b"\0\xff", "ünï.txt": "u"}
    one, two = tree(fresh(tmp_path / "1"), files), tree(fresh(tmp_path / "2"), dict(reversed(files.items())))
    (one / "b.py").chmod(0o600)
    os.utime(one / "b.py", (1, 1))
    old = os.umask(0o077)
    try:
        assert pack_it(one)[1] == pack_it(two)[1]
    finally:
        os.umask(old)


def test_the_bytes_never_change(tmp_path: Path) -> None:
    """Content-addressed: a change here makes every archive of before another one. The tar is compared,
    since zlib's output may change with its version."""
    tree(tmp_path, {"a.py": "print(1)\n", "d/b": "x"})
    (tmp_path / "a.py").chmod(0o755)
    data = pack_it(tmp_path)[1]
    with tarfile.open(fileobj=io.BytesIO(data)) as file:
        seen = [(i.name, i.mode, i.mtime, i.uid, i.gid, i.uname, i.gname, i.type) for i in file]
    assert seen == [
        ("a.py", 0o755, 0, 0, 0, "", "", tarfile.REGTYPE),
        ("d", 0o755, 0, 0, 0, "", "", tarfile.DIRTYPE),
        ("d/b", 0o644, 0, 0, 0, "", "", tarfile.REGTYPE),
    ]
    assert data[4:8] == bytes(4), "no time in the gzip header"


def test_summary(tmp_path: Path) -> None:
    tree(tmp_path, {"a": "12345", "d/b": "678"})
    summary, data = pack_it(tmp_path)
    assert (summary.files, summary.directories, summary.bytes) == (2, 1, 8)
    assert summary.packed_bytes == len(data)
    assert summary.skipped == ()


def test_what_is_left_out_by_itself(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            "train.py": "",
            ".git/config": "",
            "sub/.git": "gitdir: ../.git/modules/sub",
            "pkg/__pycache__/x.pyc": "",
            ".venv/bin/python": "",
            ".launchcore/state": "",
            ".env": "kept: git would keep it too",
        },
    )
    assert names_of(tmp_path) == [".env", "pkg", "sub", "train.py"]


@pytest.mark.parametrize(
    ("files", "kept"),
    [
        ({".gitignore": "*.csv", "a.csv": "", "a.py": ""}, {"a.py"}),
        ({".gitignore": "*.csv\n!keep.csv", "a.csv": "", "d/keep.csv": ""}, {"d/keep.csv"}),
        ({".gitignore": "/data", "data/x": "", "src/data/y": ""}, {"src/data/y"}),
        ({"d/.gitignore": "*.log", "d/a.log": "", "a.log": ""}, {"a.log"}),
        ({".gitignore": "*.log", "d/.gitignore": "!a.log", "d/a.log": "", "a.log": ""}, {"d/a.log"}),
        ({".gitignore": "", ".launchignore": "*.csv", "a.csv": "", "a.py": ""}, {"a.py"}),
        ({".gitignore": "*.csv", ".launchignore": "!a.csv", "a.csv": "", "b.csv": ""}, {"a.csv"}),
        ({"d/.gitignore": "!a.csv", ".launchignore": "*.csv", "d/a.csv": ""}, set()),
        (
            {".gitignore": "data/", ".launchignore": "!data/", "data/x": "", "data/y.csv": ""},
            {"data/x", "data/y.csv"},
        ),
        (
            {".gitignore": "data/\n*.csv", ".launchignore": "!data/", "data/x": "", "data/y.csv": ""},
            {"data/x"},
        ),
        (
            {".gitignore": "data/", ".launchignore": "!data/small.csv", "data/small.csv": "", "data/x": ""},
            {"data/small.csv"},
        ),
        ({".gitignore": "data/", ".launchignore": "!small.csv", "data/small.csv": ""}, set()),
        ({".launchignore": "!.venv/keep.txt", ".venv/keep.txt": "", ".venv/bin/x": ""}, {".venv/keep.txt"}),
        ({".launchignore": "!__pycache__/", "__pycache__/x": ""}, {"__pycache__/x"}),
        ({".launchignore": "!.git\n!.git/**", ".git/config": "", "a": ""}, {"a"}),
        ({"d/.launchignore": "!x.bin", ".gitignore": "*.bin", "d/x.bin": "", "x.bin": ""}, {"d/x.bin"}),
        ({".launchignore": "out/\n!out/x", "out/x": ""}, set()),
    ],
)
def test_ignore_files(tmp_path: Path, files: dict[str, str | bytes], kept: set[str]) -> None:
    tree(tmp_path, files)
    rules = {".gitignore", ".launchignore"}
    found = {name for name in names_of(tmp_path) if (tmp_path / name).is_file()}
    assert {name for name in found if Path(name).name not in rules} == kept


def test_ignore_files_above_count_up_to_the_top_of_the_repository(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            ".gitignore": "*",
            "repo/.git/HEAD": "",
            "repo/.gitignore": "*.pt\n/train/out",
            "repo/train/m.pt": "",
        },
    )
    tree(tmp_path, {"repo/train/a.py": "", "repo/train/out/log": ""})
    assert names_of(tmp_path / "repo" / "train") == ["a.py"]


def test_git_agrees_on_a_whole_tree(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    tree(
        tmp_path,
        {
            ".gitignore": "*.log\nbuild/\n!important.log\n/top\n**/deep/**/x\n",
            "a/.gitignore": "!b.log\nlocal-*\n",
            **dict.fromkeys(("a/b.log", "b.log", "important.log", "build/x", "top", "a/top"), ""),
            **dict.fromkeys(("a/deep/1/2/x", "a/deep/x", "a/deep/1/y", "a/local-1", "local-1"), ""),
        },
    )
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--others", "--exclude-standard"],
        cwd=tmp_path, capture_output=True, check=True, text=True,
    ).stdout  # fmt: skip
    files = {name for name in names_of(tmp_path) if (tmp_path / name).is_file()}
    assert files == set(filter(None, listed.split("\0")))


def test_links(tmp_path: Path) -> None:
    outside = tree(fresh(tmp_path / "outside"), {"secret": "s"})
    root = tree(
        fresh(tmp_path / "root"), {"real.txt": "real", "pkg/m.py": "m", ".env": "e", ".gitignore": ".env"}
    )
    (root / "copy.txt").symlink_to("real.txt")
    (root / "absolute.txt").symlink_to(root / "real.txt")
    (root / "twice.txt").symlink_to("copy.txt")
    (root / "lib").symlink_to("pkg")
    (root / "pkg" / "up").symlink_to("..")
    (root / "out.txt").symlink_to(outside / "secret")
    (root / "outdir").symlink_to("../outside")
    (root / "dangling").symlink_to("nowhere")
    (root / "loop").symlink_to("loop")
    (root / "env").symlink_to(".env")
    summary, data = pack_it(root)
    with tarfile.open(fileobj=io.BytesIO(data)) as file:
        assert {info.type for info in file} <= {tarfile.REGTYPE, tarfile.DIRTYPE}
    extract(io.BytesIO(data), fresh(tmp_path / "got"))
    got = everything(tmp_path / "got")
    assert {name: got[name] for name in ("copy.txt", "absolute.txt", "twice.txt", "lib/m.py")} == {
        **dict.fromkeys(("copy.txt", "absolute.txt", "twice.txt"), b"real"),
        "lib/m.py": b"m",
    }
    said = "\n".join(summary.skipped)
    for name, why in [
        ("'out.txt'", "out of the directory"),
        ("'outdir'", "out of the directory"),
        ("'dangling'", "to nothing"),
        ("'loop'", "to nothing"),
        ("'env'", "left out"),
        ("'pkg/up'", "that it is in"),
    ]:
        assert any(name in line and why in line for line in summary.skipped), (name, said)
    assert not {"out.txt", "outdir", "dangling", "loop", "env", ".env"} & set(got)


def test_special_files_are_left_out_aloud(tmp_path: Path) -> None:
    tree(tmp_path, {"a": ""})
    os.mkfifo(tmp_path / "pipe")
    summary, data = pack_it(tmp_path)
    assert names_in(data) == ["a"]
    assert summary.skipped == ("'pipe' is no regular file",)


def test_too_large_names_the_biggest(tmp_path: Path) -> None:
    tree(tmp_path, {"data/train.bin": b"x" * 5000, "a.py": "1"})
    with refused("'data/train.bin' 4.9 KiB", ".launchignore", "1000 bytes"):
        pack_it(tmp_path, max_bytes=1000)
    (tmp_path / ".launchignore").write_text("data/")
    assert pack_it(tmp_path, max_bytes=1000)[0].files == 2


def test_too_many_files_names_where_they_are(tmp_path: Path) -> None:
    tree(tmp_path, {"a.py": "", **{f"node_modules/{n}": "" for n in range(30)}})
    with refused("more than the 20 files", "'node_modules'"):
        pack_it(tmp_path, max_files=20)


@pytest.mark.slow
def test_what_agents_would_refuse_is_said_here(tmp_path: Path) -> None:
    with (tmp_path / "zeros.bin").open("wb") as file:
        file.truncate(100 << 20)
    with refused("times its size", "'zeros.bin' 100.0 MiB"):
        pack_it(tmp_path)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["README", "readme"], "case"),
        (["a\nb"], "control"),
        (["a\\b"], "Windows"),
        ([b"\xff".decode("utf-8", "surrogateescape")], "UTF-8"),
    ],
)
def test_names_that_no_agent_takes(tmp_path: Path, names: list[str], why: str) -> None:
    tree(tmp_path, dict.fromkeys(names, ""))
    with refused(why, "rename it"):
        pack_it(tmp_path)
    (tmp_path / ".launchignore").write_text("[rR]*\na*\n?\n")
    assert names_of(tmp_path) == [".launchignore"]


def test_unreadable(tmp_path: Path) -> None:
    with refused("No such file"):
        pack_it(tmp_path / "nowhere")
    tree(tmp_path, {"file": ""})
    with refused("is not a directory"):
        pack_it(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_without_permission(tmp_path: Path) -> None:
    root = tree(tmp_path, {"open.py": "", "closed.py": "", "shut/x": ""})
    for parent in (root, *root.parents):
        if parent.stat().st_uid == 0 and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o755)
    (root / "closed.py").chmod(0o600)
    os.seteuid(65534)
    try:
        with refused("cannot read 'closed.py'", "Permission denied", ".launchignore"):
            pack_it(root)
        os.seteuid(0)
        (root / "shut").chmod(0o700)
        os.seteuid(65534)
        with refused("cannot read directory 'shut'", "Permission denied"):
            pack_it(root)
    finally:
        os.seteuid(0)


class Meddler(io.BytesIO):
    """An output that does something to the tree once content flows."""

    def __init__(self, action: object) -> None:
        super().__init__()
        self.action = action

    def write(self, data: object) -> int:
        if self.action is not None and self.tell() > 100_000:
            action, self.action = self.action, None
            action()  # type: ignore[operator]
        return super().write(data)  # type: ignore[arg-type]


def test_files_that_change_while_they_are_packed(tmp_path: Path) -> None:
    path = tmp_path / "big.bin"
    content = os.urandom(3 << 20)

    def meddle(how: str) -> PackSummary:
        path.write_bytes(content)

        def action() -> None:
            if how == "shrink":
                os.truncate(path, 1 << 20)
            else:
                with path.open("ab" if how == "grow" else "r+b") as file:
                    file.write(b"more")

        return pack(tmp_path, Meddler(action))

    for how in ("shrink", "rewrite"):
        with refused("'big.bin' changed while it was packed", "try again"):
            meddle(how)
    assert meddle("grow").skipped == ("'big.bin' grew while it was packed: its first 3.0 MiB are in",)


def test_a_deep_tree_is_refused_and_not_followed_for_ever(tmp_path: Path) -> None:
    (tmp_path / "/".join("d" * 70)).mkdir(parents=True)
    with refused("deeper than 64"):
        pack_it(tmp_path)


name = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(
    lambda text: text not in (".", "..") and "/" not in text and "\0" not in text
)
paths = st.lists(name, min_size=1, max_size=4).map("/".join)


def fitting(files: dict[str, bytes]) -> dict[str, bytes]:
    """Those that can be together in one tree."""
    seen = Names()
    kept: dict[str, bytes] = {}
    for path, content in files.items():
        try:
            seen.add(split(path), directory=False)
        except BadName:
            continue
        if not any(other.startswith(f"{path}/") or path.startswith(f"{other}/") for other in kept):
            kept[path] = content
    return kept


@settings(max_examples=40, deadline=None)
@given(files=st.dictionaries(paths, st.binary(max_size=2000), max_size=8).map(fitting))
def test_what_is_packed_comes_out(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    special = {*ALWAYS_LEFT_OUT, ".gitignore", ".launchignore"}
    files = {path: content for path, content in files.items() if not special & set(path.split("/"))}
    root = tree(tmp_path_factory.mktemp("in"), dict(files))
    summary, data = pack_it(root)
    target = tmp_path_factory.mktemp("out")
    found = extract(io.BytesIO(data), target)
    assert everything(target) == everything(root)
    assert (found.files, found.bytes) == (summary.files, summary.bytes)
    assert hashlib.sha256(pack_it(target)[1]).digest() == hashlib.sha256(data).digest()
