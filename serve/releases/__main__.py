"""All releases as a table: `python -m serve.releases`."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rich.table import Table

from data.artifacts.folders import Folder
from data.cluster.console import show
from serve.releases.registry import Live, Registry

if TYPE_CHECKING:
    from conf.schema import Config


METRICS = ("recall", "ndcg")


def state(release_id: str, live: Live | None) -> str:
    """live, on trial (a part of the traffic), candidate, previous (for a rollback), rolled back, or nothing."""
    if live is None:
        return ""
    rolled_back = dict.fromkeys((live.rolled_back or "").split(", "), "rolled back")
    in_part = dict.fromkeys(live.others, "on trial") | dict.fromkeys(live.candidates, "candidate")
    states = {live.previous: "previous"} | rolled_back | in_part | {live.release: "live"}
    return states.get(release_id, "")


def listed(registry: Registry) -> list[dict[str, Any]]:
    """All releases, newest first, as JSON."""
    live = registry.live()
    rows = []
    for release_id in reversed(registry.ids()):
        manifest = registry.manifest(release_id)
        at_k = {f"{metric}@{manifest['k']}": manifest["metrics"][f"{metric}@{manifest['k']}"] for metric in METRICS}
        rows.append(
            {
                "release": release_id,
                "created_at": manifest["created_at"],
                "dataset": manifest["dataset"]["name"],
                "num_items": manifest["num_items"],
                "metrics": at_k,
                "state": state(release_id, live),
                "traffic": live.share(release_id) if live is not None else 0.0,
            }
        )
    return rows


def age(created_at: str, now: datetime) -> str:
    """How long ago, in the largest unit that fits: 3 d, 5 h, 12 min."""
    passed = now - datetime.fromisoformat(created_at)
    for unit, name in ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min")):
        if passed >= unit:
            return f"{passed // unit} {name}"
    return "now"


def table(rows: list[dict[str, Any]], now: datetime) -> Table:
    """The same for people."""
    found = Table(title="releases, newest first")
    for name in ("release", "age", "dataset", "items", "metrics", "state", "traffic"):
        found.add_column(
            name, justify="right" if name in ("age", "items", "traffic") else "left", no_wrap=name == "release"
        )
    for row in rows:
        metrics = ", ".join(f"{name} {value:.4f}" for name, value in row["metrics"].items())
        traffic = f"{row['traffic']:.0%}" if row["traffic"] else ""
        cells = (age(row["created_at"], now), row["dataset"], f"{row['num_items']:,}", metrics, row["state"], traffic)
        found.add_row(row["release"], *cells)
    return found


def task(config: "Config") -> dict[str, Any]:
    """Entry point."""
    registry = Registry.of(Folder.of(config.storage.root))
    if rows := listed(registry):
        show(table(rows, datetime.now(UTC)))
    else:
        print(f"{registry.folder}: no release yet; run python -m serve.publish")
    return {"releases": rows}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.releases")
