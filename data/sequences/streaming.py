"""Training batches from parts of a dataset, for logs that fit into no worker's memory.

A part of a prepared dataset has whole users: all of their interactions are in it, so it has each training example with
its history. A worker reads the parts in a new random order in each epoch, as many at a time as a buffer holds, makes
batches of the examples in the buffer as it would make them of a whole log in memory, and drops it. A batch so mixes
users of many parts, which lie anywhere among the ids, as readers of sharded training sets do (WebDataset, Petastorm).

Shape legend: B batch, N interactions, U users of a buffer.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pyarrow as pa

from data.sequences.batches import ShardBatches, TrainBatch
from data.sequences.buffers import Buffer, Examples, Piece
from data.sequences.feedback import Feedback
from data.sequences.histories import Sequences
from data.sequences.ragged import Ragged
from data.sequences.windows import WindowBatches

BUFFER_ROWS = 16_000_000
"""Interactions that a worker holds and shuffles at a time. With their histories they take some 40 bytes each."""


class Parts(Protocol):
    """The parts of a dataset: `data.dataset.prepared.PreparedDataset`."""

    def part(self, name: str, *splits: str, columns: Collection[str], kinds: Sequence[str] = ...) -> pa.Table:
        """The interactions of a part in these splits, one split after the other, each by user and oldest first."""
        ...


@dataclass(frozen=True, kw_only=True)
class StreamedParts:
    """What the workers of a training read.

    Attributes:
        dataset: has the parts.
        sizes: for each part its number of positives to fit on.
        splits: those that are fitted on.
        beside: what histories hold beside items (`Sequences.of`).
        num_items: row 0 included.
        is_weighted: whether positives count differently.
        encode: the rows of the values of contexts (`Context.encode`); None where the towers take none.
        negatives: of interactions that are no positives, those that are explicit negatives; None where there are none.
        num_negatives: number of these in all parts.
    """

    dataset: Parts
    sizes: Mapping[str, int]
    splits: tuple[str, ...]
    beside: tuple[str, ...] = ()
    num_items: int
    is_weighted: bool = False
    encode: Callable[[pa.Array], np.ndarray] | None = None
    negatives: Callable[[pa.Table], pa.Table] | None = None
    num_negatives: int = 0

    @property
    def buffer_rows(self) -> int:
        """How many examples make up a buffer: with their users' negatives some BUFFER_ROWS interactions.

        They are no fewer than those of the largest part, so that a part is read for few buffers.
        """
        if not self.num_negatives:
            return BUFFER_ROWS
        num_examples = sum(self.sizes.values())
        of_all = BUFFER_ROWS * num_examples // (num_examples + self.num_negatives)
        return min(max(of_all, max(self.sizes.values())), BUFFER_ROWS)

    def buffers(self, seed: int, rank: int, num_workers: int, buffer_rows: int) -> Iterator[Buffer]:
        """A worker's share of the examples, a contiguous one of all parts in shuffled order, buffer by buffer.

        All workers have equal shares, and so equally many buffers of equally many examples; up to `num_workers` - 1
        examples are left out. A user whose examples fall to two buffers is read for both.
        """
        order = np.random.default_rng(seed).permutation(len(self.sizes))
        names, sizes = list(self.sizes), np.fromiter(self.sizes.values(), np.int64)[order]
        ends = np.cumsum(sizes)
        share = int(ends[-1]) // num_workers if len(ends) else 0
        for first in range(rank * share, (rank + 1) * share, buffer_rows):
            last = min(first + buffer_rows, (rank + 1) * share)
            touched = np.flatnonzero((ends > first) & (ends - sizes < last))
            yield Buffer.of(
                [
                    self._piece(names[order[at]], first - int(ends[at] - sizes[at]), last - int(ends[at] - sizes[at]))
                    for at in touched
                ],
                self.beside,
                self.num_items,
                self.is_weighted,
                self.encode,
            )

    def _piece(self, name: str, start: int, stop: int) -> Piece:
        """The users with examples from `start` to `stop` of a part, which may lie outside of it."""
        columns = ["user_row", "item_row", *self.beside]
        columns += ["weight"] if self.is_weighted else []
        columns += ["context"] if self.encode is not None else []
        columns += ["time"] if self.negatives is not None and "time" not in columns else []
        positives, others = self.dataset.part(name, *self.splits, columns=columns), None
        if self.negatives is not None:
            wanted = ["user_row", "item_row", "time", "weight", "type"]
            others = self.negatives(self.dataset.part(name, *self.splits, columns=wanted, kinds=("others",)))
        return Piece.of(positives, others, start, stop)


@dataclass(slots=True)
class StreamedBatches:
    """A worker's share of streamed parts as training batches, one epoch after the other.

    The seed alone decides the batches, so a training that resumes at an epoch reads what it would have read.

    Attributes:
        parts: what to read.
        rank, num_workers: which share this worker has, of how many.
        batches_of: makes the batches of a buffer: all of its examples, with all items of its users.
        batch_size: of each batch but the last.
        examples: number of examples of all workers together.
        buffer_rows: number of examples that are shuffled at a time.
    """

    parts: StreamedParts
    rank: int
    num_workers: int
    batches_of: Callable[[Examples, Sequences, Feedback], ShardBatches | WindowBatches]
    batch_size: int
    examples: int
    buffer_rows: int = BUFFER_ROWS

    def num_examples(self) -> int:
        """Number of examples of all workers together."""
        return self.examples

    def epoch(self, seed: int) -> Iterator[TrainBatch]:
        """One pass over the share. Batches that a buffer does not fill are put together, and come later."""
        left: list[TrainBatch] = []
        at, buffers = 0, self.parts.buffers(seed, self.rank, self.num_workers, self.buffer_rows)
        while (buffer := next(buffers, None)) is not None:
            batches = self.batches_of(buffer.rows, buffer.sequences, buffer.feedback)
            for batch in batches.epoch(np.random.SeedSequence([seed, at]).generate_state(1)[0].item()):
                of_log = replace(batch, user_rows_B=buffer.user_rows_U[batch.user_rows_B])
                if len(of_log.user_rows_B) == self.batch_size:
                    yield of_log
                else:
                    left.append(of_log)
            if sum(len(batch.user_rows_B) for batch in left) >= self.batch_size:
                joined = _joined(left)
                yield _rows(joined, slice(0, self.batch_size))
                left = [_rows(joined, slice(self.batch_size, None))]
            at += 1
            del buffer, batches  # they are not in memory while the next buffer is read
        if left and len((last := _joined(left)).user_rows_B):
            yield last


FIELDS = tuple(TrainBatch.__dataclass_fields__)


def _rows(batch: TrainBatch, at: slice) -> TrainBatch:
    """Some rows of a batch."""
    return TrainBatch(*(None if values is None else values[at] for values in _values(batch)))  # type: ignore[arg-type]


def _joined(batches: Sequence[TrainBatch]) -> TrainBatch:
    """All rows of some batches, padded with 0 on the left to the widest of them."""
    return TrainBatch(*map(_concatenated, zip(*map(_values, batches), strict=True)))  # type: ignore[arg-type]


def _values(batch: TrainBatch) -> list[np.ndarray | Ragged | None]:
    return [getattr(batch, name) for name in FIELDS]


def _concatenated(columns: Sequence[np.ndarray | Ragged | None]) -> np.ndarray | Ragged | None:
    if ragged := [values for values in columns if isinstance(values, Ragged)]:
        return Ragged.joined(ragged)
    there = [values for values in columns if isinstance(values, np.ndarray)]
    if not there or there[0].ndim == 1:
        return np.concatenate(there) if there else None
    widest = max(values.shape[1] for values in there)
    padding = [[(0, 0), (widest - values.shape[1], 0), *[(0, 0)] * (values.ndim - 2)] for values in there]
    return np.concatenate([np.pad(values, pad) for values, pad in zip(there, padding, strict=True)])
