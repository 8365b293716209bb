"""What is decided on the validation part depends on what a checkpoint's name stands for alone."""

import copy
from dataclasses import replace

import pytest

from conf.schema import Config
from data.dataset.prepared import PreparedDataset
from towers.checkpoint.checkpoint import Checkpoint
from towers.model.build import encode_catalogues
from towers.model.config import FittedSplits
from towers.model.context import Context
from towers.training.runs import checkpoint_folder
from towers.training.stages.fit_towers import FittedTowers
from towers.training.stages.measured_fit import _decide


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
    found = [_decide(copy.deepcopy(towers), dataset, config, checkpoint.ties)[:3] for config in (tiny, other)]
    assert found[0] == found[1]
    assert "ndcg@20" in found[1][0].reason + found[1][2].reason, "the cut-off of train.monitor"


def test_the_cut_off_of_the_monitor_is_that_of_the_decisions(
    tiny: Config, dataset: PreparedDataset, checkpoint: Checkpoint, towers: FittedTowers
) -> None:
    config = replace(tiny, train=replace(tiny.train, monitor="recall@10"))
    *_, popular, _ = _decide(towers, dataset, config, checkpoint.ties)
    assert "ndcg@10" in popular.reason
