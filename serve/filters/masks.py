"""Masks: which items of one release pass a filter, computed from the item features in memory.

Shape legend: N items (rows 1..N), V distinct values of a field, M (item, value) pairs.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.sources.schema import Feature
from serve.filters.grammar import AllOf, AnyOf, Condition, Filter, Not

MAX_CACHED_MASKS = 64
"""Masks kept by one FilterColumns, one for each of the filters used last."""


@dataclass(frozen=True)
class MatchingItems:
    """The items that pass a filter, in the forms that searches need. They are cached, so never write to them.

    Attributes:
        mask_N: bool [N]; entry i is the item of row i + 1.
    """

    mask_N: np.ndarray

    @cached_property
    def bits(self) -> np.ndarray:
        """The mask as uint8 [ceil(N / 8)], lowest bit first, which is FAISS's form of it."""
        return np.packbits(self.mask_N, bitorder="little")

    @cached_property
    def entries(self) -> np.ndarray:
        """int64; the entries where the mask is true, ascending."""
        return self.mask_N.nonzero()[0]


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
                return np.isin(values_N, np.array(value))


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
        self._code_by_value = {value: code for code, value in enumerate(encoded.dictionary.to_pylist())}

    def has(self, value: str | float) -> np.ndarray:
        """Returns which items have the value, bool [N]."""
        mask_N = np.zeros(self._size, dtype=bool)
        code = self._code_by_value.get(value)
        if code is not None:
            mask_N[self._items_M[self._starts_V[code] : self._starts_V[code + 1]]] = True
        return mask_N

    def present(self) -> np.ndarray:
        """Returns which items have any value, bool [N]."""
        mask_N = np.zeros(self._size, dtype=bool)
        mask_N[self._items_M[self._starts_V[0] :]] = True
        return mask_N

    def mask(self, condition: Condition) -> np.ndarray:
        """Returns which items meet the condition, bool [N]."""
        match condition.op:
            case "!=":
                return self.present() & ~self.has(_one(condition))
            case "in" | "contains_any":
                return np.logical_or.reduce([self.has(v) for v in _many(condition)])
            case "contains_all":
                return np.logical_and.reduce([self.has(v) for v in _many(condition)])
            case _:
                return self.has(_one(condition))


class FilterColumns:
    """The filterable features of a catalogue, prepared for masks; the most recently used masks are cached."""

    def __init__(self, table: pa.Table, features: Sequence[Feature]) -> None:
        self.num_items = table.num_rows
        self._columns = {
            f.name: (NumericColumn if f.kind.is_number else ValueColumn)(table[f.name].combine_chunks())
            for f in features
            if f.kind.is_filterable
        }
        self._cache: OrderedDict[Filter, MatchingItems] = OrderedDict()

    def matching(self, filter: Filter) -> MatchingItems:
        """Returns the items that pass the filter."""
        matching = self._cache.pop(filter, None)
        if matching is None:
            mask_N = self._mask(filter)
            mask_N.setflags(write=False)
            matching = MatchingItems(mask_N)
        self._cache[filter] = matching
        if len(self._cache) > MAX_CACHED_MASKS:
            self._cache.popitem(last=False)
        return matching

    def mask(self, filter: Filter) -> np.ndarray:
        """Returns which items pass, bool [N]; entry i is the item of row i + 1. It is cached: never write to it."""
        return self.matching(filter).mask_N

    def _mask(self, filter: Filter) -> np.ndarray:
        match filter:
            case Condition(field=field):
                return self._columns[field].mask(filter)
            case Not(part):
                return ~self._mask(part)
            case AllOf(parts):
                return np.logical_and.reduce([self._mask(part) for part in parts])
            case AnyOf(parts):
                return np.logical_or.reduce([self._mask(part) for part in parts])


def _one(condition: Condition) -> str | float:
    assert not isinstance(condition.value, tuple)
    return condition.value


def _many(condition: Condition) -> tuple[str | float, ...]:
    assert isinstance(condition.value, tuple)
    return condition.value
