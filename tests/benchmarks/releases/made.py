"""Releases of any size that nothing was trained for: random towers, re-ranker, catalogue and histories.

What a replica opens, holds and computes for a release depends on how many items and users it has, and not on what the
weights have learned.

Shape legend: N items or users, D dimension.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from conf.schema import Config
from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.structured import jsonable
from data.dataset.catalogue import Catalogue
from data.sequences.histories import Sequences
from data.sources.schema import Feature
from serve.releases.building.build import build_release
from serve.releases.building.draft import ReleaseDraft, release_id
from serve.releases.registry import ReleaseRegistry
from towers.checkpoint.batch_embedding import embedded_items
from towers.checkpoint.checkpoint import Checkpoint, open_checkpoint, save
from towers.checkpoint.lineage import lineage
from towers.model.build import build_model, encode_catalogues, interaction_counts
from towers.model.config import FittedSplits
from towers.reranking.reranker import Reranker

HISTORY = 20
"""Items that each user has taken."""

NUM_CATEGORIES = 1000

REPORT: dict[str, Any] = {
    "split": "test", "num_queries": 0, "k": 20, "metrics": {}, "reranked": {"ndcg@20": 0.0}, "floors": {},
    "intervals": {}, "lift": {}, "calibration": None, "slices": [], "shown": {}, "notes": [],
}  # fmt: skip


@dataclass(frozen=True)
class MadeDataset:
    """What `towers.checkpoint.checkpoint.save` takes of a prepared dataset."""

    users: Catalogue
    items: Catalogue


def made_release(config: Config, num_items: int, num_users: int, seed: int) -> str:
    """Makes a release, unless it is there already, and returns its id."""
    storage = Folder.of(config.storage.root)
    registry = ReleaseRegistry.of(storage)
    name = checkpoint_name(num_items, num_users, seed)
    for id_ in registry.ids():
        if registry.manifest(id_)["checkpoint"] == name:
            return id_
    checkpoint = made_checkpoint(config, num_items, num_users, seed)

    def write_model(folder: Folder) -> None:
        for name in checkpoint.folder.files():
            folder.share(name, checkpoint.folder)
        folder.delete_file(MANIFEST)

    draft = ReleaseDraft(
        id=release_id(checkpoint.manifest, checkpoint.manifest["fingerprint"]),
        parts=checkpoint,
        manifest_entries={
            "checkpoint": checkpoint.name,
            "checkpoint_fingerprint": checkpoint.manifest["fingerprint"],
        },
        embed_items=lambda: embedded_items(checkpoint, config.index.upsert_batch),
        write_model=write_model,
    )
    build_release(config.index, registry, draft, "made", lambda _: None, None)
    return draft.id


def checkpoint_name(num_items: int, num_users: int, seed: int) -> str:
    """The name of the folder of a made checkpoint."""
    return f"made-{num_items}-{num_users}-{seed}"


def made_checkpoint(config: Config, num_items: int, num_users: int, seed: int) -> Checkpoint:
    """A sealed checkpoint of random weights."""
    random = np.random.default_rng(seed)
    dataset = MadeDataset(made_users(num_users), made_items(random, num_items))
    users, items = encode_catalogues(dataset.users, dataset.items, FittedSplits.train)
    torch.set_num_threads(1)
    model = build_model(config.model, users, items, seed)
    counts_I = interaction_counts(dataset.items, FittedSplits.train)
    not_yet_ID = torch.zeros(1).expand(len(counts_I), config.model.embedding_dim)
    reranker = Reranker(config.rerank, not_yet_ID, counts_I, items)
    reranker.calibration.copy_(torch.tensor([1.0, 0.1]))
    offsets_U1 = np.concatenate([[0], np.arange(num_users + 1) * HISTORY])
    history = Sequences(offsets_U1, random.integers(1, num_items + 1, num_users * HISTORY, dtype=np.int32))
    name = checkpoint_name(num_items, num_users, seed)
    folder = Folder.of(config.storage.root) / "checkpoints" / name
    resolved = jsonable(config)
    manifest = {
        "model": resolved["model"],
        "rerank": resolved["rerank"],
        "fit_on": FittedSplits.train.value,
        "config": {part: resolved[part] for part in ("data", "model", "loss", "train", "rerank", "seed")},
        "dataset": {"name": "made", "fingerprint": name, "folder": f"{folder}"},
        "lineage": lineage(None),
        "plugins": [],
        "tie_seed": seed,
        **REPORT,
    }
    encoders = (users.encoder, items.encoder)
    save(folder, manifest, model, reranker, dataset, encoders, [history.as_part()])  # type: ignore[arg-type]
    return open_checkpoint(folder)


def made_users(num_users: int) -> Catalogue:
    """Users with the ids u00001, ..., a country each."""
    countries = np.array([f"country {number}" for number in range(50)])
    columns = {"country": pa.array(countries[np.arange(num_users) % len(countries)], pa.string())}
    return _catalogue("user_id", "u", num_users, columns, [Feature(name="country", kind="categorical")])


def made_items(random: np.random.Generator, num_items: int) -> Catalogue:
    """Items with the ids i00001, ..., a title, a category and a price each."""
    categories = np.array([f"category {number}" for number in range(NUM_CATEGORIES)])
    numbers = pa.array(np.arange(1, num_items + 1)).cast(pa.string())
    columns = {
        "title": pa.compute.binary_join_element_wise("The title of item", numbers, " "),
        "category": pa.array(categories[random.integers(0, NUM_CATEGORIES, num_items)], pa.string()),
        "price": pa.array(random.uniform(1, 100, num_items)),
    }
    features = [Feature(name="category", kind="categorical"), Feature(name="price", kind="numeric")]
    return _catalogue("item_id", "i", num_items, columns, features)


def _catalogue(
    id_column: str, letter: str, count: int, columns: dict[str, pa.Array], features: Sequence[Feature]
) -> Catalogue:
    numbers = pa.array(np.arange(1, count + 1)).cast(pa.string())
    ids = pa.compute.binary_join_element_wise(letter, pa.compute.utf8_lpad(numbers, 5, "0"), "")
    counts = np.full(count, HISTORY)
    table = pa.table(
        {
            "row": pa.array(np.arange(1, count + 1, dtype=np.int32)),
            id_column: ids.take(pa.compute.sort_indices(ids)),
            **columns,
            "train_count": pa.array(counts),
            "validation_count": pa.array(0 * counts),
            "test_count": pa.array(0 * counts),
        }
    )
    return Catalogue(id_column, table, tuple(features))
