"""The recorder of a replica: keeps its answers until they are written to the decision log, a file every few seconds.

On the request path an answer costs one entry of a list. Ids, hashes and columns are made in the thread that writes.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from data.artifacts.folders import Folder
from data.sources.event_log.decisions import SCHEMA, DecisionLog
from data.sources.event_log.forgetting import logged_user
from data.sources.event_log.hash_keys import note_hash_key
from data.sources.event_log.users import user_key
from serve.events.decisions.config import DecisionsConfig
from serve.observability.record_buffer import Batch, RecordBuffer
from serve.pipeline.messages import Response

IdsOfRows = Callable[[np.ndarray], pa.Array]
"""Returns the external ids of item rows, which are int64; a release has one such function."""

OF_SHARE = 2**32

PART = 250
"""Answers that are made into rows at a time."""

PAUSES = 4.0
"""How many times as long as it has worked on a part the thread that writes pauses after it, so that it takes at most a
fifth of a core: a batch in one go kept requests waiting for .2 s, which doubled their 99th percentile.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One answer, with its request.

    Attributes:
        time_us: When it was given, in microseconds since 1970.
        request_id: Its id.
        kind: `recommend` or `similar`.
        user_id: The user's external id, which is written as a hash; None for a request without a user.
        context: The request's own context.
        experiment, variant: The running experiment, and whose answer this is; None where none runs.
        answer: The answer in rows, with its candidates.
        took_ms: Milliseconds that the answer took.
        ids: Maps item rows to ids in the release that answered.
    """

    time_us: int
    request_id: str
    kind: str
    user_id: str | None
    context: Mapping[str, str]
    experiment: str | None
    variant: str | None
    answer: Response
    took_ms: float
    ids: IdsOfRows


class DecisionRecorder:
    """Records answers of a replica.

    Args:
        config: Which ones, and how many may wait.
        storage: The storage root.
        replica: A unique name of this replica, which becomes part of the files' names.
    """

    def __init__(self, config: DecisionsConfig, storage: Folder, replica: str) -> None:
        self._log, self._replica = DecisionLog.of(storage), replica
        self._below = int(config.share * OF_SHARE)
        self._max_candidates = config.max_candidates
        self._buffer = RecordBuffer("decisions", self._write, config.every_s, config.max_waiting)
        self._is_hurried = threading.Event()
        self._is_key_noted = False

    def add(
        self,
        answer: Response,
        ids: IdsOfRows,
        request_id: str,
        took_ms: float,
        *,
        kind: str = "recommend",
        user_id: str | None = None,
        context: Mapping[str, str] | None = None,
        experiment: str | None = None,
        variant: str | None = None,
    ) -> None:
        """Records an answer that is given now, unless it is not in the share; see `Decision`."""
        if self._below < OF_SHARE and not _is_chosen(request_id, self._below):
            return
        self._buffer.add(
            Decision(
                time_us=time.time_ns() // 1000,
                request_id=request_id,
                kind=kind,
                user_id=user_id,
                context=context or {},
                experiment=experiment,
                variant=variant,
                answer=_with_at_most(answer, self._max_candidates),
                took_ms=took_ms,
                ids=ids,
            )
        )

    async def flush(self, at_once: bool = False) -> None:
        """Writes what waits, see `RecordBuffer.flush`.

        Args:
            at_once: Whether to write whenever that was done last, and without pauses from then on.
        """
        if at_once:
            self._is_hurried.set()
        await self._buffer.flush(at_once)

    def take_lost(self) -> int:
        """The number of answers that were dropped since this was last asked."""
        return self._buffer.take_lost()

    def _write(self, batch: Batch[Decision]) -> None:
        if not self._is_key_noted:
            note_hash_key(self._log.folder)
            self._is_key_noted = True
        self._log.write_parts(f"{self._replica}-{batch.name}", self._parts(batch.records), batch.begun)

    def _parts(self, decisions: Sequence[Decision]) -> Iterator[pa.Table]:
        """The rows in parts, with a pause after each has been written."""
        for start in range(0, len(decisions), PART):
            began = time.perf_counter()
            yield table_of(decisions[start : start + PART])
            self._is_hurried.wait(PAUSES * (time.perf_counter() - began))


def table_of(decisions: Sequence[Decision]) -> pa.Table:
    """The decisions as rows of the decision log, those of each release together."""
    by_release: dict[IdsOfRows, list[Decision]] = {}
    for decision in decisions:
        by_release.setdefault(decision.ids, []).append(decision)
    return pa.concat_tables([SCHEMA.empty_table(), *(_of_release(ids, some) for ids, some in by_release.items())])


def _of_release(ids: IdsOfRows, decisions: Sequence[Decision]) -> pa.Table:
    answers = [decision.answer for decision in decisions]
    candidates = [_candidates(answer) for answer in answers]
    lengths = [len(rows) for rows, _ in candidates]
    rows, scores = (np.concatenate(each) for each in zip(*candidates, strict=True))
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    users = [None if d.user_id is None else logged_user(user_key(d.user_id)) for d in decisions]
    columns = {
        "time": [d.time_us for d in decisions],
        "request_id": [d.request_id for d in decisions],
        "kind": [d.kind for d in decisions],
        "user": users,
        "context": [list(d.context.items()) for d in decisions],
        "release_id": [a.release_id for a in answers],
        "experiment": [d.experiment for d in decisions],
        "variant": [d.variant for d in decisions],
        "source": [a.source.value for a in answers],
        "reasons": [a.reasons for a in answers],
        "took_ms": [d.took_ms for d in decisions],
        "item_ids": pa.ListArray.from_arrays(offsets, ids(rows)),
        "scores": pa.ListArray.from_arrays(offsets, pa.array(scores)),
        "num_shown": [len(a.rows) for a in answers],
    }
    arrays = [value if isinstance(value, pa.Array) else pa.array(value, SCHEMA.field(name).type)
              for name, value in columns.items()]  # fmt: skip
    return pa.table(arrays, schema=SCHEMA)


def _candidates(answer: Response) -> tuple[np.ndarray, np.ndarray]:
    """Rows (int64) and scores (float32) of what an answer shows, and then of the candidates that it does not show."""
    found, num_shown = answer.found, len(answer.rows)
    if found is None or len(found.rows_K) < num_shown:
        return np.array(answer.rows, dtype=np.int64), np.array(answer.scores, dtype=np.float32)
    scores_K = found.scores_K.astype(np.float32)  # an answer shows the first of what was found
    scores_K[:num_shown] = answer.scores
    return found.rows_K, scores_K


def _with_at_most(answer: Response, num: int) -> Response:
    """The answer with its best candidates, and without those of its explanation, which need not be kept."""
    found = answer.found
    if found is None or len(found.rows_K) <= num:
        return answer if answer.explanation is None else replace(answer, explanation=None)
    best = replace(found, rows_K=found.rows_K[:num].copy(), scores_K=found.scores_K[:num].copy())
    return replace(answer, found=best, explanation=None)


def _is_chosen(request_id: str, below: int) -> bool:
    """Whether a request is in the share; always the same for a request id, in every replica."""
    digest = hashlib.blake2b(request_id.encode(), digest_size=4, person=b"decisions").digest()
    return int.from_bytes(digest, "big") < below
