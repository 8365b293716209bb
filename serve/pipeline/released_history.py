"""Events that a release's history has already: those of a user who is in a log of one's own as well.

Shape legend: M events that may be in the history, V distinct items among them.
"""

from dataclasses import replace

import numpy as np

from data.sequences.membership import is_among
from serve.pipeline.messages import Query


def without_released(query: Query, released: np.ndarray) -> Query:
    """Returns the query without those of its `recent` that are in the release's history of the user.

    Of the events that may be there, as many of an item are left out as the history has of it, the oldest first. The
    others stay, so that nothing is lost that the log does not have. Times are not compared beyond that: a log's clock
    may be another than that of the events.

    Args:
        released: Item rows of the release's history of the user.
    """
    asked_M = np.array(query.recent[: query.num_doubtful], dtype=np.int64)
    if not len(asked_M) or not len(released):
        return query
    items_V, at_M = np.unique(asked_M, return_inverse=True)
    known = released[is_among(released, items_V)]
    num_known_V = np.bincount(np.searchsorted(items_V, known), minlength=len(items_V))
    by_item = np.argsort(at_M, kind="stable")
    num_asked_V = np.bincount(at_M)
    before_M = np.empty_like(asked_M)  # how often the event's item comes before it
    before_M[by_item] = np.arange(len(asked_M)) - np.repeat(np.cumsum(num_asked_V) - num_asked_V, num_asked_V)
    kept = [*np.flatnonzero(before_M >= num_known_V[at_M]).tolist(), *range(len(asked_M), len(query.recent))]

    def taken(values: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(values[n] for n in kept) if values else ()

    return replace(
        query,
        recent=taken(query.recent),
        recent_times=taken(query.recent_times),
        recent_types=taken(query.recent_types),
        num_doubtful=0,
    )
