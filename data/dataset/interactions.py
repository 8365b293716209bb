"""Writing of a dataset's interactions: encoded, grouped by users, sorted, split; and counting them."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import ray

from data.artifacts.folders import Folder
from data.dataset.config import DataConfig
from data.dataset.schema import INTERACTIONS, MAX_CONTEXT_VALUES, columns_of
from data.dataset.split import Boundaries, SplitKind, assign, copies_of
from data.dataset.vocabulary import SharedRows, Vocabulary
from data.sequences.positions import positions_within_users, with_positions
from data.sources.event_types import is_positive
from data.sources.schema import RAW_INTERACTIONS, SPLITS, DataError
from data.sources.source import RawLog
from data.sources.survey import Survey
from data.sources.values.columns import totals
from data.sources.values.kept import above, with_ids

CHANGED = "was changed while it was read: prepare it anew"

Counts = dict[str, tuple[np.ndarray, np.ndarray]]
"""By split, its numbers of positives by user row and by item row."""

UNREAD = -1
"""The part of a row that stands for what could not be read; its column `split` says it in words."""

POSITIVES, OTHERS = "interactions", "others"
"""Folders of a dataset: its positives, and its negatives with the events that only count as seen."""


def write_interactions(
    config: DataConfig, log: RawLog, users: Vocabulary, items: Vocabulary, bounds: Boundaries | None, staging: Folder
) -> int:
    """Encodes the interactions and groups them by part; one task per part sorts and splits it and writes its files.

    Returns:
        Number of the positives that repeat user, item and time of another one.

    Raises:
        DataError: the log cannot be read any more, or has rows without an id, a time or a weight by now.
    """
    encoded = log.interactions.map_batches(
        _encoder(config, log.place, users, items), batch_format="pyarrow", batch_size=None
    )
    written = encoded.groupby("part").map_groups(_writer(config, bounds, staging), batch_format="pyarrow")
    parts = [part for part in ray.get(written.to_arrow_refs()) if part.num_rows]
    if faults := [fault for part in parts for fault in part["fault"].drop_null().to_pylist()]:
        raise DataError(f"{log.place} was read once, and then not again: {faults[0]}")
    return sum(pc.sum(part["num_copies"]).as_py() for part in parts)


@ray.remote
def _shared(users: Vocabulary, items: Vocabulary) -> tuple[SharedRows, SharedRows]:
    """What all processes that encode find rows by; in a task, so that the driver holds none of it."""
    return SharedRows.of(users), SharedRows.of(items)


def _encoder(config: DataConfig, place: str, users: Vocabulary, items: Vocabulary) -> Callable[[pa.Table], pa.Table]:
    shared = _shared.remote(users, items)
    min_weight, users_per_part, types = config.min_weight, config.users_per_part, config.event_types

    def encode(batch: pa.Table) -> pa.Table:
        user_rows_of, item_rows_of = ray.get(shared)
        batch, faults = with_ids(batch), batch["fault"].drop_null()
        if len(faults) or any(batch[name].null_count for name in ("user_id", "item_id", "time", "weight")):
            return _unread(faults[0].as_py() if len(faults) else f"it {CHANGED}", bool(types))
        batch = above(batch, min_weight)
        batch = types.classified(batch) if types else batch
        user_rows, item_rows = user_rows_of.rows(batch["user_id"]), item_rows_of.rows(batch["item_id"])
        rows = {"part": user_rows // users_per_part, "user_row": user_rows, "item_row": item_rows}
        kept = ("time", "weight", "position", "split", "context", *(["type"] if types else []))
        return pa.table(rows | {name: batch[name] for name in kept})

    return encode


def _unread(fault: str, has_types: bool) -> pa.Table:
    """What the encoder returns for a batch that cannot be used: one row of the part UNREAD.

    An error would be printed with Ray's traceback around it.
    """
    names = ("time", "weight", "position", "split", "context")
    columns = {name: pa.nulls(1, RAW_INTERACTIONS.field(name).type) for name in names}
    columns |= {name: pa.array([0], pa.int32()) for name in ("user_row", "item_row")}
    columns |= {"part": pa.array([UNREAD], pa.int32()), "split": pa.array([fault])}
    return pa.table(columns | ({"type": pa.nulls(1, pa.int16())} if has_types else {}))


def _writer(config: DataConfig, bounds: Boundaries | None, staging: Folder) -> Callable[[pa.Table], pa.Table]:
    split, types, schema = config.split, config.event_types, columns_of(bool(config.event_types))

    def write(part: pa.Table) -> pa.Table:
        if part["part"][0].as_py() == UNREAD:
            return pa.table({"part": [UNREAD], "num_copies": [0], "fault": part["split"].combine_chunks()[:1]})
        order = [(name, "ascending") for name in ("user_row", "time", "position", "item_row")]
        part, number = part.sort_by(order), part["part"][0].as_py()
        is_positive_N = types.having(is_positive)[part["type"]] if types else np.ones(len(part), dtype=bool)
        positives = part.filter(pa.array(is_positive_N))
        code = assign(positives, split, bounds)
        of_folder = {POSITIVES: (positives, code)}
        if not is_positive_N.all():
            others = part.filter(pa.array(~is_positive_N))
            if bounds is not None:
                of_folder[OTHERS] = others, assign(others, split, bounds)
            else:
                previous_split = split_of_others(part["user_row"].to_numpy(), is_positive_N, code)
                is_given = split.kind is SplitKind.given
                of_folder[OTHERS] = others, pc.coalesce(others["split"], previous_split) if is_given else previous_split
        for folder, (table, splits) in of_folder.items():
            for name in SPLITS:
                rows = table.filter(pc.equal(splits, name))
                if rows.num_rows:
                    rows = with_positions(rows, positions_within_users(rows["user_row"].to_numpy()))
                    file = f"{folder}/split={name}/part-{number:05d}.parquet"
                    staging.write_table(file, rows.select(schema.names).cast(schema))
        num_copies = np.count_nonzero(copies_of(positives) != np.arange(len(positives)))
        return pa.table({"part": [number], "num_copies": [num_copies], "fault": pa.nulls(1, pa.string())})

    return write


def split_of_others(user_rows_N: np.ndarray, is_positive_N: np.ndarray, code: pa.Array) -> pa.Array:
    """The split of each interaction that is no positive: that of its user's latest positive before it, or else train.

    Args:
        user_rows_N: the users of all interactions, sorted; each user's are oldest first.
        is_positive_N: bool, which of them are positives.
        code: the split of each positive.
    """
    if not len(code):
        return pa.repeat(SPLITS[0], int((~is_positive_N).sum()))
    latest = (np.cumsum(is_positive_N) - 1)[~is_positive_N]
    has_one = (latest >= 0) & (user_rows_N[is_positive_N][latest] == user_rows_N[~is_positive_N])
    return pc.if_else(pa.array(has_one), code.take(pa.array(np.maximum(latest, 0))), SPLITS[0])


def count_interactions(staging: Folder, split: str, num_users: int, num_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Number of positives of a split by user row and by item row, int64 [num_users] and [num_items].

    The interactions are streamed; `num_users` and `num_items` include row 0.
    """
    by_user, by_item = np.zeros(num_users, dtype=np.int64), np.zeros(num_items, dtype=np.int64)
    if staging.exists(f"{POSITIVES}/split={split}"):
        path = f"{staging.path}/{POSITIVES}/split={split}"
        parts = pads.dataset(path, schema=INTERACTIONS, filesystem=staging.filesystem)
        for batch in parts.to_batches(columns=["user_row", "item_row"]):
            for rows, counts in ((batch["user_row"], by_user), (batch["item_row"], by_item)):
                add_counts(rows.to_numpy(), counts)
    return by_user, by_item


def context_notes(staging: Folder, names: Sequence[str]) -> list[str]:
    """A sentence for each context feature of which the train part has more values than are learned from.

    The interactions are streamed; the counts of values are held.

    Args:
        names: of the context features, in the order of their values.
    """
    train = f"{POSITIVES}/split={SPLITS[0]}"
    if not names or not staging.exists(train):
        return []
    parts = pads.dataset(f"{staging.path}/{train}", schema=INTERACTIONS, filesystem=staging.filesystem)
    nothing = pa.table({"value": pa.array([], pa.string()), "count": pa.array([], pa.int64())})
    counts, num_rows = [nothing for _ in names], 0
    for batch in parts.to_batches(columns=["context"]):
        num_rows += len(batch)
        counts = [_added(of, pc.list_element(batch["context"], at)) for at, of in enumerate(counts)]
    notes = []
    for name, of in zip(names, counts, strict=True):
        if len(of) > MAX_CONTEXT_VALUES:
            others = np.sort(of["count"].to_numpy())[:-MAX_CONTEXT_VALUES].sum()
            notes.append(
                f"context feature {name!r}: {MAX_CONTEXT_VALUES} of {len(of):,} values are known, the most frequent"
                f" ones, and {others / num_rows:.1%} of the train part's interactions have another one, which counts as"
                " missing: make groups of rare values"
            )
    return notes


def _added(counts: pa.Table, values: pa.Array) -> pa.Table:
    """The distinct values that are known, and the `count` of each, with further values."""
    found = pc.value_counts(values.drop_null())
    more = pa.table({"value": found.field("values"), "count": found.field("counts")})
    both = pa.concat_tables([counts, more])
    distinct, sums = totals(both["value"], both["count"])
    return pa.table({"value": distinct, "count": sums})


def refuse_changed(found: Survey, counts: Counts, staging: Folder, log: RawLog, has_unsplit: bool) -> None:
    """Raises DataError if what was written is not what the survey found, because the log was changed in between.

    Interactions with ids that the survey did not see would be those of row 0. Fewer ones than it found are no fault of
    an event log, from which users are forgotten at any time.

    Args:
        counts: by split, what `count_interactions` returned.
        has_unsplit: whether positives without a split are left out.
    """
    num_written = sum(int(by_user.sum()) for by_user, _ in counts.values())
    missing = [found.num_others - count_others(staging)]
    missing += [] if has_unsplit else [found.num_interactions - num_written]
    is_unknown = any(by[0] for of_split in counts.values() for by in of_split)
    if is_unknown or min(missing) < 0 or (max(missing) > 0 and log.events_until_us is None):
        raise DataError(f"{log.place} {CHANGED}")


def count_others(staging: Folder) -> int:
    """Number of the interactions of a dataset that are no positives, by the files' footers."""
    if not staging.exists(OTHERS):
        return 0
    files = pads.dataset(f"{staging.path}/{OTHERS}", schema=INTERACTIONS, filesystem=staging.filesystem)
    return int(files.count_rows())


def add_counts(rows: np.ndarray, counts: np.ndarray) -> None:
    """Adds how often each row occurs to the counts of all rows, in place; it looks at no others than from the lowest to
    the highest one."""
    if len(rows):
        first, last = int(rows.min()), int(rows.max())
        counts[first : last + 1] += np.bincount(rows - first, minlength=last + 1 - first)
