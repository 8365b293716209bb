"""Logs that are gone, shorter or damaged when they are read for the second time: one line says so, and nothing stays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.dataset import preparation
from data.sources.schema import DataError
from data.sources.survey import Survey, survey
from tests.data.dataset.test_preparation import MAPPING, prepared

LOG = pa.table({"user_id": [*"aabbccdd"], "item_id": [*"xyzwxyzw"], "time": list(range(8))})
GONE = "was read once, and then not again: "


def without_times(log: Path) -> None:
    pq.write_table(LOG.set_column(2, "time", pa.array([None] * 8, pa.int64())), log)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (Path.unlink, r"log\.parquet: cannot be read \(.*No such file"),
        (lambda log: pq.write_table(LOG, log, row_group_size=8), r"log\.parquet: was changed while it was read"),
        (lambda log: pq.write_table(LOG.drop(["time"]), log), r"log\.parquet: was changed while it was read"),
        (without_times, "it was changed while it was read: prepare it anew"),
    ],
)
def test_a_log_that_cannot_be_read_again_is_refused_in_one_line(
    ray_session: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    change: Callable[[Path], Any],
    message: str,
) -> None:
    log = tmp_path / "log.parquet"
    pq.write_table(LOG, log, row_group_size=4)

    def then_changed(*of: Any) -> Survey:
        found = survey(*of)
        change(log)
        return found

    monkeypatch.setattr(preparation, "survey", then_changed)
    with pytest.raises(DataError, match=GONE + ".*" + message):
        prepared(tmp_path, [*MAPPING, f"data.source.interactions={log}"])
    assert "Traceback" not in "".join(capfd.readouterr())
    assert not [*tmp_path.glob("var/datasets/mine-*")]
