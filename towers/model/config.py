"""The two-tower model: score(user, item) = cosine of a user vector and an item vector.

Shape legend: B batch, C candidates, L history length, D dimension, U users, I items (row 0 of both = unknown), R
distinct items of a batch's histories.
"""

from dataclasses import dataclass
from enum import Enum

from data.artifacts.errors import ConfigError
from data.sequences.histories import HistoryOrder

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
    spectral = "spectral"  # see towers/model/spectral.py


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
            raise ConfigError(f"model.embedding_dim: {self.embedding_dim} must lie in 1..4096")
        if self.hidden_dim < 0:
            raise ConfigError(f"model.hidden_dim: {self.hidden_dim} must be at least 0")
        for name in ("dropout", "id_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"model.{name}: {getattr(self, name)} must lie in [0, 1)")
        if not 1 <= self.history_length <= 1000:
            raise ConfigError(f"model.history_length: {self.history_length} must lie in 1..1000")
        if self.num_blocks < 1 or self.num_heads < 1 or self.embedding_dim % self.num_heads:
            raise ConfigError(
                f"model: num_blocks ({self.num_blocks}) and num_heads ({self.num_heads}) must be at least 1, and"
                f" num_heads must divide embedding_dim ({self.embedding_dim})"
            )
        if self.history is HistoryKind.transformer and self.embedding_dim // self.num_heads % 2:
            raise ConfigError(
                f"model.embedding_dim: {self.embedding_dim} over num_heads ({self.num_heads}) must be an even number"
            )
        if not self.smoothing >= 0:
            raise ConfigError(f"model.smoothing: {self.smoothing} must be at least 0")
        if not self.user_ids and self.history is HistoryKind.none:
            raise ConfigError("model.user_ids: false needs a history, or nothing would be known of any user")

    @property
    def num_history(self) -> int:
        """Items of the history that the model looks at."""
        return 0 if self.history is HistoryKind.none else self.history_length
