"""A log with event types, weights, context and vectors: prepared, trained, measured, and read back from disk."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conf.schema import Config, load
from data.artifacts.folders import Folder
from data.dataset.preparation import prepare
from towers.checkpoint.checkpoint import open_checkpoint
from towers.evaluation.report import report_of
from towers.training.fit import train
from towers.training.runs import training_name

USERS, ITEMS, EVENTS = 60, 40, 2400


def overrides(folder: Path, num_late: int = 0) -> list[str]:
    """Users and items of two tastes: a user buys and views items of their own taste, and hides those of the other.

    Args:
        num_late: number of items that come up in the last fifth of the log alone.
    """
    random = np.random.default_rng(0)
    users, items = random.integers(0, USERS, EVENTS), random.integers(0, ITEMS, EVENTS)
    items = np.where(np.arange(EVENTS) < 0.8 * EVENTS, items % (ITEMS - num_late), items)
    likes = users % 2 == items % 2
    events = np.where(likes, random.choice(["buy", "view"], EVENTS), random.choice(["hide", "shown"], EVENTS))
    channel = np.where(items % 4 < 2, "app", "web")
    log = {"user_id": users.astype(str), "item_id": items.astype(str), "time": np.arange(EVENTS) + 1_600_000_000}
    pq.write_table(pa.table(log | {"event": events, "channel": channel}), folder / "log.parquet")
    vectors = [[float(item % 2), float(item % 4), 1.0] for item in range(ITEMS)]
    table = {"item_id": [str(item) for item in range(ITEMS)], "picture": pa.array(vectors, pa.list_(pa.float32(), 3))}
    pq.write_table(pa.table(table | {"price": random.lognormal(size=ITEMS)}), folder / "items.parquet")
    return [
        "data=parquet", "data.name=rich", "tracking=off", f"storage.root={folder}/var",
        f"data.source.interactions={folder}/log.parquet", f"data.source.items={folder}/items.parquet",
        "data.source.columns.type=event", "data.source.columns.context=[channel]",
        "data.source.item_features=[{name: picture, kind: vector}, {name: price, kind: numeric_log}]",
        "data.events={buy: {weight: 3}, view: {seen: false}, hide: {sign: negative}, shown: {sign: ignore}}",
        "model.embedding_dim=8", "model.context=true", "train.epochs=3",
        "train.batch_size=128", "loss.num_uniform=16",
        "model.history_time=recency", "model.history_types=true", "rerank.epochs=10", "rerank.learning_rate=0.01",
        "rerank.goals={buy: 5, view: 1, hide: -2}", "rerank.experts=2",
    ]  # fmt: skip


def fitted(config: Config) -> tuple[dict[str, float], str]:
    storage = Folder.of(config.storage.root)
    dataset = prepare(config.data, storage)
    checkpoint = train(config, dataset, storage)
    bought = dataset.interactions("train", "validation", columns=["user_row", "item_row", "type"])
    row = int(bought["user_row"][0].as_py())
    of_user = bought.filter(pa.compute.equal(bought["user_row"], row))
    opened = open_checkpoint(checkpoint.folder)
    assert sorted(opened.history.of_user(row).tolist()) == sorted(of_user["item_row"].to_pylist())
    hidden = dataset.others("train", "validation", columns=["user_row", "item_row"])
    hidden = hidden.filter(pa.compute.equal(hidden["user_row"], row))["item_row"].to_pylist()
    really_bought = of_user.filter(pa.compute.equal(of_user["type"], 0))["item_row"].to_pylist()
    assert sorted(opened.seen.of_user(row).tolist()) == sorted([*really_bought, *hidden]), (
        "bought and hidden, not viewed"
    )
    assert opened.manifest["event_types"] == dataset.event_types.as_manifest()
    assert opened.model.event_type_rows["buy"] == 1 and opened.history.times_N is not None
    codes = opened.history.of_user(row, opened.history.types_N) - 1
    assert sorted(codes.tolist()) == sorted(of_user["type"].to_pylist())
    assert opened.model.event_types is not None and opened.model.event_types.values.weight.any(), "types are learned"
    assert opened.model.context_values is not None and opened.model.context == opened.reranker.context
    assert [feature.kind.name for feature in opened.items.features] == ["vector", "numeric_log"]
    of_goals = {goal["name"]: goal for goal in report_of(checkpoint.manifest).goals}
    assert {name: goal["weight"] for name, goal in of_goals.items()} == {"buy": 5, "view": 1, "hide": -2}
    assert of_goals["buy"]["auc"] > 0.55, "most of what the towers retrieve is of the user's taste, bought or not"
    assert opened.reranker.goal_weights == {"buy": 5, "view": 1, "hide": -2}
    assert opened.reranker.goals is not None and opened.reranker.goals.names == ("buy", "view", "hide")
    assert checkpoint.manifest["lift"].keys() >= {"value@20", "ndcg@20"}
    return checkpoint.manifest["metrics"], training_name(config, dataset)


@pytest.mark.slow
def test_all_that_a_log_says_is_learnt(ray_session: None, tmp_path: Path) -> None:
    given = overrides(tmp_path)
    metrics, name = fitted(load(given))
    assert metrics["recall@20"] > 0.6, "half of the items are of the user's taste"
    kept, other = fitted(load([*given, "evaluate.seen=keep"]))
    assert name != other, "another task, another training"
    assert kept["recall@20"] > 0.6


@pytest.mark.slow
def test_a_final_fit_keeps_its_reranker_where_later_items_change_the_buckets_of_a_number(
    ray_session: None, tmp_path: Path
) -> None:
    given = [each for each in overrides(tmp_path, num_late=12) if not each.startswith("data.source.item_features")]
    features = "data.source.item_features=[{name: price, kind: numeric_quantiles}]"
    config = load([*given, features, "train.fit_on=all", "train.epochs=2"])
    storage = Folder.of(config.storage.root)
    final = train(config, prepare(config.data, storage), storage)
    measured = open_checkpoint(Folder.of(final.manifest["settled"]))
    edges = [len(of.manifest["item_scales"]["price"]["edges"]) for of in (measured, final)]
    assert edges[0] < edges[1], "or there would be nothing to carry over"
    assert final.reranker.is_fitted
