"""A checkpoint that is there already is measured as the present command says, and not as an earlier one did."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conf.schema import Config
from data.dataset.prepared import PreparedDataset
from towers.checkpoint.checkpoint import Checkpoint
from towers.evaluation.config import Baseline, EvaluateConfig, SeenItems
from towers.evaluation.report import report_of
from towers.training.stages.measured_again import MEASURED_BY, as_measured, report_by, told_apart
from towers.training.tracking import Tracker, TrackingConfig, TrackingMode, attempt_of


def test_with_the_same_values_the_report_is_that_of_the_training(
    tiny: Config, dataset: PreparedDataset, checkpoint: Checkpoint
) -> None:
    said: list[str] = []
    other = replace(tiny.evaluate, batch_size=64, published_on={"users": 1})
    for config in (tiny.evaluate, other):
        assert report_by(config, checkpoint, dataset, said.append) == report_of(checkpoint.manifest)
    assert not said


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"k": 10}, "evaluate.k was 20 and is 10"),
        ({"ks": [20, 30]}, "evaluate.ks was [5, 10, 20, 50] and is [20, 30]"),
        ({"max_users": 50}, "evaluate.max_users was None and is 50"),
        ({"baselines": [Baseline.ease]}, "evaluate.baselines was ["),
    ],
    ids=str,
)
def test_with_other_values_it_is_measured_again(
    tiny: Config, dataset: PreparedDataset, checkpoint: Checkpoint, values: dict[str, Any], wanted: str
) -> None:
    said: list[str] = []
    report = report_by(replace(tiny.evaluate, resamples=100, **values), checkpoint, dataset, said.append)
    assert wanted in said[0] and said[0].endswith("and is measured again")
    assert report.k == values.get("k", 20)
    assert sorted(name for name in report.metrics if name.startswith("recall@")) == sorted(
        f"recall@{k}" for k in values.get("ks", [5, 10, 20, 50])
    )
    assert (Baseline.ease.value in report.baselines) == ("baselines" in values)
    if "max_users" in values:
        assert report.num_queries == 50
    else:
        assert report.metrics["ndcg@20"] == pytest.approx(checkpoint.manifest["metrics"]["ndcg@20"])


def test_a_report_of_an_earlier_version_is_compared_by_its_cut_offs(
    tiny: Config, dataset: PreparedDataset, checkpoint: Checkpoint
) -> None:
    old = replace(checkpoint, manifest={k: v for k, v in checkpoint.manifest.items() if k != MEASURED_BY})
    said: list[str] = []
    assert report_by(replace(tiny.evaluate, resamples=100), old, dataset, said.append) == report_of(old.manifest)
    assert not said
    report_by(EvaluateConfig(ks=[10], k=10, resamples=100, baselines=[]), old, dataset, said.append)
    assert "evaluate.k was 20 and is 10" in said[0] and "evaluate.ks was [5, 10, 20, 50] and is [10]" in said[0]


def test_measurements_by_other_values_are_told_apart(tiny: Config, checkpoint: Checkpoint) -> None:
    """In W&B, a run of the same id would be replaced."""
    manifest, wide = checkpoint.manifest, replace(tiny.evaluate, max_users=50)
    others = [replace(tiny.evaluate, k=10), replace(tiny.evaluate, ks=[20, 30]), wide]
    assert told_apart(tiny.evaluate, manifest) is told_apart(replace(tiny.evaluate, batch_size=64), manifest) is None
    assert len({told_apart(config, manifest) for config in (tiny.evaluate, *others)}) == 4
    assert told_apart(wide, manifest) == told_apart(replace(wide, batch_size=64), manifest)
    old = {k: v for k, v in manifest.items() if k != MEASURED_BY}
    assert told_apart(tiny.evaluate, old) != told_apart(wide, old), "what an old report was made by is not known"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["evaluate", "against-other"])
def test_a_run_is_called_by_what_it_measures(tmp_path: Path, kind: str) -> None:
    settings = TrackingConfig(mode=TrackingMode.offline, folder=str(tmp_path / "wandb"))
    for apart in (None, "0a1b2c3d"):
        Tracker(settings, "some-model", {}, kind, apart=apart).finish()
    found = sorted(path.name.partition("some-model")[2] for path in (tmp_path / "wandb").rglob("offline-run-*"))
    assert found == [f"-{kind}", f"-{kind}-0a1b2c3d"]


@pytest.mark.slow
def test_a_training_begun_again_is_a_run_of_its_own(tmp_path: Path) -> None:
    """W&B keeps the old curve of a run whose steps come again, and of two offline runs with one id the second."""
    settings = TrackingConfig(mode=TrackingMode.offline, folder=str(tmp_path / "wandb"))
    attempts = [attempt_of(settings, token, epochs) for token, epochs in (("0a", 0), ("0a", 3), ("1b", 0), (None, 2))]
    for attempt in attempts:
        Tracker(settings, "some-model", {}, attempt=attempt).finish()
    found = sorted(path.name.partition("some-model")[2] for path in (tmp_path / "wandb").rglob("offline-run-*"))
    assert found == ["", "-0a", "-0a-from-epoch-4", "-1b"]
    online = replace(settings, mode=TrackingMode.online)
    assert attempt_of(online, "0a", 0) == attempt_of(online, "0a", 3) == "0a", "a resumed one goes on"


def test_a_gate_compares_as_the_checkpoint_was_measured(tiny: Config, checkpoint: Checkpoint) -> None:
    """Of a log of repeated consumption, the command that publishes need not say so again."""
    said = {"seen": "keep", "k": 7, "ks": [7]}
    manifest = checkpoint.manifest | {"k": 7, MEASURED_BY: checkpoint.manifest[MEASURED_BY] | said}
    found = as_measured(tiny.evaluate, manifest, lambda _: False)
    assert (found.seen, found.k, found.ks) == (SeenItems.keep, 7, [5, 7, 10, 20, 50])
    assert as_measured(tiny.evaluate, manifest, lambda _: True) == tiny.evaluate
    found = as_measured(tiny.evaluate, manifest, lambda key: key == "evaluate.k")
    assert (found.seen, found.k) == (SeenItems.keep, 20)
    said_of: list[str] = []
    as_measured(tiny.evaluate, manifest, lambda _: False, said_of.append)
    as_measured(tiny.evaluate, checkpoint.manifest, lambda _: False, said_of.append)
    assert said_of == ["evaluate: k=7 and seen=keep, as when it was trained; evaluate.k and evaluate.seen change it"]
    old = {k: v for k, v in manifest.items() if k != MEASURED_BY}
    found = as_measured(tiny.evaluate, old, lambda _: False)
    assert (found.seen, found.k) == (SeenItems.mask, 7)
