"""A training stops at the first number that is not finite, and says where and what to change."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from data.artifacts.folders import Folder
from tests.towers.model.test_two_tower import ITEMS, batch, model
from towers.model.two_tower import TwoTower
from towers.training.config import TrainConfig
from towers.training.epochs import finite
from towers.training.epochs.finite import FiniteSteps, NotFinite, check_weights, cure, largest_magnitude
from towers.training.epochs.shards import load_shards, save_shard
from towers.training.loop import Objective, train_epoch
from towers.training.losses.config import LossConfig
from towers.training.optimizer import Optimizers
from towers.training.progress import Progress, load_progress, save_progress

CPU = torch.device("cpu")


def watched(gradient: list[float]) -> tuple[nn.Linear, FiniteSteps]:
    linear = nn.Linear(len(gradient), 1, bias=False)
    linear.weight.grad = torch.tensor([gradient])
    return linear, FiniteSteps(linear, CPU)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_at_its_step(loss: float) -> None:
    _, steps = watched([1.0])
    steps.watch(torch.tensor(1.0))
    with pytest.raises(NotFinite, match="^step 2: the loss is not finite$"):
        steps.watch(torch.tensor(loss))


def test_a_gradient_that_is_not_finite_stops_at_its_step() -> None:
    linear, steps = watched([1e30, -2e30])
    steps.watch(torch.tensor(1.0))  # the sum of squares would be infinite
    linear.weight.grad = torch.tensor([[0.0, math.nan]])
    with pytest.raises(NotFinite, match="^step 2: the gradient is not finite$"):
        steps.watch(torch.tensor(1.0))


def test_the_first_bad_step_is_remembered_until_one_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU, one looks now and then: what was not finite in between is not forgotten."""
    monkeypatch.setattr(finite, "LOOK_EVERY", 4)
    linear, _ = watched([1.0])
    steps = FiniteSteps(linear, CPU)
    steps._look_every = finite.LOOK_EVERY
    for loss in (1.0, math.inf, 1.0):
        steps.watch(torch.tensor(loss))
    with pytest.raises(NotFinite, match="^step 2: the loss"):
        steps.watch(torch.tensor(math.nan))


def test_sparse_gradients_are_looked_at() -> None:
    ids = nn.Embedding(4, 2, sparse=True)
    (ids(torch.tensor([1, 1, 3])) * torch.tensor([1.0, math.nan])).sum().backward()
    assert not largest_magnitude([ids.weight.grad]).isfinite()
    assert largest_magnitude([None, torch.tensor([-3.0, 2.0]), torch.zeros(0)]).item() == 3.0


def epoch(temperature: float, learning_rate: float) -> list[float]:
    towers = model()
    optimizers = Optimizers(towers, learning_rate, 0.0)
    config = LossConfig(num_uniform=4)
    config.temperature = temperature  # one that no config may have
    objective = Objective(config, torch.arange(ITEMS).numpy())
    batches = [batch(slice(None))] * 3
    steps = train_epoch(towers, optimizers, objective, batches, torch.Generator().manual_seed(0), CPU, [1.0] * 3)
    return [loss.item() for loss in steps]


def test_an_epoch_ends_where_it_is_no_longer_finite() -> None:
    assert all(map(math.isfinite, epoch(0.1, 0.01)))
    with pytest.raises(NotFinite, match="step 1: the loss"):
        epoch(1e-45, 0.01)
    with pytest.raises(NotFinite, match=r"step 2: the loss|step 3: the loss|the weight .* after its last step"):
        epoch(0.1, 1e37)


def test_weights_of_the_last_step_are_checked() -> None:
    towers = model()
    check_weights(towers)
    with torch.no_grad():
        towers.item_ids.table.weight[3, 0] = math.inf
    with pytest.raises(NotFinite, match=r"item_ids\.table\.weight"):
        check_weights(towers)


def test_the_cure_names_what_this_run_can_change() -> None:
    said = cure(TrainConfig(learning_rate=0.5), LossConfig(kind="bilateral", exponent=3))
    for wanted in ("train.learning_rate than 0.5", "loss.temperature than 0.08", "loss.exponent nearer 1 than 3"):
        assert wanted in said
    assert "exponent" not in cure(TrainConfig(), LossConfig())


@pytest.mark.parametrize("spoilt", ["model", "best", "optimizer"])
def test_a_saved_state_that_is_not_finite_is_not_resumed(tmp_path, spoilt: str) -> None:  # type: ignore[no-untyped-def]
    towers = model()
    optimizers = Optimizers(towers, 0.1, 0.0)
    objective = Objective(LossConfig(num_uniform=4), torch.arange(ITEMS).numpy())
    list(train_epoch(towers, optimizers, objective, [batch(slice(None))], torch.Generator(), CPU, [1.0]))
    best = {name: tensor.clone() for name, tensor in towers.state_dict().items()}
    save_progress(tmp_path, Progress(epoch=1), towers, optimizers, best)
    assert load_progress(tmp_path, model(), Optimizers(model(), 0.1, 0.0)) is not None
    if spoilt == "best":
        best["item_ids.table.weight"][1, 1] = math.nan
    elif spoilt == "model":
        towers.item_ids.table.weight.data[1, 1] = math.nan
    else:
        optimizers._all[0].state[towers.user_ids.table.weight]["square"][0] = math.inf
    save_progress(tmp_path, Progress(epoch=2), towers, optimizers, best)
    fresh = model()
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}
    assert load_progress(tmp_path, fresh, Optimizers(fresh, 0.1, 0.0)) is None
    assert all(torch.equal(before[name], tensor) for name, tensor in fresh.state_dict().items())


def test_the_state_of_an_encoder_that_counts_batches_is_resumed(tmp_path: Path) -> None:
    """A BatchNorm keeps their number, an int64, whose magnitude is not looked at."""

    def counting() -> TwoTower:
        towers = model()
        towers.add_module("norm", nn.BatchNorm1d(3))
        return towers

    towers = counting()
    towers.get_submodule("norm")(torch.rand(4, 3))
    optimizers = Optimizers(towers, 0.1, 0.0)
    save_progress(tmp_path, Progress(epoch=1), towers, optimizers, towers.state_dict())
    save_shard(Folder.of(str(tmp_path / "shards")), Progress(epoch=1, best_epoch=1), towers, optimizers, {})
    for is_divided in (False, True):
        fresh = counting()
        into, shards = (fresh, Optimizers(fresh, 0.1, 0.0)), Folder.of(str(tmp_path / "shards"))
        restored = load_shards(shards, *into) if is_divided else load_progress(tmp_path, *into)
        assert restored is not None and restored[0].epoch == 1
        assert fresh.state_dict()["norm.num_batches_tracked"] == 1
