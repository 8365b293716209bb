"""Splits interactions into train, validation and test: by time, by each user's latest items, or as the log assigns."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import numpy as np
import pyarrow as pa

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import ConfigError
from data.sequences.membership import last_copies
from data.sequences.positions import positions_within_users
from data.sources.schema import SPLITS, DataError

TRAIN, VALIDATION, TEST = SPLITS

NO_VALIDATION = (
    "the split leaves no validation interactions: no epoch can be chosen and no re-ranker be fitted; change data.split"
)


MOSTLY_NEW = 0.9
"""A note says so if this share of a held-out part's users, or more, have no interaction before it."""


class SplitKind(Enum):
    """How interactions are assigned to splits."""

    temporal = "temporal"  # by two moments in time, the same for all users
    temporal_by_user = "temporal_by_user"  # each user's latest share is test, the share before it is validation
    leave_last_out = "leave_last_out"  # each user's last interaction is test, the last but one is validation
    given = "given"  # as a column of the log assigns them


@dataclass(kw_only=True, slots=True)
class SplitConfig:
    """How interactions are split.

    Attributes:
        kind: see SplitKind.
        validation_share: share of the interactions that form the validation split, the latest ones before the test
            split; counted as `test_share` is.
        test_share: share of the interactions that form the test split, the latest ones: of all interactions (temporal),
            or of each user's and at least one (temporal_by_user). The other kinds ignore both shares. A temporal split
            without dates needs one.
        validation_from: for temporal alone, an ISO date (UTC if it names no zone) at which the validation split begins,
            in place of the share; needs `test_from` too.
        test_from: the same for the test split.
    """

    kind: SplitKind = SplitKind.temporal
    validation_share: float = bounded(0.1, at_least=0, below=1)
    test_share: float = bounded(0.1, at_least=0, below=1)
    validation_from: str | None = None
    test_from: str | None = None

    def __post_init__(self) -> None:
        check_bounds(self, "data.split")
        if self.validation_share + self.test_share >= 1:
            raise ConfigError("data.split: validation_share + test_share must leave something to train on")
        if self.kind is SplitKind.temporal and not self.test_share and self.test_from is None:
            raise ConfigError(
                "data.split.test_share: 0 leaves no test part to measure on: give one, such as 0.1;"
                " train.fit_on=all learns from its interactions too, once they are measured on"
            )
        if (self.validation_from is None) != (self.test_from is None):
            raise ConfigError("data.split: give both validation_from and test_from, or neither")
        if self.validation_from and self.test_from and _seconds(self.validation_from) > _seconds(self.test_from):
            raise ConfigError("data.split.validation_from: must not be later than test_from")
        if self.validation_from and self.kind is not SplitKind.temporal:
            raise ConfigError(
                f"data.split.validation_from: {self.validation_from} is for data.split.kind=temporal alone, and the"
                f" kind is {self.kind.value}: set that kind, or leave validation_from and test_from out"
            )


@dataclass(frozen=True, slots=True)
class Boundaries:
    """The boundaries of a temporal split.

    Attributes:
        validation_from: unix time of the first second of validation.
        test_from: unix time of the first second of test.
    """

    validation_from: int
    test_from: int

    def as_manifest(self) -> dict[str, Any]:
        """The boundaries as the manifest holds them."""
        return asdict(self)


def boundaries(config: SplitConfig, time_counts: pa.Table) -> Boundaries | None:
    """The boundaries of a temporal split; None for the other kinds.

    Interactions of one second all go to the same split, so a share can differ from the configured one by as much as the
    largest number of interactions in one second.

    Args:
        time_counts: columns `time` (sorted, distinct) and `count`, the number of interactions at that time.
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
        table: columns `user_row`, `item_row`, `time` and `split` (as the source gave it), with all interactions of each
            of its users, sorted by user, then oldest first. Splits by user count interactions with the same user, item
            and time as one, so that all of these are in one split.
        bounds: of a temporal split.

    Returns:
        string array of the table's length with values in `SPLITS`; null where a given split is missing.
    """
    if config.kind is SplitKind.given:
        return table["split"].combine_chunks()
    if bounds is not None:
        return _by_time(table["time"].to_numpy(), bounds)
    shares = (config.validation_share, config.test_share) if config.kind is SplitKind.temporal_by_user else (0.0, 0.0)
    last_N = copies_of(table)
    is_last_N = last_N == np.arange(len(last_N))
    code = _latest(table["user_row"].to_numpy()[is_last_N], *shares)
    return code.take(pa.array(np.cumsum(is_last_N)[last_N] - 1))


def copies_of(table: pa.Table) -> np.ndarray:
    """`last_copies` of a table's interactions."""
    return last_copies(*(table[name].to_numpy() for name in ("user_row", "time", "item_row")))


def check(counts: dict[str, int]) -> None:
    """Raises DataError if a split leaves nothing to train on or to test.

    Args:
        counts: number of interactions by split.
    """
    for name in (TRAIN, TEST):
        if not counts.get(name):
            raise DataError(f"the split leaves no {name} interactions (counts: {counts}): change data.split")


def notes(counts: Mapping[str, int], by_user: Mapping[str, np.ndarray], num_copies: int = 0) -> list[str]:
    """What to know of a split; one sentence each.

    Args:
        counts: number of positives by split.
        by_user: int64, by split, the number of each user's positives.
        num_copies: positives that repeat another one (`copies_of`).
    """
    found = [] if counts.get(VALIDATION) else [NO_VALIDATION]
    if num_copies:
        total = sum(counts.get(name, 0) for name in SPLITS)
        found.append(
            f"{num_copies:,} of {total:,} interactions repeat user, item and time of another, as an export that was"
            " joined twice has them: they count each time; leave them out of the log if they happened once"
        )
    before_U = by_user[TRAIN]
    for name in (VALIDATION, TEST):
        is_there_U = by_user[name] > 0
        num, num_new = int(is_there_U.sum()), int((is_there_U & (before_U == 0)).sum())
        if num and num_new >= MOSTLY_NEW * num:
            found.append(
                f"{num_new:,} of {num:,} users of the {name} part have no interaction before it: they get popular items"
                " or are placed by their features, so epochs, trials and models hardly differ there; where ids are of"
                " sessions or of visitors who come once, hold out the last interactions of each"
                " (data.split.kind=leave_last_out or temporal_by_user)"
            )
        before_U = before_U + by_user[name]
    return found


def unused_notes(kind: SplitKind, own_split: str | None) -> list[str]:
    """That the log assigns its interactions to splits, and the config does not ask for that; at most one sentence.

    Args:
        own_split: the setting by which the log does so; None where it does not.
    """
    if own_split is None or kind is SplitKind.given:
        return []
    return [f"{own_split}: the log's own split is not used, because data.split.kind is {kind.value}; given uses it"]


def refuse_unsplit(counts: dict[str, int], place: str) -> None:
    """Raises DataError if the log assigns some interactions to no split, because these would be lost.

    Args:
        counts: number of positives by split, `raw_interactions`, the number in the log, and if there are any, `others`,
            the number of those that are not positive, and `left_out`, of those that are not kept.
        place: where the log is, for the message.
    """
    num_kept = counts["raw_interactions"] - counts.get("left_out", 0) - counts.get("others", 0)
    missing = num_kept - sum(counts[name] for name in SPLITS)
    if missing:
        raise DataError(
            f"{place}: {missing} of {num_kept} interactions have no split; name the column in"
            f" data.source.columns.split and fill it with {', '.join(SPLITS)}, or change data.split.kind"
        )


def _by_time(time: np.ndarray, bounds: Boundaries) -> pa.Array:
    code = (time >= bounds.validation_from).astype(np.int8) + (time >= bounds.test_from).astype(np.int8)
    return pa.DictionaryArray.from_arrays(code, list(SPLITS)).cast(pa.string())


def _latest(user_rows: np.ndarray, validation_share: float, test_share: float) -> pa.Array:
    """The split of each interaction by shares of each user's latest ones, rounded, at least one interaction each.

    All interactions of a user are in train if the user has fewer than three, or if none would be left in train.
    """
    _, count = np.unique(user_rows, return_counts=True)
    num_test = np.maximum(np.rint(count * test_share), 1).astype(np.int64)
    num_held_out = num_test + np.maximum(np.rint(count * validation_share), 1).astype(np.int64)
    short = (count < 3) | (num_held_out >= count)
    num_test[short] = num_held_out[short] = 0
    left = np.repeat(count, count) - positions_within_users(user_rows)
    code = (left <= np.repeat(num_held_out, count)).astype(np.int8) + (left <= np.repeat(num_test, count))
    return pa.DictionaryArray.from_arrays(code, list(SPLITS)).cast(pa.string())


def _seconds(date: str) -> int:
    try:
        parsed = datetime.fromisoformat(date)
    except ValueError as e:
        raise ConfigError(f"data.split: {date!r} is no ISO date such as 2024-01-31") from e
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp())
