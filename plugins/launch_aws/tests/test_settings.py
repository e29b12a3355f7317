"""What a configuration may say, and how its mistakes are told; the README's tables are the settings."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml
from launch_aws.settings import AccountSettings, RegistrySettings

from launchcore.host.settings import SettingsError, structure

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
ROLE = "arn:aws:iam::123456789012:role/team/launch"


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"region": "us-gov-west-1", "profile": "ml"},
        {"role-arn": ROLE, "external-id": "x", "session-name": "launch@gpu-7", "role-seconds": 900},
        {"endpoint-url": "http://127.0.0.1:5000", "endpoints": {"ecr-public": "https://x.example/"}},
        {"credentials-for": ["train-*"], "run-role-arn": ROLE, "region-for": []},
    ],
)
def test_environments(raw: dict[str, Any]) -> None:
    structure(AccountSettings, raw, path="environment")


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ({"region": "us east"}, "region: must be the name of a region, like us-east-1"),
        ({"regoin": "us-east-1"}, "regoin: is not a known key"),
        ({"role-arn": "launch"}, "role-arn: must be the ARN of a role: arn:aws:iam::ACCOUNT:role/NAME"),
        ({"external-id": "x"}, "`external_id` goes with `role_arn`"),
        ({"role-arn": ROLE, "role-seconds": 60}, "role-seconds: must be >= 900: 60"),
        ({"session-name": "a b"}, "session-name: must be 2 to 64 letters"),
        ({"endpoint-url": "s3.example.com"}, "endpoint-url: must be a URL: https://HOST"),
        ({"endpoint-url": "http://me:pass@h"}, "endpoint-url: must be a URL without a login"),
        ({"endpoints": {"s3": "x"}}, "'endpoints.s3' must be a URL"),
        (
            {"endpoints": {"ec2": "http://h"}},
            "endpoints: knows ecr, ecr-public, logs, s3, sagemaker, sqs, sts; not 'ec2'",
        ),
        ({"run-role-arn": ROLE}, "`run_role_arn` goes with `credentials_for`"),
        (
            {"role-arn": ROLE, "run-role-arn": ROLE, "credentials-for": ["*"], "role-seconds": 7200},
            "`role_seconds` is at most 3600 where `role_arn` assumes `run_role_arn`",
        ),
        ({"retries": -1}, "retries: must be >= 0"),
    ],
)
def test_mistakes_of_an_environment(raw: dict[str, Any], problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        structure(AccountSettings, raw, path="environment")
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "raw",
    [
        {"repository": "my-repo"},
        {"repository": "team/my_repo.x"},
        {"repository": "123456789012.dkr.ecr.us-east-1.amazonaws.com/my-repo"},
        {"repository": "public.ecr.aws/acme/my-repo"},
        {"repository": "my-repo", "account": "123456789012", "region": "eu-west-1"},
        {"repository": "my-repo", "public-alias": "acme"},
        {"repository": "127.0.0.1:5000/my-repo", "host": "127.0.0.1:5000"},
        {"repository": "my-repo", "immutable-tags": True, "kms-key": "alias/launch", "tags": {"team": "ml"}},
        {"login-hosts": ["763104351884.dkr.ecr.us-east-1.amazonaws.com"]},
        {},
    ],
)
def test_registries(raw: dict[str, Any]) -> None:
    structure(RegistrySettings, raw, path="registry")


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ({"repository": "My-Repo"}, "repository: must be a repository, without a tag"),
        ({"repository": "my-repo:latest"}, "repository: must be a repository, without a tag"),
        ({"repository": "a"}, "repository: must be a repository"),
        ({"repository": "../x"}, "repository: must be a repository"),
        ({"repository": "ghcr.io/acme/x"}, "`repository` is in no registry of ECR"),
        ({"account": 123456789012}, "account: expected text, got 123456789012"),
        ({"account": "1234"}, "account: must be an account's number of 12 digits"),
        ({"host": "https://x"}, "host: must be a host's name"),
        ({"public-alias": "acme", "account": "123456789012"}, "`public_alias` goes with none of"),
        ({"repository": "public.ecr.aws/acme/x", "public-alias": "acme"}, "leave out `public_alias`"),
        ({"login-hosts": ["ghcr.io"]}, "login-hosts: must be hosts of ECR"),
        ({"create": False, "scan-on-push": True}, "`create` is false"),
        ({"kms-key": "a b"}, "kms-key: must be a KMS key's ARN"),
    ],
)
def test_mistakes_of_a_registry(raw: dict[str, Any], problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        structure(RegistrySettings, raw, path="registry")
    assert problem in str(caught.value)


def test_what_was_written_is_not_repeated_where_it_may_be_a_key() -> None:
    key = "AKIA1234567890ABCDEF"
    for cls, raw in [(AccountSettings, {"role-arn": key}), (RegistrySettings, {"kms-key": f"{key} x"})]:
        with pytest.raises(SettingsError) as caught:
            structure(cls, raw, path="x")
        assert key not in str(caught.value)


@pytest.mark.parametrize("settings", [AccountSettings, RegistrySettings], ids=["environment", "registry"])
def test_every_key_is_in_the_readme_with_its_meaning(settings: type) -> None:
    _, _, part = README.partition(
        "### The environment" if settings is AccountSettings else "### The registry"
    )
    rows = re.findall(r"^\| `([a-z_]+)` \|[^|]*\| (.*) \|$", part.partition("\n### ")[0], re.MULTILINE)
    assert dict(rows) == {field.name: field.metadata["help"] for field in attrs.fields(settings)}


@pytest.mark.parametrize("text", re.findall(r"```yaml\n# launch-config.yaml\n(.*?)```", README, re.DOTALL))
def test_examples_of_the_readme(text: str) -> None:
    raw = yaml.safe_load(text)
    for key, settings in (("environment", AccountSettings), ("registry", RegistrySettings)):
        structure(settings, raw.get(key), path=key, ignore=("type",))
