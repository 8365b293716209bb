"""Batch inference: the recommendations of many users as Parquet files, computed by Ray Data.

Each user gets the items that the endpoint would return for a request without a context, if it knew no events: what came
after the release's log does not count. What the user has seen is left out where `recommend.exclude_seen` says so or,
without it, where the release was measured so (serve/batch/seen.py). Users are divided into parts, one file each. After
an interruption, the same command writes only the files that are missing; and at any time it makes those files anew that
have users who were forgotten since, or items that were recalled since (serve/batch/made_without.py).

    <storage>/recommendations/<release>-<digest of users and k>/part-00000.parquet ... manifest.json (written last)
"""

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray.data

from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.seals import is_sealed
from data.cluster.console import ProgressReporter
from serve.batch.config import RecommendConfig
from serve.batch.forgotten import forgotten_users
from serve.batch.made_without import files_to_make, parts_of
from serve.batch.recommender import BatchRecommender
from serve.batch.seen import treatment_of_seen
from serve.batch.users import read_users, report_unknown
from serve.events.config import EventsConfig
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import ReleaseError, log_read_us
from towers.evaluation.config import SeenItems


def recommend(
    config: RecommendConfig,
    release_id: str,
    num_candidates: int,
    storage: Folder,
    progress: ProgressReporter = print,
    events: EventsConfig | None = None,
) -> Folder:
    """Writes the files that are missing or not true any more, and returns their folder. Needs a Ray session.

    Args:
        config: Users, items per user, and sizes.
        release_id: The release that recommends.
        num_candidates: Items to retrieve and to re-rank per user.
        storage: The storage root.
        progress: Takes one line after each file.
        events: Where it is known who was forgotten: by the release's log they are unknown users. None forgets nobody.

    Raises:
        StoreUnavailable: It is not known who was forgotten.
        DataError: recommend.users cannot be read.
        ReleaseError: There is no such release; or items were recalled, or users forgotten, while files were written.
    """
    registry = ReleaseRegistry.of(storage)
    manifest = registry.manifest(release_id)
    known_ids = registry.open(release_id).parts.users.ids
    user_ids = known_ids.values
    if config.users:
        user_ids = read_users(config.users, manifest["config"]["data"]["source"], progress)
        report_unknown(known_ids, user_ids, release_id, progress)
    seen = treatment_of_seen(manifest, config.exclude_seen)
    denylist = sorted(_recalled(registry).union(manifest.get("withdrawn", ())))
    forgotten = _forgotten(events, storage, user_ids, manifest)
    if forgotten:
        progress(f"recommend: {len(forgotten):,} users were forgotten since the release's log: they get popular items")
    folder = storage / "recommendations" / f"{release_id}-{_digest(user_ids, config, num_candidates, seen)}"
    parts = parts_of(user_ids, config.part_size)
    to_make = files_to_make(folder, parts, denylist, forgotten)
    if is_sealed(folder) and not to_make:
        progress(f"recommend: {folder} is already there")
        return folder
    _open(folder, f"{len(to_make):,} of {len(parts):,}", progress)
    arguments = (storage, release_id, folder, config.k, num_candidates, denylist, forgotten or [], seen)
    _report_rate(_write_parts(config, user_ids, list(parts), to_make, arguments), config.k, progress)
    _refuse_recalled(registry, denylist, folder)
    _refuse_forgotten(forgotten, _forgotten(events, storage, user_ids, manifest), folder)
    about = {"kind": "recommendations", "release": release_id, "k": config.k, "seen": seen.value}
    files = {name: folder.sha256(name) for name in parts}
    folder.write_json(MANIFEST, about | {"num_users": len(user_ids), "files": files})
    return folder


def _open(folder: Folder, share: str, progress: ProgressReporter) -> None:
    """Makes the folder one whose files may change: it is there, and has no manifest.

    Args:
        share: how many files are to be written, of how many.
    """
    if is_sealed(folder):
        since = "users were forgotten, or items recalled or restored, since"
        progress(f"recommend: {share} files in {folder} are made anew: {since}")
    folder.create().delete_file(MANIFEST)


def _report_rate(numbers: Iterable[int], k: int, progress: ProgressReporter) -> None:
    """Says after each file how many users have been written so far, and how fast; `numbers` are those of each file."""
    started, num_done = time.perf_counter(), 0
    for num_users in numbers:
        num_done += num_users
        rate = num_done / (time.perf_counter() - started)
        progress(f"recommend: {num_done:,} users, {rate:,.0f} users/s ({rate * k:,.0f} items/s)")


def _recalled(registry: ReleaseRegistry) -> frozenset[str]:
    """The items that no release may answer with now."""
    live = registry.live()
    return registry.read_denylist(None if live is None else live.denylist)


def _refuse_recalled(registry: ReleaseRegistry, denylist: list[str], folder: Folder) -> None:
    """Raises ReleaseError where items were recalled that were not on the denylist when the files were begun."""
    if missed := sorted(_recalled(registry).difference(denylist)):
        raise ReleaseError(
            f"items: {', '.join(missed[:5])} {'was' if len(missed) == 1 else 'were'} recalled meanwhile (there are"
            f" {len(missed)}), and files in {folder} may have them: it stays without a manifest. Run the command again"
        )


def _refuse_forgotten(before: list[str] | None, now: list[str] | None, folder: Folder) -> None:
    """Raises ReleaseError where users were forgotten who were not when the files were begun."""
    if missed := set(now or ()).difference(before or ()):
        raise ReleaseError(
            f"users: {len(missed)} of them {'was' if len(missed) == 1 else 'were'} forgotten meanwhile, and files in"
            f" {folder} may have what was known of them: it stays without a manifest. Run the command again"
        )


def _forgotten(
    events: EventsConfig | None, storage: Folder, user_ids: pa.Array, manifest: Mapping[str, Any]
) -> list[str] | None:
    """Which users were forgotten since the log of the release was read; None where events are off."""
    if events is None or not events.is_on:
        return None
    return forgotten_users(events, storage, user_ids, log_read_us(manifest))


def _write_parts(
    config: RecommendConfig, user_ids: pa.Array, names: list[str], missing: list[str], arguments: tuple[Any, ...]
) -> Iterator[int]:
    """Writes the missing files by BatchRecommender(*arguments); yields the number of users of each when it is done."""
    if not missing:
        return
    starts = np.minimum(np.arange(len(names) + 1) * config.part_size, len(user_ids))
    lists = pa.ListArray.from_arrays(pa.array(starts, pa.int32()), user_ids)
    table = pa.table({"part": names, "user_ids": lists})
    to_write = table.filter(pc.is_in(table["part"], pa.array(missing)))
    blocks = [to_write.slice(number, 1) for number in range(len(missing))]  # so that only the actors need a CPU
    done = ray.data.from_arrow(blocks).map_batches(
        BatchRecommender,
        fn_constructor_args=arguments,
        batch_size=1,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=min(config.num_workers, len(missing))),
    )
    for batch in done.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield sum(batch["num_users"].to_pylist())


def _digest(user_ids: pa.Array, config: RecommendConfig, num_candidates: int, seen: SeenItems) -> str:
    """Returns a digest of what, besides the release and what each file notes, the recommendations depend on."""
    content = pa.BufferOutputStream()
    with pa.ipc.new_stream(content, pa.schema([("user_id", user_ids.type)])) as stream:
        stream.write_batch(pa.record_batch([user_ids], ["user_id"]))
    known = f"{config.k} {config.part_size} {num_candidates} []"  # where earlier versions had what is recalled
    known += "" if seen is SeenItems.mask else f" seen={seen.value}"
    digest = hashlib.sha256(known.encode())
    digest.update(content.getvalue())
    return digest.hexdigest()[:10]
