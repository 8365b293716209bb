"""What cannot be measured, or would fail in a worker, is refused before anything starts."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from conf.schema import Config, load
from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.dataset.catalogue import Catalogue
from data.dataset.prepared import PreparedDataset
from data.sources.event_types import EventType, EventTypes, Sign
from tests.towers.evaluation.test_queries_by_part import in_parts
from towers.evaluation.config import SeenItems
from towers.model.config import FittedSplits, ModelConfig
from towers.model.history.time_modes import HistoryTime
from towers.train import demand, missing_value
from towers.training.config import check_recipe
from towers.training.fit import _check, check_context, check_history_columns
from towers.training.stages.measured_fit import has_validation


@pytest.mark.parametrize(
    ("overrides", "monitor"),
    [
        (["train.monitor=ndgc@20"], "ndgc@20"),
        (["train.monitor=ndcg@7"], "ndcg@7"),
        (["train.monitor=coverage@20"], "coverage@20"),
        (["evaluate.ks=[5,10]", "evaluate.k=10"], "ndcg@20"),
        (["train.monitor=ndcg"], "ndcg"),
    ],
)
def test_a_monitor_that_is_not_measured(overrides: list[str], monitor: str) -> None:
    config = load(overrides)
    for check in (check_recipe, demand):  # a command, and a trial of a sweep before it is placed
        with pytest.raises(
            ConfigError, match=rf"^train\.monitor: '{monitor}' is not measured; it must be one of recall@5"
        ):
            check(config)


@pytest.mark.parametrize(
    "overrides", [["train.monitor=hit_rate@5"], ["evaluate.ks=[3]", "evaluate.k=3", "train.monitor=mrr@3"]]
)
def test_a_monitor_that_is_measured(overrides: list[str]) -> None:
    check_recipe(load(overrides))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.history=none", "model.user_ids=false"], "model.user_ids: false needs a history"),
        (
            ["model=transformer", "model.embedding_dim=6"],
            r"model.embedding_dim: 6 over num_heads \(2\) must be an even",
        ),
    ],
)
def test_values_that_do_not_suit_the_history_encoder(overrides: list[str], message: str) -> None:
    config = load(overrides)
    for check in (check_recipe, demand):
        with pytest.raises(ConfigError, match=message):
            check(config)


def test_a_final_fit_has_no_monitor() -> None:
    check_recipe(load(["train.fit_on=train_validation", "train.patience=0", "evaluate.ks=[10]", "evaluate.k=10"]))


def test_more_workers_than_interactions(tiny: Config, dataset: PreparedDataset) -> None:
    from dataclasses import replace

    train = replace(tiny.train, num_workers=100_000, batch_size=100_000)
    with pytest.raises(
        ConfigError, match=r"^train\.num_workers: 100000 are more than the [0-9]+ interactions to fit on"
    ):
        _check(replace(tiny, train=train), dataset)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, r"^train\.patience: the validation part has no user with an item there that is new to them to stop early"),
        (
            {"fit_on": FittedSplits.all, "patience": 0},
            r"^train\.fit_on: all .* and the validation part has no user with",
        ),
    ],
)
def test_a_validation_part_of_repeated_items_alone_is_none(
    tiny: Config, dataset: PreparedDataset, tmp_path: Path, values: dict[str, Any], message: str
) -> None:
    """Nobody can be asked there: the mean of no metrics is NaN, and no epoch is better than another."""
    from dataclasses import replace

    repeated = in_parts(dataset, Folder.of(str(tmp_path)), validation="train")
    config = replace(tiny, train=replace(tiny.train, **values))
    assert not has_validation(config, repeated)
    with pytest.raises(ConfigError, match=message):
        _check(config, repeated)
    _check(replace(tiny, train=replace(tiny.train, patience=0)), repeated)
    keeping = replace(config, evaluate=replace(tiny.evaluate, seen=SeenItems.keep))
    assert has_validation(keeping, repeated), "those who come back are asked"
    assert has_validation(config, dataset)


def test_a_log_of_users_who_came_once_has_nothing_for_a_transformer() -> None:
    """The cure was to set train.num_workers to less than 1."""
    users = Catalogue("user_id", pa.table({"train_count": [1, 1, 0]}), ())
    once: Any = SimpleNamespace(event_types=EventTypes({}), users=users)
    with pytest.raises(ConfigError, match=r"^model\.history: transformer learns .* no user has two interactions"):
        _check(load(["model=transformer", "loss=uniform_softmax"]), once)


def test_more_workers_than_windows(tiny: Config, dataset: PreparedDataset) -> None:
    """What workers share are the windows, where an encoder is trained on all positions of one at once."""
    from dataclasses import replace

    num_workers = dataset.manifest["counts"]["train"]
    config = replace(tiny, train=replace(tiny.train, num_workers=num_workers, batch_size=num_workers))
    _check(config, dataset)
    model, loss = replace(config.model, history="transformer", history_length=4), replace(config.loss, in_batch=False)
    windows = replace(config, model=model, loss=loss)
    users = int((dataset.users.table["train_count"].to_numpy() > 1).sum())
    with pytest.raises(ConfigError, match=rf"^train\.num_workers: {num_workers} are more than the [0-9]+ windows of"):
        _check(windows, dataset)
    few = replace(windows, train=replace(config.train, num_workers=users, batch_size=users))
    _check(few, dataset)


@pytest.mark.parametrize(
    ("objective", "halving", "overrides", "message"),
    [
        ("training.best_valu", None, [], None),  # may be a value that training reports: known after the first trial
        ("trainig.best_value", None, [], "hydra.sweeper.objectives: trainig.best_value: a training returns no"),
        ("metrics.ndgc@20", None, [], "hydra.sweeper.objectives: metrics.ndgc@20: 'ndgc' is no metric"),
        ("metrics.ndcg@7", None, [], "hydra.sweeper.objectives: metrics.ndcg@7: 'ndcg@7' is not measured: evaluate"),
        ("metrics.gini@20", None, [], None),
        ("cost.size_mib", None, [], None),
        ("floors.popularity.ndcg@20", None, [], None),
        ("training.best_value", "ndcg@20", [], None),
        ("training.best_value", "ndcg@10", [], "hydra.sweeper.halving.metric: ndcg@10: an epoch reports loss"),
        (
            "training.best_value", None, ["train.fit_on=train_validation"],
            "hydra.sweeper.objectives: training.best_value: train.fit_on=train_validation leaves no validation part",
        ),
    ],
)  # fmt: skip
def test_a_metric_of_a_search(objective: str, halving: str | None, overrides: list[str], message: str | None) -> None:
    found = missing_value(load(overrides), objective, halving)
    assert found is None if message is None else str(found).startswith(message)


def test_a_log_without_what_histories_need() -> None:
    hide = EventType(sign=Sign.negative)
    one, two = EventTypes({"buy": EventType(), "hide": hide}), EventTypes({"buy": EventType(), "view": EventType()})
    log: Any = SimpleNamespace(has_clock=False, event_types=one, manifest={"name": "shop"})
    check_history_columns(ModelConfig(), log)
    with pytest.raises(ConfigError, match=r"^model\.history_time: recency needs times, and the log of shop has none"):
        check_history_columns(ModelConfig(history_time=HistoryTime.recency), log)
    with pytest.raises(ConfigError, match=r"^model\.history_types: the log of shop has 1 types of positive events"):
        check_history_columns(ModelConfig(history_types=True), log)
    log = SimpleNamespace(has_clock=True, event_types=two, manifest={"name": "shop"})
    check_history_columns(ModelConfig(history_time=HistoryTime.recency, history_types=True), log)


def test_a_log_without_context_is_refused_where_the_towers_take_one() -> None:
    """It was accepted, and did nothing."""
    log: Any = SimpleNamespace(context=(), manifest={"name": "shop"})
    check_context(ModelConfig(), log)
    with pytest.raises(ConfigError, match=r"^model\.context: true needs .* the log of shop has none; set it to false"):
        check_context(ModelConfig(context=True), log)
    log = SimpleNamespace(context=("daypart",), manifest={"name": "shop"})
    check_context(ModelConfig(context=True), log)
