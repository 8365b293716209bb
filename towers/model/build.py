"""From a dataset's catalogues and the counts of the training part to a model."""

from enum import Enum

import numpy as np
import torch

from data.dataset.catalogue import Catalogue
from data.dataset.split import TRAIN, VALIDATION
from towers.model.config import ModelConfig
from towers.model.features import FeatureEncoder
from towers.model.two_tower import Side, TwoTower


class FitOn(Enum):
    """Which splits the towers are fitted on. The second is for final fits, with the number of epochs settled before."""

    train = "train"
    train_validation = "train_validation"

    @property
    def splits(self) -> tuple[str, ...]:
        return (TRAIN,) if self is FitOn.train else (TRAIN, VALIDATION)


def fit_counts(catalogue: Catalogue, fit_on: FitOn) -> np.ndarray:
    """int64 [rows]: interactions of each row in the splits fitted on; row 0 has none."""
    columns = [catalogue.table[f"{split}_count"].to_numpy() for split in fit_on.splits]
    return np.concatenate([[0], np.sum(columns, axis=0)]).astype(np.int64)


def side(catalogue: Catalogue, encoder: FeatureEncoder, fit_on: FitOn) -> Side:
    """A tower's half of the data: its features encoded, and which ids training has seen."""
    known_N = torch.from_numpy(fit_counts(catalogue, fit_on) > 0)
    return Side(encoder, encoder.encode(catalogue.table), known_N)


def build(config: ModelConfig, users: Side, items: Side, seed: int) -> TwoTower:
    """A freshly initialised model, the same for the same seed."""
    torch.manual_seed(seed)
    return TwoTower(config, users, items)
