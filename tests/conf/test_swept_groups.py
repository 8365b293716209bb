"""A sweep over yaml files that bring a launcher or a grid is refused: Hydra would ignore what they bring."""

from pathlib import Path

import pytest

from conf.schema import FOLDER, register
from conf.swept_groups import refuse_swept_settings
from data.artifacts.errors import ConfigError

GRID = """# @package _global_
defaults:
  - override /hydra/launcher: ray
hydra:
  sweeper:
    params: {data.split.kind: "temporal,leave_last_out"}
"""
PARAMS = "# @package _global_\nhydra:\n  sweeper:\n    params: {seed: '1,2'}\n"
NESTED = "# @package _global_\nhydra:\n  sweeper:\n    params: {experiment: 'grid,toys'}\n"


def refuse(*arguments: str) -> None:
    register()
    refuse_swept_settings(arguments, str(FOLDER), "config")


@pytest.fixture
def my(tmp_path: Path) -> str:
    (tmp_path / "experiment").mkdir()
    for name, text in {
        "mygrid": GRID,
        "myparams": PARAMS,
        "nested": NESTED,
        "plain": "# @package _global_\nseed: 3\n",
    }.items():
        (tmp_path / "experiment" / f"{name}.yaml").write_text(text)
    return str(tmp_path)


@pytest.mark.parametrize(
    ("swept", "named"),
    [
        ("experiment=grid,ablation", "experiment: grid brings settings of hydra.launcher and hydra.sweeper"),
        ("experiment=mygrid,grid", "experiment: mygrid brings settings of hydra.launcher and hydra.sweeper"),
        ("experiment=gowalla,mygrid", "experiment: mygrid brings"),
        ("experiment=plain,myparams", "experiment: myparams brings settings of hydra.sweeper,"),
        ("experiment=choice(gowalla,gowalla_search)", "experiment: gowalla_search brings"),
        ("experiment=glob(g*)", "brings settings of hydra.launcher"),
        ("experiment=nested", "experiment: grid brings"),
    ],
)
def test_what_would_be_ignored_is_refused(my: str, swept: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        refuse("--config-dir", my, "-m", swept)
    assert named in str(caught.value)
    assert "start one sweep for each of its values, such as -m experiment=" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["hydra.mode=MULTIRUN", "++hydra.mode=MULTIRUN"])
def test_a_sweep_by_an_override_is_one_too(my: str, mode: str) -> None:
    with pytest.raises(ConfigError, match="experiment: mygrid brings settings"):
        refuse("--config-dir", my, "experiment=mygrid,grid", mode)


@pytest.mark.parametrize(
    "arguments",
    [
        ("-m", "experiment=grid"),
        ("-m", "experiment=ablation", "seed=0,1"),
        ("-m", "experiment=grid", "ablation=dim_16,dim_128"),
        ("-m", "experiment=gowalla,toys"),
        ("-m", "train.epochs=1,2"),
        ("-m", "hydra/launcher=ray", "model=two_tower,transformer"),
        ("experiment=grid",),
        ("-m", "experiment=plain,unknown"),
        ("-m", "train.epochs=3=4"),
        ("--help",),
    ],
)
def test_what_takes_effect_is_taken(my: str, arguments: tuple[str, ...]) -> None:
    refuse("--config-dir", my, *arguments)
