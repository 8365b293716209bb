"""The Dockerfile: hadolint takes it, and it has the pinned Ray and torch. Nothing here builds it."""

import re
import subprocess
import sys
from pathlib import Path

from serve.operations.nodes import INSTALLED_RAY
from tests.reporting.skipping import skip

ROOT = Path(__file__).parents[1]


def test_hadolint_takes_it() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        skip("hadolint is not installed", "pip install -e .[dev], then the same again")
    found = subprocess.run([hadolint, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


def test_it_has_the_pins() -> None:
    text = (ROOT / "Dockerfile").read_text()
    pins = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE))
    assert pins["ray"] == INSTALLED_RAY
    assert f"ARG RAY_VERSION={pins['ray']}" in text
    assert f"torch=={pins['torch']}" in text
    assert text.index("torch==") < text.index("COPY --chown=ray:users . .") < text.index("USER ")
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {"var", ".git", ".venv"} <= set(ignored)
