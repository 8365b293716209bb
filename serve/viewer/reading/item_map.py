"""The map of items: a sample of the catalogue in the plane, by the values of a feature, with a user on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from serve.viewer.reading.opened import OpenedRelease
from serve.viewer.reading.projection import Projection
from serve.viewer.reading.released import ReleasedCatalogue

NUM_GROUPS = 6
"""Values of a feature that have a colour of their own."""

REST = "other"

MARKED = ("chosen", "history", "user")
"""Groups of points that stand out, the last ones on top."""


@dataclass(frozen=True)
class MapPoint:
    """A point of the map: what it says, and where it is."""

    says: str
    x: float
    y: float


@dataclass(frozen=True)
class ItemMap:
    """A map.

    Attributes:
        groups: Points by value of a feature, and those without one of the commonest.
        marked: Points that stand out, by `chosen`, `history` and `user`; they are drawn on top.
        explained: The share of the variance along each axis.
        num_items: Items of the sample.
    """

    groups: dict[str, list[MapPoint]]
    marked: dict[str, list[MapPoint]]
    explained: tuple[float, float]
    num_items: int


def item_map(
    opened: OpenedRelease,
    catalogue: ReleasedCatalogue,
    num_items: int,
    feature: str = "",
    chosen: Sequence[str] = (),
    user_id: str = "",
) -> ItemMap:
    """Returns the map of a release's items.

    Args:
        num_items: Most items of the sample, which is the same each time.
        feature: The feature whose values have colours; "" gives all items the same.
        chosen: Ids of items that are on it in any case.
        user_id: A user who is on it with their history, if the release knows them; "" for none.
    """
    vectors_ID = opened.item_vectors_ID
    rows = np.arange(1, len(vectors_ID))
    if len(rows) > num_items:
        rows = np.sort(np.random.default_rng(0).choice(rows, num_items, replace=False))
    plane = Projection.of(vectors_ID[rows])
    groups = {
        name: _points(catalogue, plane, vectors_ID, rows[at]) for name, at in _groups(catalogue, feature, rows).items()
    }
    marked = {}
    further = {"chosen": list(chosen), "history": catalogue.history(user_id) if user_id else []}
    for name, ids in further.items():
        known = np.unique(catalogue.items.ids.rows(pa.array(ids, pa.string())))
        if len(known := known[known > 0]):
            marked[name] = _points(catalogue, plane, vectors_ID, known)
    if user_id and (vector_D := opened.user_vector(user_id)) is not None:
        x, y = plane(vector_D[None])[0].tolist()
        marked["user"] = [MapPoint(user_id, x, y)]
    return ItemMap(groups, marked, plane.explained, len(rows))


def _points(
    catalogue: ReleasedCatalogue, plane: Projection, vectors_ID: np.ndarray, rows: np.ndarray
) -> list[MapPoint]:
    placed = plane(vectors_ID[rows]).tolist()
    return [
        MapPoint(f"{item.title or item.id} ({item.id})", x, y)
        for item, (x, y) in zip(catalogue.items_of(rows), placed, strict=True)
    ]


def _groups(catalogue: ReleasedCatalogue, feature: str, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The indices of rows by the value of a feature: the first one of a list, the range of a number.

    Each row is in one group. No value has the name of the rest or of a group that stands out.
    """
    known = {f.name: f for f in catalogue.items.features if f.kind.is_filterable}
    if feature not in known:
        return {"items": np.arange(len(rows))}
    column = catalogue.items.table[feature].take(pa.array(rows - 1)).to_pylist()
    named, is_rest = _by_range(column) if known[feature].kind.is_number else _by_value(column)
    groups: dict[str, np.ndarray] = {}
    for name, at in named.items():
        while name in (REST, *MARKED, *groups):
            name = f"{feature}: {name}"
        groups[name] = at
    return {name: at for name, at in groups.items() if len(at)} | (
        {REST: np.flatnonzero(is_rest)} if is_rest.any() else {}
    )


def _by_range(column: Sequence[float | None]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The indices of numbers by quarter of all of them, and where there is no number."""
    values = np.array([np.nan if v is None else v for v in column], dtype=np.float64)
    is_given = np.isfinite(values)
    edges = np.unique(np.quantile(values[is_given], [0, 0.25, 0.5, 0.75, 1])) if is_given.any() else np.zeros(1)
    words = _distinct(edges.tolist())
    if len(edges) == 1:
        return {words[0]: np.flatnonzero(is_given)}, ~is_given
    quarter = np.digitize(values, edges[1:-1])
    ranges = [f"{low} to {high}" for low, high in pairwise(words)]
    return {name: np.flatnonzero(is_given & (quarter == n)) for n, name in enumerate(ranges)}, ~is_given


def _distinct(numbers: Sequence[float]) -> list[str]:
    """Different numbers as text, with six digits where these tell them apart, else with all of them."""
    words = [f"{number:g}" for number in numbers]
    if len(set(words)) == len(words):
        return words
    return [str(int(n)) if n.is_integer() and abs(n) < 1e15 else repr(n) for n in numbers]


def _by_value(column: Sequence[Any]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The indices of texts by the commonest of them, and where there is another one or none."""
    first = np.array([(v[0] if v else "") if isinstance(v, list) else (v or "") for v in column], dtype=object)
    values, counts = np.unique(first[first != ""], return_counts=True)
    common = values[np.argsort(-counts, kind="stable")[:NUM_GROUPS]]
    return {str(value): np.flatnonzero(first == value) for value in common}, ~np.isin(first, common)
