"""Search by id and title."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.viewer.reading import text_search
from serve.viewer.reading.text_search import TextSearch

IDS = ["i1", "i10", "i2", "i20", "x1"]
TITLES = ["Silver River", "The Silver Lining", "Amélie", "River of i1", None]


@pytest.fixture
def search() -> TextSearch:
    return TextSearch(pa.array(IDS), pa.array(TITLES), np.array([1, 5, 2, 3, 4]))


def found(search: TextSearch, query: str, limit: int = 10) -> list[str]:
    return [IDS[row - 1] for row in search.find(query, limit).rows]


def test_the_best_come_first(search: TextSearch) -> None:
    assert found(search, "i1") == ["i1", "i10", "i20"]  # the id itself, ids that begin so, then the title with it
    assert found(search, "silver") == ["i1", "i10"]  # titles that begin so, before heavier ones that have it inside
    assert found(search, "river") == ["i20", "i1"]
    assert found(search, "river silver") == ["i1"]  # all words, in any order
    assert found(search, "nothing") == []


def test_accents_and_case_do_not_count(search: TextSearch) -> None:
    assert found(search, "AMELIE") == found(search, "amé") == ["i2"]


def test_an_empty_query_finds_the_heaviest(search: TextSearch) -> None:
    assert found(search, "  ", limit=3) == ["i10", "x1", "i20"]


def test_more_are_said(search: TextSearch) -> None:
    assert search.find("i", 2).has_more
    assert not search.find("i", 10).has_more
    assert search.find("", 4).has_more


def test_a_search_that_stops_says_so(search: TextSearch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_search, "MAX_LOOKED_AT", 1)
    result = search.find("river of", 10)
    assert result.has_more


def test_ids_in_any_order() -> None:
    search = TextSearch(pa.array(["b", "A", "c", "ab"]), None, np.array([1, 1, 1, 1]))
    assert search.find("a", 10).rows.tolist() == [2, 4]


def test_characters_of_control_are_no_boundaries() -> None:
    search = TextSearch(pa.array(["a", "b"]), pa.array(["x\ty", "y"]), np.array([2, 1]))
    assert search.find("y", 10).rows.tolist() == [2, 1]  # only the second title begins with it


@given(
    st.lists(st.text(alphabet="abé ", max_size=6), min_size=1, max_size=12),
    st.text(alphabet="abé", min_size=1, max_size=3),
)
def test_as_python_would_find(titles: list[str], query: str) -> None:
    ids = [f"q{n:02d}" for n in range(len(titles))]
    search = TextSearch(pa.array(ids), pa.array(titles), np.arange(len(titles)))
    fold = query.replace("é", "e")
    expected = {n + 1 for n, title in enumerate(titles) if fold in title.replace("é", "e") or fold in ids[n]}
    assert set(search.find(query, 100).rows.tolist()) == expected
