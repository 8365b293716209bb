"""What `make dist` makes: one version, and what users install is looked at."""

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools" / "dist"


@pytest.fixture
def make_dist(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    spec = importlib.util.spec_from_file_location("make_dist", TOOLS / "make_dist.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_client_and_the_changelog_name_the_version(make_dist: ModuleType) -> None:
    """And nothing else does, which would be forgotten."""
    version = make_dist.checked_version()
    for path in (*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "Dockerfile"):
        assert not re.search(rf"twotower[\w-]*.{re.escape(version)}", path.read_text()), path.name


def test_what_users_install_is_looked_at(make_dist: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extras that are not for whoever changes the project; they come after the smoke test."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(make_dist.EXTRAS) == set(project["optional-dependencies"]) - {"test", "dev", "bench"}
    commands: list[str] = []
    monkeypatch.setattr(make_dist, "run", lambda *command, **_: commands.append(" ".join(map(str, command))) or "[]")
    monkeypatch.setattr(make_dist, "DIST", TOOLS / "dist")
    monkeypatch.setattr(Path, "glob", lambda *_: iter([Path("a.whl")]))
    make_dist.add_extras(Path("bare"), "1")
    assert commands[0] == "bare/bin/python -m pip install -q -c constraints.txt a.whl[page,kafka]"
