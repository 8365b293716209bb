"""Drafts a release from the live one with items added, changed or removed: the mechanism behind `serve.refresh`.

The item tower of the live release embeds new and changed items by their features. The new release shares the towers,
re-ranker and users of the live one, and the vectors of all items that did not change.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.cluster.console import ProgressReporter
from data.dataset.catalogue import Catalogue
from data.dataset.catalogue_update import CatalogueUpdate, notes_on, updated
from data.dataset.coverage import refuse_look_alikes
from data.sources.files import files_at, format_of, layout_of
from data.sources.schema import DataError, Feature
from data.sources.settings import log_settings
from data.sources.tables import Columns, TableSource
from data.sources.values.columns import in_one, whole
from data.sources.values.item_vectors import read_vectors
from serve.index.config import IndexConfig
from serve.releases.building.build import build_release
from serve.releases.building.draft import ReleaseDraft, digest, release_id
from serve.releases.gate.gate import Gatekeeper
from serve.releases.golden_queries import GOLDEN_FILE, check_golden
from serve.releases.model_card import CARD_FILE
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import MAX_EXCLUDED_ITEMS, Release, ReleaseError
from towers.checkpoint.batch_embedding import embedded_items
from towers.checkpoint.checkpoint import load
from towers.checkpoint.opening.parts import VECTORS_FILE

ITEMS_FILE = "items.parquet"

OWN_FILES = (ITEMS_FILE, VECTORS_FILE, GOLDEN_FILE, CARD_FILE)
"""Files that a refreshed release does not share with the release from which it was made."""


def missing_text(manifest: Mapping[str, Any]) -> list[str]:
    """The text that stood for a missing value in the log of a release; none in what earlier versions prepared."""
    return list(log_settings(manifest["config"]["data"]["source"]).get("missing", ()))


def read_rows(uri: str, release: Release, progress: ProgressReporter = print, vectors: str | None = None) -> pa.Table:
    """Reads items from Parquet or CSV, laid out as the items table of the log that the release was trained on.

    The name of the file (of the first one, if `uri` is a folder) says the format: .csv and .tsv, also with the ending
    of a compression, are text, and all others Parquet. Where the events of an endpoint came after a log from before,
    that log's layout is meant. If it was read by another source than a table, the columns are `item_id`, the features
    by their names and, optionally, `title`.

    Vectors that the file lacks come from a file of their own, by `item_id`.

    Args:
        progress: takes a line about the values read as missing, one about rows of several lines, and one about items
            without a vector, if there are any.
        vectors: the file of vectors; null means the `data.item_vectors` that the release was trained with, if any.

    Raises:
        ConfigError: `vectors` is given, and the file of items lacks none; or there is no such file.
        DataError: the file or a column is missing, an id is missing or occurs twice, or a value has the wrong type.
    """
    log = log_settings(release.manifest["config"]["data"]["source"])
    name = files_at(uri, "rows")[0].name
    layout = layout_of(log, name)
    if "multi_separator" in log:
        layout["multi_separator"] = log["multi_separator"]
    source = TableSource(
        format=format_of(name),
        interactions=uri,
        items=uri,
        columns=Columns(**log.get("columns", {})),
        item_features=list(release.parts.items.features),
        missing=missing_text(release.manifest),
        **layout,
    )
    if source.columns.title is None and source.has_column(uri, "title"):
        source.columns.title = "title"
    of_vectors = vectors or release.manifest["config"]["data"].get("item_vectors")
    beside = [of for of in source.item_features if of_vectors and _is_lacking(of, source, uri)]
    if vectors and not beside:
        raise ConfigError(f"vectors: {vectors} is not needed, since {uri} has all that the release takes; leave it out")
    source.item_features = [of for of in source.item_features if of not in beside]
    rows = source.item_rows(lambda line: progress(f"refresh: {line}"))
    return _with_vectors(rows, of_vectors, beside, release, progress) if beside else rows


def _is_lacking(feature: Feature, source: TableSource, uri: str) -> bool:
    """Whether a feature is a vector of which a file of items has no column."""
    return feature.kind.is_vector and not source.has_column(uri, feature.column or feature.name)


def _with_vectors(
    rows: pa.Table, uri: str, features: Sequence[Feature], release: Release, progress: ProgressReporter
) -> pa.Table:
    """The rows with vectors out of a file of such; of an item that it lacks, what the release has, or none.

    Raises:
        ConfigError, DataError: the file cannot be read, or has no such vectors.
    """
    found, items = read_vectors(uri, (), missing_text(release.manifest)), release.parts.items
    for feature in features:
        if feature.name not in found.table.column_names:
            raise DataError(
                f"{found.place}: has no column {feature.name!r}, which the release takes; give vectors=FILE"
            )
    there = pc.index_in(in_one(rows["item_id"]), value_set=in_one(found.table["item_id"]))
    of_file, of_release = pc.fill_null(there, -1).to_numpy(), items.ids.rows(rows["item_id"])
    at = np.where(of_file < 0, len(found.table) + of_release - 1, of_file)
    has_none = (of_file < 0) & (of_release == 0)
    if has_none.any():
        progress(f"refresh: {has_none.sum():,} of {len(rows):,} items have no vector in {uri}")
    for feature in features:
        both = whole(found.table[feature.name], items.column(feature.name))
        rows = rows.append_column(feature.name, both.take(pa.array(at, mask=has_none)))
    return rows


def refresh(
    config: IndexConfig,
    registry: ReleaseRegistry,
    release: Release,
    rows: pa.Table | None,
    removed: Sequence[str] = (),
    progress: ProgressReporter = print,
    gatekeeper: Gatekeeper | None = None,
    reason: str | None = None,
) -> str:
    """Builds a release from the live one and returns its id, or the id of the live one if nothing would change.

    Args:
        release: the live release.
        rows: items to add or to change, as `read_rows` returns them. An item that was removed before is restored.
        removed: ids of items to remove. They stay in the catalogue, so that rows keep their numbers, and are in no
            answer.
        gatekeeper: runs the gate, which holds back what is worse than the live release; None skips the gate.
        reason: what the history gives as the reason; None gives none.

    Raises:
        DataError: an item to be added has the id of a known one, written in another way.
        ReleaseError: an item to be removed is not in the catalogue, or too many would be removed; or the live release
            does not reproduce its golden queries, so that the new one would have those of other code.
        GateError, IndexUnavailable: as for `serve.releases.publish.publish`; there is no new release then.
    """
    before = release.parts.items
    rows = before.table[:0] if rows is None else rows
    change = updated(before, rows)
    refuse_look_alikes(change.added, before.ids.values, rows["item_id"])
    say_notes(before, change, rows, progress)
    removed_items = _removed_items(release, change.items, rows, removed)
    counts = {
        "added": len(change.added),
        "changed": len(change.changed),
        "withdrawn": len(set(removed_items) - release.removed_items),
        "back": len(release.removed_items.difference(removed_items)),
    }
    if not any(counts.values()):
        progress(f"refresh: nothing would change in {release.id}")
        return release.id
    progress(
        f"refresh: {counts['added']:,} items added, {counts['changed']:,} changed, {counts['withdrawn']:,} removed,"
        f" {counts['back']:,} restored; from {release.id}"
    )
    check_golden(release)
    recorded = {"of": release.id} | ({} if reason is None else {"reason": reason})
    draft = _draft(config, release, change.items, removed_items, counts, recorded)
    build_release(config, registry, draft, "refresh", progress, gatekeeper)
    return draft.id


def _removed_items(release: Release, items: Catalogue, rows: pa.Table, removed: Sequence[str]) -> list[str]:
    """The ids of the items that the new release answers with no more, sorted; those of `rows` are restored.

    Raises:
        ReleaseError: one of `removed` is not in the catalogue, or they are too many, or no item would be left.
    """
    still_removed = release.removed_items.difference(rows["item_id"].to_pylist())
    removed_items = sorted(still_removed | _known_ids(items, removed))
    if len(removed_items) > MAX_EXCLUDED_ITEMS:
        raise ReleaseError(
            f"items: {len(removed_items)} would be removed, {MAX_EXCLUDED_ITEMS} at most; train a model without them"
        )
    if len(removed_items) == items.num_ids:
        raise ReleaseError(f"items: all {items.num_ids} of the catalogue would be removed; leave some to answer with")
    return removed_items


def _known_ids(items: Catalogue, ids: Sequence[str]) -> frozenset[str]:
    """The ids as a set.

    Raises:
        ReleaseError: one of them is not in the catalogue.
    """
    unknown = [id_ for id_ in ids if not items.ids.row(id_)]
    if unknown:
        raise ReleaseError(
            f"items: {', '.join(unknown[:5])} {'is' if len(unknown) == 1 else 'are'} not in the catalogue"
        )
    return frozenset(ids)


def _draft(
    config: IndexConfig,
    release: Release,
    items: Catalogue,
    removed_items: list[str],
    counts: dict[str, int],
    recorded: dict[str, Any],
) -> ReleaseDraft:
    manifest = release.manifest
    entries = {
        "refreshed": {"from": release.id, **counts},
        "num_fitted_items": manifest.get("num_fitted_items", release.parts.items.num_ids),
        "withdrawn": removed_items,
    }
    parts = load(release.parts.folder, manifest | entries, items)

    def write_model(folder: Folder) -> None:
        for name in release.parts.folder.files():
            if name not in OWN_FILES:
                folder.share(name, release.parts.folder)
        folder.write_table(ITEMS_FILE, items.table)

    content = (release.id, config.algorithm.value, digest(items.table), *removed_items)
    return ReleaseDraft(
        id=release_id(manifest, *content),
        parts=parts,
        manifest_entries=entries,
        embed_items=lambda: embedded_items(parts, config.upsert_batch),
        write_model=write_model,
        recorded=recorded,
    )


def say_notes(before: Catalogue, change: CatalogueUpdate, rows: pa.Table, progress: ProgressReporter) -> None:
    """Says what to know of the items of a file: their ids, and their values that the towers do not know."""
    for note in notes_on(before, change, rows):
        progress(f"refresh: note: {note}")
