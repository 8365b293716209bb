"""Reaching Milvus: one .db shared by processes, stale traces of dead owners, wrong addresses."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conf.entry import FOLDER
from serve.index import IndexConfig, IndexUnavailable
from serve.milvus import connected, reached

LIST = """
import sys
from serve.index import IndexConfig
from serve.milvus import connected
with connected(IndexConfig(uri=sys.argv[1])) as client:
    print(client.list_collections())
"""

HOLD = """
import sys
from serve.index import IndexConfig
from serve.milvus import connected
with connected(IndexConfig(uri=sys.argv[1])) as client:
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def config(tmp_path: Path) -> IndexConfig:
    return IndexConfig(uri=str(tmp_path / "deep" / "milvus.db"))


def python(code: str, config: IndexConfig) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", code, config.uri], cwd=FOLDER.parent, stdin=pipe, stdout=pipe, text=True
    )


def owner_file(config: IndexConfig) -> Path:
    return Path(f"{config.uri}.owner.json")


def create(config: IndexConfig, name: str) -> None:
    with connected(config) as client:
        client.create_collection(name, dimension=4, timeout=10)


def test_another_process_goes_through_the_owner(config: IndexConfig) -> None:
    with reached(config):
        create(config, "mine")
        out, _ = python(LIST, config).communicate(timeout=60)
    assert out.strip() == "['mine']"
    assert not owner_file(config).exists()


def test_this_process_goes_through_another_owner(config: IndexConfig) -> None:
    owner = python(HOLD, config)
    assert owner.stdout is not None
    assert owner.stdout.readline().strip() == "held"
    create(config, "theirs")
    owner.communicate("", timeout=60)
    with connected(config) as client:
        assert client.list_collections(timeout=10) == ["theirs"]


def test_a_dead_owner_is_taken_over(config: IndexConfig) -> None:
    owner = python(HOLD, config)
    assert owner.stdout is not None
    assert owner.stdout.readline().strip() == "held"
    owner.kill()
    owner.communicate()
    assert json.loads(owner_file(config).read_text())["pid"] == owner.pid
    create(config, "mine")


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1", "http://localhost", "http://no-such-host.invalid:19530"])
def test_a_wrong_address_is_known_at_once(uri: str) -> None:
    """pymilvus alone would retry for minutes."""
    started = time.monotonic()
    with pytest.raises(IndexUnavailable, match=r"index\.uri: no Milvus at"), connected(IndexConfig(uri=uri)):
        pass
    assert time.monotonic() - started < 30
