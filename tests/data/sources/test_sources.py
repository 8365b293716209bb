"""The survey learns ids and times in one pass, and names each fault with column, count and example."""

from collections.abc import Iterator
from functools import partial

import pyarrow as pa
import pytest
import ray

from data.sources.schema import RAW_INTERACTIONS, DataError
from data.sources.source import RawLog, in_blocks, raw_block, read_in_parts
from data.sources.survey import survey

needs_ray = pytest.mark.usefixtures("ray_session")


def log_of(**columns: list) -> RawLog:
    sound = {"user_id": ["a", "b"], "item_id": ["x", "y"], "time": [1, 2], "weight": [1.0, 1.0], "split": [None, None]}
    fields = {name: RAW_INTERACTIONS.field(name).type for name in sound}
    arrays = {name: pa.array((sound | columns)[name], kind) for name, kind in fields.items()}
    return RawLog(in_blocks(raw_block(**arrays, first_position=0), rows_per_block=1), None, None, place="log.csv")


@needs_ray
def test_survey_counts_over_all_blocks() -> None:
    log = log_of(user_id=["b", "a"], item_id=["x", "x"], time=[5, 5])
    found = survey(log)
    assert (found.user_ids.to_pylist(), found.item_ids.to_pylist()) == (["a", "b"], ["x"])
    assert ray.get(found.times.table).to_pylist() == [{"time": 5, "count": 2}]
    assert (found.num_interactions, found.num_left_out) == (2, 0)
    assert (found.user_counts.to_pylist(), found.item_counts.to_pylist()) == ([1, 1], [2])


@needs_ray
def test_survey_describes_what_is_kept_and_finds_faults_in_all() -> None:
    light = log_of(user_id=["a", "b"], item_id=["x", "y"], time=[5, 900], weight=[5.0, 1.0])
    found = survey(light, min_weight=4)
    assert (found.user_ids.to_pylist(), found.item_ids.to_pylist()) == (["a"], ["x"])
    assert ray.get(found.times.table).to_pylist() == [{"time": 5, "count": 1}]
    assert (found.num_interactions, found.num_left_out) == (1, 1)
    with pytest.raises(DataError, match=r"data\.min_weight: 6 leaves no interaction: lower it"):
        survey(light, min_weight=6)
    with pytest.raises(DataError, match=r"user_id is missing in 1 of 2"):
        survey(log_of(user_id=["a", None], weight=[5.0, 1.0]), min_weight=4)
    with pytest.raises(DataError, match=r"weight is not a finite number in 1 of 2"):
        survey(log_of(weight=[5.0, float("nan")]), min_weight=4)


@needs_ray
@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"user_id": ["a", None]}, r"user_id is missing in 1 of 2 rows, first at position 1 .*item_id 'y'"),
        ({"item_id": ["", None]}, r"item_id is missing in 2 of 2 rows, first at position 0"),
        ({"time": [1, None]}, r"time is missing or cannot be read .*user_id 'b', item_id 'y'"),
        ({"time": [-3, 2]}, r"time is negative .* 1 of 2 rows, first at position 0 \(time -3, user_id 'a'"),
        (
            {"time": [1, 1767225600000]},
            r"time lies past the year 9999 \(seconds are due, not milliseconds: set data\.source\.time_unit",
        ),
        ({"weight": [float("nan"), float("inf")]}, r"weight is not a finite number in 2 of 2 rows.*weight nan"),
        ({"weight": [1.0, None]}, r"weight is not a finite number in 1 of 2"),
        ({"split": ["train", "holdout"]}, r"split is none of .* 1 of 2 rows.*'holdout'"),
        ({name: [] for name in ("user_id", "item_id", "time", "weight", "split")}, r"no interactions"),
    ],
)
def test_survey_names_each_fault_with_count_and_example(columns: dict[str, list], message: str) -> None:
    with pytest.raises(DataError, match=r"^log\.csv: .*" + message):
        survey(log_of(**columns))


@needs_ray
def test_what_a_part_cannot_read_is_named_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    def part(number: int) -> Iterator[pa.Table]:
        yield raw_block(user_id=pa.array(["a"]), item_id=pa.array(["x"]), time=pa.array([1]), first_position=number)
        if number:
            raise DataError(f"part-{number}.csv: line {number} is torn: mend it")

    log = RawLog(read_in_parts([partial(part, number) for number in range(6)]), None, None)
    message = "^" + "; ".join(rf"part-{n}\.csv: line {n} is torn: mend it" for n in (1, 2, 3)) + "; and 2 more faults$"
    with pytest.raises(DataError, match=message):
        survey(log)
    assert "Traceback" not in "".join(capfd.readouterr())


@needs_ray
def test_a_storage_that_does_not_answer_is_named_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    def silent() -> Iterator[pa.Table]:
        yield raw_block(user_id=pa.array(["a"]), item_id=pa.array(["x"]), time=pa.array([1]), first_position=0)
        raise OSError("AWS Error SLOW_DOWN")

    with pytest.raises(DataError, match=r"reading failed \(AWS Error SLOW_DOWN\): if the storage did not answer, "):
        survey(RawLog(read_in_parts([silent]), None, None))
    assert "Traceback" not in "".join(capfd.readouterr())
