"""docs/configuration.md says what the code does: its tables are complete, its examples work."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest

from launchcore.config.document import parse_document
from launchcore.config.load import defaults, load_config
from launchcore.config.values import AgentConfig
from launchcore.host.schema import rows
from launchcore.host.settings import structure
from launchcore.plugin import QueueConfig, RunSpec, SourceRef
from launchcore.queues.admission import RESERVED_ENV, admit, check_job, check_queue
from launchcore.queues.base import JobDefinition
from launchcore.queues.bounds import MAX_SPEC_BYTES
from launchcore.queues.macros import MACROS, macro_names, substitute
from launchcore.queues.shape import MAX_COUNT
from tests.docs.markdown import ROOT, Block, blocks

PAGE = ROOT / "docs" / "configuration.md"
TEXT = PAGE.read_text()
SOURCE = SourceRef(type="git", fields={"url": "https://git.example.com/a"})
ONE_LINE = " ".join(TEXT.split())


def examples(first_line: str) -> list[Block]:
    found = [block for block in blocks(PAGE) if block.text.startswith(f"# {first_line}\n")]
    assert found
    return found


def line_of(block: Block) -> str:
    return f"line {block.line}"


@pytest.mark.parametrize("block", examples("launch-config.yaml"), ids=line_of)
def test_agents(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "launch-config.yaml"
    file.write_text(block.text)

    assert load_config(path=file, environ={}, flags={}).config.queues


def queue_of(block: Block) -> QueueConfig:
    return structure(QueueConfig, parse_document(block.text.encode(), block.id).value, path="")


@pytest.mark.parametrize("block", examples("queue.yaml"), ids=line_of)
def test_queues(block: Block) -> None:
    check_queue(queue_of(block))


def test_the_queue_with_macros_gives_what_the_page_says() -> None:
    config = queue_of(next(block for block in examples("queue.yaml") if "${" in block.text))
    spec = admit("gpu", config, RunSpec(source=SOURCE, variables={"zone": "east", "gpus": 2}))
    names = macro_names(
        run_id="r1", attempt=1, queue="gpu", image_uri="i@sha256:1", args=("a",), variables=spec.variables
    )

    made = substitute(config.config, names)

    assert made["metadata"] == {"labels": {"team": "vision", "zone": "east"}}
    assert made["spec"]["containers"] == [
        {
            "image": "i@sha256:1",
            "args": ["a"],
            "resources": {"limits": {"nvidia.com/gpu": 2}},
            "env": [{"name": "RUN", "value": "r1, attempt 1"}],
            "command": ["sh", "-c", 'cd "${WORKDIR}" && exec "$@"', "sh"],
        }
    ]


@pytest.mark.parametrize("block", examples("job inputs"), ids=line_of)
def test_inputs(block: Block) -> None:
    inputs = parse_document(block.text.encode(), block.id).value

    check_job("train", JobDefinition(source=SOURCE, inputs=inputs, command=("x", "${inputs.lr}")))


def test_every_key_of_the_agent_is_in_the_table() -> None:
    machine = dict(
        zip(
            defaults(),
            ("a file of this user", "the user's state directory", "the user's cache directory"),
            strict=True,
        )
    )
    wanted = [
        f"| `{row.key}` | {row.type} | "
        f"{machine[row.key] if row.required else f'`{json.dumps(row.default)}`'} | {row.help} |"
        for row in rows(AgentConfig)
    ]

    assert "\n".join(wanted) in TEXT


def test_every_key_of_a_queue_is_in_the_table() -> None:
    table = TEXT.partition("## Queues")[2].partition("\n### ")[0]
    named = [
        word.strip("` ")
        for line in table.splitlines()
        if line.startswith("| `")
        for word in line.split("|")[1].split(",")
    ]

    assert named == ["type", "config", "variables", "builder", "registry", "max_running", *named[6:]]
    assert sorted(named) == sorted(field.name for field in attrs.fields(QueueConfig))
    closed = structure(QueueConfig, {"type": "x"}, path="").closed_env
    assert f"| `closed_env` | {', '.join(f'`{pattern}`' for pattern in closed)} |" in table


def test_every_macro_is_in_the_table() -> None:
    for name, meaning in MACROS.items():
        assert f"| `${{{name}}}` | {meaning} |" in TEXT


def test_numbers_and_names_are_those_of_the_code() -> None:
    assert " and ".join(f"`{pattern}`" for pattern in RESERVED_ENV) in TEXT
    assert f"at most {MAX_SPEC_BYTES // 1024} KiB" in ONE_LINE
    assert f"at most {MAX_COUNT['env']} variables and {MAX_COUNT['command']} words" in ONE_LINE
