"""Logs of real containers: complete, in order, resumable, whatever happens to the reader."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from launch_docker.settings import RunConfig
from launch_docker.testing.machine import wait_until

pytestmark = pytest.mark.live


@pytest.mark.parametrize(("driver", "lines"), [("local", 500_000), ("json-file", 50_000)])
def test_fifty_megabytes(bench: Any, driver: Any, lines: int) -> None:
    """In order and complete, read while it is written, with readers that come and go."""
    script = f"yes {'.' * 99} | head -n {lines}"
    handle = bench.start(bench.plan("sh", "-c", script, config=RunConfig(log_driver=driver)))
    digest, size, cursor = hashlib.sha256(), 0, None
    reader, change = bench.runner, lines * 25

    def read() -> bool:
        nonlocal size, cursor, reader, change
        while True:
            batch = reader.logs(handle, cursor, 1 << 18)
            assert batch.gap is None
            digest.update(batch.data)
            size, cursor = size + len(batch.data), batch.cursor
            if size > change:
                reader, change = bench.again(), change + lines * 25
            if not batch.data:
                return bool(batch.end)

    wait_until("all of it", read, seconds=100)

    assert size == lines * 100
    assert digest.hexdigest() == hashlib.sha256((b"." * 99 + b"\n") * lines).hexdigest()


def test_numbers_stay_in_order(bench: Any) -> None:
    handle = bench.start(bench.plan("sh", "-c", "seq 1 100000"))
    assert bench.log(handle) == b"".join(b"%d\n" % number for number in range(1, 100001))


def test_a_line_of_a_megabyte(bench: Any) -> None:
    handle = bench.start(bench.plan("sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x; echo; echo end"))
    assert bench.log(handle) == b"x" * 1_000_000 + b"\nend\n"


def test_bytes_that_are_no_text(bench: Any) -> None:
    handle = bench.start(bench.plan("sh", "-c", "printf '\\377\\376\\0\\001 \\033[1m\\n'"))
    assert bench.log(handle) == b"\xff\xfe\x00\x01 \x1b[1m\n"


def test_a_terminal(bench: Any) -> None:
    # Text only: the engine keeps a terminal's log as JSON.
    script = "test -t 1 && echo terminal; head -c 40000 /dev/zero | tr '\\0' x; echo; echo end"
    handle = bench.start(bench.plan("sh", "-c", script, config=RunConfig(tty=True)))
    assert bench.log(handle).replace(b"\r", b"") == b"terminal\n" + b"x" * 40000 + b"\nend\n"
    assert bench.again().find(handle.attempt_id) == handle


def test_both_outputs_and_a_reader_for_each_message(bench: Any) -> None:
    """Times of the two outputs are not in order; a new reader at every cursor still reads each line once."""
    script = "i=0; while [ $i -lt 40 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done"
    handle = bench.start(bench.plan("sh", "-c", script))
    bench.end(handle)
    found, cursor = b"", None
    reader = bench.again()

    def read() -> bool:
        nonlocal found, cursor, reader
        batch = reader.logs(handle, cursor, 7)
        found, cursor = found + batch.data, batch.cursor
        reader._tails.forget(handle.data["id"])
        return bool(batch.end)

    wait_until("all", read, seconds=60)
    lines = found.decode().splitlines()
    assert [line for line in lines if line.startswith("out")] == [f"out {number}" for number in range(40)]
    assert [line for line in lines if line.startswith("err")] == [f"err {number}" for number in range(40)]
    assert len(lines) == 80


def test_what_was_rotated_away_is_said(bench: Any) -> None:
    config = RunConfig(log_driver="json-file", log_max_size="100k", log_max_files=1)
    script = "echo first; while ! test -e /tmp/go; do usleep 10000; done; seq 1 200000; sleep 60"
    handle = bench.start(bench.plan("sh", "-c", script, config=config))
    wait_until("the first", lambda: bench.runner.logs(handle, None, 99).data == b"first\n")
    cursor = bench.runner.logs(handle, None, 99).cursor
    bench.runner._tails.forget(handle.data["id"])
    body = {"Cmd": ["touch", "/tmp/go"]}
    made = bench.engine.request("POST", f"/containers/{handle.data['id']}/exec", body=body).json()
    bench.engine.request("POST", f"/exec/{made['Id']}/start", body={"Detach": True})

    def said() -> bool:
        # Lines that come before the engine has rotated move the stream on; then this cursor opens a new one.
        batch = bench.runner.logs(handle, cursor, 100)
        return bool(batch.data) and batch.gap is not None

    wait_until("the gap is told", said)


def test_logs_of_what_is_gone(bench: Any) -> None:
    handle = bench.start(bench.plan("true"))
    bench.end(handle)
    bench.runner.cleanup(handle)
    with pytest.raises(Exception, match="gone"):
        bench.runner.logs(handle, None, 100)
