"""The two-tower model: score(user, item) is the dot product of a user vector and an item vector.

Both have length 1, so a score is a cosine, unless smoothing (towers/model/smoothing.py) adds to the item vectors.

Shape legend: B batch, C candidates (of a context: features), L history length, D dimension, U users, I items (row 0 of
both = unknown), N users or items, R distinct items of a batch's histories.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from towers.model.config import ModelConfig
from towers.model.context import Context
from towers.model.described import TrainedValues
from towers.model.feature_embedding import FeatureEmbedding
from towers.model.history.encoder import HistoryEncoder
from towers.model.history.event_types import EventTypeShift
from towers.model.history.moments import Moments, without_gaps
from towers.model.history.time_modes import HistoryTime
from towers.model.item_tower import ItemTower, TowerInputs, all_item_vectors
from towers.model.layers import IdEmbedding, KnownIds, Refine
from towers.model.tables.table import skip_drawing

__all__ = ["TowerInputs", "TwoTower", "all_item_vectors"]


class TwoTower(ItemTower):
    """User tower and item tower. The history embeds an item as the item tower does: by its id and its features.

    Attributes:
        user_described_N, item_places_N: bool, users whose features are known, and items that place a user who has them
            in the history: those with training data or known features.
        item_values: the feature values of items that the item tower has learnt.
        context: the context features that requests may have, and their values.
        context_values: their embeddings; None without `model.context`.
        event_types: what the types of events change about the items of histories; None without `model.history_types`.
        places_by_features: whether users without id and history are placed by their features, which training decides
            on validation (towers/evaluation/decisions/placement.py) and the manifest of the checkpoint holds.
    """

    user_described_N: Tensor
    item_places_N: Tensor
    places_by_features: bool = False

    def __init__(
        self,
        config: ModelConfig,
        users: TowerInputs,
        items: TowerInputs,
        context: Context | None = None,
        event_types: Sequence[str] = (),
    ) -> None:
        nn.Module.__init__(self)  # the item tower comes last, so that a seed gives the weights that it always gave
        config.check_history()
        dim, encoder = config.embedding_dim, config.history_encoder
        self.user_ids = _user_ids(config, users.known_N)
        self.user_features = FeatureEmbedding(users.encoder, users.encoded, dim, config.table)
        self.user_refine = Refine(dim, config.hidden_dim, config.dropout)
        self.history: HistoryEncoder | None = encoder(config) if encoder.reads_history else None
        self.add_item_tower(config, items)
        user_values = TrainedValues.of(users.encoded, users.known_N)
        self.item_values = TrainedValues.of(items.encoded, items.known_N)
        item_places_N = items.known_N | self.item_values.describe(items.encoded)
        self.register_buffer("item_places_N", item_places_N, persistent=False)
        self.register_buffer("user_described_N", user_values.describe(users.encoded), persistent=False)
        self.context, self.context_values = context or Context(), None
        if config.context and len(self.context):
            self.context_values = nn.Embedding(self.context.num_values, dim, padding_idx=0)
            nn.init.normal_(self.context_values.weight[1:], std=0.1 * dim**-0.5)
        self.event_types = EventTypeShift(event_types, dim, config.context_dropout) if config.history_types else None
        self.clear_unknown()

    def clear_unknown(self) -> None:
        """Does the same for users too."""
        super().clear_unknown()
        clears = self.config.clears_unknown("user", self.user_features.has_features)
        if clears and isinstance(self.user_ids, IdEmbedding):
            self.user_ids.table.clear_unknown()

    def set_id_tables(self, user_UD: Tensor, item_ID: Tensor) -> None:
        """Initialises both id embedding tables with these vectors; row 0, of unknown ids, stays as it is."""
        if isinstance(self.user_ids, IdEmbedding):
            self.user_ids.table.set_rows(user_UD)
        self.item_ids.table.set_rows(item_ID)

    def compile_parts(self) -> None:
        """Compiles perceptrons and encoder blocks in place, for inputs of any size; weights keep their names."""
        encoder_parts = [] if self.history is None else self.history.modules_to_compile()
        for module in (self.user_refine, self.item_refine, *encoder_parts):
            module.compile(dynamic=True)

    def is_known(self, user_rows_B: Tensor, history_BL: Tensor) -> Tensor:
        """bool [B]: whether anything is known of a user by which the towers can place them.

        That is an id with training data (if `model.user_ids`), an item of the history that has training data or known
        features (unless `model.history` is none), or, if `places_by_features`, known features of the user. Of all
        others the user vector says nothing: they get popular items, in evaluation as at the endpoint.
        """
        known_B = self.item_places_N[history_BL].any(1) & (self.history is not None)
        if self.config.user_ids:
            known_B = known_B | self.user_ids.known_N[user_rows_B]
        if self.places_by_features:
            known_B = known_B | self.user_described_N[user_rows_B]
        return known_B

    def user_vectors(
        self,
        user_rows_B: Tensor,
        history_BL: Tensor,
        context_BC: Tensor | None = None,
        moments: Moments = Moments(),  # noqa: B008  (it is immutable)
    ) -> Tensor:
        """int [B], int [B, L] (0 = padding, on the left) -> float32 [B, D] of length 1.

        Args:
            context_BC: int, rows of the values of `context`, 0 where they are missing; None means that all are. It has
                no effect without `model.context`.
            moments: times and event types of the history's items; those that `ModelConfig.history_columns` names are
                required, and the others have no effect.

        Raises:
            ValueError: times or types are required, and there are none.
        """
        total_BD = self._user_embedding(user_rows_B) + self._context_embedding(context_BC)
        if self.history is not None:
            if not (self.training or self.item_features.has_features):
                history_BL, moments = without_gaps(self.item_ids.known_rows(history_BL), moments)
            total_BD = total_BD + self.history(*self._embedded_history(history_BL, moments))
        return self.user_refine(total_BD)

    def user_vectors_at_each_position(
        self,
        user_rows_B: Tensor,
        history_BL: Tensor,
        context_BLC: Tensor | None = None,
        moments: Moments = Moments(),  # noqa: B008
    ) -> Tensor:
        """int [B], int [B, L] -> float32 [B, L, D]: the user vector after each item of the history.

        Only for encoders that train on all positions (`HistoryEncoder.trains_on_all_positions`).

        Args:
            context_BLC: int, the context of what follows each item, as in `user_vectors`.
            moments: as in `user_vectors`.
        """
        assert self.history is not None
        encoded_BLD = self.history.all_positions(*self._embedded_history(history_BL, moments))
        encoded_BLD = encoded_BLD + self._context_embedding(context_BLC)
        return self.user_refine(self._user_embedding(user_rows_B)[:, None] + encoded_BLD)

    @property
    def event_type_rows(self) -> dict[str, int]:
        """The row of each event type in `Moments.types_BL`, by its name; none without `model.history_types`."""
        return {} if self.event_types is None else self.event_types.rows

    def _context_embedding(self, context: Tensor | None) -> Tensor | float:
        """int [..., C] -> float32 [..., D]: the sum over the features; 0 without `model.context` or any context."""
        if self.context_values is None or context is None:
            return 0.0
        if self.training and self.config.context_dropout:
            dropped = torch.rand(context.shape[:-1], device=context.device) < self.config.context_dropout
            context = context.masked_fill(dropped[..., None], 0)
        return self.context_values(context).sum(-2)

    def _embedded_history(self, history_BL: Tensor, moments: Moments = Moments()) -> tuple[Tensor, ...]:  # noqa: B008
        """What the encoder takes: indices into distinct items [B, L] (0 = padding), and the embeddings of these [R, D].

        An item without training data is described by its features; where items have none, it becomes padding. With
        event types, the same item counts once for each type. The times [B, L] follow where the encoder takes them.
        """
        if not self.item_features.has_features:
            history_BL = self.item_ids.known_rows(history_BL)
        times = () if self.config.history_time is HistoryTime.none else (_required(moments.times_BL, "times"),)
        if self.event_types is None:
            rows_R, index = torch.cat([history_BL.new_zeros(1), history_BL.flatten()]).unique(return_inverse=True)
            return index[1:].view(history_BL.shape), self.item_embedding(rows_R), *times
        num_types = len(self.event_types.names) + 1
        types_BL = self.event_types.known(_required(moments.types_BL, "event types"), history_BL)
        pairs = (history_BL.long() * num_types + types_BL).flatten()
        pair_R, index = torch.cat([pairs.new_zeros(1), pairs]).unique(return_inverse=True)
        item_RD = self.event_types(self.item_embedding(pair_R // num_types), pair_R % num_types)
        return index[1:].view(history_BL.shape), item_RD, *times

    def _user_embedding(self, user_rows_B: Tensor) -> Tensor:
        """float32 [B, D] (or broadcastable to it): id and features, without the history."""
        features_BD = self.user_features(user_rows_B)
        return self.user_ids(user_rows_B) + features_BD if self.config.user_ids else features_BD


def _user_ids(config: ModelConfig, known_U: Tensor) -> KnownIds:
    """The users, with a vector for each, or without `model.user_ids`; other initial values do not depend on that."""
    num_users, dim = len(known_U), config.embedding_dim
    if config.user_ids:
        return IdEmbedding(known_U, config.table(num_users, dim, dim**-0.5), config.id_dropout)
    skip_drawing(min(num_users, config.hash_rows) if config.tables == "hashed" else num_users, dim)
    return KnownIds(known_U)


def _required(values_BL: Tensor | None, what: str) -> Tensor:
    """The moments of histories that the configuration asks for.

    Raises:
        ValueError: there are none. No code of ours leaves them out: `ModelConfig.history_columns` says what is needed.
    """
    if values_BL is None:
        raise ValueError(f"these towers need the {what} of histories")
    return values_BL
