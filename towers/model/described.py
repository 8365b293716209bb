"""Which users and items are described by their features: a tower can place them although their ids were not trained.

Shape legend: N rows of a catalogue (row 0 = unknown), M values of a feature, V rows of its vocabulary, F numeric
features.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from towers.model.features import EncodedFeatures


@dataclass(frozen=True, slots=True)
class TrainedValues:
    """The feature values that rows with training data have: a tower has learnt what these say, and no others.

    Attributes:
        bags: by feature name, bool [V].
        numbers_F: bool; of a numeric feature, any number has been learnt as soon as two different ones have.
        vectors: by feature name, whether vectors have been learnt: any as soon as one has.
    """

    bags: dict[str, Tensor]
    numbers_F: Tensor
    vectors: dict[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, encoded: EncodedFeatures, known_N: Tensor) -> "TrainedValues":
        """The values of the rows that are known.

        Args:
            known_N: bool, rows with interactions to train on.
        """
        bags = {}
        for name, bag_NM in encoded.bags.items():
            bags[name] = torch.zeros(int(bag_NM.max()) + 1 if bag_NM.numel() else 1, dtype=torch.bool)
            bags[name][bag_NM[known_N].flatten()] = True
            bags[name][0] = False  # no value, or an unknown one
        vectors = {name: bool((vector_NE[known_N] != 0).any()) for name, vector_NE in encoded.vectors.items()}
        values_NF, _ = encoded.numbers_NF.chunk(2, dim=1)
        return cls(bags, (values_NF[known_N] != 0).any(0), vectors)  # of one number alone, all are 0 deviations away

    def describe(self, encoded: EncodedFeatures) -> Tensor:
        """bool [N]: rows that have at least one of these values."""
        described_N = (_present(encoded) & self.numbers_F).any(1)
        for name, bag_NM in encoded.bags.items():
            learnt_V = self.bags[name]
            described_N |= (learnt_V[bag_NM.clamp(max=len(learnt_V) - 1)] & (bag_NM < len(learnt_V))).any(1)
        for name, vector_NE in encoded.vectors.items():
            described_N |= (vector_NE != 0).any(1) & self.vectors[name]
        return described_N


def placed_rows(encoded: EncodedFeatures, known_N: Tensor) -> Tensor:
    """bool [N]: rows that a tower can place, by training data or by what it has learnt of their features."""
    return known_N | TrainedValues.of(encoded, known_N).describe(encoded)


def _present(encoded: EncodedFeatures) -> Tensor:
    """bool [N, F]: where a numeric feature has a value."""
    _, missing_NF = encoded.numbers_NF.chunk(2, dim=1)
    return missing_NF == 0
