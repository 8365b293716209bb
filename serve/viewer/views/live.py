"""Live metrics of the endpoint: traffic, latency, degraded answers, stages, recall and replicas, of the last hour."""

import asyncio
from collections.abc import Callable, Sequence

from nicegui import ui

from serve.viewer.live.samples import Reading
from serve.viewer.live.series import (
    Series,
    degraded_share,
    latency,
    recall,
    replicas,
    requests_per_second,
    stage_times,
    thinned,
)
from serve.viewer.parts.elements import note, panel, part, refilled
from serve.viewer.parts.plots import lines, set_lines
from serve.viewer.parts.shell import put
from serve.viewer.viewer import Viewer

PLOTS: dict[str, tuple[str, Callable[[Sequence[Reading]], Series], str]] = {
    "Answers per second": ("", requests_per_second, "by outcome, over the last minute"),
    "Latency": ("ms", latency, "of requests that reached a replica, from arrival to the last byte"),
    "Degraded share": ("", degraded_share, "answers without a stage, or with popular items because one was late"),
    "Time per stage": ("ms", stage_times, "means; which stage takes the time"),
    "Recall of the index": ("", recall, "as its monitor sees it; an exact index has none"),
    "Replicas": ("", replicas, "healthy ones, and how many are wanted"),
}
"""Title, then unit, values, and what is plotted."""


def register(viewer: Viewer) -> None:
    """Puts the view at its address."""
    put("/live", lambda _: LiveView(viewer))


class LiveView:
    """One open view, which shows new values as the recorder reads them."""

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._shown: tuple[float, float, str] | None = None  # first and last time, and the problem
        self._plots: dict[str, tuple[ui.echart, ui.label]] = {}
        self._remark = part("div").props('aria-live="polite"')
        with part("div", "plots"):
            for title, (unit, _, says) in PLOTS.items():
                with panel(title):
                    note(says)
                    plot = lines(f"{title}, last hour", {}, unit)
                    plot.options["title"]["show"] = False
                    self._plots[title] = plot, ui.label("waiting for values ...").classes("soft")

    async def start(self) -> None:
        """Begins to read metrics, and to show them."""
        self._viewer.metrics.start()
        await self._show()
        ui.timer(1.0, self._show)

    async def _show(self) -> None:
        kept, problem = list(self._viewer.metrics.readings), self._viewer.metrics.problem
        shown = (kept[0].at, kept[-1].at, problem) if kept else (0.0, 0.0, problem)
        if shown == self._shown:
            return
        if self._shown is None or problem != self._shown[2]:  # a problem is read out once, not each second
            self._tell(problem)
        self._shown, readings = shown, thinned(kept)
        found = await asyncio.to_thread(lambda: {title: values(readings) for title, (_, values, _) in PLOTS.items()})
        for title, series in found.items():
            plot, latest = self._plots[title]
            latest.set_text(_latest(series) if series else self._nothing(len(readings)))
            if series:
                set_lines(plot, series)
            plot.set_visibility(bool(series))

    def _tell(self, problem: str) -> None:
        with refilled(self._remark):
            if problem:
                note(problem, "problem" if "nothing has been read" not in problem else "note")

    def _nothing(self, num_readings: int) -> str:
        if num_readings < 2:
            return f"waiting for a second reading; one comes every {self._viewer.config.every_s:g} s"
        return "the endpoint exports none"


def _latest(series: Series) -> str:
    """The latest values in words, which screen readers can read."""
    last = {name: points[-1][1] for name, points in series.items() if points}
    return ", ".join(f"{name} {'none' if value is None else f'{value:.4g}'}" for name, value in last.items())
