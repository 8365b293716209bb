"""Records of the trials of a sweep: `trials.jsonl` in its folder, one line for each time a trial ends."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from data.artifacts.errors import ConfigError
from data.artifacts.json_text import json_text
from data.artifacts.secrets import masked_override

TRIALS_FILE = "trials.jsonl"

SET_ASIDE = "set_aside"
"""Key of a line that takes back an earlier line; its value is the overrides of the trial."""


class State(Enum):
    """How a trial ended."""

    finished = "finished"
    pruned = "pruned"  # stopped early, because others were better
    failed = "failed"  # it raised an error
    lost = "lost"  # its process or its node died, it ran out of memory, or it hung
    interrupted = "interrupted"  # the sweep was stopped

    @property
    def is_done(self) -> bool:
        """Whether a trial that ended in this way needs no further attempt."""
        return self in (State.finished, State.pruned)


@dataclass(frozen=True, kw_only=True)
class Record:
    """A trial that has ended.

    Attributes:
        number: the number of the trial within its sweep.
        overrides: the Hydra overrides that it was started with; later launches recognise the trial by them. In the file
            they are without secrets.
        state: how it ended.
        reason: why it did not finish; None where it did.
        result: what the task returned, as JSON.
        epochs: (epoch, values) as it reported them.
        seconds: seconds from when its process began to work until its end.
        waited_s: seconds that it waited for a place before that.
        attempts: how often it was started.
        started_at: unix seconds.
        inputs: what it was run with (towers/sweeps/reuse/inputs.py), as JSON; None where its config was wrong, and in
            the records of earlier versions.
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
    inputs: dict[str, Any] | None = None

    def value(self, path: str) -> Any:
        """The value at a dotted path of the result, such as `metrics.ndcg@20`; None where there is none."""
        value = self.result
        for name in path.split("."):
            if not isinstance(value, Mapping) or name not in value:
                return None
            value = value[name]
        return value

    def measured(self, path: str) -> float | None:
        """The finite number at a dotted path of the result; None where there is none."""
        return finite_number(self.value(path))


@dataclass(frozen=True)
class Records:
    """The file of records in the folder of a sweep.

    Attributes:
        folder: the folder of the sweep.
        typed_in: overrides as the command line has them. `read` returns them where the file has them without secrets.
    """

    folder: Path
    typed_in: tuple[str, ...] = ()

    def add(self, record: Record) -> None:
        """Appends a record in a single write, so that launches that share the folder do not disturb each other."""
        overrides = list(map(masked_override, record.overrides))
        self._append(json_text(asdict(record) | {"overrides": overrides, "state": record.state.value}))

    def set_aside(self, records: Sequence[Record]) -> None:
        """Has `read` leave out these records, unless the same trials are added again."""
        for record in records:
            self._append(json_text({SET_ASIDE: list(map(masked_override, record.overrides))}))

    def _append(self, text: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        line = f"{text}\n"
        descriptor = os.open(self.folder / TRIALS_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)

    def read(self) -> list[Record]:
        """The last record of each trial, ordered by number. Incomplete lines are ignored."""
        path = self.folder / TRIALS_FILE
        found: dict[tuple[str, ...], Record] = {}
        for line in path.read_text().splitlines() if path.exists() else []:
            try:
                values = json.loads(line)
            except ValueError:
                continue
            if SET_ASIDE in values:
                found.pop(tuple(values[SET_ASIDE]), None)
            else:
                found[tuple(values["overrides"])] = _record(values)
        return sorted(map(self._as_typed_in, found.values()), key=lambda record: record.number)

    def _as_typed_in(self, record: Record) -> Record:
        typed_in = {masked_override(override): override for override in self.typed_in}
        return replace(record, overrides=[typed_in.get(override, override) for override in record.overrides])


def newest_sweep(folder: Path) -> Path:
    """The folder of the sweep under `folder` to which a record was added last.

    Raises:
        ConfigError: there is no sweep.
    """
    found = sorted(folder.glob(f"*/*/{TRIALS_FILE}"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise ConfigError(f"sweep: there is none in {folder}; run python -m towers.train -m ... hydra/launcher=ray")
    return found[-1].parent


def finite_number(value: object) -> float | None:
    """`value` if it is a finite number; None for texts, truth values, NaN and infinities."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None  # type: ignore[arg-type]


def json_value(value: object) -> object:
    """`value` with everything that JSON does not have replaced by its text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Real):  # such as numpy.float32
        return int(value) if isinstance(value, Integral) else float(value)
    if isinstance(value, Mapping):
        return {str(name): json_value(of) for name, of in value.items()}
    if isinstance(value, Sequence):
        return [json_value(of) for of in value]
    return str(value)


def varying_parameters(overrides: Sequence[Sequence[str]]) -> list[str]:
    """Names of the parameters whose value is not the same in all trials, in the order of the overrides."""
    trials = [parameters(one) for one in overrides]
    names = dict.fromkeys(name for trial in trials for name in trial)
    return [name for name in names if len({trial.get(name) for trial in trials}) > 1]


def parameters(overrides: Sequence[str]) -> dict[str, str]:
    """Values by name, of overrides such as `loss.temperature=0.1` and `+train.labels.role=trainer`; no secrets."""
    pairs = (masked_override(override).partition("=") for override in overrides)
    return {name.lstrip("+~"): value for name, _, value in pairs}


def _record(values: dict[str, Any]) -> Record:
    epochs = [(epoch, of) for epoch, of in values["epochs"]]
    return Record(**{**values, "state": State(values["state"]), "epochs": epochs})
