"""Recommendations for all users at once, as Parquet: `python -m serve.recommend [recommend.users=users.parquet]`.

The stages of one release, in batches, by Ray Data: a user gets what the endpoint would answer. Users are cut into
parts, a file each; run again after a kill, what is there is kept and the rest is done.

    <storage>/recommendations/<release>-<digest of users and k>/part-00000.parquet ... manifest.json (written last)
"""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import ray.data

from data.artifacts.errors import ConfigError
from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.seals import is_sealed
from data.cluster.console import ProgressReporter
from data.sources.schema import DataError
from serve.api.limits import MAX_K
from serve.pipeline.source import Source
from serve.releases.golden_queries import check_golden
from serve.releases.registry import Registry
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import Ranking, embed, rerank, retrieve

BATCH = 512
"""Users scored at a time."""

SCHEMA = pa.schema(
    [
        pa.field("user_id", pa.string()),
        pa.field("item_ids", pa.list_(pa.string())),
        pa.field("scores", pa.list_(pa.float32())),
        pa.field("source", pa.string()),
    ]
)


@dataclass(kw_only=True, slots=True)
class RecommendConfig:
    """Batch inference.

    Attributes:
        k: items per user.
        users: Parquet file or folder with a column `user_id`; null means all users of the release.
        part_size: users per file.
        num_workers: processes that each hold the release.
    """

    k: int = 20
    users: str | None = None
    part_size: int = 10_000
    num_workers: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.k <= MAX_K:
            raise ConfigError(f"recommend.k: {self.k} must lie in 1..{MAX_K}")
        for name in ("part_size", "num_workers"):
            if getattr(self, name) < 1:
                raise ConfigError(f"recommend.{name}: {getattr(self, name)} must be at least 1")


class Recommender:
    """One release's stages over whole parts; what each process of Ray Data holds."""

    def __init__(
        self, storage_root: str, release_id: str, folder: str, k: int, num_candidates: int, withdrawn: list[str]
    ) -> None:
        release = Registry.of(Folder.of(storage_root)).open(release_id)
        check_golden(release)
        self._parts, self._folder, self._k, self._num_candidates = release.parts, Folder.of(folder), k, num_candidates
        self._withdrawn = release.parts.items.ids.rows(pa.array(withdrawn, pa.string()))

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Writes the parts of a batch (`part`, `user_ids`); returns how many users each has."""
        for part, user_ids in zip(batch["part"].to_pylist(), batch["user_ids"], strict=True):
            content = pa.BufferOutputStream()
            pq.write_table(self.table(user_ids.values), content)
            self._folder.write_bytes(part, content.getvalue().to_pybytes())
        return pa.table({"num_users": pc.list_value_length(batch["user_ids"])})

    def table(self, user_ids: pa.Array) -> pa.Table:
        """A row per user, as in SCHEMA, in the same order."""
        parts, nothing = self._parts, np.zeros(0, dtype=np.int64)
        queries = HeldOut(parts.users.ids.rows(user_ids).astype(np.int32), (nothing, nothing), parts.seen)
        vectors, item_ID = embed(parts.model, queries, BATCH), parts.reranker.item_ID
        asked = self._num_candidates + len(self._withdrawn)
        found = self._kept(retrieve(vectors, queries, parts.counts_I, item_ID, BATCH, asked))
        ranked = rerank(parts.reranker, vectors, found, queries, BATCH)
        rows_QK, scores_QK = ranked.rows_QK[:, : self._k], ranked.scores_QK[:, : self._k]
        there_QK = rows_QK > 0
        offsets = pa.array(np.concatenate([[0], np.cumsum(there_QK.sum(1))]), pa.int32())
        items, scores = parts.items.ids.ids(rows_QK[there_QK]), pa.array(scores_QK[there_QK], pa.float32())
        sources = pa.array(np.where(ranked.by_towers_Q, Source.towers.value, Source.popular.value), pa.string())
        lists = (pa.ListArray.from_arrays(offsets, values) for values in (items, scores))
        return pa.table([user_ids, *lists, sources], schema=SCHEMA)

    def _kept(self, found: Ranking) -> Ranking:
        """The candidates without what is withdrawn, in their order."""
        gone_QK = np.isin(found.rows_QK, self._withdrawn)
        first_QK = np.argsort(gone_QK, axis=1, kind="stable")[:, : self._num_candidates]
        rows_QK = np.take_along_axis(np.where(gone_QK, -1, found.rows_QK), first_QK, axis=1)
        scores_QK = np.take_along_axis(np.where(gone_QK, -np.inf, found.scores_QK), first_QK, axis=1)
        return Ranking(rows_QK, scores_QK, found.by_towers_Q)


def recommend(
    config: RecommendConfig, release_id: str, num_candidates: int, storage: Folder, progress: ProgressReporter = print
) -> Folder:
    """Writes what is missing and returns the folder. Needs a Ray session.

    Raises:
        DataError: recommend.users cannot be read.
        ReleaseError: there is no such release.
    """
    registry = Registry.of(storage)
    left_out = frozenset(registry.manifest(release_id).get("withdrawn", ()))
    user_ids = read_users(config.users) if config.users else registry.open(release_id).parts.users.ids.values
    live = registry.live()
    withdrawn = sorted(registry.withdrawn(None if live is None else live.withdrawn) | left_out)
    folder = storage / "recommendations" / f"{release_id}-{_digest(user_ids, config, num_candidates, withdrawn)}"
    if is_sealed(folder):
        progress(f"recommend: {folder} is already there")
        return folder
    names = [f"part-{number:05d}.parquet" for number in range(-(-len(user_ids) // config.part_size))]
    missing = [name for name in names if not folder.create().exists(name)]
    started, done = time.perf_counter(), 0
    for count in _run(
        config, user_ids, names, missing, (str(storage), release_id, str(folder), config.k, num_candidates, withdrawn)
    ):
        done += count
        rate = done / (time.perf_counter() - started)
        progress(f"recommend: {done:,} users, {rate:,.0f} users/s ({rate * config.k:,.0f} items/s)")
    files = {name: folder.sha256(name) for name in names}
    folder.write_json(
        MANIFEST,
        {"kind": "recommendations", "release": release_id, "k": config.k, "num_users": len(user_ids), "files": files},
    )
    return folder


def _run(
    config: RecommendConfig, user_ids: pa.Array, names: list[str], missing: list[str], arguments: tuple[Any, ...]
) -> Iterator[int]:
    """Has the missing parts written; yields the users of each as it is done."""
    if not missing:
        return
    starts = np.minimum(np.arange(len(names) + 1) * config.part_size, len(user_ids))
    lists = pa.ListArray.from_arrays(pa.array(starts, pa.int32()), user_ids)
    table = pa.table({"part": names, "user_ids": lists})
    wanted = table.filter(pc.is_in(table["part"], pa.array(missing)))
    blocks = [wanted.slice(number, 1) for number in range(len(missing))]  # no other task than the workers' needs a CPU
    done = ray.data.from_arrow(blocks).map_batches(
        Recommender,
        fn_constructor_args=arguments,
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=min(config.num_workers, len(missing))),
    )
    for batch in done.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield sum(batch["num_users"].to_pylist())


def read_users(uri: str) -> pa.Array:
    """The distinct user ids of a Parquet file or folder, in order; strings."""
    place = Folder.of(uri)
    try:
        column = pq.read_table(place.path, filesystem=place.filesystem, columns=["user_id"])["user_id"]
    except (OSError, pa.ArrowInvalid, KeyError) as e:
        raise DataError(f"recommend.users: {uri} cannot be read as Parquet with a column user_id ({e})") from e
    ids = column.cast(pa.string()).combine_chunks().drop_null().unique()
    if not len(ids):
        raise DataError(f"recommend.users: {uri} names no user in its column user_id")
    return ids


def _digest(user_ids: pa.Array, config: RecommendConfig, num_candidates: int, withdrawn: list[str]) -> str:
    content = pa.BufferOutputStream()
    with pa.ipc.new_stream(content, pa.schema([("user_id", user_ids.type)])) as stream:
        stream.write_batch(pa.record_batch([user_ids], ["user_id"]))
    decides = hashlib.sha256(f"{config.k} {config.part_size} {num_candidates} {withdrawn}".encode())
    decides.update(content.getvalue())
    return decides.hexdigest()[:10]
