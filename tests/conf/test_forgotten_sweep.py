"""A sweep's yaml without -m is refused, unless each of its parameters has a value, as in a leaderboard's command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.types import RunMode

from conf.schema import FOLDER
from conf.swept_groups import refuse_forgotten_sweep
from data.artifacts.errors import ConfigError
from tests.documentation import composed

GRID = ["experiment=grid", "model.embedding_dim=32", "loss.temperature=0.1"]


def refuse(verb: str, *overrides: str, mode: RunMode = RunMode.RUN) -> None:
    hydra = composed(overrides, hydra_too=True).hydra
    hydra.mode = mode
    refuse_forgotten_sweep(verb, hydra)


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["experiment=search", "data.name=mine", "hydra.sweeper.minutes=60"], "a sweep over recipe, loss.kind, "),
        (["experiment=ablation"], "a sweep over ablation, "),
        (["experiment=gowalla_search"], "a sweep over loss.temperature, "),
        (GRID[:2], "a sweep over loss.temperature, "),
    ],
    ids=str,
)
def test_a_forgotten_m_is_named(overrides: list[str], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        refuse("towers.train", *overrides)
    assert str(caught.value).startswith(f"hydra.sweeper.params: this is {named}")
    typed = " ".join(each for each in overrides if not each.startswith("hydra."))
    assert f"start it with -m (python -m towers.train -m {typed})" in str(caught.value)
    refuse("towers.train", *overrides, mode=RunMode.MULTIRUN)


@pytest.mark.parametrize(
    ("verb", "overrides"),
    [
        ("towers.train", GRID),
        ("towers.train", ["experiment=ablation", "ablation=dim_16"]),
        ("towers.train", ["experiment=gowalla"]),
        ("towers.train", []),
        ("data.prepare", ["experiment=search"]),
        ("towers.evaluate", ["experiment=gowalla_search", "checkpoint=A"]),
        ("serve.publish", ["experiment=search", "checkpoint=A"]),
    ],
)
def test_what_is_no_sweep_is_taken(verb: str, overrides: list[str]) -> None:
    refuse(verb, *overrides)


@pytest.mark.slow
def test_the_command_ends_with_a_mistake(tmp_path: Path) -> None:
    """It trained one model, without baselines and with a re-ranker of one epoch, and ended with status 0."""
    done = subprocess.run(
        [sys.executable, "-m", "towers.train", "experiment=search", "hydra.sweeper.minutes=60"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(FOLDER.parent)}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: hydra.sweeper.params: this is a sweep over recipe, ")
