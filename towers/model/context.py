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
from data.dataset.schema import MAX_CONTEXT_VALUES
from data.dataset.vocabulary import Vocabulary

MAX_VALUES = MAX_CONTEXT_VALUES


@dataclass(frozen=True, slots=True)
class Context:
    """The context features of a log and their known values.

    The values of all features are numbered in one sequence of rows from 1 to V - 1, one feature after the other.
    """

    vocabularies: Mapping[str, Vocabulary] = field(default_factory=dict)

    @classmethod
    def of(cls, dataset: PreparedDataset, splits: Sequence[str]) -> "Context":
        """The features of the dataset, with the values in the interactions of these splits, which are read in parts."""
        if not dataset.context:
            return cls()
        counts = [pa.schema([("value", pa.string()), ("count", pa.int64())]).empty_table() for _ in dataset.context]
        for split in splits:  # one after the other: of equally frequent values, those that come first are kept
            for part in dataset.parts(split, columns=["context"]):
                values = part["context"].combine_chunks()
                counts = [_counted(counted, pc.list_element(values, at)) for at, counted in enumerate(counts)]
        kept = map(_most_frequent, counts)
        return cls({name: Vocabulary.of(values) for name, values in zip(dataset.context, kept, strict=True)})

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


def _counted(counts: pa.Table, values: pa.Array) -> pa.Table:
    """The distinct values, in the order in which they came first, and the `count` of each, with further values."""
    of_part = pc.value_counts(values.drop_null())
    more = pa.table({"value": of_part.field("values"), "count": of_part.field("counts")})
    both = pa.concat_tables([counts, more]).group_by("value", use_threads=False)
    return both.aggregate([("count", "sum")]).rename_columns(counts.column_names)


def _most_frequent(counts: pa.Table) -> pa.ChunkedArray:
    best = np.argsort(-counts["count"].to_numpy(), kind="stable")[:MAX_VALUES]
    return counts["value"].take(pa.array(best))
