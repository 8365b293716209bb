"""Smoothing: an item takes up its users' vectors, once, after training."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from data.sequences.histories import Sequences
from towers.model.build import build_model
from towers.model.config import ModelConfig
from towers.model.features import FeatureEncoder
from towers.model.smoothing import all_user_vectors, smooth
from towers.model.two_tower import TowerInputs, TwoTower, all_item_vectors

CONFIG = ModelConfig(embedding_dim=4, history="none", id_dropout=0.0, smoothing=0.5)
PAIRS = [(1, 1), (1, 2), (1, 2), (2, 1)]  # user 1 came back to item 2; nobody chose item 3


def model(config: ModelConfig = CONFIG) -> TwoTower:
    def side(size: int) -> TowerInputs:
        encoder = FeatureEncoder((), {}, {})
        return TowerInputs(encoder, encoder.encode(pa.table({"row": np.arange(1, size)})), torch.arange(size) > 0)

    return build_model(config, side(3), side(4), seed=0)


def sequences() -> Sequences:
    users, items = (np.array(column, dtype=np.int32) for column in zip(*PAIRS, strict=True))
    return Sequences.of(pa.table({"user_row": users, "item_row": items}), 3)


def test_by_hand() -> None:
    towers = model()
    before = all_item_vectors(towers)
    smooth(towers, sequences())
    users, after = all_user_vectors(towers, sequences()), all_item_vectors(towers)
    first = users[1] / (2 * 2) ** 0.5 + users[2] / (1 * 2) ** 0.5
    assert torch.allclose(after[1], before[1] + 0.5 * first)
    assert torch.allclose(after[2], before[2] + 0.5 * users[1] / (2 * 1) ** 0.5)
    assert torch.equal(after[[0, 3]], before[[0, 3]])


def test_training_does_not_see_it() -> None:
    towers = model()
    smooth(towers, sequences())
    vectors = towers.train().item_vectors(torch.tensor([1, 2]))
    assert vectors.norm(dim=1).tolist() == pytest.approx([1, 1])


def test_without_smoothing_there_is_nothing_to_fill() -> None:
    assert model(replace(CONFIG, smoothing=0.0)).neighbours_ID is None
    with pytest.raises(ValueError, match=r"model\.smoothing: -1"):
        replace(CONFIG, smoothing=-1)
