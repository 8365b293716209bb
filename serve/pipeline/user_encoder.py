"""Stage 1, the user encoder: from a user id and a history to a user vector.

Shape legend: B users, L length of the history that the user tower takes, D dimension.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch

from data.sequences.histories import TIME, TYPE
from serve.index.micro_batcher import MicroBatcher
from serve.pipeline.messages import Query, SimilarQuery, UnusableValue, UserVector, check_same_release
from serve.pipeline.released_history import without_released
from towers.checkpoint.checkpoint import Checkpoint
from towers.model.features import FeatureEncoder
from towers.model.history.moments import Moments
from towers.model.history.padding import pad

PRECOMPUTED_BYTES = 64 * 2**20
"""Most that a replica spends on embedding the features of all items beforehand, which saves a quarter of the time of a
user vector; items of a larger catalogue are embedded when a history has them."""


class KnownUser(NamedTuple):
    """What is known of a user, in rows of the release.

    Attributes:
        row: The user; 0 where the release does not know the user.
        history: The item rows known of the user, oldest first.
        context: The rows of the context; may be empty.
        times: int64, unix seconds of each item of the history; None means that all are of one time.
        types: int, the row of each one's event type; None means that no type is known.
    """

    row: int
    history: np.ndarray
    context: tuple[int, ...] = ()
    times: np.ndarray | None = None
    types: np.ndarray | None = None


class UserEncoder:
    """The user tower of one release as a stage of the pipeline; it encodes users that wait at the same time together.

    It also computes the item tower's vector of an item that a request describes by its features.

    Args:
        release_id: The release.
        parts: Its towers, its users, and the histories that it knows; other parts are not kept.
        clock: Returns the unix seconds now.
    """

    def __init__(self, release_id: str, parts: Checkpoint, clock: Callable[[], float] = time.time) -> None:
        self.release_id = release_id
        self._model, self._users = parts.model, parts.users.ids
        if self._model.item_features.precomputed_bytes <= PRECOMPUTED_BYTES:
            self._model.item_features.precompute()
        self._history, self._seen = parts.history, parts.seen
        self._history_length = parts.model.config.num_history
        items = parts.items  # of the catalogue, no rows are kept
        self._item_encoder = FeatureEncoder.of_json(items, parts.manifest["item_scales"])
        self._item_schema = pa.schema([items.table.schema.field(f.name) for f in items.features])
        self._clock = clock
        self._needs = parts.model.config.history_columns
        self._batched = MicroBatcher(self.vectors)

    async def __call__(self, query: Query) -> UserVector:
        """Returns the user's vector, and the history that it was computed from.

        Events that the release has learnt from already do not lengthen it (`without_released`).

        Raises:
            FloatingPointError: The user tower gives values that are not finite.
            WrongRelease: The query is of another release.
        """
        check_same_release(self.release_id, query.release_id)
        row = self._users.row(query.user_id) if query.user_id is not None else 0
        released = self._history.of_user(row)
        query = without_released(query, released)
        history = np.concatenate([released, np.array(query.recent + query.history, dtype=np.int64)])
        is_same = self._seen is self._history
        seen = None if is_same else self._seen.of_user(row).astype(np.int64)
        user = KnownUser(row, history, query.context, self._times(row, query), self._types(row, query))
        vector_D = await self._batched(user)
        return UserVector(self.release_id, vector_D, history.astype(np.int64), seen, len(released))

    def _times(self, row: int, query: Query) -> np.ndarray | None:
        """int64: When each item of the history was taken; None where the user tower does not take times.

        The items that a request names itself count as taken now, or when what is known to be latest was, if that is
        after now.
        """
        if TIME not in self._needs:
            return None
        released = self._history.of_user(row, self._history.times_N)
        known = np.concatenate([released, np.array(query.recent_times, dtype=np.int64)])
        missing = len(query.recent) - len(query.recent_times) + len(query.history)
        now = int(self._clock()) if missing else 0
        return np.concatenate([known, np.full(missing, max(now, int(known.max(initial=0))))])

    def _types(self, row: int, query: Query) -> np.ndarray | None:
        """int64: The event type of each item of the history; None where the user tower does not take types."""
        if TYPE not in self._needs:
            return None
        released = self._history.of_user(row, self._history.types_N)
        missing = len(query.recent) - len(query.recent_types) + len(query.history)
        return np.concatenate([released, np.array(query.recent_types, dtype=np.int64), np.zeros(missing, np.int64)])

    @torch.inference_mode()
    def vectors(self, users: Sequence[KnownUser]) -> list[np.ndarray | None]:
        """Returns the user tower's vectors of several users.

        Returns:
            float32 [D] for each user; None for a user of whom nothing is known.

        Raises:
            FloatingPointError: The user tower gives values that are not finite.
        """
        rows_B = torch.tensor([user.row for user in users])
        history_BL = self._padded([user.history for user in users], torch.int32)
        num_context = len(self._model.context)
        context_BC = torch.tensor([user.context or (0,) * num_context for user in users])
        known_B = self._model.is_known(rows_B, history_BL).tolist()
        vector_BD: np.ndarray = self._model.user_vectors(rows_B, history_BL, context_BC, self._moments(users)).numpy()
        if not np.isfinite(vector_BD).all():
            raise FloatingPointError("user tower: NaN or infinite values in a user vector")
        return [vector_D if known else None for vector_D, known in zip(vector_BD, known_B, strict=True)]

    def _moments(self, users: Sequence[KnownUser]) -> Moments:
        """The times and types of the users' histories, as far as the user tower takes them."""
        times_BL = types_BL = None
        if TIME in self._needs:
            times_BL = self._padded(
                [np.zeros_like(u.history) if u.times is None else u.times for u in users], torch.int64
            )
        if TYPE in self._needs:
            types_BL = self._padded(
                [np.zeros_like(u.history) if u.types is None else u.types for u in users], torch.int64
            )
        return Moments(times_BL, types_BL)

    def _padded(self, values: Sequence[np.ndarray], dtype: torch.dtype) -> torch.Tensor:
        return pad([of_user.tolist() for of_user in values], self._history_length, dtype)

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
        try:
            encoded = self._item_encoder.encode(pa.Table.from_pylist([dict(features)], schema=self._item_schema))
        except (ValueError, TypeError, OverflowError) as e:  # pyarrow's errors for values that do not fit its types
            raise UnusableValue(f"features: {e}") from e
        if not self._model.item_values.describe(encoded)[1]:
            return None
        vector_D: np.ndarray = self._model.new_item_vectors(encoded)[0].numpy()
        if not np.isfinite(vector_D).all():
            raise UnusableValue("features: the item tower gives values that are not finite for them")
        return vector_D
