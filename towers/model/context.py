"""Context features of a request, such as its channel or the part of the day: one transform of their values for all.

The user tower (`model.context`) and the re-ranker take them, in training and at the endpoint.

Shape legend: N interactions, C context features, V values of all of them (row 0: missing or unknown).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.dataset.prepared import PreparedDataset
from data.dataset.vocabulary import Vocabulary

MAX_VALUES = 64
"""Values kept of each feature, the most frequent ones; others count as missing."""


@dataclass(frozen=True, slots=True)
class Context:
    """The context features of a log and their known values.

    The values of all features are numbered in one sequence of rows from 1 to V - 1, one feature after the other.
    """

    vocabularies: Mapping[str, Vocabulary] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: PreparedDataset, splits: Sequence[str]) -> "Context":
        """The features of the dataset, with the values in the interactions of these splits."""
        if not dataset.context:
            return cls()
        values = values_of(dataset, splits)
        columns = {name: pc.list_element(values, at) for at, name in enumerate(dataset.context)}
        return cls({name: Vocabulary.of(_most_frequent(column)) for name, column in columns.items()})

    def __len__(self) -> int:
        """Number of context features (C)."""
        return len(self.vocabularies)

    @property
    def num_values(self) -> int:
        """Number of rows (V)."""
        return 1 + sum(len(vocabulary) - 1 for vocabulary in self.vocabularies.values())

    def rows(self, context: Mapping[str, str]) -> tuple[int, ...]:
        """The rows of a request's values [C]; 0 where a value is missing or unknown."""
        found, first = [], 0
        for name, vocabulary in self.vocabularies.items():
            row = vocabulary.row(context[name]) if name in context else 0
            found.append(first + row if row else 0)
            first += len(vocabulary) - 1
        return tuple(found)

    def encode(self, values: pa.Array) -> np.ndarray:
        """list<string> [N], each with one value per feature, to their rows: int64 [N, C]."""
        rows_NC, first = np.zeros((len(values), len(self)), dtype=np.int64), 0
        for at, vocabulary in enumerate(self.vocabularies.values()):
            rows_N = vocabulary.rows(pc.list_element(values, at))
            rows_NC[:, at] = np.where(rows_N > 0, first + rows_N, 0)
            first += len(vocabulary) - 1
        return rows_NC

    def as_json(self) -> dict[str, list[str]]:
        """The known values of each feature, in the order of their rows."""
        return {name: vocabulary.values.to_pylist() for name, vocabulary in self.vocabularies.items()}

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> "Context":
        """The context features that `as_json` returned."""
        return cls({name: Vocabulary(pa.array(known, pa.string())) for name, known in values.items()})


def values_of(dataset: PreparedDataset, splits: Sequence[str]) -> pa.Array:
    """list<string> [N]: the context of each interaction of these splits, one value per feature."""
    return dataset.interactions(*splits, columns=["context"])["context"].combine_chunks()


def _most_frequent(column: pa.Array) -> pa.Array:
    counts = pc.value_counts(column.drop_null())
    best = np.argsort(-counts.field("counts").to_numpy(), kind="stable")[:MAX_VALUES]
    return counts.field("values").take(best)
