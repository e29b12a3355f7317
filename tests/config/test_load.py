"""Loading: who overrules whom, where everything comes from, and what is said about mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from launchcore.config.load import default_file, load_config
from launchcore.config.values import SecretSource
from launchcore.plugin import LaunchError, Reason
from tests.config.conftest import File

SEED = """\
base_url: https://launch.example.com
max_jobs: -1
queues: [default]
environment: {type: aws, region: us-east-1}
registry: {type: ecr, repository: my-repo}
builder: {type: kaniko, build-context-store: s3://my-bucket/contexts}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_nothing_is_needed(home: Path) -> None:
    loaded = load_config(path=None, environ={}, flags={})

    assert loaded.file is None
    assert loaded.config.base_url.startswith(f"sqlite://{home}")
    assert loaded.config.base_url.endswith("/queue.db")
    assert loaded.config.state_dir.is_relative_to(home)
    assert loaded.config.cache_dir.is_relative_to(home)
    assert loaded.config.max_jobs == -1
    assert set(loaded.origins.values()) == {"default"}
    assert not home.exists(), "reading makes nothing"


def test_the_example_of_the_documentation(file: File) -> None:
    config = file.load(SEED).config

    assert config.base_url == "https://launch.example.com"
    assert config.queues == ("default",)
    assert config.environment == {"type": "aws", "region": "us-east-1"}
    assert config.builder == {"type": "kaniko", "build-context-store": "s3://my-bucket/contexts"}


def test_file_environment_and_flags_in_that_order(file: File) -> None:
    text = "max-jobs: 1\nqueues: [file]\nlease_seconds: 11\nname: from-file\n"
    environ = {"LAUNCHCORE_MAX_JOBS": "2", "LAUNCHCORE_QUEUES": " a , b,", "LAUNCHCORE_STAGE_WORKERS": "3"}

    loaded = file.load(text, environ, {"max_jobs": 4, "drain_seconds": 5.0, "name": None, "queues": ()})

    config = loaded.config
    assert (config.max_jobs, config.queues, config.lease_seconds) == (4, ("a", "b"), 11.0)
    assert (config.stage_workers, config.drain_seconds, config.name) == (3, 5.0, "from-file")
    assert loaded.origins["max_jobs"] == "flag --max-jobs"
    assert loaded.origins["drain_seconds"] == "flag --drain"
    assert loaded.origins["queues"] == "environment LAUNCHCORE_QUEUES"
    assert loaded.origins["lease_seconds"] == f"file {file.path} line 3"
    assert loaded.origins["cache_dir"] == "default"
    assert loaded.where("queues[0]") == "environment LAUNCHCORE_QUEUES"


def test_flags_of_queues_have_their_own_name(file: File) -> None:
    loaded = file.load("", {}, {"queues": ["a"]})

    assert loaded.config.queues == ("a",)
    assert loaded.origins["queues"] == "flag --queue"


def test_every_part_of_a_file_has_its_line(file: File) -> None:
    loaded = file.load("builder:\n  type: none\n\n  destination: r/x\nplugins:\n  git: {depth: 1}\n")

    assert loaded.where("builder.type").endswith("launch-config.yaml line 2")
    assert loaded.where("builder.destination").endswith("line 4")
    assert loaded.where("builder.unheard_of").endswith("line 1")
    assert loaded.where("plugins.git.depth").endswith("line 6")
    assert loaded.where("max_jobs") == "default"


@pytest.mark.parametrize("key", ["max_jobs", "max-jobs", "Max-Jobs", "MAX_JOBS"])
def test_spellings(key: str, file: File) -> None:
    loaded = file.load(f"{key}: 3")

    assert loaded.config.max_jobs == 3
    assert loaded.origins["max_jobs"].endswith("line 1")


def test_empty_variables_are_not_set(file: File) -> None:
    assert file.load("name: a", {"LAUNCHCORE_NAME": "", "LAUNCHCORE_QUEUES": " "}).config.name == "a"


# --- which file --------------------------------------------------------------------------------


def test_the_users_own_file_is_found(home: Path) -> None:
    default_file().parent.mkdir(parents=True)
    default_file().write_text("max_jobs: 7")

    loaded = load_config(path=None, environ={}, flags={})

    assert loaded.config.max_jobs == 7
    assert loaded.file == default_file()
    assert str(loaded.file).startswith(str(home))
    assert str(loaded.file).endswith("launchcore/launch-config.yaml")


def test_a_variable_names_the_file(file: File) -> None:
    file.path.write_text("max_jobs: 7")
    environ = {"LAUNCHCORE_CONFIG": str(file.path)}

    assert load_config(path=None, environ=environ, flags={}).config.max_jobs == 7
    with pytest.raises(LaunchError, match=r"--config: /none\.yaml does not exist"):
        load_config(path=Path("/none.yaml"), environ=environ, flags={})


@pytest.mark.parametrize(("name", "problem"), [("none.yaml", "does not exist"), (".", "is not a file")])
def test_a_named_file_has_to_be_there(name: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(LaunchError) as caught:
        load_config(path=tmp_path / name, environ={}, flags={})

    assert caught.value.detail == f"--config: {tmp_path / name} {problem}"
    assert caught.value.reason is Reason.CONFIG_ERROR
    assert "launch config init" in str(caught.value.hint)


# --- paths -------------------------------------------------------------------------------------


def test_paths_count_from_where_they_are_written(
    file: File, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = file.path.parent
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")

    loaded = file.load(
        "state_dir: s\nsecrets: {A: {file: a.txt}, B: {file: ~/b}, C: {env: C}}",
        {"LAUNCHCORE_CACHE_DIR": "c"},
    )

    assert loaded.config.state_dir == here / "s"
    assert loaded.config.cache_dir == here / "elsewhere" / "c"
    assert loaded.config.secrets == {
        "A": SecretSource(file=str(here / "a.txt")),
        "B": SecretSource(file=str(home / "b")),
        "C": SecretSource(env="C"),
    }


# --- mistakes ----------------------------------------------------------------------------------


def test_all_mistakes_at_once_each_with_its_place(file: File) -> None:
    text = "max-jobs: soon\nqueue: [x]\nlease_seconds: 0\nbuilder: kaniko\n"
    more: dict[str, dict[str, object]] = {
        "environ": {"LAUNCHCORE_STAGE_WORKERS": "many"},
        "flags": {"drain_seconds": -3},
    }

    assert set(file.problems(text, **more)) == {
        "launch-config.yaml line 1: max-jobs: expected a whole number, got 'soon'",
        "launch-config.yaml line 2: queue: is not a known key",
        "launch-config.yaml line 3: lease_seconds: must be more than 0, and at most 86400 (a day)",
        "launch-config.yaml line 4: builder: expected a mapping, got 'kaniko'",
        "environment LAUNCHCORE_STAGE_WORKERS: stage_workers: expected a whole number, got 'many'",
        "flag --drain: drain_seconds: must be 0 or more, or -1 for no limit",
    }


def test_the_nearest_right_name_is_said(file: File) -> None:
    with pytest.raises(LaunchError) as caught:
        file.load("max_job: 3")

    assert caught.value.hint == "use 'max_jobs'"
    assert str(file.path) in caught.value.detail


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("base_url: 5", "base_url: expected text, got 5"),
        ("base_url: somewhere", "base_url: not a URL: sqlite:///PATH, or http(s)://HOST"),
        ("base_url: 'http://a b'", "base_url: not a URL"),
        ("base_url: https://me:hunter2@h/", "base_url: a password in it would show in logs"),
        ("max_jobs: 0", "max_jobs: must be at least 1, or -1 for no limit"),
        ("max_jobs: 1.5", "max_jobs: expected a whole number, got 1.5"),
        ("max_jobs: true", "max_jobs: expected a whole number, got true"),
        ("queues: default", "queues: expected a list, got 'default'"),
        ("queues: [a, a]", "queues: 'a' is named twice"),
        ("queues: [../a]", "queues: '../a' cannot be a queue's name"),
        ("name: ../a", "name: must be 1 to 63 letters"),
        ("name: [a]", "name: expected text, got a list"),
        ("lease_seconds: .inf", "lease_seconds: expected a number"),
        ("stage_workers: 0", "stage_workers: must be between 1 and 1024"),
        ("max_log_bytes: 0", "max_log_bytes: must be at least 1"),
        ("plugins: {git: 3}", "plugins.git: expected a mapping, got 3"),
        ("secrets: {a-b: {env: X}}", "secrets: 'a-b' cannot be a secret's name"),
        ("secrets: {A: {}}", "secrets.A: say where the value comes from, with one of `env` and `file`"),
        ("secrets: {A: {env: A, file: a}}", "secrets.A: say where the value comes from"),
        ("secrets: {A: {enw: A}}", "secrets.A.enw: is not a known key"),
        ("max_jobs: 1\nmax-jobs: 2", "line 2: max-jobs: is given twice, as 'max_jobs' too"),
    ],
)
def test_mistakes(text: str, problem: str, file: File) -> None:
    assert any(problem in line for line in file.problems(text)), file.problems(text)


@pytest.mark.parametrize(
    "text",
    [
        "secrets: {A: hunter2}",
        "secrets: {A: {env: hunter2-}}",
        "secrets: [hunter2]",
        "secrets: {A: [hunter2]}",
        "base_url: https://me:hunter2@h/",
    ],
)
def test_a_secret_in_a_wrong_place_is_not_repeated(text: str, file: File) -> None:
    assert not any("hunter2" in line for line in file.problems(text))


def test_variables_that_look_like_ours_are_warned_about(file: File) -> None:
    environ = {
        "LAUNCHCORE_MAX_JOB": "3",
        "LAUNCHCORE_BUILDER": "none",
        "LAUNCHCORE_SECRET_A": "x",
        "LAUNCHCORE_FAILPOINTS": "",
        "LAUNCHCORE_SOMETHING_OF_A_PLUGIN": "x",
    }

    assert file.load("", environ).warnings == (
        "environment LAUNCHCORE_BUILDER is not read: builder is a mapping, and belongs in the file",
        "environment LAUNCHCORE_MAX_JOB is not read: did you mean LAUNCHCORE_MAX_JOBS?",
    )


def test_without_a_file_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from launchcore.config.load import load_config\n"
        "load_config(path=None, environ={}, flags={})\n"
        "heavy = {'yaml', 'jsonschema', 'sqlalchemy', 'requests', 'rich', 'typer', 'pluggy.manager'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout == "[]\n"
