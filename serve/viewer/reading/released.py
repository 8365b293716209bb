"""What the page shows of a release's users and items: read from its tables alone, without torch and without towers."""

import random
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import safetensors.numpy

from data.artifacts.folders import Folder
from data.artifacts.seals import named_in
from data.dataset.catalogue import Catalogue
from data.sequences.histories import Sequences
from data.sources.schema import Feature
from serve.viewer.reading.comparison import KnownItems
from serve.viewer.reading.read_once import ReadOnce
from serve.viewer.reading.text_search import Found, TextSearch
from serve.viewer.reading.times import HistoryTimes

MAX_VALUES = 100
"""Values of a feature that a control offers: the most common ones."""

MAX_HISTORY = 200
"""Items of a history that are shown: the latest ones."""

COUNTS = ("train_count", "validation_count", "test_count")


@dataclass(frozen=True)
class DisplayItem:
    """An item as people see it: id, title, and the features that answers show."""

    id: str
    title: str
    features: dict[str, Any]


@dataclass(frozen=True)
class FilterableFeature:
    """A feature that a filter may name.

    Attributes:
        name: its name.
        operators: what it can be compared by, the most natural one first.
        is_number: whether its values are numbers.
        values: its most common values; empty for numbers.
        bounds: the smallest and the largest number; None for others, and where there is none.
    """

    name: str
    operators: tuple[str, ...]
    is_number: bool
    values: list[str]
    bounds: tuple[float, float] | None


@dataclass
class ReleasedCatalogue:
    """Users and items of one release. What is slow is read when it is first asked for: call its methods in a thread.

    One lock guards all that is read: the values need each other, and threads may ask for different ones at once.

    Attributes:
        folder: The folder of the release.
        manifest: The content of its manifest.
    """

    folder: Folder
    manifest: dict[str, Any]
    reading: threading.RLock = field(default_factory=threading.RLock, repr=False)

    @ReadOnce
    def items(self) -> Catalogue:
        """All items."""
        return Catalogue.load(self.folder, "items", "item_id", self.manifest["item_features"])

    @ReadOnce
    def users(self) -> Catalogue:
        """All users."""
        return Catalogue.load(self.folder, "users", "user_id", self.manifest["user_features"])

    @ReadOnce
    def histories(self) -> Sequences:
        """The items of every user in the log that the release has learnt."""
        tensors = safetensors.numpy.load(self.folder.read_bytes("sequences.safetensors"))
        return Sequences(tensors["offsets_U1"], tensors["items_N"])

    @ReadOnce
    def item_counts(self) -> np.ndarray:
        """int64 [items]: interactions of each item in the log; of row n at index n - 1."""
        return _counts(self.items.table)

    @ReadOnce
    def user_counts(self) -> np.ndarray:
        """int64 [users]: interactions of each user in the log; of row n at index n - 1."""
        return _counts(self.users.table)

    @ReadOnce
    def item_search(self) -> TextSearch:
        """Finds items by id and title."""
        return TextSearch(self.items.ids.values, self.items.table["title"].combine_chunks(), self.item_counts)

    @ReadOnce
    def user_search(self) -> TextSearch:
        """Finds users by id."""
        return TextSearch(self.users.ids.values, None, self.user_counts)

    def find_items(self, query: str, limit: int) -> tuple[list[DisplayItem], bool]:
        """Returns the best items for a query, and whether there are more."""
        found = self.item_search.find(query, limit)
        return self.items_of(found.rows), found.has_more

    def find_users(self, query: str, limit: int) -> tuple[list[tuple[str, int]], bool]:
        """Returns the best users for a query with their numbers of interactions, and whether there are more."""
        found: Found = self.user_search.find(query, limit)
        ids = self.users.ids.ids(found.rows).to_pylist()
        return list(zip(ids, self.user_counts[found.rows - 1].tolist(), strict=True)), found.has_more

    def pick_user(self, which: str) -> str:
        """Returns a user by chance: any (`random`), one with a long history (`heavy`) or the shortest (`cold`).

        Raises:
            LookupError: the release knows no user.
        """
        counts = self.user_counts
        if not len(counts):
            raise LookupError("the release knows no user")
        at = np.arange(len(counts))
        if which == "heavy":
            at = np.flatnonzero(counts >= np.quantile(counts, 0.99))
        elif which == "cold":
            at = np.flatnonzero(counts == counts.min())
        id_: str = self.users.ids.values[int(random.choice(at))].as_py()
        return id_

    def sample_users(self, size: int, seed: int = 0) -> pa.Array:
        """Returns ids of users with a history: all of them, or a sample that is the same each time."""
        rows = np.flatnonzero(self.histories.lengths_U[1:] > 0) + 1
        if len(rows) > size:
            rows = np.sort(np.random.default_rng(seed).choice(rows, size, replace=False))
        return self.users.ids.ids(rows)

    def user_features(self, user_id: str) -> dict[str, Any] | None:
        """Returns what the log says of a user; None if the release does not know them."""
        row = int(self.users.ids.rows(pa.array([user_id]))[0])
        if not row:
            return None
        names = [f.name for f in self.users.features if not f.kind.is_vector]
        values: dict[str, Any] = self.users.table.select(names).slice(row - 1, 1).to_pylist()[0] if names else {}
        return values | {"interactions": int(self.user_counts[row - 1])}

    def history(self, user_id: str) -> list[str]:
        """Returns the latest items of a user in the log that the release has learnt, oldest first."""
        row = int(self.users.ids.rows(pa.array([user_id]))[0])
        return self.ids_of(self.histories.of_user(row)[-MAX_HISTORY:])

    @ReadOnce
    def _times(self) -> HistoryTimes:
        dataset = self.manifest["dataset"]
        return HistoryTimes(named_in(self.folder, dataset["folder"]), dataset["fingerprint"])

    def history_times(self, user_id: str) -> list[datetime]:
        """Returns when the items of `history` were taken; empty where that is not known."""
        row = int(self.users.ids.rows(pa.array([user_id]))[0])
        return self._times.of_user(row, self.histories.of_user(row))[-MAX_HISTORY:]

    def known_items(self, lists: Iterable[Iterable[str]]) -> KnownItems:
        """Returns what the release knows of the items of some lists."""
        ids = sorted({item_id for listed in lists for item_id in listed})
        rows = self.items.ids.rows(pa.array(ids, pa.string()))
        counts = {id_: int(self.item_counts[row - 1]) for id_, row in zip(ids, rows.tolist(), strict=True) if row}
        return KnownItems(counts, self.items.num_ids)

    def ids_of(self, rows: np.ndarray) -> list[str]:
        """Returns the ids of item rows."""
        ids: list[str] = self.items.ids.ids(rows).to_pylist()
        return ids

    def display(self, ids: Sequence[str]) -> list[DisplayItem]:
        """Returns items by id, in the same order; those that the release does not know without title and features."""
        rows = self.items.ids.rows(pa.array(ids, pa.string()))
        known = iter(self.items_of(rows[rows > 0]))
        return [next(known) if row else DisplayItem(id_, "", {}) for id_, row in zip(ids, rows, strict=True)]

    def items_of(self, rows: np.ndarray) -> list[DisplayItem]:
        """Returns the items of some rows, none of which is 0."""
        names = [f.name for f in self.items.features if f.kind.is_rendered]
        taken = self.items.table.select(["title", *names]).take(pa.array(np.asarray(rows, dtype=np.int64) - 1))
        return [
            DisplayItem(id_, values["title"] or "", {name: values[name] for name in names})
            for id_, values in zip(self.ids_of(rows), taken.to_pylist(), strict=True)
        ]

    @ReadOnce
    def filterable(self) -> list[FilterableFeature]:
        """The features that filters may name, with their values."""
        return [_filterable(f, self.items.table[f.name]) for f in self.items.features if f.kind.is_filterable]

    @property
    def context_values(self) -> dict[str, list[str]]:
        """The values of each context feature that the release knows."""
        context = self.manifest.get("context", {})
        return {name: [str(v) for v in values] for name, values in context.items() if isinstance(values, list)}


def _counts(table: pa.Table) -> np.ndarray:
    total = np.zeros(table.num_rows, dtype=np.int64)
    for name in COUNTS:
        if name in table.column_names:
            total += pc.fill_null(table[name], 0).to_numpy().astype(np.int64)
    return total


def _filterable(feature: Feature, column: pa.ChunkedArray) -> FilterableFeature:
    operators, is_number = feature.kind.filter_operators, feature.kind.is_number
    if is_number:
        found = pc.min_max(column).as_py()
        bounds = None if found["min"] is None else (float(found["min"]), float(found["max"]))
        return FilterableFeature(feature.name, operators, True, [], bounds)
    flat = pc.list_flatten(column) if feature.kind.is_list else column
    counts = pc.value_counts(flat.drop_null())  # `group_by` does not take more than 2 GiB of text
    counted = pa.table({"value": counts.field("values"), "count": counts.field("counts")})
    common = counted.sort_by([("count", "descending"), ("value", "ascending")])
    return FilterableFeature(feature.name, operators, False, common["value"][:MAX_VALUES].to_pylist(), None)
