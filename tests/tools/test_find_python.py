"""`make` takes the newest supported interpreter; anything else is one clear line."""

import os
import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "find-python"
FAKE = """#!/bin/sh
case "$2" in *ensurepip*) exit {no_venv} ;; *) echo {version} ;; esac
"""


@pytest.fixture
def interpreters(tmp_path: Path) -> Callable[..., Path]:
    """Puts interpreters of these names and versions into the one folder of PATH, those of `bare` without venv."""

    def write(bare: tuple[str, ...] = (), **versions: str) -> Path:
        for name, version in versions.items():
            path = tmp_path / name.replace("_", ".")
            path.write_text(FAKE.format(version=version, no_venv=int(name in bare)))
            path.chmod(0o755)
        return tmp_path

    return write


def find(path: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit status, what it prints, and what it says."""
    done = subprocess.run(
        ["/bin/sh", SCRIPT, *arguments], env={"PATH": str(path), "HOME": str(path)}, capture_output=True, text=True
    )
    assert done.stderr.count("\n") <= 1
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def test_the_newest_is_taken_and_said(interpreters: Callable[..., Path]) -> None:
    path = interpreters(python3_11="3.11.9", python3_12="3.12.3", python3="3.11.9")
    assert find(path) == (0, f"{path}/python3.12", f"taking Python 3.12.3 ({path}/python3.12)")


def test_a_python3_will_do(interpreters: Callable[..., Path]) -> None:
    path = interpreters(python3="3.13.1")
    assert find(path)[:2] == (0, f"{path}/python3")


def test_a_shim_that_leads_nowhere_is_passed_over(interpreters: Callable[..., Path]) -> None:
    path = interpreters(python3_12="3.12.3")
    (path / "python3.13").write_text("#!/bin/sh\nexit 127\n")
    (path / "python3.13").chmod(0o755)
    assert find(path)[1] == f"{path}/python3.12"


def test_one_without_venv_is_passed_over_or_named_with_the_cure(interpreters: Callable[..., Path]) -> None:
    path = interpreters(bare=("python3_12",), python3_12="3.12.3")
    status, printed, said = find(path)
    assert (status, printed) == (2, "")
    assert "apt-get install python3.12-venv" in said
    assert find(interpreters(python3_11="3.11.9"))[1] == f"{path}/python3.11"


def test_none_in_the_range(interpreters: Callable[..., Path]) -> None:
    status, printed, said = find(interpreters(python3="3.10.12"))
    assert (status, printed) == (2, "")
    assert said == (
        "error: no Python of 3.13 3.12 3.11 on PATH; python3 is 3.10.12; install one, or pass PYTHON=/path/to/one"
    )


def test_the_one_that_is_named(interpreters: Callable[..., Path]) -> None:
    path = interpreters(python3_11="3.11.9", python3_12="3.12.3", old="3.9.1")
    assert find(path, f"{path}/python3.11")[1] == f"{path}/python3.11"
    assert (
        find(path, f"{path}/old")[2]
        == f"error: PYTHON={path}/old is Python 3.9.1; this needs one of Python 3.13 3.12 3.11"
    )
    assert find(path, "/nowhere")[2] == "error: PYTHON=/nowhere does not run; this needs one of Python 3.13 3.12 3.11"


def test_another_than_the_first(interpreters: Callable[..., Path]) -> None:
    path = interpreters(python3_11="3.11.9", python3_12="3.12.3")
    assert find(path, "--other", f"{path}/python3.12")[1] == f"{path}/python3.11"
    (path / "python3.11").unlink()
    assert find(path, "--other", f"{path}/python3.12") == (0, "", "")


def test_the_distribution_says_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    supported = re.findall(r"^SUPPORTED=\"(.*)\"$", SCRIPT.read_text(), re.MULTILINE)[0].split()
    marked = {c.rsplit(" ", 1)[1] for c in project["classifiers"] if re.search(r"Python :: 3\.\d+$", c)}
    assert marked == set(supported)
    (low, high) = re.findall(r"\d+", project["requires-python"].replace("3.", ""))
    assert [f"3.{minor}" for minor in range(int(high) - 1, int(low) - 1, -1)] == supported


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment}
    )


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A virtual environment, as it were, of Python 3.11.9."""
    inside = tmp_path / "venv" / "bin" / "python"
    inside.parent.mkdir(parents=True)
    inside.write_text(FAKE.format(version="3.11.9", no_venv=0))
    inside.chmod(0o755)
    return tmp_path / "venv"


def test_make_refuses_another_interpreter_than_that_of_its_environment(
    interpreters: Callable[..., Path], environment: Path
) -> None:
    path = interpreters(python3_12="3.12.3")
    done = make("demo", f"PYTHON={path}/python3.12", f"VENV={environment}")
    assert done.returncode == 2
    assert (
        f"error: {environment} has Python 3.11.9, and PYTHON={path}/python3.12 is 3.12.3: make clean,"
        " or pass VENV= with another folder" in done.stderr
    )


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("{path}/old", "error: PYTHON={path}/old is Python 3.9.1; this needs one of Python 3.13 3.12 3.11"),
        ("/nowhere", "error: PYTHON=/nowhere does not run; this needs one of Python 3.13 3.12 3.11"),
    ],
)
def test_make_refuses_what_is_not_supported_also_beside_an_environment(
    named: str, message: str, interpreters: Callable[..., Path], environment: Path
) -> None:
    path = interpreters(old="3.9.1")
    done = make("demo", f"PYTHON={named.format(path=path)}", f"VENV={environment}")
    assert done.returncode == 2
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert said == [message.format(path=path)]
