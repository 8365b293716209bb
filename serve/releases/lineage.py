"""Where a release comes from, and what came of something: `python -m serve.lineage release=ID`, or `find=TEXT`.

`find` takes the beginning of a checkpoint's name or fingerprint, a dataset's, a commit, or a W&B run.
"""

from typing import Any

from serve.releases.registry import Registry
from serve.releases.release import ReleaseError

LOOKED_AT = ("checkpoint", "checkpoint fingerprint", "dataset", "dataset fingerprint", "commit", "W&B run")


def lineage_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """What a release comes from, by name; null where it was not recorded."""
    lineage, config = manifest.get("lineage") or {}, manifest["config"]
    wandb = lineage.get("wandb")
    return {
        "checkpoint": manifest["checkpoint"],
        "checkpoint fingerprint": manifest["checkpoint_fingerprint"],
        "dataset": manifest["dataset"]["name"],
        "dataset fingerprint": manifest["dataset"]["fingerprint"],
        "commit": lineage.get("commit") and lineage["commit"] + (" (changed)" if lineage.get("changed") else ""),
        "refreshed from": manifest.get("refreshed", {}).get("from"),
        "W&B run": wandb and f"{wandb['project']}/{wandb['run']}",
        "seed": config["seed"],
        "collection": manifest["collection"],
        "versions": ", ".join(f"{name} {number}" for name, number in lineage.get("versions", {}).items()) or None,
    }


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
