"""The record of a lap: which steps are done, with what outcome. It is written after each step, so that a lap resumes.

<storage>/laps/2026-01-31T03-00-00.250Z/lap.json
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from data.artifacts.folders import Folder
from data.artifacts.leases import ALONE, Lock
from data.artifacts.records.json_files import read_or_left_out
from data.artifacts.structured import known_fields
from serve.experiments.assignment import run_name

FILE = "lap.json"


@dataclass(slots=True)
class LapRecord:
    """The steps of a lap that are done.

    Attributes:
        folder: of the lap.
        config: a digest of the config values that decide the lap.
        began: ISO timestamp.
        steps: by step, its outcome as JSON values, in the order in which they were done.
        outcome: `promoted`, `nothing new` or `stopped`; None while it goes on.
        reason: why it was stopped; of one without anything new, how old the event log was.
        lock: the lock on all laps, which this process holds.
    """

    folder: Folder
    config: str
    began: str
    steps: dict[str, Any] = field(default_factory=dict)
    outcome: str | None = None
    reason: str | None = None
    lock: Lock = ALONE

    @classmethod
    def open(cls, storage: Folder, config: str, lock: Lock = ALONE) -> "LapRecord":
        """The lap that was interrupted last, if its values were the same, or a new one.

        A damaged record is named, and its lap does not go on.
        """
        laps = (storage / "laps").subfolders()
        if laps and laps[-1].exists(FILE):

            def recorded(value: dict[str, Any]) -> LapRecord:
                return cls(laps[-1], **known_fields(cls, value, {}), lock=lock)

            last = read_or_left_out(laps[-1], FILE, recorded, "the record of a lap", "a new lap begins")
            if last is not None and last.outcome is None and last.config == config:
                return last
        began = datetime.now(UTC).isoformat()
        return cls(storage / "laps" / run_name(began), config, began, lock=lock)

    def step(self, name: str, work: Callable[[], Any]) -> Any:
        """The recorded outcome of a step; if there is none, does the work and records its outcome.

        Args:
            work: returns JSON values.

        Raises:
            LeaseLost: on an object store, this process was stopped, and another one goes on with the lap.
        """
        if name not in self.steps:
            self.lock.require()
            self.steps[name] = work()
            self.write()
        return self.steps[name]

    def note(self, name: str, outcome: Any) -> None:
        """Records the outcome of a step, in place of an earlier one.

        Args:
            outcome: JSON values.
        """
        self.steps[name] = outcome
        self.write()

    def end(self, outcome: str, reason: str | None = None) -> dict[str, Any]:
        """Records how the lap ends; returns the record as JSON values."""
        self.outcome, self.reason = outcome, reason
        self.write()
        return {"lap": self.folder.name} | self.as_json()

    def write(self) -> None:
        """Writes the record; raises LeaseLost as `step` does."""
        self.lock.require()
        self.folder.write_json(FILE, self.as_json())

    def as_json(self) -> dict[str, Any]:
        """The record as JSON values."""
        names = ("config", "began", "steps", "outcome", "reason")
        return {name: getattr(self, name) for name in names}
