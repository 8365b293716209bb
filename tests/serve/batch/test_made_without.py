"""Which files of recommendations are made anew: those that would be made without other items or users now."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conf.schema import Config
from data.artifacts.folders import Folder
from serve.batch.made_without import files_to_make, parts_of
from serve.batch.recommender import BatchRecommender
from serve.pipeline.source import Source
from serve.releases.registry import ReleaseRegistry
from tests.benchmarks.releases.made import made_release
from tests.serve.batch.test_forgotten import made

__all__ = ["made"]

K = 3
NAMES = [f"part-0000{number}.parquet" for number in range(4)]


class Written:
    """Files of ten users each, and which of them are to be made."""

    def __init__(self, config: Config, folder: Folder) -> None:
        self.storage, self.folder = Folder.of(config.storage.root), folder
        self.release_id = made_release(config, 60, 40, seed=1)
        release = ReleaseRegistry.of(self.storage).open(self.release_id)
        self.users = release.parts.users.ids.values[:40].to_pylist()
        self.items = release.parts.items.ids.values.to_pylist()
        self.parts = parts_of(pa.array(self.users), 10)

    def to_make(self, denylist: Sequence[str] = (), forgotten: Sequence[str] | None = ()) -> list[str]:
        return files_to_make(self.folder, self.parts, sorted(denylist), forgotten)

    def make(self, denylist: Sequence[str] = (), forgotten: Sequence[str] = ()) -> list[str]:
        names = self.to_make(denylist, forgotten)
        recommender = BatchRecommender(
            self.storage, self.release_id, self.folder, K, 10, sorted(denylist), list(forgotten)
        )
        recommender(pa.table({"part": names, "user_ids": [self.parts[name].to_pylist() for name in names]}))
        return names

    def items_of(self, name: str) -> set[str]:
        return {id_ for ids in self.folder.read_table(name)["item_ids"].to_pylist() for id_ in ids}

    def having(self, item: str) -> list[str]:
        return [name for name in NAMES if item in self.items_of(name)]


@pytest.fixture
def written(made: Config, tmp_path: Path) -> Written:
    written = Written(made, Folder.of(str(tmp_path / "files")).create())
    assert written.make() == NAMES
    return written


def test_files_with_users_who_were_forgotten_since(written: Written) -> None:
    first, second = written.users[12], written.users[33]
    assert written.to_make(forgotten=["somebody else"]) == []
    assert written.make(forgotten=[first]) == NAMES[1:2]
    assert written.make(forgotten=[first, second]) == NAMES[3:], "as when one more is forgotten before a restart"
    assert written.to_make(forgotten=[second, first]) == []
    rows = written.folder.read_table(NAMES[1]).to_pylist()
    assert [row["user_id"] for row in rows if row["source"] == Source.popular.value] == [first]
    assert written.to_make(forgotten=None) == [], "who asks nobody brings nobody back"


def test_files_with_items_that_were_recalled_since(written: Written) -> None:
    shown = sorted(set().union(*map(written.items_of, NAMES)), key=lambda item: len(written.having(item)))
    seldom, often = shown[0], shown[-1]
    unshown = next(item for item in written.items if item not in shown)
    of_seldom = written.having(seldom)
    assert len(of_seldom) < len(NAMES)
    assert written.to_make([unshown, "an item of another release"]) == []
    assert written.make([seldom]) == of_seldom
    assert written.having(seldom) == []
    both = sorted({*written.having(often)})
    assert written.make([seldom, often]) == both
    assert written.to_make([seldom, often, unshown]) == []
    assert written.to_make([seldom]) == both, "those that were made without it may have it again"
    assert written.make() == sorted({*of_seldom, *both})


@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(b"PAR1cut")], ids=["missing", "damaged"])
def test_files_that_are_missing_or_damaged(change: Callable[[Path], object], written: Written) -> None:
    change(Path(written.folder.path, NAMES[2]))
    assert written.make() == NAMES[2:3]


def test_files_of_an_earlier_version_were_made_without_nothing(written: Written) -> None:
    for name in NAMES:
        pq.write_table(written.folder.read_table(name).replace_schema_metadata(None), f"{written.folder.path}/{name}")
    assert written.to_make() == []
    assert written.to_make(forgotten=[written.users[0]]) == NAMES[:1]
