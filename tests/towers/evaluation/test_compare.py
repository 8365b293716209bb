"""Comparing checkpoints: what is tested, what is refused, and the entry point as a user types it."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import fs

from conf.entry import FOLDER
from conf.schema import Config
from data.artifacts.folders import Folder, StorageConfig
from data.dataset.preparation import prepare
from data.dataset.prepared import PreparedDataset
from serve.publish import _published
from towers.checkpoint.checkpoint import Checkpoint
from towers.checkpoint.comparison import compare
from towers.checkpoint.tensor_files import CheckpointError
from towers.compare import task as compare_command
from towers.evaluation.config import SeenItems
from towers.evaluation.measure import evaluate
from towers.evaluation.paired import differences
from towers.evaluation.report import report_of
from towers.model.config import FittedSplits
from towers.training.fit import train


@pytest.fixture(scope="module")
def worse(tiny: Config, dataset: PreparedDataset) -> Checkpoint:
    """One epoch instead of four."""
    return train(replace(tiny, train=replace(tiny.train, epochs=1), seed=3), dataset, Folder.of(tiny.storage.root))


def test_differences_are_paired_by_user(tiny: Config) -> None:
    """The same means, and users who all gain the same beside users who go up and down."""
    random = np.random.default_rng(0)
    theirs = {"recall@20": random.random(200), "ndcg@20": random.random(200)}
    ours = {"recall@20": theirs["recall@20"] + 0.01, "ndcg@20": random.permutation(theirs["ndcg@20"]) + 0.01}
    found = {d.metric: d for d in differences("towers", ours, theirs, tiny.evaluate)}
    assert [d.difference for d in found.values()] == pytest.approx([0.01, 0.01])
    assert found["recall@20"].is_significant
    assert found["recall@20"].interval == pytest.approx([0.01, 0.01], abs=1e-6)
    assert not found["ndcg@20"].is_significant
    assert found["ndcg@20"].interval[0] < 0 < found["ndcg@20"].interval[1]


def test_against_itself_nothing_differs(tiny: Config, dataset: PreparedDataset, checkpoint: Checkpoint) -> None:
    found = compare(checkpoint, checkpoint, dataset, tiny.evaluate).differences
    assert {(d.difference, d.p, *d.interval) for d in found} == {(0, 1, 0, 0)}


@pytest.mark.parametrize("values", [{"seen": SeenItems.keep}, {"seen": SeenItems.mask_200}, {"max_users": 40}], ids=str)
def test_it_measures_as_an_evaluation_with_the_same_values_does(
    tiny: Config, dataset: PreparedDataset, checkpoint: Checkpoint, values: dict[str, Any]
) -> None:
    config = replace(tiny.evaluate, baselines=[], resamples=100, **values)
    model, reranker, orders = checkpoint.model, checkpoint.reranker, (checkpoint.ties, checkpoint.popularity_I)
    report = evaluate(model, reranker, dataset, FittedSplits.train, config, checkpoint.item_vectors_ID, *orders)
    for d in compare(checkpoint, checkpoint, dataset, config).differences:
        assert d.checkpoint == pytest.approx(report.rankings[d.ranking][d.metric]), (d.ranking, d.metric)


def test_it_says_how_many_users_were_asked_and_who_has_learned_from_more(
    tiny: Config, dataset: PreparedDataset, checkpoint: Checkpoint
) -> None:
    config, whole = replace(tiny.evaluate, resamples=100, max_users=40), report_of(checkpoint.manifest).num_queries
    same = compare(checkpoint, checkpoint, dataset, config)
    assert same.notes == [f"measured on 40 of {whole:,} users, drawn at random (evaluate.max_users)"]
    assert (same.as_json()["num_users"], same.as_json()["sampled_from"]) == (40, whole)
    on_both = replace(checkpoint, manifest=checkpoint.manifest | {"fit_on": "train_validation"})
    asked, learned = compare(on_both, checkpoint, dataset, replace(config, max_users=None)).notes
    assert asked == f"measured on {whole:,} users"
    assert learned == (
        "they have learned from different parts (the checkpoint from train and validation, the baseline from train),"
        " which is part of the difference; train both with the same train.fit_on"
    )


@pytest.mark.slow
def test_means_are_those_of_the_reports(
    tiny: Config, dataset: PreparedDataset, checkpoint: Checkpoint, worse: Checkpoint
) -> None:
    for d in compare(checkpoint, worse, dataset, tiny.evaluate).differences:
        ours, theirs = (report_of(one.manifest).rankings[d.ranking][d.metric] for one in (checkpoint, worse))
        assert (d.checkpoint, d.baseline) == pytest.approx((ours, theirs))
        assert d.interval[0] <= d.difference <= d.interval[1]


@pytest.mark.slow
def test_checkpoints_of_different_datasets_are_refused(
    tiny: Config, dataset: PreparedDataset, checkpoint: Checkpoint, root: Path
) -> None:
    storage = Folder.of(str(root))
    elsewhere = replace(tiny.data, source=replace(tiny.data.source, seed=5))
    other = train(
        replace(tiny, data=elsewhere, train=replace(tiny.train, epochs=1)), prepare(elsewhere, storage), storage
    )
    with pytest.raises(CheckpointError, match="only checkpoints of one dataset can be compared"):
        compare(checkpoint, other, dataset, tiny.evaluate)


def run(module: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parent), "WANDB_SILENT": "true"}
    command = [sys.executable, "-m", module, "cluster.dashboard=false", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=180)


@pytest.mark.slow
def test_the_entry_point_writes_table_json_and_wandb(checkpoint: Checkpoint, worse: Checkpoint, tmp_path: Path) -> None:
    folders = (f"checkpoint={checkpoint.folder}", f"baseline={worse.folder}")
    done = run("towers.compare", *folders, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"{checkpoint.name} against {worse.name}" in done.stdout.replace("\n", " ")
    (summary,) = (tmp_path / "var" / "runs" / "compare").rglob("summary.json")
    assert {d["metric"] for d in json.loads(summary.read_text())["differences"]} >= {"recall@20", "ndcg@20"}
    assert list((tmp_path / "var" / "wandb").rglob("*.wandb"))


@pytest.mark.slow
def test_a_missing_baseline_is_one_line(checkpoint: Checkpoint, tmp_path: Path) -> None:
    done = run("towers.compare", f"checkpoint={checkpoint.folder}", cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert "baseline=" in done.stderr


@pytest.mark.slow
def test_a_checkpoint_is_named_as_it_is_printed_where_the_storage_has_an_endpoint_of_its_own(
    tiny: Config, checkpoint: Checkpoint, bucket: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `towers.train` prints has neither the options nor the credentials of the storage's URI."""
    copy = bucket / "checkpoints" / checkpoint.name
    fs.copy_files(checkpoint.folder.path, copy.path, checkpoint.folder.filesystem, copy.filesystem)
    evaluate = replace(tiny.evaluate, resamples=100, max_users=20)
    config = replace(tiny, storage=StorageConfig(root=bucket.uri), evaluate=evaluate, checkpoint=str(copy))
    assert "?" in bucket.uri and "?" not in str(copy)
    assert compare_command(replace(config, baseline=str(copy)))["checkpoint"] == str(copy)
    monkeypatch.setattr("serve.releases.publish.publish", lambda _, of, *__, **___: of.name)
    assert _published(config) == checkpoint.name
