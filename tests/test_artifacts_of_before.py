"""Artifacts that were written before mechanisms had folders still open, and answer as they did.

tests/fixtures/var was written by towers.train, serve.publish and serve.promote of version 0.1.0 (commit 8475b0d) on a
synthetic log of 60 users and 40 items.
"""

from pathlib import Path

import pytest
import torch

from data.artifacts.folders import Folder
from data.dataset.prepared import PreparedDataset
from serve.releases.golden_queries import check_golden
from serve.releases.registry import ReleaseRegistry
from towers.checkpoint.checkpoint import open_checkpoint
from towers.evaluation.report import report_of

STORAGE = Folder.of(str(Path(__file__).parent / "fixtures" / "var"))
CHECKPOINT, RELEASE, DATASET = "fixture-20a99cc0e7", "fixture-d7b4b711cd", "fixture-c231d49c68"


def test_a_dataset_opens() -> None:
    dataset = PreparedDataset.open(STORAGE / "datasets" / DATASET)
    assert (len(dataset.users.ids), len(dataset.items.ids)) == (61, 41)
    assert dataset.sequences("train").lengths_U.sum() == dataset.manifest["counts"]["train"]


def test_a_checkpoint_opens_with_its_report() -> None:
    checkpoint = open_checkpoint(STORAGE / "checkpoints" / CHECKPOINT)
    report = report_of(checkpoint.manifest)
    assert report.metrics["recall@20"] == pytest.approx(checkpoint.manifest["metrics"]["recall@20"])
    assert "popularity" in report.rankings
    assert checkpoint.model.item_vectors(torch.arange(41)).shape == (41, 8)


def test_a_release_opens_and_answers_its_golden_queries() -> None:
    release = ReleaseRegistry.of(STORAGE).open(RELEASE)
    check_golden(release)
    assert release.manifest["checkpoint"] == CHECKPOINT


def test_the_live_pointer_is_read() -> None:
    live = ReleaseRegistry.of(STORAGE).live()
    assert live is not None
    assert (live.release, live.previous, live.experiment) == (RELEASE, None, None)
