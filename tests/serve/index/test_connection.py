"""Reaching Milvus: one .db shared by processes, stale traces of dead owners, wrong addresses."""

import asyncio
import json
import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from conf.entry import FOLDER
from data.cluster.machine import process_start
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


TWO_ITEMS = pa.table({"row": [1, 2], "vector": pa.array([[1.0, 0.0], [0.0, 1.0]], pa.list_(pa.float32()))})
QUERY_D = np.array([1, 0], dtype=np.float32)


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


def test_an_owner_is_found_by_an_upgraded_process(config: IndexConfig) -> None:
    """Earlier versions wrote when the owner was started as a number, by the clock of that time."""
    owner = python(HOLD, config)
    assert owner.stdout is not None
    assert owner.stdout.readline().strip() == "held"
    written = json.loads(owner_file(config).read_text())
    owner_file(config).write_text(json.dumps(written | {"started": 1.5}))
    create(config, "shared")
    assert json.loads(owner_file(config).read_text())["pid"] == owner.pid
    owner.communicate("", timeout=60)


def test_a_stale_file_does_not_lead_into_a_strangers_database(config: IndexConfig, tmp_path: Path) -> None:
    """Its port is that of another project's Milvus Lite now."""
    theirs = IndexConfig(uri=str(tmp_path / "theirs" / "milvus.db"))
    stranger = python(HOLD, theirs)
    assert stranger.stdout is not None
    assert stranger.stdout.readline().strip() == "held"
    owner = json.loads(owner_file(theirs).read_text())
    owner_file(config).parent.mkdir(parents=True)
    for stale in (
        owner | {"path": config.uri, "pid": 2**22 - 3},  # its process is gone
        owner | {"path": config.uri, "started": "1"},  # its process id is another's now
        owner,  # of another .db
        {"pid": owner["pid"], "port": owner["port"]},  # by an earlier version
        {"pid": os.getpid(), "port": owner["port"], "path": config.uri, "started": process_start(os.getpid())},
    ):
        owner_file(config).write_text(json.dumps(stale))
        create(config, "mine")
        with connected(config) as client:
            client.drop_collection("mine", timeout=10)
    assert Path(config.uri).exists()
    stranger.communicate("", timeout=60)
    with connected(theirs) as client:
        assert client.list_collections(timeout=10) == []


async def test_an_open_index_survives_the_end_of_the_owner(config: IndexConfig) -> None:
    """Another process owned the .db; it ends, and this process becomes the owner."""
    write_collection(config, "twotower_ray_shared", [TWO_ITEMS], [], 2)
    owner = python(HOLD, config)
    assert owner.stdout is not None
    assert owner.stdout.readline().strip() == "held"
    index = MilvusIndex.open(config, "twotower_ray_shared", "r", 2, 2)
    assert (await index.search(QUERY_D, 1)).rows.tolist() == [1]
    owner.communicate("", timeout=60)
    deadline, failed = time.monotonic() + 60, 0
    while True:
        try:
            assert (await index.search(QUERY_D, 1)).rows.tolist() == [1]
            break
        except IndexUnavailable:
            failed += 1
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)
    assert failed, "the owner had ended"
    await index.close()


async def answers_again(index: MilvusIndex) -> None:
    for _ in range(300):
        with suppress(IndexUnavailable):
            await index.search(QUERY_D, 1)
            break
        await asyncio.sleep(0.2)
    assert (await index.search(QUERY_D, 1)).rows.tolist() == [1]
    await index.close()


async def test_a_collection_that_somebody_released_is_loaded_again(config: IndexConfig) -> None:
    with connected(config) as client:
        write_collection(config, "twotower_ray_released", [TWO_ITEMS], [], 2)
        index = MilvusIndex.open(config, "twotower_ray_released", "r", 2, 2)
        client.release_collection("twotower_ray_released", timeout=10)
        await answers_again(index)


async def test_a_collection_that_was_lost_is_searched_as_it_was_published_again(config: IndexConfig) -> None:
    before, now = "twotower_ray_lost", "twotower_ray_anew"
    with connected(config):
        write_collection(config, before, [TWO_ITEMS], [], 2)
        index = MilvusIndex.open(config, before, "r", 2, 2, collection_now=lambda: now)
        drop(config, before)
        write_collection(config, now, [TWO_ITEMS], [], 2)
        await answers_again(index)


@pytest.mark.parametrize("uri", ["http://127.0.0.1:1", "http://localhost", "http://no-such-host.invalid:19530"])
def test_a_wrong_address_is_known_at_once(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """pymilvus, which would retry for minutes, is not asked."""
    monkeypatch.setattr("serve.index.connection.MilvusClient", lambda **_: pytest.fail("pymilvus was asked"))
    with pytest.raises(IndexUnavailable, match=r"index\.uri: no Milvus at"), connected(IndexConfig(uri=uri)):
        pass


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
    index = MilvusIndex.open(IndexConfig(kind="milvus", uri=milvus_server), name, "r", size, dim)
    assert index.approximate, "whatever index.algorithm is when it is served"
    with asyncio.Runner() as runner:
        for query_D in rng.standard_normal((5, dim), dtype=np.float32):
            assert runner.run(found(query_D)) == (np.flatnonzero(rare) + 1).tolist()
        runner.run(index.close())
    drop(config, name)


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
