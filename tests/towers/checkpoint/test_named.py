"""A checkpoint is found by its own folder or by that of its training's run, and its dataset by its own manifest."""

import json
import shutil
from pathlib import Path

import pytest

from conf.schema import Config, load
from data.artifacts.folders import Folder
from data.artifacts.seals import NotSealed, sealing
from data.artifacts.secrets import recordable
from data.dataset.inputs import input_states
from data.dataset.prepared import PreparedDataset
from towers.checkpoint.checkpoint import Checkpoint
from towers.checkpoint.opening.named import checkpoint_at, open_named
from towers.training.runs import checkpoint_folder, open_for


def write_hour(tmp_path: Path, hour: int) -> None:
    (tmp_path / "log").mkdir(exist_ok=True)
    rows = "".join(f"u{i % 7},i{i % 5},{1_700_000_000 + 3600 * hour + i}\n" for i in range(60))
    (tmp_path / "log" / f"{hour}.csv").write_text(f"user_id,item_id,time\n{rows}")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A log that gets a file each hour."""
    write_hour(tmp_path, 0)
    return load(["data=csv", f"data.source.interactions={tmp_path / 'log'}", f"storage.root={tmp_path / 'var'}"])


def sealed_dataset(config: Config, name: str, read_us: int) -> PreparedDataset:
    """The sealed folder of a dataset of the log as it is, with what its manifest says and without tables."""
    manifest = {
        "kind": "dataset",
        "name": config.data.name,
        "config": recordable(config.data.as_json()),
        "inputs": input_states(config.data.input_files()),
        "log_read_us": read_us,
    }
    folder = Folder.of(config.storage.root) / "datasets" / name
    with sealing(folder, manifest) as staging:
        staging.write_bytes("rows", name.encode())
    return PreparedDataset.open(folder)


def sealed_checkpoint(config: Config, dataset: PreparedDataset) -> Folder:
    folder = checkpoint_folder(config, dataset, Folder.of(config.storage.root))
    with sealing(folder, {"kind": "checkpoint"}):
        return folder


def test_where_the_log_has_grown_the_checkpoint_of_before_is_named(config: Config, tmp_path: Path) -> None:
    """To train first, as it said, did not help: the next file of the log had come before the training's end."""
    storage, made = Folder.of(config.storage.root), []
    for hour in range(2):
        write_hour(tmp_path, hour)
        made.append(sealed_checkpoint(config, sealed_dataset(config, f"my-log-{hour}", hour)))
    write_hour(tmp_path, 2)
    with pytest.raises(NotSealed) as caught:
        open_for(config, storage, None)
    said = str(caught.value)
    assert said.startswith("checkpoint: the log has changed since these values were trained")
    assert f"checkpoint={made[1]} in the place of the values of the recipe" in said, "the newest"
    assert "python -m serve.publish" in said and str(made[0]) not in said
    datasets = {folder.name for folder in (storage / "datasets").subfolders()}
    assert datasets == {"my-log-0", "my-log-1"}, "the whole log was prepared again in vain"


@pytest.mark.slow
def test_an_equal_log_whose_files_are_newer_is_the_same(config: Config, tmp_path: Path, ray_session: None) -> None:
    sealed_checkpoint(config, sealed_dataset(config, "my-log-0", 0))
    (tmp_path / "log" / "0.csv").touch()
    with pytest.raises(NotSealed, match="checkpoint: "):
        open_for(config, Folder.of(config.storage.root), None)
    assert len((Folder.of(config.storage.root) / "datasets").subfolders()) == 2, "it was prepared, which told"


def with_dataset(checkpoint: Checkpoint, dataset: PreparedDataset, folder: Path) -> Folder:
    """A copy of a checkpoint that says that it was trained on a dataset."""
    shutil.copytree(checkpoint.folder.path, folder)
    of = {"name": "csv", "fingerprint": dataset.fingerprint, "folder": str(dataset.folder)}
    (folder / "manifest.json").write_text(json.dumps(checkpoint.manifest | {"dataset": of}))
    return Folder.of(str(folder))


def test_a_named_checkpoint_brings_its_dataset_though_the_log_has_grown(
    config: Config, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    storage, dataset = Folder.of(config.storage.root), sealed_dataset(config, "my-log-0", 0)
    folder = with_dataset(checkpoint, dataset, tmp_path / "var" / "checkpoints" / "x")
    write_hour(tmp_path, 1)
    for data in (None, config.data):
        opened, found = open_named(folder, storage, data)
        assert (opened.name, found.folder, found.fingerprint) == ("x", dataset.folder, dataset.fingerprint)
    dataset.folder.delete()
    with pytest.raises(NotSealed, match=r"checkpoint x: its dataset is not in .*my-log-0 any more; give the data="):
        open_named(folder, storage, None)
    another = sealed_dataset(config, "my-log-0", 1).folder
    another.write_json("manifest.json", {"kind": "dataset", "fingerprint": "other"})
    with pytest.raises(NotSealed, match="is not in"):
        open_named(folder, storage, None)


def test_the_folder_of_a_training_names_its_checkpoint(tmp_path: Path, bucket: Folder) -> None:
    storage, run = Folder.of(str(tmp_path)), tmp_path / "run"
    run.mkdir()
    assert checkpoint_at(str(run), storage).path == str(run), "without a summary it is a folder like others"
    (run / "summary.json").write_text(json.dumps({"checkpoint": str(tmp_path / "checkpoints" / "a"), "training": {}}))
    assert checkpoint_at(str(run), storage).path == str(tmp_path / "checkpoints" / "a")
    (run / "summary.json").write_text(json.dumps({"checkpoint": str(bucket / "checkpoints" / "a"), "training": {}}))
    assert checkpoint_at(str(run), bucket) == bucket / "checkpoints" / "a", "by the credentials of the storage"
    (run / "summary.json").write_text(json.dumps({"checkpoint": "/of/the/backtest", "metrics": {}}))
    assert checkpoint_at(str(run), storage).path == str(run), "an evaluation may be of another checkpoint"
    with sealing(storage / "sealed", {"kind": "checkpoint"}) as staging:
        staging.write_bytes("summary.json", b"{}")
    assert checkpoint_at(str(tmp_path / "sealed"), storage).name == "sealed"
