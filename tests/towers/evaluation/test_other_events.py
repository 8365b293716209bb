"""Of the events that are no positives, which may be many times more, one part at a time is in memory."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data.artifacts.folders import Folder
from data.dataset.prepared import PreparedDataset
from data.dataset.schema import INTERACTIONS
from data.sequences.feedback import ExplicitNegatives
from data.sources.event_types import EventType, EventTypes, Sign, is_negative
from towers.evaluation.goals import GoalEvents
from towers.evaluation.queries import unwanted_among
from towers.model.config import FittedSplits
from towers.training.config import TrainConfig
from towers.training.epochs.streamed import ExplicitNegativesOfTowers, is_streamed, num_negatives
from towers.training.trainer import feedback_of

NUM_USERS, NUM_ITEMS, PER_PART, VIEWS = 2_000, 300, 100, 200
BUY, VIEW, HIDE = 0, 1, 2
SPLIT = "train"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    """Each user buys 4 items, hides 2 and views 200."""
    folder, random, files = Folder.of(str(tmp_path_factory.mktemp("log"))), np.random.default_rng(0), dict[str, str]()
    for number in range(NUM_USERS // PER_PART):
        for kind, of_user in (("interactions", [BUY] * 4), ("others", [VIEW] * VIEWS + [HIDE] * 2)):
            types = np.tile(random.permutation(of_user), PER_PART)
            users = 1 + number * PER_PART + np.repeat(np.arange(PER_PART), len(of_user))
            columns = {"user_row": users, "item_row": random.integers(1, NUM_ITEMS // 2, len(users)), "type": types}
            columns |= {"time": random.integers(0, 1 << 30, len(users)), "weight": random.integers(1, 9, len(users))}
            table = pa.table(columns | {"position": np.zeros(len(users)), "context": pa.nulls(len(users))})
            files[f"{kind}/split={SPLIT}/part-{number:05d}.parquet"] = ""
            folder.write_table([*files][-1], table.select(INTERACTIONS.names).cast(INTERACTIONS))
    for name, count in (("user", NUM_USERS), ("item", NUM_ITEMS)):
        rows = np.arange(1, count + 1)
        counts = {f"{split}_count": np.zeros(count, np.int64) for split in ("validation", "test")}
        counts["train_count"] = (rows <= NUM_ITEMS // 2).astype(np.int64)
        folder.write_table(f"{name}s.parquet", pa.table({"row": rows, f"{name}_id": rows.astype(str)} | counts))
    types = {"buy": EventType(), "view": EventType(sign=Sign.ignore, seen=True), "hide": EventType(sign=Sign.negative)}
    counts = {SPLIT: 4 * NUM_USERS, "validation": 0, "test": 0, "others": (VIEWS + 2) * NUM_USERS}
    manifest = {"files": files, "counts": counts, "context": [], "event_types": EventTypes(types).as_manifest()}
    return PreparedDataset(folder, manifest | {"user_features": [], "item_features": []})


def held(make: Callable[[], Any]) -> int:
    """Bytes that Python, NumPy and Arrow take at most."""
    pool = pa.default_memory_pool()
    counting = pa.proxy_memory_pool(pool)
    pa.set_memory_pool(counting)
    tracemalloc.start()
    try:
        make()
        return tracemalloc.get_traced_memory()[1] + counting.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(pool)


def whole(log: PreparedDataset) -> pa.Table:
    """The hidden items of all users."""
    return log.of_types(log.others(SPLIT), is_negative)


def test_explicit_negatives_are_those_of_all_events_at_once(log: PreparedDataset) -> None:
    found = feedback_of(log, FittedSplits.train).negatives
    others = ExplicitNegativesOfTowers.of(log, FittedSplits.train)(log.others(SPLIT))
    wanted = ExplicitNegatives.of(others, log.interactions(SPLIT), NUM_USERS + 1, NUM_ITEMS + 1)
    assert found is not None
    assert found.sequences.items_N.tolist() == wanted.sequences.items_N.tolist()
    assert found.sequences.offsets_U1.tolist() == wanted.sequences.offsets_U1.tolist()
    assert (found.weights_M == wanted.weights_M).all() and found.weights_M.dtype == np.float32
    assert 0 < len(found.weights_M) < 2 * NUM_USERS, "some are taken back"


def test_unwanted_items_and_goals_are_those_of_all_events_at_once(log: PreparedDataset) -> None:
    random = np.random.default_rng(1)
    user_rows_Q = random.integers(1, NUM_USERS + 1, 3_000).astype(np.int32)
    rows_QK = random.integers(-1, NUM_ITEMS, (3_000, 50))
    weight_of = dict[tuple[int, int], float]()
    for event in whole(log).to_pylist():
        weight_of.setdefault((event["user_row"], event["item_row"]), event["weight"])
    pairs = [[(user, row) for row in rows] for user, rows in zip(user_rows_Q.tolist(), rows_QK.tolist(), strict=True)]
    wanted = [[weight_of.get(pair, 0.0) for pair in of] for of in pairs]
    found_QK = unwanted_among(log, SPLIT, user_rows_Q, rows_QK)
    assert found_QK.tolist() == wanted and found_QK.dtype == np.float32 and found_QK.any()
    (hidden_QK1, bought_QK1) = np.split(
        GoalEvents.of(log, SPLIT, {"hide": -1, "buy": 2}, user_rows_Q).among(user_rows_Q, rows_QK), 2, 2
    )
    assert (hidden_QK1[..., 0] == (found_QK > 0)).all()
    bought = set(zip(*(log.interactions(SPLIT)[name].to_pylist() for name in ("user_row", "item_row")), strict=True))
    assert bought_QK1[..., 0].tolist() == [[pair in bought for pair in of] for of in pairs]


def test_of_other_events_one_part_is_held_at_a_time(log: PreparedDataset) -> None:
    every = log.others(SPLIT, columns=["user_row", "item_row", "time", "weight", "type"]).nbytes
    users, rows = np.arange(1, 101, dtype=np.int32), np.ones((100, 20), np.int64)
    _ = log.users.ids, log.items.ids
    assert held(lambda: feedback_of(log, FittedSplits.train)) < every / 4
    assert held(lambda: unwanted_among(log, SPLIT, users, rows)) < every / 4
    assert held(lambda: GoalEvents.of(log, SPLIT, {"view": 1}, users)) < every / 4


def test_a_log_with_many_negatives_is_streamed(log: PreparedDataset) -> None:
    """Events that the towers do not learn from are no rows that a worker holds."""
    negatives = num_negatives(log, FittedSplits.train)
    assert 0 < negatives <= 2 * NUM_USERS
    rows = log.manifest["counts"][SPLIT] + negatives
    for most, wanted in ((rows, False), (rows - 1, True), (0, True)):
        assert is_streamed(log, TrainConfig(in_memory_rows=most), FittedSplits.train) is wanted
