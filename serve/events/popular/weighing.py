"""How much each item weighs in each context by the events of a part of the log, and whose events these are.

A user counts once for an item, by the heaviest event: within a part, and in later parts as long as the user is among
the KEPT_USERS who weigh most there. So whoever sends the same event again and again counts once; only for an item that
so many others choose meanwhile that they take these places, in each part, as one of more than KEPT_USERS.

Shape legend: N rows of events and their contexts, U users, R rows of a table by SCHEMA.
"""

import zlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.sources.event_types import EventTypes, is_positive
from serve.events.config import EventsConfig
from serve.events.event import MICROS

SCHEMA = pa.schema(
    [
        ("context", pa.string()),
        ("item_id", pa.string()),
        ("weight", pa.float64()),
        ("users", pa.list_(pa.int64())),
        ("shares", pa.list_(pa.float64())),
    ]
)
"""Weights of items by context, and of each the users who weigh most there with their part of the weight."""

PLAIN = ["context", "item_id", "weight"]
"""The columns of SCHEMA that are no lists; files of an earlier version have these alone."""

USERS = pa.schema([("context", pa.string()), ("user", pa.int64()), ("time_us", pa.int64())])
"""The latest users of each context, and the last event of each."""

EVERYWHERE = ""
"""The context of all events."""

USER_NUMBERS = 1024
"""Users are told apart by a hash with so many values, which says of nobody who it was."""

KEPT_USERS = 8
"""Most users who are kept of an item in a context."""

HOUR_US = 3600 * MICROS

ITEM, SHARE = ["context", "item_id"], ["context", "item_id", "user", "share"]


def weighed(config: EventsConfig, events: pa.Table, now_us: int) -> tuple[pa.Table, pa.Table]:
    """The share of each user in each item, in all and by the values of context; and the users, by USERS.

    Args:
        events: by `data.sources.event_log.files.SCHEMA`; those that are no positives are left out.

    Returns:
        A table by SHARE with a row for each user, which holds the user's number.
    """
    types = EventTypes(config.types)
    codes_N = types.codes(events["type"], pa.chunked_array([pa.nulls(len(events), pa.float64())]))
    kept_N = types.having(is_positive)[codes_N] & (codes_N >= 0)
    events, codes_N = events.filter(pa.array(kept_N)), codes_N[kept_N]
    age_N = np.maximum(now_us - events["time"].cast(pa.int64()).to_numpy(), 0)
    weight_N = np.array([of.weight for of in types.types.values()])[codes_N]
    weight_N = weight_N * 0.5 ** (age_N / (config.popular_half_life_h * HOUR_US))
    contexts = events["context"].combine_chunks()
    of_event = np.repeat(np.arange(len(events)), np.diff(contexts.offsets.to_numpy()))
    keys = pc.binary_join_element_wise(contexts.keys, contexts.items, "=")
    at = np.concatenate([np.arange(len(events)), of_event])
    names = pa.concat_arrays([pa.repeat(EVERYWHERE, len(events)), keys])
    rows = events.select(["user_id", "item_id", "time"]).take(pa.array(at))
    rows = rows.append_column("context", names).append_column("share", pa.array(weight_N[at]))
    rows = rows.append_column("user", pa.array(_numbers(rows["user_id"])))
    once = rows.group_by([*ITEM, "user_id", "user"]).aggregate([("share", "max")])
    users = rows.select(["context", "user", "time"]).rename_columns(USERS.names).cast(USERS)
    return once.select([*ITEM, "user", "share_max"]).rename_columns(SHARE), users


def _numbers(user_ids: pa.ChunkedArray) -> np.ndarray:
    """int64 [N]: the number of each user, below USER_NUMBERS."""
    encoded = user_ids.combine_chunks().dictionary_encode()
    hash_U = np.array([zlib.crc32(user_id.encode()) for user_id in encoded.dictionary.to_pylist()], dtype=np.int64)
    numbers: np.ndarray = hash_U[encoded.indices.to_numpy()] % USER_NUMBERS
    return numbers


def decayed(table: pa.Table, factor: float) -> pa.Table:
    """A table by SCHEMA whose weights, and shares of them, are multiplied by a factor."""
    shares = table["shares"].combine_chunks()
    shares = pa.ListArray.from_arrays(shares.offsets, pc.multiply(shares.values, factor))
    table = table.set_column(2, SCHEMA.field("weight"), pc.multiply(table["weight"], factor))
    return table.set_column(4, SCHEMA.field("shares"), shares)


def added_to(before: pa.Table, once: pa.Table, most_contexts: int, most_items: int) -> pa.Table:
    """The weights of before and those of a part together, by SCHEMA; the heaviest contexts, and of each the heaviest.

    Args:
        before: by SCHEMA, as of the same moment.
        once: what `weighed` returns.
    """
    kept = _kept_shares(before)
    known = kept.rename_columns([*SHARE[:3], "known"])
    grown = once.join(known, keys=SHARE[:3], join_type="left outer")
    gain = pc.max_element_wise(pc.subtract(grown["share"], pc.fill_null(grown["known"], 0.0)), 0.0)
    whole = pa.concat_tables([before.select(PLAIN), grown.select(ITEM).append_column("weight", gain)])
    whole = whole.group_by(ITEM).aggregate([("weight", "sum")]).rename_columns(PLAIN)
    shares = pa.concat_tables([kept, once]).group_by(SHARE[:3]).aggregate([("share", "max")]).rename_columns(SHARE)
    return _with_shares(_heaviest(whole, most_contexts, most_items), shares)


def _kept_shares(table: pa.Table) -> pa.Table:
    """The users and shares of a table by SCHEMA as rows by SHARE."""
    at, users, shares = (pc.list_parent_indices(table["users"]), *(table[name] for name in ("users", "shares")))
    flat = [pc.list_flatten(users), pc.list_flatten(shares)]
    return pa.table([*table.select(ITEM).take(at).columns, *flat], names=SHARE)


def _with_shares(whole: pa.Table, shares: pa.Table) -> pa.Table:
    """The items with the KEPT_USERS of each who weigh most, by SCHEMA."""
    numbered = whole.select(ITEM).append_column("at", pa.array(np.arange(len(whole))))
    found = shares.join(numbered, keys=ITEM, join_type="inner")
    at_N, share_N, user_N = (found[name].to_numpy() for name in ("at", "share", "user"))
    order_N = np.lexsort((user_N, -share_N, at_N))
    at_N, share_N, user_N = at_N[order_N], share_N[order_N], user_N[order_N]
    kept_N = np.arange(len(at_N)) - np.searchsorted(at_N, at_N) < KEPT_USERS
    offsets = pa.array(np.searchsorted(at_N[kept_N], np.arange(len(whole) + 1)), pa.int32())
    lists = [pa.ListArray.from_arrays(offsets, pa.array(of_N[kept_N])) for of_N in (user_N, share_N)]
    return pa.table([*whole.columns, *lists], schema=SCHEMA)


def latest_users(users: pa.Table, contexts: pa.ChunkedArray, count: int) -> pa.Table:
    """The latest users of each of these contexts, by USERS."""
    users = users.filter(pc.is_in(users["context"], value_set=contexts.combine_chunks()))
    users = users.group_by(["context", "user"]).aggregate([("time_us", "max")]).rename_columns(USERS.names)
    return _first_of_contexts(users.sort_by([("context", "ascending"), ("time_us", "descending")]), count)


def _heaviest(whole: pa.Table, most_contexts: int, most_items: int) -> pa.Table:
    """The heaviest contexts, and of each the heaviest items."""
    totals = whole.group_by("context").aggregate([("weight", "sum")]).sort_by([("weight_sum", "descending")])
    whole = whole.filter(pc.is_in(whole["context"], value_set=totals["context"].combine_chunks()[:most_contexts]))
    whole = whole.sort_by([("context", "ascending"), ("weight", "descending")])
    return _first_of_contexts(whole, most_items)


def _first_of_contexts(table: pa.Table, count: int) -> pa.Table:
    """The first rows of each context, by which the table is sorted."""
    codes = table["context"].combine_chunks().dictionary_encode().indices.to_numpy()
    starts = np.concatenate([[0], np.cumsum(np.bincount(codes))]) if len(codes) else np.zeros(1, dtype=np.int64)
    rank_N = np.arange(len(codes)) - starts[codes]
    return table.filter(pa.array(rank_N < count))
