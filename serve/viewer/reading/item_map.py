"""The map of items: a sample of the catalogue in the plane, by the values of a feature, with a user on it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from serve.viewer.reading.opened import OpenedRelease
from serve.viewer.reading.projection import Projection
from serve.viewer.reading.released import ReleasedCatalogue

NUM_GROUPS = 6
"""Values of a feature that have a colour of their own."""

REST = "other"


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
        groups: Points by group: values of a feature, `chosen`, `history`, `user`; the last ones are drawn on top.
        explained: The share of the variance along each axis.
        num_items: Items of the sample.
    """

    groups: dict[str, list[MapPoint]]
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
    further = {"chosen": list(chosen), "history": catalogue.history(user_id) if user_id else []}
    for name, ids in further.items():
        known = np.unique(catalogue.items.ids.rows(pa.array(ids, pa.string())))
        if len(known := known[known > 0]):
            groups[name] = _points(catalogue, plane, vectors_ID, known)
    if user_id and (vector_D := opened.user_vector(user_id)) is not None:
        x, y = plane(vector_D[None])[0].tolist()
        groups["user"] = [MapPoint(user_id, x, y)]
    return ItemMap(groups, plane.explained, len(rows))


def _points(
    catalogue: ReleasedCatalogue, plane: Projection, vectors_ID: np.ndarray, rows: np.ndarray
) -> list[MapPoint]:
    placed = plane(vectors_ID[rows]).tolist()
    return [
        MapPoint(f"{item.title or item.id} ({item.id})", x, y)
        for item, (x, y) in zip(catalogue.items_of(rows), placed, strict=True)
    ]


def _groups(catalogue: ReleasedCatalogue, feature: str, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The indices of rows by the value of a feature: the first one of a list, the range of a number."""
    known = {f.name: f for f in catalogue.items.features if f.kind.is_filterable}
    if feature not in known:
        return {"items": np.arange(len(rows))}
    column = catalogue.items.table[feature].take(pa.array(rows - 1)).to_pylist()
    if known[feature].kind.is_number:
        values = np.array([np.nan if v is None else v for v in column], dtype=np.float64)
        is_given = np.isfinite(values)
        edges = np.unique(np.quantile(values[is_given], [0, 0.25, 0.5, 0.75, 1])) if is_given.any() else np.zeros(1)
        quarter = np.digitize(values, edges[1:-1])
        named = {
            f"{low:g} to {high:g}": np.flatnonzero(is_given & (quarter == n))
            for n, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True))
        } or {f"{edges[0]:g}": np.flatnonzero(is_given)}
        return {name: at for name, at in named.items() if len(at)} | _rest(~is_given)
    first = np.array([(v[0] if v else "") if isinstance(v, list) else (v or "") for v in column], dtype=object)
    values, counts = np.unique(first[first != ""], return_counts=True)
    common = values[np.argsort(-counts, kind="stable")[:NUM_GROUPS]]
    return {str(value): np.flatnonzero(first == value) for value in common} | _rest(~np.isin(first, common))


def _rest(is_rest: np.ndarray) -> dict[str, np.ndarray]:
    return {REST: np.flatnonzero(is_rest)} if is_rest.any() else {}
