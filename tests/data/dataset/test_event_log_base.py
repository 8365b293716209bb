"""The log from before an endpoint's events: its faults are said by its keys here, and its rows are told from events."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from conf.schema import load
from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.dataset.config import DataConfig
from data.dataset.preparation import prepare
from data.sources.events import EventLogSource, _place
from data.sources.schema import DataError
from data.sources.source import EVENT_POSITIONS
from data.sources.survey import survey
from data.sources.tables import TableFormat, TableSource
from data.sources.tabular.pieces import POSITIONS_PER_FILE, pieces_of, place_of
from data.sources.tabular.text_stream import Delimited
from tests.data.dataset.test_event_log import LATER, overrides, storage
from tests.data.dataset.test_events import pairs

__all__ = ["storage"]


def over(base: TableSource, folder: Path) -> EventLogSource:
    return EventLogSource(root=str(folder), base=base, base_type="click")


def test_a_file_that_is_not_there_is_named_by_its_key(tmp_path: Path) -> None:
    source = over(TableSource(interactions=str(tmp_path / "nowhere.csv"), format=TableFormat.csv), tmp_path)
    for reads in (source.files, source.read):
        with pytest.raises(DataError, match=r"data\.source\.base\.interactions: "):
            reads()


def test_a_column_that_is_not_there_is_named_by_its_key(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("who,item_id,time\nu,a,1\n")
    source = over(TableSource(interactions=str(tmp_path / "log.csv"), format=TableFormat.csv), tmp_path)
    with pytest.raises(DataError, match=r"data\.source\.base\.columns") as refused:
        source.read()
    assert "data.source.columns" not in str(refused.value)


@pytest.mark.parametrize("number", [1, 5_000])
def test_a_row_of_a_later_file_from_before_is_no_event(tmp_path: Path, number: int) -> None:
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text("user_id,item_id,time\nu,i,1\n")
    first, second = pieces_of(str(tmp_path), "log", ["user_id"], Delimited())
    assert second.start == POSITIONS_PER_FILE
    later = replace(second, start=number * POSITIONS_PER_FILE, first_position=number * POSITIONS_PER_FILE)
    locate = partial(_place, partial(place_of, [first, later]))
    assert locate(later.first_position) == f"{tmp_path}/b.csv, row 1 (line 2)"
    assert locate(EVENT_POSITIONS + LATER) == "event accepted, or answer given, at 2026-01-31T10:00:00+00:00"


@pytest.mark.slow
def test_a_bound_of_weights_is_for_the_log_from_before(ray_session: None, storage: Folder, tmp_path: Path) -> None:
    """Events have no weights, and all of them were left out."""
    lines = (f"u{n % 5},i{n},{1_700_000_000 + n},{n % 5 + 1}\n" for n in range(50))
    (tmp_path / "log.csv").write_text(f"user_id,item_id,time,stars\n{''.join(lines)}")
    base = ["format=csv", f"interactions={tmp_path}/log.csv", "columns.weight=stars"]
    of_base = [f"data.source.base.{value}" for value in base]
    given = ["data/source@data.source.base=table", *of_base, "data.source.base_type=like", "data.min_weight=4"]
    dataset = prepare(load(overrides(storage, *given)).data, Folder.of(str(tmp_path / "var")))
    types = [row[2] for row in pairs(dataset, dataset.interactions("train", "validation", "test"))]
    assert (types.count("like"), types.count("click"), dataset.manifest["counts"]["left_out"]) == (20, 3, 31)


def test_a_bound_of_weights_that_nothing_has_is_refused(tmp_path: Path) -> None:
    source = over(TableSource(interactions="log.csv", format=TableFormat.csv), tmp_path)
    for of in (source, replace(source, base=None)):
        with pytest.raises(ConfigError, match=r"data\.min_weight: 4 is a bound of weights, and neither events nor"):
            DataConfig(name="mine", source=of, min_weight=4)


def test_a_relative_root_is_that_of_the_command(
    ray_session: None, storage: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray's workers have another working folder, and found no file there."""
    root = Path(storage.path)
    monkeypatch.chdir(root.parent)
    source = EventLogSource(root=f"./{root.name}")
    assert source.files() == [f"{root}/events/date=2026-01-31/part-{number}.parquet" for number in (1, 2)]
    assert survey(source.read()).num_interactions == 5
