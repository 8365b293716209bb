"""The two-tower model: score(user, item) = cosine of a user vector and an item vector.

Shape legend: B batch, C candidates, L history length, D dimension, U users, I items (row 0 of both = unknown).
"""

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor, nn

from data.batches import HistoryOrder
from towers.features import EncodedFeatures, FeatureEmbedding, FeatureEncoder
from towers.history import PooledHistory
from towers.tower import IdEmbedding, Refine


class HistoryKind(Enum):
    """How the user's past items enter the user vector."""

    none = "none"
    pooled = "pooled"


class Start(Enum):
    """Where the id tables begin."""

    random = "random"
    spectral = "spectral"  # see towers/spectral.py


@dataclass(kw_only=True, slots=True)
class ModelConfig:
    """Both towers.

    Attributes:
        embedding_dim: length of user and item vectors, and of every embedding that goes into them.
        hidden_dim: width of each tower's residual perceptron; 0 leaves it out.
        dropout: inside the perceptron.
        id_dropout: share of ids replaced by "unknown" in training, so that features and history learn to stand alone.
        history: how the user's past items enter the user vector.
        history_length: at most this many latest items.
        history_order: which other interactions a training example may see.
        start: where the id tables begin.
    """

    embedding_dim: int = 64
    hidden_dim: int = 0
    dropout: float = 0.1
    id_dropout: float = 0.1
    history: HistoryKind = HistoryKind.pooled
    history_length: int = 50
    history_order: HistoryOrder = HistoryOrder.before
    start: Start = Start.random

    def __post_init__(self) -> None:
        if not 1 <= self.embedding_dim <= 4096:
            raise ValueError(f"model.embedding_dim: {self.embedding_dim} must lie in 1..4096")
        if self.hidden_dim < 0:
            raise ValueError(f"model.hidden_dim: {self.hidden_dim} must be at least 0")
        for name in ("dropout", "id_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"model.{name}: {getattr(self, name)} must lie in [0, 1)")
        if not 1 <= self.history_length <= 1000:
            raise ValueError(f"model.history_length: {self.history_length} must lie in 1..1000")

    @property
    def num_history(self) -> int:
        """Items of the history that the model looks at."""
        return 0 if self.history is HistoryKind.none else self.history_length


@dataclass(frozen=True)
class Side:
    """What a tower is built from: the encoded features of its ids, and which of them have training interactions."""

    encoder: FeatureEncoder
    encoded: EncodedFeatures
    known_N: Tensor


class TwoTower(nn.Module):
    """User tower and item tower, with the item embeddings shared by the item tower and the user's history."""

    def __init__(self, config: ModelConfig, users: Side, items: Side) -> None:
        super().__init__()
        self.config = config
        dim = config.embedding_dim
        self.user_ids = IdEmbedding(users.known_N, dim, config.id_dropout, sparse=True)
        self.user_features = FeatureEmbedding(users.encoder, users.encoded, dim)
        self.user_refine = Refine(dim, config.hidden_dim, config.dropout)
        self.history = PooledHistory(dim) if config.history is HistoryKind.pooled else None
        alone = self.history is None  # a history touches most of the table at each step
        self.item_ids = IdEmbedding(items.known_N, dim, config.id_dropout, sparse=alone)
        self.item_features = FeatureEmbedding(items.encoder, items.encoded, dim)
        self.item_refine = Refine(dim, config.hidden_dim, config.dropout)

    @torch.no_grad()
    def start_from(self, user_UD: Tensor, item_ID: Tensor) -> None:
        """Sets the id tables; the rows of unknown ids stay as they are."""
        for ids, start_ND in ((self.user_ids, user_UD), (self.item_ids, item_ID)):
            ids.table.weight[1:] = start_ND[1:].to(ids.table.weight)

    def can_place(self, user_rows_B: Tensor, history_BL: Tensor) -> Tensor:
        """bool [B]: users of whom the tower knows enough to say anything: an id with training data, or a history."""
        return self.user_ids.known_N[user_rows_B] | (history_BL != 0).any(1)

    def user_vectors(self, user_rows_B: Tensor, history_BL: Tensor) -> Tensor:
        """int [B], int [B, L] (0 = padding) -> float32 [B, D] of length 1."""
        total = self.user_ids(user_rows_B) + self.user_features(user_rows_B)
        if self.history is not None:
            total = total + self.history(self.item_ids.known_rows(history_BL), self.item_ids.table.weight)
        return self.user_refine(total)

    def item_vectors(self, item_rows_C: Tensor) -> Tensor:
        """int [C] -> float32 [C, D] of length 1."""
        return self.item_refine(self.item_ids(item_rows_C) + self.item_features(item_rows_C))

    def forward(self, user_rows_B: Tensor, history_BL: Tensor, item_rows_C: Tensor) -> tuple[Tensor, Tensor]:
        """Both vectors in one call, as distributed training wants it."""
        return self.user_vectors(user_rows_B, history_BL), self.item_vectors(item_rows_C)


@torch.inference_mode()
def all_item_vectors(model: TwoTower, chunk: int = 65_536) -> Tensor:
    """float32 [I, D]: the vectors of the whole catalogue; row 0 (unknown) is zero, and never retrieved."""
    device = model.item_ids.table.weight.device
    rows = torch.arange(len(model.item_ids.known_N), device=device)
    vectors = torch.cat([model.item_vectors(part) for part in rows.split(chunk)])
    vectors[0] = 0
    return vectors
