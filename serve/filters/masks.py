"""Masks: which items of one release pass a filter, computed from the item features in memory.

A filter is evaluated in place: it takes one mask per level of nesting, however many values and conditions it has.

Shape legend: N items (rows 1..N), V distinct values of a field, M (item, value) pairs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.sequences.membership import is_among
from data.sources.schema import Feature
from data.sources.values.string_index import NOT_FOUND, StringIndex
from serve.filters.grammar import AllOf, AnyOf, Condition, Filter, Not
from serve.filters.mask_cache import MaskCache, MatchingItems

Values = tuple[str | float, ...]

BLOCK = 65_536
"""Numbers that are looked up in a list at a time, so that what this takes beside the mask stays small."""


class NumericColumn:
    """A numeric field as float64 [N]; a missing value is NaN, which fails every comparison but `!=`."""

    def __init__(self, column: pa.Array) -> None:
        self._values_N = column.to_numpy(zero_copy_only=False).astype(np.float64)

    def mask(self, condition: Condition) -> np.ndarray:
        """Returns which items meet the condition, bool [N]."""
        values_N, value = self._values_N, condition.value
        match condition.op:
            case "==":
                return values_N == value
            case "!=":
                return (values_N != value) & ~np.isnan(values_N)
            case "<":
                return values_N < value
            case "<=":
                return values_N <= value
            case ">":
                return values_N > value
            case ">=":
                return values_N >= value
            case _:
                return _is_in(values_N, np.array(value))


class ValueColumn:
    """A field of strings, one or several per item: for each distinct value, the items that have it."""

    def __init__(self, column: pa.Array) -> None:
        self._size = len(column)
        if pa.types.is_list(column.type):
            owner_M, flat = pc.list_parent_indices(column).to_numpy(), pc.list_flatten(column)
        else:
            owner_M, flat = np.arange(len(column)), column
        encoded = flat.dictionary_encode()
        codes_M = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
        order = np.argsort(codes_M, kind="stable")
        self._items_M = owner_M[order]
        self._starts_V = np.searchsorted(codes_M[order], np.arange(len(encoded.dictionary) + 1))
        self._codes = StringIndex(encoded.dictionary)

    def has_any(self, values: Iterable[str | float]) -> np.ndarray:
        """Returns which items have one of the values or several, bool [N]."""
        mask_N = np.zeros(self._size, dtype=bool)
        for value in set(values):
            mask_N[self._having(value)] = True
        return mask_N

    def has_all(self, values: Iterable[str | float]) -> np.ndarray:
        """Returns which items have all of the values, bool [N]; it looks at the items of the rarest value alone."""
        having = sorted((self._having(value) for value in set(values)), key=len)
        items = np.unique(having[0])
        for more in having[1:]:
            if not len(items):
                break
            items = items[is_among(items, more)]
        mask_N = np.zeros(self._size, dtype=bool)
        mask_N[items] = True
        return mask_N

    def _having(self, value: str | float) -> np.ndarray:
        """The items that have the value, in ascending order."""
        code = self._codes.place(value) if isinstance(value, str) else NOT_FOUND
        return (
            self._items_M[:0] if code == NOT_FOUND else self._items_M[self._starts_V[code] : self._starts_V[code + 1]]
        )

    def present(self) -> np.ndarray:
        """Returns which items have any value, bool [N]."""
        mask_N = np.zeros(self._size, dtype=bool)
        mask_N[self._items_M[self._starts_V[0] :]] = True
        return mask_N

    def mask(self, condition: Condition) -> np.ndarray:
        """Returns which items meet the condition, bool [N]."""
        match condition.op:
            case "!=":
                mask_N = self.present()
                mask_N[self._having(_one(condition))] = False
                return mask_N
            case "in" | "contains_any":
                return self.has_any(_many(condition))
            case "contains_all":
                return self.has_all(_many(condition))
            case _:
                return self.has_any([_one(condition)])


class FilterColumns:
    """The filterable features of a catalogue, prepared for masks; the most recently used masks are cached.

    Threads may share it.
    """

    def __init__(self, table: pa.Table, features: Sequence[Feature]) -> None:
        self.num_items = table.num_rows
        self._columns = {
            f.name: (NumericColumn if f.kind.is_number else ValueColumn)(table[f.name].combine_chunks())
            for f in features
            if f.kind.is_filterable
        }
        self._cache = MaskCache()

    def holds(self, filter: Filter) -> bool:
        """Whether the items that pass the filter are in the cache, so that `matching` takes no time."""
        return self._cache.holds(filter)

    def matching(self, filter: Filter) -> MatchingItems:
        """Returns the items that pass the filter; blocks while they are computed."""
        return self._cache.get(filter, self._mask)

    async def prepare(self, filter: Filter) -> None:
        """Returns when the items that pass the filter are in the cache; they are computed in a thread."""
        await self._cache.prepare(filter, self._mask)

    def begin(self, filter: Filter) -> None:
        """Begins to compute the items that pass the filter in a thread, for callers to come, if one is free for it."""
        self._cache.begin(filter, self._mask)

    def mask(self, filter: Filter) -> np.ndarray:
        """Returns which items pass, bool [N]; entry i is the item of row i + 1. It is cached: never write to it."""
        return self.matching(filter).mask_N

    def _mask(self, filter: Filter) -> np.ndarray:
        match filter:
            case Condition(field=field):
                return self._columns[field].mask(filter)
            case Not(part):
                mask_N = self._mask(part)
                return np.logical_not(mask_N, out=mask_N)
            case AllOf(parts) | AnyOf(parts):
                parts = _merged(filter)
                combine = np.logical_and if isinstance(filter, AllOf) else np.logical_or
                mask_N = self._mask(parts[0])
                for part in parts[1:]:
                    combine(mask_N, self._mask(part), out=mask_N)
                return mask_N


def _merged(filter: AllOf | AnyOf) -> tuple[Filter, ...]:
    """The same parts, with one `in` and one negated `in` for each field, which has the values of all of them.

    Of several lists one value must be in all (under `all`), in any (under `any`), or if they are negated the other way
    round.
    """
    lists: dict[tuple[str, bool], Condition] = {}
    others: list[Filter] = []
    for part in filter.parts:
        is_negated, inner = isinstance(part, Not), part.part if isinstance(part, Not) else part
        if not isinstance(inner, Condition) or inner.op != "in":
            others.append(part)
            continue
        key = inner.field, is_negated
        if key in lists:
            is_common = isinstance(filter, AllOf) is not is_negated
            combined = _common if is_common else _together
            inner = replace(inner, value=combined(_many(lists[key]), _many(inner)))
        lists[key] = inner
    return (*(Not(part) if is_negated else part for (_, is_negated), part in lists.items()), *others)


def _common(one: Values, other: Values) -> Values:
    among = set(other)
    return tuple(value for value in one if value in among)


def _together(one: Values, other: Values) -> Values:
    return tuple(dict.fromkeys(one + other))


def _is_in(values_N: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Returns which numbers are among the wanted ones, bool [N]."""
    mask_N = np.zeros(len(values_N), dtype=bool)
    for start in range(0, len(values_N), BLOCK):
        block = slice(start, start + BLOCK)
        mask_N[block] = np.isin(values_N[block], wanted)
    return mask_N


def _one(condition: Condition) -> str | float:
    assert not isinstance(condition.value, tuple)
    return condition.value


def _many(condition: Condition) -> Values:
    assert isinstance(condition.value, tuple)
    return condition.value
