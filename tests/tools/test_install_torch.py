"""Which build of torch is installed, from where, and what is said about it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "install-torch"
FAKE = """#!/bin/sh
case "$1" in -c) [ -n "{has}" ] && echo {has} || exit 1 ;; *) echo "$*" >> "{log}"; exit {fails} ;; esac
"""


@pytest.fixture
def install(tmp_path: Path) -> Callable[..., tuple[subprocess.CompletedProcess[str], str]]:
    """Installs into an environment that has this torch; returns the outcome, and what pip was called with."""

    def run(*arguments: str, has: str = "", fails: int = 0) -> tuple[subprocess.CompletedProcess[str], str]:
        log = tmp_path / "pip"
        log.write_text("")
        python = tmp_path / "python"
        python.write_text(FAKE.format(has=has, log=log, fails=fails))
        python.chmod(0o755)
        done = subprocess.run(["/bin/sh", SCRIPT, python, *arguments], capture_output=True, text=True)
        return done, log.read_text()

    return run


Install = Callable[..., tuple[subprocess.CompletedProcess[str], str]]
VERSION = next(
    line.partition("==")[2]
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line.startswith("torch==")
)


def test_pip_chooses_and_no_index_is_added_unasked(install: Install) -> None:
    done, called = install("", "")
    assert done.returncode == 0
    assert called.rstrip().endswith(f" torch=={VERSION}")
    assert "index" not in called


def test_a_build_that_is_asked_for(install: Install) -> None:
    local = "+cpu" if sys.platform == "linux" else ""
    assert install("cpu", "")[1].rstrip().endswith(f" torch=={VERSION}{local}")
    assert install("cuda", "")[1].rstrip().endswith(f" torch==={VERSION}")
    assert "--extra-index-url https://example.org/cpu" in install("cpu", "https://example.org/cpu")[1]


def test_torch_that_is_there_is_not_fetched_again(install: Install) -> None:
    for has in (VERSION, f"{VERSION}+cu130"):
        done, called = install("", "", has=has)
        assert (done.returncode, called, done.stdout.strip()) == (0, "", f"torch {has} is here already")
    assert install("", "", has="1.0.0")[1]
    assert install("cpu", "", has=f"{VERSION}+cu130")[1], "another build was asked for"


def test_a_build_that_pip_does_not_find_ends_in_one_line(install: Install) -> None:
    done, _ = install("cpu", "", fails=1)
    assert done.returncode == 2
    assert f"error: TORCH=cpu: pip finds no build of torch {VERSION} without CUDA; add TORCH_INDEX=" in done.stderr


def test_another_word_is_refused(install: Install) -> None:
    done, called = install("gpu", "")
    assert (done.returncode, called) == (2, "")
    assert done.stderr.strip() == "error: TORCH=gpu: must be cpu or cuda, or be left out"


def test_an_interpreter_that_has_the_pinned_version_is_known(tmp_path: Path) -> None:
    def has(version: str) -> int:
        found = tmp_path / version / f"torch-{version}.dist-info"
        found.mkdir(parents=True)
        (found / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
        environment = {**os.environ, "PYTHONPATH": str(found.parent)}
        command = [sys.executable, ROOT / "tools" / "installed.py", "torch"]
        return subprocess.run(command, env=environment).returncode

    assert [has(v) for v in (VERSION, f"{VERSION}+cu130", "1.0.0")] == [0, 0, 1]
