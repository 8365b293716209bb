"""The last lines of a run say what was skipped, why, and what to type."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.reporting.skipping import CURE, NEEDS_GPU, lines, main

ROOT = Path(__file__).parents[2]

SKIPPING = """
import pytest
from tests.reporting.skipping import SkipReporter, skip
def test_server():
    skip("there is no server", "make server")
@pytest.mark.parametrize("n", range(2))
def test_data(n):
    skip("there are no data", "DATASETS=/where/they/lie make test")
def test_runs(): pass
@pytest.mark.slow
def test_slow(): pass
"""


def run(folder: Path, **environment: str) -> str:
    (folder / "test_it.py").write_text(SKIPPING)
    code = (
        "import sys, pytest, tests.reporting.skipping as skipping;"
        " sys.exit(pytest.main(sys.argv[1:], [skipping.SkipReporter()]))"
    )
    options = ["-q", "-p", "no:cacheprovider", "-c", "/dev/null", "-W", "ignore", "-m", "not slow", str(folder)]
    done = subprocess.run(
        [sys.executable, "-c", code, *options], cwd=ROOT, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_one_run_tells_it_at_its_end(tmp_path: Path) -> None:
    said = run(tmp_path)
    assert "skipped: 2 tests, there are no data. To run them: DATASETS=/where/they/lie make test\n" in said
    assert "skipped: 1 test, there is no server. To run them: make server\n" in said


def test_parts_of_a_run_are_told_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALL_MUST_RUN", raising=False)
    parts = tmp_path / "parts"
    parts.mkdir()
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        assert "To run them" not in run(tmp_path / name, SHARED_ARTIFACTS=str(parts))
    assert main(str(parts)) == 0
    assert capsys.readouterr().out.splitlines() == [
        "skipped: 4 tests, there are no data. To run them: DATASETS=/where/they/lie make test",
        "skipped: 2 tests, there is no server. To run them: make server",
        "not asked for: 2 slow tests. To run them: make test-slow",
    ]


def test_where_all_must_run_a_gpu_alone_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_MUST_RUN", "1")
    assert main(str(tmp_path)) == 0
    (tmp_path / "skipped-1.json").write_text(f'{{"reasons": {{"{NEEDS_GPU}": 1}}, "slow": 0}}')
    assert main(str(tmp_path)) == 0
    (tmp_path / "skipped-2.json").write_text('{"reasons": {"there is no server": 1}, "slow": 0}')
    assert main(str(tmp_path)) == 1


def test_nothing_skipped_is_said_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(str(tmp_path)) == 0
    assert capsys.readouterr().out.strip() == "no test was skipped"


def test_a_reason_without_a_command_is_told_as_it_is() -> None:
    assert list(lines(Counter({"so it is": 1}), 0)) == ["skipped: 1 test, so it is"]
    assert CURE not in "so it is"


def test_every_skip_says_what_to_type() -> None:
    allowed = {"tests/reporting/skipping.py", "tests/reporting/test_skipping.py"}
    others = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tests").rglob("*.py")
        if re.search(r"pytest\.(skip|importorskip)\(|mark\.skip", path.read_text())
    ]
    assert set(others) <= allowed, "use tests.reporting.skipping.skip, which takes a command"
