"""Turns declared features into tensors; training, batch embedding and the endpoint all use this transform.

Shape legend: N rows of a catalogue (row 0, unknown, included), M values of a feature, F numeric features, D dimension,
E length of a feature's vectors.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor
from torch.nn import functional

from data.dataset.catalogue import Catalogue
from data.dataset.vocabulary import Vocabulary, fit_vocabulary, value_lists
from data.sources.schema import DataError, Feature
from data.sources.values.columns import whole
from towers.model.numbers import number_scale, scale_of_json
from towers.model.numbers.buckets import Buckets
from towers.model.numbers.scale import Scale


@dataclass(frozen=True, slots=True)
class EncodedFeatures:
    """Features of N rows.

    Attributes:
        bags: by feature name, int32 [N, M] vocabulary rows of the values, or rows of buckets; 0 = none, or an unknown
            one.
        numbers_NF: float32 [N, 2 * F]: standardised values (0 where missing), then 1 where missing.
        vectors: by feature name, float32 [N, E] of length 1; 0 where missing.
    """

    bags: dict[str, Tensor]
    numbers_NF: Tensor
    vectors: dict[str, Tensor] = field(default_factory=dict)

    def __getitem__(self, rows: Tensor) -> "EncodedFeatures":
        """The features of some rows, by indices or a mask."""
        bags, vectors = ({name: of[rows] for name, of in all_.items()} for all_ in (self.bags, self.vectors))
        return EncodedFeatures(bags, self.numbers_NF[rows], vectors)


@dataclass(frozen=True, slots=True)
class FeatureEncoder:
    """Turns the declared features of users or of items into tensors; fitted once, before training.

    Attributes:
        vocabularies: by feature, the values that the towers know.
        scales: by numeric feature, how its numbers are taken.
        lengths: by feature of vectors, E.
    """

    features: tuple[Feature, ...]
    vocabularies: dict[str, Vocabulary]
    scales: dict[str, Scale | Buckets]
    lengths: dict[str, int] = field(default_factory=dict)

    @classmethod
    def fit(cls, catalogue: Catalogue, is_fitted_N: np.ndarray | None = None) -> "FeatureEncoder":
        """Fits the vocabularies and the scales to the ids with training data.

        A value that only other ids have would get an embedding that is never trained. It is unknown, as it is when it
        arrives with a new item after training.

        Args:
            is_fitted_N: bool, for each row of the table whether its id has training data; None means that all have.
        """

        def values(name: str) -> pa.ChunkedArray:
            column = catalogue.held[name]
            return column if is_fitted_N is None else column.filter(pa.array(is_fitted_N))

        vocabularies = {f.name: fit_vocabulary(values(f.name), f) for f in catalogue.features if f.kind.has_vocabulary}
        numbers = {f.name: values(f.name).to_numpy() for f in catalogue.features if f.kind.is_number}
        kinds = {f.name: f.kind for f in catalogue.features}
        scales = {name: number_scale(kinds[name], values.astype(np.float64)) for name, values in numbers.items()}
        return cls(catalogue.features, vocabularies, scales, catalogue.vector_lengths)

    def encode(self, table: pa.Table) -> EncodedFeatures:
        """Encodes a table of N - 1 rows that has the declared columns; row 0 of the result has no values."""
        bags = {f.name: self._bag(table, f) for f in self.features if f.kind.has_vocabulary}
        bags |= {name: _bucket_bag(table, name, of) for name, of in self.scales.items() if isinstance(of, Buckets)}
        numbers = [_numbers(table, name, of) for name, of in self.scales.items() if isinstance(of, Scale)]
        vectors = {name: _unit_vectors(table[name], name, length) for name, length in self.lengths.items()}
        values = [v for v, _ in numbers] + [missing for _, missing in numbers]
        matrix = np.stack(values, axis=1) if values else np.zeros((table.num_rows, 0), dtype=np.float32)
        unknown = np.concatenate([np.zeros(len(numbers)), np.ones(len(numbers))]).astype(np.float32)
        return EncodedFeatures(bags, torch.from_numpy(np.concatenate([unknown[None], matrix])), vectors)

    def num_rows(self, name: str) -> int:
        """Number of rows of the table of a bag's values, row 0 included."""
        scale = self.scales.get(name)
        return scale.num_rows if isinstance(scale, Buckets) else len(self.vocabularies[name])

    def _bag(self, table: pa.Table, feature: Feature) -> Tensor:
        lists = value_lists(whole(table[feature.name]), feature)
        rows = self.vocabularies[feature.name].rows(pc.list_flatten(lists))
        owner = pc.list_parent_indices(lists).to_numpy()
        known = rows > 0
        rows, owner = rows[known], owner[known]
        within = np.arange(len(owner)) - np.searchsorted(owner, owner)
        width = min(feature.max_values, int(within.max(initial=0)) + 1)
        bag = np.zeros((table.num_rows + 1, width), dtype=np.int32)
        keep = within < width
        bag[owner[keep] + 1, within[keep]] = rows[keep]
        return torch.from_numpy(bag)

    def scales_to_json(self) -> dict[str, Any]:
        """The scale of each numeric feature, by name, as a manifest holds them."""
        return {name: scale.as_json() for name, scale in self.scales.items()}

    @classmethod
    def of_json(cls, catalogue: Catalogue, scales: dict[str, Any]) -> "FeatureEncoder":
        """The encoder of a catalogue with the scales that `scales_to_json` returned."""
        fitted = {name: scale_of_json(value) for name, value in scales.items()}
        return cls(catalogue.features, catalogue.vocabularies, fitted, catalogue.vector_lengths)


def _numbers(table: pa.Table, name: str, scale: Scale) -> tuple[np.ndarray, np.ndarray]:
    """Standardised values, and 1 where they are missing: float32 [N - 1] each."""
    values = table[name].to_numpy().astype(np.float64)
    return scale.standardised(values), (~np.isfinite(values)).astype(np.float32)


def _bucket_bag(table: pa.Table, name: str, buckets: Buckets) -> Tensor:
    """int32 [N, 1]: the row of the bucket of each value."""
    rows = buckets.rows(table[name].to_numpy().astype(np.float64))
    return torch.from_numpy(np.concatenate([np.zeros(1, np.int32), rows])[:, None])


def _unit_vectors(column: pa.ChunkedArray, name: str, length: int) -> Tensor:
    """float32 [N, E]: the vectors, brought to length 1; row 0 and missing ones are zero.

    Raises:
        DataError: a vector has another length.
    """
    lists = column.combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    if (other := lengths[(lengths > 0) & (lengths != length)]).size:
        raise DataError(f"feature {name!r}: a vector has {other[0]} values, and others have {length}: all need as many")
    found = np.zeros((len(lists) + 1, length), dtype=np.float32)
    found[1:][lengths > 0] = lists.flatten().to_numpy().reshape(-1, length)
    return functional.normalize(torch.from_numpy(found))
