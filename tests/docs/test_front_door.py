"""The Makefile, the lock, the CI script and the tools behind them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from scripts import check_lock, check_skips, transcript
from tests.docs.markdown import ROOT

PYPROJECT = (ROOT / "pyproject.toml").read_text()
LOCK = (ROOT / "requirements.lock").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()


def test_lock_fits_the_project() -> None:
    assert check_lock.problems(PYPROJECT, LOCK) == []


@pytest.mark.parametrize(
    ("pyproject", "lock", "problem"),
    [
        (PYPROJECT.replace('"attrs>=', '"attrs>=9'), LOCK, "does not allow the pinned"),
        (PYPROJECT.replace('"attrs>=', '"atoms>=1", "attrs>='), LOCK, "atoms>=1 is not in the lock"),
        (PYPROJECT, LOCK + "\nleft-pad==1.0\n", "left-pad has no hash"),
        (PYPROJECT, "--index-url https://mirror.example.com/simple\n" + LOCK, "names a host"),
    ],
)
def test_lock_that_does_not_fit_is_told(pyproject: str, lock: str, problem: str) -> None:
    assert any(problem in line for line in check_lock.problems(pyproject, lock))


def test_every_target_is_in_make_help() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    explained = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))

    assert set(phony.split()) == explained


@pytest.mark.parametrize("script", ["scripts/setup.sh", ".ci/run"])
def test_shell_scripts_parse_and_can_be_executed(script: str) -> None:
    path = ROOT / script
    shell = path.read_text().splitlines()[0].split("/")[-1].split()[-1]

    assert subprocess.run([shell, "-n", path], check=False).returncode == 0
    assert path.stat().st_mode & 0o111


# --- skips --------------------------------------------------------------------------------------


def report(tmp_path: Path, cases: str) -> Path:
    file = tmp_path / "report.xml"
    file.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    return file


RAN = '<testcase classname="tests.a" name="test_b"/>'
SKIPPED = (
    '<testcase classname="tests.a" name="test_c"><skipped type="pytest.skip" message="no GPU"/></testcase>'
)
EXPECTED = '<testcase classname="tests.a" name="test_d"><skipped type="pytest.xfail" message="x"/></testcase>'


def test_skip_without_leave_is_found(tmp_path: Path) -> None:
    assert check_skips.look(report(tmp_path, RAN + SKIPPED), []) == (2, ["tests.a::test_c: no GPU"])


def test_skip_with_leave_and_expected_failure_are_fine(tmp_path: Path) -> None:
    assert check_skips.look(report(tmp_path, SKIPPED + EXPECTED), ["tests.a::test_?"]) == (2, [])


def test_report_without_tests_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_skips.main([str(report(tmp_path, ""))]) == 1
    assert check_skips.main([str(tmp_path / "missing.xml")]) == 1
    assert "no test ran" in capsys.readouterr().out


def test_allowed_skip_needs_a_reason() -> None:
    with pytest.raises(ValueError, match="no reason"):
        check_skips.allowed("tests.a::test_b\n")
    assert check_skips.allowed("# comment\ntests.gpu.*  no machine of ours has one\n") == {
        "tests.gpu.*": "no machine of ours has one"
    }


# --- the transcript -----------------------------------------------------------------------------


def test_transcript_is_what_a_reader_would_have_seen() -> None:
    output = "\x1b[1mepoch 1\x1b[0m\rdone   \r\n\x1b]8;;x\x07link\n\n"

    assert transcript.printable(output) == "done\nlink"


def test_transcript_goes_between_its_markers() -> None:
    page = f"before\n{transcript.BEGIN}\nold\n{transcript.END}\nafter\n"

    written = transcript.splice(page, "new")

    assert written == transcript.splice(written, "new")
    assert "old" not in written
    assert written.startswith("before\n")
    assert written.endswith("\nafter\n")
    with pytest.raises(ValueError, match="markers"):
        transcript.splice("no markers", "new")
