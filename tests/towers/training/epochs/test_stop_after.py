"""`train.stop_after`: a training that ends early is as far as the whole one was."""

from dataclasses import replace

import pytest
import torch

from conf.schema import Config
from data.artifacts.folders import Folder
from data.dataset.prepared import PreparedDataset
from towers.model.config import FittedSplits
from towers.training.config import Schedule
from towers.training.stages.fit_towers import FittedTowers, fit_towers


@pytest.mark.slow
def test_the_learning_rate_falls_over_all_epochs(tiny: Config, dataset: PreparedDataset, ray_session: None) -> None:
    """What a search has found is then the training that was measured, until its best epoch."""

    def fitted(name: str, num_epochs: int, stop_after: int | None, epochs: int | None = None) -> FittedTowers:
        settings = replace(tiny.train, epochs=num_epochs, stop_after=stop_after, schedule=Schedule.linear)
        config, both = replace(tiny, seed=41, train=settings), FittedSplits.train_validation
        return fit_towers(config, dataset, Folder.of(tiny.storage.root), f"stopped-{name}", both, epochs)

    stopped, as_far, shorter = fitted("after", 3, 2), fitted("as-far", 3, None, epochs=2), fitted("shorter", 2, None)
    assert stopped.totals["epoch"] == as_far.totals["epoch"] == shorter.totals["epoch"] == 2
    assert torch.equal(stopped.item_vectors_ID, as_far.item_vectors_ID)
    assert not torch.allclose(stopped.item_vectors_ID, shorter.item_vectors_ID)
