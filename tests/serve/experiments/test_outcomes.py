"""Outcomes of any Arrow type join with exposures; what is no finite number is refused."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.sources.schema import DataError
from serve.experiments.analysis import analyse
from serve.experiments.analysis_table import analysis_table
from serve.experiments.assignment import CONTROL
from serve.experiments.outcomes import read_outcomes


def written(tmp_path: Path, request_id: Any, value: Any) -> str:
    pq.write_table(pa.table({"request_id": request_id, "value": value}), tmp_path / "outcomes.parquet")
    return str(tmp_path / "outcomes.parquet")


@pytest.mark.parametrize(
    "request_id",
    [
        pa.array(["1", " 2"]),
        pa.array(["1", "2"], pa.large_string()),
        pa.array(["1", "2"]).dictionary_encode(),
        pa.array([1, 2]),
        pa.array([1.0, 2.0]),
    ],
)
def test_ids_of_any_type_meet(tmp_path: Path, request_id: pa.Array) -> None:
    found = read_outcomes(written(tmp_path, request_id, pa.array([True, False])))
    assert found.to_pylist() == [{"request_id": "1", "value": 1.0}, {"request_id": "2", "value": 0.0}]


@pytest.mark.parametrize(
    ("request_id", "value", "message"),
    [
        (["1", "2"], [1.0, float("nan")], "column 'value': 1 of 2 values are not finite, first nan in row 2"),
        (["1", "2"], [None, 1.0], "column 'value': 1 of 2 values are not finite, first None in row 1"),
        (["1", "2"], [float("inf")] * 2, "column 'value': 2 of 2 values are not finite, first inf in row 1"),
        (
            ["1", "2"],
            [1e100, -1e200],
            "column 'value': 1 of 2 values are not between -1e+100 and 1e+100, so that their sums",
        ),
        (["1", "2"], [1.7e308, 1.7e308], "sums and squares are finite, first 1.7e+308 in row 1: correct it, or remove"),
        (["1", "2"], ["1", "clicked"], "column 'value': 'clicked' in row 2 is not a number"),
        (["1", None], [1, 1], "column 'request_id': 1 of 2 values are not an id"),
        ([1.5, 1.0], [1, 1], "column 'request_id': 1.5 in row 1 is not an exact whole number"),
        ([["1"], ["2"]], [1, 1], "column 'request_id': ids must be strings or integers, not list"),
    ],
)
def test_faults_are_one_line(tmp_path: Path, request_id: list, value: list, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_outcomes(written(tmp_path, request_id, value))
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_how_many_outcomes_met_a_request_is_said() -> None:
    exposures = pa.table({"user": ["a", "b"], "variant": [CONTROL, "b"], "request_id": ["1", "2"]})
    exposures = exposures.append_column("experiment", pa.array(["one"] * 2))
    shares = {CONTROL: 0.5, "b": 0.5}
    some = analyse("one", exposures, pa.table({"request_id": ["1", "elsewhere"], "value": [1.0, 1.0]}), shares)
    assert "1 of 2 outcomes are of its requests" in str(analysis_table(some).caption)
    none = analyse("one", exposures, pa.table({"request_id": ["1.0", "2.0"], "value": [1.0, 1.0]}), shares)
    assert "NONE of 2 outcomes are of its requests" in str(analysis_table(none).caption)
    assert (none.as_json()["outcomes"], none.as_json()["outcomes_met"]) == (2, 0)


def in_parts(tmp_path: Path, **parts: pa.Table) -> str:
    for name, part in parts.items():
        pq.write_table(part, tmp_path / f"{name}.parquet")
    return str(tmp_path)


def part(request_id: Any, value: Any) -> pa.Table:
    return pa.table({"request_id": request_id, "value": value})


def test_each_part_is_read_in_types_of_its_own(tmp_path: Path) -> None:
    parts = {
        "a": part(["1"], pa.array([3])),
        "b": part([2], pa.array([1.5])),
        "c": part(pa.array(["3"]).dictionary_encode(), pa.array(["0.25"])),
        "d": part([], pa.nulls(0)),
    }
    (tmp_path / "e.parquet").write_bytes(b"")
    found = read_outcomes(in_parts(tmp_path, **parts))
    assert found.to_pydict() == {"request_id": ["1", "2", "3"], "value": [3.0, 1.5, 0.25]}


def test_a_part_without_a_value_is_named(tmp_path: Path) -> None:
    path = in_parts(tmp_path, a=part(["1"], pa.nulls(1)), b=part(["2"], pa.array([1])))
    with pytest.raises(
        DataError, match=r"a\.parquet, column 'value': 1 of 1 values are not finite, first None in row 1"
    ):
        read_outcomes(path)


def test_a_folder_can_give_the_value(tmp_path: Path) -> None:
    (tmp_path / "value=3").mkdir()
    pq.write_table(pa.table({"request_id": ["1", "2"]}), tmp_path / "value=3" / "a.parquet")
    assert read_outcomes(str(tmp_path)).to_pydict() == {"request_id": ["1", "2"], "value": [3.0, 3.0]}


def test_nothing_but_files_of_0_bytes_are_no_outcomes(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"")
    for path in (tmp_path, tmp_path / "a.parquet"):
        with pytest.raises(DataError, match="has 0 bytes, and is no Parquet file"):
            read_outcomes(str(path))
