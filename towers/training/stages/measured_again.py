"""Measures a checkpoint by other values of `evaluate` than those that its own report was made by."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from data.artifacts.json_text import json_text
from data.artifacts.structured import jsonable
from data.cluster.console import ProgressReporter
from data.dataset.prepared import PreparedDataset
from towers.checkpoint.backtest import measurable
from towers.checkpoint.checkpoint import Checkpoint
from towers.evaluation.config import EvaluateConfig, SeenItems
from towers.evaluation.measure import evaluate
from towers.evaluation.report import Report, report_of
from towers.model.config import FittedSplits

MEASURED_BY = "measured_by"
"""Key of a checkpoint's manifest with the values that its report was made by; earlier versions did not write it."""

BESIDE = ("batch_size", "published", "published_on", "published_seen", "published_split")
"""Values of `evaluate` that change nothing of what is measured."""


def measured_by(config: EvaluateConfig) -> dict[str, Any]:
    """The values that decide what a report holds, as JSON."""
    return {name: value for name, value in jsonable(config).items() if name not in BESIDE}


def report_by(
    config: EvaluateConfig, checkpoint: Checkpoint, dataset: PreparedDataset, progress: ProgressReporter = print
) -> Report:
    """The report of a checkpoint, which is measured again where its own was made by other values.

    What was decided on the validation part, and the re-ranker, stay as they are.

    Args:
        progress: called with a line of text about what differs.

    Raises:
        ConfigError: no user has a test interaction with an item that is new to them.
    """
    if not (differences := _differences(checkpoint.manifest, config)):
        return report_of(checkpoint.manifest)
    progress(f"train: {checkpoint.name} was measured by other values ({differences}), and is measured again")
    return measure_checkpoint(config, checkpoint, dataset)


def measure_checkpoint(config: EvaluateConfig, checkpoint: Checkpoint, dataset: PreparedDataset) -> Report:
    """Measures a checkpoint, or its backtest where its towers have seen the test part, on the test part."""
    one = measurable(checkpoint)
    fit_on, orders = FittedSplits(one.manifest["fit_on"]), (one.ties, one.popularity_I)
    report = evaluate(one.model, one.reranker, dataset, fit_on, config, one.item_vectors_ID, *orders)
    if one is checkpoint:
        return report
    note = f"measured by the backtest {one.name}: the towers of {checkpoint.name} have seen the test part"
    return replace(report, notes=[note, *report.notes])


def as_measured(
    config: EvaluateConfig,
    manifest: Mapping[str, Any],
    is_given: Callable[[str], bool],
    progress: ProgressReporter | None = None,
) -> EvaluateConfig:
    """The values to measure a checkpoint by: the cut-off and what becomes of seen items are those of its own report.

    Whether repeated consumption is the task is known to the checkpoint, and need not be said by whoever names it.

    Args:
        manifest: of a checkpoint or a release. Those of earlier versions do not say what became of seen items.
        is_given: whether the command was given a value, by its key. Such a value stays.
        progress: called with a line of text where a value is another than the command's own.
    """
    before = {"seen": config.seen, "k": manifest["k"]} | manifest.get(MEASURED_BY, {})
    k = config.k if is_given("evaluate.k") else int(before["k"])
    seen = config.seen if is_given("evaluate.seen") else SeenItems(before["seen"])
    if progress is not None and (k, seen) != (config.k, config.seen):
        how = "as when it was trained; evaluate.k and evaluate.seen change it"
        progress(f"evaluate: k={k} and seen={seen.value}, {how}")
    return replace(config, k=k, ks=sorted({*config.ks, k}), seen=seen)


def told_apart(config: EvaluateConfig, manifest: Mapping[str, Any]) -> str | None:
    """A digest of the values of a measurement, for its run in W&B; None if they are those of the checkpoint's report.

    Two measurements of a checkpoint by different values so are two runs, and none overwrites the other.

    Args:
        manifest: of the checkpoint.
    """
    if MEASURED_BY in manifest and not _differences(manifest, config):
        return None
    return hashlib.sha256(json_text(measured_by(config), sort_keys=True).encode()).hexdigest()[:8]


def _differences(manifest: Mapping[str, Any], config: EvaluateConfig) -> str:
    """What a report was made by that is another value now; empty if there is nothing."""
    now, before = measured_by(config), manifest.get(MEASURED_BY)
    if before is None:  # what can be told from the report itself
        cut_offs = sorted(int(name.partition("@")[2]) for name in manifest["metrics"] if name.startswith("recall@"))
        before = now | {"k": manifest["k"]} | ({} if set(cut_offs) == set(now["ks"]) else {"ks": cut_offs})
    keys = [key for key in now if key in before and before[key] != now[key]]
    return "; ".join(f"evaluate.{key} was {before[key]} and is {now[key]}" for key in keys)
