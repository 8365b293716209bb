"""Progress of a sweep while it runs: one table on a terminal; elsewhere one line per change, and one a minute."""

import sys
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from towers.sweeps.placement import RunningTrial
from towers.sweeps.records import Record, State, parameters, varying_parameters

NUM_ENDED_SHOWN = 12
"""Number of trials, those that ended most recently, that the table lists beside the running ones."""

INTERVAL_S = 60.0
"""Seconds between two lines on a running trial where there is no terminal."""

MEASURED = "trained, being measured"
"""The state of a trial that has had its last epoch: the re-ranker is fitted, and both are measured beside baselines."""

COLOURS = {State.finished: "green", State.failed: "red", State.lost: "red", State.pruned: "yellow"}


class ProgressTable:
    """Shows, for each trial, the parameters that vary, its epoch and values, its state, and the time left."""

    def __init__(
        self, overrides: Sequence[Sequence[str]], num_done: int, total: int | None, console: Console | None = None
    ) -> None:
        """Creates the table; `with` shows it.

        Args:
            overrides: the overrides of all trials, where they are known beforehand.
            num_done: trials that earlier launches have completed.
            total: number of trials, those of earlier launches included.
        """
        self._names, self._num_done, self._total = varying_parameters(overrides), num_done, total
        self._num_compared = None if self._names else 0  # of a search, whose trials come to be known one by one
        self._console = console or Console(width=None if sys.stdout.isatty() else 160)
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)
        self._announced: dict[int, object] = {}
        self._notice: str | None = None
        self._started = self._said_at = time.time()

    def __enter__(self) -> "ProgressTable":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def __call__(self, running: Sequence[RunningTrial], ended: Sequence[Record], notice: str | None) -> None:
        """Shows the current state.

        Args:
            running: the trials that run or wait.
            ended: the records of the trials that have ended.
            notice: a line about what is waited for, if anything.
        """
        if self._num_compared is not None and self._num_compared != len(running) + len(ended):
            self._num_compared = len(running) + len(ended)
            self._names = varying_parameters([*(t.overrides for t in running), *(r.overrides for r in ended)])
        if self._console.is_terminal:
            self._live.update(self._table(running, ended))
        if notice is not None and notice != self._notice:
            self._print(notice)
        self._notice = notice
        for record in ended:
            if self._announced.get(record.number) != record.state:
                self._announced[record.number] = record.state
                self._print(self._ended_line(record))
        if not self._console.is_terminal:
            self._say(running)

    def _say(self, running: Sequence[RunningTrial]) -> None:
        """Says which trials have started and, once in a while, how far each has come."""
        for trial in running:
            if trial.task is not None and trial.number not in self._announced:
                self._announced[trial.number] = "started"
                self._print(f"trial {trial.number} started: {self._varying(trial.overrides)}")
        if time.time() - self._said_at < INTERVAL_S:
            return
        self._said_at = time.time()
        for trial in running:
            if trial.epochs:
                epoch, values, seconds, left = self._epoch_cells(trial)
                more = f", {MEASURED}" if trial.is_trained else f", {left} s left" if left else ""
                self._print(f"trial {trial.number} epoch {epoch}  {values}  {seconds} s{more}")

    def _print(self, line: str) -> None:
        """Prints a line as it stands: values and reasons in brackets are no markup of rich's."""
        self._console.print(Text(line))

    def _ended_line(self, record: Record) -> str:
        reason = f": {record.reason}" if record.reason else ""
        values = _values_text(record.epochs[-1][1] if record.epochs else {})
        return (
            f"trial {record.number} {record.state.value}{reason}  {self._varying(record.overrides)}  {values}"
            f"  {record.seconds:.1f} s"
        )

    def _varying(self, overrides: Sequence[str]) -> str:
        given = parameters(overrides)
        return " ".join(f"{name}={given[name]}" for name in self._names or given if name in given)

    def _table(self, running: Sequence[RunningTrial], ended: Sequence[Record]) -> Table:
        of_total = f" of {self._total}" if self._total else ""
        seconds = time.time() - self._started
        table = Table(
            title=f"{self._num_done + len(ended)}{of_total} trials done, {len(running)} in progress, {seconds:.0f} s"
        )
        for name in ("trial", *self._names, "epoch", "values", "state", "seconds", "seconds left"):
            table.add_column(name, no_wrap=name in ("trial", "epoch", "state"))
        for record in ended[-NUM_ENDED_SHOWN:]:
            table.add_row(*self._ended_row(record))
        for trial in running:
            table.add_row(*self._running_row(trial))
        return table

    def _ended_row(self, record: Record) -> list[Text]:
        epoch, values = record.epochs[-1] if record.epochs else ("", {})
        state = Text(record.state.value, COLOURS.get(record.state, ""))
        before = [*self._identity(record.number, record.overrides), f"{epoch}", _epoch_cell(values)]
        return [*map(Text, before), state, Text(f"{record.seconds:.0f}"), Text()]

    def _running_row(self, trial: RunningTrial) -> list[Text]:
        epoch, values, seconds, left = self._epoch_cells(trial)
        state = "waiting" if trial.task is None else MEASURED if trial.is_trained else "running"
        identity = self._identity(trial.number, trial.overrides)
        return list(map(Text, [*identity, epoch, values, state, seconds, left]))

    def _epoch_cells(self, trial: RunningTrial) -> tuple[str, str, str, str]:
        """How far a trial has come: its latest epoch, the values of it, the seconds so far, and those left if known."""
        epoch, values = trial.epochs[-1] if trial.epochs else (0, {})
        seconds = 0.0 if trial.started_at is None else time.time() - trial.started_at
        epoch_of_total = f"{epoch}/{trial.num_epochs}" if trial.num_epochs else f"{epoch}"
        if not epoch or not trial.num_epochs or trial.is_trained:
            return epoch_of_total, _epoch_cell(values), f"{seconds:.0f}", ""
        left = f"{seconds / epoch * (trial.num_epochs - epoch):.0f}"
        return epoch_of_total, _epoch_cell(values), f"{seconds:.0f}", left

    def _identity(self, number: int, overrides: Sequence[str]) -> list[str]:
        """The first cells of a row: number and varying parameters."""
        given = parameters(overrides)
        return [f"{number}", *(given.get(name, "") for name in self._names)]


def _epoch_cell(values: Mapping[str, float]) -> str:
    return _values_text({name: value for name, value in values.items() if name != "examples_per_s"})


def _values_text(values: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in values.items() if value is not None)


def unfinished_lines(records: Sequence[Record]) -> list[str]:
    """One line for each trial that did not finish, with the reason."""
    unfinished = [record for record in records if not record.state.is_done]
    return [f"trial {record.number} {record.state.value}: {record.reason}" for record in unfinished]


def state_counts(records: Sequence[Record]) -> str:
    """How many trials ended in which state, such as "8 finished, 4 lost"."""
    counts = {state: sum(record.state is state for record in records) for state in State}
    return ", ".join(f"{count} {state.value}" for state, count in counts.items() if count)
