"""What SageMaker puts below ``/opt/ml``, and what it takes from there into S3.

Source: "How Amazon SageMaker AI Provides Training Information" and "How Amazon SageMaker AI Processes
Training Output" in its guide.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from launch_sagemaker.testing.containers import ROOT

CHECKPOINTS: Final = f"{ROOT}/checkpoints"
FOLDERS: Final = ("input/config", "input/data", "model", "output/data", "code")


class NoData(Exception):
    """Input that cannot be had; the text is the end of a FailureReason."""


def hosts(resources: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(host, instance type, name of its group) of every instance, algo-1 first."""
    groups = resources.get("InstanceGroups") or [{**resources, "InstanceGroupName": "homogeneousCluster"}]
    kinds = [
        (str(group.get("InstanceType")), str(group["InstanceGroupName"]))
        for group in groups
        for _ in range(group["InstanceCount"])
    ]
    return [(f"algo-{place}", *kind) for place, kind in enumerate(kinds, 1)]


def write_configuration(folder: Path, body: Mapping[str, Any], host: str) -> None:
    """The folders, and ``input/config``, for one instance."""
    root = folder / ROOT[1:]
    for name in FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    machines = hosts(body["ResourceConfig"])
    mine = next(each for each in machines if each[0] == host)
    groups: dict[str, dict[str, Any]] = {}
    for name, kind, group in machines:
        made = {"instance_group_name": group, "instance_type": kind, "hosts": []}
        groups.setdefault(group, made)["hosts"].append(name)
    files = {
        "hyperparameters": body.get("HyperParameters") or {},
        "resourceconfig": {
            "current_host": host,
            "current_instance_type": mine[1],
            "current_group_name": mine[2],
            "hosts": [each[0] for each in machines],
            "instance_groups": list(groups.values()),
            "network_interface_name": "eth0",
        },
        "inputdataconfig": {
            channel["ChannelName"]: _channel(channel, body) for channel in body.get("InputDataConfig") or ()
        },
    }
    for name, content in files.items():
        (root / "input" / "config" / f"{name}.json").write_text(json.dumps(content))


def _channel(channel: Mapping[str, Any], body: Mapping[str, Any]) -> dict[str, str]:
    source = channel["DataSource"].get("S3DataSource") or {}
    mode = channel.get("InputMode") or body["AlgorithmSpecification"]["TrainingInputMode"]
    told = {
        "TrainingInputMode": mode,
        "S3DistributionType": source.get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
    }
    return told if "ContentType" not in channel else {**told, "ContentType": channel["ContentType"]}


def download_channels(s3: Any, folder: Path, body: Mapping[str, Any], host: str) -> None:
    """``input/data/<channel>`` of every channel. File systems are empty folders here.

    :raises NoData:
    """
    machines = [each[0] for each in hosts(body["ResourceConfig"])]
    for channel in body.get("InputDataConfig") or ():
        into = folder / ROOT[1:] / "input" / "data" / channel["ChannelName"]
        into.mkdir(parents=True, exist_ok=True)
        source = channel["DataSource"].get("S3DataSource")
        if source is None:
            continue
        share = source.get("S3DataDistributionType") == "ShardedByS3Key"
        part = (machines.index(host), len(machines)) if share else (0, 1)
        if not download(s3, source["S3Uri"], into, part=part) and not share:
            raise NoData(
                f'Data download failed:No S3 objects found under S3 URL "{source["S3Uri"]}" given in input '
                "data source. Please ensure that the bucket exists in the selected region, that objects "
                f'exist under that S3 prefix, and that the role "{body["RoleArn"]}" has "s3:ListBucket" '
                f'permissions on bucket "{_place(source["S3Uri"])[0]}".'
            )


def download(s3: Any, url: str, into: Path, part: tuple[int, int] = (0, 1)) -> int:
    """Everything under a prefix; how many objects that were."""
    from botocore.exceptions import ClientError

    bucket, prefix = _place(url)
    try:
        pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix))
    except ClientError:
        return 0
    keys = [each["Key"] for page in pages for each in page.get("Contents", ())]
    mine = [key for key in keys if not key.endswith("/")][part[0] :: part[1]]
    for key in mine:
        path = _inside(into, _name(key, prefix))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    return len(mine)


def _name(key: str, prefix: str) -> str:
    """Where an object is in its channel: what follows the prefix, or its last folder."""
    rest = key[len(prefix) :]
    if prefix and not prefix.endswith("/") and not rest.startswith("/"):
        return key[prefix.rfind("/") + 1 :]
    return rest.lstrip("/")


def _inside(folder: Path, name: str) -> Path:
    path = folder.joinpath(*(part for part in name.split("/") if part not in ("", ".", "..")))
    assert path != folder, f"the object {name!r} has no name"
    return path


def failure_text(folders: Sequence[Path]) -> str:
    """What the first container that left something left in ``/opt/ml/output/failure``."""
    for folder in folders:
        path = folder / ROOT[1:] / "output" / "failure"
        if path.is_file():
            return path.read_bytes()[:4096].decode("utf-8", "replace")
    return ""


def upload_output(s3: Any, folders: Sequence[Path], body: Mapping[str, Any], name: str) -> None:
    """``model`` and ``output/data``, as archives or as they are. Nothing where there is nothing."""
    output = body["OutputDataConfig"]
    bucket, prefix = _place(f"{output['S3OutputPath'].rstrip('/')}/{name}/output/")
    for source, called in (("model", "model"), ("output/data", "output")):
        files: dict[str, Path] = {}
        for folder in folders:
            files |= _files(folder / ROOT[1:] / source)
        if not files:
            continue
        if output.get("CompressionType") == "NONE":
            for key, path in files.items():
                s3.put_object(Bucket=bucket, Key=f"{prefix}{called}/{key}", Body=path.read_bytes())
        else:
            s3.put_object(Bucket=bucket, Key=f"{prefix}{called}.tar.gz", Body=_archive(files))


def _archive(files: Mapping[str, Path]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, path in sorted(files.items()):
            tar.add(path, name, recursive=False)
    return out.getvalue()


def _files(folder: Path) -> dict[str, Path]:
    paths = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): path for path in paths}


def _place(url: str) -> tuple[str, str]:
    bucket, _, key = url.split("://", 1)[-1].partition("/")
    return bucket, key


class Checkpoints:
    """A folder of a job and its copy in S3, which outlives the instances."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.path: str = config.get("LocalPath") or CHECKPOINTS
        self._url = config["S3Uri"]
        self._known: dict[Path, bytes] = {}

    def restore(self, s3: Any, folder: Path) -> None:
        """Before a start: what earlier ones have left."""
        into = folder / self.path.lstrip("/")
        into.mkdir(parents=True, exist_ok=True)
        download(s3, f"{self._url.rstrip('/')}/", into)

    def save(self, s3: Any, folder: Path) -> None:
        """What is new or has changed since the last time."""
        bucket, prefix = _place(f"{self._url.rstrip('/')}/")
        for name, path in _files(folder / self.path.lstrip("/")).items():
            try:
                data = path.read_bytes()
            except FileNotFoundError:
                continue
            now = hashlib.sha256(data).digest()
            if self._known.get(path) != now:
                s3.put_object(Bucket=bucket, Key=prefix + name, Body=data)
                self._known[path] = now
