"""A search that starts from known recipes, and leaves a yaml that reproduces what it has found."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from conf.schema import FOLDER, composed, load, register
from conf.verbs import decides
from data.artifacts.errors import ConfigError
from data.artifacts.structured import jsonable
from tests.towers.sweeps.search.test_search import finished, searched, space
from towers.sweeps.records import Record, State
from towers.sweeps.results.found import (
    best_record,
    final_overrides,
    gain_lines,
    write_recipe,
    yaml_values,
)
from towers.sweeps.search.ask_and_tell import Search
from towers.sweeps.search.space import SearchSpace
from towers.sweeps.search.study import Reached, open_study
from towers.sweeps.settings import SweeperConfig
from towers.training.config import check_recipe

SPACE = ("a=interval(0.0,1.0)", "b=choice(0.0,0.01)", "c=choice(x,y)")


def sweeper() -> Any:
    """The sweeper's settings in experiment=search."""
    register()
    with initialize_config_dir(str(FOLDER), version_base="1.3"):
        return compose("config", overrides=["experiment=search"], return_hydra_config=True).hydra.sweeper


def test_the_known_points_come_first(tmp_path: Path) -> None:
    asked: list[dict[str, str]] = []

    def value(given: dict[str, str]) -> float:
        asked.append(given)
        return float(given["a"])

    starts = [{"a": 0.25, "b": 0.01, "c": "y"}, {"a": 0.75, "b": 0, "c": "x"}]
    searched(tmp_path, value, space(*SPACE), trials=4, starts=starts)
    assert asked[:2] == [{"a": "0.25", "b": "0.01", "c": "y"}, {"a": "0.75", "b": "0.0", "c": "x"}]
    assert asked[2] not in asked[:2]
    searched(tmp_path, value, space(*SPACE), trials=6, starts=starts)
    assert not {"0.25", "0.75"} & {given["a"] for given in asked[4:]}, "a study that goes on does not begin anew"


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"a": 2.0}, "a=2.0 is not searched"),
        ({"c": "z"}, "c=z is not searched"),
        ({"b": 0, "c": "y"}, None),
    ],
)
def test_a_start_outside_of_the_space_is_named(start: dict[str, Any], message: str | None) -> None:
    assert space(*SPACE).excludes(start) == message
    with pytest.raises(ConfigError, match="d is not searched; known are a, b, c"):
        space(*SPACE).excludes({"d": 1})


def test_a_value_of_the_command_line_replaces_those_of_the_starts() -> None:
    assert space(*SPACE, "b=0.5").point({"a": 0.5, "b": 0.01}) == {"a": 0.5}


def trial(number: int, value: float, best_epoch: int, state: State = State.finished) -> Record:
    result = {"training": {"best_value": value, "best_epoch": best_epoch}}
    epochs = [(epoch, {"ndcg@20": value}) for epoch in range(1, 11)]
    return Record(number=number, overrides=[f"a={number}"], state=state, result=result, epochs=epochs, seconds=60.0)


def test_the_final_fit_is_the_training_that_was_measured_and_ends_after_its_best_epoch() -> None:
    """With train.epochs=4 the learning rate fell over 4 epochs, and not over the 10 by which the 4 were chosen."""
    assert final_overrides(trial(1, 0.5, 10), ["x=1"]) == ["a=1", "x=1"]
    assert final_overrides(trial(1, 0.5, 9), ["x=1"]) == ["a=1", "x=1", "train.stop_after=9"]
    assert final_overrides(trial(1, 0.5, 4), ["x=1"]) == ["a=1", "x=1", "train.stop_after=4"]
    typed = replace(trial(1, 0.5, 4), overrides=["train.epochs=10"])
    composed_again = load(["experiment=search", *final_overrides(typed, [])]).train
    assert (composed_again.epochs, composed_again.stop_after, composed_again.num_epochs) == (10, 4, 4)
    for given in ("train.epochs=30", "train.stop_after=null"):
        assert final_overrides(trial(1, 0.5, 4), [given]) == ["a=1", given], "hydra.sweeper.final says how many"
    records = [trial(1, 0.5, 3, State.pruned), trial(2, 0.5, 3)]
    assert best_record(records, ["a=2"]) is records[1]
    assert best_record(records, ["a=1"]) is None


def test_a_trial_that_went_on_after_an_interruption_has_all_its_epochs() -> None:
    """Of its epochs, those after the interruption alone are reported; of a training that was complete, none."""
    resumed = trial(1, 0.5, 9)
    assert final_overrides(replace(resumed, epochs=resumed.epochs[7:]), []) == ["a=1", "train.stop_after=9"]
    complete = replace(resumed, epochs=[], result={"training": {"best_value": 0.5, "best_epoch": 3, "epoch": 10}})
    assert final_overrides(complete, []) == ["a=1", "train.stop_after=3"]


def test_known_points_are_those_of_the_starts_also_where_they_were_tried_again_or_have_several_seeds(
    tmp_path: Path,
) -> None:
    """Their numbers do not tell: the second is tried again as the fourth, and each has two trials of the sweep."""
    starts = [{"a": 0.25, "b": 0.01, "c": "y"}, {"a": 0.75, "b": 0, "c": "x"}]
    config = SweeperConfig(trials=3, starts=starts)
    with_seeds = space(*SPACE, "seed=0,1")
    search = Search(config, with_seeds, open_study(config, tmp_path), "v")
    failed = 2
    while (following := search.next_trial()) is not None:
        number, overrides = following
        search.trial_ended(finished(number, overrides, None if number == failed else 0.1 * number), None)
    assert searched(tmp_path, lambda given: 0.9 - float(given["seed"]), with_seeds, trials=3, starts=starts)
    reached = Reached.of(open_study(config, tmp_path))
    assert len(reached.finished) == 3
    assert reached.known == pytest.approx([0.05, 0.4])


def test_what_was_gained_is_said_with_its_interval() -> None:
    records = [trial(0, 0.30, 9), trial(1, 0.25, 9), trial(2, 0.2, 1, State.pruned), trial(3, 0.34, 9)]
    final = {
        "k": 20,
        "metrics": {"ndcg@20": 0.31},
        "floors": {"popularity": {"ndcg@20": 0.1}, "iALS, tuned": {"ndcg@20": 0.28}},
        "intervals": {"towers": {"ndcg@20": [0.30, 0.32]}, "iALS, tuned": {"ndcg@20": [0.27, 0.29]}},
        "ahead": {"towers": {"popularity": {}, "iALS, tuned": {"ndcg@20": [0.03, 0.02, 0.04]}}},
    }
    reached = Reached(finished=[0.30, 0.25, 0.34], known=[0.30, 0.25], minimize=False)
    lines = gain_lines(records, records[3], reached, ["training.best_value"], final)
    assert lines == [
        "4 trials, 1 of them stopped early, 4 minutes of trials; training.best_value 0.3400 at best (trial 3)",
        "the points known before reached 0.3000: the search gained +0.0400",
        "the best of 3 was chosen by this value, which flatters it; the test part was not looked at",
        "test part, ndcg@20: 0.3100 (0.3000 to 0.3200, 95 % over users)",
        "best baseline: iALS, tuned, 0.2800 (0.2700 to 0.2900)",
        "the difference, paired by user: +0.0300 (+0.0200 to +0.0400)",
    ]


def test_what_was_gained_of_a_value_that_is_better_when_lower() -> None:
    records = [trial(0, 0.30, 9), trial(1, 0.25, 9), trial(2, 0.2, 9)]
    reached = Reached(finished=[0.30, 0.25, 0.2], known=[0.30, 0.25], minimize=True)
    lines = gain_lines(records, records[2], reached, ["training.best_value"])
    assert lines[1] == "the points known before reached 0.2500: the search gained +0.0500"


def test_trials_that_nothing_tells_apart_are_said_to_be_so() -> None:
    """Where all users of the validation part are new in it, each trial is measured by the same popular items."""
    records = [trial(0, 0.25, 9), trial(1, 0.25, 9)]
    reached = Reached(finished=[0.25, 0.25], known=[0.25], minimize=False)
    lines = gain_lines(records, records[0], reached, ["training.best_value"])
    assert lines[2].startswith("all that have finished reached the same value, so nothing was chosen by it")
    assert lines[2].endswith("the notes on the dataset in 0/log.txt may say why") and len(lines) == 3


@pytest.mark.parametrize(
    "objectives", [["metrics.ndcg@20"], ["reranked.ndcg@20"], ["training.best_value", "ahead.towers.ials"]], ids=str
)
def test_a_search_by_a_value_of_the_test_part_says_that_this_part_is_seen(objectives: list[str]) -> None:
    """It said that the test part was not looked at, in the head of found.yaml too."""
    records = [trial(0, 0.30, 9), trial(1, 0.25, 9)]
    final = {"k": 20, "metrics": {"ndcg@20": 0.3}, "intervals": {"towers": {"ndcg@20": [0.2, 0.4]}}}
    reached = Reached(finished=[0.30, 0.25], known=[], minimize=False)
    *_, chosen, measured = gain_lines(records, records[0], reached, objectives, final)
    assert chosen == (
        "the best of 2 was chosen by this value, which flatters it; it was measured on the test part, of which no"
        " number is unseen now (training.best_value is of the validation part)"
    )
    assert measured == (
        "test part, ndcg@20: 0.3000 (0.2000 to 0.4000, 95 % over users, and the search has chosen on this part)"
    )
    same = replace(reached, finished=[0.3, 0.3])
    assert "the test part does not tell them apart" in gain_lines(records, records[0], same, ["metrics.ndcg@20"])[-1]
    of_cost = gain_lines(records, records[0], reached, ["cost.size_mib"], final)
    assert "the test part was not looked at" in of_cost[-2] and "has chosen" not in of_cost[-1]


def test_the_yaml_reproduces_the_values_that_decide(tmp_path: Path) -> None:
    settings = sweeper()
    final = [each for each in settings.final if each.startswith("evaluate.")]
    given = ["experiment=search", "recipe=transformer", "model.dropout=0.5", "train.epochs=9", "train.stop_after=7"]
    given += ["data=synthetic", *final]
    config = load(given)
    path = write_recipe(tmp_path, yaml_values(composed(given)), partial(decides, "towers.train"), ["what was gained"])
    text = path.read_text()
    assert text.startswith("# @package _global_\n# what was gained\n")
    values = OmegaConf.create(text)
    assert "data" not in values and "threads" not in values.train and "published" not in values.evaluate
    assert (values.model.history, values.model.dropout, values.train.epochs) == ("transformer", 0.5, 9)
    register()
    again = load([f"hydra.searchpath=[file://{path.parents[1]}]", "experiment=found"])
    for group in ("model", "loss", "rerank", "evaluate"):
        assert jsonable(getattr(again, group)) == jsonable(getattr(config, group)), group
    assert (again.train.epochs, again.train.stop_after) == (9, 7)


def test_what_was_found_has_the_values_by_which_trials_were_cheap_as_they_are_elsewhere(tmp_path: Path) -> None:
    """Or the release that is trained by it has a re-ranker of one epoch on 500 queries."""
    values = yaml_values(composed(["experiment=search", *sweeper().final]))
    found = OmegaConf.load(write_recipe(tmp_path, values, partial(decides, "towers.train"), []))
    plain = load()
    assert found.evaluate.resamples == plain.evaluate.resamples
    assert OmegaConf.to_container(found.rerank) == jsonable(plain.rerank)


def test_the_final_fit_is_measured_beside_the_baseline_of_repeated_consumption() -> None:
    """Where a log is of repeats, it is the one to beat. It is measured where seen items are kept alone."""
    (named,) = [each for each in sweeper().final if each.startswith("evaluate.baselines=")]
    assert "own_items" in named


@pytest.mark.slow
def test_each_known_point_is_a_config_that_trains() -> None:
    settings = sweeper()
    parser = OverridesParser.create()
    of = SearchSpace.of(parser.parse_overrides([f"{name}={values}" for name, values in settings.params.items()]))
    assert len(settings.starts) >= 3
    for start in settings.starts:
        point = of.point(OmegaConf.to_container(start))  # type: ignore[arg-type]
        assert point.keys() == of.distributions.keys(), "nothing of a known recipe is left to chance"
        check_recipe(load(["experiment=search", *of.overrides(point, None)]))
    for recipe in of.distributions["recipe"].choices:  # type: ignore[attr-defined]
        for kind in of.distributions["loss.kind"].choices:  # type: ignore[attr-defined]
            check_recipe(load(["experiment=search", f"recipe={recipe}", f"loss.kind={kind}"]))
