"""Logs: by offset, complete, with an end that is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from launchcore.builtin.process.records import Place
from tests.process.kit import Bench, eventually


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One keeper for the tests that do not care."""
    made = Bench(tmp_path_factory.mktemp("output"))
    yield made
    made.close()


def test_several_megabytes(shared: Bench) -> None:
    script = "import sys\nfor n in range(200_000): sys.stdout.write(f'{n:08d} some output of a run\\n')"
    handle = shared.start(shared.python(script))
    data = shared.read(handle, limit=65_536)

    lines = data.decode().splitlines()
    assert len(lines) == 200_000
    assert [int(line[:8]) for line in lines] == list(range(200_000))
    assert shared.ended(handle).exit_code == 0


def test_any_cursor_and_another_runner(shared: Bench) -> None:
    handle = shared.start(shared.shell("printf 0123456789"))
    shared.ended(handle)
    runner = shared.another()

    assert runner.logs(handle, None, 4).data == b"0123"
    batch = runner.logs(handle, "4", 4)
    assert (batch.data, batch.cursor, batch.end) == (b"4567", "8", False)
    batch = runner.logs(handle, batch.cursor, 4)
    assert (batch.data, batch.cursor, batch.end) == (b"89", "10", True)
    assert runner.logs(handle, "10", 4).end


def test_no_end_while_it_runs(shared: Bench, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    handle = shared.start(shared.shell(f"echo one; until [ -e {gate} ]; do sleep 0.01; done; echo two"))
    eventually(lambda: shared.runner.logs(handle, None, 100).data)
    batch = shared.runner.logs(handle, "4", 100)
    assert (batch.data, batch.end) == (b"", False)
    gate.touch()

    assert shared.read(handle) == b"one\ntwo\n"


def test_bytes_that_are_no_text(shared: Bench) -> None:
    handle = shared.start(shared.python("import os; os.write(1, bytes(range(256)))"))

    assert shared.read(handle) == bytes(range(256))


def test_a_log_that_its_run_cuts(shared: Bench) -> None:
    handle = shared.start(
        shared.python("import os; os.write(1, b'x' * 100); os.ftruncate(1, 0); os.write(1, b'new')")
    )
    shared.ended(handle)
    batch = shared.runner.logs(handle, "100", 1000)

    assert batch.gap is not None
    assert batch.data == b"new"


def test_after_cleanup(shared: Bench) -> None:
    handle = shared.start(shared.shell("echo x"))
    shared.ended(handle)
    shared.runner.cleanup(handle)
    batch = shared.runner.logs(handle, None, 100)

    assert (batch.data, batch.end) == (b"", True)
    assert batch.gap is not None


def test_a_file_size_limit_ends_the_run_and_not_the_keeper(shared: Bench) -> None:
    """What a full disk looks like to a run: its writes fail."""
    script = """
import resource, os
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
while True:
    os.write(1, b'x' * 900)
"""
    handle = shared.start(shared.python(script))
    status = shared.ended(handle)

    assert status.exit_code not in (None, 0)
    assert shared.read(handle) == b"x" * 1000  # not even the traceback fits
    assert shared.ended(shared.start(shared.shell("exit 0"))).exit_code == 0


def test_output_is_interleaved_as_it_was_written(shared: Bench) -> None:
    handle = shared.start(shared.python("import os\nfor n in range(100): os.write(1 + n % 2, b'%d ' % n)"))

    assert shared.read(handle).decode().split() == [str(number) for number in range(100)]


def test_the_log_is_private(shared: Bench) -> None:
    handle = shared.start(shared.shell("echo secret"))
    shared.ended(handle)
    path = Place(shared.keeper_root, handle.attempt_id).log

    assert path.stat().st_mode & 0o077 == 0
    assert shared.keeper_root.stat().st_mode & 0o077 == 0
    assert os.stat(shared.keeper_root / "keeper.sock").st_mode & 0o077 == 0  # noqa: PTH116
