"""What laps have left goes once nothing needs it, and nothing else does."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from conf.schema import Config, load
from data.artifacts.folders import Folder
from data.artifacts.seals import sealing
from data.dataset.prepared import PreparedDataset
from serve.laps.clearing import MADE, clear, left_by_laps
from serve.laps.record import LapRecord
from serve.prune import task
from serve.releases.audit.history import read_history
from serve.releases.registry import ReleaseRegistry
from towers.checkpoint.checkpoint import Checkpoint
from towers.training.fit import made_by


@pytest.fixture
def storage(tmp_path: Path) -> Folder:
    return Folder.of(str(tmp_path))


def sealed(storage: Folder, kind: str, name: str, **manifest: Any) -> str:
    folder = storage / f"{kind}s" / name
    with sealing(folder, {"kind": kind, "created_at": "2026-01-01", **manifest}) as staging:
        staging.write_bytes("content", name.encode())
    return str(folder)


def lap(storage: Folder, number: int, outcome: str | None) -> dict[str, str]:
    """A lap with a dataset, a checkpoint beside the one that it was measured by, and the trainings of both."""
    dataset = sealed(storage, "dataset", f"log-{number}")
    of = {"dataset": {"folder": dataset}}
    measured = sealed(storage, "checkpoint", f"log-{number}-measured", **of)
    checkpoint = sealed(storage, "checkpoint", f"log-{number}", settled=measured, **of)
    training = str((storage / "training" / f"log-{number}").create())
    steps = {"dataset": dataset, "start": None, "gate": {"checkpoint": measured}, "train": checkpoint}
    record = LapRecord(storage / "laps" / f"2026-01-0{number}", "values", "", steps, outcome)
    record.note(MADE, [checkpoint, training, measured])
    return {"dataset": dataset, "measured": measured, "checkpoint": checkpoint, "training": training}


def left(storage: Folder) -> set[str]:
    return {str(folder) for folder in left_by_laps(storage)}


def test_what_a_release_a_lap_or_a_researcher_needs_stays(storage: Folder) -> None:
    released, stopped, going_on = (lap(storage, n, of) for n, of in enumerate(("promoted", "stopped", None), 1))
    sealed(storage, "release", "live", checkpoint="log-1", dataset={"folder": released["dataset"]})
    by_hand = sealed(storage, "checkpoint", "by-hand", dataset={"folder": stopped["dataset"]})
    sealed(storage, "dataset", "by-hand")
    expected = {released["training"], stopped["measured"], stopped["checkpoint"], stopped["training"]}
    assert left(storage) == expected
    assert not left(storage) & {by_hand, *going_on.values()}


def test_a_lap_that_goes_on_keeps_what_it_starts_from(storage: Folder) -> None:
    before = lap(storage, 1, "promoted")
    LapRecord(storage / "laps" / "2026-01-09", "values", "").note("start", before["checkpoint"])
    assert left(storage) == {before["training"], before["dataset"], before["measured"]}


def test_prune_says_what_would_go_and_removes_it_when_asked_to(
    storage: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = lap(storage, 1, "stopped")
    root = f"storage.root={storage}"
    assert task(load([root]))["laps"] == []
    said = capsys.readouterr().out
    assert "prune: laps have left 4 folders (0.00 GiB) that nothing needs; with laps=true they go:" in said
    assert all(f"\n  {place}\n" in said for place in gone.values())
    assert set(task(load([root, "laps=true"]))["laps"]) == {
        place.removeprefix(f"{storage}/") for place in gone.values()
    }
    assert left(storage) == set() and not [place for place in gone.values() if Path(place).exists()]
    entry = read_history(ReleaseRegistry.of(storage).folder, 1)[0]
    assert (entry["action"], len(entry["laps"])) == ("prune", 4)
    assert clear(storage, left_by_laps(storage)) == [], "nothing is left, and the history has no more of it"
    assert len([one for one in read_history(ReleaseRegistry.of(storage).folder, 9) if one.get("laps")]) == 1


def test_a_training_names_what_it_makes(tiny: Config, dataset: PreparedDataset, checkpoint: Checkpoint) -> None:
    made = made_by(tiny, dataset, Folder.of(tiny.storage.root))
    assert [str(folder) for folder in made][0] == str(checkpoint.folder)
    assert len(made) == 2
    final = made_by(load([f"storage.root={tiny.storage.root}", "train.fit_on=all"]), dataset, Folder.of("/root"))
    names = [folder.path.removeprefix("/root/").partition("/") for folder in final]
    assert [kind for kind, _, _ in names] == ["checkpoints", "training"] * 3
    assert [name.endswith("-backtest") for _, _, name in names] == [False, False, True, True, False, False]


def test_what_killed_commands_left_of_datasets_and_checkpoints_goes(
    storage: Folder, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each data.prepare and towers.train that was killed left what it had written, for good."""
    gone, kept = ["datasets/.a.01234567.partial", "checkpoints/.b.01234567.old"], "datasets/.c.01234567.partial"
    for place in (*gone, kept):
        (storage / place).create().write_bytes("part", b"rows")
    sealed(storage, "dataset", "a")
    seven_hours_ago = time.time() - 7 * 3600
    for place in gone:
        for path in (Path(f"{storage}/{place}/part"), Path(f"{storage}/{place}")):
            os.utime(path, (seven_hours_ago, seven_hours_ago))
    assert task(load([f"storage.root={storage}"]))["leftovers"] == gone
    assert f"prune: {gone[0]} (0.00 GiB), which a killed process left\n" in capsys.readouterr().out
    assert [Path(f"{storage}/{place}").exists() for place in (*gone, kept, "datasets/a")] == [False, False, True, True]
