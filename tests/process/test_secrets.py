"""What a run is given reaches it, and nobody else; what it is not given does not."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import attrs
import pytest

from launchcore.builtin.process import secret_files
from launchcore.builtin.process.variables import inherited
from launchcore.plugin import EnvVar, Given, Label, LaunchError, Reason, Secret, SecretFile
from tests.process.kit import Bench, eventually

CANARY = "canary-3f9c1b\nsecond line ü"


def given() -> Given:
    return Given(
        env=(EnvVar(name="HF_TOKEN", value=Secret(CANARY)), EnvVar(name="PLAIN", value="plain")),
        files=(
            SecretFile(name="key.json", content=Secret(CANARY), path_env="KEY_FILE"),
            SecretFile(name="../../key.json", content=Secret("other"), path_env="OTHER_FILE"),
        ),
        labels=(Label(name="cost-centre", value="ml-42"),),
    )


PRINT = "import json, os; print(json.dumps(dict(os.environ)))"


def environment(bench: Bench, **more: object) -> dict[str, str]:
    handle = bench.start(bench.python(PRINT, attempt="r1-1", **more), given())
    bench.ended(handle)
    found: dict[str, str] = json.loads(bench.log(handle))
    return found


def test_what_a_run_finds_in_its_environment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENT_TOKEN", "canary-of-the-agent")
    monkeypatch.setenv("LC_TIME", "C")
    bench.runner = bench.another()
    env = environment(bench, env={"RUN_VAR": "1", "PLAIN": "of the run"}, labels={"launchcore.run": "r1"})

    assert env["HF_TOKEN"] == CANARY
    assert env["PLAIN"] == "of the run"
    assert env["RUN_VAR"] == "1"
    assert env["LC_TIME"] == "C"
    assert "AGENT_TOKEN" not in env
    assert (env["LAUNCH_RUN_ID"], env["LAUNCH_ATTEMPT_ID"], env["LAUNCH_QUEUE"]) == ("r1", "r1-1", "q")
    assert json.loads(env["LAUNCH_LABELS"]) == {"cost-centre": "ml-42", "launchcore.run": "r1"}
    known = {
        "HF_TOKEN",
        "PLAIN",
        "RUN_VAR",
        "KEY_FILE",
        "OTHER_FILE",
        "PYTHONUNBUFFERED",
        "LC_CTYPE",
        *inherited(os.environ),
    }
    assert {name for name in env if not name.startswith("LAUNCH")} <= known


def test_our_variables_cannot_be_replaced(bench: Bench) -> None:
    env = environment(bench, env={"LAUNCHCORE_ATTEMPT": "other-1", "LAUNCH_RUN_ID": "other"})

    assert env["LAUNCHCORE_ATTEMPT"] == env["LAUNCH_ATTEMPT_ID"] == "r1-1"
    assert env["LAUNCH_RUN_ID"] == "r1"


def test_the_owner_of_a_queue_adds_variables(bench: Bench) -> None:
    plan = bench.python(PRINT, env={"B": "run"})
    plan = attrs.evolve(plan, settings=attrs.evolve(plan.settings, env={"A": "queue", "B": "queue"}))
    handle = bench.start(plan)
    bench.ended(handle)
    env = json.loads(bench.log(handle))

    assert (env["A"], env["B"]) == ("queue", "run")


@pytest.mark.parametrize("env", [{"": "x"}, {"A=B": "x"}, {"A": "x\0y"}])
def test_variables_that_no_process_can_have(bench: Bench, env: dict[str, str]) -> None:
    with pytest.raises(LaunchError) as caught:
        bench.start(bench.shell("true", env=env))

    assert caught.value.reason is Reason.USER_ERROR


def test_secrets_are_nowhere_else(bench: Bench) -> None:
    """Not in any argument list, not in any file below the agent's state, not in handle or records."""
    handle = bench.start(bench.shell("sleep 100"), given())
    needle = b"canary-3f9c1b"

    for pid in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208
        try:
            assert needle not in Path("/proc", pid, "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
    for path in bench.root.rglob("*"):
        assert not path.is_file() or needle not in path.read_bytes()
    assert needle.decode() not in repr(handle)


def test_secret_files_are_private_and_removed_at_the_end(bench: Bench, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    script = f"""
echo "$KEY_FILE $OTHER_FILE"
stat -c %a "$KEY_FILE" "$LAUNCH_SECRETS_DIR"
cat "$KEY_FILE"
until [ -e {gate} ]; do sleep 0.01; done
"""
    handle = bench.start(bench.shell(script), given())
    eventually(lambda: CANARY.encode() in bench.runner.logs(handle, None, 10_000).data)
    first, *rest = bench.runner.logs(handle, None, 10_000).data.decode().splitlines()
    paths = [Path(each) for each in first.split()]

    assert rest[:2] == ["600", "700"]
    assert paths[0].parent == paths[1].parent
    assert paths[0] != paths[1]
    assert paths[0].parent.parent in secret_files.memory_folders()
    gate.touch()
    bench.ended(handle)
    eventually(lambda: not paths[0].parent.exists())


@pytest.mark.slow
def test_secret_files_of_a_killed_keeper_are_swept(bench: Bench) -> None:
    handle = bench.start(bench.shell("sleep 100"), given())
    folder = secret_files.memory_folders()[0]
    name = secret_files.prefix(bench.keeper_root)
    assert len(list(folder.glob(name + "*"))) == 1
    for pid in bench.keepers():
        os.kill(pid, signal.SIGKILL)
    os.kill(handle.data["pid"], signal.SIGKILL)
    (folder / f"{name}r9-1").mkdir()  # of a start that was never recorded
    bench.ended(handle)

    assert list(folder.glob(name + "*")) == []


def test_no_memory_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secret_files, "memory_folders", list)
    files = [{"name": ".", "content": "x", "path_env": "F"}]
    folder, variables = secret_files.write(tmp_path, "r1-1", files, tmp_path / "scratch")  # type: ignore[arg-type]

    assert folder.parent == tmp_path / "scratch"
    assert Path(variables["F"]).read_text() == "x"
    assert Path(variables["F"]).parent == folder


def test_a_directory_that_somebody_else_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names in /dev/shm can be guessed: one that is not private is not used."""
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setattr(secret_files, "memory_folders", lambda: [shared])
    trap = shared / (secret_files.prefix(tmp_path) + "r1-1")
    trap.mkdir()
    trap.chmod(0o777)
    folder, _ = secret_files.write(tmp_path, "r1-1", [], tmp_path / "scratch")

    assert folder.parent == tmp_path / "scratch"
    assert trap.exists()


def test_the_short_list_of_inherited_variables() -> None:
    agent = {
        "PATH": "/bin",
        "AWS_SECRET_ACCESS_KEY": "x",
        "LC_ALL": "C",
        "MY_1": "1",
        "MYX": "2",
        "HTTPS_PROXY": "p",
    }

    assert set(inherited(agent)) == {"PATH", "LC_ALL", "HTTPS_PROXY"}
    assert set(inherited(agent, ("MY_*",))) == {"PATH", "LC_ALL", "HTTPS_PROXY", "MY_1"}
