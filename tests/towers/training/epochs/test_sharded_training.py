"""Training with sharded and hashed tables by real Ray Train: to a sealed checkpoint that is published as any other."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from conf.entry import FOLDER
from conf.schema import Config, load
from data.artifacts.folders import Folder
from data.dataset.preparation import prepare
from serve.releases.publish import publish
from towers.checkpoint.checkpoint import Checkpoint
from towers.checkpoint.item_tower import open_item_tower
from towers.evaluation.report import report_of
from towers.training.epochs.finite import NotFinite
from towers.training.fit import train

pytestmark = pytest.mark.slow


def trained(config: Config, tables: str, hash_rows: int = 1_000_000, **settings: object) -> Checkpoint:
    storage = Folder.of(config.storage.root)
    model = replace(config.model, tables=tables, hash_rows=hash_rows)
    changed = replace(config, model=model, train=replace(config.train, cpus_per_worker=0.5, **settings))
    return train(changed, prepare(changed.data, storage), storage)


def check_published(config: Config, checkpoint: Checkpoint) -> None:
    """An embedding worker computes the vectors of the checkpoint, and a release is built of it."""
    rows = torch.arange(1, len(checkpoint.counts_I))
    with torch.inference_mode():
        vectors = open_item_tower(checkpoint.folder).item_vectors(rows)
    assert torch.allclose(vectors, checkpoint.item_vectors_ID[1:], atol=1e-6)
    assert publish(config.index, checkpoint, Folder.of(config.storage.root))


def test_sharded_towers_become_those_of_whole_tables(tiny: Config, ray_session: None) -> None:
    whole, sharded = (trained(tiny, tables, num_workers=2, epochs=1, patience=0) for tables in ("whole", "sharded"))
    assert sharded.name != whole.name
    for (name, wanted), found in zip(
        whole.model.state_dict().items(), sharded.model.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0, msg=lambda said, at=name: f"{at}: {said}")
    for name, value in report_of(whole.manifest).metrics.items():
        assert report_of(sharded.manifest).metrics[name] == pytest.approx(value, abs=0.01), name
    check_published(tiny, sharded)


def test_a_smoothed_training_goes_on_from_a_smoothed_checkpoint(tiny: Config, ray_session: None) -> None:
    """Workers with sharded tables do not smooth: the driver does, when it has all rows."""
    smoothed = replace(tiny, model=replace(tiny.model, smoothing=0.5))
    before = trained(smoothed, "sharded", num_workers=2, epochs=1, patience=0)
    after = trained(smoothed, "sharded", num_workers=2, epochs=1, patience=0, start_from=str(before.folder))
    assert after.name != before.name
    assert after.model.state_dict().keys() == before.model.state_dict().keys()


def test_hashed_towers_beat_popularity(tiny: Config, ray_session: None) -> None:
    hashed = trained(tiny, "hashed", hash_rows=150)
    assert len(hashed.model.item_ids.table.weight) == len(hashed.model.user_ids.table.weight) == 150
    report = report_of(hashed.manifest)
    assert report.metrics["recall@20"] > report.baselines["popularity"]["recall@20"]
    check_published(tiny, hashed)


def test_numbers_that_are_not_finite_end_a_sharded_training_at_once(tiny: Config, ray_session: None) -> None:
    config = replace(tiny, loss=replace(tiny.loss, temperature=1e-30))
    with pytest.raises(NotFinite, match=r"^epoch 1, step \d+: the (loss|gradient) is not finite"):
        trained(config, "sharded", num_workers=2)


def parts(root: Path) -> list[Path]:
    """Whole parts of training states."""
    return list(root.glob("training/*/checkpoint_*/shard-*.json"))


def test_a_killed_run_goes_on_with_another_number_of_workers(
    tiny_overrides: tuple[str], ray_session: None, tmp_path: Path
) -> None:
    options = [
        *tiny_overrides,
        "train.epochs=8",
        "train.patience=0",
        "model.tables=sharded",
        f"storage.root={tmp_path}",
    ]
    two = [*options, "train.num_workers=2", "train.cpus_per_worker=0.5"]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
    process = subprocess.Popen(
        [sys.executable, "-m", "towers.train", *two],
        cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    while not any(int(part.parent.name[-1]) > 0 for part in parts(tmp_path)):
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert {part.name for part in parts(tmp_path)} == {"shard-0-of-2.json", "shard-1-of-2.json"}
    assert not list(tmp_path.glob("training/*/checkpoint_*/state.json"))
    config = load([*options, "train.num_workers=1"])
    resumed = train(config, prepare(config.data, Folder.of(str(tmp_path))), Folder.of(str(tmp_path)))
    assert resumed.manifest["training"]["epoch"] == 8
    assert "shard-0-of-1.json" in {part.name for part in parts(tmp_path)}, "it has gone on in the same folder"
    num_train = int(resumed.counts_I.sum())
    assert resumed.manifest["training"]["examples"] == 8 * num_train, "no epoch was lost or trained twice"
    report = report_of(resumed.manifest)
    assert report.metrics["recall@20"] > report.baselines["popularity"]["recall@20"]
