"""Verifies that a release is what was published: `python -m serve.verify release=ID` (default: the live one).

It checks the files against their sha256, the weights, the golden queries, and the Milvus collection: how many items it
holds, and whether a search in it finds what exact search finds.

Examples:
    python -m serve.verify
    python -m serve.verify release=ID
"""

from typing import TYPE_CHECKING, Any

from conf.next_command import next_command
from data.artifacts.folders import Folder
from serve.releases.registry import ReleaseRegistry

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Verifies `release` (default: the live one)."""
    from serve.releases.verify import verify

    registry = ReleaseRegistry.of(Folder.of(config.storage.root))
    release_id = registry.resolve(config.release)
    verdict = verify(config.index, registry, release_id)
    live = registry.live()
    if live is None or live.release != release_id:
        print(f"Next: {next_command('serve.promote', f'release={release_id}')}")
    return verdict


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.verify")
