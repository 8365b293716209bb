"""What a worker that streams a log holds at a time: some users of some parts, with all of their interactions.

Users of a buffer are numbered from 0, so that nothing in it is of the size of the log.

Shape legend: N interactions, U users of a buffer, C context features.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from data.sequences.feedback import ExplicitNegatives, Feedback
from data.sequences.histories import Sequences, order_of
from data.sequences.membership import is_among


class Examples(NamedTuple):
    """Interactions that are trained on, each int [N].

    Attributes:
        user_rows_N: user rows.
        item_rows_N: item rows.
        positions_N: positions of the interactions within their users' sequences.
    """

    user_rows_N: np.ndarray
    item_rows_N: np.ndarray
    positions_N: np.ndarray


class Piece(NamedTuple):
    """Whole users of one part, and which of their interactions are examples: those from `start` to `stop`.

    Attributes:
        positives: sorted by user, each user's oldest first.
        others: their explicit negatives. None where the log has none.
    """

    positives: pa.Table
    others: pa.Table | None
    start: int
    stop: int

    @classmethod
    def of(cls, positives: pa.Table, others: pa.Table | None, start: int, stop: int) -> "Piece":
        """The users of a part who have an example; `start` and `stop` may lie outside of the part.

        Args:
            positives: one split after the other, each by user and oldest first.
            others: explicit negatives; those of users without an example are left out.
        """
        users_N = positives["user_row"].to_numpy()
        if (users_N[1:] < users_N[:-1]).any():
            positives = positives.take(pa.array(order_of(positives)))
            users_N = positives["user_row"].to_numpy()
        start, stop = max(start, 0), min(stop, len(users_N))
        first = int(np.searchsorted(users_N, users_N[start], side="left"))
        end = int(np.searchsorted(users_N, users_N[stop - 1], side="right"))
        if others is not None:
            others = others.filter(pa.array(is_among(others["user_row"].to_numpy(), users_N[first:end])))
        return cls(positives.slice(first, end - first), others, start - first, stop - first)


@dataclass(frozen=True, slots=True)
class Buffer:
    """Some users with all their interactions.

    Attributes:
        user_rows_U: int32, the users' rows in the log.
        sequences: the users' items, users numbered as in `user_rows_U`.
        feedback: weights, explicit negatives and contexts of the interactions.
        rows: the examples, users numbered likewise.
    """

    user_rows_U: np.ndarray
    sequences: Sequences
    feedback: Feedback
    rows: Examples

    @classmethod
    def of(
        cls,
        pieces: Sequence[Piece],
        beside: Collection[str],
        num_items: int,
        is_weighted: bool,
        encode: Callable[[pa.Array], np.ndarray] | None,
    ) -> "Buffer":
        """The users of these pieces; the other arguments are those of `StreamedParts`."""
        positives = pa.concat_tables([piece.positives for piece in pieces])
        rows_N = positives["user_row"].to_numpy()
        is_first_N = np.append(True, rows_N[1:] != rows_N[:-1])
        users_N = np.cumsum(is_first_N, dtype=np.int32) - 1
        user_rows_U, starts_U = rows_N[is_first_N].astype(np.int32), np.flatnonzero(is_first_N)
        numbered = positives.set_column(0, "user_row", pa.array(users_N))
        sequences = Sequences.of(numbered, len(user_rows_U), beside)
        weights_N = positives["weight"].to_numpy().astype(np.float32) if is_weighted else None
        context_NC = None
        if encode is not None:
            context_NC = encode(positives["context"].combine_chunks()).astype(np.int16)
        feedback = Feedback(weights_N, _negatives(pieces, numbered, num_items), context_NC)
        ends = np.cumsum([len(piece.positives) for piece in pieces])
        examples = np.concatenate(
            [
                np.arange(end - len(piece.positives) + piece.start, end - len(piece.positives) + piece.stop)
                for piece, end in zip(pieces, ends, strict=True)
            ]
        )
        positions = (examples - starts_U[users_N[examples]]).astype(np.int32)
        return cls(
            user_rows_U, sequences, feedback, Examples(users_N[examples], sequences.items_N[examples], positions)
        )


def _negatives(pieces: Sequence[Piece], numbered: pa.Table, num_items: int) -> ExplicitNegatives | None:
    """The negatives of the users of a buffer; None where the log has none, so that all batches have the same columns.

    Args:
        numbered: the positives of the buffer, users numbered from 0.
    """
    found, first = [], 0
    for piece in pieces:
        rows_U = np.unique(piece.positives["user_row"].to_numpy())
        if piece.others is not None:
            at_M = np.searchsorted(rows_U, piece.others["user_row"].to_numpy())
            others = piece.others.select(["user_row", "item_row", "time", "weight"])
            found.append(others.set_column(0, "user_row", pa.array((first + at_M).astype(np.int32))))
        first += len(rows_U)
    if not found:
        return None
    return ExplicitNegatives.of(pa.concat_tables(found), numbered, first, num_items)
