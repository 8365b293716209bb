"""Where a release comes from, and which releases come from a given checkpoint, dataset, commit or W&B run."""

from typing import Any

from serve.releases.registry import ReleaseRegistry
from serve.releases.release import ReleaseError

SEARCHED = ("checkpoint", "checkpoint fingerprint", "dataset", "dataset fingerprint", "commit", "W&B run")
"""Entries of a lineage in which `find_releases` searches."""


def lineage_of(manifest: dict[str, Any]) -> dict[str, Any]:
    """Returns what a release was made from: checkpoint, dataset, commit and so on; None for what was not recorded."""
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
        "plugins": ", ".join(" ".join(filter(None, plugin.values())) for plugin in manifest.get("plugins", ())) or None,
        "collection": manifest["collection"],
        "versions": ", ".join(f"{name} {number}" for name, number in lineage.get("versions", {}).items()) or None,
    }


def find_releases(registry: ReleaseRegistry, text: str) -> list[str]:
    """Ids of the releases with an entry in their lineage that begins with `text`, newest first.

    Raises:
        ReleaseError: there is none.
    """
    ids = [id_ for id_ in reversed(registry.ids()) if _begins_with(lineage_of(registry.manifest(id_)), text)]
    if not ids:
        raise ReleaseError(f"find: {text!r} begins no release's {', '.join(SEARCHED)}")
    return ids


def _begins_with(lineage: dict[str, Any], text: str) -> bool:
    return any(str(lineage[name]).startswith(text) for name in SEARCHED)
