"""How a configuration with AWS in it reads: `launch config check`, `launch doctor`, and an agent's start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from launch_aws.testing.cloud import ACCOUNT, CANARY, KEY_ID, REGION, Cloud

from launchcore.agent.wiring import Wiring, wire
from launchcore.cli import run
from launchcore.config.load import load_config
from launchcore.host import Host
from launchcore.plugin import BuilderSpec, LaunchError, QueueConfig
from launchcore.queues.connect import open_service

SEED = """\
base_url: https://launch.example.com
max_jobs: -1
queues: [default]
environment: {type: aws, region: us-east-1}
registry: {type: ecr, repository: my-repo}
builder: {type: kaniko, build-context-store: s3://my-bucket/contexts}
"""
HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
NEEDS = (
    "the registry 'ecr' needs the environment 'aws', and `environment` is 'local'; hint: write environment: "
    "{type: aws} with its settings, or choose another registry"
)

Check = Callable[[str], tuple[int, str]]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("LAUNCHCORE_CONFIG", "LAUNCHCORE_DISABLED_PLUGINS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LAUNCHCORE_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("LAUNCHCORE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def check(home: Path, capsys: pytest.CaptureFixture[str]) -> Check:
    """``launch config check``: its exit code, and what it says, without the file's directory."""

    def look(text: str) -> tuple[int, str]:
        file = home / "launch-config.yaml"
        file.write_text(text)
        code = run(["config", "check", "--config", str(file)])
        captured = capsys.readouterr()
        return code, (captured.out + captured.err).replace(f"{home}/", "")

    return look


def has_kaniko() -> bool:
    return any(offer.spec.name == "kaniko" for offer in Host.load().catalog.offers(BuilderSpec))


@pytest.mark.xfail(not has_kaniko(), reason="nobody offers the builder kaniko here", strict=True)
def test_the_configuration_of_the_documentation_is_good(check: Check) -> None:
    assert check(SEED) == (0, "launch-config.yaml: good\n")


@pytest.mark.parametrize(
    "registry",
    [
        "registry: {type: ecr, repository: my-repo}",
        f"registry: {{type: ecr}}\nbuilder: {{type: none, destination: {HOST}/my-repo}}",
        f"builder: {{type: none, destination: {HOST}/my-repo}}",
        "builder: {type: none, destination: public.ecr.aws/acme/my-repo}",
    ],
)
def test_the_registry_needs_the_environment(check: Check, registry: str) -> None:
    assert check(f"environment: {{type: aws}}\n{registry}\n") == (0, "launch-config.yaml: good\n")
    code, said = check(f"{registry}\n")
    assert code != 0
    assert NEEDS in said
    assert "Traceback" not in said


def test_all_mistakes_are_told(check: Check) -> None:
    code, said = check(
        "environment: {type: aws, regoin: us-east-1}\nregistry: {type: ecr, account: 123456789012}\n"
    )
    assert code != 0
    for text in ("environment.regoin: is not a known key", "use 'region'", "registry.account: expected text"):
        assert text in said


def test_doctor_says_who_we_are(
    home: Path, cloud: Cloud, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = home / "launch-config.yaml"
    monkeypatch.setenv("LAUNCHCORE_CONFIG", str(file))
    monkeypatch.setenv("LAUNCHCORE_BASE_URL", f"sqlite://{home}/queue.db")

    def environment(url: str) -> str:
        file.write_text(f"environment: {{type: aws, region: {REGION}, endpoint-url: '{url}', retries: 0}}\n")
        run(["doctor"])
        said = capsys.readouterr().out
        assert KEY_ID not in said
        assert CANARY not in said
        (at,) = [n for n, line in enumerate(said.splitlines()) if line[2:].startswith("environment")]
        return " ".join(" ".join(said.splitlines()[at : at + 2]).split())

    assert environment(cloud.url).startswith(
        f"✓ environment aws account {ACCOUNT} as arn:aws:sts::{ACCOUNT}:user/moto in {REGION}"
    )
    away = environment("http://127.0.0.1:1")
    assert away.startswith("✗ environment cannot ask AWS who we are: http://127.0.0.1:1/ cannot be reached")
    assert "try: look at the network" in away


# -- an agent's start ------------------------------------------------------------------------------


Start = Callable[..., Wiring]


@pytest.fixture
def start(home: Path) -> Start:
    """Puts an agent together that serves one queue."""

    def put_together(config: str, **queue: object) -> Wiring:
        url = f"sqlite://{home}/queue.db"
        service = open_service(url)
        service.create_queue("gpu", QueueConfig(type="docker", **queue))  # type: ignore[arg-type]
        service.close()
        file = home / "launch-config.yaml"
        file.write_text(f"base_url: {url}\nqueues: [gpu]\n{config}\n")
        made = wire(load_config(path=file, environ={"HOME": str(home)}, flags={}))
        made.client.close()
        return made

    return put_together


def test_an_agent_says_who_it_is(start: Start, cloud: Cloud) -> None:
    made = start(
        f"environment: {{type: aws, region: {REGION}, endpoint-url: '{cloud.url}'}}\n"
        "registry: {type: ecr, repository: my-repo}"
    )
    assert made.account.startswith(f"aws account {ACCOUNT} as ")


def test_an_agent_without_the_environment_does_not_start(start: Start) -> None:
    with pytest.raises(LaunchError) as caught:
        start("registry: {type: ecr, repository: my-repo}")
    assert "line 3: registry.type: the registry 'ecr' needs the environment 'aws'" in caught.value.detail


@pytest.mark.parametrize(
    "queue",
    [
        {"registry": {"type": "ecr", "repository": "my-repo"}},
        {"builder": {"type": "none", "destination": f"{HOST}/my-repo"}},
    ],
)
def test_nor_for_a_queue_whose_registry_needs_it(start: Start, queue: dict[str, object]) -> None:
    with pytest.raises(LaunchError) as caught:
        start("", **queue)
    assert caught.value.detail == (
        "queue 'gpu': the registry 'ecr' needs the environment 'aws', and `environment` is 'local'"
    )
    assert "environment: {type: aws}" in (caught.value.hint or "")


def test_a_queues_registry_works_in_the_agents_environment(start: Start, cloud: Cloud) -> None:
    block = {"type": "ecr", "repository": "my-repo"}
    made = start(f"environment: {{type: aws, region: {REGION}, endpoint-url: '{cloud.url}'}}", registry=block)
    assert made.shop.registry(block).object.resolve("my-repo") == f"{HOST}/my-repo"


def test_an_agent_that_nobody_knows_does_not_start(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(LaunchError, match="no AWS credentials") as caught:
        start("environment: {type: aws, region: us-east-1}")
    assert "environment.profile" in (caught.value.hint or "")
