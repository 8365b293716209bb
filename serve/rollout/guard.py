"""The canary guard: analyses a running experiment every few seconds, and rolls it back if a variant is worse.

`serve.run` runs a guard in its own process; `python -m serve.guard` watches an endpoint on another machine.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from data.artifacts.folders import Folder
from data.cluster.console import ProgressReporter
from serve.experiments.assignment import Experiment
from serve.experiments.canary_analysis import GuardConfig, find_regressions
from serve.experiments.exposures import SCHEMA, exposures_folder
from serve.releases.registry import ReleaseRegistry
from serve.rollout.two_phase import ROLLBACK_WAIT_S, roll_back

MAX_EXPOSURES = 200_000
"""The analysis uses at most this many of the latest exposures."""


@dataclass(slots=True)
class CanaryGuard:
    """Watches the experiment that runs under a storage root, and keeps the exposures that it has read in memory.

    Attributes:
        config: the bounds, and the time between two checks.
        storage: the storage root.
        progress: where messages go.
    """

    config: GuardConfig
    storage: Folder
    progress: ProgressReporter = print
    _experiment_key: str | None = None
    _files_read: set[str] = field(default_factory=set)
    _exposures: pa.Table = field(default_factory=SCHEMA.empty_table)

    def check(self) -> str | None:
        """Analyses the running experiment once; returns the reason if it was rolled back, otherwise None."""
        registry = ReleaseRegistry.of(self.storage)
        live = registry.live()
        if live is None or live.experiment is None:
            return None
        self._read_new(live.experiment)
        regressions = find_regressions(self.config, self._exposures)
        if not regressions:
            return None
        reason = f"guard: {'; '.join(regressions)}"
        roll_back(registry, ROLLBACK_WAIT_S, reason)
        self.progress(f"{reason}. {', '.join(live.others)} rolled back; {live.release} answers all")
        return reason

    def watch(self, stopped: Callable[[float], bool]) -> None:
        """Checks again and again until stopped.

        Args:
            stopped: waits for the given number of seconds and returns whether to stop (as `threading.Event.wait` does).
        """
        while not stopped(self.config.every_s):
            try:
                self.check()
            except (OSError, ValueError) as e:
                # Broad on purpose: whatever keeps the guard from reading the storage (no connection, a file that is
                # half-written or damaged), it must not stop watching.
                self.progress(f"guard: {e}; checking again in {self.config.every_s:g} s")

    def _read_new(self, experiment: Experiment) -> None:
        """Reads exposures of the experiment that were written since the last check."""
        if self._experiment_key != experiment.key:
            self._experiment_key, self._files_read, self._exposures = experiment.key, set(), SCHEMA.empty_table()
        folder = exposures_folder(self.storage, experiment.name)
        new = [name for name in folder.files() if name.endswith(".parquet") and name not in self._files_read]
        since = pa.scalar(experiment.since).cast(pa.timestamp("us", tz="UTC"))
        tables = [folder.read_table(name).cast(SCHEMA) for name in new]
        self._files_read |= set(new)
        recent = [table.filter(pc.greater_equal(table["time"], since)) for table in tables]
        exposures = pa.concat_tables([self._exposures, *recent])
        self._exposures = exposures.slice(max(len(exposures) - MAX_EXPOSURES, 0))
