"""The record of a lap: which steps are done, with what outcome. It is written after each step, so that a lap resumes.

<storage>/laps/2026-01-31T03-00-00.250Z/lap.json
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from data.artifacts.errors import UserError
from data.artifacts.folders import Folder
from data.artifacts.leases import ALONE, LeaseLost, Lock
from data.artifacts.records.json_files import read_or_left_out
from data.artifacts.seals import NotSealed
from data.artifacts.structured import known_fields
from serve.experiments.assignment import run_name
from serve.index.protocol import CollectionMissing
from serve.releases.audit.approvals import NeedsApproval

FILE = "lap.json"

TRIES = 5
"""A lap with which so many commands have gone on, none of them by a step, is given up: its dataset grows old."""

LASTING = (ArithmeticError, NotSealed, CollectionMissing)
"""Errors that would come again on the same dataset, although some of them are of kinds that pass."""

PASSING = (OSError, LeaseLost, NeedsApproval)
"""Errors of users that a later try need not meet: the storage, Milvus or Ray does not answer, or an approval waits."""


def may_go_on(error: Exception) -> bool:
    """Whether a later command may go on with the lap that an error has interrupted.

    That is in vain where the error lies in the lap's own data or model, such as a loss that is not finite, or a release
    that does not fit into memory. A fault of ours or of a library, such as a worker that was killed, may pass.
    """
    if isinstance(error, LASTING):
        return False
    return isinstance(error, PASSING) or not isinstance(error, UserError)


@dataclass(slots=True)
class LapRecord:
    """The steps of a lap that are done.

    Attributes:
        folder: of the lap.
        config: a digest of the config values that decide the lap.
        began: ISO timestamp.
        steps: by step, its outcome as JSON values, in the order in which they were done.
        outcome: `promoted`, `nothing new`, `stopped` or `given up`; None while it goes on.
        reason: why it was stopped or given up.
        tries: how many commands have gone on with it since its last step.
        lock: the lock on all laps, which this process holds.
    """

    folder: Folder
    config: str
    began: str
    steps: dict[str, Any] = field(default_factory=dict)
    outcome: str | None = None
    reason: str | None = None
    tries: int = 0
    lock: Lock = ALONE

    @classmethod
    def open(cls, storage: Folder, config: str, lock: Lock = ALONE) -> "LapRecord":
        """The lap that was interrupted last, if its values were the same, or a new one.

        A damaged record is named, and its lap does not go on.
        """
        last = cls.unfinished(storage, lock)
        if last is not None and last.config == config:
            last.tries += 1
            last.write()
            return last
        began = datetime.now(UTC).isoformat()
        return cls(storage / "laps" / run_name(began), config, began, lock=lock)

    @classmethod
    def unfinished(cls, storage: Folder, lock: Lock = ALONE) -> "LapRecord | None":
        """The latest lap, if it has not ended."""
        laps = (storage / "laps").subfolders()
        last = cls._read(laps[-1], lock) if laps else None
        return None if last is None or last.outcome is not None else last

    @classmethod
    def all(cls, storage: Folder) -> "list[LapRecord]":
        """The records of all laps, oldest first. A damaged one is left out, and named."""
        found = (cls._read(folder, ALONE) for folder in (storage / "laps").subfolders())
        return [record for record in found if record is not None]

    @classmethod
    def _read(cls, folder: Folder, lock: Lock) -> "LapRecord | None":
        """The record in a folder; None where there is none, or a damaged one."""
        if not folder.exists(FILE):
            return None

        def recorded(value: dict[str, Any]) -> LapRecord:
            return cls(folder, **known_fields(cls, value, {}), lock=lock)

        return read_or_left_out(folder, FILE, recorded, "the record of a lap", "a new lap begins")

    def why_given_up(self, config: str, resume: bool) -> str | None:
        """Why a lap that was interrupted does not go on; None where it does.

        Args:
            config: the digest of the values that decide a lap now.
            resume: `cycle.resume`.
        """
        if self.config != config:
            return "values of the config are others now"
        if not resume:
            return "cycle.resume is false"
        return None if self.tries < TRIES else f"{TRIES} commands in a row have come no step further"

    def step(self, name: str, work: Callable[[], Any]) -> Any:
        """The recorded outcome of a step; if there is none, does the work and records its outcome.

        Args:
            work: returns JSON values.

        Raises:
            LeaseLost: on an object store, this process was stopped, and another one goes on with the lap.
        """
        if name not in self.steps:
            self.lock.require()
            outcome = work()
            self.tries = 0
            self.note(name, outcome)
        return self.steps[name]

    def note(self, name: str, outcome: Any) -> None:
        """Records something of a step that is not done yet, or its outcome, in place of what was noted before.

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
        names = ("config", "began", "steps", "outcome", "reason", "tries")
        return {name: getattr(self, name) for name in names}
