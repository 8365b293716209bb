"""The client needs neither Ray nor torch, and is installed by itself."""

import shutil
import subprocess
import sys
import tomllib
import venv
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[3]
HEAVY = {"ray", "torch", "fastapi", "numpy", "pyarrow", "pymilvus", "hydra"}
MODULES = {
    "__init__.py",
    "client.py",
    "api/__init__.py",
    "api/events/__init__.py",
    "api/events/schemas.py",
    "api/events/sender.py",
    "api/limits.py",
    "api/problems.py",
    "api/schemas.py",
    "pipeline/__init__.py",
    "pipeline/source.py",
}
TOP_LEVEL_MODULES = "import sys, serve.client; print(*{name.split('.')[0] for name in sys.modules})"


def test_the_client_imports_no_other_library_of_the_stack() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOP_LEVEL_MODULES], cwd=REPOSITORY, check=True, capture_output=True, text=True
    )
    imported = set(done.stdout.split())
    assert {"serve", "pydantic", "httpx"} <= imported
    assert not imported & HEAVY


def project(path: Path) -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads(path.read_text())["project"]
    return project


def test_the_distributions_agree() -> None:
    client, stack = project(REPOSITORY / "client" / "pyproject.toml"), project(REPOSITORY / "pyproject.toml")
    assert client["version"] == stack["version"]
    assert set(client["dependencies"]) <= set(stack["dependencies"])


@pytest.mark.slow
def test_the_client_installs_where_there_is_no_ray_and_no_torch(tmp_path: Path) -> None:
    """In a virtual environment of its own, from a copy of the repository, in which the build may leave files."""
    clone, environment = tmp_path / "clone", tmp_path / "venv"
    for folder in ("client", "serve"):
        ignored = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
        shutil.copytree(REPOSITORY / folder, clone / folder, ignore=ignored)
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", clone / "client"], check=True, cwd=tmp_path)
    code = "from serve.client import RecommendClient; RecommendClient().close(); import serve; print(serve.__file__)"
    done = subprocess.run([python, "-c", code], check=True, cwd=tmp_path, capture_output=True, text=True)
    installed = Path(done.stdout.strip()).parent
    assert installed.is_relative_to(environment)
    assert {str(file.relative_to(installed)) for file in installed.rglob("*.py")} == MODULES
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"], check=True, capture_output=True, text=True
    ).stdout
    names = {line.split("==")[0].lower() for line in listed.split()}
    assert "twotower-client" in names
    assert not names & HEAVY
