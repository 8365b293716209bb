"""The client needs neither Ray nor torch, and is installed by itself."""

import ast
import re
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
TOP_LEVEL_MODULES = "import sys, serve.client; print(*{name.split('.')[0] for name in sys.modules})"


def test_the_client_imports_no_other_library_of_the_stack() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TOP_LEVEL_MODULES], cwd=REPOSITORY, check=True, capture_output=True, text=True
    )
    imported = set(done.stdout.split())
    assert {"serve", "pydantic", "httpx"} <= imported
    assert not imported & HEAVY


def test_the_client_packs_what_it_imports() -> None:
    code = "import sys, serve.client; print(*(name for name in sys.modules if name.split('.')[0] == 'serve'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True, capture_output=True, text=True)
    packed = set(packed_modules())
    packages = {
        str(parent).replace("/", ".") for name in packed for parent in Path(name.replace(".", "/")).parents[:-1]
    }
    assert set(done.stdout.split()) == packed | packages


def test_the_clients_readme_names_what_it_packs() -> None:
    _, _, holds = (REPOSITORY / "client" / "README.md").read_text().partition("The distribution holds")
    assert set(re.findall(r"`(serve\.[a-z_.]+)`", holds)) == set(packed_modules())


def packed_modules() -> list[str]:
    """The modules that the client's `setup.py` names."""
    for statement in ast.parse((REPOSITORY / "client" / "setup.py").read_text()).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "MODULES":
            modules: list[str] = ast.literal_eval(statement.value)
            return modules
    raise AssertionError("client/setup.py names no MODULES")


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
    files = {str(file.relative_to(installed)) for file in installed.rglob("*.py") if file.name != "__init__.py"}
    assert files == {f"{name.removeprefix('serve.').replace('.', '/')}.py" for name in packed_modules()}
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"], check=True, capture_output=True, text=True
    ).stdout
    names = {line.split("==")[0].lower() for line in listed.split()}
    assert "twotower-client" in names
    assert not names & HEAVY
