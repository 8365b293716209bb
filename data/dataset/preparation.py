"""Preparation of a dataset from a raw log.

First the survey passes over the log once and finds its ids, its times and its faults. From these follow the rows of
ids and the boundaries of the split. Then Ray Data groups the interactions into parts of whole users, and one
task sorts, splits and writes each part.
"""

import hashlib
import json
import time
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.plugins import in_use
from data.artifacts.seals import NotSealed, is_sealed, sealing
from data.artifacts.secrets import recordable
from data.cluster.code_digest import CODE, code_digest
from data.cluster.console import ProgressReporter
from data.cluster.machine import give_back_memory
from data.dataset import split
from data.dataset.catalogue import Catalogue, feature_to_json
from data.dataset.clock import ClockKind
from data.dataset.config import DataConfig
from data.dataset.inputs import input_states
from data.dataset.inspection import inspect
from data.dataset.interactions import context_notes, count_interactions, refuse_changed, write_interactions
from data.dataset.prepared import SCHEMA_VERSION, PreparedDataset
from data.dataset.split import Boundaries, SplitKind, boundaries, refuse_unsplit
from data.dataset.vocabulary import Vocabulary
from data.sources.event_log.log_from_before import without_forgotten
from data.sources.schema import SPLITS, Feature
from data.sources.source import RawLog, noted
from data.sources.survey import Survey, survey
from data.sources.values.columns import in_one, whole
from data.sources.values.item_vectors import ItemVectors, read_vectors, with_vectors
from data.sources.values.limits import refuse_contexts


def prepare(
    config: DataConfig, storage: Folder, progress: ProgressReporter = print, *, same_code: bool = False
) -> PreparedDataset:
    """Prepares a dataset, or opens the one that was prepared from the same files with the same values before.

    Args:
        storage: where artifacts are kept; the dataset goes to its folder `datasets`.
        progress: called with a line of text about each step.
        same_code: whether a dataset that other code has prepared is prepared again, and replaced.

    Raises:
        ConfigError: pyarrow cannot open a location that the config names.
        DataError: the log cannot be used. Nothing is left of the dataset.
    """
    request = _request_digest(config)
    folder = storage / "datasets" / _name(config, request)
    code = code_digest(*in_use(), packages=["data"])
    is_prepared = _is_prepared(folder, code if same_code else None)
    if not is_prepared:
        with (storage / "datasets" / ".locks").locked(folder.name):  # the first of a sweep's trials prepares for all
            is_prepared = _is_prepared(folder, code if same_code else None)
            if not is_prepared:
                _prepare(config, request, code, folder, progress)
                give_back_memory()
    dataset = PreparedDataset.open(folder)
    if is_prepared:
        by_other = dataset.manifest.get(CODE) != code
        again = ", by another version of the code or its libraries; remove it to prepare it again" if by_other else ""
        progress(f"dataset {config.name}: already prepared in {folder}{again}")
        for note in dataset.notes:
            progress(f"dataset {config.name}: {noted(note)}")
    return dataset


def refuse_replaced(dataset: PreparedDataset) -> None:
    """Raises NotSealed if a command of other code has prepared a dataset again, and otherwise, since it was opened.

    What was learned from the former files would be sealed with the ids of the present ones.
    """
    if PreparedDataset.open(dataset.folder).fingerprint != dataset.fingerprint:
        raise NotSealed(
            f"dataset {dataset.folder}: another command, of other code, has prepared it again while this one used it;"
            " run this one again"
        )


def dataset_name(config: DataConfig) -> str:
    """The name of the folder of the dataset that `prepare` would make of the log as it is now."""
    return _name(config, _request_digest(config))


def _name(config: DataConfig, request: str) -> str:
    return f"{config.name}-{request[:10]}"


def _is_prepared(folder: Folder, code: str | None) -> bool:
    """Whether the dataset is there and, unless `code` is None, made by this code."""
    return is_sealed(folder) and (code is None or folder.read_json(MANIFEST).get(CODE) == code)


def _prepare(config: DataConfig, request: str, code: str, folder: Folder, progress: ProgressReporter) -> None:
    progress(f"dataset {config.name}: reading the log")
    read_us = time.time_ns() // 1000
    log, types = config.source.read(), config.event_types
    refuse_contexts(log.context, log.place)
    vectors = _vectors(config, log)
    is_order = config.clock is ClockKind.order and log.events_until_us is None  # events have moments
    found = survey(log, config.min_weight, types, is_order)
    log = without_forgotten(log, found.user_ids)
    findings = inspect(log, found, config.clock, config.split, vectors)
    for line in findings.lines():
        progress(f"dataset {config.name}: {line}")
    bounds = found.times.ask(partial(boundaries, config.split))
    log = log if vectors is None else with_vectors(log, vectors, found.item_ids)
    users = _catalogue("user_id", log.users, found.user_ids, log.user_features)
    items = _catalogue("item_id", log.items, found.item_ids, log.item_features)
    others = f" and {found.num_others:,} that are negative or only count as seen," if types else ""
    progress(
        f"dataset {config.name}: sorting and splitting {found.num_interactions:,} interactions{others}"
        f" of {len(found.user_ids):,} users"
    )
    manifest = _manifest(config, request, found, bounds, users, items, log.context) | findings.as_manifest()
    manifest |= _moments(read_us, log) | {CODE: code}
    with sealing(folder, manifest) as staging:
        num_copies = write_interactions(config, log, users.ids, items.ids, bounds, staging)
        counts = {name: count_interactions(staging, name, users.num_rows, items.num_rows) for name in SPLITS}
        manifest["counts"] |= {name: int(by_item.sum()) for name, (_, by_item) in counts.items()}
        split.check({name: manifest["counts"][name] for name in SPLITS})
        by_user = {name: of_users for name, (of_users, _) in counts.items()}
        of_context = context_notes(staging, log.context)
        for note in (*split.notes(manifest["counts"], by_user, num_copies), *of_context):
            manifest["notes"].append(note)
            progress(f"dataset {config.name}: {noted(note)}")
        if config.split.kind is SplitKind.given:
            refuse_unsplit(manifest["counts"], log.place)
        refuse_changed(found, counts, staging, log, has_unsplit=config.split.kind is SplitKind.given)
        _with_counts(users, by_user).save(staging, "users")
        _with_counts(items, {name: by_item for name, (_, by_item) in counts.items()}).save(staging, "items")
    progress(f"dataset {config.name}: prepared in {folder}")


def _vectors(config: DataConfig, log: RawLog) -> ItemVectors | None:
    """The vectors of `data.item_vectors`, read with the log's spellings of missing values; None where it is null."""
    if config.item_vectors is None:
        return None
    taken = [feature.name for feature in log.item_features]
    return read_vectors(config.item_vectors, taken, config.source.missing_spellings())


def _moments(read_us: int, log: RawLog) -> dict[str, int]:
    """The manifest's entries that say until when things are in the dataset, in microseconds since 1970.

    `log_read_us`: whoever was forgotten at an endpoint later may be in the dataset. An event log may still have users
    who were forgotten after its last compaction.

    Args:
        read_us: when the log was opened.
    """
    if (until_us := log.events_until_us) is None:
        return {"log_read_us": read_us}
    return {"log_read_us": min(read_us, until_us), "events_until_us": until_us}


def _request_digest(config: DataConfig) -> str:
    """Digest of everything that decides the dataset.

    That is the config, the path, size and mtime of each input file, and until when a log that grows is read.
    """
    request = {
        "schema": SCHEMA_VERSION,
        "config": config.as_request(),
        "files": input_states(config.input_files()),
    } | config.read_until()
    return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()


def _catalogue(
    id_column: str, table: pa.Table | None, ids_in_log: pa.Array, features: tuple[Feature, ...]
) -> Catalogue:
    """All ids of the table and of the interactions, sorted; the features of an id that the table lacks are null."""
    table = table if table is not None else pa.table({id_column: pa.array([], pa.string())})
    ids = Vocabulary.of(table[id_column], ids_in_log)
    index = pc.index_in(ids.values, value_set=in_one(table[id_column]))
    columns = {"row": pa.array(np.arange(1, len(ids), dtype=np.int32)), id_column: ids.values}
    if id_column == "item_id":
        title = table["title"] if "title" in table.column_names else table[id_column]
        columns["title"] = in_one(pc.coalesce(in_one(title).cast(pa.large_string()).take(index), ids.values))
    for feature in features:
        columns[feature.name] = _take(table, feature, index)
    return Catalogue(id_column, pa.table(columns), features)


def _take(table: pa.Table, feature: Feature, index: pa.Array) -> pa.Array:
    """The feature's values at these rows of the table; null where the index is null."""
    column = whole(table[feature.name].cast(feature.kind.arrow_type))
    return feature.kind.clean(column).take(index)


def _with_counts(catalogue: Catalogue, counts: dict[str, np.ndarray]) -> Catalogue:
    """The catalogue with a column for each split added: `train_count`, `validation_count` and `test_count`.

    Args:
        counts: by split, the number of interactions of each row, int64, row 0 included.
    """
    table = catalogue.table
    for name in SPLITS:
        table = table.append_column(f"{name}_count", pa.array(counts[name][1:]))
    return catalogue.with_table(table)


def _manifest(
    config: DataConfig,
    request: str,
    found: Survey,
    bounds: Boundaries | None,
    users: Catalogue,
    items: Catalogue,
    context: tuple[str, ...],
) -> dict[str, Any]:
    types = config.event_types
    return {
        "kind": "dataset",
        "schema_version": SCHEMA_VERSION,
        "name": config.name,
        "request": request,
        "config": recordable(config.as_json()),
        "inputs": recordable(input_states(config.input_files())),
        "counts": {
            "users": users.num_ids,
            "items": items.num_ids,
            "raw_interactions": found.num_interactions + found.num_others + found.num_left_out,
        }
        | ({"others": found.num_others} if types else {})
        | ({"left_out": found.num_left_out} if types or config.min_weight is not None else {}),
        "boundaries": bounds.as_manifest() if bounds else None,
        "user_features": [feature_to_json(f) for f in users.features],
        "item_features": [feature_to_json(f) for f in items.features],
        "context": list(context),
    } | ({"event_types": types.as_manifest()} if types else {})
