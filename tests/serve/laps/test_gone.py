"""A lap that was interrupted, and of which something was removed since, stops: it could never go on."""

from typing import Any

import pytest

from conf.schema import Config
from data.artifacts.folders import Folder
from data.artifacts.seals import sealing
from serve.laps.config import LapStopped
from serve.laps.record import LapRecord
from serve.laps.run import _digest, run_lap

NEW = {"num_new": 1000, "beyond": []}


@pytest.mark.parametrize(
    ("steps", "gone"),
    [
        ({}, "dataset"),
        ({"drift": NEW, "start": "{root}/checkpoints/first"}, "first checkpoint"),
        ({"drift": NEW, "start": None, "gate": {}, "train": "{root}/checkpoints/second"}, "checkpoint"),
        ({"drift": NEW, "start": "{root}/first", "gate": {}, "train": "{root}/second", "release": "third"}, "release"),
    ],
)
def test_a_lap_of_which_something_is_gone_stops_and_the_next_begins(
    tiny: Config, tmp_path_factory: pytest.TempPathFactory, steps: dict[str, Any], gone: str
) -> None:
    root = tmp_path_factory.mktemp("laps")
    storage, said = Folder.of(str(root)), lambda _: None
    dataset = storage / "datasets" / "new"
    if gone != "dataset":
        with sealing(dataset, {"kind": "dataset"}):
            pass
    record = LapRecord.open(storage, _digest(tiny))
    for name, outcome in {"dataset": str(dataset), **steps}.items():
        record.note(name, outcome.format(root=root) if isinstance(outcome, str) else outcome)
    with pytest.raises(LapStopped, match=f"its {gone} .* is not there any more; start the next lap"):
        run_lap(tiny, storage, 1, said)
    assert LapRecord.open(storage, _digest(tiny)).steps == {}
