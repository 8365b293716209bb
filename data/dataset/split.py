"""Train, validation and test parts: by time for all users, by each user's latest items, or as the source gives them."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import numpy as np
import pyarrow as pa

from data.artifacts.errors import ConfigError
from data.sources.schema import SPLITS, DataError

TRAIN, VALIDATION, TEST = SPLITS


class SplitKind(Enum):
    temporal = "temporal"  # one boundary in time for all users
    temporal_by_user = "temporal_by_user"  # each user's latest share is test, the share before it validation
    leave_last_out = "leave_last_out"  # each user's last item is test, the last but one validation
    given = "given"  # the source says


@dataclass(kw_only=True, slots=True)
class SplitConfig:
    """How interactions are parted.

    Attributes:
        kind: see SplitKind.
        validation_share, test_share: temporal: shares of all interactions, the latest being test; temporal_by_user:
            shares of each user's, at least one interaction each.
        validation_from, test_from: temporal: ISO dates (UTC) that take the shares' place.
    """

    kind: SplitKind = SplitKind.temporal
    validation_share: float = 0.1
    test_share: float = 0.1
    validation_from: str | None = None
    test_from: str | None = None

    def __post_init__(self) -> None:
        for name in ("validation_share", "test_share"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"data.split.{name}: {getattr(self, name)} must lie in [0, 1)")
        if self.validation_share + self.test_share >= 1:
            raise ConfigError("data.split: validation_share + test_share must leave something to train on")
        if (self.validation_from is None) != (self.test_from is None):
            raise ConfigError("data.split: give both validation_from and test_from, or neither")
        if self.validation_from and self.test_from and _seconds(self.validation_from) > _seconds(self.test_from):
            raise ConfigError("data.split.validation_from: must not be later than test_from")


@dataclass(frozen=True, slots=True)
class Boundaries:
    """Temporal split: the first second of validation and of test."""

    validation_from: int
    test_from: int

    def as_manifest(self) -> dict[str, Any]:
        return asdict(self)


def boundaries(config: SplitConfig, time_counts: pa.Table) -> Boundaries | None:
    """The temporal boundaries, None for the other kinds.

    Args:
        time_counts: columns `time` (sorted, distinct) and `count`: how many interactions happened when.

    Interactions of one second are never torn apart, so shares are met to within the largest such group.
    """
    if config.kind is not SplitKind.temporal:
        return None
    if config.validation_from and config.test_from:
        return Boundaries(_seconds(config.validation_from), _seconds(config.test_from))
    times, counts = time_counts["time"].to_numpy(), time_counts["count"].to_numpy()
    before = np.cumsum(counts) - counts
    first = [
        int(times[min(np.searchsorted(before, round(share * counts.sum())), len(times) - 1)])
        for share in (1 - config.validation_share - config.test_share, 1 - config.test_share)
    ]
    return Boundaries(*first)


def assign(table: pa.Table, config: SplitConfig, bounds: Boundaries | None) -> pa.Array:
    """The split of each interaction.

    Args:
        table: whole users, sorted by user_row, then oldest first; `split` as the source gave it.

    Returns:
        string array of the table's length, values in `schema.SPLITS`.
    """
    if config.kind is SplitKind.given:
        return table["split"].combine_chunks()
    if bounds is not None:
        return _by_time(table["time"].to_numpy(), bounds)
    if config.kind is SplitKind.temporal_by_user:
        return _latest(table["user_row"].to_numpy(), config.validation_share, config.test_share)
    return _latest(table["user_row"].to_numpy(), 0.0, 0.0)


def check(counts: dict[str, int]) -> None:
    """Refuses a split that leaves nothing to train on or to test."""
    for name in (TRAIN, TEST):
        if not counts.get(name):
            raise DataError(f"the split leaves no {name} interactions (counts: {counts}): change data.split")


def refuse_unsplit(counts: dict[str, int], place: str) -> None:
    """Refuses interactions that a given split says nothing about, rather than lose them."""
    missing = counts["raw_interactions"] - sum(counts[name] for name in SPLITS)
    if missing:
        raise DataError(
            f"{place}: {missing} of {counts['raw_interactions']} interactions have no split; name the column in"
            f" data.source.columns.split and fill it with {', '.join(SPLITS)}, or change data.split.kind"
        )


def _by_time(time: np.ndarray, bounds: Boundaries) -> pa.Array:
    code = (time >= bounds.validation_from).astype(np.int8) + (time >= bounds.test_from).astype(np.int8)
    return pa.DictionaryArray.from_arrays(code, list(SPLITS)).cast(pa.string())


def _latest(user_rows: np.ndarray, validation_share: float, test_share: float) -> pa.Array:
    """Each user's latest shares, rounded, at least one interaction each.

    Users with fewer than three interactions stay in train whole: nothing would be left to know them by.
    """
    _, first, count = np.unique(user_rows, return_index=True, return_counts=True)
    num_test = np.maximum(np.rint(count * test_share), 1).astype(np.int64)
    num_held_out = num_test + np.maximum(np.rint(count * validation_share), 1).astype(np.int64)
    short = (count < 3) | (num_held_out >= count)
    num_test[short] = num_held_out[short] = 0
    position = np.arange(len(user_rows)) - np.repeat(first, count)
    left = np.repeat(count, count) - position
    code = (left <= np.repeat(num_held_out, count)).astype(np.int8) + (left <= np.repeat(num_test, count))
    return pa.DictionaryArray.from_arrays(code, list(SPLITS)).cast(pa.string())


def _seconds(date: str) -> int:
    try:
        parsed = datetime.fromisoformat(date)
    except ValueError as e:
        raise ConfigError(f"data.split: {date!r} is no ISO date such as 2024-01-31") from e
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())
