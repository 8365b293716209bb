"""Items added, changed or taken out of the live release, without training: `python -m serve.refresh rows=FILE`.

The live release's item tower embeds what is new by its features. The new release has the towers, re-ranker and users of
the live one, and the vectors of all items that did not change; `promote=true` makes it live at once.
"""

import hashlib
from collections.abc import Sequence

import pyarrow as pa

from data.artifacts.folders import Folder
from data.cluster.console import ProgressReporter
from data.dataset.catalogue import Catalogue
from data.dataset.refreshed import refreshed
from data.sources.tables import Columns, TableFormat, TableSource, has_column
from serve.index.config import IndexConfig
from serve.releases.build import Candidate, build, release_id
from serve.releases.gate.gate import Gatekeeper
from serve.releases.golden_queries import GOLDEN
from serve.releases.model_card import CARD
from serve.releases.registry import MOST_WITHDRAWN, Registry
from serve.releases.release import Release, ReleaseError
from towers.checkpoint.batch_embedding import embedded_items
from towers.checkpoint.checkpoint import load

ITEMS = "items.parquet"

OWN = (ITEMS, GOLDEN, CARD)
"""Files that a refreshed release does not share with the one that it comes from."""


def read_rows(uri: str, release: Release) -> pa.Table:
    """Items in Parquet or CSV, laid out as the items table of the log that the release was trained on.

    (Where that log came in a format of its own: `item_id`, the features by their names and, if there is one, `title`.)

    Raises:
        DataError: it is not there, lacks a column, an id is missing or there twice, or a value is not of its kind.
    """
    log = release.manifest["config"]["data"]["source"]
    layout = {name: log[name] for name in ("multi_separator", "delimiter", "encoding") if name in log}
    kind = TableFormat.csv if uri.removesuffix(".gz").endswith((".csv", ".tsv")) else TableFormat.parquet
    source = TableSource(
        format=kind,
        interactions=uri,
        items=uri,
        columns=Columns(**log.get("columns", {})),
        item_features=list(release.parts.items.features),
        **layout,
    )
    if source.columns.title is None and has_column(source, uri, "title"):
        source.columns.title = "title"
    return source.item_rows()


def refresh(
    config: IndexConfig,
    registry: Registry,
    release: Release,
    rows: pa.Table | None,
    gone: Sequence[str] = (),
    progress: ProgressReporter = print,
    keeper: Gatekeeper | None = None,
) -> str:
    """Builds the release that comes of another and returns its id; the same one where nothing would change.

    Args:
        release: the live one.
        rows: items to add, or to describe anew (as `entity_table` gives them); one that was taken out is back.
        gone: item ids to take out.

    Raises:
        ReleaseError: an item to be taken out is not in the catalogue, or too many are.
        GateError, IndexUnavailable: as for serve.publish; there is no new release then.
    """
    before = release.parts.items
    rows = before.table[:0] if rows is None else rows
    change = refreshed(before, rows)
    withdrawn = sorted(release.withdrawn.difference(rows["item_id"].to_pylist()) | _known(change.items, gone))
    if len(withdrawn) > MOST_WITHDRAWN:
        raise ReleaseError(f"items: {len(withdrawn)} would be taken out, {MOST_WITHDRAWN} at most; train without them")
    counts = {
        "added": len(change.added),
        "changed": len(change.changed),
        "withdrawn": len(set(withdrawn) - release.withdrawn),
        "back": len(release.withdrawn.difference(withdrawn)),
    }
    if not any(counts.values()):
        progress(f"refresh: {release.id} has all of it already")
        return release.id
    progress(f"refresh: {', '.join(f'{count:,} {name}' for name, count in counts.items())}; from {release.id}")
    candidate = _candidate(config, release, change.items, withdrawn, counts)
    build(config, registry, candidate, "refresh", progress, keeper)
    return candidate.id


def _known(items: Catalogue, ids: Sequence[str]) -> frozenset[str]:
    unknown = [id_ for id_ in ids if not items.ids.row(id_)]
    if unknown:
        raise ReleaseError(
            f"items: {', '.join(unknown[:5])} {'is' if len(unknown) == 1 else 'are'} not in the catalogue"
        )
    return frozenset(ids)


def _candidate(
    config: IndexConfig, release: Release, items: Catalogue, withdrawn: list[str], counts: dict[str, int]
) -> Candidate:
    manifest = release.manifest
    own = {
        "refreshed": {"from": release.id, **counts},
        "num_fitted_items": manifest.get("num_fitted_items", release.parts.items.table.num_rows),
        "withdrawn": withdrawn,
    }
    parts = load(release.parts.folder, manifest | own, items)

    def fill(staging: Folder) -> None:
        for name in release.parts.folder.files():
            if name not in OWN:
                staging.share(name, release.parts.folder)
        staging.write_table(ITEMS, items.table)

    decides = (release.id, config.algorithm.value, _digest(items.table), *withdrawn)
    return Candidate(
        id=release_id(manifest, *decides),
        parts=parts,
        told=own,
        embedded=lambda: embedded_items(parts, config.upsert_batch),
        fill=fill,
    )


def _digest(table: pa.Table) -> str:
    content = pa.BufferOutputStream()
    with pa.ipc.new_stream(content, table.schema) as stream:
        stream.write_table(table)
    return hashlib.sha256(content.getvalue()).hexdigest()
