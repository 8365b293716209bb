"""How old the newest interaction is that a model has learned from, and what has happened in the log since."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from data.artifacts.folders import Folder
from data.artifacts.seals import NotSealed, named_in
from data.dataset.inputs import changed_inputs
from data.dataset.prepared import PreparedDataset
from data.sources.values.faults import MAX_TIME_S

DAY_S = 86_400

NUM_NAMED = 3
"""Number of changed files that a warning names."""


def freshness(manifest: dict[str, Any], now: float | None = None, folder: Folder | None = None) -> list[str]:
    """Lines about what a checkpoint or a release has learned: how old that is, and warnings of what is newer.

    Args:
        manifest: of the checkpoint or the release.
        now: unix time in seconds; None means the present.
        folder: of the checkpoint or the release; the dataset is opened by the same credentials, where it lies beside.

    Returns:
        No line about its age where the manifest does not say, or the log has no clock.
    """
    dataset = _dataset(manifest, folder)
    lines = _ages(manifest.get("newest_interaction"), dataset, time.time() if now is None else now)
    if dataset is not None and (changed := changed_inputs(dataset)):
        others = f" and {len(changed) - NUM_NAMED:,} more" if len(changed) > NUM_NAMED else ""
        lines.append(
            f"warning: the log has changed since it was prepared ({', '.join(changed[:NUM_NAMED])}{others}); train"
            " again to learn from what is new"
        )
    return lines


def newest_time(dataset: PreparedDataset, splits: Sequence[str]) -> int | None:
    """The time of the newest interaction in these splits, as the dataset has it; None where they have none."""
    times = [part["time"].to_numpy().max() for part in dataset.parts(*splits, columns=["time"]) if len(part)]
    return int(max(times)) if times else None


def histories_until(dataset: PreparedDataset, splits: Sequence[str]) -> dict[str, int]:
    """Until when the histories of these splits go, in unix seconds, as `histories_until_s`.

    Empty for a log without times, and for events of an endpoint, of which `PreparedDataset.events_until` says it.
    """
    if not dataset.has_clock or dataset.events_until(*splits):
        return {}
    newest_s = newest_time(dataset, splits)
    return {} if newest_s is None else {"histories_until_s": newest_s}


def _ages(newest: float | None, dataset: PreparedDataset | None, now: float) -> list[str]:
    """How old the newest interaction is, and whether the dataset has newer ones; nothing of running numbers."""
    if newest is None or newest > MAX_TIME_S or (dataset is not None and not dataset.has_clock):
        return []
    lines = [f"the newest interaction that it has learned from is of {_day(newest)}, {_age(now - newest)} ago"]
    if dataset is not None and dataset.newest_time > newest:
        later = _age(dataset.newest_time - newest)
        lines.append(
            f"warning: its dataset has interactions up to {_day(dataset.newest_time)}, {later} later; train.fit_on=all"
            " learns from them"
        )
    return lines


def _dataset(manifest: dict[str, Any], folder: Folder | None) -> PreparedDataset | None:
    try:
        return PreparedDataset.open(named_in(folder, manifest["dataset"]["folder"]))
    except NotSealed:
        return None


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _age(seconds: float) -> str:
    days = max(seconds, 0) / DAY_S
    return f"{days:.0f} days" if days >= 2 else f"{days * 24:.0f} hours"
