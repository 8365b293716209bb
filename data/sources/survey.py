"""The survey: one pass over a log that finds its ids, its times and its faults.

Sources deliver values that they cannot read as null (see data/sources/source.py). The survey counts such faults in Ray
tasks and names them on the driver, all in one error. What a source could not read at all is named before them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import pyarrow as pa

from data.artifacts.errors import UserError
from data.artifacts.records import arrow_compute as pc
from data.sources.event_types import EventTypes, is_positive
from data.sources.schema import RAW_INTERACTIONS, DataError
from data.sources.source import RawLog
from data.sources.values.columns import totals, whole
from data.sources.values.faults import CHECKS, FAULTS, checks_of_kept, faults_in, refuse_faults
from data.sources.values.kept import above, with_ids

if TYPE_CHECKING:
    from ray import ObjectRef

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TimeCounts:
    """How many positives a log has at each of its times: counts in Ray's object store, of which one asks for facts.

    There is a row for each second in which something happened, up to 31 million for a year.

    Attributes:
        table: columns `time` (distinct, sorted) and `count`, the number of positives at that time; int64.
    """

    table: "ObjectRef[pa.Table]"

    def ask(self, question: Callable[[pa.Table], T]) -> T:
        """What a function says of the table, which a Ray task calls with it.

        Raises:
            UserError: what the function raised. Other errors are Ray's, with their traceback.
        """
        import ray
        from ray.exceptions import RayTaskError

        try:
            answer: T = ray.get(ray.remote(_answer).remote(question, self.table))
        except RayTaskError as e:
            if isinstance(e.cause, UserError):
                raise e.cause from None
            raise
        return answer


def _answer(question: Callable[[pa.Table], T], table: pa.Table) -> T:
    return question(table)


@dataclass(frozen=True)
class Survey:
    """What is in a log without faults.

    Attributes:
        user_ids: the distinct ids of users, sorted.
        item_ids: the distinct ids of items, sorted.
        times: how many positives there are at each time.
        num_interactions: number of the positives that are kept: of all interactions, unless the log has event types.
        num_others: number of the other interactions that are kept: negatives, and events that only count as seen. The
            ids, their counts, and `missing_context` are those of all that are kept.
        num_left_out: number of the interactions whose weight is too low, or whose event type says nothing.
        user_counts: int64, the number of interactions of each of `user_ids`.
        item_counts: int64, the number of interactions of each of `item_ids`.
        missing_context: the number of interactions without a value, by context feature.
        missing_ids: the number of rows that are no interactions, by what they say in the column `missing`.
    """

    user_ids: pa.Array
    item_ids: pa.Array
    times: TimeCounts
    num_interactions: int
    num_others: int
    num_left_out: int
    user_counts: pa.Array
    item_counts: pa.Array
    missing_context: dict[str, int]
    missing_ids: dict[str, int] = field(default_factory=dict)


def survey(
    log: RawLog, min_weight: float | None = None, types: EventTypes = EventTypes(), is_order: bool = False
) -> Survey:
    """Passes once over the interactions of a log.

    Args:
        min_weight: interactions with a lower weight are left out, see `above`; None keeps all. Faults are looked for
            in all of them.
        types: the event types of the log, or those of its ratings.
        is_order: whether times are no more than an order, which running numbers of any size are.

    Raises:
        DataError: the log is empty, cannot be read, or has faults. Each fault is named with its count and first row.
    """
    import ray

    survey_block = partial(_survey_block, min_weight=min_weight, types=types)
    seen = log.interactions.map_batches(survey_block, batch_format="pyarrow", batch_size=None)
    refs = [*seen.to_arrow_refs(), ray.put(_survey_block(RAW_INTERACTIONS.empty_table()))]
    merge = ray.remote(_merged)
    while len(refs) > 1:  # in tasks, so that this process reads what they found together alone
        refs = [merge.remote(*refs[at : at + MERGED]) for at in range(0, len(refs), MERGED)]
    *counted_refs, times_ref = ray.remote(num_returns=4)(_divided).remote(refs.pop())
    blocks, users, items = ray.get(counted_refs)  # without a copy: they lie in Ray's object store
    num_interactions = pc.sum(blocks["num_interactions"]).as_py()
    _refuse_unreadable(blocks["unreadable"])
    if not num_interactions:
        raise DataError(f"{log.place}: there are no interactions in it")
    refuse_faults(pc.list_flatten(blocks["faults"]).to_pylist(), num_interactions, log, types, is_order)
    num_kept = pc.sum(users["count"]).as_py() or 0
    if not (num_positives := pc.sum(blocks["num_positives"]).as_py()):
        _refuse_nothing_kept(num_kept, min_weight, types)
    missing_ids = _counted(blocks, "missing").sort_by("missing")
    missing = np.sum([np.zeros(len(log.context)), *filter(len, blocks["missing_context"].to_pylist())], axis=0)
    return Survey(
        whole(users["user_id"]),
        whole(items["item_id"]),
        TimeCounts(times_ref),
        num_positives,
        num_kept - num_positives,
        num_interactions - num_kept,
        whole(users["count"]),
        whole(items["count"]),
        dict(zip(log.context, missing.astype(int).tolist(), strict=True)),
        dict(zip(missing_ids["missing"].to_pylist(), missing_ids["count"].to_pylist(), strict=True)),
    )


COUNTED = ("user_id", "item_id", "time")
"""Columns of the log whose distinct values are counted."""

MERGED = 16
"""What the survey finds in so many blocks, one task puts together."""


def _merged(*blocks: pa.Table) -> pa.Table:
    """One row with what `_survey_block` found in several blocks."""
    nothing = _survey_block(RAW_INTERACTIONS.empty_table())
    found = pa.concat_tables([nothing, *(block for block in blocks if block.num_rows)])
    columns: dict[str, pa.Array] = {}
    for name in (*COUNTED, "missing"):
        counted = _counted(found, name)
        columns |= {name: _one_list(counted[name]), f"{name}_count": _one_list(counted["count"])}
    missing = [counts for counts in found["missing_context"].to_pylist() if counts]
    columns["missing_context"] = pa.array([np.sum(missing, axis=0).tolist() if missing else []], pa.list_(pa.int64()))
    columns |= {name: _one_list(pc.list_flatten(found[name])) for name in ("faults", "unreadable")}
    columns["num_interactions"] = pa.array([pc.sum(found["num_interactions"]).as_py()])
    return pa.table(columns).select(found.column_names)


def _divided(found: pa.Table) -> tuple[pa.Table, pa.Table, pa.Table, pa.Table]:
    """What the survey found without ids and times but with the number of positives; and users, items, times, sorted."""
    counted = [_counted(found, name).sort_by(name) for name in COUNTED]
    users, items, times = (pa.table({name: whole(of[name]) for name in of.column_names}) for of in counted)
    others = found.drop_columns([column for name in COUNTED for column in (name, f"{name}_count")])
    num_positives = pa.array([pc.sum(times["count"]).as_py() or 0])
    return others.append_column("num_positives", num_positives), users, items, times


def _counted(blocks: pa.Table, name: str) -> pa.Table:
    """The distinct values of a column of the log, and the `count` of each, from the lists of all blocks."""
    values, counts = pc.list_flatten(blocks[name]), pc.list_flatten(blocks[f"{name}_count"])
    if blocks.num_rows != 1:
        values, counts = totals(values, counts)
    return pa.table({name: values, "count": counts})


def _one_list(values: pa.ChunkedArray | pa.Array) -> pa.Array:
    """The values as one list; ids of many blocks may be more than `string` holds."""
    values = values.cast(pa.large_string()) if pa.types.is_string(values.type) else values
    flat = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return pa.ListArray.from_arrays([0, len(flat)], flat)


def _survey_block(block: pa.Table, min_weight: float | None = None, types: EventTypes = EventTypes()) -> pa.Table:
    """One row with the block's distinct values and their counts as lists, its faults, and what was unreadable."""
    unreadable = block.filter(pc.is_valid(block["fault"])).select(["position", "fault"])
    block = block.filter(pc.is_null(block["fault"])) if len(unreadable) else block
    lacking = block.filter(pc.is_valid(block["missing"])).group_by("missing").aggregate([([], "count_all")])
    block = with_ids(block)
    heavy = above(block, min_weight)
    kept = types.classified(heavy) if types else heavy
    distinct = {"missing_context": _missing_context(kept["context"])}
    for name in COUNTED:
        counted = kept.filter(pa.array(types.having(is_positive)[kept["type"]])) if types and name == "time" else kept
        counts = counted.group_by(name).aggregate([([], "count_all")])
        distinct |= {name: counts[name].combine_chunks(), f"{name}_count": counts["count_all"].combine_chunks()}
    distinct |= {"missing": lacking["missing"], "missing_count": lacking["count_all"]}
    lists = {name: _one_list(values) for name, values in distinct.items()}
    faults = [*faults_in(block, CHECKS), *faults_in(heavy, checks_of_kept(types), first=len(CHECKS))]
    found = {"faults": pa.array([faults], FAULTS), "unreadable": pa.array([unreadable.to_pylist()], _UNREADABLE)}
    return pa.table(lists | {"num_interactions": pa.array([block.num_rows])} | found)


_UNREADABLE = pa.list_(pa.struct([("position", pa.int64()), ("fault", pa.string())]))
MAX_UNREADABLE = 3
"""Number of files that cannot be read of which the message says why."""


def _missing_context(context: pa.ChunkedArray) -> pa.Array:
    """int64 [C]: the number of missing values of each context feature; of length 0 where there is no row."""
    known = context.drop_null()
    if not len(known):
        return pa.array([], pa.int64())
    is_missing = pc.is_null(pc.list_flatten(known)).to_numpy().reshape(len(known), -1)
    return pa.array(is_missing.sum(axis=0))


def _refuse_unreadable(lists: pa.ChunkedArray) -> None:
    """Raises DataError if something could not be read, whose other faults may come from that."""
    faults = sorted(pc.list_flatten(lists).to_pylist(), key=lambda fault: fault["position"])
    if faults:
        others = f"; and {len(faults) - MAX_UNREADABLE} more faults" if len(faults) > MAX_UNREADABLE else ""
        raise DataError("; ".join(fault["fault"] for fault in faults[:MAX_UNREADABLE]) + others)


def _refuse_nothing_kept(num_kept: int, min_weight: float | None, types: EventTypes) -> None:
    """Raises DataError: no positive is left, for a reason that the message names."""
    if types.positive_from is not None:
        raise DataError(f"data.positive_from: {types.positive_from} leaves no positive: lower it")
    if types and (num_kept or min_weight is None):
        raise DataError(f"data.events: no interaction is of a positive type ({', '.join(types.types)}): add one")
    raise DataError(f"data.min_weight: {min_weight} leaves no interaction: lower it")
