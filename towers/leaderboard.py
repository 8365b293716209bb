"""The results of a sweep: `python -m towers.leaderboard` (the newest sweep, or sweep=FOLDER).

Prints a table and the commands for the best trial, and leaves leaderboard.parquet and leaderboard.html with plots in
the folder of the sweep.

Examples:
    python -m towers.leaderboard
    python -m towers.leaderboard metric=metrics.ndcg@20
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.artifacts.folders import Folder
from towers.sweeps.records import newest_sweep

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Ranks the trials of `sweep` (default: the newest sweep) by `metric`."""
    from conf.schema import on_disk
    from towers.sweeps.results.summary import present_results

    root = Folder.of(on_disk(config.storage.root)).path
    folder = Path(config.sweep) if config.sweep else newest_sweep(Path(root) / "sweeps")
    board, commands = present_results(folder, config.metric)
    return {"sweep": str(folder), "points": board.arrow().to_pylist(), "commands": commands}


if __name__ == "__main__":
    from conf.entry import launch

    launch("towers.leaderboard")
