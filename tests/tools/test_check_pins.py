"""`make pins` tells a set that does not resolve from an index that does not answer."""

import importlib.util
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "check_pins.py"
OFFLINE = """error: Request failed after 3 retries in 8.3s
  cause: Failed to fetch: https://pypi.org/simple/requests/
  cause: dns error
"""
UNSATISFIABLE = """error: No solution found when resolving dependencies
  cause: Because there is no version of requests==99.0 and you require requests==99.0, ...
"""


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_pins", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("said", "status"), [(OFFLINE, 3), (UNSATISFIABLE, 1)])
def test_what_uv_says_decides_the_exit_status(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, said: str, status: int
) -> None:
    """Both are words of uv 0.13."""
    failed = subprocess.CompletedProcess([], 1 if status == 1 else 2, stdout="", stderr=said)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    assert tool.main() == status


def test_one_that_does_not_resolve_counts_more_than_one_that_was_not_asked(tool: ModuleType) -> None:
    assert tool.status([None, None]) == 0
    assert tool.status([None, "no package index was reached: ..."]) == 3
    assert tool.status(["no package index was reached: ...", "constraints.txt does not pin x; add it"]) == 1
