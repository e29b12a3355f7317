"""What ``launch queue render`` shows, and that the examples of the README can be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml
from launch_k8s.plugin import launch_register_runners
from launch_k8s.preview import documents
from launch_k8s.settings import ClusterSettings, RunConfig
from launch_k8s.testing.samples import NAME, plan

from launchcore.host.settings import structure
from launchcore.plugin import EnvVar, Given, Login, Secret
from launchcore.queues.admission import check_queue
from launchcore.queues.macros import substitute

README = Path(__file__).parents[1] / "README.md"
EXAMPLES = re.findall(r"```yaml\n# queue.yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_everything_is_shown_and_no_secret() -> None:
    given = Given(
        env=(EnvVar(name="TOKEN", value=Secret("canary")),),
        logins=(Login(host="r", username="u", password=Secret("canary")),),
    )
    shown = documents(plan(), given, ClusterSettings())
    assert "canary" not in "".join(shown)
    assert "&id" not in "".join(shown)  # every part is written out
    secret, pull, job = (yaml.safe_load(each) for each in shown)
    assert secret["data"] == {"env.TOKEN": "<secret>"}
    assert pull["data"] == {".dockerconfigjson": "<secret>"}
    assert (job["kind"], job["metadata"]["name"]) == ("Job", NAME)


def test_the_descriptor_offers_it() -> None:
    (spec,) = launch_register_runners()
    assert spec.render is not None
    assert spec.validate is not None
    assert spec.render(plan(), Given(), ClusterSettings()) == documents(plan(), Given(), ClusterSettings())


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_of_the_readme(text: str) -> None:
    from launchcore.plugin import QueueConfig

    raw: dict[str, Any] = yaml.safe_load(text)
    queue = structure(QueueConfig, raw, path="queue")
    check_queue(queue)
    variables = {name: schema["default"] for name, schema in queue.variables.items()}
    config = structure(RunConfig, substitute(queue.config, variables), path="config")
    shown = documents(plan(settings=config), Given(), ClusterSettings())
    assert yaml.safe_load(shown[-1])["metadata"]["name"] == NAME
    assert len(EXAMPLES) == 3


@pytest.mark.parametrize("settings", [ClusterSettings, RunConfig], ids=["agent", "queue"])
def test_every_key_is_in_the_readme_with_its_meaning(settings: type) -> None:
    text = README.read_text(encoding="utf-8")
    for field in attrs.fields(settings):
        key = field.metadata["key"] or field.name
        row = re.search(rf"^\| `{re.escape(key)}` \|[^|]*\| (.*) \|$", text, re.MULTILINE)
        assert row is not None, key
        assert field.metadata["help"] in text, key
