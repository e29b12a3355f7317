"""``python -m launch_sagemaker.testing``: try the runner without AWS. Training jobs run on this machine."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Sequence
from typing import Any

import yaml
from launch_aws.testing.cloud import Cloud

from launch_sagemaker.testing.containers import Containers, ProcessContainers
from launch_sagemaker.testing.endpoint import Endpoint
from launch_sagemaker.testing.engine import DockerContainers

BUCKET = "launch"
ROLE = "arn:aws:iam::123456789012:role/training"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/any:1"
QUEUES = "sqlite:///$PWD/queue.db"


def main(arguments: Sequence[str] | None = None) -> None:
    """Until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m launch_sagemaker.testing", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="the endpoint's port (default: a free one)")
    parser.add_argument("--docker", metavar="URL", help="run containers on this Docker engine, not processes")
    parser.add_argument(
        "--step-seconds", type=float, default=1.0, help="what each step before training takes"
    )
    parser.add_argument("--stop-seconds", type=float, default=120.0, help="between SIGTERM and SIGKILL")
    given = parser.parse_args(arguments)
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    containers: Containers = DockerContainers(given.docker) if given.docker else ProcessContainers()
    cloud = Cloud()
    try:
        cloud.start()
        cloud.client("s3").create_bucket(Bucket=BUCKET)
        endpoint = Endpoint(
            cloud,
            containers,
            port=given.port,
            step_seconds=given.step_seconds,
            stop_seconds=given.stop_seconds,
        )
        endpoint.start()
        try:
            print(introduction(endpoint.environment()), flush=True)
            over.wait()
        finally:
            endpoint.close()
    finally:
        cloud.close()


def introduction(environment: dict[str, Any]) -> str:
    """Two files, and what to type then."""
    ours = {"role_arn": ROLE, "output_path": f"s3://{BUCKET}/output", "store": f"s3://{BUCKET}/runs"}
    agent = {"queues": ["training"], "environment": environment, "plugins": {"sagemaker": ours}}
    queue = {"type": "sagemaker", "config": {"ResourceConfig": {"InstanceType": "ml.m5.large"}}}
    return "\n".join(
        [
            "# launch-config.yaml",
            yaml.safe_dump(agent, sort_keys=False),
            "# queue.yaml",
            yaml.safe_dump(queue, sort_keys=False),
            "# where these files are; with --docker, the image has to be on the engine",
            f"# export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test LAUNCHCORE_BASE_URL={QUEUES}",
            "# launch queue create training --from queue.yaml",
            "# launch agent --config launch-config.yaml &",
            f"# launch submit -q training --image {IMAGE} --watch -- echo hello",
        ]
    )


if __name__ == "__main__":
    main()
