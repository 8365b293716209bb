"""A lap's release gets traffic only beside a live release with which the gate has compared it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from rich.table import Table

from conf.schema import Config
from data.artifacts.folders import MANIFEST, Folder
from data.dataset.prepared import PreparedDataset
from serve.laps.config import LapStopped
from serve.laps.gate import AGAINST, LapGate
from serve.laps.record import LapRecord
from serve.laps.run import _digest, run_lap
from serve.releases.gate.gate import Gatekeeper
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release
from towers.checkpoint.checkpoint import Checkpoint


@pytest.fixture
def registry(release: Release, tmp_path: Path) -> ReleaseRegistry:
    """Three copies of one release, of which `old` is live."""
    for name in ("old", "mine", "newer"):
        shutil.copytree(release.parts.folder.path, tmp_path / "releases" / name)
    registry = ReleaseRegistry.of(Folder.of(str(tmp_path)))
    registry.promote("old")
    return registry


@pytest.fixture
def storage(tmp_path: Path) -> Folder:
    return Folder.of(str(tmp_path))


@pytest.fixture
def record(tiny: Config, dataset: PreparedDataset, checkpoint: Checkpoint, storage: Folder) -> LapRecord:
    """That of a lap which has published `mine` while `old` was live, and was interrupted then."""
    record = LapRecord.open(storage, _digest(tiny))
    done = {"dataset": str(dataset.folder), "drift": None, "start": None, "gate": {}, "train": str(checkpoint.folder)}
    for name, outcome in (done | {AGAINST: "old", "release": "mine"}).items():
        record.note(name, outcome)
    return record


def test_a_resumed_lap_puts_no_older_model_over_a_better_one_that_is_live_by_then(
    tiny: Config, storage: Folder, registry: ReleaseRegistry, record: LapRecord
) -> None:
    folder = registry.path("newer")
    manifest = folder.read_json(MANIFEST)
    manifest["reranked"][f"ndcg@{manifest['k']}"] *= 10
    folder.write_json(MANIFEST, manifest, sort_keys=False)
    registry.promote("newer")
    with pytest.raises(LapStopped, match=r"newer is live, and beside it mine is held back: gate: ndcg@20 on its own"):
        run_lap(tiny, storage, 1, lambda _: None)
    live = registry.live()
    assert live is not None
    assert (live.release, live.experiment) == ("newer", None)


def test_what_is_as_good_as_the_release_that_is_live_by_then_is_compared_with_it_once(
    tiny: Config, registry: ReleaseRegistry, record: LapRecord
) -> None:
    shown: list[Table] = []
    bounds = replace(tiny.gate, max_golden_ms=10_000.0)
    gatekeeper = Gatekeeper(config=bounds, evaluate=tiny.evaluate, show=shown.append)
    gate = LapGate(0.5, gatekeeper, registry, record, lambda _: None)
    gate.judge_again("mine")
    assert shown == [], "the release with which it was compared is live"
    registry.promote("newer")
    gate.judge_again("mine")
    assert record.steps[AGAINST] == "newer"
    gate.judge_again("mine")
    assert [table.title for table in shown] == ["gate, against newer"]
