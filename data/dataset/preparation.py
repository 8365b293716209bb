"""Preparation of a dataset from a raw log.

First the survey passes over the log once and finds its ids, its times and its faults. From these follow the rows of
ids and the boundaries of the split. Then Ray Data groups the interactions into parts of whole users, and one
task sorts, splits and writes each part.
"""

import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import ray

from data.artifacts.folders import Folder
from data.artifacts.seals import is_sealed, sealing
from data.artifacts.structured import jsonable
from data.cluster.console import ProgressReporter
from data.dataset import split
from data.dataset.catalogue import Catalogue, feature_to_json
from data.dataset.config import DataConfig
from data.dataset.inputs import input_states
from data.dataset.inspection import inspect, noted
from data.dataset.prepared import SCHEMA_VERSION, PreparedDataset
from data.dataset.schema import INTERACTIONS
from data.dataset.split import Boundaries, SplitKind, assign, boundaries, refuse_unsplit
from data.dataset.vocabulary import Vocabulary
from data.sequences.positions import positions_within_users, with_positions
from data.sources.schema import SPLITS, DataError, Feature
from data.sources.source import RawLog
from data.sources.survey import Survey, above, survey


def prepare(config: DataConfig, storage: Folder, progress: ProgressReporter = print) -> PreparedDataset:
    """Prepares a dataset, or opens the one that was prepared from the same files with the same values before.

    Args:
        storage: where artifacts are kept; the dataset goes to its folder `datasets`.
        progress: called with a line of text about each step.

    Raises:
        ConfigError: pyarrow cannot open a location that the config names.
        DataError: the log cannot be used. Nothing is left of the dataset.
    """
    request = _request_digest(config)
    folder = storage / "datasets" / f"{config.name}-{request[:10]}"
    is_prepared = is_sealed(folder)
    if not is_prepared:
        with (storage / "datasets" / ".locks").locked(folder.name):  # the first of a sweep's trials prepares for all
            is_prepared = is_sealed(folder)
            if not is_prepared:
                _prepare(config, request, folder, progress)
    dataset = PreparedDataset.open(folder)
    if is_prepared:
        progress(f"dataset {config.name}: already prepared in {folder}")
        for note in dataset.notes:
            progress(f"dataset {config.name}: {noted(note)}")
    return dataset


def _prepare(config: DataConfig, request: str, folder: Folder, progress: ProgressReporter) -> None:
    progress(f"dataset {config.name}: reading the log")
    log = config.source.read()
    found = survey(log, config.min_weight)
    findings = inspect(log, found, config.clock, config.split)
    for line in findings.lines():
        progress(f"dataset {config.name}: {line}")
    bounds = boundaries(config.split, found.times)
    users = _catalogue("user_id", log.users, found.user_ids, log.user_features)
    items = _catalogue("item_id", log.items, found.item_ids, log.item_features)
    progress(
        f"dataset {config.name}: sorting and splitting {found.num_interactions:,} interactions"
        f" of {len(found.user_ids):,} users"
    )
    manifest = _manifest(config, request, found, bounds, users, items, log.context) | findings.as_manifest()
    with sealing(folder, manifest) as staging:
        _write_interactions(config, log, users.ids, items.ids, bounds, staging)
        counts = {name: _count(staging, name, len(users.ids), len(items.ids)) for name in SPLITS}
        manifest["counts"] |= {name: int(by_item.sum()) for name, (_, by_item) in counts.items()}
        split.check({name: manifest["counts"][name] for name in SPLITS})
        for note in split.notes(manifest["counts"]):
            manifest["notes"].append(note)
            progress(f"dataset {config.name}: {noted(note)}")
        if config.split.kind is SplitKind.given:
            refuse_unsplit(manifest["counts"], log.place)
        _with_counts(users, {name: by_user for name, (by_user, _) in counts.items()}).save(staging, "users")
        _with_counts(items, {name: by_item for name, (_, by_item) in counts.items()}).save(staging, "items")
    progress(f"dataset {config.name}: prepared in {folder}")


def _request_digest(config: DataConfig) -> str:
    """Digest of everything that decides the dataset: the config, and the path, size and mtime of each input file."""
    request = {
        "schema": SCHEMA_VERSION,
        "config": _config_to_json(config),
        "files": input_states(config.source.files()),
    }
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def _config_to_json(config: DataConfig) -> dict[str, Any]:
    """The config as JSON values, with the source's class, because two sources may have the same fields."""
    values: dict[str, Any] = jsonable(config)
    values["source"]["adapter"] = type(config.source).__name__
    return values


def _catalogue(
    id_column: str, table: pa.Table | None, ids_in_log: pa.Array, features: tuple[Feature, ...]
) -> Catalogue:
    """All ids of the table and of the interactions, sorted; the features of an id that the table lacks are null."""
    table = table if table is not None else pa.table({id_column: pa.array([], pa.string())})
    ids = Vocabulary.of(table[id_column], ids_in_log)
    index = pc.index_in(ids.values, value_set=table[id_column].combine_chunks())
    columns = {"row": pa.array(np.arange(1, len(ids), dtype=np.int32)), id_column: ids.values}
    if id_column == "item_id":
        title = table["title"] if "title" in table.column_names else table[id_column]
        columns["title"] = pc.coalesce(title.combine_chunks().take(index), ids.values)
    for feature in features:
        columns[feature.name] = _take(table, feature, index)
    return Catalogue(id_column, pa.table(columns), features)


def _take(table: pa.Table, feature: Feature, index: pa.Array) -> pa.Array:
    """The feature's values at these rows of the table; null where the index is null."""
    column = table[feature.name].combine_chunks().cast(feature.kind.arrow_type)
    return feature.kind.clean(column).take(index)


def _write_interactions(
    config: DataConfig, log: RawLog, users: Vocabulary, items: Vocabulary, bounds: Boundaries | None, staging: Folder
) -> None:
    """Encodes the interactions and groups them by part; one task per part sorts and splits it and writes its files."""
    vocabularies = ray.put((users, items))
    place = log.place
    min_weight, users_per_part, split = config.min_weight, config.users_per_part, config.split

    def encode(batch: pa.Table) -> pa.Table:
        users, items = ray.get(vocabularies)
        if batch["fault"].null_count < len(batch):
            raise DataError(f"{place} was changed while it was read: prepare it anew")
        batch = above(batch, min_weight)
        user_rows = users.rows(batch["user_id"])
        rows = {"part": user_rows // users_per_part, "user_row": user_rows, "item_row": items.rows(batch["item_id"])}
        return pa.table(rows | {name: batch[name] for name in ("time", "weight", "position", "split", "context")})

    def write(part: pa.Table) -> pa.Table:
        order = [(name, "ascending") for name in ("user_row", "time", "position", "item_row")]
        part = part.sort_by(order)
        code = assign(part, split, bounds)
        for name in SPLITS:
            rows = part.filter(pc.equal(code, name))
            if rows.num_rows:
                rows = with_positions(rows, positions_within_users(rows["user_row"].to_numpy()))
                file = f"interactions/split={name}/part-{part['part'][0].as_py():05d}.parquet"
                staging.write_table(file, rows.select(INTERACTIONS.names).cast(INTERACTIONS))
        return part.select(["part"]).slice(0, 1)

    encoded = log.interactions.map_batches(encode, batch_format="pyarrow", batch_size=None)
    encoded.groupby("part").map_groups(write, batch_format="pyarrow").count()


def _count(staging: Folder, split: str, num_users: int, num_items: int) -> tuple[np.ndarray, np.ndarray]:
    """Number of interactions of a split by user row and by item row, int64 [num_users] and [num_items].

    The interactions are streamed; `num_users` and `num_items` include row 0.
    """
    by_user, by_item = np.zeros(num_users, dtype=np.int64), np.zeros(num_items, dtype=np.int64)
    if staging.exists(f"interactions/split={split}"):
        path = f"{staging.path}/interactions/split={split}"
        parts = pads.dataset(path, schema=INTERACTIONS, filesystem=staging.filesystem)
        for batch in parts.to_batches(columns=["user_row", "item_row"]):
            by_user += np.bincount(batch["user_row"], minlength=num_users)
            by_item += np.bincount(batch["item_row"], minlength=num_items)
    return by_user, by_item


def _with_counts(catalogue: Catalogue, counts: dict[str, np.ndarray]) -> Catalogue:
    """The catalogue with a column for each split added: `train_count`, `validation_count` and `test_count`.

    Args:
        counts: by split, the number of interactions of each row, int64, row 0 included.
    """
    table = catalogue.table
    for name in SPLITS:
        table = table.append_column(f"{name}_count", pa.array(counts[name][1:]))
    return replace(catalogue, table=table)


def _manifest(
    config: DataConfig,
    request: str,
    found: Survey,
    bounds: Boundaries | None,
    users: Catalogue,
    items: Catalogue,
    context: tuple[str, ...],
) -> dict[str, Any]:
    return {
        "kind": "dataset",
        "schema_version": SCHEMA_VERSION,
        "name": config.name,
        "request": request,
        "config": _config_to_json(config),
        "inputs": input_states(config.source.files()),
        "counts": {
            "users": len(users.ids) - 1,
            "items": len(items.ids) - 1,
            "raw_interactions": found.num_interactions + found.num_left_out,
        }
        | ({"left_out": found.num_left_out} if config.min_weight is not None else {}),
        "boundaries": bounds.as_manifest() if bounds else None,
        "user_features": [feature_to_json(f) for f in users.features],
        "item_features": [feature_to_json(f) for f in items.features],
        "context": list(context),
    }
