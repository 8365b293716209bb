"""The prepared dataset as its readers see it: tables, vocabularies, features and the manifest."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads

from data.artifacts.folders import Folder
from data.artifacts.seals import open_sealed
from data.dataset.catalogue import Catalogue
from data.dataset.schema import INTERACTIONS
from data.sequences.histories import Sequences

SCHEMA_VERSION = 2


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
