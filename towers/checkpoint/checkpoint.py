"""A trained model as a sealed folder: weights, vocabularies, what users have seen, config and metrics.

No file is a pickle, so opening a checkpoint never runs code.

model.safetensors        both towers
reranker.safetensors     the re-ranker's own weights
sequences.safetensors    every user's items known at the end of training, oldest first; and those seen, if others
users.parquet, items.parquet, *.vocabularies.parquet
manifest.json            config, feature scales, dataset fingerprint, metrics and the sha256 of each file; written last
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from data.artifacts.folders import Folder
from data.artifacts.plugins import require
from data.artifacts.seals import open_sealed, sealing
from data.artifacts.structured import structured
from data.dataset.catalogue import Catalogue, feature_to_json
from data.dataset.prepared import PreparedDataset
from data.sequences.histories import Sequences, SequencesPart
from data.sources.schema import RECENT_COUNT
from towers.checkpoint.histories import write_histories
from towers.checkpoint.on_demand import Later, OnDemand
from towers.checkpoint.opening.order import in_order_of_weights
from towers.checkpoint.opening.parts import SEQUENCES_FILE, Parts
from towers.checkpoint.opening.weights import refuse_not_finite
from towers.checkpoint.tensor_files import save_tensors
from towers.model.config import ModelConfig
from towers.model.context import Context
from towers.model.features import FeatureEncoder
from towers.model.tie_order import TieOrder
from towers.model.two_tower import TwoTower
from towers.reranking.reranker import Reranker


@dataclass(frozen=True)
class Checkpoint:
    """A sealed checkpoint, or the model of a release, opened; its modules are in eval mode on the CPU.

    Its parts are there from the start (`load`), or each is read when it is first asked for (`open_served`).

    Shape legend: I items (row 0 = unknown), D dimension.

    Attributes:
        folder: where it lies.
        manifest: the content of the folder's manifest.
        users, items: the catalogues of the dataset that it was trained on.
        history: every user's positives at the end of training, oldest first, which user vectors are computed from.
        seen: every user's items that count as seen then; those of the history, unless the log has event types.
        counts_I: int64, interactions of each item in the splits that were fitted on.
        popularity_I: by which users of whom nothing is known get popular items (`towers.model.tie_order.popularity`).
        ties: the order of items with equal scores; by row in checkpoints of earlier versions.
        context: the context features of requests.
        event_type_rows: the row of each event type that the user tower knows, by its name.
        placed_I: bool, the items that place a user who has them in the history.
        goal_weights: how much each goal of the re-ranker counts, see `Reranker.goal_weights`.
        reranker: the re-ranker; it refers to the item vectors.
        item_vectors_ID: float32, all item vectors; those of a release's file, or computed once, when they or the
            re-ranker are first asked for; row 0 is zero.
    """

    folder: Folder
    manifest: dict[str, Any]
    model: OnDemand[TwoTower] = OnDemand()  # noqa: RUF009
    users: OnDemand[Catalogue] = OnDemand()  # noqa: RUF009
    items: OnDemand[Catalogue] = OnDemand()  # noqa: RUF009
    history: OnDemand[Sequences] = OnDemand()  # noqa: RUF009
    seen: OnDemand[Sequences] = OnDemand()  # noqa: RUF009
    counts_I: OnDemand[np.ndarray] = OnDemand()  # noqa: RUF009
    popularity_I: OnDemand[np.ndarray] = OnDemand()  # noqa: RUF009
    ties: OnDemand[TieOrder] = OnDemand()  # noqa: RUF009
    context: OnDemand[Context] = OnDemand()  # noqa: RUF009
    event_type_rows: OnDemand[dict[str, int]] = OnDemand()  # noqa: RUF009
    placed_I: OnDemand[np.ndarray] = OnDemand()  # noqa: RUF009
    goal_weights: OnDemand[dict[str, float]] = OnDemand()  # noqa: RUF009
    reranker: OnDemand[Reranker] = OnDemand()  # noqa: RUF009
    item_vectors_ID: OnDemand[torch.Tensor] = OnDemand()  # noqa: RUF009

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.name

    @property
    def history_columns(self) -> tuple[str, ...]:
        """What the user tower takes of a history beside its items (`ModelConfig.history_columns`)."""
        return structured(ModelConfig, self.manifest["model"]).history_columns

    @property
    def dim(self) -> int:
        """D, the length of a vector."""
        return int(self.manifest["model"]["embedding_dim"])


def save(
    folder: Folder,
    manifest: dict[str, Any],
    model: TwoTower,
    reranker: Reranker,
    dataset: PreparedDataset,
    encoders: tuple[FeatureEncoder, FeatureEncoder],
    history: Iterable[SequencesPart],
    seen: Iterable[SequencesPart] | None = None,
    recent_I: np.ndarray | None = None,
) -> None:
    """Seals a checkpoint.

    Args:
        manifest: has `model` and `rerank` (their configurations), `fit_on`, `dataset` and the report.
        dataset: the dataset that it was trained on, whose catalogues are saved.
        encoders: the feature encoders of users and of items, whose vocabularies and scales are saved too.
        history: every user's positives at the end of training, with what the user tower takes beside the items.
        seen: the items that count as seen, where they are others than those of the history.
        recent_I: int64, interactions of each item among the latest ones, where popular items are ordered by these.

    Raises:
        CheckpointError: a weight is not finite. Nothing is written.
    """
    for name, part in (("towers", model), ("re-ranker", reranker)):
        refuse_not_finite(part.state_dict(), f"checkpoint {folder.name}, {name}")
    user_encoder, item_encoder = encoders
    manifest |= {
        "kind": "checkpoint",
        "context": reranker.context.as_json(),
        "clips_popularity": True,
        "user_features": [feature_to_json(f) for f in dataset.users.features],
        "item_features": [feature_to_json(f) for f in dataset.items.features],
        "user_scales": user_encoder.scales_to_json(),
        "item_scales": item_encoder.scales_to_json(),
    }
    with sealing(folder, manifest) as staging:
        replace(dataset.users, vocabularies=user_encoder.vocabularies).save(staging, "users")
        items = dataset.items
        if recent_I is not None:
            items = items.with_table(items.table.append_column(RECENT_COUNT, pa.array(recent_I[1:])))
        replace(items, vocabularies=item_encoder.vocabularies).save(staging, "items")
        save_tensors(staging, "model.safetensors", model.state_dict())
        save_tensors(staging, "reranker.safetensors", reranker.state_dict())
        beside = model.config.history_columns
        write_histories(staging, SEQUENCES_FILE, dataset.users.num_rows, history, seen, beside)


def load(folder: Folder, manifest: dict[str, Any], items: Catalogue | None = None) -> Checkpoint:
    """Opens the model files of a checkpoint, or of a release that carries them, and reads all of them.

    Args:
        items: replaces the folder's own catalogue. It has the same items in the same order, possibly with other
            features, and may have more items after them, which the towers treat as items without training data.

    Raises:
        CheckpointError: a file is damaged or does not fit the others.
    """
    parts = Parts(folder, manifest, items)
    opened = _of_parts(parts, folder, manifest)
    for name in ("users", "items", "model", "counts_I", "history", "seen", "ties"):
        getattr(opened, name)
    _ = parts.bare_reranker  # the item vectors, which it refers to, are computed when they are needed
    return opened


def open_served(folder: Folder, manifest: dict[str, Any]) -> Checkpoint:
    """Opens the model files of a release for a process that serves it: each part is read when it is first asked for.

    Parts raise NotSealed where a file is missing or changed, and CheckpointError where it does not fit the others.
    Weights, item vectors and histories are mapped from the files and never written to.
    """
    return _of_parts(Parts(folder, manifest, serves=True), folder, manifest)


def _of_parts(parts: Parts, folder: Folder, manifest: dict[str, Any]) -> Checkpoint:
    later = {
        name: Later(partial(getattr, parts, name))
        for name in (
            "model", "users", "items", "counts_I", "popularity_I", "context", "event_type_rows", "placed_I",
            "goal_weights", "reranker", "item_vectors_ID",
        )
    }  # fmt: skip
    return Checkpoint(
        folder,
        manifest,
        **later,
        history=Later(lambda: parts.sequences[0]),
        seen=Later(lambda: parts.sequences[1]),
        ties=Later(lambda: TieOrder.of(len(parts.counts_I), manifest.get("tie_seed"))),
    )


def open_checkpoint(folder: Folder) -> Checkpoint:
    """Opens a checkpoint after verifying the sha256 of each of its files.

    Raises:
        NotSealed: the folder holds no complete checkpoint, or a file is missing or changed.
        CheckpointError, PluginUnavailable: a file is damaged, or a plugin that it was made with is not here.
    """
    manifest = open_sealed(folder, "checkpoint", verify=True)
    require(manifest.get("plugins", ()), f"checkpoint {folder.name}", same_version=False)
    return load(folder, in_order_of_weights(manifest))
