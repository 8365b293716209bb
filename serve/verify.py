"""Whether a release is what was published: `python -m serve.verify release=ID` (default: the live one).

Its files by their sha256, its weights, its golden queries, and its collection: how many items it holds, and whether a
search finds what exact search finds.
"""

from typing import TYPE_CHECKING, Any

from data.artifacts.folders import Folder
from serve.releases.registry import Registry
from serve.releases.verify import verify

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Entry point: of `release` (default: the live one)."""
    registry = Registry.of(Folder.of(config.storage.root))
    release_id = registry.chosen(config.release)
    found = verify(config.index, registry, release_id)
    live = registry.live()
    if live is None or live.release != release_id:
        print(f"Next: python -m serve.promote release={release_id}")
    return found


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.verify")
