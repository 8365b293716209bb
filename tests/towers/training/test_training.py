"""Training by real Ray Train: it finds what was planted, stops when told, and a kill changes nothing."""

import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import ray
import torch

from conf.entry import FOLDER
from conf.schema import Config, load
from data.artifacts.folders import Folder
from data.artifacts.seals import is_sealed
from data.dataset.preparation import prepare
from data.dataset.prepared import PreparedDataset
from towers.checkpoint.checkpoint import Checkpoint
from towers.checkpoint.tensor_files import CheckpointError
from towers.evaluation.report import report_of
from towers.model.config import FittedSplits
from towers.reranking.config import RerankConfig
from towers.sweeps.trial import Trial, working_for
from towers.sweeps.trial_reports import TrialReports
from towers.training.epochs.finite import NotFinite
from towers.training.fit import train
from towers.training.runs import checkpoint_folder, open_for, training_name
from towers.training.tracking import TrackingConfig, TrackingMode

pytestmark = pytest.mark.slow


def trained(config: Config, **settings: object) -> Checkpoint:
    storage = Folder.of(config.storage.root)
    changed = replace(config, train=replace(config.train, **settings))
    return train(changed, prepare(changed.data, storage), storage)


def test_recall_on_planted_tastes_is_three_times_popularitys(ray_session: None, root: Path) -> None:
    config = load(["tracking=off", f"storage.root={root}", "train.epochs=6"])
    report = report_of(trained(config).manifest)
    assert report.metrics["recall@20"] >= 3 * report.baselines["popularity"]["recall@20"]
    assert report.reranked["ndcg@20"] >= report.metrics["ndcg@20"]


def test_the_same_run_is_found_again(tiny: Config, dataset: PreparedDataset, checkpoint: Checkpoint) -> None:
    said: list[str] = []
    again = train(tiny, dataset, Folder.of(tiny.storage.root), said.append)
    assert said == [f"train: {checkpoint.name} is already trained"]
    assert again.manifest == checkpoint.manifest


def test_a_checkpoint_of_other_code_is_opened_with_a_word_and_trained_again_by_a_trial(
    tiny: Config, ray_session: None
) -> None:
    config = replace(tiny, seed=40, train=replace(tiny.train, epochs=1))
    dataset, storage = prepare(config.data, Folder.of(config.storage.root)), Folder.of(config.storage.root)
    first, said = train(config, dataset, storage), list[str]()
    first.folder.write_json("manifest.json", first.manifest | {"code": "of before", "training": {"loss": 9.0}})
    assert train(config, dataset, storage, said.append).manifest["training"] == {"loss": 9.0}
    state = f"{storage}/training/{training_name(config, dataset)}"
    assert Path(state).is_dir()
    assert said == [
        f"train: {first.name} is already trained, by another version of the code or its libraries; remove"
        f" {first.folder} and {state} to train it again"
    ]
    reports = ray.remote(TrialReports).remote(False)
    with working_for(Trial(0, "sweep", reports)):
        assert train(config, dataset, storage).manifest["code"] == "of before", "hydra.launcher.same_code=false"
    with working_for(Trial(0, "sweep", reports, same_code=True)):
        again = train(config, dataset, storage, said.append)
        train(config, dataset, storage, said.append)
    assert said[1] == f"train: {first.name} was trained by another version of the code, and is trained again"
    assert said[-1] == f"train: {first.name} is already trained"
    assert again.manifest["training"]["loss"] == pytest.approx(first.manifest["training"]["loss"])
    assert len(ray.get(reports.since.remote(0))[0]) == 1, "the towers too were trained, for an epoch"


def test_another_reranker_does_not_train_the_towers_again(tiny: Config, checkpoint: Checkpoint) -> None:
    linear = replace(tiny, rerank=RerankConfig(num_cross=0, hidden_dim=0))
    found = trained(linear)
    assert found.name != checkpoint.name
    before, after = ({**c.manifest["training"]} for c in (checkpoint, found))
    assert after.pop("best_value") == pytest.approx(before.pop("best_value"), rel=1e-2)  # each has its order of ties
    assert after == before
    assert torch.equal(found.item_vectors_ID, checkpoint.item_vectors_ID)
    assert found.reranker.deep is None


def test_the_best_value_is_that_of_the_towers_as_they_are_saved(tiny: Config, checkpoint: Checkpoint) -> None:
    """Smoothing comes after the epochs that were validated."""
    plain = checkpoint.manifest["training"]
    assert plain["best_value"] >= plain[tiny.train.monitor] - 1e-6, "the last epoch's, or that of a better one"
    smoothed = trained(replace(tiny, model=replace(tiny.model, smoothing=0.5)), epochs=1).manifest["training"]
    assert abs(smoothed["best_value"] - smoothed[tiny.train.monitor]) > 1e-4


def test_early_stopping_keeps_the_best_epoch(tiny: Config, ray_session: None) -> None:
    found = trained(tiny, epochs=60, patience=2, learning_rate=0.02)
    assert found.manifest["training"]["epoch"] < 60


def test_a_final_fit_knows_validation_too(tiny: Config, ray_session: None) -> None:
    found = trained(tiny, fit_on=FittedSplits.train_validation, patience=0, epochs=1)
    counts = prepare(tiny.data, Folder.of(tiny.storage.root)).manifest["counts"]
    assert found.counts_I.sum() == counts["train"] + counts["validation"]
    assert "best_value" not in found.manifest["training"], "there is nothing to validate on"
    assert not found.reranker.is_fitted, "nothing is left to fit the re-ranker on: retrieval order"


def test_offline_runs_lie_where_the_config_says(tiny: Config, ray_session: None, tmp_path: Path) -> None:
    tracked = replace(tiny, seed=7, tracking=TrackingConfig(mode=TrackingMode.offline, folder=str(tmp_path / "wandb")))
    trained(tracked, epochs=1)
    (run,) = (tmp_path / "wandb").rglob("offline-run-*")
    assert list(run.glob("*.wandb"))


def test_two_workers(tiny: Config, ray_session: None) -> None:
    report = report_of(trained(tiny, num_workers=2, cpus_per_worker=0.5).manifest)
    assert report.metrics["recall@20"] > report.baselines["popularity"]["recall@20"]


@pytest.mark.parametrize(
    "options",
    [
        [
            "model.start=spectral",
            "model.history=none",
            "model.smoothing=0.1",
            "loss=bilateral",
            "train.schedule=linear",
            "train.suggested=0.2",
        ],
        ["model=transformer", "loss=full_softmax", "model.history_length=10", "train.batch_size=16", "train.epochs=8"],
    ],
    ids=["spectral-bilateral-suggested", "transformer-full"],
)
def test_other_towers_and_losses_train(
    options: list[str], ray_session: None, root: Path, tiny_overrides: tuple[str]
) -> None:
    report = report_of(trained(load([*tiny_overrides, f"storage.root={root}", *options])).manifest)
    assert report.metrics["recall@20"] > report.baselines["popularity"]["recall@20"]


def test_a_transformer_does_not_take_in_batch_negatives(
    ray_session: None, root: Path, tiny_overrides: tuple[str]
) -> None:
    config = load([*tiny_overrides, f"storage.root={root}", "model=transformer"])
    with pytest.raises(ValueError, match="set loss.in_batch=false"):
        trained(config)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_streamed_log_is_trained_on(tiny: Config, ray_session: None, num_workers: int) -> None:
    other = replace(tiny, seed=20 + num_workers)
    report = report_of(trained(other, num_workers=num_workers, cpus_per_worker=0.5, in_memory_rows=0).manifest)
    assert report.metrics["recall@20"] > report.baselines["popularity"]["recall@20"]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_numbers_that_are_not_finite_end_the_training_at_once(
    tiny: Config, ray_session: None, num_workers: int
) -> None:
    """The worker's message arrives as it was raised, at the first attempt, and again when the command is repeated."""
    config = replace(tiny, loss=replace(tiny.loss, temperature=1e-30), seed=30)
    for _ in range(2):
        with pytest.raises(NotFinite, match=r"^epoch 1, step \d+: the (loss|gradient) is not finite") as caught:
            trained(config, num_workers=num_workers, cpus_per_worker=0.5)
        assert "\n" not in str(caught.value)
        assert "loss.temperature than 1e-30" in str(caught.value)
    dataset = prepare(config.data, Folder.of(config.storage.root))
    assert not is_sealed(checkpoint_folder(config, dataset, Folder.of(config.storage.root)))


def test_a_last_batch_of_one_is_trained_on(tiny: Config, ray_session: None) -> None:
    """In-batch negatives alone: the single positive of the last batch has none."""
    num_rows = prepare(tiny.data, Folder.of(tiny.storage.root)).manifest["counts"]["train"]
    loss = replace(tiny.loss, kind="bilateral", num_uniform=0)
    config = replace(tiny, loss=loss, train=replace(tiny.train, batch_size=num_rows - 1))
    found = trained(config, epochs=2)
    assert math.isfinite(found.manifest["training"]["best_value"])


def test_a_checkpoint_of_another_dataset_is_refused(tiny: Config, checkpoint: Checkpoint, root: Path) -> None:
    other = replace(tiny, data=replace(tiny.data, source=replace(tiny.data.source, seed=5)))
    with pytest.raises(
        CheckpointError, match=r"was trained on dataset synthetic .* pass the data= it was trained with"
    ):
        open_for(other, Folder.of(other.storage.root), str(checkpoint.folder))


def test_nothing_to_measure_is_said_before_training(ray_session: None, tmp_path: Path) -> None:
    """One item only."""
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id,time\n" + "".join(f"u{i % 5},only,{i}\n" for i in range(100)))
    config = load(["data=csv", f"data.source.interactions={log}", f"storage.root={tmp_path}/var"])
    with pytest.raises(ValueError, match="no user has an item there that is new"):
        trained(config)
    assert not (tmp_path / "var" / "checkpoints").exists()


@pytest.mark.slow
def test_a_killed_run_ends_as_an_undisturbed_one(tiny_overrides: tuple[str], ray_session: None, tmp_path: Path) -> None:
    options = [*tiny_overrides, "train.epochs=8", "train.patience=0", "train.suggested=0.1"]
    killed_root = tmp_path / "killed"
    command = [sys.executable, "-m", "towers.train", *options, f"storage.root={killed_root}"]
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent)}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    while not any(int(p.name[-1]) > 0 for p in epochs(killed_root)):
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    config = load([*options, f"storage.root={killed_root}"])
    dataset = prepare(config.data, Folder.of(str(killed_root)))
    assert not Path(checkpoint_folder(config, dataset, Folder.of(str(killed_root))).path).exists()
    resumed = trained(config)
    undisturbed = trained(load([*options, f"storage.root={tmp_path / 'undisturbed'}"]))
    for name, wanted in report_of(undisturbed.manifest).metrics.items():
        assert report_of(resumed.manifest).metrics[name] == pytest.approx(wanted, abs=1e-6), name
    for (name, wanted), found in zip(
        undisturbed.model.state_dict().items(), resumed.model.state_dict().values(), strict=True
    ):
        assert torch.allclose(found, wanted, atol=1e-6), name
    assert 0 < resumed.manifest["training"]["examples"] == undisturbed.manifest["training"]["examples"]


def epochs(root: Path) -> list[Path]:
    """Whole training states of a run."""
    return [p.parent for p in root.glob("training/*/checkpoint_*/state.json")]
