"""Reading a prepared dataset: its users, its items and the interactions of each split."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from data.artifacts.folders import Folder
from data.artifacts.seals import open_sealed
from data.dataset.catalogue import Catalogue
from data.dataset.clock import Clock
from data.dataset.schema import INTERACTIONS, by_number
from data.sequences.histories import Sequences, SequencesPart, in_order
from data.sources.event_types import EventType, EventTypes
from data.sources.schema import SPLITS

SCHEMA_VERSION = 3
"""Version of the files' layout. It enters the folder's name, so a dataset of another version is prepared anew."""


@dataclass(frozen=True)
class PreparedDataset:
    """A sealed folder with a prepared dataset.

    Attributes:
        folder: where it lies.
        manifest: the content of the folder's manifest, as `data.dataset.preparation` writes it.
    """

    folder: Folder
    manifest: dict[str, Any]

    @classmethod
    def open(cls, folder: Folder) -> "PreparedDataset":
        """The dataset in a folder.

        Raises:
            NotSealed: the folder is missing or half-written, or holds something else.
        """
        return cls(folder, open_sealed(folder, "dataset"))

    @property
    def fingerprint(self) -> str:
        """Digest of all files: datasets with the same content have the same fingerprint."""
        return self.manifest["fingerprint"]

    @property
    def context(self) -> tuple[str, ...]:
        """Names of the context features, in the order of the values in the interactions' column `context`."""
        return tuple(self.manifest["context"])

    @property
    def event_types(self) -> EventTypes:
        """The event types of the interactions; none where all of them are positives that count as seen."""
        return EventTypes.of_manifest(self.manifest.get("event_types"))

    @property
    def event_type_names(self) -> tuple[str, ...]:
        """The names of the event types, in the order of their codes."""
        return tuple(self.event_types.types)

    @property
    def clock(self) -> Clock | None:
        """The log's times; None where an earlier version prepared the dataset, which did not record them."""
        recorded = self.manifest.get("clock")
        return None if recorded is None else Clock(**recorded)

    @property
    def notes(self) -> list[str]:
        """What is implausible about the log, one sentence each."""
        return list(self.manifest.get("notes", ()))

    @cached_property
    def newest_time(self) -> int:
        """The time of the newest interaction: unix seconds, or a running number if the log has no times."""
        if (clock := self.clock) is not None:
            return clock.last
        return int(max(pc.max(self.interactions(split, columns=["time"])["time"]).as_py() or 0 for split in SPLITS))

    @property
    def has_clock(self) -> bool:
        """Whether times are unix seconds; where that is not recorded, times below the log's length are its indices."""
        if (clock := self.clock) is not None:
            return clock.has_clock
        return self.newest_time >= self.manifest["counts"]["raw_interactions"]

    def __getstate__(self) -> dict[str, Any]:
        """Without the tables that were read: a worker that is given a dataset reads what it needs."""
        return {"folder": self.folder, "manifest": self.manifest}

    @property
    def log_read(self) -> dict[str, int]:
        """When the log was read, as `log_read_us`; empty where an earlier version prepared the dataset.

        In microseconds since 1970. Who was forgotten at an endpoint later may be in the dataset.
        """
        return {"log_read_us": self.manifest["log_read_us"]} if "log_read_us" in self.manifest else {}

    def events_until(self, *splits: str) -> dict[str, int]:
        """Which events of an endpoint are in the histories of these splits; empty for other logs.

        They are those that were accepted until `events_until_us` and, of a part of the splits, happened before
        `events_before_us`, the boundary. Both are in microseconds since 1970.
        """
        if (until_us := self.manifest.get("events_until_us")) is None:
            return {}
        bounds = self.manifest.get("boundaries") or {}
        ends_s = [bounds[f"{split}_from"] for split in SPLITS if split not in splits and bounds]
        return {"events_until_us": until_us} | ({"events_before_us": min(ends_s) * 1_000_000} if ends_s else {})

    @cached_property
    def users(self) -> Catalogue:
        """All users of the log and of its table of users; their ids are read when they are asked for."""
        return Catalogue.load(self.folder, "users", "user_id", self.manifest["user_features"], as_asked=True)

    @cached_property
    def items(self) -> Catalogue:
        """All items of the log and of its table of items; their ids are read when they are asked for."""
        return Catalogue.load(self.folder, "items", "item_id", self.manifest["item_features"], as_asked=True)

    def paths(self, *splits: str, kind: str = "interactions") -> list[str]:
        """The files of these splits, in the order of their users; a user is in one file of each split.

        Args:
            kind: "interactions", the positives, or "others".
        """
        wanted = tuple(f"{kind}/split={split}/" for split in splits)
        names = [n for n in self.manifest["files"] if n.startswith(wanted)]
        return [f"{self.folder.path}/{name}" for name in sorted(names, key=by_number)]

    def interactions(self, *splits: str, columns: list[str] | None = None) -> pa.Table:
        """The interactions of these splits, one split after the other, each by user and then oldest first.

        Args:
            columns: the columns to read, of `data.dataset.schema.INTERACTIONS`; None means all.
        """
        return pa.concat_tables([self._read_files(self.paths(split), columns) for split in splits])

    def others(self, *splits: str, columns: list[str] | None = None) -> pa.Table:
        """The interactions of these splits that are no positives, in the order and with the columns of `interactions`.

        They are negatives, and events that count as seen and say nothing else.
        """
        return pa.concat_tables([self._read_files(self.paths(split, kind="others"), columns) for split in splits])

    def parts(
        self,
        *splits: str,
        columns: Collection[str],
        kinds: Sequence[str] = ("interactions",),
        users_U: np.ndarray | None = None,
    ) -> Iterator[pa.Table]:
        """The interactions of these splits in parts of whole users, the users of one part after those of another.

        Within a part they come as `interactions` returns them, one split after the other. One part is in memory at a
        time (`data.users_per_part`).

        Args:
            columns: the columns to read, of `data.dataset.schema.INTERACTIONS`.
            kinds: "interactions", the positives, "others", or both.
            users_U: bool, by row, the users whose interactions are wanted; None means all users.
        """
        for name in self.part_names(*splits, kinds=kinds):
            yield self.part(name, *splits, columns=columns, kinds=kinds, users_U=users_U)

    def part_names(self, *splits: str, kinds: Sequence[str] = ("interactions",)) -> list[str]:
        """The names of the parts that have interactions of these kinds in these splits, in the order of their users."""
        names = {path.rpartition("/")[2] for kind in kinds for path in self.paths(*splits, kind=kind)}
        return sorted(names, key=by_number)

    def part(
        self,
        name: str,
        *splits: str,
        columns: Collection[str],
        kinds: Sequence[str] = ("interactions",),
        users_U: np.ndarray | None = None,
    ) -> pa.Table:
        """One of the `parts`; empty where it has no interactions in these splits."""
        part = self._read_files(self._paths_of(name, splits, kinds), columns)
        return part if users_U is None else part.filter(pa.array(users_U[part["user_row"].to_numpy()]))

    def part_rows(self, name: str, *splits: str) -> int:
        """The number of positives of a part in these splits, by the files' footers."""
        paths = self._paths_of(name, splits, ("interactions",))
        return int(pads.dataset(paths, schema=INTERACTIONS, filesystem=self.folder.filesystem).count_rows())

    def _paths_of(self, name: str, splits: Sequence[str], kinds: Sequence[str]) -> list[str]:
        """The files of a part, without a look at those of all others."""
        files = [f"{kind}/split={split}/{name}" for kind in kinds for split in splits]
        return [f"{self.folder.path}/{file}" for file in files if file in self.manifest["files"]]

    def sequences(self, *splits: str, beside: Collection[str] = (), users_U: np.ndarray | None = None) -> Sequences:
        """Each user's items in these splits, oldest first: those of the positives, which make up the history.

        Args:
            beside: what the sequences hold beside the items: "time", "type", both or nothing.
            users_U: bool, by row, the users whose items are wanted, the others have none; None means all users.
        """
        most = sum(self.manifest["counts"][split] for split in splits)
        parts = self.parts(*splits, columns=["user_row", "item_row", *beside], users_U=users_U)
        return Sequences.of_parts(parts, self.users.num_rows, most, beside)

    def sequences_in_parts(self, *splits: str, beside: Collection[str] = ()) -> Iterator[SequencesPart]:
        """What `sequences` returns, one part at a time."""
        return in_order(self.parts(*splits, columns=["user_row", "item_row", *beside]), beside)

    def seen(self, *splits: str, users_U: np.ndarray | None = None) -> Sequences:
        """Each user's items in these splits that count as seen; where all interactions do, those of `sequences`.

        Args:
            users_U: as in `sequences`.
        """
        if not self.event_types:
            return self.sequences(*splits, users_U=users_U)
        counts = self.manifest["counts"]
        most = sum(counts[split] for split in splits) + counts.get("others", 0)
        return Sequences.of_parts(self._seen(splits, users_U), self.users.num_rows, most)

    def seen_in_parts(self, *splits: str) -> Iterator[SequencesPart]:
        """What `seen` returns of a log with event types, one part at a time."""
        return in_order(self._seen(splits))

    def _seen(self, splits: Collection[str], users_U: np.ndarray | None = None) -> Iterator[pa.Table]:
        kinds, columns = ("interactions", "others"), ["user_row", "item_row", "type"]
        for part in self.parts(*splits, columns=columns, kinds=kinds, users_U=users_U):
            yield self.of_types(part, lambda of: of.is_seen)

    def of_types(self, interactions: pa.Table, property_of: Callable[[EventType], bool]) -> pa.Table:
        """The interactions whose event types have a property; without event types, all of them.

        Args:
            interactions: with the column `type`.
        """
        if not (types := self.event_types):
            return interactions
        return interactions.filter(pa.array(types.having(property_of)[interactions["type"].to_numpy()]))

    def _read_files(self, paths: Sequence[str], columns: Collection[str] | None) -> pa.Table:
        schema = pa.schema([f for f in INTERACTIONS if columns is None or f.name in columns])
        if not paths:
            return schema.empty_table()
        files = pads.dataset(list(paths), schema=INTERACTIONS, filesystem=self.folder.filesystem)
        return files.to_table(columns=schema.names)
