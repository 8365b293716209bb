"""What a request comes with besides its user, such as a channel or a part of the day, and what that tells of items.

Shape legend: N interactions, C context features, V all their values (row 0: missing, or never seen), I items (row 0 =
padding).
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
"""Values per feature: the most frequent; others count as missing."""

PRIOR = 10.0
"""What everybody does weighs as much as so many interactions of an item."""


@dataclass(frozen=True, slots=True)
class Context:
    """The context features of a log, and the values that count. Each value has a row, one feature after the other."""

    vocabularies: Mapping[str, Vocabulary] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: PreparedDataset, splits: Sequence[str]) -> "Context":
        """From the interactions of these splits."""
        if not dataset.context:
            return cls()
        values = _values(dataset, splits)
        columns = {name: pc.list_element(values, at) for at, name in enumerate(dataset.context)}
        return cls({name: Vocabulary.of(_most_frequent(column)) for name, column in columns.items()})

    def __len__(self) -> int:
        """C."""
        return len(self.vocabularies)

    @property
    def num_values(self) -> int:
        """V."""
        return 1 + sum(len(vocabulary) - 1 for vocabulary in self.vocabularies.values())

    def rows(self, context: Mapping[str, str]) -> tuple[int, ...]:
        """A request's values as rows [C]."""
        found, first = [], 0
        for name, vocabulary in self.vocabularies.items():
            row = vocabulary.row(context[name]) if name in context else 0
            found.append(first + row if row else 0)
            first += len(vocabulary) - 1
        return tuple(found)

    def encode(self, values: pa.Array) -> np.ndarray:
        """list<string> [N], a value per feature, as rows: int64 [N, C]."""
        rows_NC, first = np.zeros((len(values), len(self)), dtype=np.int64), 0
        for at, vocabulary in enumerate(self.vocabularies.values()):
            rows_N = vocabulary.rows(pc.list_element(values, at))
            rows_NC[:, at] = np.where(rows_N > 0, first + rows_N, 0)
            first += len(vocabulary) - 1
        return rows_NC

    def as_json(self) -> dict[str, list[str]]:
        return {name: vocabulary.values.to_pylist() for name, vocabulary in self.vocabularies.items()}

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> "Context":
        return cls({name: Vocabulary(pa.array(known, pa.string())) for name, known in values.items()})


def lift(context: Context, dataset: PreparedDataset, splits: Sequence[str]) -> np.ndarray:
    """How much likelier an item's takers come with a value than others do: float16 [V, I], log of a ratio.

    log(p(value | item) / p(value)) with the m-estimate p(value | item) = (n(value, item) + PRIOR p(value)) /
    (n(item) + PRIOR), as in naive Bayes (Cestnik 1990). Row 0, and an item without interactions, have 0.
    """
    lift_VI = np.zeros((context.num_values, len(dataset.items.ids)), dtype=np.float16)
    if not len(context):
        return lift_VI
    items_N = dataset.interactions(*splits, columns=["item_row"])["item_row"].to_numpy()
    total_I = np.bincount(items_N, minlength=lift_VI.shape[1])
    for rows_N in context.encode(_values(dataset, splits)).T:
        for row in np.unique(rows_N[rows_N > 0]):
            count_I = np.bincount(items_N[rows_N == row], minlength=len(total_I))
            share = count_I.sum() / len(items_N)
            lift_VI[row] = np.log((count_I + PRIOR * share) / (total_I + PRIOR) / share)
    return lift_VI


def _values(dataset: PreparedDataset, splits: Sequence[str]) -> pa.Array:
    return dataset.interactions(*splits, columns=["context"])["context"].combine_chunks()


def _most_frequent(column: pa.Array) -> pa.Array:
    counts = pc.value_counts(column.drop_null())
    best = np.argsort(-counts.field("counts").to_numpy(), kind="stable")[:MAX_VALUES]
    return counts.field("values").take(best)
