"""`make test` and `make test-slow`: Ctrl-C ends all that they have started, and ARGS are passed on as typed."""

import os
import re
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

FAILS = '#!/bin/sh\necho "$@" >> "{log}"\nexit 1\n'


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


NOTICES = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execvp(sys.argv[1], sys.argv[1:])"
"""Runs a command that notices Ctrl-C, also where these tests run in the background of a script."""


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
    command = [sys.executable, "-c", NOTICES, "make", "test", venv(f'#!/bin/sh\nexec {sys.executable} "$@"\n')]
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


def calls(tmp_path: Path, environment: dict[str, str], arguments: list[str]) -> list[str]:
    """The calls of pytest by `make test-slow`, where each fails."""
    log = tmp_path / "log"
    log.touch()
    done = subprocess.run(["make", "test-slow", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert "yntax error" not in done.stderr
    return [line for line in log.read_text().splitlines() if " pytest " in f" {line} "]


def test_arguments_in_quotes_are_passed_on(
    tmp_path: Path, environment: dict[str, str], venv: Callable[[str], str]
) -> None:
    folder = venv(FAILS.format(log=tmp_path / "log"))
    parts = calls(tmp_path, environment, [folder, 'ARGS=-k "promote or rollback"'])
    assert len(parts) == 3
    assert all(part.endswith(" -m slow -k promote or rollback") for part in parts)


@pytest.mark.parametrize("stops", ["-x", "--exitfirst"])
def test_the_first_failure_ends_all_parts_where_it_is_to(
    tmp_path: Path, environment: dict[str, str], venv: Callable[[str], str], stops: str
) -> None:
    folder = venv(FAILS.format(log=tmp_path / "log"))
    assert len(calls(tmp_path, environment, [folder, f"ARGS={stops} -k 'a or b'"])) == 1


def test_the_list_of_targets_needs_no_gnu_sed() -> None:
    """macOS wrote `t` for a tab."""
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.search(r"^clean {11}removes the virtual environments", done.stdout, re.MULTILINE)
    assert not re.search(r"\bsed\b.*\\t", (ROOT / "Makefile").read_text())
