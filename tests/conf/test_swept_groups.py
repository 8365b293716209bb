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

INCLUDING = {
    "inner/x": PARAMS,
    "inner/headed": "# @package hydra.sweeper\nparams: {seed: '1,2'}\n",
    "inner/deeper": "# @package _global_\ndefaults: [x]\n",
    "inner/around": "# @package _global_\ndefaults: [/loop/around]\nseed: 5\n",
    "loop/around": "# @package _global_\ndefaults: [/inner/around]\n",
    "study/a": "# @package _global_\ndefaults: [{/inner@_global_: x}]\n",
    "study/b": "# @package _global_\nseed: 4\n",
    "study/listed": "# @package _global_\ndefaults: [{/inner@_global_: [x]}]\n",
    "study/by_path": "# @package _global_\ndefaults: [/inner/x@_global_]\n",
    "study/twice": "# @package _global_\ndefaults: [/inner/deeper@_global_, _self_]\n",
    "study/headed": "# @package _global_\ndefaults: [/inner/headed]\n",
}
"""Yaml files that include others, by their paths."""


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
    for name, text in INCLUDING.items():
        (tmp_path / f"{name}.yaml").parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text(text)
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
        ("+study=a,b", "study: a brings settings of hydra.sweeper,"),
        ("+study=b,listed", "study: listed brings settings of hydra.sweeper,"),
        ("+study=b,by_path", "study: by_path brings settings of hydra.sweeper,"),
        ("+study=b,twice", "study: twice brings settings of hydra.sweeper,"),
        ("+study=b,headed", "study: headed brings settings of hydra.sweeper,"),
    ],
)
def test_what_would_be_ignored_is_refused(my: str, swept: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        refuse("--config-dir", my, "-m", swept)
    assert named in str(caught.value)
    assert "start one sweep for each of its values, such as -m " in str(caught.value)
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
        ("-m", "+loop=around,unknown"),
        ("-m", "train.epochs=3=4"),
        ("--help",),
    ],
)
def test_what_takes_effect_is_taken(my: str, arguments: tuple[str, ...]) -> None:
    refuse("--config-dir", my, *arguments)
