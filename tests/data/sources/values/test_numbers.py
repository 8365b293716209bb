"""Vectors are read as they were written, whatever stands between their numbers."""

import pyarrow as pa
import pytest

from data.sources.values.numbers import vectors


@pytest.mark.parametrize(
    ("texts", "separator", "expected"),
    [
        (["[1 0 0 0]", "1 2 3", " [ 1.  -2e3\n 3] ", "5"], "|", [[1, 0, 0, 0], [1, 2, 3], [1, -2000, 3], [5]]),
        (["0.5|1", " 1 | 2 ", "1 2", "", None], "|", [[0.5, 1], [1, 2], [1, 2], None, None]),
        (["[0.5, 1]", "[1 ,2]", "1 2, 3"], "|", [[0.5, 1], [1, 2], None]),
        (["[[1, 2], [3, 4]]"], "|", [[1, 2, 3, 4]]),
        (["1  2", "1\t2"], " ", [[1, 2], [1, 2]]),
        (["1 2|3", "1||2", "1 x"], "|", [None, None, None]),
    ],
)
def test_vectors_in_text(texts: list[str | None], separator: str, expected: list) -> None:
    assert vectors(pa.chunked_array([pa.array(texts, pa.string())]), separator).to_pylist() == expected
