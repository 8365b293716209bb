"""Turns declared features into tensors; training, batch embedding and the endpoint all use this transform.

Shape legend: N rows of a catalogue (row 0, unknown, included), M values of a feature, F numeric features, D dimension.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from data.dataset.catalogue import Catalogue
from data.dataset.vocabulary import Vocabulary, fit_vocabulary, value_lists
from data.sources.schema import Feature
from towers.model.scale import Scale


@dataclass(frozen=True, slots=True)
class EncodedFeatures:
    """Features of N rows.

    Attributes:
        bags: by feature name, int32 [N, M] vocabulary rows of the values; 0 = no value, or an unknown one.
        numbers_NF: float32 [N, 2 * F]: standardised values (0 where missing), then 1 where missing.
    """

    bags: dict[str, Tensor]
    numbers_NF: Tensor


@dataclass(frozen=True, slots=True)
class FeatureEncoder:
    """Turns the declared features of users or of items into tensors; fitted once, before training."""

    features: tuple[Feature, ...]
    vocabularies: dict[str, Vocabulary]
    scales: dict[str, Scale]

    @classmethod
    def fit(cls, catalogue: Catalogue, is_fitted_N: np.ndarray | None = None) -> "FeatureEncoder":
        """Fits the vocabularies and the scales to the ids with training data.

        A value that only other ids have would get an embedding that is never trained. It is unknown, as it is when it
        arrives with a new item after training.

        Args:
            is_fitted_N: bool, for each row of the table whether its id has training data; None means that all have.
        """
        table = catalogue.table if is_fitted_N is None else catalogue.table.filter(pa.array(is_fitted_N))
        vocabularies = {f.name: fit_vocabulary(table[f.name], f) for f in catalogue.features if f.kind.has_vocabulary}
        numbers = {f.name: table[f.name].to_numpy() for f in catalogue.features if f.kind.is_number}
        scales = {name: Scale.of(values.astype(np.float64)) for name, values in numbers.items()}
        return cls(catalogue.features, vocabularies, scales)

    def encode(self, table: pa.Table) -> EncodedFeatures:
        """Encodes a table of N - 1 rows that has the declared columns; row 0 of the result has no values."""
        bags = {f.name: self._bag(table, f) for f in self.features if f.kind.has_vocabulary}
        numbers = [self._numbers(table, name) for name in self.scales]
        values = [v for v, _ in numbers] + [missing for _, missing in numbers]
        matrix = np.stack(values, axis=1) if values else np.zeros((table.num_rows, 0), dtype=np.float32)
        unknown = np.concatenate([np.zeros(len(numbers)), np.ones(len(numbers))]).astype(np.float32)
        return EncodedFeatures(bags, torch.from_numpy(np.concatenate([unknown[None], matrix])))

    def _bag(self, table: pa.Table, feature: Feature) -> Tensor:
        lists = value_lists(table[feature.name].combine_chunks(), feature)
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

    def _numbers(self, table: pa.Table, name: str) -> tuple[np.ndarray, np.ndarray]:
        values = table[name].to_numpy().astype(np.float64)
        missing = ~np.isfinite(values)
        return self.scales[name].standardised(values), missing.astype(np.float32)

    def scales_to_json(self) -> dict[str, Any]:
        """The scale of each numeric feature, by name, as a manifest holds them."""
        return {name: scale.as_json() for name, scale in self.scales.items()}

    @classmethod
    def of_json(cls, catalogue: Catalogue, scales: dict[str, Any]) -> "FeatureEncoder":
        """The encoder of a catalogue with the scales that `scales_to_json` returned."""
        return cls(
            catalogue.features, catalogue.vocabularies, {name: Scale.of_json(value) for name, value in scales.items()}
        )
