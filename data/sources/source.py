"""What a source is: a config dataclass that reads a log in some format and delivers it in canonical columns.

A source registers itself under the name that yaml uses (`defaults: [/data/source: NAME@source]`):

    @source("movielens")
    @dataclass(kw_only=True, slots=True)
    class MovieLensSource(SourceConfig):
        ...

To add one, add a module to this folder and a file to conf/data. Inside a Ray task a source delivers a bad value as null
(or as it is), and the survey (data/sources/survey.py) names it on the driver. For what cannot be read at all, a part of
a log (see `read_in_parts`) raises DataError with file and line, or the OSError of a storage that does not answer. The
error does not leave the task, because Ray would print its own traceback around it: it becomes a row with nothing but
its text in the column `fault`, which the survey reports.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import numpy as np
import pyarrow as pa

from data.artifacts.errors import one_line
from data.artifacts.registry import Registry
from data.sources.event_types import EventType
from data.sources.schema import RAW_INTERACTIONS, DataError, Feature

if TYPE_CHECKING:
    import ray.data

Column: TypeAlias = pa.Array | pa.ChunkedArray

Part = Callable[[], Iterable[pa.Table]]
"""Reads one part of a log inside a Ray task; its tables have the schema RAW_INTERACTIONS."""

EVENT_POSITIONS = 1 << 62
"""Positions from here on are those of events of an endpoint; below, they are rows of the log from before it."""

S = TypeVar("S", bound="type[SourceConfig]")


@dataclass(frozen=True)
class RawLog:
    """A log in canonical columns whose values have not been checked yet; `survey` checks them.

    Attributes:
        interactions: the columns of schema.RAW_INTERACTIONS.
        users: user_id and the declared features; None if the log has no such table.
        items: item_id, title and the declared features; None if the log has no such table.
        user_features: the declared features of `users`.
        item_features: the declared features of `items`.
        place: where the interactions come from, for error messages.
        context: names of the context features, such as a channel, in the order of the values in the column `context`.
        locate: says where the row at a position stands, such as "log/part-2.csv, row 7 (line 8)"; called on the driver.
        missing_text: by table and column, such as "items.brand": the number of values that were read as missing because
            of their text, such as "nan".
        notes: what else is to be known of the tables, one sentence each.
        events_until_us: of the events of an endpoint: those that were accepted until then are in the log, and users who
            were forgotten until then are not; in microseconds since 1970. None for other logs.
        own_split: the setting by which the log assigns interactions to splits; None where it does not.
        forgotten_ids: the ids in `users` of those who were forgotten at the endpoint: without interactions since, they
            are left out. None where nobody was.
    """

    interactions: "ray.data.Dataset"
    users: pa.Table | None
    items: pa.Table | None
    user_features: tuple[Feature, ...] = ()
    item_features: tuple[Feature, ...] = ()
    place: str = "the log"
    context: tuple[str, ...] = ()
    locate: Callable[[int], str] = "position {}".format
    missing_text: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    events_until_us: int | None = None
    own_split: str | None = None
    forgotten_ids: pa.Array | None = None


def noted(note: str) -> str:
    """A note on a log as a line for people."""
    return f"note: {note}"


@dataclass(kw_only=True, slots=True)
class SourceConfig:
    """Where a log lies and how to read it. Each source adds its own fields."""

    def read(self) -> RawLog:
        """Opens the log. Needs a running Ray, whose tasks read the interactions when they are consumed.

        Raises:
            DataError: a file or a column is missing, or a column has a type that cannot be cast.
        """
        raise NotImplementedError

    def files(self) -> list[str]:
        """The input files, by paths or URIs that `Folder.of` opens, on an object store with credentials and options.

        A change of one of them leads to a new prepared dataset.
        """
        raise NotImplementedError

    def places(self) -> dict[str, str]:
        """Where files and folders of the log lie, by their keys below `data.source`; none where it is not in files.

        Other machines that are to read the log must find them there too.
        """
        return {}

    def read_until(self) -> list[int]:
        """Of a log that grows, the moments until which it is read, in microseconds since 1970; none for other logs.

        They decide what is read as the files do: a file may hold what is not complete yet, and left out so far.
        """
        return []

    def missing_spellings(self) -> tuple[str, ...]:
        """The text that stands for a missing value in the log, besides blank text."""
        return ()

    def has_weights(self) -> bool:
        """Whether interactions of the log may have weights of their own, which `data.min_weight` bounds."""
        return True

    def event_types(self) -> dict[str, EventType]:
        """What event types of the log mean, by name, where `data.events` names none."""
        return {}


SOURCES: Registry[type[SourceConfig]] = Registry("data.source", "data.sources")


def source(name: str) -> Callable[[S], S]:
    """A class decorator that registers a source under the name that yaml uses.

    Raises:
        ConfigError: another source has the name already; the message names both.
    """
    return SOURCES.register(name)


def sources() -> dict[str, type[SourceConfig]]:
    """All registered sources by name, those of every module in this folder included."""
    return dict(SOURCES)


def raw_block(
    *,
    user_id: Column,
    item_id: Column,
    time: Column,
    weight: Column | None = None,
    split: Column | None = None,
    context: Sequence[Column] = (),
    type: Column | None = None,
    first_position: int,
) -> pa.Table:
    """A table of schema RAW_INTERACTIONS.

    Args:
        user_id: strings; null where the value cannot be read. All columns have the same length.
        item_id: strings, likewise.
        time: int64, unix seconds or a running number; null where the value cannot be read.
        weight: numbers; None means that each interaction has weight 1.
        split: strings, "train", "validation" or "test"; None means that the log has no split of its own.
        context: one column of strings per context feature.
        type: strings, the event types that `data.events` describes; None means that the log names none.
        first_position: index of the first row in the log; the rows after it count up from there.
    """
    rows = len(user_id)
    weights = pa.array(np.ones(rows, np.float32)) if weight is None else weight.cast(pa.float32(), safe=False)
    position = pa.array(np.arange(first_position, first_position + rows, dtype=np.int64))
    splits = pa.nulls(rows, pa.string()) if split is None else split
    types = pa.nulls(rows, pa.string()) if type is None else type
    nothing = pa.nulls(rows, pa.string())  # neither a fault nor a missing id
    columns = [user_id, item_id, time, weights, position, splits, _side_by_side(context, rows), types, nothing, nothing]
    return pa.Table.from_arrays(columns, schema=RAW_INTERACTIONS)


def fault_row(fault: str, position: int = 0) -> pa.Table:
    """A table of schema RAW_INTERACTIONS with one row, which stands for something that could not be read.

    Args:
        fault: what it is, in words, with its file, its line and the cure.
        position: of faults, the survey reports those with the lowest positions first.
    """
    columns = [pa.nulls(1, field.type) for field in RAW_INTERACTIONS]
    columns[RAW_INTERACTIONS.get_field_index("position")] = pa.array([position])
    columns[RAW_INTERACTIONS.get_field_index("fault")] = pa.array([fault])
    return pa.Table.from_arrays(columns, schema=RAW_INTERACTIONS)


def _side_by_side(columns: Sequence[Column], rows: int) -> pa.Array:
    """list<string> with one value of each column per row; null if there are no columns."""
    if not columns:
        return pa.nulls(rows, pa.list_(pa.string()))
    flat = pa.concat_arrays([_one_chunk(column) for column in columns])
    by_row = np.arange(rows * len(columns)).reshape(len(columns), rows).T.ravel()
    return pa.ListArray.from_arrays(pa.array(np.arange(0, len(flat) + 1, len(columns)), pa.int32()), flat.take(by_row))


def _one_chunk(column: Column) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def read_in_parts(parts: Sequence[Part]) -> "ray.data.Dataset":
    """A dataset of all tables that the parts yield. One Ray task per part reads it, block by block, on consumption.

    Where a part raises DataError or OSError, its tables end with a row that has the error in its column `fault`.
    """

    import ray.data

    def read(numbers: pa.Table) -> Iterable[pa.Table]:
        for part in numbers["part"].to_pylist():
            try:
                yield from parts[part]()
            except DataError as e:
                yield fault_row(str(e), part)
            except OSError as e:
                yield fault_row(f"reading failed ({one_line(e)}): if the storage did not answer, run it again", part)

    if not parts:
        return in_blocks(RAW_INTERACTIONS.empty_table())
    numbers = [pa.table({"part": [number]}) for number in range(len(parts))]
    return ray.data.from_arrow(numbers).map_batches(read, batch_format="pyarrow", batch_size=None)


def in_blocks(table: pa.Table, rows_per_block: int = 1 << 18) -> "ray.data.Dataset":
    """A dataset of a table in the driver's memory, cut into blocks."""
    import ray.data

    starts = range(0, max(table.num_rows, 1), rows_per_block)
    return ray.data.from_arrow([table.slice(start, rows_per_block) for start in starts])
