"""Times of any type and unit become unix seconds, and what is no time becomes null."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.sources.values.times import TimeUnit, seconds


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)),
    st.sampled_from(["T", " "]),
    st.sampled_from([("", 0), ("Z", 0), ("+00:00", 0), ("+02:00", 7200), ("-0530", -19800)]),
)
def test_iso_text_is_read_as_python_reads_it(moment: datetime, between: str, zone: tuple[str, int]) -> None:
    text = moment.isoformat(between) + zone[0]
    expected = int(moment.replace(microsecond=0, tzinfo=UTC).timestamp()) - zone[1]
    assert seconds(pa.chunked_array([[text]])).to_pylist() == [expected]


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
    assert seconds(pa.chunked_array([column])).to_pylist() == expected


@pytest.mark.parametrize(("text", "read"), [("1.57E+09", None), ("2e9", None), ("1.569888007e9", 1_569_888_007)])
def test_a_number_that_has_lost_digits_is_no_time(text: str, read: int | None) -> None:
    assert seconds(pa.chunked_array([[text, "5"]])).to_pylist() == [read, 5]
    assert seconds(pa.chunked_array([["1.569888e+18"]]), TimeUnit.ns).to_pylist() == [1_569_888_000]


@pytest.mark.parametrize(
    "text",
    [
        "2019-10-01 00:00:07 UTC",
        "2019-10-01 00:00:07 gmt",
        "2019-10-01t00:00:07z",
        "2019-10-01 00:00:07.123 +0000 UTC",
        "2019-10-01T02:00:07+02:00[Europe/Berlin]",
        "2019-10-01T00:00:07Z[UTC]",
    ],
)
def test_a_zone_may_be_named(text: str) -> None:
    assert seconds(pa.chunked_array([[text]])).to_pylist() == [1_569_888_007]


@pytest.mark.parametrize(
    "text",
    [
        "0x5d929c07",
        "0X10",
        "2019-10-01 00:00:07 CET",
        "2019-10-01 00:00 +02:00 UTC",
        "2019-10-01T02:00:07[America/New_York]",
    ],
)
def test_what_is_ambiguous_is_no_time(text: str) -> None:
    assert seconds(pa.chunked_array([[text, "7"]])).to_pylist() == [None, 7]


@pytest.mark.parametrize(
    ("unit", "values", "expected"),
    [
        (TimeUnit.ms, [1_569_888_007_999, -1, None], [1_569_888_007, -1, None]),
        (TimeUnit.us, [1_569_888_007_999_999], [1_569_888_007]),
        (TimeUnit.ns, [1_700_000_000_000_000_000], [1_700_000_000]),
        (TimeUnit.days, [18_170, 10**15, -3], [1_569_888_000, 86_400 * 10**9, -3 * 86_400]),
        (TimeUnit.days, [-(2**63), -(10**15), None], [-86_400 * 10**9, -86_400 * 10**9, None]),
        (TimeUnit.ns, [-(2**63), 2**63 - 1], [-9_223_372_037, 9_223_372_036]),
    ],
)
def test_numbers_count_units(unit: TimeUnit, values: list, expected: list) -> None:
    assert seconds(pa.chunked_array([values]), unit).to_pylist() == expected
    text = pa.chunked_array([[None if value is None else str(value) for value in values]])
    assert seconds(text, unit).to_pylist() == expected


def test_days_have_fractions_and_dates_have_no_unit() -> None:
    assert seconds(pa.chunked_array([[18_170.5]]), TimeUnit.days).to_pylist() == [1_569_888_000 + 43_200]
    assert seconds(pa.chunked_array([["2019-10-01", "18170"]]), TimeUnit.days).to_pylist() == [1_569_888_000] * 2


@pytest.mark.parametrize(("kind", "most"), [(pa.float32(), 2**24 - 1), (pa.float16(), 2**11 - 1)])
def test_times_in_floats_that_are_too_short_are_none(kind: pa.DataType, most: int) -> None:
    values = pa.array([float(most), most + 1.0, -most - 1.0, None]).cast(kind)
    for unit in (TimeUnit.s, TimeUnit.days):
        found = seconds(pa.chunked_array([values]), unit).to_pylist()
        assert found[0] is not None and found[1:] == [None] * 3


def test_unsigned_integers_too_large_to_be_times_are_none() -> None:
    column = pa.chunked_array([pa.array([7, 2**63 + 7], pa.uint64())])
    assert seconds(column).to_pylist() == [7, None]
