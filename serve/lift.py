"""Analyses an experiment: `python -m serve.lift traffic.name=homepage outcomes=clicks.parquet`.

The outcomes are a Parquet file with the columns `request_id` and `value` (a click, an amount); several outcomes of
one request are added up. The table says, for each variant, the mean outcome per user, its lift over control with two
95 % intervals, and whether the variants have the numbers of users that their shares promise. The methods are in
serve/experiments/analysis.py.
"""

from typing import TYPE_CHECKING, Any

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.cluster.console import show
from serve.experiments.analysis import analyse, analysis_table
from serve.experiments.assignment import with_control
from serve.experiments.exposures import read_exposures
from serve.experiments.outcomes import read_outcomes
from serve.releases.registry import ReleaseRegistry

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Analyses the experiment `traffic.name`; once it is over, `traffic.shares` must say what its shares were."""
    storage = Folder.of(config.storage.root)
    if config.outcomes is None:
        raise ConfigError("outcomes: null; name a Parquet file with request_id and value, outcomes=clicks.parquet")
    exposures = read_exposures(storage, config.traffic.name)
    live = ReleaseRegistry.of(storage).live()
    if live is not None and live.experiment is not None and live.experiment.name == config.traffic.name:
        shares = live.experiment.variants
    elif config.traffic.shares:
        shares = with_control(config.traffic.shares)
    else:
        raise ConfigError(f"traffic.shares: experiment {config.traffic.name!r} is over; give traffic.shares.ID=...")
    analysis = analyse(exposures, read_outcomes(config.outcomes), shares)
    show(analysis_table(analysis))
    return analysis.as_json()


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.lift")
