"""What an experiment has brought: `python -m serve.lift traffic.name=homepage outcomes=clicks.parquet`.

Exposures are joined with outcomes: a Parquet file with `request_id` and `value` (a click, an amount; several of a
request add up). The unit is the user, who is always in one variant; a request of nobody is a unit of its own. Of each
variant: the mean outcome per user, and its lift over control.

Three things keep such a number honest. The sample-ratio check: do the variants have the users that their shares promise
(chi-square)? If not, nothing else counts. The interval at a time fixed beforehand (Welch). And a confidence sequence
(Waudby-Smith et al. 2021, "Time-uniform central limit theory", theorem 2.2), which holds however often one looks: as
soon as it excludes 0 one may stop.

Shape legend: U users.
"""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.cluster.console import show
from serve.experiments.analysis import analyse, read_exposures, read_outcomes, table
from serve.experiments.assignment import CONTROL
from serve.releases.registry import Registry

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Entry point. Of an experiment that is over, `traffic.shares` says what they were."""
    storage = Folder.of(config.storage.root)
    if config.outcomes is None:
        raise ConfigError("outcomes: null; name a Parquet file with request_id and value, outcomes=clicks.parquet")
    shown = read_exposures(storage, config.traffic.name)
    live = Registry.of(storage).live()
    if live is not None and live.experiment is not None and live.experiment.name == config.traffic.name:
        shares = live.experiment.variants
    elif config.traffic.shares:
        shares = {CONTROL: 1 - sum(config.traffic.shares.values()), **config.traffic.shares}
    else:
        raise ConfigError(f"traffic.shares: experiment {config.traffic.name!r} is over; say what its shares were")
    found = analyse(shown, read_outcomes(config.outcomes), shares)
    show(table(found))
    return asdict(found)


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.lift")
