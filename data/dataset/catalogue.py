"""The users or the items of a dataset: their ids, features and vocabularies."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
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
class Catalogue:
    """All users, or all items, of a dataset.

    Attributes:
        id_column: the column of external ids: "user_id" or "item_id".
        table: sorted by row, which counts from 1. Its columns are `row`, the id column, `title` (of items), the
            features, and `train_count`, `validation_count` and `test_count`: the numbers of interactions in these
            splits. Catalogues of dataset version 2 lack `test_count`.
        features: the declared features, in order.
        vocabularies: those that a model was fitted with, by feature name, for the features whose kind has a vocabulary;
            a prepared dataset has none, because they depend on the splits that a model is fitted on.
    """

    id_column: str
    table: pa.Table
    features: tuple[Feature, ...]
    vocabularies: dict[str, Vocabulary] = field(default_factory=dict)

    @cached_property
    def ids(self) -> Vocabulary:
        """The external ids; their rows are those of the table."""
        return Vocabulary(in_one(self.table[self.id_column]))

    @property
    def vector_lengths(self) -> dict[str, int]:
        """The length of the vectors of each feature that has some; those of a feature without any have length 1."""
        names = [feature.name for feature in self.features if feature.kind.is_vector]
        return {name: int(pc.max(pc.list_value_length(self.table[name])).as_py() or 1) for name in names}

    def save(self, folder: Folder, name: str) -> None:
        """Writes `<name>.parquet` and, if there are vocabularies, `<name>.vocabularies.parquet`."""
        folder.write_table(f"{name}.parquet", self.table)
        if not self.vocabularies:
            return
        values = fitting(*(vocabulary.values for vocabulary in self.vocabularies.values()))
        names = np.repeat(list(self.vocabularies), [len(v.values) for v in self.vocabularies.values()])
        flat = pa.table({"feature": pa.array(names.tolist(), pa.string()), "value": values})
        folder.write_table(f"{name}.vocabularies.parquet", flat)

    @classmethod
    def load(cls, folder: Folder, name: str, id_column: str, features: Sequence[dict[str, Any]]) -> "Catalogue":
        """Reads what `save` wrote; `features` are those of the manifest (see `feature_from_json`)."""
        file = f"{name}.vocabularies.parquet"
        is_fitted, vocabularies = folder.exists(file), {}
        specs = tuple(feature_from_json(f, is_fitted) for f in features)
        if is_fitted:
            flat, names = folder.read_table(file), [f.name for f in specs if f.kind.has_vocabulary]
            rows = {name: flat.filter(pads.field("feature") == name) for name in names}
            vocabularies = {name: Vocabulary(in_one(of["value"])) for name, of in rows.items()}
        return cls(id_column, _read_whole(folder, f"{name}.parquet"), specs, vocabularies)


def _read_whole(folder: Folder, name: str) -> pa.Table:
    """A Parquet file with each column in one array: of chunks, rows are taken in O(all rows).

    One column is read at a time, so that no more than one is in memory twice.
    """
    columns = folder.read_schema(name).names
    table = pa.table({column: whole(folder.read_table(name, [column])[column]) for column in columns})
    give_back_memory()
    return table


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
