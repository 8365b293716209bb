"""What preparation finds out about a log before it writes anything: clock, coverage, and what is implausible."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.dataset.clock import Clock, ClockKind, clock_notes, clock_of
from data.dataset.coverage import Coverage, look_alike_notes
from data.dataset.split import SplitConfig, unused_notes
from data.dataset.vocabulary import value_lists
from data.sources.event_log.log_from_before import OF_FORGOTTEN
from data.sources.schema import DataError, Feature
from data.sources.source import RawLog, noted
from data.sources.survey import Survey
from data.sources.values.columns import fitting, in_one, whole
from data.sources.values.item_vectors import ItemVectors
from data.sources.values.limits import id_notes, limit_notes, refuse_infinite
from data.sources.values.missing import missing_lines

MIN_SHARE, MIN_COUNT, MIN_TIMES = 0.05, 30, 10
"""A user or item with this share of the interactions, this number, and as many times as many as usual is named."""

MAX_SUCH = 3
"""Number of users or items that may be named: what is usual is the number of the fourth."""


JOINED_SHARE = 0.2
"""A feature of lists none of which has two values is named if this share of its values holds a comma or semicolon."""


MOST_ROWS = 100_000
"""Rows of a table whose words are counted; those of all might take long."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What is known of a log before it is split.

    Attributes:
        clock: its times.
        coverage: of each table that it has, and of a file of items' vectors.
        missing: by table and column, such as "items.brand": the number of values that were read as missing because of
            their text; for a context feature, such as "context.channel", and for an id of events, such as
            "events.user_id", the number of all that are missing.
        notes: what is implausible, one sentence each.
    """

    clock: Clock
    coverage: tuple[Coverage, ...]
    missing: dict[str, int]
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """What to tell while preparing, one line each."""
        known = [str(coverage) for coverage in self.coverage if not coverage.is_low]
        return [str(self.clock), *known, *missing_lines(self.missing), *map(noted, self.notes)]

    def as_manifest(self) -> dict[str, Any]:
        """The findings as the manifest holds them."""
        return {
            "clock": self.clock.as_manifest(),
            "coverage": {coverage.table: coverage.as_manifest() for coverage in self.coverage},
            "missing": self.missing,
            "notes": list(self.notes),
        }


def _clock(times: pa.Table, kind: ClockKind, num_raw: int, place: str) -> tuple[Clock, list[str]]:
    """See `clock_of` and `clock_notes`."""
    clock = clock_of(kind, times, num_raw, place)
    return clock, clock_notes(clock, times)


def inspect(
    log: RawLog, found: Survey, kind: ClockKind, split: SplitConfig, vectors: ItemVectors | None = None
) -> Findings:
    """What the survey and the tables of a log tell about it.

    Args:
        vectors: of items, from a file of their own.

    Raises:
        DataError: a table, or the file of vectors, knows none of the log's ids, a number in a table is infinite, the
            times are dates written in digits, or the split is by dates and the log has no clock.
    """
    num_raw = found.num_interactions + found.num_others + found.num_left_out
    clock, time_notes = found.times.ask(partial(_clock, kind=kind, num_raw=num_raw, place=log.place))
    if not clock.has_clock and split.validation_from:
        raise DataError(
            f"data.split.validation_from: {split.validation_from} needs a log with a clock, and there are {clock}:"
            " give data.split.validation_share and test_share instead"
        )
    notes, coverages = [*time_notes, *log.notes, *unused_notes(split.kind, log.own_split)], []
    for side, table, features in (("users", log.users, log.user_features), ("items", log.items, log.item_features)):
        if table is not None:
            _refuse_infinite(side, table, features, log.place)
            notes += [*separator_notes(side, table, features), *cut_notes(side, table, features)]
    sides = {"users": (found.user_ids, found.user_counts), "items": (found.item_ids, found.item_counts)}
    for side, (ids, counts) in sides.items():
        ids_of_side = ids
        for name, (table_ids, place) in _tables(side, log, vectors).items():
            coverage = Coverage.of(side, ids, table_ids, name)
            coverage.check(place)
            coverages.append(coverage)
            ids_of_side = pc.unique(fitting(ids_of_side, table_ids))
        notes += dominance_notes(side, ids, counts)
        notes += [*look_alike_notes(side, ids_of_side), *id_notes(side, ids_of_side)]
    if log.items is not None:
        notes += limit_notes(in_one(log.items["item_id"]), log.items, log.item_features)
    notes += [str(coverage) for coverage in coverages if coverage.is_low]
    notes += left_out_notes(found.missing_ids)
    without_id = {name: count for name, count in found.missing_ids.items() if name != OF_FORGOTTEN}
    missing = dict(log.missing_text) | ({} if vectors is None else vectors.missing_text) | without_id
    missing |= {f"context.{name}": count for name, count in found.missing_context.items() if count}
    return Findings(clock, tuple(coverages), missing, tuple(notes))


def _tables(side: str, log: RawLog, vectors: ItemVectors | None) -> dict[str, tuple[pa.Array, str]]:
    """The ids of each table of a side, "users" or "items", by the table's name, and the place that messages name."""
    found = {}
    table = log.users if side == "users" else log.items
    if table is not None:
        found[side] = in_one(table[f"{side.removesuffix('s')}_id"]), log.place
    if side == "items" and vectors is not None:
        found["item_vectors"] = in_one(vectors.table["item_id"]), vectors.place
    return found


def _refuse_infinite(side: str, table: pa.Table, features: Sequence[Feature], place: str) -> None:
    """Raises DataError if a number in a table is infinite."""
    owner = side.removesuffix("s")
    for feature in features:
        if feature.kind.is_number:
            values = table[feature.name].cast(feature.kind.arrow_type)
            refuse_infinite(owner, table[f"{owner}_id"], values, values, feature, f"{place}, {side}")


def left_out_notes(counts: Mapping[str, int]) -> list[str]:
    """A sentence for each reason for which rows of the log are no interactions.

    Args:
        counts: of rows, by the id that events lack, such as "events.user_id", or OF_FORGOTTEN.
    """
    before = "interactions of the log from before are left out: their users were forgotten at the endpoint since"
    without_id = "events are left out, whose {} is blank or spelled as in data.source.missing"
    return [
        f"{count:,} {before if name == OF_FORGOTTEN else without_id.format(name.partition('.')[2])}"
        for name, count in counts.items()
    ]


def separator_notes(side: str, table: pa.Table, features: Sequence[Feature]) -> list[str]:
    """A sentence for each feature of lists whose text seems to have another separator than the source's.

    Args:
        side: "users" or "items".
        table: the canonical table.
        features: its features.
    """
    notes = []
    for feature in features:
        if not feature.kind.is_list or (pc.max(pc.list_value_length(table[feature.name])).as_py() or 0) != 1:
            continue
        values = pc.list_flatten(table[feature.name])
        joined = values.filter(pc.match_substring_regex(values, "[,;]"))
        if len(joined) >= JOINED_SHARE * len(values):
            notes.append(
                f"{side}, feature {feature.name!r}: no row has more than one value, and {len(joined):,} of"
                f" {len(values):,} values hold a comma or a semicolon, such as {joined[0].as_py()!r}: if that separates"
                " values, set data.source.multi_separator"
            )
    return notes


def cut_notes(side: str, table: pa.Table, features: Sequence[Feature]) -> list[str]:
    """A sentence for each feature of which some rows have more values or words than its `max_values`.

    Args:
        side: "users" or "items".
        table: the canonical table, of which the first MOST_ROWS are looked at.
        features: its features.
    """
    notes, rows = [], table.slice(0, MOST_ROWS)
    looked_at = f"{len(rows):,}" if len(rows) == len(table) else f"the first {len(rows):,}"
    for feature in features:
        if not feature.kind.has_vocabulary or not len(rows):
            continue
        lists = value_lists(whole(rows[feature.name].cast(feature.kind.arrow_type)), feature)
        is_value = pc.not_equal(pc.list_flatten(lists), "").to_numpy(zero_copy_only=False)
        counts = np.bincount(pc.list_parent_indices(lists).to_numpy()[is_value])
        if cut := np.count_nonzero(counts > feature.max_values):
            notes.append(
                f"{side}, feature {feature.name!r}: {cut:,} of {looked_at} rows have more than {feature.max_values}"
                f" values or words, and the towers use the first {feature.max_values} that they know: raise its"
                " max_values to use more"
            )
    return notes


def dominance_notes(side: str, ids: pa.Array, counts: pa.Array) -> list[str]:
    """A sentence for each user or item with an implausible share of the log.

    Such an id has MIN_SHARE of all interactions, MIN_COUNT of them, and MIN_TIMES as many as the fourth id: several
    ids may stand for a missing one, such as "unknown" and "-1".

    Args:
        side: "users" or "items".
        ids: distinct ids.
        counts: int64, the number of interactions of each.
    """
    if len(ids) <= 2 * MAX_SUCH:
        return []
    counts_N, total = counts.to_numpy(), pc.sum(counts).as_py()
    usual = int(np.partition(counts_N, -MAX_SUCH - 1)[-MAX_SUCH - 1])
    is_large = pa.array(counts_N >= max(MIN_SHARE * total, MIN_COUNT, MIN_TIMES * usual))
    return [
        f"{side.removesuffix('s')} {id_!r} has {count:,} of {total:,} interactions ({count / total:.1%}),"
        f" {count // usual:,} times as many as the fourth: if it stands for a missing id, add it to"
        " data.source.missing and leave these rows out"
        for id_, count in zip(ids.filter(is_large).to_pylist(), counts.filter(is_large).to_pylist(), strict=True)
    ]
