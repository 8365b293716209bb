"""Membership in sorted numbers is that of numpy.isin, and the distinct ones are those of numpy.unique."""

import numpy as np
import pytest

from data.sequences.membership import distinct, is_among


@pytest.mark.parametrize("wanted", [[], [3], [1, 4, 4, 9], [-5, 0, 100]])
@pytest.mark.parametrize("shape", [(0,), (7,), (3, 5)])
def test_it_is_that_of_numpy(wanted: list[int], shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(-6, 12, shape)
    ascending = np.array(wanted, dtype=np.int64)
    assert is_among(values, ascending).tolist() == np.isin(values, ascending).tolist()


@pytest.mark.parametrize("size", [0, 1, 2, 200])
def test_distinct_numbers_are_those_of_numpy(size: int) -> None:
    values = np.random.default_rng(size).integers(-6, 100, size)
    before = values.copy()
    assert distinct(values).tolist() == np.unique(values).tolist()
    assert values.tolist() == before.tolist(), "what is given stays as it is"
