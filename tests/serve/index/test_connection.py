"""Reaching Milvus: one .db shared by processes, stale traces of dead owners, wrong addresses."""

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from conf.entry import FOLDER
from data.sources.schema import Feature, FeatureKind
from serve.filters.grammar import parse
from serve.index.collection import drop, write_collection
from serve.index.config import Algorithm, IndexConfig
from serve.index.connection import connected, milvus_address
from serve.index.milvus_index import MilvusIndex
from serve.index.protocol import IndexUnavailable

LIST = """
import sys
from serve.index.config import IndexConfig
from serve.index.connection import connected
with connected(IndexConfig(uri=sys.argv[1])) as client:
    print(client.list_collections())
"""

HOLD = """
import sys
from serve.index.config import IndexConfig
from serve.index.connection import connected
with connected(IndexConfig(uri=sys.argv[1])) as client:
    print("held", flush=True)
    sys.stdin.read()
"""

FORK = """
import subprocess, sys
from serve.index.config import IndexConfig
from serve.index.connection import connected
ended = []
with connected(IndexConfig(uri=sys.argv[1])) as client:
    for number in range(1_500):
        if number % 3 == 0:
            client.list_collections()
        ended.append(subprocess.run(["true"], preexec_fn=lambda: None).returncode)
print(len(ended), set(ended))
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
    with milvus_address(config):
        create(config, "mine")
        out, _ = python(LIST, config).communicate(timeout=600)
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


@pytest.mark.slow
def test_a_server_searches_by_the_index_that_was_asked_for_at_once(milvus_server: str) -> None:
    """What was loaded before its index was built is searched by a makeshift one, which misses most under a filter."""
    size, dim, name = 50_000, 32, "twotower_ray_at_once"
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((size, dim), dtype=np.float32)
    rare = np.arange(size) % 500 == 3
    table = pa.table(
        {
            "row": pa.array(range(1, size + 1), pa.int32()),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), dim),
            "group": np.where(rare, "rare", "common").tolist(),
        }
    )
    features = (Feature(name="group", kind=FeatureKind.categorical),)
    config = IndexConfig(kind="milvus", uri=milvus_server, algorithm=Algorithm.hnsw)
    write_collection(config, name, (table.slice(at, 5000) for at in range(0, size, 5000)), features, dim)

    async def found(query_D: np.ndarray) -> list[int]:
        hits = await index.search(query_D, int(rare.sum()), filter=only_rare)
        return sorted(hits.rows.tolist())

    only_rare = parse({"field": "group", "op": "==", "value": "rare"}, features)
    index = MilvusIndex.open(config, name, "r", size, dim)
    with asyncio.Runner() as runner:
        for query_D in rng.standard_normal((5, dim), dtype=np.float32):
            assert runner.run(found(query_D)) == (np.flatnonzero(rare) + 1).tolist()
        runner.run(index.close())
    with connected(config) as client:
        client.drop_collection(name, timeout=10)


def test_somebody_elses_collection_is_not_dropped_whatever_its_name(config: IndexConfig) -> None:
    create(config, "twotower_ray_not_ours")
    with pytest.raises(IndexUnavailable, match="twotower_ray_not_ours: is not one that serve.publish made; nothing"):
        drop(config, "twotower_ray_not_ours")
    with connected(config) as client:
        assert client.has_collection("twotower_ray_not_ours", timeout=10)
    drop(config, "twotower_ray_never_there")


@pytest.mark.slow
def test_processes_are_started_while_milvus_is_spoken_to(config: IndexConfig) -> None:
    """As Ray starts its own, by a fork: gRPC's handlers aborted one in 130 (grpcio 1.85)."""
    output, _ = python(FORK, config).communicate(timeout=1800)
    assert output == "1500 {0}\n"
