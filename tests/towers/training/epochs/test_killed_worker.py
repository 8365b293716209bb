"""A training of which a worker is killed goes on from its latest epoch, and ends as one that nothing befell."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from conf.schema import load
from data.artifacts.folders import Folder
from data.dataset.preparation import prepare
from towers.checkpoint.checkpoint import Checkpoint, open_checkpoint
from towers.evaluation.report import report_of
from towers.training.fit import train
from towers.training.runs import checkpoint_folder

ROOT = Path(__file__).parents[4]
WITHIN_S = 180


@pytest.mark.slow
@pytest.mark.parametrize("tables", ["whole", "sharded"])
def test_a_worker_is_killed(tables: str, tiny_overrides: tuple[str], ray_session: None, tmp_path: Path) -> None:
    options = [*tiny_overrides, "train.epochs=8", "train.patience=0", f"model.tables={tables}", "train.num_workers=2"]
    options += ["train.cpus_per_worker=0.5", "train.threads=1"]
    killed_root, log = tmp_path / "killed", tmp_path / "log.txt"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "towers.train", *options, f"storage.root={killed_root}"]
    with log.open("w") as out:
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    ends = time.monotonic() + WITHIN_S
    while not epochs(killed_root) - {0}:
        assert process.poll() is None and time.monotonic() < ends, log.read_text()
        time.sleep(0.02)
    workers = training_workers(process.pid)
    assert len(workers) == 2
    workers[-1].send_signal(signal.SIGKILL)
    assert process.wait(WITHIN_S) == 0, log.read_text()
    assert re.search(r"rank|worker", log.read_text(), re.IGNORECASE)
    found, wanted = opened([*options, f"storage.root={killed_root}"]), trained([*options, f"storage.root={tmp_path}"])
    assert report_of(found.manifest).metrics == pytest.approx(report_of(wanted.manifest).metrics, abs=1e-6)
    assert found.manifest["training"]["examples"] == wanted.manifest["training"]["examples"], "no epoch was lost"
    for (name, of_found), of_wanted in zip(
        found.model.state_dict().items(), wanted.model.state_dict().values(), strict=True
    ):
        assert torch.allclose(of_found, of_wanted, atol=1e-5), name


def training_workers(pid: int) -> list[psutil.Process]:
    """The workers of Ray Train among the processes that a command has started."""
    return [of for of in psutil.Process(pid).children(recursive=True) if "TrainWorker" in " ".join(of.cmdline())]


def epochs(root: Path) -> set[int]:
    """The numbers of the epochs whose training states are whole."""
    return {int(path.parent.name[-1]) for path in root.glob("training/*/checkpoint_*/s*.json")}


def trained(options: list[str]) -> Checkpoint:
    config = load(options)
    storage = Folder.of(config.storage.root)
    return train(config, prepare(config.data, storage), storage)


def opened(options: list[str]) -> Checkpoint:
    """What a training that has ended has left."""
    config = load(options)
    storage = Folder.of(config.storage.root)
    return open_checkpoint(checkpoint_folder(config, prepare(config.data, storage), storage))
