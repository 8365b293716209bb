"""What is wrong with the log from before an endpoint's events is said by the keys that this log has here."""

from pathlib import Path

import pytest

from data.sources.events import EventLogSource
from data.sources.schema import DataError
from data.sources.tables import TableFormat, TableSource


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
