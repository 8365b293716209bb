"""The two-tower model: score(user, item) = cosine of a user vector and an item vector.

Shape legend: B batch, C candidates, L history length, D dimension, U users, I items (row 0 of both = unknown), R
distinct items of a batch's histories.
"""

from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor, nn

from data.batches import HistoryOrder
from towers.features import EncodedFeatures, FeatureEmbedding, FeatureEncoder
from towers.history import Block, CausalTransformer, PooledHistory
from towers.tower import IdEmbedding, Refine

ARCHITECTURE = 2
"""Raised whenever the same config builds other towers than before: what was trained earlier is another run then."""


class HistoryKind(Enum):
    """How the user's past items enter the user vector."""

    none = "none"
    pooled = "pooled"
    transformer = "transformer"  # trained on all positions at once


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
        dropout: inside the perceptrons and the transformer.
        user_ids: users have embeddings of their own; without, features and history alone speak for them.
        id_dropout: share of ids replaced by "unknown" in training, so that features and history learn to stand alone.
        history: how the user's past items enter the user vector.
        history_length: at most this many latest items.
        history_order: pooled: which other interactions a training example may see.
        num_blocks, num_heads: of the transformer.
        start: where the id tables begin.
        smoothing: how much of its users' vectors an item vector takes up after training; 0 leaves it out.
    """

    embedding_dim: int = 64
    hidden_dim: int = 0
    dropout: float = 0.1
    user_ids: bool = True
    id_dropout: float = 0.1
    history: HistoryKind = HistoryKind.pooled
    history_length: int = 50
    history_order: HistoryOrder = HistoryOrder.before
    num_blocks: int = 2
    num_heads: int = 2
    start: Start = Start.random
    smoothing: float = 0.0

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
        if self.num_blocks < 1 or self.num_heads < 1 or self.embedding_dim % self.num_heads:
            raise ValueError(
                f"model: num_blocks ({self.num_blocks}) and num_heads ({self.num_heads}) must be at least 1, and"
                f" num_heads must divide embedding_dim ({self.embedding_dim})"
            )
        if self.history is HistoryKind.transformer and self.embedding_dim // self.num_heads % 2:
            raise ValueError(
                f"model.embedding_dim: {self.embedding_dim} over num_heads ({self.num_heads}) must be an even number"
            )
        if not self.smoothing >= 0:
            raise ValueError(f"model.smoothing: {self.smoothing} must be at least 0")
        if not self.user_ids and self.history is HistoryKind.none:
            raise ValueError("model.user_ids: false needs a history, or nothing would be known of any user")

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
    """User tower and item tower. The user's history sees an item as its tower does: by id and features.

    Attributes:
        neighbours_ID: see towers/smoothing.py; zero until it is filled after training, None without smoothing.
    """

    neighbours_ID: Tensor | None

    def __init__(self, config: ModelConfig, users: Side, items: Side) -> None:
        super().__init__()
        self.config = config
        dim = config.embedding_dim
        self.user_ids = IdEmbedding(users.known_N, dim, config.id_dropout)
        self.user_features = FeatureEmbedding(users.encoder, users.encoded, dim)
        self.user_refine = Refine(dim, config.hidden_dim, config.dropout)
        self.history = _history(config)
        self.item_ids = IdEmbedding(items.known_N, dim, config.id_dropout)
        self.item_features = FeatureEmbedding(items.encoder, items.encoded, dim)
        self.item_refine = Refine(dim, config.hidden_dim, config.dropout)
        self.register_buffer("neighbours_ID", torch.zeros(len(items.known_N), dim) if config.smoothing else None)

    @torch.no_grad()
    def start_from(self, user_UD: Tensor, item_ID: Tensor) -> None:
        """Sets the id tables; the rows of unknown ids stay as they are."""
        for ids, start_ND in ((self.user_ids, user_UD), (self.item_ids, item_ID)):
            ids.table.weight[1:] = start_ND[1:].to(ids.table.weight)

    def compile_parts(self) -> None:
        """Compiles in place what does arithmetic, for batches and histories of any size; weights keep their names."""
        for module in self.modules():
            if isinstance(module, Block | Refine):
                module.compile(dynamic=True)

    def can_place(self, user_rows_B: Tensor, history_BL: Tensor) -> Tensor:
        """bool [B]: users of whom the tower knows enough to say anything: an id with training data, or a history."""
        by_history_B = (history_BL != 0).any(1)
        return self.user_ids.known_N[user_rows_B] | by_history_B if self.config.user_ids else by_history_B

    def user_vectors(self, user_rows_B: Tensor, history_BL: Tensor) -> Tensor:
        """int [B], int [B, L] (0 = padding) -> float32 [B, D] of length 1."""
        total = self._standing(user_rows_B)
        if self.history is not None:
            total = total + self.history(*self._seen(history_BL))
        return self.user_refine(total)

    def user_vectors_along(self, user_rows_B: Tensor, history_BL: Tensor) -> Tensor:
        """int [B], int [B, L] -> float32 [B, L, D]: the user vector as it was after each item of the history."""
        assert isinstance(self.history, CausalTransformer)
        along_BLD = self.history.all_positions(*self._seen(history_BL))
        return self.user_refine(self._standing(user_rows_B)[:, None] + along_BLD)

    def _seen(self, history_BL: Tensor) -> tuple[Tensor, Tensor]:
        """A history as indices into its distinct items [B, L] (0 = padding), and what is known of each [R, D].

        Items without training data count where features speak for them, and are padding where nothing does.
        """
        if not self.item_features.any:
            history_BL = self.item_ids.known_rows(history_BL)
        rows_R, index = torch.cat([history_BL.new_zeros(1), history_BL.flatten()]).unique(return_inverse=True)
        return index[1:].view(history_BL.shape), self._item(rows_R)

    def _item(self, item_rows_C: Tensor) -> Tensor:
        """What is known of items, float32 [C, D]: id and features."""
        return self.item_ids(item_rows_C) + self.item_features(item_rows_C)

    def _standing(self, user_rows_B: Tensor) -> Tensor:
        """What is known of users apart from their history."""
        features = self.user_features(user_rows_B)
        return self.user_ids(user_rows_B) + features if self.config.user_ids else features

    def item_vectors(self, item_rows_C: Tensor) -> Tensor:
        """int [C] -> float32 [C, D] of length 1, but for what smoothing adds (outside training)."""
        vectors = self.item_refine(self._item(item_rows_C))
        if self.neighbours_ID is None or self.training:
            return vectors
        return vectors + self.config.smoothing * self.neighbours_ID[item_rows_C]

    def new_item_vectors(self, encoded: EncodedFeatures) -> Tensor:
        """float32 [N - 1, D] of items in no catalogue: of rows 1 to N - 1 as `FeatureEncoder.encode` gives them."""
        features_ND = self.item_features.of(encoded)
        unknown_N = torch.zeros(len(encoded.numbers_NF), dtype=torch.int64, device=encoded.numbers_NF.device)
        return self.item_refine(self.item_ids(unknown_N) + features_ND)[1:]


def _history(config: ModelConfig) -> PooledHistory | CausalTransformer | None:
    match config.history:
        case HistoryKind.none:
            return None
        case HistoryKind.pooled:
            return PooledHistory(config.embedding_dim)
        case HistoryKind.transformer:
            return CausalTransformer(
                config.embedding_dim, config.history_length, config.num_blocks, config.num_heads, config.dropout
            )


@torch.inference_mode()
def all_item_vectors(model: TwoTower, chunk: int = 65_536) -> Tensor:
    """float32 [I, D]: the vectors of the whole catalogue; row 0 (unknown) is zero, and never retrieved."""
    device = model.item_ids.table.weight.device
    rows = torch.arange(len(model.item_ids.known_N), device=device)
    vectors = torch.cat([model.item_vectors(part) for part in rows.split(chunk)])
    vectors[0] = 0
    return vectors
