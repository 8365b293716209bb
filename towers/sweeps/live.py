"""A sweep as it runs: one table on a terminal, a line per change elsewhere."""

import sys
import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from towers.sweeps.placement import Running
from towers.sweeps.records import Record, State, parameters, varying

LATEST = 12
"""Ended trials that the table shows."""


class LiveTable:
    """Trial, the parameters that vary, epoch, its values, state, and when it will end."""

    def __init__(
        self, overrides: Sequence[Sequence[str]], done: int, total: int | None, console: Console | None = None
    ):
        self._names, self._done, self._total = varying(overrides), done, total
        self._console = console or Console(width=None if sys.stdout.isatty() else 160)
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)
        self._said: dict[int, object] = {}
        self._waits_for: str | None = None
        self._started = time.time()

    def __enter__(self) -> "LiveTable":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def __call__(self, running: Sequence[Running], ended: Sequence[Record], waits_for: str | None) -> None:
        if not self._names:
            self._names = varying([*(t.overrides for t in running), *(r.overrides for r in ended)])
        if self._console.is_terminal:
            self._live.update(self._table(running, ended))
        if waits_for is not None and waits_for != self._waits_for:
            self._console.print(waits_for, highlight=False)
        self._waits_for = waits_for
        for record in ended:
            if self._said.get(record.number) != record.state:
                self._said[record.number] = record.state
                self._console.print(self._line(record), highlight=False)
        for trial in running:
            if not self._console.is_terminal and trial.task is not None and trial.number not in self._said:
                self._said[trial.number] = "started"
                self._console.print(f"trial {trial.number} started: {self._shown(trial.overrides)}", highlight=False)

    def _line(self, record: Record) -> str:
        why = f": {record.reason}" if record.reason else ""
        values = "  ".join(
            f"{name} {value:.4g}" for name, value in (record.epochs[-1][1] if record.epochs else {}).items()
        )
        return (
            f"trial {record.number} {record.state.value}{why}  {self._shown(record.overrides)}  {values}"
            f"  {record.seconds:.1f} s"
        )

    def _shown(self, overrides: Sequence[str]) -> str:
        given = parameters(overrides)
        return " ".join(f"{name}={given[name]}" for name in self._names if name in given)

    def _table(self, running: Sequence[Running], ended: Sequence[Record]) -> Table:
        of = f" of {self._total}" if self._total else ""
        title = (
            f"{self._done + len(ended)}{of} trials done, {len(running)} under way, {time.time() - self._started:.0f} s"
        )
        table = Table(title=title)
        for name in ("trial", *self._names, "epoch", "values", "state", "seconds", "to go"):
            table.add_column(name, no_wrap=name in ("trial", "epoch", "state"))
        for record in ended[-LATEST:]:
            epoch, values = record.epochs[-1] if record.epochs else ("", {})
            self._add(
                table, record.number, record.overrides, f"{epoch}", values, record.state.value, record.seconds, ""
            )
        for trial in running:
            epoch, values = trial.epochs[-1] if trial.epochs else (0, {})
            state = "waits for a place" if trial.task is None else "runs"
            seconds = 0.0 if trial.started_at is None else time.time() - trial.started_at
            shown = f"{epoch}/{trial.num_epochs}" if trial.num_epochs else f"{epoch}"
            to_go = f"{seconds / epoch * (trial.num_epochs - epoch):.0f} s" if epoch and trial.num_epochs else ""
            self._add(table, trial.number, trial.overrides, shown, values, state, seconds, to_go)
        return table

    def _add(
        self, table: Table, number: int, overrides: Sequence[str], epoch: str, values: dict[str, float], state: str,
        seconds: float, to_go: str,
    ) -> None:  # fmt: skip
        given = parameters(overrides)
        colour = {"finished": "green", "failed": "red", "lost": "red", "pruned": "yellow"}.get(state, "")
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items() if name != "examples_per_s")
        cells = (f"{number}", *(given.get(name, "") for name in self._names), epoch, shown)
        table.add_row(*cells, f"[{colour}]{state}[/]" if colour else state, f"{seconds:.0f}", to_go)


def failures(records: Sequence[Record]) -> list[str]:
    """A line for each trial that did not finish, for people."""
    missing = [record for record in records if not record.state.is_done]
    return [f"trial {record.number} {record.state.value}: {record.reason}" for record in missing]


def summary(records: Sequence[Record]) -> str:
    """How many ended how."""
    counts = {state: sum(record.state is state for record in records) for state in State}
    return ", ".join(f"{count} {state.value}" for state, count in counts.items() if count)
