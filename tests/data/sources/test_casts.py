"""Columns of any type become canonical ones; what cannot be read becomes null."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.sources import casts
from data.sources.schema import DataError


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)),
    st.sampled_from(["T", " "]),
    st.sampled_from([("", 0), ("Z", 0), ("+00:00", 0), ("+02:00", 7200), ("-0530", -19800)]),
)
def test_iso_text_is_read_as_python_reads_it(moment: datetime, between: str, zone: tuple[str, int]) -> None:
    text = moment.isoformat(between) + zone[0]
    expected = int(moment.replace(microsecond=0, tzinfo=UTC).timestamp()) - zone[1]
    assert casts.seconds(pa.chunked_array([[text]])).to_pylist() == [expected]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([0, 978300760]), [0, 978300760]),
        (pa.array([1.9, float("nan"), float("inf"), None]), [1, None, None, None]),
        (pa.array([datetime(2026, 1, 1)], pa.timestamp("ns")), [1767225600]),
        (pa.array([datetime(2026, 1, 1)], pa.timestamp("us", "Europe/Berlin")), [1767225600]),
        (pa.array([datetime(2026, 1, 1).date()]), [1767225600]),
        (pa.array(["2026-01-01", "2026-02-30", "2026-13-01", "soon", "", None]), [1767225600] + [None] * 5),
        (pa.array(["12", " 13.7 ", "1e3", "-4"]), [12, 13, 1000, -4]),
        (pa.array([None, None]), [None, None]),
    ],
)
def test_times_of_any_type_become_seconds_and_what_is_no_time_becomes_null(column: pa.Array, expected: list) -> None:
    assert casts.seconds(pa.chunked_array([column])).to_pylist() == expected


def test_ids_keep_their_leading_zeros_and_integers_become_text() -> None:
    assert casts.ids(pa.chunked_array([["007", "7"]])).to_pylist() == ["007", "7"]
    assert casts.ids(pa.chunked_array([[7, 8]])).to_pylist() == ["7", "8"]
    assert casts.ids(pa.chunked_array([pa.array(["a", "a"]).dictionary_encode()])).to_pylist() == ["a", "a"]
    with pytest.raises(DataError, match="strings or integers, not double"):
        casts.ids(pa.chunked_array([[7.0]]))
