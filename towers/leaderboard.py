"""A sweep's results: `python -m towers.leaderboard` (the newest sweep, or sweep=FOLDER).

A table, leaderboard.parquet and leaderboard.html with plots in the sweep's folder, and the commands to go on with.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Entry point."""
    from towers.sweeps.results.summary import shown

    folder = Path(config.sweep) if config.sweep else newest(config)
    board, commands = shown(folder, config.metric)
    return {"sweep": str(folder), "points": board.arrow().to_pylist(), "commands": commands}


def newest(config: "Config") -> Path:
    """The sweep that was added to last.

    Raises:
        ValueError: there is none.
    """
    from conf.schema import on_disk
    from towers.sweeps.records import TRIALS

    root = Path(Folder.of(on_disk(config.storage.root)).path) / "sweeps"
    found = sorted(root.glob(f"*/*/{TRIALS}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise ConfigError(f"sweep: null, and {root} holds none; run python -m towers.train -m ... hydra/launcher=ray")
    return found[-1].parent


if __name__ == "__main__":
    from conf.entry import launch

    launch("towers.leaderboard")
