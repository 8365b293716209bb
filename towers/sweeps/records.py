"""What is known of a sweep's trials: `trials.jsonl` in its folder, a line per end of a trial; the last counts."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

TRIALS = "trials.jsonl"


class State(Enum):
    """How a trial ended."""

    finished = "finished"
    pruned = "pruned"  # stopped on purpose, as others were better
    failed = "failed"  # it raised
    lost = "lost"  # its process or its node died, it ran out of memory, or it hung
    interrupted = "interrupted"  # the sweep was stopped

    @property
    def is_done(self) -> bool:
        """Nothing is left to do about it."""
        return self in (State.finished, State.pruned)


@dataclass(frozen=True, kw_only=True)
class Record:
    """An ended trial.

    Attributes:
        overrides: what it was started with; with them it is known again.
        reason: why it did not finish.
        result: what the task returned, as JSON.
        epochs: (epoch, values) as it reported them.
        seconds: from the start of its process's work to the end; waited_s: for a place before.
        attempts: how often it was started.
        started_at: unix seconds.
    """

    number: int
    overrides: list[str]
    state: State
    reason: str | None = None
    result: Any = None
    epochs: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    seconds: float = 0.0
    waited_s: float = 0.0
    attempts: int = 1
    started_at: float = 0.0

    def value(self, path: str) -> Any:
        """What stands at a dotted path of the result; None where there is nothing."""
        return at(self.result, path)


def at(value: Any, path: str) -> Any:
    """What stands at a dotted path (`metrics.ndcg@20`); None where there is nothing."""
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return value


@dataclass(frozen=True)
class Records:
    """The file, of one sweep."""

    folder: Path

    def add(self, record: Record) -> None:
        """Appends, in one write: launches that share the folder do not get in each other's way."""
        self.folder.mkdir(parents=True, exist_ok=True)
        line = json.dumps(asdict(record) | {"state": record.state.value}) + "\n"
        descriptor = os.open(self.folder / TRIALS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def read(self) -> list[Record]:
        """The last record of each trial, by number. A line that was cut off is left out."""
        path = self.folder / TRIALS
        found: dict[tuple[str, ...], Record] = {}
        for line in path.read_text().splitlines() if path.exists() else []:
            try:
                record = _record(json.loads(line))
            except ValueError:
                continue
            found[tuple(record.overrides)] = record
        return sorted(found.values(), key=lambda record: record.number)


def _record(values: dict[str, Any]) -> Record:
    epochs = [(epoch, of) for epoch, of in values["epochs"]]
    return Record(**{**values, "state": State(values["state"]), "epochs": epochs})


def varying(overrides: Sequence[Sequence[str]]) -> list[str]:
    """Names of the parameters that are not the same in all trials, in their order."""
    values: dict[str, set[str | None]] = {}
    of = [parameters(one) for one in overrides]
    for one in of:
        for name in one:
            values.setdefault(name, {other.get(name) for other in of})
    return [name for name, found in values.items() if len(found) > 1]


def parameters(overrides: Sequence[str]) -> dict[str, str]:
    """Values by name, of overrides such as `loss.temperature=0.1` and `+train.labels.role=trainer`."""
    pairs = (override.partition("=") for override in overrides)
    return {name.lstrip("+~"): value for name, _, value in pairs}
