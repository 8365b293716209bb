"""What passes from stage to stage. Each carries the id of the one release that answers the request.

    Query -> UserVector -> Candidates -> Ranked -> Response

Shape legend: D dimension, K candidates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serve.filters.grammar import Filter
from serve.pipeline.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One request, its items resolved to rows.

    Attributes:
        history: item rows that the request brings, oldest first; they follow what is known of the user.
        exclude: item rows that must not be answered.
        context: what the request came with, as rows of `towers.reranking.context.Context`.
        exclude_seen: leave out what the user has seen, by our records or by the request's history.
    """

    release_id: str
    user_id: str | None
    k: int
    num_candidates: int
    history: tuple[int, ...] = ()
    exclude: tuple[int, ...] = ()
    context: tuple[int, ...] = ()
    exclude_seen: bool = True
    filter: Filter | None = None
    explain: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilarQuery:
    """A search around items instead of a user.

    Attributes:
        rows: items of the catalogue; what is nearest to their mean is wanted.
        features: or else those of an item that need not be in the catalogue.
    """

    release_id: str
    k: int
    rows: tuple[int, ...] = ()
    features: Mapping[str, Any] | None = None
    exclude: tuple[int, ...] = ()
    filter: Filter | None = None


@dataclass(frozen=True, slots=True)
class UserVector:
    """The user tower's answer. `vector_D` is None where nothing is known of the user.

    Attributes:
        history: all item rows known of the user, oldest first, the request's last.
    """

    release_id: str
    vector_D: np.ndarray | None
    history: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Candidates:
    """Retrieved item rows, best first: int64 [K], float32 [K]."""

    release_id: str
    rows_K: np.ndarray
    scores_K: np.ndarray
    source: Source


@dataclass(frozen=True, slots=True)
class Ranked:
    """Candidates in their final order: int64 [K], float32 [K]."""

    release_id: str
    rows_K: np.ndarray
    scores_K: np.ndarray


@dataclass(frozen=True, slots=True)
class Nearest:
    """For each of some items the items of the history that are nearest to it: int64 [K, H] and their cosines."""

    rows_KH: np.ndarray
    cosines_KH: np.ndarray


@dataclass(frozen=True, slots=True)
class Explanation:
    """How an answer came about, still in rows; an item that is not in `candidates` was filled in as popular.

    Attributes:
        candidates: what retrieval gave.
        ranked: what the re-ranker made of it.
        nearest: to the items of the answer.
        num_excluded: rows that could not be answered.
    """

    candidates: Candidates | None
    ranked: Ranked | None
    nearest: Nearest | None
    num_excluded: int


@dataclass(frozen=True, slots=True)
class Response:
    """The answer, still in rows.

    Attributes:
        degraded: something that the query asked for was left out; `reasons` says what.
        timings_ms: per stage.
        explanation: where the query asks for one.
    """

    release_id: str
    rows: list[int]
    scores: list[float]
    source: Source
    degraded: bool
    reasons: list[str]
    timings_ms: dict[str, float]
    explanation: Explanation | None = None


class WrongRelease(ValueError):
    """A stage was handed something of another release than its own."""


def same_release(own: str, other: str) -> None:
    """Every stage calls this at its door."""
    if own != other:
        raise WrongRelease(f"stage holds release {own}, was asked for {other}")
