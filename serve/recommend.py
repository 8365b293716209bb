"""Batch inference: writes the recommendations of all users, or of those in `recommend.users`, as Parquet files.

    python -m serve.recommend [recommend.users=users.parquet] [release=<id>]

See serve/batch/recommendations.py for the files. After an interruption, the same command writes only what is missing.

Examples:
    python -m serve.recommend
    python -m serve.recommend recommend.users=users.parquet recommend.k=10
"""

import time
from typing import TYPE_CHECKING, Any

from data.artifacts.folders import MANIFEST, Folder
from data.cluster.session import connect
from serve.releases.registry import ReleaseRegistry

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Writes the recommendations of the release `release`; null means the live one."""
    from serve.batch.recommendations import recommend

    connect(config.cluster)
    storage, started = Folder.of(config.storage.root), time.perf_counter()
    release_id = ReleaseRegistry.of(storage).resolve(config.release)
    events = config.events.on_this_machine()  # on several machines too: it is read here, or missed
    folder = recommend(config.recommend, release_id, config.serve.num_candidates, storage, events=events)
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
