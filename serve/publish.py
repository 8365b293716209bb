"""A checkpoint becomes a release: `python -m serve.publish checkpoint=...`.

Publishing the same checkpoint again finds the release that is there.
"""

from typing import TYPE_CHECKING, Any

from data.artifacts.folders import Folder
from data.cluster.session import connect
from serve.releases.gate.gate import Gatekeeper
from serve.releases.publish import publish
from serve.releases.registry import Registry
from towers.checkpoint.checkpoint import open_checkpoint
from towers.training.runs import open_for

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Entry point: publishes `checkpoint` (default: the one that this config trains)."""
    connect(config.cluster)
    storage = Folder.of(config.storage.root)
    checkpoint = (
        open_checkpoint(Folder.of(config.checkpoint)) if config.checkpoint else open_for(config, storage, None)[0]
    )
    keeper = Gatekeeper.of(config.gate, config.evaluate, config.force, config.reason)
    id_ = publish(config.index, checkpoint, storage, keeper=keeper)
    print(f"Next: python -m serve.promote release={id_}")
    manifest = Registry.of(storage).manifest(id_)
    names = ("collection", "metrics", "gate")
    return {"release": id_} | {name: manifest[name] for name in names}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.publish")
