"""The command that fits again what a search has found: with the yaml of it, and the log that it was found on."""

import shlex
from functools import partial
from pathlib import Path

import pytest

from conf.schema import composed
from conf.verbs import decides, override_key
from tests.towers.sweeps.results.shell import composed_in_a_shell
from towers.sweeps.results.found import beside_recipe, command_again, values_beside, write_recipe, yaml_values


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ([], ["--config-dir", "/s/final"]),
        (["--config-name", "other"], ["--config-dir", "/s/final", "--config-name", "other"]),
        (["--config-dir", "my"], ["--config-dir", "my", 'hydra.searchpath=["file:///s/final"]']),
        (
            ["--config-dir", "my", "hydra.searchpath=[pkg://mine]"],
            ["--config-dir", "my", 'hydra.searchpath=["pkg://mine","file:///s/final"]'],
        ),
    ],
)
def test_the_command_finds_what_was_found_and_the_users_own_yaml(options: list[str], wanted: list[str]) -> None:
    """Hydra takes one --config-dir, and data=shop may lie in it."""
    given = ["data=shop", "storage.root=/my var", "plugins=[mine]", "data.min_weight=2", "a=1", "train.epochs=3"]
    again = command_again("towers.train", Path("/s"), options, beside_recipe("shop", given, override_key))
    assert shlex.split(again) == [
        "python", "-m", "towers.train", *wanted, "data=shop", "storage.root=/my var", "plugins=[mine]",
        "data.min_weight=2", "experiment=found",
    ]  # fmt: skip


def test_the_command_names_the_log_that_an_experiment_has_chosen() -> None:
    again = command_again("towers.train", Path("/s"), [], beside_recipe("gowalla", ["a=1"], override_key))
    assert again == "python -m towers.train --config-dir /s/final data=gowalla experiment=found"


OF_MY_OWN = """# @package _global_
defaults: [search, override /data: csv, _self_]
plugins: [colorsys]
data:
  name: shop
  min_weight: 2.0
  source:
    interactions: "my logs/a=b.csv"
    columns: {type: event, weight: count, context: [channel]}
    missing: [nan, '"']
  events: {buy: {weight: 3.0}, hide: {sign: negative}}
"""


def test_the_values_of_the_log_that_an_experiment_of_ones_own_has_set_are_in_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or what was found is fitted to another split, or to another log, without a word."""
    monkeypatch.setenv("TWOTOWER_PLUGINS", "")
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(OF_MY_OWN)
    config = composed(["experiment=mine", "storage.root=/there"], [tmp_path])
    beside = beside_recipe("csv", ["experiment=mine", "storage.root=/there", "recipe=ids"], override_key)
    assert beside == ["data=csv", "storage.root=/there"]
    beside += values_beside(yaml_values(config), yaml_values(composed(beside)))
    assert "data.min_weight=2.0" in beside and not [each for each in beside if each.startswith("data.clock")]
    again = composed(shlex.split(command_again("towers.train", tmp_path, [], beside))[5:-1])
    for name in ("data", "storage", "plugins", "cluster", "tracking"):
        assert again[name] == config[name], name


@pytest.mark.slow
def test_the_printed_command_composes_what_was_found(tmp_path: Path) -> None:
    final = "evaluate.baselines=[popularity,recent_popularity,item_item_tuned,ease,ials]"
    values = yaml_values(composed(["experiment=search", "model.dropout=0.5", "train.epochs=7", final]))
    write_recipe(tmp_path / "a sweep", values, partial(decides, "towers.train"), [])
    mine = tmp_path / "my" / "data" / "shop.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text(
        "defaults: [csv, _self_]\nname: shop\nsource: {interactions: clicks.csv, columns: {weight: count}}\n"
    )
    options, given = ["--config-dir", "my"], ["data=shop", "data.min_weight=2"]
    beside = beside_recipe("shop", given, override_key)
    again = command_again("towers.train", tmp_path / "a sweep", options, beside)
    again_config = composed_in_a_shell(again, tmp_path)
    assert (again_config.data.name, again_config.data.min_weight) == ("shop", 2)
    assert (again_config.model.dropout, again_config.train.epochs) == (0.5, 7)
    assert again_config.evaluate.baselines == ["popularity", "recent_popularity", "item_item_tuned", "ease", "ials"]
