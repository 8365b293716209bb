"""The order in which a checkpoint's weights have the numeric features, the context features and the goals.

A manifest has them in this order. Earlier versions sorted its keys: what was fitted as year and price was opened as
price and year, each with the weights of the other. Their checkpoints are put in order again when they are opened;
their releases stay as they are, with the answers that they were published with.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from data.sources.settings import log_settings


def in_order_of_weights(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint's manifest with its numeric features, context features and goals in the order of the weights."""
    ordered = dict(manifest)
    for side in ("user", "item"):
        declared = [feature["name"] for feature in manifest[f"{side}_features"]]
        ordered[f"{side}_scales"] = _by(declared, manifest[f"{side}_scales"])
    source = log_settings(manifest.get("config", {}).get("data", {}).get("source", {}))
    named = (source.get("columns") or {}).get("context") or source.get("context") or []
    if "context" in manifest:
        ordered["context"] = _by(named, manifest["context"])
    if "goals" in manifest["rerank"]:
        measured = [goal["name"] for goal in manifest.get("goals") or ()]
        ordered["rerank"] = {**manifest["rerank"], "goals": _by(measured, manifest["rerank"]["goals"])}
    return ordered


def _by(names: Iterable[str], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values by name: first those of `names`, in their order, and then the others in theirs."""
    return {name: values[name] for name in dict.fromkeys([*names, *values]) if name in values}
