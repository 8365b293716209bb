"""What the survey keeps of a log."""

import pyarrow as pa
import pytest

from data.sources.survey import above


@pytest.mark.parametrize("bound", [4.1, 3.7, 0.1, 4.3, 4.0])
def test_a_weight_that_is_the_bound_is_kept(bound: float) -> None:
    """Weights are float32, in which 4.1 is less than the float64 of this name."""
    block = pa.table({"weight": pa.array([bound, bound + 0.5, bound - 0.5], pa.float32())})
    assert above(block, bound)["weight"].to_pylist() == block["weight"].to_pylist()[:2]
    assert above(block, None) == block
