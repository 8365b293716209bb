"""The item tower: what turns an item's id and features into its vector.

Shape legend: C candidates, N items, D dimension, I items of the catalogue (row 0 = unknown).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from towers.model.config import ModelConfig
from towers.model.feature_embedding import FeatureEmbedding
from towers.model.features import EncodedFeatures, FeatureEncoder
from towers.model.layers import IdEmbedding, Refine


@dataclass(frozen=True)
class TowerInputs:
    """What one tower is built from: the rows of its catalogue.

    Attributes:
        encoder: turns declared features into tensors.
        encoded: the features of all rows.
        known_N: bool, ids with interactions to train on.
    """

    encoder: FeatureEncoder
    encoded: EncodedFeatures
    known_N: Tensor


class ItemTower(nn.Module):
    """The item tower alone, for embedding a catalogue; `towers.model.two_tower.TwoTower` has it too.

    Attributes:
        neighbours_ID: float32, what smoothing adds to item vectors (towers/model/smoothing.py): zero until it is filled
            after training; None without smoothing.
        cold_length: length of the vectors of items without training data, in eval mode, which training decides on
            validation (towers/evaluation/decisions/cold_items.py) and the manifest of the checkpoint holds.
    """

    config: ModelConfig
    neighbours_ID: Tensor | None
    cold_length: float = 1.0

    def __init__(self, config: ModelConfig, items: TowerInputs) -> None:
        super().__init__()
        self.add_item_tower(config, items)
        self.clear_unknown()

    def add_item_tower(self, config: ModelConfig, items: TowerInputs) -> None:
        """Adds the tower's parts to this module, freshly initialised."""
        self.config, dim = config, config.embedding_dim
        self.item_ids = IdEmbedding(items.known_N, config.table(len(items.known_N), dim, dim**-0.5), config.id_dropout)
        self.item_features = FeatureEmbedding(items.encoder, items.encoded, dim, config.table)
        self.item_refine = Refine(dim, config.hidden_dim, config.dropout)
        self.register_buffer("neighbours_ID", torch.zeros(len(items.known_N), dim) if config.smoothing else None)

    def clear_unknown(self) -> None:
        """Sets the vector of unknown ids to zero, where nothing trains it (`ModelConfig.clears_unknown`)."""
        if self.config.clears_unknown("item", self.item_features.has_features):
            self.item_ids.table.clear_unknown()

    def item_vectors(self, item_rows_C: Tensor) -> Tensor:
        """int [C] -> float32 [C, D] of length 1; smoothing and `cold_length` change them in eval mode."""
        vectors_CD = self.item_refine(self.item_embedding(item_rows_C))
        if self.training:
            return vectors_CD
        if self.neighbours_ID is not None:
            vectors_CD = vectors_CD + self.config.smoothing * self.neighbours_ID[item_rows_C]
        if self.cold_length == 1:
            return vectors_CD
        return shortened(vectors_CD, ~self.item_ids.known_N[item_rows_C], self.cold_length)

    def item_embedding(self, item_rows_C: Tensor) -> Tensor:
        """float32 [C, D]: id and features."""
        return self.item_ids(item_rows_C) + self.item_features(item_rows_C)

    def new_item_vectors(self, encoded: EncodedFeatures) -> Tensor:
        """float32 [N - 1, D] of length 1: vectors of items that are in no catalogue, by their features alone.

        Args:
            encoded: as `FeatureEncoder.encode` returns it; its row 0 is left out.
        """
        features_ND = self.item_features.embed(encoded)
        unknown_N = torch.zeros(len(encoded.numbers_NF), dtype=torch.int64, device=encoded.numbers_NF.device)
        return self.item_refine(self.item_ids(unknown_N) + features_ND)[1:]


def shortened(vectors_CD: Tensor, is_cold_C: Tensor, length: float) -> Tensor:
    """float32 [C, D]: the vectors, those of items without training data at another length."""
    return torch.where(is_cold_C[:, None], length * vectors_CD, vectors_CD)


@torch.no_grad()
def all_item_vectors(model: ItemTower, chunk: int = 65_536) -> Tensor:
    """float32 [I, D]: the vectors of the whole catalogue; row 0 (unknown) is zero, and never retrieved."""
    weight = model.item_ids.table.weight
    vectors_ID = torch.zeros(len(model.item_ids.known_N), model.config.embedding_dim, device=weight.device)
    for vectors_bD, block_bD in zip(vectors_ID.split(chunk), item_vector_blocks(model, chunk), strict=True):
        vectors_bD.copy_(block_bD)
    vectors_ID[0] = 0
    return vectors_ID


@torch.no_grad()
def item_vector_blocks(model: ItemTower, chunk: int = 65_536, rows_I: Tensor | None = None) -> Iterator[Tensor]:
    """The item vectors of all rows, in blocks of float32 [chunk, D]; that of row 0 is not zero.

    Args:
        rows_I: int64, all rows in the order in which they are wanted; None means ascending.
    """
    rows_I = torch.arange(len(model.item_ids.known_N)) if rows_I is None else rows_I
    for part in rows_I.split(chunk):
        yield model.item_vectors(part.to(model.item_ids.table.weight.device))
