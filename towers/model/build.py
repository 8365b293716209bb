"""Builds an initialised model from a dataset's catalogues and the interactions that it will be fitted on.

Shape legend: N rows of a catalogue (row 0 = unknown).
"""

from collections.abc import Sequence

import numpy as np
import torch

from data.dataset.catalogue import Catalogue
from towers.model.config import FittedSplits, ModelConfig
from towers.model.context import Context
from towers.model.features import FeatureEncoder
from towers.model.two_tower import TowerInputs, TwoTower


def interaction_counts(catalogue: Catalogue, fit_on: FittedSplits) -> np.ndarray:
    """int64 [N]: each row's number of interactions in the splits that are fitted on; row 0 has none."""
    counts_N = np.zeros(catalogue.num_rows, dtype=np.int64)
    for split in fit_on.splits:
        counts_N[1:] += catalogue.column(f"{split}_count").to_numpy()
    return counts_N


def split_counts(catalogue: Catalogue, split: str) -> np.ndarray:
    """int64 [N]: each row's number of interactions in one split; row 0 has none."""
    return np.concatenate([[0], catalogue.column(f"{split}_count").to_numpy()]).astype(np.int64)


def tower_inputs(catalogue: Catalogue, encoder: FeatureEncoder, fit_on: FittedSplits) -> TowerInputs:
    """Encodes a catalogue's features for its tower, and marks the ids that have interactions to train on."""
    known_N = torch.from_numpy(interaction_counts(catalogue, fit_on) > 0)
    return TowerInputs(encoder, encoder.encode(catalogue.held), known_N)


def encode_catalogues(users: Catalogue, items: Catalogue, fit_on: FittedSplits) -> tuple[TowerInputs, TowerInputs]:
    """The inputs of the user tower and of the item tower, with feature encoders fitted to ids with training data."""
    user_inputs, item_inputs = (
        tower_inputs(c, FeatureEncoder.fit(c, interaction_counts(c, fit_on)[1:] > 0), fit_on) for c in (users, items)
    )
    return user_inputs, item_inputs


def build_model(
    config: ModelConfig,
    users: TowerInputs,
    items: TowerInputs,
    seed: int,
    context: Context | None = None,
    event_types: Sequence[str] = (),
) -> TwoTower:
    """A freshly initialised model; the same seed gives the same weights. Seeds torch's global generator.

    Args:
        context: the context features that its user tower takes if `model.context` says so; None means none.
        event_types: the names of the log's event types in the order of their codes, for `model.history_types`.
    """
    torch.manual_seed(seed)
    return TwoTower(config, users, items, context, event_types)
