"""Watches what is on trial: `python -m serve.run` does so by itself, `python -m serve.guard` for an endpoint elsewhere.

Every variant of an experiment is held against control by what both have shown (serve/experiments/exposures.py): failures, degraded
answers, latency, and how much of the catalogue is shown in as many answers. What is past the bounds, and not by chance,
is rolled back, and the reason is kept.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from data.artifacts.folders import Folder
from data.cluster.console import ProgressReporter
from serve.experiments.assignment import Experiment
from serve.experiments.canary_analysis import GuardConfig, judged
from serve.experiments.exposures import SCHEMA, exposures
from serve.releases.registry import Registry
from serve.rollout.switch import BEFORE_S, back

MOST = 200_000
"""It judges by so many of the latest answers."""


@dataclass(slots=True)
class Guard:
    """Reads what was shown since it looked last; keeps it for the experiment that runs."""

    config: GuardConfig
    storage: Folder
    progress: ProgressReporter = print
    _read: set[str] = field(default_factory=set)
    _shown: pa.Table = field(default_factory=SCHEMA.empty_table)
    _of: str | None = None

    def look(self) -> str | None:
        """One look; the reason, where it rolled back."""
        registry = Registry.of(self.storage)
        live = registry.live()
        if live is None or live.experiment is None:
            return None
        self._take_in(live.experiment)
        faults = judged(self.config, self._shown)
        if not faults:
            return None
        reason = f"guard: {'; '.join(faults)}"
        back(registry, BEFORE_S, reason)
        self.progress(f"{reason}. {', '.join(live.others)} rolled back; {live.release} answers all")
        return reason

    def watch(self, stopped: Callable[[float], bool]) -> None:
        """Looks until it is stopped; a storage that does not answer is looked at again."""
        while not stopped(self.config.every_s):
            try:
                self.look()
            except (OSError, ValueError) as e:
                self.progress(f"guard: {e}; looking again in {self.config.every_s:g} s")

    def _take_in(self, experiment: Experiment) -> None:
        if self._of != experiment.key:
            self._of, self._read, self._shown = experiment.key, set(), SCHEMA.empty_table()
        folder = exposures(self.storage, experiment.name)
        new = [name for name in folder.files() if name.endswith(".parquet") and name not in self._read]
        since = pa.scalar(experiment.since).cast(pa.timestamp("us", tz="UTC"))
        tables = [folder.read_table(name).cast(SCHEMA) for name in new]
        self._read |= set(new)
        fresh = [table.filter(pc.greater_equal(table["time"], since)) for table in tables]
        shown = pa.concat_tables([self._shown, *fresh])
        self._shown = shown.slice(max(len(shown) - MOST, 0))
