"""Filters over the item features of one release, in memory: from a filter to a mask over all items.

Shape legend: N items (rows 1..N), V distinct values of a field, M (item, value) pairs.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.sources.schema import Feature, FeatureKind
from serve.filters.grammar import AllOf, AnyOf, Condition, Filter, Not

KEPT_MASKS = 64


@dataclass(frozen=True)
class Passing:
    """The items that pass a filter, in the forms that searches want. Not to be written to: they are kept.

    Attributes:
        mask_N: bool; entry i is the item of row i + 1.
    """

    mask_N: np.ndarray

    @cached_property
    def bits(self) -> np.ndarray:
        """uint8 [ceil(N / 8)], the lowest bit first, as FAISS takes it."""
        return np.packbits(self.mask_N, bitorder="little")

    @cached_property
    def entries(self) -> np.ndarray:
        """int64: where the mask is true."""
        return self.mask_N.nonzero()[0]


class NumericColumn:
    """float64 [N]; NaN where missing, which fails every comparison but `!=`."""

    def __init__(self, column: pa.Array) -> None:
        self._values_N = column.to_numpy(zero_copy_only=False).astype(np.float64)

    def mask(self, condition: Condition) -> np.ndarray:
        """bool [N]."""
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
    """Categorical and multi-categorical fields: for each distinct value, the items that have it."""

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
        """bool [N]: items with the value."""
        mask_N = np.zeros(self._size, dtype=bool)
        code = self._code_by_value.get(value)
        if code is not None:
            mask_N[self._items_M[self._starts_V[code] : self._starts_V[code + 1]]] = True
        return mask_N

    def present(self) -> np.ndarray:
        """bool [N]: items with any value."""
        mask_N = np.zeros(self._size, dtype=bool)
        mask_N[self._items_M[self._starts_V[0] :]] = True
        return mask_N

    def mask(self, condition: Condition) -> np.ndarray:
        """bool [N]."""
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
    """The filterable features of a catalogue, prepared for masks; the latest masks are kept."""

    def __init__(self, table: pa.Table, features: Sequence[Feature]) -> None:
        self.num_items = table.num_rows
        self._columns = {
            f.name: (NumericColumn if f.kind is FeatureKind.numeric else ValueColumn)(table[f.name].combine_chunks())
            for f in features
            if f.kind is not FeatureKind.text
        }
        self._kept: OrderedDict[Filter, Passing] = OrderedDict()

    def passing(self, filter: Filter) -> Passing:
        """The items that pass."""
        passing = self._kept.pop(filter, None)
        if passing is None:
            mask_N = self._mask(filter)
            mask_N.setflags(write=False)
            passing = Passing(mask_N)
        self._kept[filter] = passing
        if len(self._kept) > KEPT_MASKS:
            self._kept.popitem(last=False)
        return passing

    def mask(self, filter: Filter) -> np.ndarray:
        """bool [N]: entry i is the item of row i + 1. Not to be written to."""
        return self.passing(filter).mask_N

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
