"""Analyses an experiment: `python -m serve.lift traffic.name=homepage outcomes=clicks.parquet`.

The outcomes are a Parquet file, or a folder of such, with the columns `request_id` and `value` (a click, an amount);
several outcomes of one request are added up. The table says, for each variant, the mean outcome per user, its lift over
control with two 95 % intervals, and whether the variants have the numbers of users that their shares promise. The
methods are in serve/experiments/analysis.py.

Examples:
    python -m serve.lift traffic.name=homepage outcomes=clicks.parquet
"""

from typing import TYPE_CHECKING, Any

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.cluster.console import show
from serve.experiments.analysis import analyse
from serve.experiments.analysis_table import analysis_table
from serve.experiments.chosen_run import choose_run
from serve.experiments.outcomes import read_outcomes
from serve.releases.registry import ReleaseRegistry

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Analyses a run of the experiment: the one begun at `since`, else the running one, else the newest."""
    storage = Folder.of(config.storage.root)
    if config.outcomes is None:
        raise ConfigError("outcomes: null; name a Parquet file with request_id and value, outcomes=clicks.parquet")
    outcomes = read_outcomes(config.outcomes)
    live = ReleaseRegistry.of(storage).live()
    running = None if live is None else live.experiment
    run = choose_run(storage, config.traffic, running, config.since, outcomes["request_id"])
    for damaged in run.exposures.damaged:
        print(f"lift: {damaged}")
    if run.others:
        print(f"lift: not counted: runs of {config.traffic.name} that began at {', '.join(run.others)}")
    analysis = analyse(config.traffic.name, run.exposures.table, outcomes, run.experiment.variants)
    show(analysis_table(analysis))
    return {**analysis.as_json(), "since": run.experiment.since or None, "damaged": list(run.exposures.damaged)}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.lift")
