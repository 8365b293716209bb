"""A plugin reaches the trials of a sweep and their training workers on the nodes of a cluster that does not have it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conf.schema import FOLDER
from tests.documentation import examples
from tests.towers.sweeps.simulated import PLAIN, head, node

pytestmark = pytest.mark.slow

TINY = (
    "tracking=off", "data.source.num_users=60", "data.source.num_items=40", "data.source.num_clusters=4",
    "data.source.interactions_per_user=10", "model.embedding_dim=8", "train.epochs=1", "train.patience=0",
)  # fmt: skip


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder with the plugin `theirs`, which brings the loss of docs/extending.md."""
    folder = tmp_path / "packages"
    (folder / "theirs").mkdir(parents=True)
    (folder / "theirs" / "__init__.py").write_text("from theirs import hinge\n__version__ = '1.0'\n")
    (folder / "theirs" / "hinge.py").write_text(examples()["towers/training/losses/hinge.py"])
    return folder


def test_trials_and_workers_compute_the_loss_of_a_plugin(packages: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with (
        head(tmp_path, 1, {}) as address,
        node(tmp_path / "node.log", (f"--address={address}", "--num-cpus=3"), PLAIN),
    ):
        sweep = (
            "-m",
            "hydra/launcher=ray",
            f"hydra.launcher.address={address}",
            "hydra.launcher.max_concurrent=1",
            "seed=0,1",
        )
        plugin = ("plugins=[theirs]", "loss.kind=hinge", "loss.log_q=false")
        environment = {**os.environ, **PLAIN, "PYTHONPATH": f"{FOLDER.parent}{os.pathsep}{packages}"}
        done = subprocess.run(
            [sys.executable, "-m", "towers.train", *sweep, *plugin, *TINY],
            cwd=elsewhere, env=environment, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    manifests = [json.loads(path.read_text()) for path in (elsewhere / "var").glob("checkpoints/*/manifest.json")]
    assert len(manifests) == 2
    assert all(manifest["config"]["loss"]["kind"] == "hinge" for manifest in manifests)
    assert all(manifest["plugins"] == [{"name": "theirs", "version": "1.0"}] for manifest in manifests)
