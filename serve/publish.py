"""Publishes a checkpoint as a release: `python -m serve.publish checkpoint=...`.

A checkpoint that is published already is not published again, unless its Milvus collection is incomplete. `release=ID`
makes the collection of a release again, of the release's own files; one made by serve.refresh has no checkpoint.

Examples:
    python -m serve.publish checkpoint=var/checkpoints/NAME
    python -m serve.publish release=ID
    python -m serve.publish train.fit_on=all
"""

from typing import TYPE_CHECKING, Any

from conf.next_command import is_typed_itself, next_command
from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.cluster.session import connect
from serve.releases.registry import ReleaseRegistry

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Publishes `checkpoint` (default: the one that this config trains), or restores the collection of `release`."""
    registry = ReleaseRegistry.of(Folder.of(config.storage.root))
    if config.release is None:
        release_id = _published(config)
        print(f"Next: {next_command('serve.promote', f'release={release_id}')}")
    else:
        from serve.releases.building.restore import restore_collection

        if config.checkpoint is not None:
            raise ConfigError(f"release: {config.release}, and checkpoint: {config.checkpoint}; give one of them")
        may_move = is_typed_itself("index.uri")
        restore_collection(config.index, registry, release_id := config.release, may_move=may_move)
        print(f"Next: {next_command('serve.verify', f'release={release_id}')}")
    manifest = registry.manifest(release_id)
    return {"release": release_id} | {name: manifest[name] for name in ("collection", "metrics", "gate")}


def _published(config: "Config") -> str:
    from conf.next_command import is_typed
    from serve.releases.gate.gate import Gatekeeper
    from serve.releases.publish import publish
    from towers.checkpoint.checkpoint import open_checkpoint
    from towers.checkpoint.opening.named import checkpoint_at
    from towers.training.runs import open_for
    from towers.training.stages.measured_again import as_measured

    connect(config.cluster)
    storage = Folder.of(config.storage.root)
    if config.checkpoint:
        checkpoint = open_checkpoint(checkpoint_at(config.checkpoint, storage))
    else:
        checkpoint, _ = open_for(config, storage, None)
    evaluate = as_measured(config.evaluate, checkpoint.manifest, is_typed)
    gatekeeper = Gatekeeper.of(config.gate, evaluate, config.force, config.reason)
    may_move = is_typed_itself("index.uri")
    return publish(config.index, checkpoint, storage, gatekeeper=gatekeeper, reason=config.reason, may_move=may_move)


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.publish")
