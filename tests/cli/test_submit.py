"""``launch submit`` and ``launch job``, against the real queue, real directories and real git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from launchcore.cli.exits import Exit
from tests.cli.conftest import Launch
from tests.cli.player import create_queue


@pytest.fixture(autouse=True)
def default(home: Path) -> None:
    create_queue("default")


@pytest.fixture
def work(home: Path) -> Path:
    """A directory with some code."""
    directory = home / "work"
    directory.mkdir()
    (directory / "train.py").write_text("print('hello')\n")
    (directory / "data.bin").write_bytes(b"x" * 1000)
    (directory / ".gitignore").write_text("data.bin\n")
    return directory


def git(path: Path, *words: str) -> str:
    who = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    done = subprocess.run(["git", "-C", str(path), *who, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(work: Path) -> Path:
    git(work, "init", "-q", "-b", "main")
    git(work, "add", "train.py", ".gitignore")
    git(work, "commit", "-q", "-m", "first")
    return work


@pytest.fixture
def bare(repository: Path, home: Path) -> Path:
    """The repository's remote."""
    path = home / "remote.git"
    subprocess.run(["git", "clone", "-q", "--bare", str(repository), str(path)], check=True)
    git(repository, "remote", "add", "origin", str(path))
    git(repository, "fetch", "-q", "origin")
    return path


def submitted(launch: Launch, *words: object) -> Any:
    result = launch("submit", *words)
    assert result.code == 0, result.err
    return launch("show", result.out.strip(), "--json").json["run"]


def test_a_directory(launch: Launch, work: Path) -> None:
    result = launch("submit", work, "--name", "first", "--", "python", "train.py", "--lr", "0.1")

    assert result.code == 0
    (run_id,) = result.lines
    assert result.err.splitlines() == [
        f"packed {work}: 2 files, 24 B, uploaded {result.err.split('uploaded ')[1].splitlines()[0]}",
        f"run {run_id} is queued in default, next in line",
        "! no agent serves queue default: start one with launch agent --queue default",
        f"follow it: launch logs {run_id} -f",
    ]
    run = launch("show", "first", "--json").json["run"]
    assert run["id"] == run_id
    assert run["spec"]["command"] == ["python", "train.py", "--lr", "0.1"]
    assert run["spec"]["source"]["type"] == "archive"


def test_the_same_directory_is_uploaded_once(launch: Launch, work: Path) -> None:
    first = submitted(launch, work, "--", "x")
    again = launch("submit", work, "--", "x")

    assert "already uploaded" in again.err
    assert (
        launch("show", again.out.strip(), "--json").json["run"]["spec"]["source"] == first["spec"]["source"]
    )


def test_everything_that_a_run_can_say(
    launch: Launch, work: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FROM_HERE", "mine")
    (tmp_path / "f.env").write_text("A=file\nB=file\n")
    launch("queue", "edit", "default", "--variables", '{"lr": {"type": "number"}}')

    run = submitted(
        launch,
        *(
            work,
            "--env",
            "A=flag",
            "-e",
            "FROM_HERE",
            "--env-file",
            tmp_path / "f.env",
            "--secret",
            "HF_TOKEN",
        ),
        *("--var", "lr=0.5", "--set", "epochs=3", "--set", "name=a=b", "--priority", "high", "-n", "n"),
        *("--timeout", "1h", "--memory", "1G", "--dockerfile", "Dockerfile"),
        *("--build-context", "services/train", "--", "python", "train.py"),
    )

    spec = run["spec"]
    assert spec["env"] == {"A": "flag", "B": "file", "FROM_HERE": "mine"}
    assert spec["secrets"] == ["HF_TOKEN"]
    assert spec["variables"] == {"lr": 0.5}
    assert spec["inputs"] == {"epochs": 3, "name": "a=b"}
    assert (spec["limits"]["run_seconds"], spec["limits"]["memory_bytes"]) == (3600, 10**9)
    assert (spec["dockerfile"], spec["name"], run["priority"]) == ("Dockerfile", "n", 1)
    assert spec["build_context"] == "services/train"


def test_the_command_may_look_like_flags(launch: Launch, work: Path) -> None:
    run = submitted(launch, work, "--", "sh", "-c", "exit 0", "--", "--help")

    assert run["spec"]["command"] == ["sh", "-c", "exit 0", "--", "--help"]


def test_json_is_the_run(launch: Launch, work: Path) -> None:
    run = launch("submit", work, "--json", "--", "x").json

    assert run["state"] == "queued"
    assert run["submitter"].endswith(f"@{os.uname().nodename}")


def test_a_key_makes_one_run(launch: Launch, work: Path) -> None:
    first = launch("submit", work, "--key", "k1", "--", "x").out
    again = launch("submit", work, "--key", "k1", "--", "x").out

    assert first == again


def test_subdir_of_a_directory(launch: Launch, work: Path) -> None:
    (work / "sub").mkdir()
    (work / "sub" / "a.py").write_text("")

    assert (
        submitted(launch, work, "--subdir", "sub", "--", "x")["spec"]["source"]["fields"]["subdir"] == "sub"
    )
    assert "has no directory 'nope'" in launch("submit", work, "--subdir", "nope", "--", "x").err


def fields_of(run: Any) -> Any:
    assert run["spec"]["source"]["type"] == "git"
    return run["spec"]["source"]["fields"]


def test_git_is_pinned_when_it_is_submitted(launch: Launch, bare: Path, repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")

    fields = fields_of(submitted(launch, "--git", f"{bare}@main", "--", "x"))

    assert fields["commit"] == head
    assert fields["url"] == str(bare)
    assert "main" in fields["ref"]


def test_git_is_left_to_the_agent_when_asked(launch: Launch, bare: Path) -> None:
    assert fields_of(submitted(launch, "--git", bare, "--ref", "main", "--no-pin", "--", "x")) == {
        "url": str(bare),
        "ref": "main",
    }


def test_this_checkout(launch: Launch, bare: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the remote has is fetched from there."""
    monkeypatch.chdir(repository)

    fields = fields_of(submitted(launch, "--git", ".", "--", "x"))

    assert fields == {"url": str(bare), "ref": "main", "commit": git(repository, "rev-parse", "HEAD")}


def test_a_commit_that_is_not_pushed_comes_from_the_checkout(
    launch: Launch, bare: Path, repository: Path
) -> None:
    git(repository, "commit", "-q", "--allow-empty", "-m", "more")

    fields = fields_of(submitted(launch, "--git", repository, "--", "x"))

    assert fields["url"] == str(repository)
    assert fields["commit"] == git(repository, "rev-parse", "HEAD")


def test_a_path_that_is_no_address_becomes_one(launch: Launch, repository: Path) -> None:
    odd = repository.rename(repository.with_name("my work"))

    assert fields_of(submitted(launch, "--git", odd, "--", "x"))["url"] == odd.as_uri()


def test_a_subdirectory_of_a_checkout(launch: Launch, repository: Path) -> None:
    (repository / "a" / "b").mkdir(parents=True)

    fields = fields_of(submitted(launch, "--git", repository / "a", "--subdir", "b", "--", "x"))

    assert (fields["url"], fields["subdir"]) == (str(repository), "a/b")


def test_what_is_not_committed_is_said_or_taken_along(launch: Launch, repository: Path) -> None:
    (repository / "train.py").write_text("print('changed')\n")

    said = launch("submit", "--git", repository, "--", "x")
    taken = launch("submit", "--git", repository, "--dirty", "--", "x")

    assert "what is not committed stays here" in said.err
    assert "patch" not in fields_of(launch("show", said.out.strip(), "--json").json["run"])
    assert "uploaded a patch" in taken.err
    assert fields_of(launch("show", taken.out.strip(), "--json").json["run"])["patch"].startswith("sha256:")


def test_a_patch_file(launch: Launch, bare: Path, repository: Path, tmp_path: Path) -> None:
    (repository / "train.py").write_text("print('changed')\n")
    patch = tmp_path / "p.patch"
    patch.write_text(git(repository, "diff") + "\n")

    assert fields_of(submitted(launch, "--git", bare, "--patch", patch, "--", "x"))["patch"].startswith(
        "sha256:"
    )
    missing = launch("submit", "--git", bare, "--patch", "nope.patch", "--", "x")
    assert missing.err == "error: --patch nope.patch: No such file or directory\n"


def test_an_image(launch: Launch) -> None:
    run = submitted(launch, "--image", "python:3.12", "--", "python", "-V")

    assert run["spec"]["source"] == {"type": "image", "fields": {"image": "python:3.12"}}


SCHEMA = '{"lr": {"type": "number", "default": 0.1}, "epochs": {"type": "integer"}}'


def make_job(launch: Launch, work: Path, *words: str) -> Any:
    result = launch(
        *("job", "create", "train", work, "--inputs", SCHEMA, "--env", "A=job", "--env", "B=job", *words),
        *("--json", "--", "python", "train.py", "--lr", "${inputs.lr}"),
    )
    assert result.code == 0, result.err
    return result.json


def test_a_job(launch: Launch, work: Path) -> None:
    job = make_job(launch, work)
    assert (job["name"], job["version"]) == ("train", 1)
    assert make_job(launch, work)["version"] == 1
    assert make_job(launch, work, "--description", "new")["version"] == 2

    run = submitted(launch, "--job", "train", "--set", "epochs=3", "--env", "B=run")

    assert run["spec"]["job"] == "train:2"
    assert run["spec"]["inputs"] == {"lr": 0.1, "epochs": 3}
    assert run["spec"]["env"] == {"A": "job", "B": "run"}
    assert run["spec"]["command"] == ["python", "train.py", "--lr", "${inputs.lr}"]
    assert [each["id"] for each in launch("runs", "--job", "train:2", "--json").json["runs"]] == [run["id"]]
    other = submitted(launch, "--job", "train:1", "--set", "epochs=3", "--", "python", "-V")
    assert (other["spec"]["job"], other["spec"]["command"]) == ("train:1", ["python", "-V"])


def test_jobs_are_listed_and_shown(launch: Launch, work: Path) -> None:
    make_job(launch, work, "--description", "a small one")

    assert launch("job", "list").lines[1].split()[:2] == ["train", "1"]
    assert launch("job", "list", "--json").json[0]["definition"]["description"] == "a small one"
    assert "lr (number, default 0.1)" in launch("job", "show", "train").out
    assert launch("job", "show", "train:1", "--json").json["versions"][0]["version"] == 1


@pytest.mark.parametrize(
    ("words", "line", "code"),
    [
        (
            "submit work -q defualt -- x",
            "error: there is no queue 'defualt' (config_error, stage submit, fault user); "
            "hint: did you mean 'default'?",
            Exit.NOT_FOUND,
        ),
        (
            "submit work -q gpu -- x",
            "error: there is no queue 'gpu' (config_error, stage submit, fault user); "
            "hint: create it: launch queue create gpu --type process",
            Exit.NOT_FOUND,
        ),
        ("submit wrok -- x", "error: the directory 'wrok' does not exist", Exit.USAGE),
        ("submit work/train.py -- x", "error: the directory 'work/train.py' is a file", Exit.USAGE),
        (
            "submit work",
            "error: there is nothing to run: no command; "
            "hint: write it after --, as in: launch submit . -- python train.py",
            Exit.USAGE,
        ),
        ("submit --job trian -- x", "error: no job 'trian'", Exit.NOT_FOUND),
        ("submit work --env LD_PRELOAD=x -- x", "error: ", Exit.USAGE),
        ("submit work --var lr=1 -- x", "error: ", Exit.USAGE),
        ("submit --git work -- x", "error: ", Exit.USAGE),
        ("submit --git ext::sh -- x", "error: ", Exit.USAGE),
        ("submit --git https://user:hunter2@localhost/x -- x", "error: ", Exit.USAGE),
        ("submit --git https://localhost:1/a/b --dirty -- x", "error: --dirty needs a checkout", Exit.USAGE),
        ("submit --image a:b:c -- x", "error: ", Exit.USAGE),
    ],
)
def test_mistakes(launch: Launch, work: Path, words: str, line: str, code: Exit) -> None:
    result = launch(*words.split())

    assert result.err.splitlines()[-1].startswith(line)
    assert result.code == code
    assert result.out == ""
    assert "hunter2" not in result.err
    assert "Traceback" not in result.err
    assert launch("runs", "--json").json["runs"] == []


@pytest.mark.parametrize(
    ("where", "parts"),
    [
        ("{bare}@mian", ["source_failed", "stage submit", "fault user", "'mian'", "main"]),
        ("/no/such/repository", ["source_failed", "stage submit", "fault user", "/no/such/repository"]),
    ],
)
def test_a_ref_or_repository_that_is_not_there(
    launch: Launch, bare: Path, where: str, parts: list[str]
) -> None:
    result = launch("submit", "--git", where.format(bare=bare), "--", "x")

    assert result.code == Exit.USAGE
    assert result.err.count("\n") == 1
    assert [part for part in parts if part not in result.err] == [], result.err


def test_inputs_are_checked_when_they_are_submitted(launch: Launch, work: Path) -> None:
    make_job(launch, work)

    for words, complaint in (
        (("--set", "epoch=3"), "epoch"),
        (("--set", "epochs=many"), "epochs"),
        ((), "epochs"),
    ):
        result = launch("submit", "--job", "train", *words)
        assert result.code == Exit.USAGE
        assert complaint in result.err
        assert result.err.count("\n") == 1
