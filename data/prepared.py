"""The prepared dataset as its readers see it: tables, vocabularies, features and the manifest."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads

from data.batches import Sequences
from data.schema import INTERACTIONS, Feature, FeatureKind
from data.storage import Folder, open_sealed
from data.vocabulary import Vocabulary

SCHEMA_VERSION = 2


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


@dataclass(frozen=True)
class PreparedDataset:
    """A sealed dataset folder, opened."""

    folder: Folder
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder: Folder) -> "PreparedDataset":
        """Raises NotSealed where the folder is missing or half-written."""
        return cls(folder, open_sealed(folder, "dataset"))

    @property
    def fingerprint(self) -> str:
        return self.manifest["fingerprint"]

    @property
    def context(self) -> tuple[str, ...]:
        """Names of the context features: what each value of an interaction's `context` is."""
        return tuple(self.manifest["context"])

    @cached_property
    def users(self) -> Catalogue:
        return Catalogue.load(self.folder, "users", "user_id", self.manifest["user_features"])

    @cached_property
    def items(self) -> Catalogue:
        return Catalogue.load(self.folder, "items", "item_id", self.manifest["item_features"])

    def paths(self, *splits: str) -> list[str]:
        """The interaction files of these splits: ascending users, each user's in one file of a split."""
        wanted = tuple(f"interactions/split={split}/" for split in splits)
        names = [n for n in self.manifest["files"] if n.startswith(wanted)]
        return [f"{self.folder.path}/{name}" for name in sorted(names)]

    def interactions(self, *splits: str, columns: list[str] | None = None) -> pa.Table:
        """These splits in memory, one after the other, each sorted by user, then oldest first."""
        tables = [self._read(split, columns) for split in splits]
        return pa.concat_tables(tables)

    def sequences(self, *splits: str) -> Sequences:
        """All users' items in these splits, oldest first."""
        return Sequences.of(self.interactions(*splits, columns=["user_row", "item_row"]), len(self.users.ids))

    def _read(self, split: str, columns: list[str] | None) -> pa.Table:
        paths = self.paths(split)
        schema = pa.schema([f for f in INTERACTIONS if columns is None or f.name in columns])
        if not paths:
            return schema.empty_table()
        return pads.dataset(paths, schema=INTERACTIONS, filesystem=self.folder.filesystem).to_table(
            columns=schema.names
        )


def feature_to_json(feature: Feature) -> dict[str, Any]:
    return {**asdict(feature), "kind": feature.kind.value}


def feature_from_json(value: dict[str, Any]) -> Feature:
    return Feature(**{**value, "kind": FeatureKind(value["kind"])})
