"""What no index can store is refused with item and feature; what no filter can name is said."""

from pathlib import Path

import pyarrow as pa
import pytest

from conf.schema import load
from data.artifacts.folders import Folder
from data.dataset.preparation import prepare
from data.sources.entities import entity_table
from data.sources.schema import DataError, Feature, FeatureKind
from data.sources.values.limits import (
    MAX_CONTEXT_FEATURES,
    MAX_CONTEXT_NAME,
    MAX_FILTERED_FEATURES,
    MAX_ID_CHARACTERS,
    MAX_LIST_VALUES,
    MAX_STRING_BYTES,
    id_notes,
    limit_notes,
    refuse_contexts,
)
from serve.api.events.schemas import EventRequest
from serve.api.schemas import RecommendRequest

BRAND = Feature(name="brand", kind=FeatureKind.categorical)
TAGS = Feature(name="tags", kind=FeatureKind.multi_categorical)
WORDS = Feature(name="words", kind=FeatureKind.text)


def items(brand: str = "b", tags: list[str] | None = None) -> pa.Table:
    raw = {"item_id": ["x", "y", "z"], "brand": ["a", brand, None], "tags": [[], tags or ["t"], None]}
    return entity_table(pa.table(raw | {"words": [brand] * 3}), "item_id", (BRAND, TAGS, WORDS), "items.parquet")


@pytest.mark.parametrize("longest", ["c" * MAX_STRING_BYTES, "本" * 341, "😀" * 256])
def test_bytes_count_and_not_characters(longest: str) -> None:
    assert items(longest, [longest])["brand"].to_pylist()[1] == longest
    with pytest.raises(DataError, match=r"items\.parquet, feature 'brand': a value of item 'y' has 1,02\d bytes"):
        items(longest + "本")
    with pytest.raises(DataError, match=r"feature 'tags': a value of item 'y' has 1,02\d bytes in UTF-8: |UTF-8, and"):
        items(tags=["short", longest + "本"])


def test_values_that_filters_cannot_name_are_said() -> None:
    table = items("b" * 257)
    (long,) = limit_notes(table["item_id"].combine_chunks(), table, (BRAND, TAGS, WORDS))
    assert "'brand': 1 values have more than 256 characters, such as one of item 'y'" in long
    assert not limit_notes(table["item_id"].combine_chunks(), items(), (BRAND, TAGS, WORDS))


def test_lists_longer_than_an_index_stores_are_refused() -> None:
    tags = [f"t{n}" for n in range(MAX_LIST_VALUES + 1)]
    assert items(tags=tags[1:]).num_rows
    with pytest.raises(
        DataError, match=r"feature 'tags': item 'y' has 4,097 values, and an index stores 4,096 at most"
    ):
        items(tags=tags)


def test_more_features_than_an_index_stores_are_refused() -> None:
    filtered = [Feature(name=f"f{n}", kind=FeatureKind.categorical) for n in range(MAX_FILTERED_FEATURES + 1)]
    raw = pa.table({"item_id": ["x"], "words": ["w"]} | {feature.name: ["v"] for feature in filtered})
    assert entity_table(raw, "item_id", (*filtered[1:], WORDS), "items.parquet").num_rows
    with pytest.raises(
        DataError, match=r"items\.parquet: 63 item features .* stores 62 at most: .* the last one is 'f62'"
    ):
        entity_table(raw, "item_id", filtered, "items.parquet")
    users = raw.rename_columns(["user_id", *raw.column_names[1:]])
    assert entity_table(users, "user_id", filtered, "users.parquet").num_rows


def test_ids_longer_than_a_request_may_name_are_said() -> None:
    longest = "i" * MAX_ID_CHARACTERS
    RecommendRequest(user_id=longest)
    assert not id_notes("users", pa.array([longest]))
    with pytest.raises(ValueError, match="256"):
        RecommendRequest(user_id=longest + "i")
    assert "users: 1 ids have more than 256 characters" in id_notes("users", pa.array(["a", longest + "i"]))[0]


def test_ids_that_a_spreadsheet_has_rounded_are_said() -> None:
    assert not id_notes("items", pa.array(["1.5", "1e10", "v1.0E+0", "1.2E+3", "1.234567E+6", "1.23457E+1x"]))
    assert not id_notes("items", pa.array([], pa.string()))
    notes = id_notes("items", pa.array(["a", "1.23457E+18", "9.9e+17", "1.0"]))
    assert notes == [
        "items: 2 ids are rounded numbers, such as '1.23457E+18', as spreadsheets write long ones: each may stand for"
        " several ids; export the column as text"
    ]


def test_ids_in_requests_have_no_white_space_around_them() -> None:
    request = RecommendRequest(user_id=" u1 ", history=["i1\t"], context={"channel": " app"})
    assert (request.user_id, request.history, request.context) == ("u1", ["i1"], {"channel": "app"})
    with pytest.raises(ValueError, match="at least 1 character"):
        RecommendRequest(user_id=" ")


def test_context_that_no_request_can_name_is_refused() -> None:
    names = [f"c{n}" for n in range(MAX_CONTEXT_FEATURES)]
    longest = "c" * MAX_CONTEXT_NAME
    for model, others in ((RecommendRequest, {}), (EventRequest, {"event_id": "e", "user_id": "u", "item_id": "i"})):
        fields = others and others | {"type": "click"}
        for taken in (names, [longest]):
            refuse_contexts(taken, "log.csv")
            model.model_validate(fields | {"context": dict.fromkeys(taken, "x")})
        for given in ([*names, "last"], [longest + "c"]):
            with pytest.raises(ValueError, match="context"):
                model.model_validate(fields | {"context": dict.fromkeys(given, "x")})
    with pytest.raises(DataError, match=r"^log\.csv: 17 context features are named, .* 16 at most.* 'last'"):
        refuse_contexts([*names, "last"], "log.csv")
    with pytest.raises(DataError, match=r"^log\.csv: the context feature 'c+' has 65 characters"):
        refuse_contexts([longest + "c"], "log.csv")


@pytest.mark.usefixtures("ray_session")
def test_preparation_refuses_such_a_log_before_it_reads_it(tmp_path: Path) -> None:
    names = [f"c{n}" for n in range(MAX_CONTEXT_FEATURES + 1)]
    path = tmp_path / "log.csv"
    path.write_text(f"user_id,item_id,time,{','.join(names)}\nu,i,1767225600,{','.join('x' * len(names))}\n")
    config = load(["data=csv", f"data.source.interactions={path}", f"data.source.columns.context=[{','.join(names)}]"])
    with pytest.raises(DataError, match=r"log\.csv: 17 context features are named"):
        prepare(config.data, Folder.of(str(tmp_path / "var")))
