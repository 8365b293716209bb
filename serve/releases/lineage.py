"""Where a release comes from, and which releases come from a given checkpoint, dataset, commit or W&B run."""

from typing import Any

from data.artifacts.folders import MANIFEST
from data.artifacts.json_text import DamagedFile, shaped
from data.artifacts.records.json_files import left_out
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


def find_releases(registry: ReleaseRegistry, text: str) -> dict[str, dict[str, Any]]:
    """What `lineage_of` returns of the releases with an entry in it that begins with `text`, by id, newest first.

    One whose manifest lacks an entry is left out, and named.

    Raises:
        ReleaseError: there is none.
    """
    found = {}
    for release_id, manifest in reversed(registry.manifests().items()):
        try:
            lineage = _shaped(registry, release_id, manifest)
        except DamagedFile as e:
            left_out(f"{e}")
            continue
        if _begins_with(lineage, text):
            found[release_id] = lineage
    if not found:
        raise ReleaseError(f"find: {text!r} begins no release's {', '.join(SEARCHED)}")
    return found


def read_lineage(registry: ReleaseRegistry, release_id: str) -> dict[str, Any]:
    """What `lineage_of` returns of a release.

    Raises:
        ReleaseError: there is no such release, or its manifest is damaged.
        DamagedFile: its manifest lacks an entry.
    """
    return _shaped(registry, release_id, registry.manifest(release_id))


def _shaped(registry: ReleaseRegistry, release_id: str, manifest: dict[str, Any]) -> dict[str, Any]:
    return shaped(manifest, f"{registry.path(release_id)}/{MANIFEST}", lineage_of, "the manifest of a release")


def _begins_with(lineage: dict[str, Any], text: str) -> bool:
    found = (lineage[name] for name in SEARCHED)
    return any(value is not None and str(value).startswith(text) for value in found)
