"""A lap's release gets traffic only beside a live release with which the gate has compared it."""

import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
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
from tests.test_artifacts_of_before import RELEASE, STORAGE
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
    gate = LapGate(tiny.cycle, gatekeeper, registry, record, lambda _: None)
    gate.judge_again("mine")
    assert shown == [], "the release with which it was compared is live"
    registry.promote("newer")
    gate.judge_again("mine")
    assert record.steps[AGAINST] == "newer"
    gate.judge_again("mine")
    assert [table.title for table in shown] == ["gate, against newer"]


def with_more_items(registry: ReleaseRegistry, name: str, number: int) -> None:
    """Gives a release so many more items, as `serve.refresh` does."""
    folder = registry.path(name)
    table = folder.read_table("items.parquet")
    more = table.slice(0, number).set_column(
        table.column_names.index("item_id"), "item_id", pa.array([f"new{n}" for n in range(number)])
    )
    folder.write_table("items.parquet", pa.concat_tables([table, more.cast(table.schema)]))
    manifest = folder.read_json(MANIFEST)
    manifest["files"]["items.parquet"] = folder.sha256("items.parquet")
    folder.write_json(MANIFEST, manifest | {"refreshed": {"from": "old"}}, sort_keys=False)


def test_a_lap_names_the_items_that_would_go_and_stops_before_training_where_they_are_many(
    tiny: Config, storage: Folder, registry: ReleaseRegistry, dataset: PreparedDataset, record: LapRecord
) -> None:
    num_items = len(dataset.items.ids) - 1
    with_more_items(registry, "newer", num_items)
    registry.promote("newer")
    for name in ("start", "gate", "train", AGAINST, "release"):
        del record.steps[name]
    record.write()
    lacks = rf"this one lacks {num_items} of its {2 * num_items} items \(new0, new1, new2, new3, new4, \.\.\.\)"
    with pytest.raises(LapStopped, match=rf"items: beside the live release newer, {lacks}.* \(cycle\.max_lost_items\)"):
        run_lap(tiny, storage, 1, lambda _: None)
    assert list(LapRecord.open(storage, _digest(tiny)).steps) == [], "the next lap begins"


def test_a_release_beside_which_items_would_go_does_not_pass_where_they_are_many(
    tiny: Config, registry: ReleaseRegistry, record: LapRecord
) -> None:
    """Such as where somebody has refreshed what is live while the lap was interrupted."""
    with_more_items(registry, "newer", 30)
    registry.promote("newer")
    gate = LapGate(tiny.cycle, lambda *_: {}, registry, record, lambda _: None)
    with pytest.raises(LapStopped, match=r"beside it mine is held back: items: .* lacks 30 of its"):
        gate.judge_again("mine")
    few = LapGate(replace(tiny.cycle, max_lost_items=0.5), lambda *_: {}, registry, record, lambda _: None)
    few.judge_again("mine")
    assert record.steps[AGAINST] == "newer"


def test_drift_is_measured_where_the_dataset_of_the_live_release_is_gone(
    tiny: Config, storage: Folder, registry: ReleaseRegistry, record: LapRecord
) -> None:
    """Whoever clears up old datasets must not have a night without events train and promote."""
    folder = registry.path("old")
    manifest = folder.read_json(MANIFEST)
    folder.write_json(MANIFEST, manifest | {"dataset": manifest["dataset"] | {"folder": "/nowhere"}}, sort_keys=False)
    record.steps = {"dataset": record.steps["dataset"]}
    record.write()
    lap = run_lap(tiny, storage, 1, lambda _: None)
    assert (lap["outcome"], lap["steps"]["drift"]["num_new"]) == ("nothing new", 0)


def test_a_first_lap_needs_events_too(tiny: Config, dataset: PreparedDataset, storage: Folder) -> None:
    counts, said = dataset.manifest["counts"], list[str]()
    num_positives = sum(counts[split] for split in ("train", "validation", "test"))
    more = replace(tiny, cycle=replace(tiny.cycle, min_events=num_positives + 1))
    LapRecord.open(storage, _digest(more)).note("dataset", str(dataset.folder))
    assert run_lap(more, storage, 1, said.append)["outcome"] == "nothing new"
    assert said[-1] == f"cycle: {num_positives} new positives; cycle.min_events is {num_positives + 1}"


def test_drift_is_left_out_where_the_live_release_lacks_counts(
    tiny: Config, dataset: PreparedDataset, storage: Folder
) -> None:
    """The tables of a release of version 0.1.0 have no counts of the test part: each lap ended in a KeyError."""
    shutil.copytree(f"{STORAGE}/releases", f"{storage}/releases")
    said, more = list[str](), replace(tiny, cycle=replace(tiny.cycle, min_events=10**9))
    LapRecord.open(storage, _digest(more)).note("dataset", str(dataset.folder))
    lap = run_lap(more, storage, 1, said.append)
    assert (lap["outcome"], lap["steps"]["drift"]) == ("nothing new", None)
    assert f"cycle: drift is not measured, because {RELEASE} lacks the counts of its test part" in said
