"""One lap from new events to a new live release: `python -m serve.cycle data=events`, started by a clock.

It prepares the log with its new events, measures how they differ from those before, trains, passes the gate, publishes,
gives the release a part of the users for a while, and promotes it. What is too different, too bad, or worse on trial
stops the lap, and the live release stays. Interrupted, the same command goes on where the lap was.

Examples:
    python -m serve.cycle data=events
    python -m serve.cycle data=events train.fit_on=all cycle.canary_percent=0
"""

from typing import TYPE_CHECKING, Any

from data.artifacts.folders import Folder
from data.cluster.session import connect
from towers.training.config import check_recipe

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Runs one lap; returns its record."""
    from serve.laps.run import run_lap

    check_recipe(config)
    connect(config.cluster)
    lap = run_lap(config, Folder.of(config.storage.root), config.serve.ready_within_s)
    print(f"cycle: lap {lap['lap']}: {lap['outcome']}")
    return lap


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.cycle")
