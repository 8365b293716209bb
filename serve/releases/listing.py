"""All releases as a list and as a table: the mechanism behind `python -m serve.releases`."""

from datetime import datetime, timedelta
from typing import Any

from rich.table import Table

from data.artifacts.folders import MANIFEST
from data.artifacts.json_text import DamagedFile, shaped
from data.artifacts.records.json_files import left_out
from serve.experiments.assignment import in_percent
from serve.releases.pointer import LivePointer
from serve.releases.registry import ReleaseRegistry

METRICS = ("recall", "ndcg")


def release_state(release_id: str, live: LivePointer | None) -> str:
    """The state of a release; empty where it has no part in the pointer.

    live: has all of the traffic, or what an experiment leaves to it.
    on trial: has a share of the traffic in an experiment.
    staged: the replicas are loading it.
    previous: a rollback would return to it. Where one would end an experiment, or has just ended one, there is none.
    rolled back: a rollback has taken it out of service.
    """
    if live is None:
        return ""
    rolled_back = dict.fromkeys((live.rolled_back or "").split(", "), "rolled back")
    in_part = dict.fromkeys(live.others, "on trial") | dict.fromkeys(live.staged, "staged")
    returns_to = live.previous if live.experiment is None and live.rolled_back is None else None
    states = {returns_to: "previous"} | rolled_back | in_part | {live.release: "live"}
    return states.get(release_id, "")


def list_releases(registry: ReleaseRegistry) -> list[dict[str, Any]]:
    """All releases, newest first, as JSON values. One that was evaluated on no query has no metrics.

    One whose manifest is damaged is left out, and named.
    """
    live = registry.live()
    rows = []
    for release_id, manifest in reversed(registry.manifests().items()):
        place = f"releases/{release_id}/{MANIFEST}"
        try:
            row = shaped(manifest, place, _described, "the manifest of a release")
        except DamagedFile as e:
            left_out(f"{e}")
            continue
        share = live.traffic_share(release_id) if live is not None else 0.0
        rows.append({"release": release_id} | row | {"state": release_state(release_id, live), "traffic": share})
    return rows


def _described(manifest: dict[str, Any]) -> dict[str, Any]:
    """What a manifest says of its release; raises an error such as KeyError where it lacks an entry."""
    names = (f"{metric}@{manifest['k']}" for metric in METRICS)
    datetime.fromisoformat(manifest["created_at"])
    return {
        "created_at": manifest["created_at"],
        "dataset": manifest["dataset"]["name"],
        "num_items": manifest["num_items"],
        "metrics": {name: manifest["metrics"][name] for name in names if name in manifest["metrics"]},
    }


def age(created_at: str, now: datetime) -> str:
    """The time since an ISO timestamp, in the largest unit that fits: 3 d, 5 h, 12 min, now."""
    passed = now - datetime.fromisoformat(created_at)
    for unit, name in ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min")):
        if passed >= unit:
            return f"{passed // unit} {name}"
    return "now"


def releases_table(rows: list[dict[str, Any]], now: datetime) -> Table:
    """The rows of `list_releases` as a table."""
    table = Table(title="releases, newest first")
    for name in ("release", "age", "dataset", "items", "metrics", "state", "traffic"):
        is_number = name in ("age", "items", "traffic")
        table.add_column(name, justify="right" if is_number else "left", no_wrap=name == "release")
    for row in rows:
        metrics = ", ".join(f"{name} {value:.4f}" for name, value in row["metrics"].items())
        traffic = in_percent(row["traffic"]) if row["traffic"] else ""
        cells = (age(row["created_at"], now), row["dataset"], f"{row['num_items']:,}", metrics, row["state"], traffic)
        table.add_row(row["release"], *cells)
    return table
