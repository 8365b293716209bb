"""More text than one Arrow array of `string` holds: from the survey of a log to the rows of its ids and back.

That is 2 GiB, some 60 million ids; here it is a few bytes, by a smaller limit.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data.artifacts.folders import Folder
from data.dataset.catalogue import Catalogue
from data.dataset.catalogue_update import updated
from data.dataset.preparation import _catalogue
from data.dataset.vocabulary import SharedRows, Vocabulary, fit_vocabulary
from data.sources.entities import check_distinct, entity_table
from data.sources.schema import DataError, Feature
from data.sources.source import raw_block
from data.sources.survey import _counted, _merged, _survey_block
from data.sources.text_vectors.texts import texts_of
from data.sources.values import columns
from data.sources.values.columns import fitting, in_one, totals, whole
from data.sources.values.limits import limit_notes, refuse_long_values
from serve.filters.masks import ValueColumn
from towers.model.features import FeatureEncoder


@pytest.fixture
def small_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "MOST_BYTES", 10)


@pytest.mark.usefixtures("small_arrays")
def test_text_is_as_wide_as_it_must_be() -> None:
    few, many = pa.array(["a", None, "bcd"]), pa.array(["0123456789"], pa.large_string())
    assert in_one(few).equals(few) and in_one(few.cast(pa.large_string())).equals(few)
    assert in_one(many).type == pa.string() and fitting().type == pa.string()
    assert in_one(few, many).type == pa.large_string()
    assert in_one(few, many).to_pylist() == ["a", None, "bcd", "0123456789"]
    lists = pa.chunked_array([[["0123"], None], [["4567", "89", "a"]]])
    assert in_one(lists.slice(0, 2)).type == pa.list_(pa.string())
    assert whole(lists).type == pa.list_(pa.large_string()) and whole(lists).to_pylist() == lists.to_pylist()
    assert whole(pa.chunked_array([[1], [2]]), pa.chunked_array([[3.0]])).equals(pa.array([1, 2, 3]))


def test_totals_are_those_of_grouping(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    ids = [*random.integers(0, 20, 99).astype(str).tolist(), None]
    given = pa.chunked_array([ids[:50], ids[50:]], pa.large_string()), pa.chunked_array([random.integers(1, 9, 100)])
    found = []
    for most in (columns.MOST_BYTES, 10):
        monkeypatch.setattr(columns, "MOST_BYTES", most)
        values, counts = totals(*given)
        assert pa.types.is_large_string(values.type) == (most == 10)
        found.append(dict(zip(values.to_pylist(), counts.to_pylist(), strict=True)))
    assert found[0] == found[1] and None in found[0]


@pytest.mark.usefixtures("small_arrays")
def test_the_ids_of_many_blocks_are_counted() -> None:
    def block(users: list[str]) -> pa.Table:
        items, time = pa.array(["i1"] * len(users)), pa.array(range(len(users)), pa.int64())
        return _survey_block(raw_block(user_id=pa.array(users), item_id=items, time=time, first_position=0))

    merged = _merged(_merged(block(["user1", "user2"])), _merged(block(["user2", "user3"]), block(["user4"])))
    found = _counted(merged, "user_id").sort_by("user_id")
    assert found.to_pydict() == {"user_id": ["user1", "user2", "user3", "user4"], "count": [1, 2, 1, 1]}
    assert in_one(found["user_id"]).type == pa.large_string()
    assert in_one(_counted(merged, "item_id")["item_id"]).equals(pa.array(["i1"]))


@pytest.mark.usefixtures("small_arrays")
def test_a_vocabulary_finds_its_ids() -> None:
    vocabulary = Vocabulary.of(pa.array(["user2", "user1"]), pa.array(["user1", "user3"], pa.large_string()))
    assert vocabulary.values.type == pa.large_string()
    wanted = pa.array(["user3", "nobody", "user1", None])
    assert vocabulary.rows(wanted).tolist() == [3, 0, 1, 0]
    assert SharedRows.of(vocabulary).rows(pa.chunked_array([wanted])).tolist() == [3, 0, 1, 0]
    assert vocabulary.rows_by_id(["user3", "nobody"]) == [3, 0]
    assert vocabulary.ids(np.array([2, 0])).to_pylist() == ["user2", None]
    assert Vocabulary.of(pa.array(["user1"]), pa.array(["user1"])).values.type == pa.string(), "one fits"


@pytest.mark.usefixtures("small_arrays")
def test_a_catalogue_is_made_saved_and_updated(tmp_path: Path) -> None:
    features = (
        Feature(name="words", kind="text", min_count=2),
        Feature(name="colour", kind="categorical"),
        Feature(name="tags", kind="multi_categorical"),
    )
    given = {"item_id": ["item2", "item1"], "title": ["Second", None], "words": ["red shoes", "red hats"]}
    given |= {"colour": ["red", "blue"], "tags": ["summer|shoes", "winter"]}
    table = entity_table(pa.table(given), "item_id", features, "items.csv")
    made = _catalogue("item_id", table, pa.array(["item3", "item1"]), features)
    kinds = {name: made.table.schema.field(name).type for name in ("item_id", "title", "words", "colour")}
    assert kinds == dict.fromkeys(("item_id", "title", "words"), pa.large_string()) | {"colour": pa.string()}
    made.save(Folder.of(str(tmp_path)), "items")
    manifest = [{"name": "words", "kind": "text", "min_count": 2}, {"name": "colour", "kind": "categorical"}]
    manifest.append({"name": "tags", "kind": "multi_categorical"})
    read = Catalogue.load(Folder.of(str(tmp_path)), "items", "item_id", manifest)
    assert read.table["title"].to_pylist() == ["item1", "Second", "item3"]
    assert read.ids.rows(pa.array(["item3", "item1"])).tolist() == [3, 1]
    assert fit_vocabulary(read.table["words"], features[0]).values.to_pylist() == ["red"]
    assert read.table["tags"].type == pa.list_(pa.large_string())
    assert read.table["tags"].to_pylist() == [["winter"], ["summer", "shoes"], None]
    assert ValueColumn(whole(read.table["tags"])).has_any(["summer"]).tolist() == [False, True, False]
    encoder = FeatureEncoder.fit(read)
    assert encoder.vocabularies["tags"].values.to_pylist() == ["shoes", "summer", "winter"]
    assert encoder.encode(read.table).bags["tags"].tolist() == [[0, 0], [3, 0], [2, 1], [0, 0]]
    row = {"item_id": ["item3", "item4"], "title": [None, "Fourth"], "words": ["blue", "green"], "colour": ["red"] * 2}
    row |= {"tags": ["", "rain|snow"]}
    change = updated(read, entity_table(pa.table(row), "item_id", features, "rows"))
    assert change.items.table["title"].to_pylist() == ["item1", "Second", "item3", "Fourth"]
    assert (change.added.to_pylist(), change.changed.to_pylist()) == (["item4"], ["item3"])
    assert change.items.table["tags"].to_pylist() == [["winter"], ["summer", "shoes"], [], ["rain", "snow"]]
    assert change.items.table.schema.names == read.table.schema.names


@pytest.mark.usefixtures("small_arrays")
def test_what_looks_at_all_ids_and_texts_takes_them() -> None:
    ids = pa.chunked_array([["user1", "user2"], ["user1"]])
    with pytest.raises(DataError, match="1 values of user_id stand in more than one row, such as 'user1' in 2"):
        check_distinct(ids, "user_id", "users.csv")
    colour = Feature(name="colour", kind="categorical")
    items = pa.table({"colour": pa.chunked_array([["x" * 9], ["y" * 600]])})
    (note,) = limit_notes(pa.array(["item1", "item2"]), items, [colour])
    assert "1 values have more than 256 characters, such as one of item 'item2'" in note
    tags = Feature(name="tags", kind="multi_categorical")
    lists = pa.chunked_array([[["x"], ["x", "y"]], [["z", "y" * 600]]])
    ids = pa.array(["item1", "item2", "item3"])
    assert "such as one of item 'item3'" in limit_notes(ids, pa.table({"tags": lists}), [tags])[0]
    with pytest.raises(DataError, match="a value of item 'item3' has 2,000 bytes"):
        refuse_long_values(
            pa.chunked_array([ids]), pa.chunked_array([*lists.chunks[:1], [["z", "y" * 2000]]]), tags, ""
        )
    texts = texts_of(pa.table({"a": ["red", None], "b": pa.array([["s", "m"], ["l"]])}), ["a", "b"])
    assert texts.to_pylist() == ["red s m", "l"] and texts.type == pa.large_string()
