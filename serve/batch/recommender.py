"""The batch recommender: one release's stages over many users at once, as a Ray Data actor.

Shape legend: Q users, K candidates, I item rows (row 0 is padding), D dimension.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from data.artifacts.folders import Folder
from serve.batch.made_without import MadeWithout
from serve.batch.seen import left_out
from serve.pipeline.source import Source
from serve.releases.golden_queries import check_golden
from serve.releases.registry import ReleaseRegistry
from towers.evaluation.config import SeenItems
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import Ranking, embed, rerank, retrieve

BATCH_SIZE = 512
"""Users that are scored at a time."""

SCHEMA = pa.schema(
    [
        pa.field("user_id", pa.string()),
        pa.field("item_ids", pa.list_(pa.string())),
        pa.field("scores", pa.list_(pa.float32())),
        pa.field("source", pa.string()),
    ]
)
"""The columns of the recommendations: item ids and their scores, best first, and `serve.pipeline.source.Source`."""


class BatchRecommender:
    """Recommends items to many users by one release, and writes what it recommends as Parquet files.

    Args:
        storage: The storage that holds the release.
        release_id: The release.
        folder: Where the files are written.
        k: Items per user.
        num_candidates: Items to retrieve and to re-rank per user.
        denylist: Ids of items that are never recommended, sorted.
        forgotten: Ids of users of whom the release is to know nothing.
        seen: What becomes of the items that a user has seen.
    """

    def __init__(
        self,
        storage: Folder,
        release_id: str,
        folder: Folder,
        k: int,
        num_candidates: int,
        denylist: list[str],
        forgotten: Sequence[str] = (),
        seen: SeenItems = SeenItems.mask,
    ) -> None:
        release = ReleaseRegistry.of(storage).open(release_id)
        check_golden(release)
        self._parts, self._folder, self._k, self._num_candidates = release.parts, folder, k, num_candidates
        self._denied_rows = release.parts.items.ids.rows(pa.array(denylist, pa.string()))
        self._denylist, self._forgotten = denylist, forgotten
        self._left_out = left_out(release.parts, seen)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Writes one file for each row of a batch.

        Args:
            batch: The columns `part`, the name of the file, and `user_ids`, a list of users.

        Returns:
            The column `num_users`: how many users each file has.
        """
        for part, user_ids in zip(batch["part"].to_pylist(), batch["user_ids"], strict=True):
            content = pa.BufferOutputStream()
            note = MadeWithout.of(user_ids.values, self._denylist, self._forgotten)
            pq.write_table(self.table(user_ids.values).replace_schema_metadata(note.metadata), content)
            self._folder.write_bytes(part, content.getvalue().to_pybytes())
        return pa.table({"num_users": pc.list_value_length(batch["user_ids"])})

    def table(self, user_ids: pa.Array) -> pa.Table:
        """Returns the recommendations of some users, one row each in the same order, with the columns of SCHEMA."""
        parts, no_rows = self._parts, np.zeros(0, dtype=np.int64)
        is_forgotten_Q = pc.is_in(user_ids, pa.array(self._forgotten, pa.string())).to_numpy(zero_copy_only=False)
        rows_Q = np.where(is_forgotten_Q, 0, parts.users.ids.rows(user_ids)).astype(np.int32)
        queries = HeldOut(rows_Q, (no_rows, no_rows), self._left_out, None, parts.history)
        vectors, item_ID = embed(parts.model, queries, BATCH_SIZE), parts.item_vectors_ID
        num_retrieved = self._num_candidates + len(self._denied_rows)
        retrieved = retrieve(vectors, queries, parts.popularity_I, item_ID, BATCH_SIZE, num_retrieved, parts.ties)
        kept = without_denied(retrieved, self._denied_rows, self._num_candidates)
        ranked = rerank(parts.reranker, vectors, kept, queries, BATCH_SIZE, parts.ties)
        rows_QK, scores_QK = ranked.rows_QK[:, : self._k], ranked.scores_QK[:, : self._k]
        is_item_QK = rows_QK > 0
        offsets = pa.array(np.concatenate([[0], np.cumsum(is_item_QK.sum(1))]), pa.int32())
        items = parts.items.ids.ids(rows_QK[is_item_QK]).cast(pa.string())  # of all ids, it may be `large_string`
        scores = pa.array(scores_QK[is_item_QK], pa.float32())
        sources = pa.array(np.where(ranked.by_towers_Q, Source.towers.value, Source.popular.value), pa.string())
        lists = (pa.ListArray.from_arrays(offsets, values) for values in (items, scores))
        return pa.table([user_ids.cast(pa.string()), *lists, sources], schema=SCHEMA)


def without_denied(found: Ranking, denied_rows: np.ndarray, num_kept: int) -> Ranking:
    """Returns the first `num_kept` of each list that are not on the denylist, in their order."""
    denied_QK = np.isin(found.rows_QK, denied_rows)
    first_QK = np.argsort(denied_QK, axis=1, kind="stable")[:, :num_kept]
    rows_QK = np.take_along_axis(np.where(denied_QK, -1, found.rows_QK), first_QK, axis=1)
    scores_QK = np.take_along_axis(np.where(denied_QK, -np.inf, found.scores_QK), first_QK, axis=1)
    return Ranking(rows_QK, scores_QK, found.by_towers_Q)
