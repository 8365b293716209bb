"""Two sets of lists beside each other, the variants of an experiment, and the plane of the map."""

import numpy as np
import pytest

from serve.viewer.reading.comparison import KnownItems, Place, compared, places
from serve.viewer.reading.projection import Projection
from serve.viewer.reading.variants import difference, percentile_interval, share_interval

NOTHING = KnownItems({}, 0)


def test_places() -> None:
    assert places(["a", "b"], ["b", "c"]) == [Place("a", 1, None), Place("b", 2, 1)]


def test_compared_by_hand() -> None:
    known = KnownItems({"a": 10, "b": 4}, num_items=10)
    found = compared(["u", "v"], [["a", "b"], ["a", "c"]], [["b", "a"], ["d", "e"]], known, known)
    assert found.overlap == 0.5  # 1 and 0
    assert found.interval == (0.0, 1.0)
    assert (found.one.distinct, found.one.coverage, found.one.popularity) == (3, 0.3, 6.0)
    assert found.other.popularity == 3.5
    assert found.most_different == [("v", 0.0), ("u", 1.0)]
    assert found.histogram == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]


def test_each_side_is_measured_by_its_own_catalogue() -> None:
    one, other = KnownItems({"a": 8}, 4), KnownItems({"a": 2, "new": 6}, 20)
    found = compared(["u"], [["a"]], [["a", "new"]], one, other)
    assert (found.one.coverage, found.one.popularity) == (0.25, 8.0)
    assert (found.other.coverage, found.other.popularity) == (0.1, 4.0)


def test_an_overlap_of_three_tenths_is_in_the_class_from_there_on() -> None:
    ten = [str(n) for n in range(10)]
    assert compared(["u"], [ten], [[*ten[:3], *"abcdefg"]], NOTHING, NOTHING).histogram[3] == 1


def test_lists_of_other_lengths_and_empty_ones() -> None:
    assert compared(["u"], [["a", "b"]], [["a"]], NOTHING, NOTHING).overlap == 0.5
    assert compared(["u"], [[]], [[]], NOTHING, NOTHING).overlap == 1.0
    assert compared([], [], [], NOTHING, NOTHING).num_users == 0


def test_the_interval_of_a_share() -> None:
    assert share_interval(0, 0) == (0.0, 0.0, 1.0)
    share, low, high = share_interval(5, 100)
    assert share == 0.05
    assert (low, high) == pytest.approx((0.0215, 0.1118), abs=1e-4)  # Wilson, as tables give it


def test_the_difference_of_two_shares() -> None:
    found = difference(share_interval(56, 70), share_interval(48, 80))
    assert found == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)  # Newcombe 1998, table II


def test_the_interval_of_a_percentile() -> None:
    values = np.arange(1.0, 101.0)
    assert percentile_interval(values, 0.5) == (50.5, 40.0, 61.0)
    assert percentile_interval(values, 0.95)[1:] == (90.0, None)  # the 101st of 100 values is not there
    assert percentile_interval(values[:0], 0.5) == (None, None, None)


def test_the_plane_has_the_directions_of_most_variance() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(500, 8)).astype(np.float32) * np.array([0.1, 5, 0.1, 2, 0.1, 0.1, 0.1, 0.1])
    plane = Projection.of(vectors + 7)
    assert np.abs(plane.axes_2D).argmax(1).tolist() == [1, 3]
    assert plane(vectors + 7).mean(0) == pytest.approx([0, 0], abs=1e-4)
    assert sum(plane.explained) > 0.99


@pytest.mark.parametrize("shape", [(1, 4), (3, 1), (2, 2)])
def test_a_plane_of_few_vectors(shape: tuple[int, int]) -> None:
    assert Projection.of(np.ones(shape, dtype=np.float32))(np.ones(shape, dtype=np.float32)).shape == (shape[0], 2)
