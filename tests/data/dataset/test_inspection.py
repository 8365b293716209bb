"""Ids that do not meet are refused or said, and so is an id with an implausible share of the log."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data.artifacts.folders import Folder
from data.dataset.coverage import Coverage, look_alike_notes, refuse_look_alikes
from data.dataset.inspection import cut_notes, dominance_notes, separator_notes
from data.dataset.interactions import context_notes
from data.dataset.schema import INTERACTIONS
from data.sources.schema import DataError, Feature, FeatureKind

PLAIN = [str(100_012 + n) for n in range(60)]


def coverage(log: list[str], table: list[str]) -> Coverage:
    return Coverage.of("items", pa.array(log, pa.string()), pa.array(table, pa.string()))


@pytest.mark.parametrize("form", ["{}.0", "00{}"])
def test_ids_that_never_meet_are_refused_with_an_example_of_each(form: str) -> None:
    with pytest.raises(DataError) as caught:
        coverage([form.format(id_) for id_ in PLAIN], PLAIN).check("log.csv")
    assert str(caught.value).startswith(
        f"log.csv: 60 of 60 items of the log have no row in items, such as '{form.format('100012')}'; 60 rows of items"
        " are not in the log, such as '100012' (60 would meet without leading zeros and '.0'): "
    )


def test_low_coverage_is_said_with_examples_and_high_coverage_in_numbers() -> None:
    few = coverage(PLAIN, [*PLAIN[:20], "cold"])
    few.check("log.csv")
    assert few.is_low
    assert coverage(PLAIN, PLAIN[:30]).is_low
    assert str(few) == (
        "40 of 60 items of the log have no row in items, such as '100032'; 1 rows of items are not in the log,"
        " such as 'cold'"
    )
    most = coverage(PLAIN, [*PLAIN[:50], "cold"])
    assert not most.is_low
    assert str(most) == "50 of 60 items of the log have a row in items; 1 rows of items are not in the log"
    assert str(coverage(["a"], ["a"])) == "1 of 1 items of the log have a row in items"


def test_one_id_in_two_forms_is_said() -> None:
    (note,) = look_alike_notes("items", pa.array(["1001", "1001.0", "0007", "7", "a", "b"]))
    assert note.startswith("2 ids of items are written in several ways, such as '1001' and '1001.0'")
    assert not look_alike_notes("items", pa.array(["1001", "1002", "0007", "a"]))


def test_a_new_item_is_no_known_one_in_another_form() -> None:
    known, none = pa.array(["1001", "a"]), pa.chunked_array([[]], pa.string())
    added = pa.chunked_array([["b", "1001.0"]])
    with pytest.raises(DataError, match=r"1 of 2 new items .* such as '1001\.0' from '1001'"):
        refuse_look_alikes(added, known, added)
    refuse_look_alikes(added, known, pa.chunked_array([["b", "1001.0", "1001"]]))
    refuse_look_alikes(pa.chunked_array([["b"]]), known, added)
    refuse_look_alikes(none, known, added)


def test_an_id_with_an_implausible_share_is_named() -> None:
    def notes(counts: dict[str, int]) -> list[str]:
        return dominance_notes("users", pa.array(counts.keys()), pa.array(counts.values(), pa.int64()))

    many = {f"u{n}": 24 for n in range(140)}
    (note,) = notes({"guest": 1500, **many})
    assert note.startswith("user 'guest' has 1,500 of 4,860 interactions (30.9%), 62 times as many as the fourth")
    assert len(notes({"guest": 1500, "anonymous": 1200, **many})) == 2
    assert len(notes({"unknown": 800, "-1": 800, **many})) == 2
    assert len(notes({"guest": 1500, "rare": 100, **many})) == 1
    assert len(notes({"NA": 320, **{f"u{n}": 1 + n % 6 for n in range(180)}})) == 1
    assert not notes({"guest": 29, **{f"u{n}": 1 for n in range(100)}})
    assert not notes({"guest": 170, **many})
    assert not notes({f"u{n}": 1000 // (n + 1) for n in range(200)}), "as Zipf has it"
    assert not notes({**{f"u{n}": 50 for n in range(15)}, "new": 3})
    assert not notes({"first": 1500, **{f"u{n}": 200 for n in range(20)}})
    assert not notes({"one": 5000, "two": 4000})


def test_lists_with_another_separator_than_the_sources_are_named() -> None:
    feature = Feature(name="tags", kind=FeatureKind.multi_categorical)

    def notes(*lists: list[str] | None) -> list[str]:
        return separator_notes("items", pa.table({"tags": pa.array(lists, pa.list_(pa.string()))}), (feature,))

    (note,) = notes(["a,b"], ["c"], ["d"], ["e"], ["f"], None)
    assert note.startswith("items, feature 'tags': no row has more than one value, and 1 of 5 values hold a comma or")
    assert "'a,b'" in note and "set data.source.multi_separator" in note
    assert not notes(["a,b"], ["c", "d"]) + notes(*[["c"]] * 5, ["a;b"]) + notes() + notes(None, [])


def test_values_and_words_that_are_cut_off_are_counted() -> None:
    tags = Feature(name="tags", kind=FeatureKind.multi_categorical, max_values=2)
    text = Feature(name="text", kind=FeatureKind.text, max_values=3)
    table = pa.table(
        {"tags": [["a", "b", "c"], ["a"], None], "text": ["one two three.", "one, two, three: four", None]}
    )
    for_tags, for_text = cut_notes("items", table, (tags, text))
    assert for_tags.startswith("items, feature 'tags': 1 of 3 rows have more than 2 values or words") and (
        for_text.startswith("items, feature 'text': 1 of 3 rows have more than 3 values or words")
    )
    assert "raise its max_values" in for_tags
    assert not cut_notes("items", table, (replace(tags, max_values=3), replace(text, max_values=4)))


def test_context_values_that_are_not_learned_from_are_counted(tmp_path: Path) -> None:
    values = [[f"v{n}", "app"] for n in range(64)] * 4
    values += [["rare", "app"], [None, None], ["other", "web"], ["v1", "web"]]
    num = len(values)
    columns = {
        field.name: pa.array(np.zeros(num, np.int64), field.type) for field in INTERACTIONS if field.name != "context"
    }
    folder = Folder.of(str(tmp_path))
    context = pa.array(values, INTERACTIONS.field("context").type)
    folder.write_table("interactions/split=train/part-00000.parquet", pa.table(columns | {"context": context}))
    (note,) = context_notes(folder, ("region", "channel"))
    assert note.startswith("context feature 'region': 64 of 66 values are known, the most frequent ones, and 0.8% of")
    assert not context_notes(folder, ())
