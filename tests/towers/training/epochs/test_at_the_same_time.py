"""Trainings of the same towers at the same time, as in a sweep over the re-ranker: one trains, the others wait."""

import shutil
from pathlib import Path
from threading import Thread

import pytest

from conf.schema import Config
from data.artifacts.folders import Folder
from data.dataset.prepared import PreparedDataset
from towers.checkpoint.checkpoint import Checkpoint
from towers.training.fit import train
from towers.training.runs import checkpoint_folder, training_name


@pytest.mark.slow
def test_a_training_waits_for_another_one_of_its_towers(
    tiny: Config, dataset: PreparedDataset, checkpoint: Checkpoint, tmp_path: Path
) -> None:
    """Both saved their epochs into one folder, and each removed what the other one had saved."""
    storage, said = Folder.of(str(tmp_path)), list[str]()
    folder = checkpoint_folder(tiny, dataset, storage)
    shutil.copytree(checkpoint.folder.path, folder.path)
    manifest = Path(folder.path) / "manifest.json"
    unsealed = manifest.rename(tmp_path / "manifest.json")
    with (storage / "training" / ".locks").locked(training_name(tiny, dataset)):
        waiting = Thread(target=train, args=(tiny, dataset, storage, said.append))
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
        unsealed.rename(manifest)
    waiting.join(60)
    assert said == [f"train: {folder.name} is already trained"]
