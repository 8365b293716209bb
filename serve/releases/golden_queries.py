"""Golden queries: what each stage said at publish, and must say in every process that serves the release.

Shape legend: D dimension, C candidates.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import torch

from serve.index.protocol import ItemIndex
from serve.pipeline.messages import Candidates, Query, Ranked, UserVector
from serve.pipeline.reranker import RerankStage
from serve.pipeline.source import Source
from serve.pipeline.user_encoder import UserEmbedder
from serve.releases.release import Release, ReleaseError
from towers.checkpoint.checkpoint import Checkpoint
from towers.evaluation.retrieval import top_k

GOLDEN = "golden.json"
COUNT, CANDIDATES = 8, 100

TOLERANCE = 1e-4
"""Of a vector's entries; of scores, beside as much of their size."""

MIN_RECALL = 0.95
"""Of the candidates of all golden queries together."""


@dataclass(frozen=True, slots=True)
class Golden:
    """A query, and what must come of it.

    Attributes:
        vector: by the user tower, [D].
        candidates, scores: rows by exact search, without the history, best first, [C].
        ranked: the re-ranker's score of each of them.
        user_id, item_ids: what others call the user and the candidates.
    """

    user_row: int
    history: list[int]
    vector: list[float]
    candidates: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    ranked: list[float] = field(default_factory=list)
    user_id: str | None = None
    item_ids: list[str] = field(default_factory=list)

    def asked(self, release_id: str) -> tuple[Query, UserVector, Candidates]:
        """What is handed to the stages."""
        query = Query(release_id=release_id, user_id=None, k=1, num_candidates=len(self.candidates))
        user = UserVector(release_id, np.array(self.vector, dtype=np.float32), np.array(self.history, dtype=np.int64))
        rows_C, scores_C = np.array(self.candidates, dtype=np.int64), np.array(self.scores, dtype=np.float32)
        return query, user, Candidates(release_id, rows_C, scores_C, Source.towers)


def golden_queries(parts: Checkpoint) -> list[Golden]:
    """Queries over users that the tower can place, spread over the vocabulary, answered by the parts as they are.

    Raises:
        FloatingPointError: a stage gives values that are not finite.
    """
    embedder, reranker = UserEmbedder("golden", parts), RerankStage("golden", parts)
    known = np.flatnonzero(parts.model.user_ids.known_N.numpy())
    found = []
    for row in known[np.linspace(0, len(known) - 1, min(COUNT, len(known))).astype(int)].tolist():
        history = parts.seen.of_user(row).tolist()
        (vector_D,) = embedder.vectors([(row, np.array(history))])
        assert vector_D is not None, "a user with training interactions has a vector"
        rows_C, scores_C = _candidates(parts, vector_D, history)
        golden = Golden(row, history, vector_D.tolist(), rows_C.tolist(), scores_C.tolist())
        (ranked,) = reranker.rank_all([golden.asked("golden")])
        (user_id,), item_ids = parts.users.ids.ids(np.array([row])).to_pylist(), parts.items.ids.ids(rows_C).to_pylist()
        found.append(replace(golden, ranked=_in_order(ranked, rows_C), user_id=user_id, item_ids=item_ids))
    return found


def timed(parts: Checkpoint, rounds: int = 5) -> float:
    """Milliseconds of a golden query through all stages in this process, exact search among them: the median."""
    embedder, reranker, took = UserEmbedder("golden", parts), RerankStage("golden", parts), []
    for golden in golden_queries(parts) * rounds:
        started = time.perf_counter()
        embedder.vectors([(golden.user_row, np.array(golden.history))])
        _candidates(parts, np.array(golden.vector, dtype=np.float32), golden.history)
        reranker.rank_all([golden.asked("golden")])
        took.append(time.perf_counter() - started)
    return 1000 * float(np.median(took))


def read_golden(release: Release) -> list[Golden]:
    """Raises ReleaseError where a release has none."""
    found = [Golden(**value) for value in json.loads(release.parts.folder.read_bytes(GOLDEN))]
    if not found:
        raise ReleaseError(f"release {release.id}: has no golden queries; publish it again")
    return found


def check_golden(release: Release) -> None:
    """Raises ReleaseError where vocabulary, user tower and re-ranker do not answer the golden queries as at publish."""
    check_vocabulary(release)
    check_vectors(release, UserEmbedder(release.id, release.parts))
    check_ranking(release, RerankStage(release.id, release.parts))


def check_vocabulary(release: Release) -> None:
    """Raises ReleaseError where the golden queries' users and items are called otherwise than at publish."""
    users, items = release.parts.users.ids, release.parts.items.ids
    for golden in read_golden(release):
        user_is_there = golden.user_id is None or users.row(golden.user_id) == golden.user_row
        rows_C = items.rows(pa.array(golden.item_ids, pa.string()))
        if not user_is_there or not np.array_equal(rows_C, golden.candidates[: len(rows_C)]):
            raise ReleaseError(
                f"release {release.id}: golden query of user row {golden.user_row}: the vocabulary is another one"
            )


def check_vectors(release: Release, embedder: UserEmbedder) -> None:
    """Raises ReleaseError where the user tower does not give the vectors of the golden queries."""
    for golden in read_golden(release):
        (vector_D,) = embedder.vectors([(golden.user_row, np.array(golden.history))])
        distance = np.inf if vector_D is None else np.abs(vector_D - np.array(golden.vector)).max()
        if not distance <= TOLERANCE:
            raise _off(release, golden, "the user's vector", distance)


async def check_retrieval(release: Release, index: ItemIndex) -> None:
    """Raises ReleaseError where the index does not find the candidates of the golden queries."""
    found = [await _recall(index, golden) for golden in read_golden(release) if golden.candidates]
    if found and (mean := float(np.mean(found))) < MIN_RECALL:
        raise ReleaseError(
            f"release {release.id}: the index finds {mean:.3f} of the golden queries' items, {MIN_RECALL} at least are"
            " wanted; are its vectors those of this release?"
        )


def check_ranking(release: Release, reranker: RerankStage) -> None:
    """Raises ReleaseError where the re-ranker does not give the scores of the golden queries."""
    golden = [golden for golden in read_golden(release) if golden.ranked]
    for one, ranked in zip(golden, reranker.rank_all([one.asked(release.id) for one in golden]), strict=True):
        scores_C = np.array(_in_order(ranked, np.array(one.candidates)))
        if not np.allclose(scores_C, one.ranked, rtol=TOLERANCE, atol=TOLERANCE):
            raise _off(release, one, "re-ranking", np.abs(scores_C - one.ranked).max())


def _off(release: Release, golden: Golden, what: str, by: float) -> ReleaseError:
    return ReleaseError(f"release {release.id}: golden query of user row {golden.user_row}: {what} is off by {by:.2g}")


async def _recall(index: ItemIndex, golden: Golden) -> float:
    """The share of the candidates that the index finds, or others in place of the last that score as it does."""
    vector_D, history = np.array(golden.vector, dtype=np.float32), np.array(golden.history, dtype=np.int64)
    hits = await index.search(vector_D, len(golden.candidates), exclude=history)
    found = np.isin(hits.rows, golden.candidates) | (np.abs(hits.scores - golden.scores[-1]) <= TOLERANCE)
    return float(found.sum() / len(golden.candidates))


@torch.inference_mode()
def _candidates(parts: Checkpoint, vector_D: np.ndarray, history: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    scores_I = torch.from_numpy(vector_D) @ parts.reranker.item_ID.T
    scores_I[[0, *history]] = -torch.inf
    count = min(CANDIDATES, int(torch.isfinite(scores_I).sum()))
    rows_1C, scores_1C = top_k(scores_I[None], count)
    return rows_1C[0].numpy(), scores_1C[0].numpy()


def _in_order(ranked: Ranked, rows_C: np.ndarray) -> list[float]:
    """The re-ranker's score of each of these rows."""
    by_row = dict(zip(ranked.rows_K.tolist(), ranked.scores_K.tolist(), strict=True))
    return [by_row[row] for row in rows_C.tolist()]
