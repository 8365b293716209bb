"""Continuous integration installs the programs that tests ask for, and then lets none of them be skipped."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".ci" / "run"


def test_what_tests_ask_for_is_installed() -> None:
    """A test that lacks a program names its Debian package."""
    texts = [path.read_text() for path in (ROOT / "tests").rglob("*.py") if path.name != "test_skipping.py"]
    asked = {name for text in texts for name in re.findall(r"apt-get install ([\w-]+), then", text)}
    (parts,) = re.findall(r'^ *parts="(.*)"$', SCRIPT.read_text(), re.MULTILINE)
    assert asked == set(parts.split())


def test_where_all_of_it_is_there_a_skipped_test_is_an_error() -> None:
    assert "export ALL_MUST_RUN=1" in SCRIPT.read_text()
    assert subprocess.run(["bash", "-n", SCRIPT]).returncode == 0
