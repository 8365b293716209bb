"""Sweeps: the leaderboard of a sweep, with its plots."""

import asyncio
from pathlib import Path
from urllib.parse import urlencode

from nicegui import ui

from data.artifacts.errors import UserError
from serve.viewer.parts.elements import choice, note, panel, part, refilled, table, text
from serve.viewer.parts.plots import bars, lines, points
from serve.viewer.parts.shell import put
from serve.viewer.reading.sweeps import SweepBoard, read_sweep, sweeps_in
from serve.viewer.viewer import Viewer

MAX_ROWS = 100


def register(viewer: Viewer) -> None:
    """Puts the view at its address."""
    put("/sweeps", lambda given: SweepsView(viewer, given.get("sweep", "")))


class SweepsView:
    """One open view.

    Args:
        viewer: What all views share.
        chosen: The sweep, by its folder below that of all sweeps; "" is the newest.
    """

    def __init__(self, viewer: Viewer, chosen: str) -> None:
        self._viewer, self._chosen = viewer, chosen
        with part("div", "stack"):
            self._choice_box = part("div")
            self._board_box = part("div", "stack")
        with self._board_box:
            note("Reading the sweeps ...")

    async def start(self) -> None:
        """Shows the sweeps; runs once the page is shown."""
        names = await asyncio.to_thread(sweeps_in, Path(self._viewer.sweeps))
        if not names:
            with refilled(self._board_box):
                note("There is no sweep yet: run python -m towers.train -m ... hydra/launcher=ray.")
            return
        if self._chosen not in names:
            self._chosen = names[0]
        with self._choice_box:
            choice("sweep", names, self._chosen, lambda e: self._choose(e.value), "wide")
        await self._show()

    async def _choose(self, name: str) -> None:
        self._chosen = name
        ui.navigate.history.replace(f"/sweeps?{urlencode({'sweep': name})}")
        await self._show()

    async def _show(self) -> None:
        chosen = self._chosen
        try:
            board: SweepBoard | str = await asyncio.to_thread(read_sweep, Path(self._viewer.sweeps) / chosen)
        except (UserError, OSError) as e:
            board = str(e)
        if chosen != self._chosen:  # another one was chosen meanwhile
            return
        with refilled(self._board_box):
            if isinstance(board, str):
                note(board, "problem")
            else:
                show_board(board)


def show_board(board: SweepBoard) -> None:
    """Adds the leaderboard and its plots; a plot that would show nothing is left out."""
    with panel(board.title):
        table(["rank", *board.columns[1:]], board.rows[:MAX_ROWS], "leaderboard")
        for line in board.notes:
            note(line)
        if len(board.rows) > MAX_ROWS:
            note(f"The first {MAX_ROWS} of {len(board.rows):,} points.")
    with part("div", "plots"):
        if board.curves:
            with panel("Learning curves"):
                lines(f"{board.monitor} by epoch", board.curves, by_time=False)
        if board.costs:
            with panel("Quality against cost"):
                groups = {"points": [{"name": says, "value": [cost, value]} for says, cost, value in board.costs]}
                points(f"{board.metric} against {board.cost}", groups, x=board.cost)
        for name, values in board.by_parameter.items():
            with panel(f"By {name}"):
                bars(f"best {board.metric} by {name}", list(values), {board.metric: list(values.values())})
    if board.commands:
        with panel("The best trial again"):
            for command in board.commands:
                text("pre", command, "code").props('tabindex="0"')
