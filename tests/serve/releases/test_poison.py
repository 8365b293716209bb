"""Poisoned releases, each sealed anew so that its checksums fit: refused before they take traffic, with the reason."""

import asyncio
import json
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.torch
import torch

from conf.schema import Config
from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.seals import fingerprint
from serve.deployment.replica import ReplicaSettings
from serve.deployment.stages.local import build_reranker, build_retriever, build_user_encoder
from serve.index.collection import drop, write_collection
from serve.index.protocol import made_again
from serve.releases.golden_queries import GOLDEN_FILE, check_items
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release
from serve.rollout.follower import ReleaseFollower
from serve.rollout.follower_config import FollowerConfig
from serve.rollout.promotion import promote
from serve.rollout.two_phase import roll_out

pytestmark = pytest.mark.slow

MODEL = "model.safetensors"
SEED = 3


class Bomb:
    """Unpickled, it would leave a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.trace,)


def pickled(folder: Path) -> None:
    (folder / MODEL).write_bytes(pickle.dumps(Bomb(folder / "exploded")))


def flipped(folder: Path) -> None:
    content = bytearray((folder / MODEL).read_bytes())
    content[len(content) // 2] ^= 1 << 6
    (folder / MODEL).write_bytes(content)


def truncated(folder: Path) -> None:
    (folder / MODEL).write_bytes((folder / MODEL).read_bytes()[:-100])


def giant_header(folder: Path) -> None:
    (folder / MODEL).write_bytes(struct.pack("<Q", 2**62) + (folder / MODEL).read_bytes()[8:])


def changed(folder: Path, name: str, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    tensors = safetensors.torch.load_file(folder / name)
    change(tensors)
    safetensors.torch.save_file({key: value.contiguous() for key, value in tensors.items()}, folder / name)


def not_a_number(folder: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        largest = max(tensors, key=lambda key: tensors[key].numel())
        tensors[largest][1, 0] = torch.nan

    changed(folder, MODEL, change)


def another_dimension(folder: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        for key, value in tensors.items():
            if value.dim() == 2:
                tensors[key] = torch.nn.functional.pad(value, (0, 1))

    changed(folder, MODEL, change)


def another_vocabulary(folder: Path) -> None:
    """The same items under each other's names."""
    table = pq.read_table(folder / "items.parquet")
    ids = np.random.default_rng(SEED).permutation(table["item_id"].to_numpy())
    pq.write_table(
        table.set_column(table.schema.get_field_index("item_id"), "item_id", pa.array(ids)), folder / "items.parquet"
    )


def fewer_items(folder: Path) -> None:
    table = pq.read_table(folder / "items.parquet")
    pq.write_table(table.slice(0, table.num_rows - 1), folder / "items.parquet")


def other_weights(folder: Path) -> None:
    """Finite, of the right shape, and not what was measured."""
    random = torch.Generator().manual_seed(SEED)

    def change(tensors: dict[str, torch.Tensor]) -> None:
        for value in tensors.values():
            if value.is_floating_point():
                value += 0.05 * torch.randn(value.shape, generator=random)

    changed(folder, MODEL, change)


def other_ranker(folder: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["calibration"] += 0.1

    changed(folder, "reranker.safetensors", change)


def no_golden_queries(folder: Path) -> None:
    (folder / GOLDEN_FILE).write_text("[]")


POISONS = {
    pickled: r"model\.safetensors",
    truncated: r"model\.safetensors",
    giant_header: r"model\.safetensors",
    not_a_number: "NaN|not finite|infinite",
    another_dimension: "size|shape|dimension",
    another_vocabulary: "the vocabulary is another one",
    fewer_items: "items|size|shape|dimension|vocabulary",
    other_weights: "golden query",
    other_ranker: "re-ranking is off by",
    no_golden_queries: "has no golden queries",
}


def sealed(folder: Path, poison: Callable[[Path], None]) -> None:
    poison(folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    files = {name: Folder.of(str(folder)).sha256(name) for name in manifest["files"]}
    (folder / MANIFEST).write_text(json.dumps(manifest | {"files": files, "fingerprint": fingerprint(files)}))


@pytest.fixture
def registry(release: Release, tmp_path: Path) -> ReleaseRegistry:
    """A good release, which is live, and a copy to poison."""
    for name in ("good", "poisoned"):
        shutil.copytree(release.parts.folder.path, tmp_path / "releases" / name)
    registry = ReleaseRegistry.of(Folder.of(str(tmp_path)))
    registry.promote("good")
    return registry


def promoting(config: Config, registry: ReleaseRegistry) -> None:
    promote(config.index, registry, "poisoned", 30, lambda _: None)


@pytest.mark.parametrize("poison", POISONS, ids=lambda poison: poison.__name__)
async def test_it_is_refused_by_the_operators_command_and_by_each_replica(
    poison: Callable[[Path], None], tiny: Config, registry: ReleaseRegistry
) -> None:
    folder = Path(registry.path("poisoned").path)
    sealed(folder, poison)
    with pytest.raises((ValueError, OSError), match=POISONS[poison]):
        await asyncio.to_thread(promoting, tiny, registry)

    settings = ReplicaSettings(storage_root=tiny.storage.root, index=tiny.index, serve=tiny.serve, auth=tiny.auth)

    async def build(release: Release) -> str:
        """What a fused replica makes of a release."""
        check_items(release)
        await build_user_encoder(settings, release)
        await build_retriever(settings, release)
        await build_reranker(settings, release)
        return release.id

    replica = await ReleaseFollower(registry, build, FollowerConfig(replica="a", poll_s=0.05)).start()
    with pytest.raises(ValueError, match=f"a on .* refuses it: .*({POISONS[poison]})"):
        await asyncio.to_thread(roll_out, registry, "poisoned", 30, lambda _: None)
    live = registry.live()
    assert live is not None
    assert (live.release, await replica.live()) == ("good", "good")
    replica.following.cancel()
    assert not (folder / "exploded").exists()


@pytest.mark.parametrize("poison", [flipped, truncated], ids=lambda poison: poison.__name__)
def test_a_file_that_is_not_the_one_that_was_sealed_is_named(
    poison: Callable[[Path], None], tiny: Config, registry: ReleaseRegistry
) -> None:
    poison(Path(registry.path("poisoned").path))
    with pytest.raises(OSError, match=r"model\.safetensors: missing or changed since the release was sealed"):
        promoting(tiny, registry)


def test_another_releases_collection_is_no_collection_of_this(tiny: Config, registry: ReleaseRegistry) -> None:
    """Its items are as many, and its vectors others."""
    folder = Path(registry.path("poisoned").path)
    manifest = json.loads((folder / MANIFEST).read_text())
    parts = registry.open("good").parts

    random_ND = np.random.default_rng(SEED).normal(size=tuple(parts.item_vectors_ID[1:].shape)).astype(np.float32)
    table = parts.items.table.append_column("vector", pa.array(list(random_ND), pa.list_(pa.float32())))
    write_collection(tiny.index, "twotower_ray_another", [table], parts.items.features, random_ND.shape[1])
    (folder / MANIFEST).write_text(json.dumps(manifest | {"collection": "twotower_ray_another"}))
    try:
        with pytest.raises(ValueError, match=rf"_another: recall@20 .* below 0\.99; {made_again('poisoned')}"):
            promoting(tiny, registry)
    finally:
        drop(tiny.index, "twotower_ray_another")
