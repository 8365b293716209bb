"""Stage 1, the user encoder: from a user id and a history to a user vector.

Shape legend: B users, L length of the history that the user tower takes, D dimension.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from serve.index.micro_batcher import MicroBatcher
from serve.pipeline.messages import Query, SimilarQuery, UnusableValue, UserVector, check_same_release
from towers.checkpoint.checkpoint import Checkpoint
from towers.model.features import FeatureEncoder
from towers.model.history.padding import pad


class UserEncoder:
    """The user tower of one release as a stage of the pipeline; it encodes users that wait at the same time together.

    It also computes the item tower's vector of an item that a request describes by its features.
    """

    def __init__(self, release_id: str, parts: Checkpoint) -> None:
        self.release_id = release_id
        self._parts = parts
        self._history_length = parts.model.config.num_history
        self._item_encoder = FeatureEncoder.of_json(parts.items, parts.manifest["item_scales"])
        self._batched = MicroBatcher(self.vectors)

    async def __call__(self, query: Query) -> UserVector:
        """Returns the user's vector, and the history that it was computed from.

        Raises:
            FloatingPointError: The user tower gives values that are not finite.
            WrongRelease: The query is of another release.
        """
        check_same_release(self.release_id, query.release_id)
        row = self._parts.users.ids.row(query.user_id) if query.user_id is not None else 0
        history = np.concatenate(
            [self._parts.history.of_user(row), np.array(query.recent + query.history, dtype=np.int64)]
        )
        is_same = self._parts.seen is self._parts.history
        seen = None if is_same else self._parts.seen.of_user(row).astype(np.int64)
        return UserVector(
            self.release_id, await self._batched((row, history, query.context)), history.astype(np.int64), seen
        )

    @torch.inference_mode()
    def vectors(self, users: Sequence[tuple[int, np.ndarray, tuple[int, ...]]]) -> list[np.ndarray | None]:
        """Returns the user tower's vectors of several users.

        Args:
            users: For each user its row, the item rows known of it, oldest first, and the rows of the context,
                which may be empty.

        Returns:
            float32 [D] for each user; None for a user of whom nothing is known.

        Raises:
            FloatingPointError: The user tower gives values that are not finite.
        """
        rows_B = torch.tensor([row for row, _, _ in users])
        history_BL = pad([history.tolist() for _, history, _ in users], self._history_length)
        num_context = len(self._parts.model.context)
        context_BC = torch.tensor([context or (0,) * num_context for _, _, context in users])
        known_B = self._parts.model.is_known(rows_B, history_BL).tolist()
        vector_BD: np.ndarray = self._parts.model.user_vectors(rows_B, history_BL, context_BC).numpy()
        if not np.isfinite(vector_BD).all():
            raise FloatingPointError("user tower: NaN or infinite values in a user vector")
        return [vector_D if known else None for vector_D, known in zip(vector_BD, known_B, strict=True)]

    async def describe(self, query: SimilarQuery) -> np.ndarray | None:
        """Returns the item tower's vector, float32 [D], of the query's features; features left out count as missing.

        None if the item tower knows none of the values: it would give the same vector for all such items.

        Raises:
            UnusableValue: A value cannot be encoded, or the item tower gives values that are not finite for it.
        """
        check_same_release(self.release_id, query.release_id)
        assert query.features is not None, "a query without features has nothing to encode"
        return self._encode_item(query.features)

    @torch.inference_mode()
    def _encode_item(self, features: Mapping[str, Any]) -> np.ndarray | None:
        schema = pa.schema([self._parts.items.table.schema.field(f.name) for f in self._parts.items.features])
        try:
            encoded = self._item_encoder.encode(pa.Table.from_pylist([dict(features)], schema=schema))
        except (ValueError, TypeError, OverflowError) as e:  # pyarrow's errors for values that do not fit its types
            raise UnusableValue(f"features: {e}") from e
        if not self._parts.model.item_values.describe(encoded)[1]:
            return None
        vector_D: np.ndarray = self._parts.model.new_item_vectors(encoded)[0].numpy()
        if not np.isfinite(vector_D).all():
            raise UnusableValue("features: the item tower gives values that are not finite for them")
        return vector_D
