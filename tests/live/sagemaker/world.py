"""The world of the crash tests with training jobs instead of processes: a model of AWS, a real engine."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from launch_aws.testing.cloud import REGION, Cloud
from launch_docker.build_registry import push
from launch_docker.engine import Engine
from launch_docker.errors import EngineAway, EngineError
from launch_docker.settings import Settings
from launch_docker.testing.fixtures import IMAGE
from launch_docker.testing.registry import RegistryMachine
from launch_sagemaker.testing.endpoint import Endpoint
from launch_sagemaker.testing.engine import DockerContainers
from launch_sagemaker.testing.jobs import JobRecord
from launch_sagemaker.testing.model import ServiceModel

from launchcore.plugin import RetryPolicy, RunSpec, SourceRef
from launchcore.testing.context import RecordingContext
from tests.crash.world import AgentProcess, World
from tests.live.docker.world import JOB

ROLE: Final = "arn:aws:iam::123456789012:role/launch-training"
BUCKET: Final = "training"
RESOURCES: Final = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 10}
QUICK: Final = {
    "requests-per-second": 20.0,
    "log-requests-per-second": 50.0,
    "look-seconds": 0.5,
    "appear-seconds": 6.0,
    "log-settle-seconds": 0.5,
}
"""What takes seconds in a cloud, takes parts of them here."""


class SageMakerWorld(World):
    """Queue ``q`` is of type sagemaker; the containers of its training jobs write the history themselves.

    :param storage: the registry that stands for ECR, beside moto's API of it.
    """

    def __init__(
        self, root: Path, docker_host: str, cloud: Cloud, storage: RegistryMachine, model: ServiceModel
    ) -> None:
        super().__init__(root)
        self.docker_host = docker_host
        self.cloud = cloud
        self.storage = storage
        self.engine = Engine(Settings(host=docker_host, answer_seconds=30.0), environ={})
        self.history.unlink()
        (root / "shared").mkdir()
        self.history = root / "shared" / "history"
        self.history.touch()
        logins = {storage.host: (storage.user, storage.password)}
        self.containers = DockerContainers(docker_host, logins=logins, volumes={f"{root}/shared": "/history"})
        self.sagemaker = Endpoint(
            cloud, self.containers, stop_seconds=3.0, step_seconds=0.05, model=model
        ).start()
        cloud.client("s3").create_bucket(Bucket=BUCKET)
        self.image = self.pushed(IMAGE, "ready")

    # -- set-up --------------------------------------------------------------------------------

    def pushed(self, image: str, repository: str) -> str:
        """An image of the engine as one of the registry's."""
        name = f"{self.storage.host}/{repository}:1"
        self.engine.request("POST", f"/images/{image}/tag", params={"repo": name[:-2], "tag": "1"})
        login = {"username": self.storage.user, "password": self.storage.password}
        push(self.engine, name, login, RecordingContext(), retries=0, silent_seconds=30.0)
        return name

    def queue(self, name: str = "q", **config: Any) -> None:
        target = {"ResourceConfig": RESOURCES, **config.pop("config", {})}
        merged: dict[str, Any] = {"type": "sagemaker", "config": target, "retry": RetryPolicy(max_lost=5)}
        super().queue(name, **{**merged, **config})

    def submit(self, *, seconds: float = 0.4, lines: int = 20, queue: str = "q", **spec: Any) -> str:
        pause = str(int(seconds / lines * 1e6))
        command = spec.pop("command", ("sh", "/history/job", str(lines), pause))
        (self.root / "shared" / "job").write_text(JOB)
        source = spec.pop("source", SourceRef(type="image", fields={"image": self.image}))
        return self.service.submit(queue, RunSpec(source=source, command=command, **spec)).id

    def agent(
        self,
        name: str | None = "one",
        *,
        settings: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
        **options: Any,
    ) -> AgentProcess:
        config = self.root / "launch-config.yaml"
        config.write_text(yaml.safe_dump(self.config(**(settings or {}))))
        more = {
            "DOCKER_HOST": self.docker_host,
            "DOCKER_CONFIG": str(self.root),
            "AWS_EC2_METADATA_DISABLED": "true",
            **(environ or {}),
        }
        args = ("--config", str(config), *options.pop("args", ()))
        return super().agent(name, environ=more, args=args, **options)

    def config(self, **settings: Any) -> dict[str, Any]:
        """An agent's configuration; ``settings`` are of ``plugins.sagemaker``."""
        ours = {
            "role-arn": ROLE,
            "output-path": f"s3://{BUCKET}/output",
            "store": f"s3://{BUCKET}/launch",
            "registry-hosts": [self.storage.host],
            **QUICK,
            **settings,
        }
        return {
            "environment": self.sagemaker.environment(REGION),
            "registry": {"type": "ecr", "repository": "built", "host": self.storage.host},
            "builder": {"type": "docker", "network": "none", "buildkit": "never"},
            "plugins": {"sagemaker": ours},
        }

    # -- looking -------------------------------------------------------------------------------

    def job(self, run_id: str, attempt: int = 1) -> JobRecord:
        """The training job of an attempt."""
        return self.sagemaker.job(f"launch-{run_id}-{attempt}")

    def waiting(self) -> list[str]:
        """What waits for runs in S3."""
        found = self.cloud.client("s3").list_objects_v2(Bucket=BUCKET, Prefix="launch/")
        return [each["Key"] for each in found.get("Contents", ())]

    def leftovers(self) -> list[str]:
        found = [f"{job.name} is {job.status}" for job in self.sagemaker.jobs if not job.has_ended]
        found += self.waiting()
        found += [str(path) for path in (self.state / "attempts").glob("*")]
        return found

    def close(self) -> None:
        for agent in self.agents:
            agent.kill()
        self.sagemaker.close()
        self.containers.close()
        with contextlib.suppress(EngineAway, EngineError):
            self.engine.close()
        super().close()
        assert self.sagemaker.faults_of_its_own == []
