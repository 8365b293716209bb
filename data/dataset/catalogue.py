"""The prepared dataset as its readers see it: tables, vocabularies, features and the manifest."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads

from data.artifacts.folders import Folder
from data.dataset.vocabulary import Vocabulary
from data.sources.schema import Feature, FeatureKind


@dataclass(frozen=True)
class Catalogue:
    """One side of a dataset: its table (`row` 1..N, external id, features) and how features are encoded.

    Attributes:
        table: sorted by row; columns `row`, the id column, [`title`], the features, `train_count`, `validation_count`.
        features: the declared features, in order.
        vocabularies: by feature name, for the features that are not numeric.
    """

    id_column: str
    table: pa.Table
    features: tuple[Feature, ...]
    vocabularies: dict[str, Vocabulary]

    @cached_property
    def ids(self) -> Vocabulary:
        return Vocabulary(self.table[self.id_column].combine_chunks())

    def save(self, folder: Folder, name: str) -> None:
        """Writes `<name>.parquet` and `<name>.vocabularies.parquet`."""
        folder.write_table(f"{name}.parquet", self.table)
        values = pa.chunked_array([v.values for v in self.vocabularies.values()], pa.string())
        names = np.repeat(list(self.vocabularies), [len(v.values) for v in self.vocabularies.values()])
        flat = pa.table({"feature": pa.array(names.tolist(), pa.string()), "value": values})
        folder.write_table(f"{name}.vocabularies.parquet", flat)

    @classmethod
    def load(cls, folder: Folder, name: str, id_column: str, features: Sequence[dict[str, Any]]) -> "Catalogue":
        specs = tuple(feature_from_json(f) for f in features)
        flat = folder.read_table(f"{name}.vocabularies.parquet")
        vocabularies = {
            f.name: Vocabulary(flat.filter(pads.field("feature") == f.name)["value"].combine_chunks())
            for f in specs
            if f.kind is not FeatureKind.numeric
        }
        return cls(id_column, folder.read_table(f"{name}.parquet"), specs, vocabularies)


def feature_to_json(feature: Feature) -> dict[str, Any]:
    return {**asdict(feature), "kind": feature.kind.value}


def feature_from_json(value: dict[str, Any]) -> Feature:
    return Feature(**{**value, "kind": FeatureKind(value["kind"])})
