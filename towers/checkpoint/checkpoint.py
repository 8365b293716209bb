"""A trained model as a sealed folder: weights, vocabularies, what users have seen, config and metrics.

No file is a pickle, so opening a checkpoint never runs code.

model.safetensors        both towers
reranker.safetensors     the re-ranker's own weights
sequences.safetensors    every user's items known at the end of training, oldest first; and those seen, if others
users.parquet, items.parquet, *.vocabularies.parquet
manifest.json            config, feature scales, dataset fingerprint, metrics and the sha256 of each file; written last
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from torch import nn

from data.artifacts.folders import Folder
from data.artifacts.plugins import require
from data.artifacts.seals import open_sealed, sealing
from data.artifacts.structured import structured
from data.dataset.catalogue import Catalogue, feature_to_json
from data.dataset.prepared import PreparedDataset
from data.sequences.histories import Sequences
from data.sources.event_types import EventTypes
from towers.checkpoint.added_items import with_added_items
from towers.checkpoint.histories import as_tensors, of_tensors
from towers.checkpoint.on_demand import Later, OnDemand
from towers.checkpoint.tensor_files import CheckpointError, load_tensors, save_tensors
from towers.model.build import build_model, interaction_counts, tower_inputs
from towers.model.config import FittedSplits, ModelConfig
from towers.model.context import Context
from towers.model.features import FeatureEncoder
from towers.model.tables.hashed import hashed_tables
from towers.model.tie_order import TieOrder
from towers.model.two_tower import TowerInputs, TwoTower, all_item_vectors
from towers.reranking.config import RerankConfig
from towers.reranking.reranker import Reranker


@dataclass(frozen=True)
class Checkpoint:
    """A sealed checkpoint, opened, its model in eval mode on the CPU.

    Shape legend: I items (row 0 = unknown), D dimension.

    Attributes:
        folder: where it lies.
        manifest: the content of the folder's manifest.
        users, items: the catalogues of the dataset that it was trained on.
        history: every user's positives at the end of training, oldest first, which user vectors are computed from.
        seen: every user's items that count as seen then; those of the history, unless the log has event types.
        counts_I: int64, interactions of each item in the splits that were fitted on.
        reranker: the re-ranker; it refers to the item vectors.
        item_vectors_ID: float32, all item vectors, computed once, when they or the re-ranker are first asked for; row 0
            is zero.
        ties: the order of items with equal scores; by row in checkpoints of earlier versions.
    """

    folder: Folder
    manifest: dict[str, Any]
    model: TwoTower
    users: Catalogue
    items: Catalogue
    history: Sequences
    seen: Sequences
    counts_I: np.ndarray
    ties: TieOrder
    reranker: OnDemand[Reranker] = OnDemand()  # noqa: RUF009
    item_vectors_ID: OnDemand[torch.Tensor] = OnDemand()  # noqa: RUF009

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.name


def load_weights(
    module: nn.Module, folder: Folder, name: str, num_added: int = 0, only: Collection[str] | None = None
) -> None:
    """Loads weights into a module, in place.

    Args:
        only: the names of the module's weights, where the file holds those of other modules too.
        num_added: items that were added after the weights were fitted; their entries are zero.

    Raises:
        CheckpointError: names or shapes differ from the module's, or a value is not finite.
    """
    tensors = load_tensors(folder, name, only)
    refuse_not_finite(tensors, f"{folder}/{name}")
    try:
        module.load_state_dict(with_added_items(tensors, num_added, but=hashed_tables(module).keys()))
    except RuntimeError as e:
        raise CheckpointError(f"{folder}/{name}: not the weights of this model: {' '.join(str(e).split())}") from e


def refuse_not_finite(tensors: Mapping[str, torch.Tensor], place: str) -> None:
    """Raises CheckpointError, which names the place, if a tensor holds a value that is not finite."""
    for key, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{place}: {key} holds NaN or infinite values")


def save(
    folder: Folder,
    manifest: dict[str, Any],
    model: TwoTower,
    reranker: Reranker,
    dataset: PreparedDataset,
    encoders: tuple[FeatureEncoder, FeatureEncoder],
    history: Sequences,
    seen: Sequences | None = None,
) -> None:
    """Seals a checkpoint.

    Args:
        manifest: has `model` and `rerank` (their configurations), `fit_on`, `dataset` and the report.
        dataset: the dataset that it was trained on, whose catalogues are saved.
        encoders: the feature encoders of users and of items, whose vocabularies and scales are saved too.
        history: every user's positives at the end of training.
        seen: the items that count as seen, where they are others than those of the history.

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
        replace(dataset.items, vocabularies=item_encoder.vocabularies).save(staging, "items")
        save_tensors(staging, "model.safetensors", model.state_dict())
        save_tensors(staging, "reranker.safetensors", reranker.state_dict())
        save_tensors(staging, "sequences.safetensors", as_tensors(history, seen))


def load(folder: Folder, manifest: dict[str, Any], items: Catalogue | None = None) -> Checkpoint:
    """Opens the model files of a checkpoint, or of a release that carries them.

    Args:
        items: replaces the folder's own catalogue. It has the same items in the same order, possibly with other
            features, and may have more items after them, which the towers treat as items without training data.

    Raises:
        CheckpointError: a file is damaged or does not fit the others.
    """
    users = Catalogue.load(folder, "users", "user_id", manifest["user_features"])
    items = items or Catalogue.load(folder, "items", "item_id", manifest["item_features"])
    num_fitted = manifest.get("num_fitted_items", items.table.num_rows)
    if (num_added := items.table.num_rows - num_fitted) < 0:
        raise CheckpointError(f"{folder}: holds {items.table.num_rows} items, was fitted on {num_fitted}")
    fit_on = FittedSplits(manifest["fit_on"])
    user_inputs = tower_inputs(users, FeatureEncoder.of_json(users, manifest["user_scales"]), fit_on)
    item_inputs = tower_inputs(items, FeatureEncoder.of_json(items, manifest["item_scales"]), fit_on)
    context = Context.of_json(manifest.get("context", {}))  # checkpoints of earlier versions have none
    model = _towers(manifest, user_inputs, item_inputs, context)
    load_weights(model, folder, "model.safetensors", num_added)
    counts_I = interaction_counts(items, fit_on)
    rerank = structured(RerankConfig, manifest["rerank"])
    not_yet_ID = torch.zeros(1).expand(len(counts_I), model.config.embedding_dim)  # takes no memory
    is_carried = manifest.get("reranker_is_carried", False)
    clips = manifest.get("clips_popularity", False)
    reranker = Reranker(rerank, not_yet_ID, counts_I, item_inputs, context, num_fitted, is_carried, clips)
    load_weights(reranker, folder, "reranker.safetensors", num_added)
    history, seen = of_tensors(load_tensors(folder, "sequences.safetensors"))
    item_vectors_ID = cache(partial(all_item_vectors, model))

    def with_vectors() -> Reranker:
        reranker.item_vectors_ID = item_vectors_ID()
        return reranker.eval()

    return Checkpoint(
        folder=folder,
        manifest=manifest,
        model=model,
        reranker=Later(with_vectors),
        users=users,
        items=items,
        history=history,
        seen=seen,
        counts_I=counts_I,
        ties=TieOrder.of(len(counts_I), manifest.get("tie_seed")),
        item_vectors_ID=Later(item_vectors_ID),
    )


def _towers(manifest: dict[str, Any], users: TowerInputs, items: TowerInputs, context: Context) -> TwoTower:
    """The towers that a manifest describes, in eval mode, without their weights."""
    event_types = tuple(EventTypes.of_manifest(manifest.get("event_types")).types)
    model = build_model(structured(ModelConfig, manifest["model"]), users, items, 0, context, event_types)
    model.places_by_features = manifest.get("placement", {}).get("by_features", False)
    model.cold_length = cold_length(manifest)
    return model.eval()


def cold_length(manifest: dict[str, Any]) -> float:
    """The length of the vectors of items without training data; full in checkpoints of earlier versions."""
    return float(manifest.get("cold_items", {}).get("length", 1.0))


def open_checkpoint(folder: Folder) -> Checkpoint:
    """Opens a checkpoint after verifying the sha256 of each of its files.

    Raises:
        NotSealed: the folder holds no complete checkpoint, or a file is missing or changed.
        CheckpointError, PluginUnavailable: a file is damaged, or a plugin that it was made with is not here.
    """
    manifest = open_sealed(folder, "checkpoint", verify=True)
    require(manifest.get("plugins", ()), f"checkpoint {folder.name}", same_version=False)
    return load(folder, manifest)
