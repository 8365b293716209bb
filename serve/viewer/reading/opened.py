"""A release with its towers, in the process of the page: what any release would answer, without the endpoint.

The lists are those of batch inference (`serve.batch`): exact retrieval, then re-ranking, without what is denied and,
where the release was measured so, without what was seen. They know nothing of events and context, and a user who was
forgotten is an unknown one. This module needs torch; a view imports it when it is first used.

Shape legend: Q users, K ranks, I items (row 0 is padding), D dimension.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from data.sequences.histories import Sequences
from serve.batch.recommender import without_denied
from serve.batch.seen import left_out, treatment_of_seen
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import Ranking, embed, rank_by_popularity, rerank, retrieve

BATCH_SIZE = 64
"""Users that are scored at a time: 256 MB for a million items."""

Forgotten = Callable[[pa.Array, Mapping[str, Any]], Sequence[str]]
"""Says which of some users were forgotten since the log was read of the release with a manifest."""


def nobody(user_ids: pa.Array, manifest: Mapping[str, Any]) -> Sequence[str]:
    """No user, where it is not known who was forgotten."""
    return ()


class Order(Enum):
    """Which models rank a list."""

    full = "towers and re-ranker"
    towers = "towers alone"
    popular = "popular items"


@dataclass
class OpenedRelease:
    """A release with its towers. Its methods take seconds where users or items are many: call them in a thread.

    Attributes:
        release: The release.
        registry: Where the live pointer and its denylist are, which every list follows as it is then.
        num_candidates: Items to retrieve and to re-rank per user.
        forgotten: Says which of some users were forgotten since the log of the release was read. It knows nothing of
            them.
    """

    release: Release
    registry: ReleaseRegistry
    num_candidates: int
    forgotten: Forgotten = nobody
    _denylist: tuple[str | None, frozenset[str]] = (None, frozenset())

    @classmethod
    def open(
        cls, registry: ReleaseRegistry, release_id: str, num_candidates: int, forgotten: Forgotten = nobody
    ) -> "OpenedRelease":
        """Opens a release.

        Raises:
            ReleaseError, NotSealed: there is no such release, or it is damaged.
        """
        return cls(registry.open(release_id), registry, num_candidates, forgotten)

    def denied(self) -> frozenset[str]:
        """Returns the ids of items that are recommended to nobody now; a denylist is read once, as it never changes."""
        live = self.registry.live()
        name = None if live is None else live.denylist
        known, denylist = self._denylist
        if name != known:
            denylist = self.registry.read_denylist(name)
            self._denylist = name, denylist
        return denylist | self.release.removed_items

    @cached_property
    def _left_out(self) -> Sequences:
        """What every user has seen and no list has, as the release was measured."""
        return left_out(self.release.parts, treatment_of_seen(self.release.manifest))

    @cached_property
    def item_vectors_ID(self) -> np.ndarray:
        """float32: the vectors of all items; row 0 is zero."""
        vectors: np.ndarray = self.release.parts.item_vectors_ID.detach().cpu().numpy()
        return vectors

    def lists(self, user_ids: pa.Array, order: Order, k: int) -> list[list[str]]:
        """Returns the first k items of each user, best first."""
        rows_QK = self._ranking(user_ids, order, k).rows_QK[:, :k]
        counts = (rows_QK > 0).sum(1)
        flat = self.release.parts.items.ids.ids(rows_QK[rows_QK > 0]).to_pylist()
        ends = np.cumsum(counts).tolist()
        return [flat[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]

    def user_vector(self, user_id: str) -> np.ndarray | None:
        """Returns the vector of a user, float32 [D], by what the release has learnt; None if it knows nothing."""
        vectors = embed(self.release.parts.model, self._queries(pa.array([user_id])), BATCH_SIZE)
        return vectors.user_QD[0].cpu().numpy() if bool(vectors.known_Q[0]) else None

    def _queries(self, user_ids: pa.Array) -> HeldOut:
        parts, none = self.release.parts, np.zeros(0, dtype=np.int64)
        gone = pa.array(self.forgotten(user_ids, self.release.manifest), user_ids.type)
        is_gone_Q = pc.is_in(user_ids, gone).to_numpy(zero_copy_only=False)
        rows_Q = np.where(is_gone_Q, 0, parts.users.ids.rows(user_ids)).astype(np.int32)
        return HeldOut(rows_Q, (none, none), self._left_out, None, parts.history)

    @torch.inference_mode()
    def _ranking(self, user_ids: pa.Array, order: Order, k: int) -> Ranking:
        parts, queries = self.release.parts, self._queries(user_ids)
        denied_rows = parts.items.ids.rows(pa.array(sorted(self.denied()), pa.string()))
        num_wanted = k if order is Order.popular else max(k, self.num_candidates)
        if order is Order.popular:
            found = rank_by_popularity(
                queries, parts.popularity_I, BATCH_SIZE, num_wanted + len(denied_rows), parts.ties
            )
            return without_denied(found, denied_rows, num_wanted)
        vectors, item_ID = embed(parts.model, queries, BATCH_SIZE), parts.item_vectors_ID
        found = retrieve(
            vectors, queries, parts.popularity_I, item_ID, BATCH_SIZE, num_wanted + len(denied_rows), parts.ties
        )
        found = without_denied(found, denied_rows, num_wanted)
        if order is Order.towers:
            return found
        return rerank(parts.reranker, vectors, found, queries, BATCH_SIZE, parts.ties)
