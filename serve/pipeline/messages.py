"""The messages that the stages of one request pass to each other, each with the id of the release that answers it.

    Query -> UserVector -> Candidates -> Ranked -> Response

Items are rows of the release's catalogue here; external ids exist in `serve.api` only.

Shape legend: D dimension, K candidates, H items of the history.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serve.filters.grammar import Filter
from serve.pipeline.source import Source


class UnusableValue(ValueError):
    """A stage cannot use a value that the request itself brings: no fault of the stage, so no breaker counts it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One request for recommendations.

    Attributes:
        release_id: The release that answers.
        user_id: The user's external id; None for a request without a user.
        k: Number of items to return.
        num_candidates: Number of items to retrieve and to re-rank.
        recent: Item rows of the user's latest events, oldest first; they follow the history that the release has.
        recent_times: When each of `recent` happened, in unix seconds; as many, or none where that is not known.
        recent_types: The event types of `recent`, as rows of the user tower (`TwoTower.event_type_rows`); likewise.
        num_doubtful: How many of `recent`, from the first one on, may be in the history that the release has already.
        history: Item rows that the request itself names, oldest first; they follow what is known of the user, and count
            as taken now, by events of an unknown type.
        seen: Item rows that count as seen because of events.
        exclude: Item rows that the request leaves out of the answer.
        denied: Item rows that are in no answer, whoever asks.
        context: The request's context as rows of `towers.model.context.Context`.
        exclude_seen: Whether to leave out the items of the user's history, in the training log or in the request, and
            those in `seen`.
        filter: The condition that every item of the answer meets; None accepts all.
        explain: Whether to explain how each item came into the answer.
        explains_user: Whether the explanation may name items that are known of the user, beside those that the request
            names itself.
        goals: How much each goal of the release counts in this query; empty means as the release says.
    """

    release_id: str
    user_id: str | None
    k: int
    num_candidates: int
    recent: tuple[int, ...] = ()
    recent_times: tuple[int, ...] = ()
    recent_types: tuple[int, ...] = ()
    num_doubtful: int = 0
    history: tuple[int, ...] = ()
    seen: tuple[int, ...] = ()
    exclude: tuple[int, ...] = ()
    denied: tuple[int, ...] = ()
    context: tuple[int, ...] = ()
    exclude_seen: bool = True
    filter: Filter | None = None
    explain: bool = False
    explains_user: bool = True
    goals: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarQuery:
    """A request for the items that are similar to some items; exactly one of `rows` and `features` is given.

    Attributes:
        release_id: The release that answers.
        k: Number of items to return.
        rows: Items of the catalogue; the search is around the mean of their vectors.
        features: The features of one item, which need not be in the catalogue.
        exclude: Item rows that must not be in the answer.
        filter: The condition that every item of the answer meets; None accepts all.
    """

    release_id: str
    k: int
    rows: tuple[int, ...] = ()
    features: Mapping[str, Any] | None = None
    exclude: tuple[int, ...] = ()
    filter: Filter | None = None


@dataclass(frozen=True, slots=True)
class UserVector:
    """The user encoder's answer.

    Attributes:
        release_id: The release of the user tower.
        vector_D: float32 [D]; None if nothing is known of the user.
        history: int64; all item rows known of the user, oldest first, those of the request last.
        seen: int64; the item rows that the release knows to be seen, where they are others than those of its history.
        num_released: How many of the history, from the first one on, are those that the release has; None means all
            that the query does not add.
    """

    release_id: str
    vector_D: np.ndarray | None
    history: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    seen: np.ndarray | None = None
    num_released: int | None = None


@dataclass(frozen=True, slots=True)
class Candidates:
    """Retrieved items, best first.

    Attributes:
        release_id: The release of the index.
        rows_K: int64 [K].
        scores_K: float32 [K]; inner products, or training interactions if the source is `popular`.
        source: Where the items come from.
    """

    release_id: str
    rows_K: np.ndarray
    scores_K: np.ndarray
    source: Source


@dataclass(frozen=True, slots=True)
class Ranked:
    """Candidates in the re-ranker's order, best first.

    Attributes:
        release_id: The release of the re-ranker.
        rows_K: int64 [K].
        scores_K: float32 [K]; log-odds.
    """

    release_id: str
    rows_K: np.ndarray
    scores_K: np.ndarray


@dataclass(frozen=True, slots=True)
class Nearest:
    """The items of a history that are nearest to each of some items.

    Attributes:
        rows_KH: int64 [K, H]; the nearest first.
        cosines_KH: float32 [K, H].
    """

    rows_KH: np.ndarray
    cosines_KH: np.ndarray


@dataclass(frozen=True, slots=True)
class Explanation:
    """How an answer came about. An item of the answer that is not in `candidates` is a popular one that filled it up.

    Attributes:
        candidates: What retrieval found; None if it did not answer.
        ranked: The candidates in the re-ranker's order; None if it did not answer.
        nearest: The items of the history that may be named which are nearest to each item of the answer.
        num_excluded: Distinct items that are left out because the request excludes them, or because they are seen.
    """

    candidates: Candidates | None
    ranked: Ranked | None
    nearest: Nearest | None
    num_excluded: int


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to a query.

    Attributes:
        release_id: The release that answers.
        rows: Item rows, best first.
        scores: One score per row.
        source: Where the first items come from.
        degraded: Whether something that the query asked for was left out.
        reasons: What was left out, for example `rerank_late`.
        timings_ms: Milliseconds of each stage that was called.
        explanation: How the answer came about, if the query asks for it.
        found: All candidates in their final order, of which the answer has the first; None if there are none.
    """

    release_id: str
    rows: list[int]
    scores: list[float]
    source: Source
    degraded: bool
    reasons: list[str]
    timings_ms: dict[str, float]
    explanation: Explanation | None = None
    found: Candidates | Ranked | None = None


class WrongRelease(ValueError):
    """A stage was given a message of another release than its own."""


def check_same_release(own: str, other: str) -> None:
    """Raises WrongRelease unless both release ids are the same. Every stage calls it on every message."""
    if own != other:
        raise WrongRelease(f"stage holds release {own}, was asked for {other}")
