"""Virtual environments: real ones, made by the real uv from wheels made here; no network."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

from launchcore.builtin.process.environment import Environments
from launchcore.builtin.process.settings import ProcessConfig, ProcessSettings, Python
from launchcore.builtin.process.uv import failed
from launchcore.builtin.process.venvs import Venvs
from launchcore.plugin import Cancelled, EnvVar, Fault, Given, LaunchError, Phase, Reason, RunPlan, Secret
from tests.process.kit import NOTHING, Bench, alive, eventually, number_in
from tests.process.wheels import BACKEND, wheel


class Context:
    """A stage's context, as the core gives it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.stop: Callable[[], None] | None = None
        self.cancelled = False

    def log(self, text: str) -> None:
        self.lines.append(text)

    def check(self) -> None:
        if self.cancelled:
            raise Cancelled

    @contextmanager
    def on_cancel(self, stop: Callable[[], None]) -> Iterator[None]:
        self.stop = stop
        yield
        self.stop = None

    def open_archive(self, digest: str) -> None:
        raise NotImplementedError

    def cancel(self) -> None:
        self.cancelled = True
        if self.stop is not None:
            self.stop()


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What there is to install."""
    folder = tmp_path_factory.mktemp("wheels")
    wheel(folder, "alpha", "1.0")
    wheel(folder, "alpha", "2.0")
    wheel(folder, "beta", "1.0", requires=("alpha<2",))
    wheel(folder, "gamma", "1.0")
    return folder


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One keeper for all."""
    path = tmp_path_factory.mktemp("environment")
    yield path
    Bench(path, path).close()


@pytest.fixture
def bench(tmp_path: Path, wheels: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    for name in [name for name in os.environ if name.startswith("UV_")]:
        monkeypatch.delenv(name)
    made = Bench(tmp_path, state)
    made.settings = ProcessSettings(
        uv_env={"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(wheels), "UV_CACHE_DIR": str(tmp_path / "uv-cache")}
    )
    made.runner = made.another()
    return made


def plan(bench: Bench, files: dict[str, str], *command: str, **config: object) -> RunPlan:
    made = bench.plan(*(command or ("python", "main.py")), tree=bench.tree(files))
    return attrs.evolve(made, settings=ProcessConfig(**config))  # type: ignore[arg-type]


def output(bench: Bench, made: RunPlan, context: Context | None = None) -> str:
    """Prepare and run it; what it printed."""
    bench.runner.prepare(made, NOTHING, context or Context())  # type: ignore[arg-type]
    handle = bench.start(made)
    status = bench.ended(handle)
    assert status.phase is Phase.SUCCEEDED, bench.log(handle)
    return bench.log(handle)


def venvs(bench: Bench) -> set[str]:
    return {each.parent.name for each in (bench.site.cache / "venvs").glob("*/complete.json")}


def test_without_dependencies_python_is_not_the_agents(bench: Bench) -> None:
    main = "import sys, os; print(sys.prefix, sys.base_prefix, os.environ['VIRTUAL_ENV'], sep='\\n')"
    first = output(bench, plan(bench, {"main.py": main})).splitlines()
    second = output(bench, plan(bench, {"main.py": main})).splitlines()

    assert first == second
    assert first[0] == first[2] != sys.prefix
    assert Path(first[0]).is_relative_to(bench.site.cache)
    assert first[1] == sys.base_prefix
    assert len(venvs(bench)) == 1
    with pytest.raises(AssertionError, match="No module named 'msgspec'"):
        output(bench, plan(bench, {"main.py": "import msgspec"}))


def test_python_none(bench: Bench) -> None:
    made = plan(
        bench,
        {"requirements.txt": "never-installed\n"},
        "/bin/sh",
        "-c",
        "echo v=$VIRTUAL_ENV",
        python=Python.NONE,
    )

    assert output(bench, made) == "v=\n"
    assert venvs(bench) == set()


def test_requirements_are_installed_once(bench: Bench) -> None:
    files = {
        "requirements.txt": "-r base.txt\n-c limits.txt\n",
        "base.txt": "alpha\n",
        "limits.txt": "alpha<2\n",
        "main.py": "import alpha; print(alpha.VERSION)",
    }
    context, again = Context(), Context()
    assert output(bench, plan(bench, files), context) == "1.0\n"
    assert any("alpha" in line for line in context.lines)
    assert (
        output(bench, plan(bench, {**files, "main.py": "import alpha; print('other')"}), again) == "other\n"
    )
    assert again.lines == []
    assert len(venvs(bench)) == 1

    assert output(bench, plan(bench, {**files, "limits.txt": ""})) == "2.0\n"
    assert len(venvs(bench)) == 2


PYPROJECT = """
[build-system]
requires = ["never-needed"]
build-backend = "never.called"

[project]
name = "my-model"
version = "4.2"
dependencies = ["beta"]
scripts = {{ train = "my_model.cli:main" }}
entry-points = {{ "my.plugins" = {{ one = "my_model.cli:main" }} }}
{more}

[project.optional-dependencies]
extra = ["gamma"]
"""

PACKAGE = {
    "pyproject.toml": PYPROJECT.format(more=""),
    "src/my_model/__init__.py": "",
    "src/my_model/cli.py": "from importlib.metadata import entry_points, version\n"
    "def main():\n"
    "    import alpha, sys\n"
    "    (point,) = entry_points(group='my.plugins')\n"
    "    print(version('my-model'), alpha.VERSION, point.load() is main, sys.argv[1:])\n",
    "scripts/go.py": "import my_model.cli; my_model.cli.main()",
}


def test_a_tree_that_is_a_package(bench: Bench) -> None:
    """Dependencies are installed, the code is found in the tree; commands and metadata are there."""
    assert output(bench, plan(bench, PACKAGE, "train", "a b")) == "4.2 1.0 True ['a b']\n"
    assert output(bench, plan(bench, PACKAGE, "python", "scripts/go.py")) == "4.2 1.0 True []\n"
    assert (
        output(bench, plan(bench, {**PACKAGE, "src/my_model/cli.py": "def main(): print('new')"}, "train"))
        == "new\n"
    )
    assert len(venvs(bench)) == 1


@pytest.mark.slow
def test_extras(bench: Bench) -> None:
    files = {**PACKAGE, "main.py": "import gamma; print(gamma.VERSION)"}

    assert output(bench, plan(bench, files, extras=("extra",))) == "1.0\n"
    with pytest.raises(AssertionError, match="No module named 'gamma'"):
        output(bench, plan(bench, files))


@pytest.mark.slow
def test_editable_requirements(bench: Bench) -> None:
    files = {
        **PACKAGE,
        "requirements.txt": "-e .[extra]\n./libs/tool\n",
        "libs/tool/pyproject.toml": "[build-system]\nrequires=[]\n[project]\nname='tool'\nversion='1'\n",
        "libs/tool/tool.py": "X = 7",
        "main.py": "import tool, gamma, alpha, my_model; print(tool.X, gamma.VERSION, alpha.VERSION)",
    }

    assert output(bench, plan(bench, files)) == "7 1.0 1.0\n"


@pytest.mark.slow
def test_dependencies_that_only_a_build_knows(bench: Bench) -> None:
    """Asked of the source's own build backend, and cached for this commit only."""
    files = {
        "pyproject.toml": "[build-system]\nrequires=[]\nbuild-backend='backend'\nbackend-path=['.']\n",
        "backend.py": BACKEND,
        "deps.txt": "beta\n",
        "main.py": "import alpha; print(alpha.VERSION)",
    }
    made = plan(bench, files)
    assert output(bench, made) == "1.0\n"
    assert made.tree is not None
    other = attrs.evolve(
        plan(bench, {**files, "deps.txt": "alpha\n"}), tree=attrs.evolve(made.tree, identity="other")
    )
    assert output(bench, other) == "2.0\n"


LOCKED = """
[project]
name = "locked"
version = "1"
requires-python = ">=3.11"
dependencies = ["alpha<2", "member"]
[tool.uv.workspace]
members = ["member"]
[tool.uv.sources]
member = { workspace = true }
"""

MEMBER = """
[build-system]
requires = []
build-backend = "never.called"
[project]
name = "member"
version = "1"
dependencies = ["gamma"]
"""


@pytest.mark.slow
def test_a_lock_file(bench: Bench) -> None:
    """What it says is installed; members of the workspace are found in the tree."""
    files = {
        "pyproject.toml": LOCKED,
        "member/pyproject.toml": MEMBER,
        "member/src/member.py": "X = 8",
        "main.py": "import alpha, gamma, member; print(alpha.VERSION, gamma.VERSION, member.X)",
    }
    tree = bench.tree(files)
    import uv

    env = {**os.environ, **bench.settings.uv_env}
    subprocess.run([uv.find_uv_bin(), "lock", "-q"], cwd=tree.path, env=env, check=True)

    assert output(bench, plan(bench, {})) == "1.0 1.0 8\n"
    assert not (tree.path / ".venv").exists()
    (tree.path / "uv.lock").write_text("this is no lock")
    with pytest.raises(LaunchError, match=r"uv\.lock cannot be read"):
        bench.runner.prepare(plan(bench, {}), NOTHING, Context())  # type: ignore[arg-type]


@pytest.mark.slow
def test_files_that_the_queue_names(bench: Bench) -> None:
    files = {
        "requirements.txt": "never-installed\n",
        "envs/small.txt": "alpha<2\n",
        "main.py": "import alpha; print(alpha.VERSION)",
    }

    assert output(bench, plan(bench, files, requirements=("envs/small.txt",))) == "1.0\n"
    with pytest.raises(LaunchError, match=r"missing\.txt"):
        output(bench, plan(bench, files, requirements=("missing.txt",)))
    with pytest.raises(LaunchError, match="outside"):
        output(bench, plan(bench, files, requirements=("../../x",)))


@pytest.mark.parametrize(
    ("files", "detail"),
    [
        ({"requirements.txt": "no-such-package-xyz\n"}, "no-such-package-xyz"),
        ({"requirements.txt": "alpha==1.0\nalpha==2.0\n"}, "alpha"),
        ({"requirements.txt": "this is == not valid\n"}, "installed"),
        ({"pyproject.toml": "[project\n"}, "pyproject.toml cannot be read"),
    ],
)
def test_what_cannot_be_installed(bench: Bench, files: dict[str, str], detail: str) -> None:
    with pytest.raises(LaunchError) as caught:
        bench.runner.prepare(plan(bench, files), NOTHING, Context())  # type: ignore[arg-type]

    assert (caught.value.reason, caught.value.fault) == (Reason.BUILD_FAILED, Fault.USER)
    assert detail in caught.value.detail
    assert "\n" not in caught.value.detail
    assert caught.value.hint
    assert venvs(bench) == set()
    assert not caught.value.retryable


def test_an_index_that_is_away_may_be_tried_again() -> None:
    text = "error: Failed to fetch: `https://i/simple/x/`\n  Caused by: error sending request\n  dns error"
    error = failed(text, 2)

    assert (error.reason, error.fault, error.retryable) == (Reason.BUILD_FAILED, Fault.INFRASTRUCTURE, True)


@pytest.mark.slow
def test_python_versions(bench: Bench) -> None:
    own = ".".join(map(str, sys.version_info[:2]))
    main = {"main.py": "import sys; print('%d.%d' % sys.version_info[:2])"}

    assert output(bench, plan(bench, {**main, ".python-version": f"# why\n{own}\n"})) == f"{own}\n"
    for wanted in ("3.97", ">=3.97", "-x", "no such thing"):
        with pytest.raises(LaunchError, match="does not have") as caught:
            output(bench, plan(bench, {**main, ".python-version": wanted}))
        assert caught.value.reason is Reason.BUILD_FAILED


def test_requires_python(bench: Bench) -> None:
    text = "[project]\nname='x'\nversion='1'\nrequires-python='>=3.97'\n"
    with pytest.raises(LaunchError, match="does not have"):
        output(bench, plan(bench, {"pyproject.toml": text}))


@pytest.mark.slow
def test_cancelled_while_installing(bench: Bench, tmp_path: Path) -> None:
    """uv, and what it has started, is killed, and nothing half made is left."""
    pid_file = tmp_path / "pid"
    backend = f"import os, time\nopen({str(pid_file)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n"
    files = {
        "pyproject.toml": "[build-system]\nrequires=[]\nbuild-backend='backend'\nbackend-path=['.']\n",
        "backend.py": backend,
    }
    context = Context()
    problems: list[BaseException] = []

    def prepare() -> None:
        try:
            bench.runner.prepare(plan(bench, files), NOTHING, context)  # type: ignore[arg-type]
        except LaunchError as problem:
            problems.append(problem)

    thread = threading.Thread(target=prepare)
    thread.start()
    pid = number_in(pid_file)
    context.cancel()
    thread.join(timeout=30)

    assert [type(each) for each in problems] == [Cancelled]
    eventually(lambda: not alive(pid))
    assert venvs(bench) == set()


@pytest.mark.slow
def test_installing_takes_too_long(bench: Bench) -> None:
    bench.runner = bench.another(install_seconds=1.0)
    files = {
        "pyproject.toml": "[build-system]\nrequires=[]\nbuild-backend='backend'\nbackend-path=['.']\n",
        "backend.py": "import time\ntime.sleep(600)\n",
    }
    with pytest.raises(LaunchError, match="longer than 1 seconds"):
        bench.runner.prepare(plan(bench, files), NOTHING, Context())  # type: ignore[arg-type]


def test_one_at_a_time_across_processes(bench: Bench) -> None:
    """Many runs with the same new requirements: one installs, the others wait for it."""
    files = {"requirements.txt": "alpha\n", "main.py": ""}
    contexts = [Context() for _ in range(4)]
    plans = [plan(bench, files) for _ in contexts]
    threads = [
        threading.Thread(target=bench.another().prepare, args=(made, NOTHING, context))
        for made, context in zip(plans, contexts, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sum(any("installing the source's" in line for line in each.lines) for each in contexts) == 1
    assert len(venvs(bench)) == 1


def test_killed_while_installing(tmp_path: Path) -> None:
    """What is not complete is not used; and the lock lasts as long as the killed one's uv."""
    script = (
        "import sys, subprocess; from pathlib import Path\n"
        "from launchcore.builtin.process.venvs import Venvs\n"
        "def build(folder, hold):\n"
        "    (folder / 'venv').mkdir()\n"
        "    child = subprocess.Popen(['sleep', '600'], pass_fds=(hold,))\n"
        "    print(child.pid, flush=True)\n"
        "    child.wait()\n"
        "Venvs(Path(sys.argv[1]), most=9, most_bytes=9).make('k', build, None)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        child = int(first.stdout.readline())
        first.send_signal(signal.SIGKILL)
    cache = Venvs(tmp_path, most=9, most_bytes=1 << 30)
    assert cache.find("k") is None
    context = Context()
    built: list[Path] = []

    def build(folder: Path, _: int) -> None:
        (folder / "venv").mkdir()
        built.append(folder)

    thread = threading.Thread(target=cache.make, args=("k", build, context))
    thread.start()
    eventually(lambda: context.lines)
    assert built == []
    os.kill(child, signal.SIGKILL)
    thread.join(timeout=30)

    assert built == [tmp_path / "k"]
    assert cache.find("k") == tmp_path / "k" / "venv"


def test_the_least_used_environments_are_removed(tmp_path: Path) -> None:
    def build(folder: Path, _: int) -> None:
        (folder / "venv").mkdir()
        (folder / "venv" / "file").write_bytes(b"x" * 1000)

    cache = Venvs(tmp_path, most=9, most_bytes=1 << 20)
    for number, key in enumerate("abcd"):
        cache.make(key, build, None)
        old = 1_000_000_000 + number
        os.utime(tmp_path / key / "complete.json", (old, old))
    assert cache.find("b")  # used now, so it stays
    env = {"VIRTUAL_ENV": str(tmp_path / "a" / "venv")}
    with subprocess.Popen(["sleep", "600"], env=env, executable="/bin/sleep") as user:
        eventually(lambda: b"VIRTUAL_ENV" in Path(f"/proc/{user.pid}/environ").read_bytes())
        Venvs(tmp_path, most=2, most_bytes=1 << 20).prune()
        user.kill()

    assert {each.parent.name for each in tmp_path.glob("*/complete.json")} == {"a", "b", "d"}
    Venvs(tmp_path, most=2, most_bytes=500).prune()  # now by size: only what was used recently stays
    assert {each.parent.name for each in tmp_path.glob("*/complete.json")} == {"b"}


def test_secrets_of_the_run_do_not_reach_an_installation(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It executes the source's code; only what is meant for uv is passed on."""
    monkeypatch.setenv("AGENT_TOKEN", "canary-agent")
    files = {
        "pyproject.toml": "[build-system]\nrequires=[]\nbuild-backend='backend'\nbackend-path=['.']\n",
        "backend.py": "import os\nprint('SEEN', sorted(os.environ), flush=True)\nraise SystemExit(3)\n",
    }
    given = Given(
        env=(
            EnvVar(name="HF_TOKEN", value=Secret("canary")),
            EnvVar(name="UV_INDEX_PRIVATE_PASSWORD", value=Secret("for-uv")),
        )
    )
    made = attrs.evolve(plan(bench, files), env={"UV_DEFAULT_INDEX": "https://evil.example", "RUN_VAR": "1"})
    context = Context()
    with pytest.raises(LaunchError):
        bench.runner.prepare(made, given, context)  # type: ignore[arg-type]

    (seen,) = [line for line in context.lines if "SEEN" in line]
    assert "UV_INDEX_PRIVATE_PASSWORD" in seen
    assert not any(name in seen for name in ("AGENT_TOKEN", "HF_TOKEN", "RUN_VAR", "UV_DEFAULT_INDEX"))


def test_no_uv(bench: Bench) -> None:
    bench.runner = bench.another(uv=Path("/no/such/uv"))
    with pytest.raises(LaunchError) as caught:
        bench.runner.prepare(plan(bench, {"requirements.txt": "alpha"}), NOTHING, Context())  # type: ignore[arg-type]

    assert caught.value.reason is Reason.CONFIG_ERROR
    assert output(bench, plan(bench, {"requirements.txt": "", "main.py": "print(1)"})) == "1\n"


def test_start_without_prepare_makes_what_is_missing(bench: Bench) -> None:
    made = plan(bench, {"requirements.txt": "alpha", "main.py": "import alpha"})

    assert bench.run(made).phase is Phase.SUCCEEDED


def test_what_was_prepared_is_forgotten_if_it_is_never_started(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    environments = Environments(ProcessSettings(), tmp_path / "venvs")
    for _ in range(1100):
        environments.prepare(bench.plan("true"), NOTHING, None)

    assert len(environments._waiting) == 1000
