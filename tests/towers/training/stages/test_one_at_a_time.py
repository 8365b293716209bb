"""Who waits for another run of the same training says so, and trains nothing again."""

import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from conf.schema import Config
from data.artifacts.folders import Folder
from data.dataset.prepared import PreparedDataset
from towers.checkpoint.checkpoint import Checkpoint, open_checkpoint
from towers.training import fit
from towers.training.stages import one_at_a_time as module
from towers.training.stages.one_at_a_time import one_at_a_time


def wait_for(holds: Callable[[], bool]) -> None:
    ends = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_who_waits_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AFTER_S", 0.02)
    storage, said = Folder.of(str(tmp_path)), list[str]()

    def waiting() -> None:
        with one_at_a_time(storage, "towers", said.append):
            pass

    with ThreadPoolExecutor(1) as pool:
        with one_at_a_time(storage, "towers", said.append):
            assert not said
            waits = pool.submit(waiting)
            wait_for(lambda: bool(said))
        waits.result()
    assert said == ["train: waits for another run that trains towers"]


def test_the_same_command_twice_at_once_trains_once(
    tiny: Config, dataset: PreparedDataset, checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real training would take longer: what is trained is a copy."""
    sealed: list[str] = []

    def trained(config: Config, of: PreparedDataset, storage: Folder, folder: Folder, progress: object) -> Checkpoint:
        time.sleep(0.2)
        sealed.append(folder.name)
        return open_checkpoint(Folder.of(str(shutil.copytree(checkpoint.folder.path, folder.path))))

    monkeypatch.setattr(fit, "fit_and_measure", trained)
    said: list[str] = []
    config = replace(tiny, seed=75)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(fit.train, config, dataset, Folder.of(str(tmp_path)), said.append) for _ in range(2)]
        first, second = (run.result() for run in runs)
    assert sealed == [first.name] == [second.name]
    assert sum("is already trained" in line for line in said) == 1
