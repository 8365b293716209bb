"""Membership in sorted numbers is that of numpy.isin."""

import numpy as np
import pytest

from data.sequences.membership import is_among


@pytest.mark.parametrize("wanted", [[], [3], [1, 4, 4, 9], [-5, 0, 100]])
@pytest.mark.parametrize("shape", [(0,), (7,), (3, 5)])
def test_it_is_that_of_numpy(wanted: list[int], shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).integers(-6, 12, shape)
    ascending = np.array(wanted, dtype=np.int64)
    assert is_among(values, ascending).tolist() == np.isin(values, ascending).tolist()
