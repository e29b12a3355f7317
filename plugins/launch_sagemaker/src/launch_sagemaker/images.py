"""Which image a training job can have, and how the request names it. Pure.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from launch_aws import names

from launch_sagemaker.refusal import Problems, shown
from launchcore.plugin import ImageRef, Json

PATH: Final = "AlgorithmSpecification.TrainingImage"
_IMAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*", re.ASCII)


def uri(image: ImageRef) -> str:
    """The image as the service takes it: with a tag or a digest, never with both.

    >>> uri(ImageRef(name="h.io:5000/team/train:1", digest="sha256:ab"))
    'h.io:5000/team/train@sha256:ab'
    >>> uri(ImageRef(name="h.io:5000/team/train:1"))
    'h.io:5000/team/train:1'
    """
    bare, _, own = image.name.partition("@")
    digest = image.digest or own
    if not digest:
        return bare
    folder, slash, last = bare.rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}@{digest}"


def check(
    image: ImageRef,
    body: Mapping[str, Json],
    registry_hosts: tuple[str, ...],
    problems: Problems,
    *,
    region: str | None,
) -> None:
    """Whether a training job can have this image, as far as its name tells.

    :param region: the job's; ``None``: it is not known, so nothing is said about the registry.
    """
    name = uri(image)
    if not _IMAGE.fullmatch(name):
        problems.run(PATH, f"{shown(image.name)} is no name of an image")
        return
    algorithm = body.get("AlgorithmSpecification") or {}
    _own_image(algorithm, image, problems)
    if region is None or _vpc(body, algorithm, problems) or name.partition("/")[0] in registry_hosts:
        return
    found = names.host(name.partition("/")[0])
    if found is None or found.public:
        problems.queue(
            PATH,
            f"{shown(name, 120)} is in no private registry of ECR, and training jobs pull from nowhere else",
            "push it to ECR: `registry: {type: ecr, repository: …}` of the agent or the queue. For a "
            "registry in your VPC set AlgorithmSpecification.TrainingImageConfig; for an endpoint of ECR "
            "with a name of its own, `plugins.sagemaker.registry_hosts`",
        )
    elif found.region != region:
        problems.queue(
            PATH,
            f"{shown(name, 120)} is in {found.region}, and training jobs in {region} pull from there only",
            f"push it to a repository in {region}, have ECR replicate it there, or use an agent in "
            f"{found.region}",
        )


def _own_image(algorithm: Mapping[str, Json], image: ImageRef, problems: Problems) -> None:
    """The queue may repeat the run's image (``${image_uri}``), and name no other."""
    if algorithm.get("AlgorithmName") is not None:
        problems.queue(
            "AlgorithmSpecification.AlgorithmName",
            "cannot be: a run is an image",
            "leave it out; the image of a built-in algorithm can be the image of a run",
        )
    said = algorithm.get("TrainingImage")
    if said is None:
        return
    if not isinstance(said, str) or uri(ImageRef(name=said)) not in (
        uri(image),
        uri(ImageRef(name=image.name)),
    ):
        problems.queue(
            PATH,
            f"the queue says {shown(said, 120)}, and the run has another image",
            "leave it out, or write ${image_uri}",
        )


def _vpc(body: Mapping[str, Json], algorithm: Mapping[str, Json], problems: Problems) -> bool:
    """Whether the queue says how its jobs reach a registry that is not ECR."""
    config = algorithm.get("TrainingImageConfig")
    if not isinstance(config, Mapping) or config.get("TrainingRepositoryAccessMode") != "Vpc":
        return False
    if not body.get("VpcConfig"):
        problems.queue(
            "VpcConfig",
            "is missing: AlgorithmSpecification.TrainingImageConfig names a registry in a VPC",
        )
    return True
