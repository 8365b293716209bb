"""What the survey keeps of a log, and how it puts together what it finds in blocks."""

import numpy as np
import pyarrow as pa
import pytest

from data.sources.schema import RAW_INTERACTIONS
from data.sources.source import EVENT_POSITIONS, fault_row, raw_block
from data.sources.survey import COUNTED, _counted, _merged, _survey_block
from data.sources.values.kept import above


@pytest.mark.parametrize("bound", [4.1, 3.7, 0.1, 4.3, 4.0])
def test_a_weight_that_is_the_bound_is_kept(bound: float) -> None:
    """Weights are float32, in which 4.1 is less than the float64 of this name."""
    weights = pa.array([bound, bound + 0.5, bound - 0.5], pa.float32())
    block = pa.table({"weight": weights, "position": [0, 1, 2]})
    assert above(block, bound)["weight"].to_pylist() == block["weight"].to_pylist()[:2]
    assert above(block, None) == block


def test_a_bound_of_weights_leaves_no_event_out() -> None:
    """Events of an endpoint come without a weight, and count as 1."""
    position = pa.array([0, 1, EVENT_POSITIONS, EVENT_POSITIONS + 1])
    block = pa.table({"weight": pa.array([5.0, 1.0, 1.0, None], pa.float32()), "position": position})
    assert above(block, 4.0)["position"].to_pylist() == [0, EVENT_POSITIONS, EVENT_POSITIONS + 1]


def test_blocks_are_put_together_in_any_groups() -> None:
    """What is found is what would be found in one block; blocks without a row bring nothing."""
    random = np.random.default_rng(0)

    def block(first: int, time: list[int | None]) -> pa.Table:
        users, items = (pa.array([f"{number}" for number in random.integers(0, 9, len(time))]) for _ in range(2))
        channels = pa.array([None if number % 3 == 0 else "app" for number in range(len(time))])
        return raw_block(
            user_id=users, item_id=items, time=pa.array(time, pa.int64()), context=[channels], first_position=first
        )

    raw = [block(0, [5, 6, 7, 5]), block(4, [5, None, -3]), RAW_INTERACTIONS.empty_table(), fault_row("no file", 9)]
    found = [_survey_block(table) for table in raw]
    whole, no_rows = _survey_block(pa.concat_tables(raw)), found[0].slice(0, 0)
    for merged in (_merged(*found), _merged(_merged(*found[:2], no_rows), _merged(no_rows), _merged(*found[2:]))):
        assert merged.schema.equals(whole.schema)
        for name in COUNTED:
            both = [_counted(of, name).sort_by(name).to_pylist() for of in (merged, whole)]
            assert both[0] == both[1]
        for name in ("num_interactions", "missing_context", "unreadable", "faults"):
            assert merged[name].to_pylist() == whole[name].to_pylist(), name
