"""The log from before an endpoint's events: its faults are said by its keys here, and its rows are told from events."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from data.sources.events import EventLogSource, _place
from data.sources.schema import DataError
from data.sources.source import EVENT_POSITIONS
from data.sources.tables import TableFormat, TableSource
from data.sources.tabular.pieces import POSITIONS_PER_FILE, pieces_of, place_of
from data.sources.tabular.text_stream import Delimited
from tests.data.dataset.test_event_log import LATER


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
