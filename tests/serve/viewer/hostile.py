"""Texts that do harm where a page takes them for markup, and a release that has them wherever a log brings texts."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from conf.schema import Config, load
from data.artifacts.folders import Folder
from data.dataset.preparation import prepare
from serve.releases.publish import publish
from serve.releases.registry import ReleaseRegistry
from towers.training.fit import train

HOSTILE = (
    '<img src=x onerror="window.hacked = 1">',
    "</script><script>window.hacked = 1</script>",
    "{{constructor.constructor('window.hacked = 1')()}}",
    "<svg/onload=window.hacked=1>",
    "javascript:window.hacked=1",
    "\u202egnirts esrever",
    "long" * 500,
    '" :title="window.hacked = 1, 0" a="',
)
"""Titles that do harm where they are taken for markup, or that are hard to show."""

SHORT = [text[:60] for text in HOSTILE]
USERS, ITEMS, EVENTS = 60, 40, 1200


def hostile_release(folder: Path) -> Config:
    """Trains on a log whose ids, titles, features and context are HOSTILE; the release is live, beside a copy of it."""
    random = np.random.default_rng(0)
    items = [f"{SHORT[item % len(SHORT)]}{item}" for item in range(ITEMS)]
    users = [f"{SHORT[user % len(SHORT)]}{user}" for user in range(USERS)]
    log = {
        "user_id": [users[row] for row in random.integers(0, USERS, EVENTS)],
        "item_id": [items[row] for row in random.integers(0, ITEMS, EVENTS)],
        "time": np.arange(EVENTS) + 1_600_000_000,
        "channel": [SHORT[row % 2] for row in range(EVENTS)],
    }
    pq.write_table(pa.table(log), folder / "log.parquet")
    of_items = {
        "item_id": items,
        "title": [HOSTILE[item % len(HOSTILE)] for item in range(ITEMS)],
        "studio": [SHORT[item % 3] for item in range(ITEMS)],
        "genres": [[SHORT[item % 5], SHORT[3]] for item in range(ITEMS)],
    }
    pq.write_table(pa.table(of_items), folder / "items.parquet")
    of_users = {"user_id": users, "segment": [SHORT[user % 2] for user in range(USERS)]}
    pq.write_table(pa.table(of_users), folder / "users.parquet")
    config = load(
        [
            "data=parquet", "data.name=hostile", "tracking=off", f"storage.root={folder}/var",
            f"data.source.interactions={folder}/log.parquet", f"data.source.items={folder}/items.parquet",
            f"data.source.users={folder}/users.parquet", "data.source.columns.title=title",
            "data.source.columns.context=[channel]",
            "data.source.user_features=[{name: segment, kind: categorical}]",
            "data.source.item_features=[{name: studio, kind: categorical}, {name: genres, kind: multi_categorical}]",
            "model.embedding_dim=8", "train.epochs=2", "train.batch_size=128", "loss.num_uniform=16",
            "rerank.epochs=2",
        ]
    )  # fmt: skip
    storage = Folder.of(config.storage.root)
    checkpoint = train(config, prepare(config.data, storage), storage)
    registry = ReleaseRegistry.of(storage)
    live = registry.promote(publish(config.index, checkpoint, storage)).release
    shutil.copytree(registry.path(live).path, registry.path("copy").path)
    return config
