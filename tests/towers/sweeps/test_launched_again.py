"""Sweeps of a command of the stack that are launched again after the log or the yaml changed, as one types them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.towers.sweeps.test_sweeps import PATIENCE_S

pytestmark = pytest.mark.slow


PREPARED = """# @package _global_
defaults:
  - override /hydra/launcher: ray
data:
  users_per_part: {users}
hydra:
  launcher: {{num_cpus: 2}}
  sweeper:
    params: {{data.split.kind: "temporal,leave_last_out"}}
"""
SEARCHED = """# @package _global_
defaults:
  - override /hydra/launcher: ray
  - override /hydra/sweeper: optuna
hydra:
  launcher: {{num_cpus: 2}}
  sweeper:
    trials: 2
    sampler: random
    objectives: [{{metric: counts.train}}]
    params: {{data.split.kind: "choice({choices})"}}
"""


def prepared(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A sweep of data.prepare over a small log, with the yaml files in my/."""
    common = ("data=csv", "data.name=probe", "data.source.interactions=clicks.csv", "storage.root=./var")
    ray = ("cluster.num_cpus=2", "cluster.dashboard=false")
    command = [sys.executable, "-m", "data.prepare", "--config-dir", "my", "-m", *arguments, *common, *ray]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, env=environment)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "my" / "experiment").mkdir(parents=True)
    rows = [f"u{n % 40},i{n % 30},{1704067200 + 3600 * n}" for n in range(600)]
    (tmp_path / "clicks.csv").write_text("\n".join(["user_id,item_id,time", *rows, ""]))
    (tmp_path / "my" / "experiment" / "mygrid.yaml").write_text(PREPARED.format(users=50))
    (tmp_path / "my" / "experiment" / "myopt.yaml").write_text(SEARCHED.format(choices="temporal,leave_last_out"))
    return tmp_path


def test_the_same_command_after_the_yaml_and_the_log_changed(shop: Path) -> None:
    first = prepared(shop, "experiment=mygrid")
    assert first.returncode == 0, first.stderr
    assert "2 finished" in first.stdout
    assert "2 of 2 trials are done already" in prepared(shop, "experiment=mygrid").stdout
    (shop / "my" / "experiment" / "mygrid.yaml").write_text(PREPARED.format(users=77))
    with (shop / "clicks.csv").open("a") as log:
        log.write("u1,i1,1709000000\n")
    again = prepared(shop, "experiment=mygrid")
    assert again.returncode == 0, again.stderr
    assert "data.users_per_part was 50 and is 77; the log has changed" in again.stdout
    assert "2 finished" in again.stdout
    assert "done already" not in again.stdout


def test_a_search_whose_space_changed_is_refused_before_ray_starts(shop: Path) -> None:
    first = prepared(shop, "experiment=myopt")
    assert first.returncode == 0, first.stderr
    assert "python -m data.prepare --config-dir my experiment=myopt" in first.stdout
    choices = "temporal,leave_last_out,temporal_by_user"
    (shop / "my" / "experiment" / "myopt.yaml").write_text(SEARCHED.format(choices=choices))
    again = prepared(shop, "experiment=myopt", "hydra.sweeper.trials=4")
    assert again.returncode == 2
    (line,) = again.stderr.splitlines()
    assert line.startswith("error: data.split.kind: choice(temporal, leave_last_out, temporal_by_user) was choice(")
    assert "hydra.sweeper.study=" in line


def test_an_objective_that_is_text_fails_each_trial_with_a_reason(shop: Path) -> None:
    done = prepared(shop, "experiment=myopt", "hydra.sweeper.objectives=[{metric:dataset}]")
    assert "Traceback" not in done.stderr
    assert done.stdout.count("failed: hydra.sweeper.objectives: dataset '") >= 2
    assert "is not a finite number in what the trial returned" in done.stdout


def test_a_swept_experiment_with_a_grid_is_refused_in_one_line(shop: Path) -> None:
    done = prepared(shop, "experiment=mygrid,myopt")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: experiment: mygrid brings settings of hydra.launcher and hydra.sweeper")
    assert not list((shop / "var").rglob("manifest.json"))
