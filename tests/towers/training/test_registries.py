"""A loss, a negative sampler and a history encoder of one's own: registered, and used by the name in the config."""

import numpy as np
import pytest
import torch
from torch import Tensor

from conf.schema import load
from data.artifacts.errors import ConfigError
from data.sequences.batches import TrainBatch
from tests.towers.model.test_two_tower import ITEMS, batch, model, windows
from towers.model.config import ModelConfig
from towers.model.history import HISTORY_ENCODERS
from towers.model.history.encoder import HistoryEncoder
from towers.training.config import TrainConfig, check
from towers.training.loop import Objective
from towers.training.losses import LOSSES, Loss
from towers.training.losses.config import LossConfig
from towers.training.negatives import NEGATIVE_SAMPLERS, NegativeSampler
from towers.training.negatives.log_q import log_expected_count
from towers.training.negatives.mixture import NegativeMixture

CPU = torch.device("cpu")


@LOSSES.register("mean_negative")
class MeanNegative(Loss):
    """The mean score of the negatives, for one negative per positive or for shared ones alike."""

    def __call__(
        self,
        query_BD: Tensor,
        positive_B: Tensor,
        negative_CD: Tensor,
        log_q_C: Tensor | None,
        excluded_2E: Tensor | None,
        config: LossConfig,
    ) -> Tensor:
        return (query_BD @ negative_CD.T).mean() * config.exponent


@NEGATIVE_SAMPLERS.register("first")
class FirstItem(NegativeSampler):
    """Always item 1."""

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.ones(count, dtype=torch.int64)

    def expected_counts(self, count: int) -> np.ndarray:
        return count * np.eye(len(self.counts_I))[1]


@HISTORY_ENCODERS.register("last_item")
class LastItem(HistoryEncoder):
    """The embedding of the latest item; after each position that of the item there."""

    trains_on_all_positions = True

    def forward(self, history_BL: Tensor, items_RD: Tensor) -> Tensor:
        return self.all_positions(history_BL, items_RD)[:, -1]

    def all_positions(self, history_BL: Tensor, items_RD: Tensor) -> Tensor:
        return items_RD[history_BL.long()] * (history_BL > 0)[..., None]


def loss_of(config: LossConfig, positives: TrainBatch, **values: object) -> float:
    objective = Objective(config, np.arange(ITEMS))
    return objective(model(**values).eval(), positives, torch.Generator().manual_seed(0), CPU).item()


def test_all_three_compose_by_name() -> None:
    config = load(["loss.kind=mean_negative", "+loss.negatives.first=3", "model.history=last_item"])
    assert LOSSES[config.loss.kind] is MeanNegative
    assert config.loss.num_drawn == {"uniform": 512, "first": 3}
    assert config.model.history_encoder is LastItem


def test_a_registered_loss_and_sampler_are_trained_with() -> None:
    """All negatives are item 1, and the loss is the mean score with it over the temperature."""
    config = LossConfig(
        kind="mean_negative", exponent=2, temperature=0.5, in_batch=False, num_uniform=0, negatives={"first": 3}
    )
    towers, positives = model().eval(), batch(slice(None))
    users, history = torch.from_numpy(positives.user_rows_B), torch.from_numpy(positives.history_BL)
    scores = towers.user_vectors(users, history) @ towers.item_vectors(torch.tensor([1])).T
    assert loss_of(config, positives) == pytest.approx(2 * scores.mean().item() / 0.5, abs=1e-6)


def test_log_q_counts_a_registered_sampler() -> None:
    counts = np.arange(ITEMS)
    mixture = NegativeMixture({"uniform": 6, "first": 3}, counts)
    found = mixture.log_q(0, CPU).exp()
    assert found[1:3].tolist() == pytest.approx([6 / (ITEMS - 1) + 3, 6 / (ITEMS - 1)])
    assert torch.equal(log_expected_count(counts, 0, [(FirstItem(counts), 3)])[1:2].exp(), torch.tensor([3.0]))


def test_a_registered_encoder_is_trained_on_all_positions_when_it_says_so() -> None:
    towers, users = model(history="last_item").eval(), torch.tensor([1])
    histories = torch.tensor([[3, 4, 5, 6], [0, 0, 0, 4]], dtype=torch.int32)
    vectors = towers.user_vectors_at_each_position(users, histories[:1])[0]
    assert torch.allclose(vectors[1], towers.user_vectors(users, histories[1:])[0])
    assert np.isfinite(loss_of(LossConfig(in_batch=False), windows(slice(None)), history="last_item"))
    with pytest.raises(ConfigError, match=r"loss\.in_batch: model\.history=last_item"):
        check(ModelConfig(history="last_item"), LossConfig(), TrainConfig())


@pytest.mark.parametrize(
    ("registry", "name", "mine"),
    [
        (LOSSES, "softmax", MeanNegative),
        (NEGATIVE_SAMPLERS, "uniform", FirstItem),
        (HISTORY_ENCODERS, "pooled", LastItem),
    ],
)
def test_a_name_is_given_once(registry, name: str, mine: type) -> None:  # type: ignore[no-untyped-def]
    theirs = registry[name]
    with pytest.raises(ConfigError) as caught:
        registry.register(name)(mine)
    for one in (mine, theirs):
        assert f"{one.__module__}.{one.__qualname__}" in str(caught.value)
    assert registry[name] is theirs


@pytest.mark.parametrize(
    ("override", "known"),
    [
        ("loss.kind=softmux", "bilateral, bpr, "),
        ("+loss.negatives.rare=5", "popular, "),
        ("model.history=lstm", "none, pooled, transformer"),
    ],
)
def test_an_unknown_name_is_refused_on_one_line_with_the_known_ones(override: str, known: str) -> None:
    with pytest.raises(ConfigError, match="is unknown; known are") as caught:
        load([override])
    assert known in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("negatives", [{"uniform": 5}, {"first": -1}])
def test_nonsense_numbers_are_refused(negatives: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"loss\.negatives"):
        LossConfig(negatives=negatives)


def test_one_negative_per_positive_and_all_positions_do_not_go_together() -> None:
    model_config, train = ModelConfig(history="transformer"), TrainConfig()
    with pytest.raises(ConfigError, match=r"set loss\.kind=softmax"):
        check(model_config, LossConfig(kind="bpr", in_batch=False), train)
