"""Published results stand beside a measurement on their own data set, and on no other."""

from dataclasses import replace
from typing import Any

import pytest

from conf.schema import load
from data.artifacts.errors import ConfigError
from towers.evaluation.config import EvaluateConfig, PublishedResult, SeenItems
from towers.evaluation.presentation.published import published_beside

THEIRS = {"users": 943, "items": 1682, "train": 98_114, "validation": 943, "test": 943}


def prepared(split: str = "leave_last_out", **counts: int) -> dict[str, Any]:
    """The manifest of a prepared dataset."""
    return {"counts": THEIRS | counts, "config": {"split": {"kind": split}}}


RESULT = PublishedResult(name="Someone's", source="Someone 2020", metrics={"recall@20": 0.1})


def test_on_their_data(capsys: pytest.CaptureFixture[str]) -> None:
    config = EvaluateConfig(published=[RESULT], published_on=THEIRS)
    assert published_beside(config, prepared(raw_interactions=100_000)) == [RESULT]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("name", "count"), [("users", 944), ("train", 97_000), ("test", 0)])
def test_on_other_data_or_another_split(name: str, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    config = EvaluateConfig(published=[RESULT], published_on=THEIRS)
    assert published_beside(config, prepared(**{name: count})) == []
    line = f"theirs is another data set or another split, with {THEIRS[name]:,} {name} (here {count:,})"
    assert capsys.readouterr().out == f"published results are left out: {line}\n"


def test_on_a_sample_of_the_users(capsys: pytest.CaptureFixture[str]) -> None:
    assert published_beside(EvaluateConfig(published=[RESULT], published_on=THEIRS, max_users=500), prepared()) == []
    assert "theirs are of all users, and evaluate.max_users is 500" in capsys.readouterr().out


def test_without_a_word_about_their_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert published_beside(EvaluateConfig(published=[RESULT]), prepared()) == []
    assert "evaluate.published_on does not say on which data set" in capsys.readouterr().out


def test_nothing_published_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert published_beside(EvaluateConfig(), prepared()) == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("experiment", ["gowalla", "toys", "movielens_1m_leave_one_out"])
def test_every_recipe_says_on_what_its_peers_were_measured(experiment: str) -> None:
    evaluate = load([f"experiment={experiment}"]).evaluate
    assert evaluate.published
    assert set(evaluate.published_on) == {"users", "items", "train", "validation", "test"}
    assert evaluate.published_split is not None
    theirs = {"counts": evaluate.published_on, "config": {"split": {"kind": evaluate.published_split.value}}}
    assert published_beside(evaluate, theirs) == evaluate.published


@pytest.mark.parametrize("experiment", ["gowalla", "toys", "movielens_1m_leave_one_out"])
def test_another_protocol_on_their_data_shows_none(experiment: str, capsys: pytest.CaptureFixture[str]) -> None:
    evaluate = load([f"experiment={experiment}"]).evaluate
    assert evaluate.published_split is not None
    theirs = {"counts": evaluate.published_on, "config": {"split": {"kind": evaluate.published_split.value}}}
    assert published_beside(replace(evaluate, seen=SeenItems.keep), theirs) == []
    assert "theirs are by evaluate.seen=mask (here keep)" in capsys.readouterr().out
    assert published_beside(evaluate, theirs | {"config": {"split": {"kind": "temporal"}}}) == []
    said = f"theirs is another split, data.split.kind={evaluate.published_split.value} (here temporal)"
    assert said in capsys.readouterr().out


def test_at_a_cut_off_that_they_do_not_report(capsys: pytest.CaptureFixture[str]) -> None:
    both = [RESULT, replace(RESULT, name="Another's", metrics={"recall@10": 0.1, "ndcg@20": 0.1})]
    assert published_beside(EvaluateConfig(published=both, published_on=THEIRS, k=10), prepared()) == both[1:]
    assert capsys.readouterr().out == "published results are left out: Someone's has no metric at evaluate.k=10\n"


def test_a_count_that_there_is_not() -> None:
    with pytest.raises(ConfigError, match=r"^evaluate\.published_on: user is not counted; it may have users, items"):
        EvaluateConfig(published_on={"user": 3})
