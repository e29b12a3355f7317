"""Logs: by offset, complete, with an end that is one."""

from __future__ import annotations

import os
from pathlib import Path

from launchcore.builtin.process.records import Place
from tests.process.kit import Bench, eventually


def test_several_megabytes(bench: Bench) -> None:
    script = "import sys\nfor n in range(200_000): sys.stdout.write(f'{n:08d} some output of a run\\n')"
    handle = bench.start(bench.python(script))
    data = bench.read(handle, limit=65_536)

    lines = data.decode().splitlines()
    assert len(lines) == 200_000
    assert [int(line[:8]) for line in lines] == list(range(200_000))
    assert bench.ended(handle).exit_code == 0


def test_any_cursor_and_another_runner(bench: Bench) -> None:
    handle = bench.start(bench.shell("printf 0123456789"))
    bench.ended(handle)
    runner = bench.another()

    assert runner.logs(handle, None, 4).data == b"0123"
    batch = runner.logs(handle, "4", 4)
    assert (batch.data, batch.cursor, batch.end) == (b"4567", "8", False)
    batch = runner.logs(handle, batch.cursor, 4)
    assert (batch.data, batch.cursor, batch.end) == (b"89", "10", True)
    assert runner.logs(handle, "10", 4).end


def test_no_end_while_it_runs(bench: Bench, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    handle = bench.start(bench.shell(f"echo one; until [ -e {gate} ]; do sleep 0.01; done; echo two"))
    eventually(lambda: bench.runner.logs(handle, None, 100).data)
    batch = bench.runner.logs(handle, "4", 100)
    assert (batch.data, batch.end) == (b"", False)
    gate.touch()

    assert bench.read(handle) == b"one\ntwo\n"


def test_bytes_that_are_no_text(bench: Bench) -> None:
    handle = bench.start(bench.python("import os; os.write(1, bytes(range(256)))"))

    assert bench.read(handle) == bytes(range(256))


def test_a_log_that_its_run_cuts(bench: Bench) -> None:
    handle = bench.start(
        bench.python("import os; os.write(1, b'x' * 100); os.ftruncate(1, 0); os.write(1, b'new')")
    )
    bench.ended(handle)
    batch = bench.runner.logs(handle, "100", 1000)

    assert batch.gap is not None
    assert batch.data == b"new"


def test_after_cleanup(bench: Bench) -> None:
    handle = bench.start(bench.shell("echo x"))
    bench.ended(handle)
    bench.runner.cleanup(handle)
    batch = bench.runner.logs(handle, None, 100)

    assert (batch.data, batch.end) == (b"", True)
    assert batch.gap is not None


def test_a_file_size_limit_ends_the_run_and_not_the_keeper(bench: Bench) -> None:
    """What a full disk looks like to a run: its writes fail."""
    script = """
import resource, os
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
while True:
    os.write(1, b'x' * 900)
"""
    handle = bench.start(bench.python(script))
    status = bench.ended(handle)

    assert status.exit_code not in (None, 0)
    assert bench.read(handle) == b"x" * 1000  # not even the traceback fits
    assert bench.ended(bench.start(bench.shell("exit 0"))).exit_code == 0


def test_output_is_interleaved_as_it_was_written(bench: Bench) -> None:
    handle = bench.start(bench.python("import os\nfor n in range(100): os.write(1 + n % 2, b'%d ' % n)"))

    assert bench.read(handle).decode().split() == [str(number) for number in range(100)]


def test_the_log_is_private(bench: Bench) -> None:
    handle = bench.start(bench.shell("echo secret"))
    bench.ended(handle)
    path = Place(bench.keeper_root, handle.attempt_id).log

    assert path.stat().st_mode & 0o077 == 0
    assert bench.keeper_root.stat().st_mode & 0o077 == 0
    assert os.stat(bench.keeper_root / "keeper.sock").st_mode & 0o077 == 0  # noqa: PTH116
