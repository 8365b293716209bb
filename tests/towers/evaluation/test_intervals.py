"""Bootstrap and sign flips: against the normal theory they must agree with, and with what they must not find."""

import itertools

import numpy as np
import pytest

from towers.evaluation.intervals import bootstrap_means, intervals, sign_flip_test


def sample(seed: int, size: int = 400, mean: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1, (size, 1))


def test_an_interval_is_two_standard_errors_wide() -> None:
    values = sample(0, 2000, 5.0)
    ((low, high),) = intervals(values, seed=0, resamples=2000)
    error = values.std() / 2000**0.5
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.15 * error)
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.08)


def test_95_percent_of_intervals_cover_the_truth() -> None:
    covered = [low <= 1.0 <= high for low, high in (intervals(sample(s, 100, 1.0), 0, 300)[0] for s in range(300))]
    assert 0.90 <= np.mean(covered) <= 0.98


def test_columns_share_their_draws_and_the_seed_settles_them() -> None:
    values = np.concatenate([sample(1), 2 * sample(1) + 1], axis=1)
    means = bootstrap_means(values, seed=3, resamples=250)
    assert means[:, 1] == pytest.approx(2 * means[:, 0] + 1, abs=1e-5)
    assert (means == bootstrap_means(values, seed=3, resamples=250)).all()
    assert (means != bootstrap_means(values, seed=4, resamples=250)).any()


def test_draws_that_are_held_one_at_a_time_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    together = bootstrap_means(sample(1), seed=3, resamples=50)
    monkeypatch.setattr("towers.evaluation.intervals.ENTRIES", 1)
    assert bootstrap_means(sample(1), seed=3, resamples=50) == pytest.approx(together, abs=1e-6)
    assert sign_flip_test(sample(2, mean=0.3), seed=0, flips=200)[0] == pytest.approx(1 / 201)


def test_p_is_the_share_of_all_sign_flips_by_hand() -> None:
    difference = np.array([[1.0], [2.0], [3.0], [-1.0], [0.5]])
    flips = itertools.product((-1, 1), repeat=5)
    exact = np.mean([abs(np.dot(signs, difference[:, 0])) >= 5.5 - 1e-9 for signs in flips])
    assert sign_flip_test(difference, seed=0, flips=20_000)[0] == pytest.approx(exact, abs=0.01)


def test_p_is_uniform_where_nothing_differs() -> None:
    """200 columns of noise: about a twentieth of the p values lie below .05."""
    noise = np.random.default_rng(0).normal(size=(300, 200))
    p = sign_flip_test(noise, seed=1, flips=1000)
    assert 0.01 <= (p < 0.05).mean() <= 0.1
    assert np.mean(p) == pytest.approx(0.5, abs=0.07)


def test_a_difference_is_found_and_equal_models_do_not_differ() -> None:
    p = sign_flip_test(np.concatenate([sample(2, mean=0.3), np.zeros((400, 1))], axis=1), seed=0, flips=1000)
    assert p[0] == pytest.approx(1 / 1001)
    assert p[1] == 1
