"""What decides the result of a trial: its config, the files of its log, and the code.

A trial that has been run counts as done as long as all three are the same. A command line alone does not tell, because
a yaml, a log or the code may have changed since.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from data.artifacts.errors import UserError
from data.artifacts.json_text import json_text
from data.artifacts.secrets import recordable
from data.dataset.config import DataConfig
from data.dataset.inputs import input_states
from data.dataset.prepared import SCHEMA_VERSION
from towers.sweeps.records import Record, json_value
from towers.sweeps.reuse.start import start_fingerprint
from towers.sweeps.trial_process import SweepContext

MAX_DIFFERENCES = 4
"""Number of config keys that a message about changed inputs names."""

START = "train.start_from"
"""The config key of the checkpoint that a training starts from, whose content decides too."""

UNKNOWN = "it was run by an earlier version, which did not write down with what"


@dataclass(frozen=True, kw_only=True)
class TrialInputs:
    """What a trial runs with: config, log and code.

    Attributes:
        config: the resolved values that decide its result, as JSON values by dotted key, without secrets.
        log: digest of the names, sizes and times of the log's files, and of the moment until which a log that grows is
            read; None if it has no files, or none that this machine can read.
        code: digest of the code.
    """

    config: dict[str, Any]
    log: str | None
    code: str

    def as_json(self) -> dict[str, Any]:
        """The inputs as records and studies hold them."""
        return asdict(self)

    def differences(self, earlier: Mapping[str, Any] | None, *, same_code: bool) -> str:
        """Describes how the inputs of an earlier trial differ; an empty string if they are the same.

        Args:
            earlier: the inputs of the earlier trial, as `as_json` returns them; None if they were not recorded.
            same_code: whether different code counts as a difference.
        """
        if earlier is None:
            return UNKNOWN
        was, now = earlier["config"], self.config
        keys = [key for key in sorted({*was, *now}) if was.get(key) != now.get(key)]
        found = [f"{key} was {_formatted(was, key)} and is {_formatted(now, key)}" for key in keys[:MAX_DIFFERENCES]]
        if len(keys) > MAX_DIFFERENCES:
            found.append(f"{len(keys) - MAX_DIFFERENCES} more values are others")
        if earlier["log"] != self.log:
            found.append("the log has changed")
        if same_code and earlier["code"] != self.code:
            found.append("the code has changed (hydra.launcher.same_code=false counts it as the same)")
        return "; ".join(found)


class InputsReader:
    """Finds the inputs of the trials of a sweep.

    Attributes:
        datasets: what `TrialReports.first_dataset` has answered to the trials of this launch and, in the final fit of a
            search, to those before it.
    """

    def __init__(self, sweep: SweepContext, code: str, decides: Callable[[str], bool], same_code: bool) -> None:
        """Reads nothing yet.

        Args:
            code: digest of the code.
            decides: whether the config value of a dotted key can change a trial's result.
            same_code: whether trials of other code are to be told apart.
        """
        self._sweep, self._code, self._decides, self._same_code = sweep, code, decides, same_code
        self._logs: dict[str, str | None] = {}
        self.datasets: dict[str, str] = {}

    @property
    def typed_in(self) -> tuple[str, ...]:
        """The overrides of the sweep's command line."""
        return self._sweep.typed_in

    def of(self, config: DictConfig) -> TrialInputs:
        """The inputs of a trial with this config."""
        values = {key: value for key, value in _flat(self._sweep.task_config(config)).items() if self._decides(key)}
        if START in values and (found := start_fingerprint(values[START])) is not None:
            values[f"{START}.fingerprint"] = found
        return TrialInputs(
            config=recordable(values), log=self._log(config) if self._decides("data") else None, code=self._code
        )

    def split_changed(self, records: Sequence[Record]) -> tuple[list[Record], list[tuple[Record, str]]]:
        """The records of trials that would be run with the same inputs now, and the others, each with what differs."""
        current, changed = [], []
        for record in records:
            if reason := self._change(record):
                changed.append((record, reason))
            else:
                current.append(record)
        return current, changed

    def differences(self, now: TrialInputs, earlier: Mapping[str, Any] | None) -> str:
        """As `TrialInputs.differences`, under the settings of this sweep."""
        return now.differences(earlier, same_code=self._same_code)

    def _change(self, record: Record) -> str:
        try:
            now = self.of(self._sweep.trial_config(record.number, record.overrides))
        except (UserError, HydraException, OmegaConfBaseException):
            return "its config can no longer be composed"
        return self.differences(now, record.inputs)

    def _log(self, config: DictConfig) -> str | None:
        try:
            data = getattr(self._sweep.typed_config(config), "data", None)
        except (UserError, OmegaConfBaseException):  # the trial is about to fail for the same reason
            return None
        if not isinstance(data, DataConfig):
            return None
        key = json_text(data.as_json())  # not of its source alone: the log has more files than that
        if key not in self._logs:
            try:
                versions = input_states(data.input_files())
                content = [SCHEMA_VERSION, versions, *data.read_until().values()]
                self._logs[key] = hashlib.sha256(json_text(content).encode()).hexdigest()
            except (UserError, OSError):  # the trial's own process may see it, or says what is wrong
                self._logs[key] = None
        return self._logs[key]


def changed_lines(changed: Sequence[tuple[Record, str]]) -> list[str]:
    """What to say about trials that an earlier launch has done with something else: a line for each reason.

    Of a trial that has failed nothing is said, as it runs again in any case.
    """
    done = [(record.number, reason) for record, reason in changed if record.state.is_done]
    reasons = list(dict.fromkeys(reason for _, reason in done))
    numbers = {reason: [number for number, of in done if of == reason] for reason in reasons}
    return [f"no longer counts as done: trial {', '.join(map(str, numbers[reason]))}: {reason}" for reason in reasons]


def _flat(config: DictConfig) -> dict[str, Any]:
    """The values of a config as JSON values by dotted key, resolved where they can be."""
    try:
        values = OmegaConf.to_container(config, resolve=True, enum_to_str=True)
    except OmegaConfBaseException:  # a value that only the trial's own process can resolve
        values = OmegaConf.to_container(config, resolve=False, enum_to_str=True)
    found: dict[str, Any] = {}

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping) and value:
            for name, of in value.items():
                add(f"{prefix}.{name}" if prefix else str(name), of)
        else:
            found[prefix] = json_value(value)

    add("", values)
    return found


def _formatted(config: Mapping[str, Any], key: str) -> str:
    return str(config[key]) if key in config else "not set"
