"""Times of a history in the user tower: what they change, what they leave alone, and that every path brings them."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from data.artifacts.errors import ConfigError
from data.artifacts.structured import structured
from data.sequences.batches import ShardBatches
from data.sequences.histories import HistoryOrder, Sequences
from data.sequences.windows import WindowBatches
from tests.data.sequences.test_windows import InMemory
from tests.towers.model.test_two_tower import DIM, ITEMS, USERS, side
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import embed
from towers.model.build import build_model
from towers.model.config import ModelConfig
from towers.model.history.moments import Moments, ages
from towers.model.history.padding import pad
from towers.model.history.rotary import rotated, rotation_with_time
from towers.model.history.time_bias import TimeBias, gap_buckets
from towers.model.history.time_modes import HistoryTime
from towers.model.two_tower import TwoTower
from towers.training.loop import user_vectors_and_positives

DAY, LENGTH = 86_400, 5
HISTORIES = [[3, 4, 5, 6], [7, 8]]
TIMES = [[1_600_000_000, 1_600_000_060, 1_600_400_000, 1_600_400_000], [1_500_000_000, 1_600_000_000]]
MODES = [
    ("transformer", HistoryTime.rotary),
    ("transformer", HistoryTime.bias),
    ("pooled", HistoryTime.recency),
]
CPU = torch.device("cpu")


def model(history: str, time: HistoryTime, **values: object) -> TwoTower:
    values = {"history_length": LENGTH, "dropout": 0.0, "id_dropout": 0.0, "history_half_life_days": 2.0} | values
    config = ModelConfig(embedding_dim=DIM, history=history, history_time=time, **values)  # type: ignore[arg-type]
    towers = build_model(config, side(USERS), side(ITEMS), seed=0).eval()
    for name, weight in towers.named_parameters():
        if "time_bias" in name:
            torch.nn.init.normal_(weight, std=2.0, generator=torch.Generator().manual_seed(0))
    return towers


def moments(times: list[list[int]] = TIMES, shift: int = 0) -> Moments:
    return Moments(pad([[time + shift for time in of] for of in times], LENGTH, torch.int64))


def vectors(towers: TwoTower, times: Moments, histories: list[list[int]] = HISTORIES) -> torch.Tensor:
    return towers.user_vectors(torch.tensor([1, 2]), pad(histories, LENGTH), None, times)


def test_ages_count_from_the_latest_time() -> None:
    history, times = pad([[3, 4], [], [5, 6]], 3), pad([[100, 40], [], [-7, 20]], 3, torch.int64)
    assert ages(times, history).tolist() == [[0, 0, 60], [0, 0, 0], [0, 27, 0]]


def test_rotation_by_time_gives_products_that_depend_on_gaps_alone() -> None:
    """An hour between two items is an hour, years ago as today; half of the entries turn by the position."""
    age_BL = torch.tensor([[10**8 + 3600, 10**8, 3600, 0]])
    cosine, sine = rotation_with_time(age_BL, 8)
    assert cosine.shape == (1, 1, 4, 8)
    entry = torch.randn(8, generator=torch.Generator().manual_seed(0)).expand(1, 1, 4, 8)
    turned = rotated(entry, cosine, sine)[0, 0]
    products = turned @ turned.T
    torch.testing.assert_close(products[0, 1], products[2, 3])
    assert abs(products[0, 1] - products[0, 2]) > 1e-3, "neither the same time nor the same positions apart"
    still_cosine, still_sine = rotation_with_time(torch.zeros(1, 4, dtype=torch.int64), 8)
    by_time = torch.tensor([2, 3, 6, 7])
    torch.testing.assert_close(still_cosine[..., by_time], torch.ones(1, 1, 4, 4))
    assert not still_sine[..., by_time].any()
    torch.testing.assert_close(turned.norm(dim=1), entry[0, 0].norm(dim=1))


def test_gaps_fall_into_buckets() -> None:
    """Within a second: 0; a minute: ln(60) / 0.301 = 13.6; an hour 27.2; a day 37.8."""
    ages_BL = torch.tensor([[DAY, DAY - 1, 3600, 60, 0]])
    assert gap_buckets(ages_BL)[0, -1].tolist() == [37, 37, 27, 13, 0]
    assert torch.equal(gap_buckets(ages_BL), gap_buckets(ages_BL).transpose(1, 2))
    assert gap_buckets(torch.tensor([[10**15, 0]])).max() == 79
    bias = TimeBias(2)
    with torch.no_grad():
        bias.values[27] = torch.tensor([1.0, -2.0])
    found = bias(gap_buckets(ages_BL))
    assert found.shape == (1, 2, 5, 5)
    assert found[0, :, 4].tolist() == [[0, 0, 1, 0, 0], [0, 0, -2, 0, 0]]
    assert torch.isinf(found[0, 0]).sum() == 10, "later items are hidden"


def test_a_bias_of_zero_is_attention_without() -> None:
    towers, off = model("transformer", HistoryTime.bias), model("transformer", HistoryTime.none)
    off.load_state_dict(towers.state_dict(), strict=False)
    assert not torch.allclose(vectors(towers, moments()), vectors(off, moments()), atol=1e-4)
    for name, weight in towers.named_parameters():
        if "time_bias" in name:
            torch.nn.init.zeros_(weight)
    torch.testing.assert_close(vectors(towers, moments()), vectors(off, moments()))


def test_recency_by_hand() -> None:
    """With a half-life of two days, items of 0, 2 and 4 days ago have 4/7, 2/7 and 1/7."""
    towers = model("pooled", HistoryTime.recency)
    times = pad([[9 * DAY, 11 * DAY, 13 * DAY]], LENGTH, torch.int64)
    weights = towers.history.weights(pad([[3, 4, 5]], LENGTH), times)  # type: ignore[union-attr, operator]
    torch.testing.assert_close(weights, torch.tensor([[0, 0, 1, 2, 4]]) / 7)
    items = torch.randn(4, DIM)
    pooled = towers.history(torch.tensor([[0, 0, 1, 2, 3]]), items, times)  # type: ignore[misc]
    torch.testing.assert_close(pooled[0], torch.tensor([1.0, 2.0, 4.0]) / 7 @ items[1:])
    same = towers.history(torch.tensor([[0, 0, 1, 2, 3]]), items, torch.full((1, LENGTH), 5))  # type: ignore[misc]
    torch.testing.assert_close(same[0], items[1:].mean(0)), "at one time it is the mean"
    nothing = towers.history(torch.zeros(1, LENGTH, dtype=torch.int64), items, times)  # type: ignore[misc]
    assert nothing.tolist() == [[0.0] * DIM]


@pytest.mark.parametrize(("history", "time"), MODES)
def test_gaps_count_and_neither_shifts_nor_padding_do(history: str, time: HistoryTime) -> None:
    towers = model(history, time)
    found = vectors(towers, moments())
    torch.testing.assert_close(vectors(towers, moments(shift=12_345_678)), found)
    assert torch.isfinite(found).all()
    other = [TIMES[0][:2] + [TIMES[0][1] + 7 * DAY] * 2, TIMES[1]]
    changed = vectors(towers, moments(other))
    assert not torch.allclose(changed[0], found[0], atol=1e-4)
    torch.testing.assert_close(changed[1], found[1])
    at_padding = moments().times_BL.masked_fill(pad(HISTORIES, LENGTH) == 0, 10**9)  # type: ignore[union-attr]
    torch.testing.assert_close(vectors(towers, Moments(at_padding)), found)
    alone = towers.user_vectors(torch.tensor([2]), pad(HISTORIES[1:], 2), None, Moments(torch.tensor(TIMES[1:])))
    torch.testing.assert_close(alone, found[1:])
    empty = vectors(towers, moments([[], []]), [[], []])
    assert torch.isfinite(empty).all()


@pytest.mark.parametrize(("history", "time"), MODES)
def test_order_counts_beside_time_where_it_did(history: str, time: HistoryTime) -> None:
    towers, same = model(history, time), moments([[5] * 4, [5] * 2])
    forward, backward = vectors(towers, same), vectors(towers, same, [h[::-1] for h in HISTORIES])
    assert torch.allclose(forward, backward, atol=1e-6) == (history == "pooled")


@pytest.mark.parametrize(("history", "time"), MODES)
def test_it_can_be_trained(history: str, time: HistoryTime) -> None:
    towers = model(history, time).train()
    target = torch.randn(2, DIM, generator=torch.Generator().manual_seed(1))
    (vectors(towers, moments()) * target).sum().backward()
    assert towers.history is not None
    gradients = {name: p.grad for name, p in towers.history.named_parameters()}
    assert all(g is not None and torch.isfinite(g).all() for g in gradients.values())
    assert any(g.any() for g in gradients.values() if g is not None)
    if time is HistoryTime.recency:
        assert gradients["half_life_log_1"].any()  # type: ignore[union-attr]


@pytest.mark.parametrize("time", [HistoryTime.rotary, HistoryTime.bias])
def test_at_each_position_later_items_and_times_are_hidden(time: HistoryTime) -> None:
    towers = model("transformer", time, user_ids=False)
    users, history = torch.tensor([1]), pad([[3, 4, 5, 6]], LENGTH)
    at_each = towers.user_vectors_at_each_position(users, history, None, moments(TIMES[:1]))[0]
    later = [[*TIMES[0][:2], TIMES[0][2] + 99 * DAY, TIMES[0][3] + 400 * DAY]]
    other = towers.user_vectors_at_each_position(users, history, None, moments(later))[0]
    torch.testing.assert_close(at_each[:3], other[:3])
    assert not torch.allclose(at_each[3:], other[3:], atol=1e-4)
    torch.testing.assert_close(at_each[-1], towers.user_vectors(users, history, None, moments(TIMES[:1]))[0])


@pytest.mark.parametrize(("history", "time"), MODES)
def test_off_is_what_it_was(history: str, time: HistoryTime) -> None:
    off, on = model(history, HistoryTime.none), model(history, time)
    assert not any("half_life" in name or "time_bias" in name for name in off.state_dict()), (
        "checkpoints of before open"
    )
    same = on.state_dict()
    assert all(torch.equal(same[name], weight) for name, weight in off.state_dict().items()), "the same seed"
    assert torch.equal(vectors(off, moments()), off.user_vectors(torch.tensor([1, 2]), pad(HISTORIES, LENGTH)))
    assert structured(ModelConfig, {"history": history}).history_time is HistoryTime.none
    with pytest.raises(ValueError, match="need the times of histories"):
        on.user_vectors(torch.tensor([1, 2]), pad(HISTORIES, LENGTH))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"history": "pooled", "history_time": HistoryTime.rotary},
            "rotary is not for model.history=pooled, which takes",
        ),
        ({"history": "none", "history_time": HistoryTime.recency}, "is not for model.history=none, which takes none"),
        ({"history_time": HistoryTime.recency, "history_order": HistoryOrder.others}, "is for logs without an order"),
        ({"history": "none", "history_types": True}, "model.history_types: model.history=none reads no history"),
        (
            {"history": "transformer", "history_time": HistoryTime.rotary, "embedding_dim": 4},
            "model.history_time: rotary turns half of each head by time",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ModelConfig(**values).check_history()  # type: ignore[arg-type]


LOG = pa.table(
    {
        "user_row": pa.array([1, 1, 1, 1, 2, 2], pa.int32()),
        "item_row": pa.array([3, 4, 5, 6, 7, 8], pa.int32()),
        "position": pa.array([0, 1, 2, 3, 0, 1], pa.int32()),
        "time": [time for of in TIMES for time in of],
        "type": pa.array([0, 1, None, 0, 1, 1], pa.int16()),
    }
)


def test_batches_and_queries_have_the_moments_of_their_items() -> None:
    sequences = Sequences.of(LOG, 3, ("time", "type"))
    time_of = dict(zip(LOG["item_row"].to_pylist(), LOG["time"].to_pylist(), strict=True)) | {0: 0}
    type_of = {0: 0, 3: 1, 4: 2, 5: 0, 6: 1, 7: 2, 8: 2}
    of_shard = ShardBatches(InMemory(LOG), sequences, 4, 3, HistoryOrder.before).epoch(0)
    of_windows = WindowBatches(InMemory(LOG), sequences, 4, 3).epoch(0)
    for batch in (*of_shard, *of_windows):
        assert batch.times_BL is not None and batch.types_BL is not None
        assert batch.times_BL.tolist() == [[time_of[item] for item in row] for row in batch.history_BL.tolist()]
        assert batch.types_BL.tolist() == [[type_of[item] for item in row] for row in batch.history_BL.tolist()]
    without = next(WindowBatches(InMemory(LOG), Sequences.of(LOG, 3), 4, 3).epoch(0))
    assert without.times_BL is None and without.types_BL is None


@pytest.mark.parametrize(("history", "time"), MODES)
def test_training_and_evaluation_give_the_same_vectors(history: str, time: HistoryTime) -> None:
    """A window of training, at the position after a user's whole history but the last item, is a query before it."""
    towers, sequences = model(history, time, user_ids=False), Sequences.of(LOG, 3, ("time",))
    batches = (
        WindowBatches(InMemory(LOG), sequences, 8, LENGTH)
        if history == "transformer"
        else ShardBatches(InMemory(LOG), sequences, 8, LENGTH, HistoryOrder.before)
    )
    found, items = user_vectors_and_positives(towers, next(batches.epoch(0)), CPU)
    trained = dict(zip(items.tolist(), found, strict=True))
    before = Sequences.of(LOG.take([0, 1, 2, 4]), 3, ("time",))
    nothing = (np.zeros(0, np.int64), np.zeros(0, np.int64))
    asked = embed(towers, HeldOut(np.array([1, 2], np.int32), nothing, before), batch_size=1).user_QD
    torch.testing.assert_close(torch.stack([trained[6], trained[8]]), asked, atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match="need the times of histories"):
        embed(towers, HeldOut(np.array([1], np.int32), nothing, Sequences.of(LOG, 3)), batch_size=1)
