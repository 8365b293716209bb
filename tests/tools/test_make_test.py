"""`make test`: Ctrl-C ends all that it has started."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WAITS = """
import os, sys, time

def console_main():
    name = f"{os.environ['BEGUN']}/{os.getpid()}"
    open(name + ".new", "w").close()
    os.rename(name + ".new", name)
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        time.sleep(0.3)  # what fixtures have started is ended
        return 2

if __name__ == "__main__":
    sys.exit(console_main())
"""
"""Stands for pytest: a part of the tests that takes a while."""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Not that of the `make` that runs these tests."""
    left_out = ("MAKE", "MFLAGS", "ARGS", "SHARED_ARTIFACTS", "VENV", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    (tmp_path / "tmp").mkdir()
    return {**kept, "TMPDIR": str(tmp_path / "tmp"), "BEGUN": str(tmp_path / "begun"), "PYTHONPATH": str(tmp_path)}


@pytest.fixture
def venv(tmp_path: Path) -> Callable[[str], str]:
    """The argument of make by which a script stands for the interpreter of a finished environment."""

    def make(script: str) -> str:
        python = tmp_path / "venv" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.write_text(script)
        python.chmod(0o755)
        (tmp_path / "venv" / ".ready").touch()
        return f"VENV={tmp_path / 'venv'}"

    return make


def is_alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def test_ctrl_c_ends_every_part(tmp_path: Path, environment: dict[str, str], venv: Callable[[str], str]) -> None:
    """The two in the background went on, for minutes and on all cores."""
    (tmp_path / "pytest.py").write_text(WAITS)
    begun = tmp_path / "begun"
    begun.mkdir()
    command = ["make", "test", venv(f'#!/bin/sh\nexec {sys.executable} "$@"\n')]
    running = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    try:
        ends = time.monotonic() + 60
        while len(parts := [int(path.name) for path in begun.glob("*[0-9]")]) < 3:
            assert time.monotonic() < ends, "three parts begin"
            time.sleep(0.05)
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(30) != 0
        assert not [pid for pid in parts if is_alive(pid)]
        assert not list((tmp_path / "tmp").iterdir()), "what the parts shared is removed"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
