"""Rows of items as serve.refresh reads them from a file, and what is wrong with them."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from conf.schema import Config, load
from data.artifacts.errors import ConfigError
from data.artifacts.folders import MANIFEST, Folder
from data.dataset.catalogue import Catalogue
from data.sources.schema import DataError, Feature, FeatureKind
from serve.index.config import IndexConfig
from serve.refresh import task
from serve.releases.refresh import read_rows, refresh
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release, ReleaseError
from tests.serve.releases.items import NEW, rows

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["new.parquet", "new.csv", "new.csv.gz", "new.CSV", "new.csv.ZST", "new/part-0.csv"])
def test_rows_are_read(name: str, live: Release, tmp_path: Path) -> None:
    table = rows(live, NEW, {**NEW, "item_id": "new2", "title": None, "year": None})
    path = str(tmp_path / name)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    if name.endswith(".parquet"):
        pq.write_table(table, path)
    else:
        flat = table.set_column(2, "genres", pa.array(["Drama|Western"] * 2))
        with pa.output_stream(path, compression={".gz": "gzip", ".ZST": "zstd"}.get(Path(name).suffix)) as stream:
            pa.csv.write_csv(flat, stream)
    assert read_rows(str(tmp_path / name.split("/")[0]), live).to_pylist() == table.to_pylist()


@pytest.mark.parametrize("name", ["new.parquet", "new.csv"])
def test_after_events_of_an_endpoint_rows_are_laid_out_as_in_the_log_from_before(
    name: str, live: Release, tmp_path: Path
) -> None:
    base = {
        "adapter": "TableSource",
        "columns": {"item_id": "sku", "title": "name"},
        "missing": ["NULL", "nan"],
        "multi_separator": ";",
        "delimiter": "\t",
    }
    log = {"adapter": "EventLogSource", "root": "s", "missing": ["undefined"], "base": base}
    of_events = replace(live, manifest=live.manifest | {"config": {"data": {"source": log}}})
    row = {"sku": "i1", "name": "One", "genres": "a;b;nan", "studio": "NULL", "year": "7", "words": "w", "length": "l"}
    if name == "new.parquet":
        pq.write_table(pa.Table.from_pylist([row]), tmp_path / name)
    else:
        (tmp_path / name).write_text("\t".join(row) + "\n" + "\t".join(row.values()) + "\n")
    (found,) = read_rows(str(tmp_path / name), of_events).to_pylist()
    assert (found["item_id"], found["title"], found["genres"], found["studio"]) == ("i1", "One", ["a", "b"], None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("item_id,title\nnew1,Fresh\n", "no column 'genres'"),
        ("item_id,genres,studio,year,words,length\nn,Drama,S,2026,w,l\nn,Drama,S,2026,w,l\n", "more than one row"),
        ("item_id,genres,studio,year,words,length\n,Drama,S,2026,w,l\n", "item_id is missing in 1 of 1 rows"),
        ("item_id,genres,studio,year,words,length\n", "there are no items in it"),
    ],
)
def test_bad_rows_are_named(content: str, message: str, live: Release, tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_rows(str(path), live)


def test_what_is_read_as_missing_is_said(live: Release, tmp_path: Path) -> None:
    said: list[str] = []
    spelled = replace(live, manifest=live.manifest | {"config": {"data": {"source": {"missing": ["nan"]}}}})
    head, path = "item_id,title,genres,studio,year,words,length\n", tmp_path / "new.csv"
    path.write_text(f'{head}n,"two\nlines",Drama|nan,nan,2026,w,l\nm,t,Drama,nan,2026,w,l\n')
    read_rows(str(path), spelled, said.append)
    counted, note = said
    assert counted == "refresh: values read as missing: items.genres 1, items.studio 2"
    assert note.startswith("refresh: note: items: 1 rows span several lines")
    path.write_text(f"{head}n,t,Drama,S,2026,w,l\n")
    said.clear()
    read_rows(str(path), spelled, said.append)
    assert not said


def test_vectors_that_the_rows_lack_come_from_their_own_file(live: Release, tmp_path: Path) -> None:
    """With data.item_vectors the items table of the log has no column of vectors: the file was refused without it."""
    items, (known,) = live.parts.items, live.parts.items.table["item_id"][:1].to_pylist()
    own = pa.array([[float(n), 1.0] for n in range(items.table.num_rows)], pa.list_(pa.float32()))
    feature = Feature(name="topic", kind=FeatureKind.vector)
    grown = replace(items.with_table(items.table.append_column("topic", own)), features=(*items.features, feature))
    data = {"source": {}, "item_vectors": str(tmp_path / "trained.parquet")}
    release = replace(live, parts=replace(live.parts, items=grown), manifest=live.manifest | {"config": {"data": data}})
    path = str(tmp_path / "new.parquet")
    pq.write_table(rows(live, *({**NEW, "item_id": id_} for id_ in ("new1", known, "new2"))), path)
    pq.write_table(pa.table({"item_id": ["new1"], "topic": [[9.0, 9.0]]}), data["item_vectors"])
    of_others = pa.table({"item_id": ["new2", known], "topic": [[7.0, 7.0], [8.0, 8.0]]})
    pq.write_table(of_others, tmp_path / "other.parquet")
    said: list[str] = []
    found = read_rows(path, release, said.append)
    assert found["topic"].to_pylist() == [[9, 9], [0, 1], None], "of a known item what the release has"
    assert said == [f"refresh: 1 of 3 items have no vector in {data['item_vectors']}"]
    found = read_rows(path, release, said.append, str(tmp_path / "other.parquet"))
    assert found["topic"].to_pylist() == [None, [8, 8], [7, 7]]
    with pytest.raises(ConfigError, match=r"vectors: .*other\.parquet is not needed"):
        read_rows(path, live, vectors=str(tmp_path / "other.parquet"))


def test_a_known_item_in_another_form_is_no_new_one(live: Release, tmp_path: Path) -> None:
    with_digits = replace(live, parts=replace(live.parts, items=_renamed(live.parts.items)))
    registry = ReleaseRegistry.of(Folder.of(str(tmp_path)))
    with pytest.raises(DataError, match=r"rows: 1 of 1 new items .* such as '1\.0' from '1'"):
        refresh(IndexConfig(), registry, with_digits, rows(live, {**NEW, "item_id": "1.0"}))


def _renamed(items: Catalogue) -> Catalogue:
    """The catalogue with running numbers as ids."""
    numbers = pa.array([str(n) for n in range(1, items.table.num_rows + 1)])
    return items.with_table(items.table.set_column(1, "item_id", numbers))


def test_what_changes_nothing_has_counts_of_its_own(registry: ReleaseRegistry, live: Release, tmp_path: Path) -> None:
    """It gave those of the refresh that had made the live release, and the release that this was made from."""
    folder, path = registry.path(live.id), str(tmp_path / "same.parquet")
    earlier = {"refreshed": {"from": "before", "added": 3, "changed": 1, "withdrawn": 0, "back": 0}}
    folder.write_json(MANIFEST, folder.read_json(MANIFEST) | earlier, sort_keys=False)
    pq.write_table(rows(live, *live.parts.items.table.slice(4, 1).to_pylist()), path)
    found = task(load([f"storage.root={tmp_path}", f"rows={path}"]))
    none = {"added": 0, "changed": 0, "withdrawn": 0, "back": 0}
    assert found == {"release": live.id, "from": live.id} | none


def test_a_release_that_could_answer_with_nothing_is_refused(
    tiny: Config, registry: ReleaseRegistry, live: Release
) -> None:
    items = live.parts.items
    with pytest.raises(ReleaseError, match=f"items: all {items.num_ids} of the catalogue would be removed; leave some"):
        refresh(tiny.index, registry, live, None, items.ids.values.to_pylist())
