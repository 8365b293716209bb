"""What is decided on the validation part depends on what a checkpoint's name stands for alone."""

import copy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from conf.schema import Config
from data.dataset.catalogue import Catalogue
from data.dataset.prepared import PreparedDataset
from towers.checkpoint.checkpoint import Checkpoint
from towers.model.build import encode_catalogues
from towers.model.config import FittedSplits
from towers.model.context import Context
from towers.training.runs import checkpoint_folder
from towers.training.stages.decide import Decisions, decide, has_unfitted
from towers.training.stages.fit_towers import FittedTowers


@pytest.fixture
def towers(checkpoint: Checkpoint, dataset: PreparedDataset) -> FittedTowers:
    """Those of a training that has nothing decided yet."""
    users, items = encode_catalogues(dataset.users, dataset.items, FittedSplits.train)
    return FittedTowers(
        fit_on=FittedSplits.train,
        model=copy.deepcopy(checkpoint.model),
        users=users,
        items=items,
        item_vectors_ID=checkpoint.item_vectors_ID.clone(),
        context=Context.of(dataset, FittedSplits.train.splits),
        totals={},
        code=None,
    )


def test_later_measurements_by_other_values_find_the_same_decisions(
    tiny: Config, dataset: PreparedDataset, checkpoint: Checkpoint, towers: FittedTowers
) -> None:
    """`towers.evaluate evaluate.k=5` measures a checkpoint that a training with that value would not have made."""
    other = replace(tiny, evaluate=replace(tiny.evaluate, k=5, resamples=100))
    storage = checkpoint.folder
    assert checkpoint_folder(other, dataset, storage).name == checkpoint_folder(tiny, dataset, storage).name
    found = [decide(copy.deepcopy(towers), dataset, config, checkpoint.ties) for config in (tiny, other)]
    assert found[0].as_json() == found[1].as_json()
    assert "ndcg@20" in "".join(found[1].lines()), "the cut-off of train.monitor"


def test_the_cut_off_of_the_monitor_is_that_of_the_decisions(
    tiny: Config, dataset: PreparedDataset, checkpoint: Checkpoint, towers: FittedTowers
) -> None:
    config = replace(tiny, train=replace(tiny.train, monitor="recall@10"))
    assert "ndcg@10" in decide(towers, dataset, config, checkpoint.ties).popular_items.reason


def test_what_is_fitted_on_the_validation_part_says_that_nothing_is_decided(dataset: PreparedDataset) -> None:
    """The final fit of a search was measured otherwise than its trials, "for want of a validation part"."""
    counts_I = np.array([0, 3, 0])
    for fit_on, why in ((FittedSplits.train, "no validation part"), (FittedSplits.train_validation, "would decide it")):
        assert all(why in line for line in Decisions.neutral(counts_I, fit_on).lines())
    assert has_unfitted(dataset, FittedSplits.train), "users and items come late in the planted log"
    all_known = Catalogue("user_id", pa.table({"train_count": [2, 1]}), ())
    without: Any = SimpleNamespace(users=all_known, items=all_known)
    assert not has_unfitted(without, FittedSplits.train)
