"""Run ``make demo`` and put what it prints into README.md, between the markers, as it came.

``python -m scripts.transcript`` (``make transcript``). Ids, times and ages are those of that run; only
escape sequences are taken out. It runs in a directory that says nothing about whose machine it was.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "README.md"
PLACE = Path("/tmp/launch-demo")  # noqa: S108 (it is shown to the reader)
COMMAND = ("make", "--no-print-directory", "demo", f"DEMO_ARGS=--directory {PLACE}")
BEGIN = "<!-- transcript: begin, written by `make transcript` -->"
END = "<!-- transcript: end -->"


def printable(output: str) -> str:
    """Without colours, without what a carriage return has overwritten, without trailing spaces."""
    output = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07]*\x07", "", output)
    lines = [line.rsplit("\r", 1)[-1].rstrip() for line in output.replace("\r\n", "\n").split("\n")]
    return "\n".join(lines).strip("\n")


def splice(page: str, transcript: str) -> str:
    """The page with the text between the markers replaced."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has lost its markers")
    command = f'$ make demo DEMO_ARGS="--directory {PLACE}"'
    return f"{head}{begin}\n```text\n{command}\n{transcript}\n```\n{end}{tail}"


def main() -> int:
    shutil.rmtree(PLACE, ignore_errors=True)
    done = subprocess.run(
        COMMAND,
        cwd=ROOT,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(done.stdout)
    if done.returncode != 0 or "```" in done.stdout:
        print(f"the demo ended with {done.returncode}: README.md is as it was", file=sys.stderr)
        return 1
    PAGE.write_text(splice(PAGE.read_text(), printable(done.stdout)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
