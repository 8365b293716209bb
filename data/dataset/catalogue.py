"""The users or the items of a dataset: their ids, features and vocabularies."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from data.artifacts.folders import Folder
from data.cluster.machine import give_back_memory
from data.dataset.vocabulary import Vocabulary
from data.sources.schema import Feature
from data.sources.values.columns import fitting, in_one, whole


@dataclass(frozen=True)
class StoredTable:
    """The Parquet file of a catalogue, of which each column is read when it is asked for.

    Attributes:
        folder, name: where the file lies.
        column_names: its columns, in their order.
    """

    folder: Folder
    name: str
    column_names: tuple[str, ...]

    @classmethod
    def of(cls, folder: Folder, name: str) -> "StoredTable":
        """The file of this name in a folder."""
        return cls(folder, name, tuple(folder.read_schema(name).names))

    def read(self, columns: Iterable[str]) -> pa.Table:
        """Some columns, each in one array: of chunks, rows are taken in O(all rows).

        One column is read at a time, so that no more than one is in memory twice.
        """
        read = {column: whole(self.folder.read_table(self.name, [column])[column]) for column in columns}
        give_back_memory()
        return pa.table(read)


@dataclass(frozen=True)
class Catalogue:
    """All users, or all items, of a dataset.

    Attributes:
        id_column: the column of external ids: "user_id" or "item_id".
        held: the columns of `table` that are in memory: all, or `row` and the features. Training and evaluation ask for
            no others but the numbers of interactions, and ids of millions would take most of their memory.
        features: the declared features, in order.
        vocabularies: those that a model was fitted with, by feature name, for the features whose kind has a vocabulary;
            a prepared dataset has none, because they depend on the splits that a model is fitted on.
        stored: where the columns are that are not held; None if all are.
    """

    id_column: str
    held: pa.Table
    features: tuple[Feature, ...]
    vocabularies: dict[str, Vocabulary] = field(default_factory=dict)
    stored: StoredTable | None = None

    @cached_property
    def ids(self) -> Vocabulary:
        """The external ids, read when they are first asked for; their rows are those of the table."""
        return Vocabulary(in_one(self.column(self.id_column)))

    @property
    def column_names(self) -> tuple[str, ...]:
        """The columns of the table, in their order."""
        return tuple(self.held.column_names) if self.stored is None else self.stored.column_names

    def column(self, name: str) -> pa.ChunkedArray:
        """A column of the table, which is read if it is not held."""
        if self.stored is None or name in self.held.column_names:
            return self.held[name]
        return self.stored.read([name])[name]

    @property
    def table(self) -> pa.Table:
        """All columns, of which those that are not held are read; sorted by row, which counts from 1.

        They are `row`, the id column, `title` (of items), the features, and `train_count`, `validation_count` and
        `test_count`: the numbers of interactions in these splits. Catalogues of dataset version 2 lack `test_count`.
        """
        if self.stored is None:
            return self.held
        ids = {self.id_column: self.ids.values}  # which are kept
        return pa.table({name: ids[name] if name in ids else self.column(name) for name in self.column_names})

    @property
    def num_ids(self) -> int:
        """Number of users, or of items."""
        return int(self.held.num_rows)

    @property
    def num_rows(self) -> int:
        """Number of rows, the row 0 of what is unknown included."""
        return self.num_ids + 1

    def with_table(self, table: pa.Table) -> "Catalogue":
        """The same features and vocabularies over another table, all of whose columns are held."""
        return replace(self, held=table, stored=None)

    @property
    def vector_lengths(self) -> dict[str, int]:
        """The length of the vectors of each feature that has some; those of a feature without any have length 1."""
        names = [feature.name for feature in self.features if feature.kind.is_vector]
        return {name: int(pc.max(pc.list_value_length(self.held[name])).as_py() or 1) for name in names}

    def save(self, folder: Folder, name: str) -> None:
        """Writes `<name>.parquet` and, if there are vocabularies, `<name>.vocabularies.parquet`."""
        if self.stored is not None and self.stored.name == f"{name}.parquet":
            folder.share(self.stored.name, self.stored.folder)
        else:
            folder.write_table(f"{name}.parquet", self.table)
        if not self.vocabularies:
            return
        values = fitting(*(vocabulary.values for vocabulary in self.vocabularies.values()))
        names = np.repeat(list(self.vocabularies), [len(v.values) for v in self.vocabularies.values()])
        flat = pa.table({"feature": pa.array(names.tolist(), pa.string()), "value": values})
        folder.write_table(f"{name}.vocabularies.parquet", flat)

    @classmethod
    def load(
        cls, folder: Folder, name: str, id_column: str, features: Sequence[dict[str, Any]], as_asked: bool = False
    ) -> "Catalogue":
        """Reads what `save` wrote.

        Args:
            features: those of the manifest (see `feature_from_json`).
            as_asked: whether `row` and the features alone are read now, and other columns when they are asked for.
        """
        file = f"{name}.vocabularies.parquet"
        is_fitted, vocabularies = folder.exists(file), {}
        specs = tuple(feature_from_json(f, is_fitted) for f in features)
        if is_fitted:
            flat, names = folder.read_table(file), [f.name for f in specs if f.kind.has_vocabulary]
            rows = {name: flat.filter(pads.field("feature") == name) for name in names}
            vocabularies = {name: Vocabulary(in_one(of["value"])) for name, of in rows.items()}
        stored = StoredTable.of(folder, f"{name}.parquet")
        held = stored.read(("row", *(feature.name for feature in specs)) if as_asked else stored.column_names)
        return cls(id_column, held, specs, vocabularies, stored if as_asked else None)


def feature_to_json(feature: Feature) -> dict[str, Any]:
    """The feature as the manifest holds it; its kind by name, with its version if that is not the first."""
    version = feature.kind.version
    return {**asdict(feature), "kind": feature.kind.name} | ({} if version == 1 else {"version": version})


def feature_from_json(value: dict[str, Any], is_fitted: bool = True) -> Feature:
    """The inverse of `feature_to_json`.

    Args:
        is_fitted: whether a vocabulary was fitted to the feature: its values must be encoded as they were then.
    """
    values = dict(value)
    version, feature = values.pop("version", 1), Feature(**values)
    if is_fitted and version != feature.kind.version:
        values["kind"] = f"{feature.kind.name}_v{version}"
        return Feature(**values)
    return feature
