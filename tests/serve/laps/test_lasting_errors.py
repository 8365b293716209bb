"""A lap whose error would come again ends; one that was merely interrupted goes on, or is given up when asked to."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conf.schema import Config
from data.artifacts.folders import Folder
from data.dataset.prepared import PreparedDataset
from serve.laps.config import LapStopped
from serve.laps.record import LapRecord
from serve.laps.run import _digest, run_lap
from serve.laps.trial import CANARY, end_trial
from serve.releases.audit.history import read_history
from serve.releases.registry import ReleaseRegistry
from tests.serve.laps.test_trial import storage, trial
from towers.training.epochs.finite import NotFinite

__all__ = ["storage"]


@pytest.fixture
def laps(tiny: Config, dataset: PreparedDataset, tmp_path: Path) -> Folder:
    """A storage root with a lap that was interrupted once its dataset was prepared."""
    found = Folder.of(str(tmp_path))
    LapRecord.open(found, _digest(tiny)).note("dataset", str(dataset.folder))
    return found


def ends_training_with(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr("serve.laps.run.train", fail)


def test_a_lap_whose_training_ends_in_nan_does_not_do_so_every_night(
    tiny: Config, laps: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends_training_with(monkeypatch, NotFinite("epoch 3, step 7: the loss is not finite"))
    with pytest.raises(LapStopped, match=r"lap \S+ stopped, what was live stays: epoch 3, step 7: the loss is not"):
        run_lap(tiny, laps, 1, lambda _: None)
    assert LapRecord.unfinished(laps) is None
    assert LapRecord.open(laps, _digest(tiny)).steps == {}, "the next lap begins, with the events of then"
    (entry,) = read_history(ReleaseRegistry.of(laps).folder, 9)
    assert (entry["action"], entry["outcome"]) == ("lap", "stopped")
    assert entry["reason"] == "epoch 3, step 7: the loss is not finite"


def test_a_lap_that_was_interrupted_says_how_to_give_it_up(
    tiny: Config, laps: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    ends_training_with(monkeypatch, OSError("the storage does not answer"))
    with pytest.raises(OSError, match="the storage does not answer"):
        run_lap(tiny, laps, 1, said.append)
    first = LapRecord.unfinished(laps)
    assert first is not None
    assert said[0].startswith("cycle: going on with the lap of ") and "cycle.resume=false gives it up" in said[-1]
    anew = replace(tiny, cycle=replace(tiny.cycle, resume=False))
    assert _digest(anew) == _digest(tiny), "the lap that it begins goes on without it"
    monkeypatch.setattr("serve.laps.run.prepare", lambda *_: (_ for _ in ()).throw(OSError("no log")))
    with pytest.raises(OSError, match="no log"):
        run_lap(anew, laps, 1, said.append)
    record = first.folder.read_json("lap.json")
    assert (record["outcome"], record["reason"]) == ("given up", "cycle.resume is false")


def test_a_lap_that_ends_takes_its_trial_with_it_and_no_other(storage: Folder) -> None:
    running, registry = trial(storage), ReleaseRegistry.of(storage)
    record = LapRecord.open(storage, "values")
    end_trial(record, registry, "it has not begun one")
    record.note(CANARY, {"name": running.name, "since": "2026-01-01T00:00:00.000+00:00"})
    end_trial(record, registry, "another run")
    assert registry.live().experiment == running  # type: ignore[union-attr]
    record.note(CANARY, {"name": running.name, "since": running.since})
    end_trial(record, registry, "no room for the release")
    live = registry.live()
    assert live is not None
    assert (live.release, live.experiment, live.rolled_back, live.reason) == (
        "old",
        None,
        "new",
        "no room for the release",
    )
