"""Events, and items that were shown and passed over, as interactions in canonical columns.

Shape legend: N interactions.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from data.artifacts.folders import Folder
from data.artifacts.records import arrow_compute as pc
from data.sources.event_log.decisions import DecisionLog
from data.sources.event_log.files import MICROS, TIME, EventLog, is_there
from data.sources.schema import DataError
from data.sources.source import EVENT_POSITIONS, raw_block
from data.sources.values.ids import ids
from data.sources.values.missing import present

CLICKED_LATER = timedelta(days=1)
"""Events up to this long after the day of an answer are counted as caused by the answer."""


def event_blocks(
    root: str, day: str, until_us: int, context: Sequence[str], spellings: Sequence[str] = ()
) -> Iterator[pa.Table]:
    """The events that happened on a day, by the schema RAW_INTERACTIONS, file by file.

    The position of each is when it was accepted, in microseconds since 1970 from EVENT_POSITIONS on, so that events of
    one second stand in that order. An event without a user or an item says so in its column `missing`.

    Args:
        until_us: Events that were accepted later are left out.
        context: The names of the context's values that are taken.
        spellings: Text that stands for a missing id or value, besides blank text.
    """
    log = EventLog.of(Folder.of(root))
    for file in log.files_of(day):
        if (events := log.read_listed(file)) is None:
            continue
        events = events.filter(pc.less_equal(events["received"], pa.scalar(until_us).cast(TIME)))
        yield _block(events, events["time"], events["received"], events["type"], context, spellings)


def skipped_blocks(
    root: str,
    day: str,
    until_us: int,
    context: Sequence[str],
    passive: Collection[str],
    name: str,
    spellings: Sequence[str] = (),
    hours: Collection[str] | None = None,
) -> Iterator[pa.Table]:
    """The items that answers of a day showed above one that their user acted on, and that the user did not act on.

    A user who acts on the item at a position has most probably looked at those above it, and passed them over; nothing
    is known of those below (Joachims et al. 2005, "Skip Above").

    Args:
        until_us: Events that were accepted later do not count.
        context: The names of the context's values that are taken.
        passive: Types of events that are no acts, such as impressions.
        name: The event type that the interactions get.
        spellings: Text that stands for a missing id or value, besides blank text; acts without a user do not count.
        hours: The hours whose answers are read, so that each pass over a log reads those of the first; None reads all.
    """
    acts = _acts(root, day, until_us, passive)
    if not len(acts):
        return
    log = DecisionLog.of(Folder.of(root))
    for hour in log.hours_of(day):
        if hours is not None and hour not in hours:
            continue
        try:
            for answers in log.folder.read_groups(log.compacted(hour)):
                skipped = _skipped(answers, acts)
                types = pa.repeat(name, len(skipped))
                block = _block(skipped, skipped["time"], skipped["time"], types, context, spellings)
                yield block.filter(pc.is_null(block["missing"]))
        except (OSError, ValueError) as e:
            if is_there(log.folder, log.compacted(hour)):  # it was deleted otherwise, with its day
                raise DataError(
                    f"{log.folder}/{log.compacted(hour)}: cannot be read as decisions ({e}): run it again, and remove"
                    " the file if that does not help"
                ) from e


def _block(
    rows: pa.Table,
    times_N: pa.ChunkedArray,
    positions_N: pa.ChunkedArray,
    types_N: pa.Array,
    context: Sequence[str],
    spellings: Sequence[str],
) -> pa.Table:
    """The rows by the schema RAW_INTERACTIONS; their ids and context are read as those of a log in tables."""
    user_ids_N, item_ids_N = (ids(present(rows[name], spellings)) for name in ("user_id", "item_id"))
    seconds_N = pc.divide(times_N.cast(pa.int64()), MICROS)
    values = [present(pc.map_lookup(rows["context"], pa.scalar(name), "first"), spellings) for name in context]
    block = raw_block(
        user_id=user_ids_N, item_id=item_ids_N, time=seconds_N, context=values, type=types_N, first_position=0
    )
    no_item_N = pc.if_else(pc.is_null(item_ids_N), "events.item_id", pa.scalar(None, pa.string()))
    missing_N = pc.if_else(pc.is_null(user_ids_N), "events.user_id", no_item_N)
    at_N = pc.add(positions_N.cast(pa.int64()), EVENT_POSITIONS)
    for name, column in (("position", at_N), ("missing", missing_N)):
        block = block.set_column(block.column_names.index(name), block.schema.field(name), column)
    return block


def _acts(root: str, day: str, until_us: int, passive: Collection[str]) -> pa.Table:
    """Which items of a day's answers their users acted on: distinct request_id, item_id and user_id.

    Request ids that came with several users are left out.
    """
    log, first = EventLog.of(Folder.of(root)), date.fromisoformat(day)
    days = [str(first + timedelta(days=number)) for number in range(CLICKED_LATER.days + 1)]
    columns = ["request_id", "item_id", "user_id", "type", "received"]
    read = (log.read_listed(file, columns) for of_day in days for file in log.files_of(of_day))
    tables = [table for table in read if table is not None]
    if not tables:
        return pa.table({name: pa.array([], pa.string()) for name in columns[:3]})
    events = pa.concat_tables(tables)
    is_act_N = pc.and_(
        pc.is_valid(events["request_id"]), pc.less_equal(events["received"], pa.scalar(until_us).cast(TIME))
    )
    is_passive_N = pc.is_in(events["type"], value_set=pa.array(list(passive), pa.string()))
    events = events.filter(pc.and_(is_act_N, pc.invert(is_passive_N))).select(columns[:3])
    users = events.group_by("request_id").aggregate([("user_id", "count_distinct")])
    of_one = users.filter(pc.equal(users["user_id_count_distinct"], 1))["request_id"].combine_chunks()
    acts = events.group_by(columns[:3]).aggregate([])
    return acts.filter(pc.is_in(acts["request_id"], value_set=of_one)).select(columns[:3])


def _skipped(answers: pa.Table, acts: pa.Table) -> pa.Table:
    """Columns user_id, item_id, time and context of the items that were passed over, see `skipped_blocks`."""
    requests, users = acts["request_id"].combine_chunks(), acts["user_id"].combine_chunks()
    answers = answers.filter(pc.is_in(answers["request_id"], value_set=requests)).combine_chunks()
    index = pc.index_in(answers["request_id"], value_set=requests).to_numpy().astype(np.int64)  # of an act of it
    lists = answers["item_ids"].combine_chunks()
    parent_N = pc.list_parent_indices(lists).to_numpy().astype(np.int64)
    items = lists.flatten()
    starts = np.cumsum(np.bincount(parent_N, minlength=len(answers))) - np.bincount(parent_N, minlength=len(answers))
    position_N = np.arange(len(items)) - starts[parent_N]
    pairs = pa.table({"request_id": answers["request_id"].take(pa.array(parent_N)), "item_id": items})
    is_acted_N = _is_among(pairs, acts)
    is_shown_N = position_N < answers["num_shown"].to_numpy()[parent_N]
    last, acted = np.full(len(answers), -1, dtype=np.int64), np.flatnonzero(is_acted_N & is_shown_N)
    np.maximum.at(last, parent_N[acted], position_N[acted])
    at = np.flatnonzero(~is_acted_N & (position_N < last[parent_N]))
    of_answer = pa.array(parent_N[at])
    return pa.table(
        {
            "user_id": users.take(pa.array(index[parent_N[at]])),
            "item_id": items.take(pa.array(at)),
            "time": answers["time"].take(of_answer),
            "context": answers["context"].take(of_answer),
        }
    )


def _is_among(pairs: pa.Table, acts: pa.Table) -> np.ndarray:
    """bool [N]: whether each pair of request and item is one of an act."""
    items, requests = pc.unique(acts["item_id"]), pc.unique(acts["request_id"])
    keys = []
    for table in (pairs, acts):
        request_N = pc.index_in(table["request_id"], value_set=requests).to_numpy().astype(np.int64)
        item_N = pc.index_in(table["item_id"], value_set=items).fill_null(len(items)).to_numpy()
        keys.append(request_N * (len(items) + 1) + item_N)
    return np.isin(*keys)
