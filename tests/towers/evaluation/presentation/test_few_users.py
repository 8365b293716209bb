"""Reports on users of whom nothing is known, or on very few: what cannot be said of them is not said."""

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conf.schema import Config
from data.artifacts.errors import ConfigError
from data.dataset.prepared import PreparedDataset
from towers.checkpoint.checkpoint import Checkpoint
from towers.evaluation.config import EvaluateConfig
from towers.evaluation.intervals import MIN_USERS
from towers.evaluation.measure import evaluate
from towers.evaluation.paired import difference_table, differences
from towers.evaluation.presentation import plots
from towers.evaluation.presentation.tables import metrics_table
from towers.evaluation.report import NO_KNOWN_USERS
from towers.model.config import FittedSplits
from towers.reranking.calibration import Calibration


@pytest.mark.parametrize("is_of_before", [False, True])
def test_where_no_user_is_known_the_re_ranker_has_no_calibration(
    tiny: Config, dataset: PreparedDataset, checkpoint: Checkpoint, tmp_path: Path, is_of_before: bool
) -> None:
    """Such as sessions under one boundary in time: the plot of nothing ended in a traceback after the training, and the
    table said that the calibration error was 0.0000."""
    model, small = deepcopy(checkpoint.model), replace(tiny.evaluate, baselines=[], max_users=40)
    for is_known_N in (model.user_ids.known_N, model.item_places_N):
        is_known_N.zero_()
    report = evaluate(model, checkpoint.reranker, dataset, FittedSplits.train, small, ties=checkpoint.ties)
    assert report.calibration is None and NO_KNOWN_USERS in report.notes
    assert "calibration error" not in str(metrics_table(report, "name").caption)
    if is_of_before:  # the checkpoint of such a training is measured by towers.evaluate
        report = replace(report, calibration=Calibration.of(np.zeros(0), np.zeros(0, bool)).as_json())
    assert "reliability" not in plots.save(report, tmp_path)


@pytest.mark.parametrize(("num", "is_few"), [(1, True), (MIN_USERS - 1, True), (MIN_USERS, False)])
def test_intervals_of_few_users_are_said_to_mean_little(
    tiny: Config, dataset: PreparedDataset, checkpoint: Checkpoint, num: int, is_few: bool
) -> None:
    """Of one user it was +0.1000 (+0.1000 to +0.1000)."""
    config = replace(tiny.evaluate, baselines=[], max_users=num, resamples=100)
    report = evaluate(checkpoint.model, checkpoint.reranker, dataset, FittedSplits.train, config)
    said = f"{num} users are too few for intervals"
    assert (said in str(metrics_table(report, "name").caption)) == is_few
    column = {"ndcg@20": np.full(num, 0.5)}
    pairs = differences("towers", column, {"ndcg@20": np.zeros(num)}, config)
    assert (said in str(difference_table(pairs, "title", 20).caption)) == is_few


def test_an_interval_needs_resamples() -> None:
    with pytest.raises(ConfigError, match=r"evaluate\.resamples: 1 must be at least 100"):
        EvaluateConfig(resamples=1)
