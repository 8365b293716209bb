"""serve.publish says how old the newest interaction is that a model has learned from, and what came after it."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conf.schema import load
from data.artifacts.folders import Folder
from data.dataset.inputs import changed_inputs
from data.dataset.preparation import prepare
from data.dataset.prepared import PreparedDataset
from towers.checkpoint.checkpoint import Checkpoint
from towers.checkpoint.freshness import freshness, newest_time

DAY_S = 86_400


def test_the_age_of_what_was_learned(checkpoint: Checkpoint, dataset: PreparedDataset) -> None:
    newest = newest_time(dataset, ("train",))
    assert newest is not None
    assert checkpoint.manifest["newest_interaction"] == newest
    first, later = freshness(checkpoint.manifest, now=newest + 3 * DAY_S)
    assert first.endswith("3 days ago")
    assert first.startswith("the newest interaction that it has learned from is of 20")
    assert later.startswith("warning: its dataset has interactions up to")
    assert later.endswith("train.fit_on=all learns from them")


def test_a_final_fit_has_nothing_newer(checkpoint: Checkpoint, dataset: PreparedDataset) -> None:
    newest = newest_time(dataset, ("train", "validation", "test"))
    assert newest is not None
    assert len(freshness(checkpoint.manifest | {"newest_interaction": newest}, now=newest)) == 1


def test_checkpoints_of_before_say_nothing(checkpoint: Checkpoint) -> None:
    manifest = {name: value for name, value in checkpoint.manifest.items() if name != "newest_interaction"}
    assert freshness(manifest) == []
    gone = {"newest_interaction": 1 << 60, "dataset": {"folder": "/nowhere"}}
    assert freshness(manifest | gone) == [], "a running number, which is no time"


@pytest.mark.slow
def test_a_log_that_has_changed_since_is_named(
    checkpoint: Checkpoint, tmp_path: Path, ray_session: None, tiny_overrides: tuple[str, ...]
) -> None:
    log, random = tmp_path / "log.parquet", np.random.default_rng(0)
    table = {"user_id": random.integers(0, 20, 400), "item_id": random.integers(0, 30, 400)}
    pq.write_table(pa.table(table | {"time": 1_700_000_000 + np.sort(random.integers(0, 10**6, 400))}), log)
    config = load(["data=parquet", "data.name=grown", f"data.source.interactions={log}", f"storage.root={tmp_path}"])
    dataset = prepare(config.data, Folder.of(str(tmp_path)))
    assert changed_inputs(dataset) == []
    os.utime(log, ns=(0, 0))
    assert changed_inputs(dataset) == [str(log)]
    newest = newest_time(dataset, ("train", "validation", "test"))
    manifest = {"newest_interaction": newest, "dataset": {"folder": str(dataset.folder)}}
    assert "the log has changed since it was prepared" in freshness(manifest)[-1]


@pytest.mark.slow
def test_a_part_that_came_to_the_logs_folder_is_named(tmp_path: Path, ray_session: None) -> None:
    log = tmp_path / "log"
    log.mkdir()
    lines = "".join(f"u{number % 20},i{number % 30},{number}\n" for number in range(400))
    (log / "a.csv").write_text(f"user_id,item_id,time\n{lines}")
    settings = ["data=csv", "data.name=daily", f"data.source.interactions={log}", "data.clock=order"]
    dataset = prepare(load([*settings, f"storage.root={tmp_path}"]).data, Folder.of(str(tmp_path)))
    manifest = {"newest_interaction": 399, "dataset": {"folder": str(dataset.folder)}}
    assert changed_inputs(dataset) == [] and freshness(manifest) == []
    for name in "bcde":
        (log / f"{name}.csv").write_text("user_id,item_id,time\nu1,i1,401\n")
    assert changed_inputs(dataset) == [str(log / f"{name}.csv") for name in "bcde"]
    (warning,) = freshness(manifest)  # though running numbers have no age
    assert f"the log has changed since it was prepared ({log}/b.csv, " in warning and "d.csv and 1 more)" in warning
    (log / "a.csv").unlink()
    assert changed_inputs(dataset)[0] == str(log / "a.csv")
    for path in log.iterdir():
        path.unlink()
    assert changed_inputs(dataset) == [str(log / "a.csv")], "an empty folder lists nothing"
    source = dataset.manifest["config"]["source"] | {"adapter": "NotLoaded"}
    unknown = dataset.manifest | {"config": dataset.manifest["config"] | {"source": source}}
    assert changed_inputs(PreparedDataset(dataset.folder, unknown)) == [str(log / "a.csv")]
