"""Recommendations for all users at once, as Parquet: `python -m serve.recommend [recommend.users=users.parquet]`.

The stages of one release, in batches, by Ray Data: a user gets what the endpoint would answer. Users are cut into
parts, a file each; run again after a kill, what is there is kept and the rest is done.

    <storage>/recommendations/<release>-<digest of users and k>/part-00000.parquet ... manifest.json (written last)
"""

import time
from typing import TYPE_CHECKING, Any

from data.artifacts.folders import MANIFEST, Folder
from data.cluster.session import connect
from serve.batch.recommendations import recommend
from serve.releases.registry import Registry

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Entry point: of `release` (default: the live one)."""
    connect(config.cluster)
    storage, started = Folder.of(config.storage.root), time.perf_counter()
    release_id = Registry.of(storage).chosen(config.release)
    folder = recommend(config.recommend, release_id, config.serve.num_candidates, storage)
    manifest = folder.read_json(MANIFEST)
    print(f"recommend: {manifest['num_users']:,} users of release {release_id} in {folder}")
    return {
        "folder": str(folder),
        "release": release_id,
        "num_users": manifest["num_users"],
        "seconds": time.perf_counter() - started,
    }


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.recommend")
