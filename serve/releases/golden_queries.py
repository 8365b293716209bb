"""Golden queries: recorded answers of each stage, which every process that serves the release must reproduce.

They are recorded when a release is sealed. A replica checks them before it answers with the release, and serve.verify
checks them on request.

Shape legend: D dimension of the vectors, C retrieved candidates, I items with the padding row 0.
"""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from serve.index.protocol import ItemIndex, made_again
from serve.pipeline.messages import Candidates, Query, Ranked, UserVector
from serve.pipeline.reranker import RerankStage
from serve.pipeline.source import Source
from serve.pipeline.user_encoder import KnownUser, UserEncoder
from serve.releases.building.golden_users import golden_users
from serve.releases.release import Release, ReleaseError
from towers.checkpoint.checkpoint import Checkpoint
from towers.evaluation.retrieval import top_k

GOLDEN_FILE = "golden.json"
NUM_QUERIES, NUM_CANDIDATES = 8, 100
"""Golden queries of a release, and the most candidates that one of them records."""

TOLERANCE = 1e-4
"""The largest difference from the record: absolute for the entries of a vector, absolute and relative for scores."""

MIN_RECALL = 0.95
"""The share of the recorded candidates, over all golden queries together, that an index must find."""


@dataclass(frozen=True, slots=True)
class GoldenQuery:
    """A query, and what each stage answered to it when the release was sealed. Its fields are the keys of golden.json.

    Attributes:
        user_row: row of the user in the vocabulary.
        history: item rows that the user has seen.
        times, types: of the items of the history, where the user tower takes them; empty otherwise.
        vector: the user tower's vector, [D].
        candidates, scores: item rows by exact search and their scores, best first and without the history, [C].
        ranked: the re-ranker's score of each candidate, [C].
        user_id, item_ids: external ids of the user and of the candidates.
    """

    user_row: int
    history: list[int]
    vector: list[float]
    candidates: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    ranked: list[float] = field(default_factory=list)
    user_id: str | None = None
    item_ids: list[str] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    types: list[int] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The entry of golden.json; without times and types where there are none, as earlier versions wrote it."""
        return {k: v for k, v in asdict(self).items() if v or k not in ("times", "types")}

    @property
    def known(self) -> KnownUser:
        """The input of the user encoder."""
        times, types = (np.array(of) if of else None for of in (self.times, self.types))
        return KnownUser(self.user_row, np.array(self.history, dtype=np.int64), (), times, types)

    def reranker_input(self, release_id: str) -> tuple[Query, UserVector, Candidates]:
        """Returns the input of the re-ranking stage for this query."""
        query = Query(release_id=release_id, user_id=None, k=1, num_candidates=len(self.candidates))
        user = UserVector(release_id, np.array(self.vector, dtype=np.float32), np.array(self.history, dtype=np.int64))
        rows_C, scores_C = np.array(self.candidates, dtype=np.int64), np.array(self.scores, dtype=np.float32)
        return query, user, Candidates(release_id, rows_C, scores_C, Source.towers)


def golden_queries(parts: Checkpoint) -> list[GoldenQuery]:
    """Records the answers to NUM_QUERIES users whom the towers place by training interactions, see `golden_users`.

    Raises:
        FloatingPointError, ReleaseError: a stage gives values that are not finite, or the towers place no user.
    """
    encoder, reranker = UserEncoder("golden", parts), RerankStage("golden", parts)
    recorded = []
    for row in golden_users(parts, NUM_QUERIES):
        asked = _asked(parts, row)
        (vector_D,) = encoder.vectors([asked.known])
        assert vector_D is not None, "a golden user is placed"
        rows_C, scores_C = _exact_search(parts, vector_D, asked.history)
        golden = replace(asked, vector=vector_D.tolist(), candidates=rows_C.tolist(), scores=scores_C.tolist())
        (user_id,) = parts.users.ids.ids(np.array([row])).to_pylist()
        item_ids = parts.items.ids.ids(rows_C).to_pylist()
        recorded.append(replace(golden, ranked=_ranked(reranker, golden), user_id=user_id, item_ids=item_ids))
    return recorded


def _ranked(reranker: RerankStage, golden: GoldenQuery) -> list[float]:
    """The re-ranker's score of each candidate; a user who has seen all items has none."""
    ranked = reranker.rank_all([golden.reranker_input("golden")]) if golden.candidates else []
    return [score for one in ranked for score in _scores_of(one, golden.candidates)]


def _asked(parts: Checkpoint, row: int) -> GoldenQuery:
    """The query of a user, without answers."""
    sequences = parts.history
    times, types = (
        [] if of_N is None else sequences.of_user(row, of_N).tolist() for of_N in (sequences.times_N, sequences.types_N)
    )
    return GoldenQuery(row, sequences.of_user(row).tolist(), [], times=times, types=types)


def median_latency_ms(parts: Checkpoint, rounds: int = 5) -> float:
    """The median time in ms that a golden query takes through all stages in this process, with exact search."""
    encoder, reranker, took_s = UserEncoder("golden", parts), RerankStage("golden", parts), []
    for golden in golden_queries(parts) * rounds:
        started = time.perf_counter()
        encoder.vectors([golden.known])
        _exact_search(parts, np.array(golden.vector, dtype=np.float32), golden.history)
        _ranked(reranker, golden)
        took_s.append(time.perf_counter() - started)
    return 1000 * float(np.median(took_s))


def read_golden(release: Release) -> list[GoldenQuery]:
    """Reads the golden queries of a release.

    Raises:
        ReleaseError: it has none.
    """
    recorded = [GoldenQuery(**value) for value in json.loads(release.parts.folder.read_bytes(GOLDEN_FILE))]
    if not recorded:
        raise ReleaseError(f"release {release.id}: has no golden queries; publish it again")
    return recorded


def check_golden(release: Release) -> None:
    """Checks the vocabulary, the user tower and the re-ranker of a release against its golden queries.

    Raises:
        ReleaseError: one of them does not reproduce the recorded answers.
    """
    check_users(release)
    check_items(release)
    check_vectors(release, UserEncoder(release.id, release.parts))
    check_ranking(release, RerankStage(release.id, release.parts))


def check_users(release: Release) -> None:
    """Raises ReleaseError unless users have the rows that they had when the release was sealed."""
    users = release.parts.users.ids
    for golden in read_golden(release):
        if golden.user_id is not None and users.row(golden.user_id) != golden.user_row:
            raise _other_vocabulary(release, golden)


def check_items(release: Release) -> None:
    """Raises ReleaseError unless items have the rows that they had when the release was sealed."""
    items = release.parts.items.ids
    for golden in read_golden(release):
        rows_C = items.rows(pa.array(golden.item_ids, pa.string()))
        if not np.array_equal(rows_C, golden.candidates[: len(rows_C)]):
            raise _other_vocabulary(release, golden)


def _other_vocabulary(release: Release, golden: GoldenQuery) -> ReleaseError:
    return ReleaseError(
        f"release {release.id}: golden query of user row {golden.user_row}: the vocabulary is another one"
    )


def check_vectors(release: Release, encoder: UserEncoder) -> None:
    """Checks that the user tower gives the recorded vectors.

    Raises:
        ReleaseError: a vector differs by more than TOLERANCE.
    """
    for golden in read_golden(release):
        (vector_D,) = encoder.vectors([golden.known])
        difference = np.inf if vector_D is None else np.abs(vector_D - np.array(golden.vector)).max()
        if not difference <= TOLERANCE:
            raise _mismatch(release, golden, "the user's vector", difference)


async def check_retrieval(release: Release, index: ItemIndex) -> None:
    """Checks that the index finds the recorded candidates.

    Raises:
        ReleaseError: it finds a smaller share of them than MIN_RECALL.
    """
    recorded = await asyncio.to_thread(read_golden, release)
    found = [await _recall(index, golden) for golden in recorded if golden.candidates]
    if found and (mean := float(np.mean(found))) < MIN_RECALL:
        raise ReleaseError(
            f"release {release.id}: the index finds {mean:.3f} of the golden queries' items, {MIN_RECALL} at least are"
            f" required; if its collection is wrong, {made_again(release.id)}"
        )


def check_ranking(release: Release, reranker: RerankStage) -> None:
    """Checks that the re-ranker gives the recorded scores.

    Raises:
        ReleaseError: a score differs by more than TOLERANCE.
    """
    recorded = [golden for golden in read_golden(release) if golden.ranked]
    ranked = reranker.rank_all([golden.reranker_input(release.id) for golden in recorded]) if recorded else []
    for golden, one in zip(recorded, ranked, strict=True):
        scores_C = np.array(_scores_of(one, golden.candidates))
        if not np.allclose(scores_C, golden.ranked, rtol=TOLERANCE, atol=TOLERANCE):
            raise _mismatch(release, golden, "re-ranking", np.abs(scores_C - golden.ranked).max())


def _mismatch(release: Release, golden: GoldenQuery, what: str, difference: float) -> ReleaseError:
    return ReleaseError(
        f"release {release.id}: golden query of user row {golden.user_row}: {what} is off by {difference:.2g}"
    )


async def _recall(index: ItemIndex, golden: GoldenQuery) -> float:
    """The share of the recorded candidates that the index finds.

    An item that scores like the last candidate counts as found: which of equal ones comes last is arbitrary.
    """
    vector_D, history = np.array(golden.vector, dtype=np.float32), np.array(golden.history, dtype=np.int64)
    hits = await index.search(vector_D, len(golden.candidates), exclude=history)
    found = np.isin(hits.rows, golden.candidates) | (np.abs(hits.scores - golden.scores[-1]) <= TOLERANCE)
    return float(found.sum() / len(golden.candidates))


@torch.inference_mode()
def _exact_search(parts: Checkpoint, vector_D: np.ndarray, history: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and scores of the best candidates outside the history, best first: int64 [C] and float32 [C]."""
    scores_I = torch.from_numpy(vector_D) @ parts.item_vectors_ID.T
    scores_I[[0, *history]] = -torch.inf
    count = min(NUM_CANDIDATES, int(torch.isfinite(scores_I).sum()))
    columns_1C, scores_1C = top_k(scores_I[torch.from_numpy(parts.ties.rows_I)][None], count)
    return parts.ties.rows_I[columns_1C[0].numpy()], scores_1C[0].numpy()


def _scores_of(ranked: Ranked, rows: Sequence[int]) -> list[float]:
    """The re-ranker's score of each of these rows, in their order, [C]."""
    by_row = dict(zip(ranked.rows_K.tolist(), ranked.scores_K.tolist(), strict=True))
    return [by_row[row] for row in rows]
