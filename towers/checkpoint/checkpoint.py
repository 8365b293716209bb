"""A trained model as a sealed folder: weights, vocabularies, what users have seen, config and metrics. No pickle.

model.safetensors        both towers
reranker.safetensors     the re-ranker's own weights
sequences.safetensors    every user's items known at the end of training, oldest first
users.parquet, items.parquet, *.vocabularies.parquet
manifest.json            config, feature scales, dataset fingerprint, metrics, sha256 of each file; written last
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from data.artifacts.errors import UserError
from data.artifacts.folders import Folder
from data.artifacts.seals import open_sealed, sealing
from data.artifacts.structured import structured
from data.dataset.catalogue import Catalogue, feature_to_json
from data.dataset.prepared import PreparedDataset
from data.sequences.histories import Sequences
from towers.model.build import FitOn, build, fit_counts, side
from towers.model.config import ModelConfig
from towers.model.features import FeatureEncoder
from towers.model.two_tower import TwoTower, all_item_vectors
from towers.reranking.context import Context
from towers.reranking.reranker import RerankConfig, Reranker

BY_ITEM = {"item_ids.table.weight": 0, "neighbours_ID": 0, "lift_VI": 1}
"""Weights with a row per item, and along which dimension."""


class CheckpointError(UserError, ValueError):
    """A checkpoint cannot be used: damaged, of other shapes, or of another dataset."""


@dataclass(frozen=True)
class Checkpoint:
    """A sealed checkpoint, opened, its model in eval mode on the CPU."""

    folder: Folder
    manifest: dict[str, Any]
    model: TwoTower
    reranker: Reranker
    users: Catalogue
    items: Catalogue
    seen: Sequences
    counts_I: np.ndarray

    @property
    def name(self) -> str:
        return self.folder.name


def save_tensors(folder: Folder, name: str, tensors: dict[str, torch.Tensor]) -> None:
    folder.write_bytes(name, safetensors.torch.save({k: v.contiguous() for k, v in tensors.items()}))


def load_tensors(folder: Folder, name: str) -> dict[str, torch.Tensor]:
    """Raises CheckpointError where the file is not a whole safetensors file."""
    try:
        return safetensors.torch.load(folder.read_bytes(name))
    except (SafetensorError, OSError) as e:
        raise CheckpointError(f"{folder}/{name}: not a readable safetensors file ({e})") from e


def load_weights(module: nn.Module, folder: Folder, name: str, num_added: int = 0) -> None:
    """Loads weights in place; raises CheckpointError where names or shapes are others, or values not finite.

    Args:
        num_added: items that came after the weights were fitted: whatever has a row per item has none for them.
    """
    tensors = load_tensors(folder, name)
    for key, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise CheckpointError(f"{folder}/{name}: {key} holds NaN or infinite values")
    for key in tensors.keys() & BY_ITEM.keys():
        tensors[key] = _with_rows(tensors[key], num_added, BY_ITEM[key])
    try:
        module.load_state_dict(tensors)
    except RuntimeError as e:
        raise CheckpointError(f"{folder}/{name}: not the weights of this model: {' '.join(str(e).split())}") from e


def _with_rows(tensor: torch.Tensor, count: int, dim: int) -> torch.Tensor:
    shape = list(tensor.shape)
    shape[dim] = count
    return torch.cat([tensor, tensor.new_zeros(shape)], dim) if count else tensor


def save(
    folder: Folder,
    manifest: dict[str, Any],
    model: TwoTower,
    reranker: Reranker,
    dataset: PreparedDataset,
    seen: Sequences,
) -> None:
    """Seals a checkpoint; `manifest` brings `model` and `rerank` (configs), `fit_on`, `dataset` and `metrics`."""
    manifest |= {
        "kind": "checkpoint",
        "context": reranker.context.as_json(),
        "user_features": [feature_to_json(f) for f in dataset.users.features],
        "item_features": [feature_to_json(f) for f in dataset.items.features],
        "user_scales": FeatureEncoder.fit(dataset.users).scales_to_json(),
        "item_scales": FeatureEncoder.fit(dataset.items).scales_to_json(),
    }
    with sealing(folder, manifest) as staging:
        dataset.users.save(staging, "users")
        dataset.items.save(staging, "items")
        save_tensors(staging, "model.safetensors", model.state_dict())
        save_tensors(staging, "reranker.safetensors", reranker.state_dict())
        arrays = {"offsets_U1": seen.offsets_U1, "items_N": seen.items_N}
        save_tensors(staging, "sequences.safetensors", {k: torch.from_numpy(v) for k, v in arrays.items()})


def load(folder: Folder, manifest: dict[str, Any], items: Catalogue | None = None) -> Checkpoint:
    """Opens the model files of a checkpoint, or of a release that carries them.

    Args:
        items: in place of the folder's own: the same in the same order, with other features, and more behind them. They
            are to the towers what an item without training data is.

    Raises:
        CheckpointError: a file is damaged or does not fit the others.
    """
    users = Catalogue.load(folder, "users", "user_id", manifest["user_features"])
    items = items or Catalogue.load(folder, "items", "item_id", manifest["item_features"])
    num_fitted = manifest.get("num_fitted_items", items.table.num_rows)
    if (num_added := items.table.num_rows - num_fitted) < 0:
        raise CheckpointError(f"{folder}: holds {items.table.num_rows} items, was fitted on {num_fitted}")
    fit_on = FitOn(manifest["fit_on"])
    user_side = side(users, FeatureEncoder.of_json(users, manifest["user_scales"]), fit_on)
    item_side = side(items, FeatureEncoder.of_json(items, manifest["item_scales"]), fit_on)
    model = build(structured(ModelConfig, manifest["model"]), user_side, item_side, seed=0)
    load_weights(model, folder, "model.safetensors", num_added)
    model.eval()
    counts_I = fit_counts(items, fit_on)
    rerank = structured(RerankConfig, manifest["rerank"])
    context = Context.of_json(manifest.get("context", {}))  # older ones have none
    reranker = Reranker(rerank, all_item_vectors(model).clone(), counts_I, item_side, context, num_fitted)
    load_weights(reranker, folder, "reranker.safetensors", num_added)
    arrays = load_tensors(folder, "sequences.safetensors")
    seen = Sequences(arrays["offsets_U1"].numpy(), arrays["items_N"].numpy())
    return Checkpoint(folder, manifest, model, reranker.eval(), users, items, seen, counts_I)


def open_checkpoint(folder: Folder) -> Checkpoint:
    """Raises NotSealed where there is none, CheckpointError where it is damaged."""
    return load(folder, open_sealed(folder, "checkpoint", verify=True))
