"""The map of items: each item is drawn, and in a group that says what it is."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.viewer.reading.item_map import MARKED, REST, ItemMap, item_map


def drawn(values: list[Any], is_number: bool, history: tuple[str, ...] = ()) -> ItemMap:
    """The map of items with these values of the feature `f`, by whose values they are coloured."""
    ids = [f"i{n}" for n in range(len(values))]
    kind = SimpleNamespace(is_filterable=True, is_number=is_number)
    rows = SimpleNamespace(rows=lambda of: np.array([ids.index(id_) + 1 for id_ in of.to_pylist()], dtype=np.int64))
    table = pa.table({"f": pa.array(values, pa.float64() if is_number else pa.string())})
    items = SimpleNamespace(features=[SimpleNamespace(name="f", kind=kind)], table=table, ids=rows)
    catalogue: Any = SimpleNamespace(
        items=items, history=lambda user_id: list(history),
        items_of=lambda of: [SimpleNamespace(id=ids[row - 1], title="") for row in of],
    )  # fmt: skip
    vectors = np.random.default_rng(0).normal(size=(len(ids) + 1, 4)).astype(np.float32)
    opened: Any = SimpleNamespace(item_vectors_ID=vectors, user_vector=lambda user_id: vectors[1])
    return item_map(opened, catalogue, 10_000, "f", user_id="u")


def num_drawn(found: ItemMap) -> int:
    return len({point.says for group in found.groups.values() for point in group})


def test_numbers_that_differ_in_their_last_digits_are_all_drawn() -> None:
    found = drawn(np.linspace(1.7e9, 1.7e9 + 400, 1000).tolist(), is_number=True)
    assert [len(group) for group in found.groups.values()] == [250] * 4
    assert list(found.groups)[0] == "1700000000 to 1700000100"


@pytest.mark.parametrize("name", [REST, *MARKED])
def test_a_value_with_the_name_of_another_group_keeps_its_items(name: str) -> None:
    values = [name] * 30 + [f"g{n // 2}" for n in range(40)]
    found = drawn(values, is_number=False, history=("i69",))
    assert num_drawn(found) == len(values)
    assert len(found.groups[f"f: {name}"]) == 30
    assert len(found.groups[REST]) == 40 - 5 * 2
    assert (len(found.marked["history"]), len(found.marked["user"])) == (1, 1)


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=30))
def test_every_number_is_drawn_once(values: list[float | None]) -> None:
    found = drawn(values, is_number=True)
    assert sum(map(len, found.groups.values())) == num_drawn(found) == len(values)


@given(st.lists(st.sampled_from(["", "a", "f: other", "f: user", *"cdefgh", REST, *MARKED]), min_size=1, max_size=60))
def test_every_text_is_drawn_once(values: list[str]) -> None:
    found = drawn(values, is_number=False)
    assert sum(map(len, found.groups.values())) == num_drawn(found) == len(values)
    assert not set(found.groups) & set(MARKED)
