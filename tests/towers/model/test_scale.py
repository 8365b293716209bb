"""Scales of numeric features: ordinary columns keep mean and deviation, and no value can spoil the others."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from towers.model.numbers.scale import MOST_DEVIATIONS, Scale

PRICES = np.array([5.5 + i for i in range(58)])


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).normal(50, 8, 20_000),
        np.random.default_rng(0).lognormal(3, 1, 20_000),
        np.random.default_rng(0).integers(0, 5, 2000),
        np.random.default_rng(0).random(2000) < 0.01,
        np.random.default_rng(0).poisson(0.3, 2000),
        PRICES,
        np.array([3.0]),
        np.array([1.7e12, 1.7e12 + 86_400_000]),
    ],
    ids=["normal", "log-normal", "uniform", "rare flag", "mostly zero", "prices", "one value", "unix milliseconds"],
)
def test_ordinary_columns_have_their_mean_and_deviation(values: np.ndarray) -> None:
    values = values.astype(np.float64)
    scale = Scale.of(values)
    assert scale.mean == pytest.approx(values.mean(), rel=1e-12)
    assert scale.std == pytest.approx(values.std() or 1.0, rel=1e-12)


@pytest.mark.parametrize("values", [[0.1] * 60, [0.1 + 0.2, 0.3] * 30, [1e300] * 7, [-5.0] * 3, [0.0] * 9])
def test_a_constant_column_has_deviation_1(values: list[float]) -> None:
    """By rounding, 60 times 0.1 has a deviation of 1.4e-17: a new item's price of 0.2 was 7e15 deviations away."""
    scale = Scale.of(np.array(values))
    assert scale.std == 1.0
    assert scale.mean == pytest.approx(values[0], rel=1e-12)
    assert scale.standardised(np.array([scale.mean + 0.1])).item() == 0.0


def test_what_was_never_seen_to_differ_says_nothing() -> None:
    """A weight that training multiplies by 0 is never trained: a new item's price would move it anywhere."""
    for column in ([0.1] * 60, [math.nan] * 3, []):
        scale = Scale.of(np.array(column, np.float64))
        assert scale.standardised(np.array([0.2, 500.0, -1e300, math.nan])).tolist() == [0.0] * 4
        assert Scale.of_json(json.loads(json.dumps(scale.as_json()))) == scale


@pytest.mark.parametrize(
    "extreme", [[1e300], [1.7e308, 1.7e308], [-1.7e308, 1.7e308], [1e6, -1e9], [1e300] * 10], ids=str
)
def test_extreme_values_do_not_spoil_the_others(extreme: list[float]) -> None:
    ordinary, scale = Scale.of(PRICES), Scale.of(np.concatenate([PRICES, extreme]))
    assert (scale.mean, scale.std) == (ordinary.mean, ordinary.std)
    found = scale.standardised(np.concatenate([PRICES, extreme]))
    assert found[: len(PRICES)].tolist() == ordinary.standardised(PRICES).tolist()
    assert found[len(PRICES) :].tolist() == [math.copysign(MOST_DEVIATIONS, value) for value in extreme]


def test_extreme_values_among_mostly_equal_ones() -> None:
    """More than half of the values are 0, so that the quartiles are 0: the fences come from the others."""
    values = np.array([0.0] * 70 + [1.0, 2.0, 3.0] * 10)
    ordinary, scale = Scale.of(values), Scale.of(np.append(values, 1e300))
    assert (scale.mean, scale.std) == (ordinary.mean, ordinary.std)


def test_two_values_beside_mostly_equal_ones() -> None:
    """Of the values that are not 1, half are extreme: their quartiles would be 2 and 1e300."""
    scale = Scale.of(np.array([1.0] * 50 + [2.0, 1e300]))
    assert (scale.mean, scale.std) == (pytest.approx(52 / 51), pytest.approx(np.std([1.0] * 50 + [2.0])))


def test_values_that_are_not_finite_are_missing() -> None:
    values = np.array([1.0, 3.0, math.nan, math.inf, -math.inf])
    scale = Scale.of(values)
    assert (scale.mean, scale.std) == (2.0, 1.0)
    assert scale.standardised(values).tolist() == [-1, 1, 0, 0, 0]
    assert Scale.of(np.array([math.nan])) == Scale.of(np.zeros(0)) == Scale(0.0, 1.0, 0.0)


@given(st.lists(st.floats(), max_size=20), st.lists(st.floats(), max_size=5))
def test_standardised_values_are_always_finite_and_within_the_limit(values: list[float], later: list[float]) -> None:
    scale = Scale.of(np.array(values, np.float64))
    found = scale.standardised(np.array(values + later, np.float64))
    assert (np.abs(found) <= MOST_DEVIATIONS).all()
    assert json.loads(json.dumps(scale.as_json(), allow_nan=False)) == scale.as_json()


def test_scales_come_back_and_those_of_before_are_not_clipped() -> None:
    scale = Scale(20.0, 2.0)
    assert Scale.of_json(scale.as_json()) == scale
    assert scale.standardised(np.array([60.0, -60.0])).tolist() == [10, -10]
    assert Scale.of_json([20.0, 2.0]).standardised(np.array([60.0])).tolist() == [20]
