"""A registry knows the names in its folder without importing a file, and imports the one that is asked for."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data.artifacts.errors import ConfigError
from data.artifacts.registry import Registry

Write = Callable[..., Registry[Any]]


@pytest.fixture
def kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Write:
    """Writes a package with a registry and files that register themselves; returns the registry."""
    package = f"kinds_{abs(hash(request.node.name))}"
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(**files: str) -> Registry[Any]:
        folder = tmp_path / package
        folder.mkdir()
        (folder / "__init__.py").write_text(
            f"from data.artifacts.registry import Registry\nKINDS = Registry('part.kind', '{package}')\n"
        )
        for name, text in files.items():
            (folder / f"{name}.py").write_text(f"from {package} import KINDS\n{text}")
        return sys.modules.get(package, __import__(package)).KINDS

    return write


def entry(name: str) -> str:
    return f"@KINDS.register({name})\ndef entry(): ...\n"


def imported(registry: Registry[Any]) -> set[str]:
    return {name.rpartition(".")[2] for name in sys.modules if name.startswith(f"{registry._package}.")}


def test_a_name_is_known_before_its_file_is_imported(kinds: Write) -> None:
    registry = kinds(one=entry("'one'"), two=entry('"two"'), neither="")
    registry.require("one")
    assert "two" in registry
    assert imported(registry) == set()
    assert registry["one"].__name__ == "entry"
    assert imported(registry) == {"one"}
    assert list(registry) == ["one", "two"]


def test_a_name_that_only_the_running_code_tells_is_found(kinds: Write) -> None:
    registry = kinds(one=entry("'one'"), computed=entry("'com' + 'puted'"))
    registry.require("computed")
    assert "computed" in registry


def test_an_unknown_name(kinds: Write) -> None:
    registry = kinds(one=entry("'one'"), two=entry("'two'"))
    assert "three" not in registry
    with pytest.raises(ConfigError, match=r"^part\.kind: 'three' is unknown; known are one, two$"):
        registry.require("three")


def test_two_files_with_one_name(kinds: Write) -> None:
    registry = kinds(one=entry("'one'"), other=entry("'one'"))
    with pytest.raises(ConfigError, match=r"one\.entry and \w+\.other\.entry both register the name 'one'"):
        registry["one"]


def test_code_from_elsewhere_does_not_replace_a_file_that_is_not_imported_yet(kinds: Write) -> None:
    registry = kinds(one=entry("'one'"))
    with pytest.raises(ConfigError, match=r"\.one and tests\..*mine both register the name 'one'; rename one"):

        @registry.register("one")
        def mine() -> None: ...

    assert registry["one"].__name__ == "entry"
