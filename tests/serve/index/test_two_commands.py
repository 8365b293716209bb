"""Two commands at once on one .db of Milvus Lite: neither takes it away from the other."""

import json
import subprocess
from pathlib import Path

import pytest

from serve.index import connection
from serve.index.config import IndexConfig
from serve.index.connection import connected
from tests.serve.index.test_connection import HOLD, config, create, owner_file, python

__all__ = ["config"]


def owner_of(config: IndexConfig) -> subprocess.Popen[str]:
    owner = python(HOLD, config)
    assert owner.stdout is not None
    assert owner.stdout.readline().strip() == "held"
    return owner


def test_the_one_that_ends_first_serves_the_other_until_that_ends_too(config: IndexConfig) -> None:
    """A publishing that had its collection written through another command failed when that ended."""
    owner = owner_of(config)
    with connected(config) as client:
        client.create_collection("mine", dimension=4, timeout=10)
        assert owner.stdin is not None
        owner.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            owner.wait(1)
        assert client.list_collections(timeout=10) == ["mine"]
    assert owner.wait(60) == 0
    assert not owner_file(config).exists()


def test_one_that_was_slower_to_open_it_leaves_the_trace_of_the_other(
    config: IndexConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took itself for the owner and removed the file that leads to it, so that a third command found nobody."""
    owner, found, looks = owner_of(config), connection._owner_address, list[Path]()

    def looks_too_early(path: Path) -> str | None:
        looks.append(path)
        return found(path) if len(looks) > 1 else None

    monkeypatch.setattr(connection, "_owner_address", looks_too_early)
    create(config, "mine")
    assert json.loads(owner_file(config).read_text())["pid"] == owner.pid
    owner.communicate("", timeout=60)
