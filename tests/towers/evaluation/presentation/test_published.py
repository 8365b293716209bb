"""Published results stand beside a measurement on their own data set, and on no other."""

import pytest

from conf.schema import load
from data.artifacts.errors import ConfigError
from towers.evaluation.config import EvaluateConfig, PublishedResult
from towers.evaluation.presentation.published import published_beside

THEIRS = {"users": 943, "items": 1682, "train": 98_114, "validation": 943, "test": 943}
RESULT = PublishedResult(name="Someone's", source="Someone 2020", metrics={"recall@20": 0.1})


def test_on_their_data(capsys: pytest.CaptureFixture[str]) -> None:
    config = EvaluateConfig(published=[RESULT], published_on=THEIRS)
    assert published_beside(config, THEIRS | {"raw_interactions": 100_000}) == [RESULT]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("name", "count"), [("users", 944), ("train", 97_000), ("test", 0)])
def test_on_other_data_or_another_split(name: str, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    config = EvaluateConfig(published=[RESULT], published_on=THEIRS)
    assert published_beside(config, THEIRS | {name: count}) == []
    line = f"theirs is another data set or another split, with {THEIRS[name]:,} {name} (here {count:,})"
    assert capsys.readouterr().out == f"published results are left out: {line}\n"


def test_on_a_sample_of_the_users(capsys: pytest.CaptureFixture[str]) -> None:
    assert published_beside(EvaluateConfig(published=[RESULT], published_on=THEIRS, max_users=500), THEIRS) == []
    assert "theirs are of all users, and evaluate.max_users is 500" in capsys.readouterr().out


def test_without_a_word_about_their_data(capsys: pytest.CaptureFixture[str]) -> None:
    assert published_beside(EvaluateConfig(published=[RESULT]), THEIRS) == []
    assert "evaluate.published_on does not say on which data set" in capsys.readouterr().out


def test_nothing_published_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert published_beside(EvaluateConfig(), THEIRS) == []
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("experiment", ["gowalla", "toys", "movielens_1m_leave_one_out"])
def test_every_recipe_says_on_what_its_peers_were_measured(experiment: str) -> None:
    evaluate = load([f"experiment={experiment}"]).evaluate
    assert evaluate.published
    assert set(evaluate.published_on) == {"users", "items", "train", "validation", "test"}


def test_a_count_that_there_is_not() -> None:
    with pytest.raises(ConfigError, match=r"^evaluate\.published_on: user is not counted; it may have users, items"):
        EvaluateConfig(published_on={"user": 3})
