"""Where a release comes from, and what came of something: `python -m serve.lineage release=ID`, or `find=TEXT`.

`find` takes the beginning of a checkpoint's name or fingerprint, a dataset's, a commit, or a W&B run.
"""

from typing import TYPE_CHECKING, Any

from rich.table import Table

from data.storage import Folder
from serve.card import CARD, lineage_of
from serve.release import Registry, ReleaseError

if TYPE_CHECKING:
    from conf.schema import Config

LOOKED_AT = ("checkpoint", "checkpoint fingerprint", "dataset", "dataset fingerprint", "commit", "W&B run")


def found(registry: Registry, text: str) -> list[str]:
    """Releases that come of it, newest first.

    Raises:
        ReleaseError: none does.
    """
    ids = [
        release_id
        for release_id in reversed(registry.ids())
        if any(
            str(of).startswith(text)
            for name, of in lineage_of(registry.manifest(release_id)).items()
            if name in LOOKED_AT
        )
    ]
    if not ids:
        raise ReleaseError(f"find: {text!r} begins no release's {', '.join(LOOKED_AT)}")
    return ids


def task(config: "Config") -> dict[str, Any]:
    """Entry point: of `release` (default: the live one), or of all that come of `find`."""
    from conf.session import show

    registry = Registry.of(Folder.of(config.storage.root))
    ids = found(registry, config.find) if config.find else [registry.chosen(config.release)]
    lineages = {release_id: lineage_of(registry.manifest(release_id)) for release_id in ids}
    for release_id, of in lineages.items():
        shown = Table(title=f"release {release_id}", show_header=False)
        for name, value in of.items():
            shown.add_row(name, "" if value is None else str(value))
        show(shown)
        print(f"Card: {registry.path(release_id)}/{CARD}; resolved config: `config` in manifest.json beside it")
    return {"releases": lineages}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.lineage")
