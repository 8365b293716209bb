"""The two-tower model: score(user, item) = cosine of a user vector and an item vector.

Shape legend: B batch, C candidates, L history length, D dimension, U users, I items (row 0 of both = unknown), R
distinct items of a batch's histories.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from towers.model.config import HistoryKind, ModelConfig
from towers.model.feature_embedding import FeatureEmbedding
from towers.model.features import EncodedFeatures, FeatureEncoder
from towers.model.history import Block, CausalTransformer, PooledHistory
from towers.model.layers import IdEmbedding, Refine


@dataclass(frozen=True)
class Side:
    """What a tower is built from: the encoded features of its ids, and which of them have training interactions."""

    encoder: FeatureEncoder
    encoded: EncodedFeatures
    known_N: Tensor


class TwoTower(nn.Module):
    """User tower and item tower. The user's history sees an item as its tower does: by id and features.

    Attributes:
        neighbours_ID: see towers/model/smoothing.py; zero until it is filled after training, None without smoothing.
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
