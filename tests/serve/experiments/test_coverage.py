"""Coverage: whether a release on trial recommends fewer distinct items than chance gives it."""

import numpy as np
import pyarrow as pa
import pytest

from serve.experiments.assignment import CONTROL
from serve.experiments.canary_analysis import GuardConfig, find_regressions
from serve.experiments.coverage import p_of_narrower
from tests.serve.experiments.answered import answered

POPULAR = [f"popular{n}" for n in range(10)]


def lists(num_answers: int, num_personal: int, of: str) -> list[list[str]]:
    """Answers of ten items, of which some are a user's own and all others the same."""
    personal = [[f"{of}{user}-{n}" for n in range(10)] for user in range(num_personal)]
    return personal + [POPULAR] * (num_answers - num_personal)


def faults(trial: list[list[str]], control: list[list[str]]) -> list[str]:
    return find_regressions(GuardConfig(), pa.concat_tables([answered("new", trial), answered(CONTROL, control)]))


def test_few_personal_answers_that_fall_on_one_side_are_chance() -> None:
    assert faults(lists(200, 2, "a"), lists(200, 6, "b")) == []
    assert faults(lists(200, 0, "a"), lists(200, 2, "b")) == []


def test_a_release_that_has_lost_its_personal_answers_is_found() -> None:
    assert faults(lists(200, 2, "a"), lists(200, 100, "b")) == ["new: 30 distinct items in 200 answers, control 1,010"]
    assert faults(lists(200, 0, "a"), lists(4000, 2000, "b")), "of unequal sides too"


@pytest.mark.parametrize(("num_trial", "num_control"), [(2, 6), (0, 4), (3, 3), (0, 12)])
def test_the_p_value_is_that_of_drawing_the_personal_answers(num_trial: int, num_control: int) -> None:
    """The personal answers have a pair each, unless both of a pair are; each falls on one side or the other."""
    trial, control = lists(300, num_trial, "a"), lists(300, num_control, "b")[::-1]
    num_all = num_trial + num_control
    draws = np.random.default_rng(1).binomial(num_all, 0.5, 100_000)
    p = p_of_narrower(pa.array(trial), pa.array(control))
    assert p == pytest.approx(float((draws <= num_trial).mean()), abs=0.03)
    assert p == p_of_narrower(pa.array(trial), pa.array(control)), "always the same"
