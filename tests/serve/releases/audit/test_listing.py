"""The table of releases, whatever each was evaluated on."""

from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from serve.experiments.assignment import Experiment
from serve.releases.audit.history import describe
from serve.releases.listing import list_releases, release_state, releases_table
from serve.releases.pointer import LivePointer, experiment_ended, promoted, rolled_back, with_experiment

MANIFEST: dict[str, Any] = {
    "created_at": "2026-01-01T00:00:00+00:00",
    "dataset": {"name": "log"},
    "num_items": 9,
    "k": 20,
}


class Registry:
    """Three releases of which none is live: evaluated at 20, at 10, and on no query."""

    def __init__(self) -> None:
        at_10 = {"k": 10, "metrics": {"recall@10": 0.1, "ndcg@10": 0.05, "mrr@10": 0.04}}
        self._manifests = {
            "a": MANIFEST | {"metrics": {"recall@20": 0.2, "ndcg@20": 0.1}},
            "b": MANIFEST | at_10,
            "c": MANIFEST | {"metrics": {}},
        }

    def live(self) -> None:
        """No release is live."""

    def manifests(self) -> dict[str, dict[str, Any]]:
        return self._manifests


def test_each_release_is_listed_by_what_it_was_evaluated_on() -> None:
    rows = list_releases(Registry())  # type: ignore[arg-type]
    assert [(row["release"], row["metrics"]) for row in rows] == [
        ("c", {}),
        ("b", {"recall@10": 0.1, "ndcg@10": 0.05}),
        ("a", {"recall@20": 0.2, "ndcg@20": 0.1}),
    ]
    with (console := Console(width=200)).capture() as said:
        console.print(releases_table(rows, datetime(2026, 1, 2, tzinfo=UTC)))
    assert "recall@10 0.1000, ndcg@10 0.0500" in said.get()


def test_a_share_of_less_than_a_hundredth_is_shown() -> None:
    row = {"release": "c", "created_at": "2026-01-01T00:00:00+00:00", "dataset": "d", "num_items": 1, "metrics": {}}
    row |= {"state": "on trial", "traffic": 0.0004}
    with (console := Console(width=200)).capture() as said:
        console.print(releases_table([row], datetime(2026, 1, 2, tzinfo=UTC)))
    assert " 0.04%" in said.get()
    pointer = {"promoted_at": "x", "release": "a", "experiment": {"shares": {"c": 0.0004}}}
    assert describe(pointer) == "live: a, 0.04% c"


def test_previous_is_the_release_to_which_a_rollback_would_return_and_no_other() -> None:
    live = promoted(promoted(None, "a"), "b")
    canary = with_experiment(live, Experiment("canary-c", {"c": 0.05}, "2026-01-31T09:00:00.000+00:00"))
    ended = rolled_back(canary)
    assert rolled_back(ended).release == "b", "not the one before"
    assert states(live) == {"a": "previous", "b": "live"}
    assert states(canary) == {"b": "live", "c": "on trial"}
    assert states(ended) == {"b": "live", "c": "rolled back"}
    kept = experiment_ended(canary, canary.experiment)
    assert (rolled_back(kept).release, states(kept)) == ("a", {"a": "previous", "b": "live"})


def states(live: LivePointer) -> dict[str, str]:
    found = {release_id: release_state(release_id, live) for release_id in "abc"}
    return {release_id: state for release_id, state in found.items() if state}
