"""Lists and pairs are read alike, with the split and the attributes that come with them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from data.dataset.config import DataConfig
from data.sources.events import EventLogSource
from data.sources.interaction_lists import InteractionListsSource
from data.sources.schema import DataError
from data.sources.source import RawLog, SourceConfig
from data.sources.survey import survey
from data.sources.values.missing import SPELLINGS

needs_ray = pytest.mark.usefixtures("ray_session")
Written = Callable[..., Path]
Rows = Callable[[RawLog], list[dict[str, Any]]]


def fault_of(source: SourceConfig) -> str:
    """The message with which reading or surveying refuses the log."""
    with pytest.raises(DataError) as caught:
        survey(source.read())
    return str(caught.value)


@needs_ray
def test_lists_and_pairs_are_the_same_log(written: Written, rows: Rows) -> None:
    folder = written({"lists.txt": "u1 a b\nu2\nu3  c\t\n", "pairs.txt.gz": "u1 a\nu1 b\nu3 c\n"})
    lists, pairs = (InteractionListsSource(train=str(folder / name)).read() for name in ("lists.txt", "pairs.txt.gz"))
    assert rows(lists) == rows(pairs)
    assert [(r["user_id"], r["item_id"], r["time"], r["split"]) for r in rows(lists)] == [
        ("u1", "a", 0, None),
        ("u1", "b", 1, None),
        ("u3", "c", 2, None),
    ]


@needs_ray
def test_lists_with_their_own_split_and_attributes(written: Written, rows: Rows, tmp_path: Path) -> None:
    attributes = json.dumps({"a": ["1", "2"], "b": [], "c": ["x"], "d": ["y"]})
    files = {"train": "1 a b c\n2 a\n", "test": "1 d\n", "validation": "1 b\n", "item_attributes": attributes}
    paths = {name: str(written(files) / name) for name in files}
    source = InteractionListsSource(**paths)
    log = source.read()
    assert [(r["item_id"], r["split"]) for r in rows(log)] == [
        ("a", "train"),
        ("b", "validation"),
        ("c", "train"),
        ("a", "train"),
        ("d", "test"),
    ]
    assert log.items is not None
    assert dict(zip(*log.items.select(["item_id", "attributes"]).to_pydict().values(), strict=True))["a"] == ["1", "2"]
    assert log.items["title"].null_count == 4
    assert source.files() == list(paths.values())
    assert log.own_split == "data.source.test"
    assert EventLogSource(root=str(tmp_path), base=source, base_type="buy").read().own_split == "data.source.base.test"


@needs_ray
def test_lists_faults(written: Written) -> None:
    files = {"train.txt": "1 a\n", "test.txt": "1 b\n", "other.txt": "9 z\n", "list.json": "[1]", "empty.txt": "\n"}
    folder = written(files)
    train, test = str(folder / "train.txt"), str(folder / "test.txt")
    strange = InteractionListsSource(train=train, test=test, validation=str(folder / "other.txt"))
    assert "1 of 1 pairs are not in data.source.train, such as '9 z'" in fault_of(strange)
    assert "a JSON object" in fault_of(InteractionListsSource(train=train, item_attributes=str(folder / "list.json")))
    assert "no interactions" in fault_of(InteractionListsSource(train=str(folder / "empty.txt")))
    assert "data.source.train: no file" in fault_of(InteractionListsSource(train=str(folder / "none.txt")))
    with pytest.raises(ValueError, match=r"data\.source\.validation: needs data\.source\.test"):
        InteractionListsSource(train=train, validation=test)


def refusal(**places: str) -> str:
    with pytest.raises(DataError) as caught:
        InteractionListsSource(**places).read()
    return str(caught.value)


@needs_ray
def test_ids_that_stand_for_missing_ones_are_refused(written: Written, rows: Rows) -> None:
    folder = written(
        {"train.txt": "u1 a b\nnan a b\n", "items.txt": "u1 a NULL\n", "attributes": '{"a": ["nan", "x"]}'}
    )
    train = str(folder / "train.txt")
    assert "user_id is missing in 2 of 4 interactions, such as {'user_id': 'nan', 'item_id': 'a'}" in refusal(
        train=train
    )
    assert "item_id is missing in 1 of 2 interactions" in refusal(train=str(folder / "items.txt"))
    attributes = str(folder / "attributes")
    as_ids = InteractionListsSource(train=train, missing=[], item_attributes=attributes).read()
    assert [row["user_id"] for row in rows(as_ids)] == ["u1", "u1", "nan", "nan"]
    assert as_ids.items is not None and as_ids.items["attributes"].to_pylist() == [["nan", "x"]]
    log = InteractionListsSource(train=train, missing=["-", "x"], item_attributes=attributes).read()
    assert log.items is not None and log.items["attributes"].to_pylist() == [["nan"]]
    assert log.missing_text == {"items.attributes": 1}


def test_spellings_of_missing_values_name_a_dataset_only_where_they_were_changed() -> None:
    def request(source: SourceConfig) -> dict[str, Any]:
        return DataConfig(name="x", source=source).as_request()["source"]

    usual = InteractionListsSource(train="x")
    assert (
        "missing" not in request(usual)
        and "missing" not in request(EventLogSource(root="s", base=usual, base_type="buy"))["base"]
    )
    assert request(InteractionListsSource(train="x", missing=[]))["missing"] == []
    assert DataConfig(name="x", source=usual).as_json()["source"]["missing"] == list(SPELLINGS)


@needs_ray
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_text_in_utf_16_is_refused(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "train.txt"
    file.write_bytes("u1 a b\nu2 a\n".encode(encoding))
    assert f"{file}: " in refusal(train=str(file)) and "save it as UTF-8" in refusal(train=str(file))


@needs_ray
def test_a_nul_character_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "train.txt"
    file.write_bytes("ü a\n\nu2 b\0\n".encode("latin-1"))
    assert f"{file}: has a NUL character in line 3" in refusal(train=str(file))


@needs_ray
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_each_line_end_ends_a_line(written: Written, rows: Rows, end: str) -> None:
    folder = written({"train.txt": f"u0 i0 i1{end}u1 i3 i4{end}{end}u2 i5\n"})
    found = rows(InteractionListsSource(train=str(folder / "train.txt")).read())
    assert [(row["user_id"], row["item_id"]) for row in found] == [
        ("u0", "i0"),
        ("u0", "i1"),
        ("u1", "i3"),
        ("u1", "i4"),
        ("u2", "i5"),
    ]


@needs_ray
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("mark", ["\x85", "\u2028", "\u2029", "\v", "\f", "\x1e"])
def test_other_line_breaks_are_refused(written: Written, mark: str, encoding: str) -> None:
    folder = written({"train.txt": f"ü a\r\n\rv b{mark}w c\n"}, encoding)
    fault = refusal(train=str(folder / "train.txt"))
    assert f"train.txt: line 3 holds the character U+{ord(mark):04X}" in fault and "end lines by LF" in fault


@needs_ray
def test_other_line_breaks_are_refused_in_latin_1(written: Written) -> None:
    folder = written({"train.txt": "é a\nv b\x85w c\n"}, "latin-1")
    assert "line 2 holds the character U+0085" in refusal(train=str(folder / "train.txt"))
    (folder / "train.txt").write_text("é a\nà b\n", "latin-1")
    InteractionListsSource(train=str(folder / "train.txt")).read()


@needs_ray
@pytest.mark.parametrize("space", ["\xa0", "\u2003", "\u3000"])
def test_white_space_that_separates_no_ids_is_refused(written: Written, space: str) -> None:
    folder = written({"train.txt": f"u0 i0\n\nu1{space}i1\n"})
    assert f"ids separated by spaces or tabs expected in each line, not {f'u1{space}i1'!r} in line 3" in refusal(
        train=str(folder / "train.txt")
    )


@needs_ray
@pytest.mark.parametrize(
    "names", ["user item", "user_id\titem_id\ttimestamp", "userId movieId", "user_id:token item_id:token"]
)
def test_names_of_columns_are_no_ids(written: Written, names: str) -> None:
    folder = written({"train.txt": f"{names}\nu0 i0\n", "joined.txt": f"u0 i0\nu1\n{names}\nu1 i1\n"})
    for name, line in {"train.txt": 1, "joined.txt": 3}.items():
        assert f"remove a line of names), not {names!r} in line {line}" in refusal(train=str(folder / name))
    (folder / "train.txt").write_text("user i0\nitem i1\nu1 item_id\n")
    InteractionListsSource(train=str(folder / "train.txt")).read()


@needs_ray
def test_lines_of_missing_ids_are_named(written: Written) -> None:
    folder = written({"train.txt": "u1 a b\r\ru2\ru3 c nan\r"})
    assert "such as {'user_id': 'u3', 'item_id': 'nan'} in line 4, by data.source.missing" in refusal(
        train=str(folder / "train.txt")
    )


@needs_ray
@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ('{"i0": [18446744073709551616]}', "numbers of more than 64 bits must be text"),
        ('{"i0": [-18446744073709551616]}', "numbers of more than 64 bits must be text"),
        ('{"i0": ' + 100_000 * "[" + 100_000 * "]" + "}", "recursion"),
        ('{"i0": [1], "i0": [2]}', "'i0' has more than one value"),
        ('{"i0": [1], "i1": ["x"]}', "attribute ids for each item"),
        ('{"i0": [1]', "attribute ids for each item"),
    ],
)
def test_attributes_that_cannot_be_read_are_refused(written: Written, content: str, cause: str) -> None:
    folder = written({"train.txt": "u1 i0\n", "attributes.json": content})
    fault = refusal(train=str(folder / "train.txt"), item_attributes=str(folder / "attributes.json"))
    assert "attributes.json: expected a JSON object with a list of attribute ids" in fault and cause in fault


@needs_ray
@pytest.mark.parametrize("depth", [30, 300, 900])
def test_attributes_in_lists_of_lists_are_refused(written: Written, depth: int) -> None:
    folder = written({"train.txt": "u1 i0\n", "attributes.json": '{"i0": ' + depth * "[" + "1" + depth * "]" + "}"})
    assert "attributes.json" in refusal(
        train=str(folder / "train.txt"), item_attributes=str(folder / "attributes.json")
    )


@needs_ray
def test_gowalla_has_its_published_counts(public_data: Callable[..., list[str]]) -> None:
    files = public_data(*(f"gowalla/{part}.txt.gz" for part in ("train", "test", "validation")))
    log = InteractionListsSource(train=files[0], test=files[1], validation=files[2]).read()
    found = survey(log)
    assert (len(found.user_ids), len(found.item_ids)) == (29_858, 40_981)
    splits = pa.concat_tables(log.interactions.iter_batches(batch_size=None, batch_format="pyarrow"))["split"]
    counts = {count["values"]: count["counts"] for count in pc.value_counts(splits).to_pylist()}
    assert counts == {"train": 810_128 - 91_047, "validation": 91_047, "test": 217_242}


@needs_ray
def test_toys_have_their_published_counts_and_attributes(public_data: Callable[..., list[str]]) -> None:
    sequences, attributes = public_data("s3rec-toys/sequences.txt", "s3rec-toys/item_attributes.json")
    log = InteractionListsSource(train=sequences, item_attributes=attributes).read()
    found = survey(log)
    assert (len(found.user_ids), len(found.item_ids), found.num_interactions) == (19_412, 11_924, 167_597)
    assert log.items is not None and len(log.items) == 11_924
