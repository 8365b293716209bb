"""Stage 1: from a user id and a history to a user vector."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from serve.pipeline.messages import Query, SimilarQuery, UserVector, same_release
from serve.pipeline.micro_batcher import Batcher
from towers.checkpoint.checkpoint import Checkpoint
from towers.model.features import FeatureEncoder
from towers.model.history import pad


class UserEmbedder:
    """The user tower of one release; queries that wait at the same time go through it together."""

    def __init__(self, release_id: str, parts: Checkpoint) -> None:
        self.release_id = release_id
        self._parts = parts
        self._length = parts.model.config.num_history
        self._item_encoder = FeatureEncoder.of_json(parts.items, parts.manifest["item_scales"])
        self._batched = Batcher(self.vectors)

    async def __call__(self, query: Query) -> UserVector:
        same_release(self.release_id, query.release_id)
        row = self._parts.users.ids.row(query.user_id) if query.user_id is not None else 0
        history = np.concatenate([self._parts.seen.of_user(row), np.array(query.history, dtype=np.int64)])
        return UserVector(self.release_id, await self._batched((row, history)), history.astype(np.int64))

    @torch.inference_mode()
    def vectors(self, users: Sequence[tuple[int, np.ndarray]]) -> list[np.ndarray | None]:
        """float32 [D] of each user row and the item rows known of it, oldest first; None where nothing is known.

        Raises:
            FloatingPointError: the tower gives values that are not finite.
        """
        rows_B = torch.tensor([row for row, _ in users])
        history_BL = pad([history.tolist() for _, history in users], self._length)
        known_B = self._parts.model.can_place(rows_B, history_BL).tolist()
        vector_BD: np.ndarray = self._parts.model.user_vectors(rows_B, history_BL).numpy()
        if not np.isfinite(vector_BD).all():
            raise FloatingPointError("user tower: NaN or infinite values in a user vector")
        return [vector_D if known else None for vector_D, known in zip(vector_BD, known_B, strict=True)]

    async def describe(self, query: SimilarQuery) -> np.ndarray:
        """float32 [D]: the item tower's vector of features; those that are not named count as missing."""
        same_release(self.release_id, query.release_id)
        assert query.features is not None, "only features need describing"
        return self._described(query.features)

    @torch.inference_mode()
    def _described(self, features: Mapping[str, Any]) -> np.ndarray:
        schema = pa.schema([self._parts.items.table.schema.field(f.name) for f in self._parts.items.features])
        encoded = self._item_encoder.encode(pa.Table.from_pylist([dict(features)], schema=schema))
        vector_D: np.ndarray = self._parts.model.new_item_vectors(encoded)[0].numpy()
        return vector_D
