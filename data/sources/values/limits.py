"""The values that every index and every request can take, one set of limits for all back ends."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from data.artifacts.records import arrow_compute as pc
from data.sources.schema import DataError, Feature
from data.sources.values.columns import is_rounded, plain
from data.sources.values.times import parsed

MAX_STRING_BYTES = 1024
"""Most bytes in UTF-8 of one value of a feature that filters may name; a Milvus server refuses longer ones."""

MAX_FILTER_CHARACTERS = 256
"""Most characters of a string in a filter. Longer values are shown in answers, but no filter can name them."""

MAX_LIST_VALUES = 4096
"""Most values of a list that Milvus stores per item."""

MAX_FILTERED_FEATURES = 62
"""Most item features that filters may name: a Milvus collection has 64 fields, of which two are the row and vector."""

MAX_ID_CHARACTERS = 256
"""Most characters of an id in a request."""

MAX_CONTEXT_FEATURES, MAX_CONTEXT_NAME = 16, 64
"""Most context features of a request or an event, and most characters of the name of one."""


def refuse_many_features(features: Sequence[Feature], place: str) -> None:
    """Raises DataError if these item features are more than an index can store."""
    filtered = [feature.name for feature in features if feature.kind.is_filterable]
    if len(filtered) > MAX_FILTERED_FEATURES:
        raise DataError(
            f"{place}: {len(filtered)} item features can be filtered by, and an index stores {MAX_FILTERED_FEATURES} at"
            f" most: leave some out, or declare those by which nobody filters as kind: text; the last one is"
            f" {filtered[-1]!r}"
        )


def refuse_contexts(names: Sequence[str], place: str) -> None:
    """Raises DataError if a request could not name these context features: they are too many, or a name is too long."""
    if len(names) > MAX_CONTEXT_FEATURES:
        raise DataError(
            f"{place}: {len(names)} context features are named, and a request or an event has {MAX_CONTEXT_FEATURES} at"
            f" most: leave some out; the last one is {names[-1]!r}"
        )
    for name in names:
        if not 0 < len(name) <= MAX_CONTEXT_NAME:
            raise DataError(
                f"{place}: the context feature {name!r} has {len(name)} characters, and a request or an event names"
                f" those of 1 to {MAX_CONTEXT_NAME}: rename its column, or leave it out"
            )


def refuse_long_values(ids: pa.ChunkedArray, values: pa.ChunkedArray, feature: Feature, place: str) -> None:
    """Refuses values of an item feature that an index cannot store.

    Args:
        ids: the items' ids.
        values: the feature, of the Arrow type of its kind.
        place: the file; the message begins with it.

    Raises:
        DataError: a value has more than MAX_STRING_BYTES bytes, or a list more than MAX_LIST_VALUES values; the message
            names the item.
    """
    if not feature.kind.is_filterable or feature.kind.is_number:
        return
    flat, owners = _flat(values, feature)
    sizes = pc.binary_length(flat)
    long = pc.fill_null(pc.greater(sizes, MAX_STRING_BYTES), False)
    if (found := _first_of(long)) is not None:
        at, others = found
        raise DataError(
            f"{place}, feature {feature.name!r}: a value of item {ids[owners[at].as_py()].as_py()!r} has"
            f" {sizes[at].as_py():,} bytes in UTF-8{others}, and an index stores {MAX_STRING_BYTES:,} at most: shorten"
            f" it, or declare the feature as kind: text, by which nobody filters"
        )
    if not feature.kind.is_list:
        return
    lengths = pc.list_value_length(values)
    many = pc.fill_null(pc.greater(lengths, MAX_LIST_VALUES), False)
    if (found := _first_of(many)) is not None:
        at, others = found
        raise DataError(
            f"{place}, feature {feature.name!r}: item {ids[at].as_py()!r} has {lengths[at].as_py():,} values{others},"
            f" and an index stores {MAX_LIST_VALUES:,} at most: keep the important ones"
        )


def refuse_infinite(
    owner: str, ids: pa.ChunkedArray, values: pa.ChunkedArray, given: pa.ChunkedArray, feature: Feature, place: str
) -> None:
    """Refuses infinite numbers of a feature. An infinite value that its kind makes of a finite one is no fault.

    Args:
        owner: "user" or "item".
        ids: the ids of the users or items.
        values: the feature, of the Arrow type of its kind.
        given: the values before the cast, such as "1e400".
        place: the file; the message begins with it.

    Raises:
        DataError: there is such a number; the message names its id.
    """
    given = plain(given)
    if not feature.kind.is_number or not (pa.types.is_string(given.type) or pa.types.is_floating(given.type)):
        return
    infinite = pc.fill_null(pc.is_inf(values), False)
    if not pc.any(infinite).as_py():
        return
    numbers = parsed(given) if pa.types.is_string(given.type) else given.cast(pa.float64())
    infinite = pc.and_(infinite, pc.fill_null(pc.is_inf(numbers), False))
    if count := pc.sum(infinite).as_py():
        at = pc.index(infinite, True).as_py()
        others = f" (nor are {count - 1} others)" if count > 1 else ""
        raise DataError(
            f"{place}, feature {feature.name!r}: {given[at].as_py()} of {owner} {ids[at].as_py()!r} is not a finite"
            f" number{others}: correct it, or leave it empty if it is not known"
        )


def limit_notes(ids: pa.Array, items: pa.Table, features: Sequence[Feature]) -> list[str]:
    """What to know of item features that an index can store but filters cannot name in full; one sentence each."""
    notes = []
    for feature in features:
        if not feature.kind.is_filterable or feature.kind.is_number:
            continue
        flat, owners = _flat(items[feature.name], feature)
        long = pc.greater(pc.utf8_length(flat), MAX_FILTER_CHARACTERS)
        if (at := pc.index(long, True).as_py()) >= 0:
            example = ids[owners[at].as_py()].as_py()
            notes.append(
                f"items, feature {feature.name!r}: {_count(long)} values have more than {MAX_FILTER_CHARACTERS}"
                f" characters, such as one of item {example!r}: answers show them, and no filter can name them"
            )
    return notes


def id_notes(side: str, ids: pa.Array) -> list[str]:
    """A sentence each on the ids that are longer than a request may name, and on those that are rounded numbers.

    Args:
        side: "users" or "items".
    """
    notes, long = [], pc.greater(pc.utf8_length(ids), MAX_ID_CHARACTERS)
    if example := _first(ids, long):
        short = f"{example[:20]}..."
        notes.append(
            f"{side}: {_count(long)} ids have more than {MAX_ID_CHARACTERS} characters, such as {short!r}: no request"
            " can name them; use shorter ids"
        )
    fractions = ids.filter(pc.match_substring(ids, "."))
    rounded = is_rounded(fractions)
    if example := _first(fractions, rounded):
        notes.append(
            f"{side}: {_count(rounded)} ids are rounded numbers, such as {example!r}, as spreadsheets write long ones:"
            " each may stand for several ids; export the column as text"
        )
    return notes


def _flat(values: pa.ChunkedArray, feature: Feature) -> tuple[pa.ChunkedArray, pa.Array]:
    """All values of a column, and the row of each."""
    if not feature.kind.is_list:
        return values, pa.array(np.arange(len(values)))
    starts = np.cumsum([0, *map(len, values.chunks)])
    owners = [start + pc.list_parent_indices(c).to_numpy() for start, c in zip(starts, values.chunks, strict=False)]
    return pc.list_flatten(values), pa.array(np.concatenate([np.zeros(0, np.int64), *owners]))


def _first_of(mask: pa.ChunkedArray) -> tuple[int, str] | None:
    """Where the mask is first true, and how many other places are, in words; None if it never is."""
    count = pc.sum(mask).as_py()
    return (pc.index(mask, True).as_py(), f" (so have {count - 1} others)" if count > 1 else "") if count else None


def _count(mask: pa.ChunkedArray) -> str:
    return f"{pc.sum(mask).as_py():,}"


def _first(ids: pa.Array | pa.ChunkedArray, mask: pa.ChunkedArray) -> str | None:
    """The id where the mask is first true; None if it never is."""
    at = pc.index(mask, True).as_py()
    return None if at < 0 else ids[at].as_py()
