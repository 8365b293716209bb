"""Releases: the table, the running experiment, and one release with gate, lineage, metrics and model card."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from nicegui import ui

from data.artifacts.errors import UserError
from serve.experiments.assignment import in_percent
from serve.releases.lineage import lineage_of
from serve.releases.listing import age, list_releases
from serve.releases.model_card import model_card
from serve.releases.pointer import LivePointer
from serve.viewer.parts.elements import badge, note, panel, part, refilled, table, text
from serve.viewer.parts.plots import bars
from serve.viewer.parts.shell import put
from serve.viewer.reading.variants import Interval, Variant
from serve.viewer.viewer import Viewer
from towers.evaluation.report import report_of

METRICS = ("recall", "ndcg", "mrr", "coverage")


def register(viewer: Viewer) -> None:
    """Puts the view at its address."""
    put("/releases", lambda given: ReleasesView(viewer, given.get("release", "")))


class ReleasesView:
    """One open view.

    Args:
        viewer: What all views share.
        release_id: The release that is shown in full; "" is the live or the newest one.
    """

    def __init__(self, viewer: Viewer, release_id: str) -> None:
        self._viewer, self._chosen = viewer, release_id
        self._experiment: tuple[str, list[Variant]] | None = None  # as it is shown
        with part("div", "stack"):
            with panel("All releases, newest first"):
                self._table_box = part("div")
            self._experiment_box = part("div")
            self._release_box = part("div", "stack")
        with self._table_box:
            note("Reading the releases ...")

    async def start(self) -> None:
        """Shows all; runs once the page is shown."""
        rows, live = await asyncio.to_thread(self._read)
        with refilled(self._table_box):
            if not rows:
                note("There is no release yet: run python -m serve.publish, then python -m serve.promote.", "problem")
                return
            self._table(rows)
        await self._show_experiment(live)
        ui.timer(self._viewer.config.every_s, self._refresh)
        known = [row["release"] for row in rows]
        default = live.release if live is not None and live.release in known else known[0]
        chosen = self._chosen if self._chosen in known else default
        manifest = await asyncio.to_thread(self._viewer.registry.manifest, chosen)
        with self._release_box:
            if self._chosen and self._chosen not in known:
                note(f"There is no release {self._chosen}.", "problem")
            release(chosen, manifest)

    async def _refresh(self) -> None:
        """Shows the experiment as it stands now; what is shown stays while the storage does not answer."""
        with suppress(OSError):
            await self._show_experiment(await asyncio.to_thread(self._viewer.registry.live))

    async def _show_experiment(self, live: LivePointer | None) -> None:
        experiment = None if live is None else live.experiment
        if live is None or experiment is None:
            self._experiment_box.clear()
            self._experiment = None
            return
        variants = await asyncio.to_thread(self._viewer.variants.read, experiment)
        if (experiment.name, variants) != self._experiment:
            self._experiment = experiment.name, variants
            with refilled(self._experiment_box):
                _experiment(experiment.name, live.release, variants)

    def _read(self) -> tuple[list[dict[str, Any]], LivePointer | None]:
        registry = self._viewer.registry
        return list_releases(registry), registry.live()

    def _table(self, rows: list[dict[str, Any]]) -> None:
        metrics = list(dict.fromkeys(name for row in rows for name in row["metrics"]))  # their k may differ
        head = ["release", "age", "dataset", "items", *metrics, "state", "traffic"]
        with part("div", "scroll").props('tabindex="0" role="region" aria-label="releases"'), part("table", "plain"):
            with part("thead"), part("tr"):
                for name in head:
                    is_number = name in ("items", "traffic", *metrics)
                    text("th", name, "number" if is_number else "").props('scope="col"')
            with part("tbody"):
                for row in rows:
                    with part("tr"):
                        with part("td"):
                            text("a", row["release"]).props["href"] = (
                                f"/releases?release={quote(row['release'], safe='')}"
                            )
                        text("td", age(row["created_at"], datetime.now(UTC)))
                        text("td", row["dataset"])
                        text("td", f"{row['num_items']:,}", "number")
                        for name in metrics:
                            value = row["metrics"].get(name)
                            text("td", "" if value is None else f"{value:.4f}", "number")
                        with part("td"):
                            if row["state"]:
                                badge(row["state"], "good" if row["state"] == "live" else "")
                        text("td", in_percent(row["traffic"]) if row["traffic"] else "", "number")


def _experiment(name: str, live: str, variants: list[Variant]) -> None:
    """Adds the running experiment: its variants beside control, which is the live release."""
    rows = [
        (
            variant.name, in_percent(variant.share), variant.num_answers, _shares(variant.failed),
            _rise(variant.failed_rise), _shares(variant.degraded), _rise(variant.degraded_rise),
            _ms(variant.p50_ms), _ms(variant.p95_ms), variant.distinct_items,
        )
        for variant in variants
    ]  # fmt: skip
    with panel(f"Experiment {name}: control is {live}"):
        head = ("variant", "users", "answers", "failed", "beside control", "degraded", "beside control", "p50 ms",
                "p95 ms", "distinct items")  # fmt: skip
        table(head, rows, "by its exposures so far, with 95 % intervals, each valid for one look")


def _shares(share: tuple[float, float, float]) -> str:
    return f"{share[0]:.2%} ({share[1]:.2%} to {share[2]:.2%})"


def _rise(rise: tuple[float, float, float] | None) -> str:
    return "" if rise is None else f"{rise[0]:+.2%} ({rise[1]:+.2%} to {rise[2]:+.2%})"


def _ms(interval: Interval) -> str:
    value, low, high = interval
    if value is None:
        return ""
    between = "?" if low is None else f"{low:.4g}"
    return f"{value:.4g} ({between} to {'?' if high is None else f'{high:.4g}'})"


def release(release_id: str, manifest: dict[str, Any]) -> None:
    """Adds one release: gate, lineage, metrics overall and by slice, and the model card."""
    with part("div", "columns halves"):
        with panel(f"{release_id}: where it comes from"):
            rows = [(name, value) for name, value in lineage_of(manifest).items() if value is not None]
            table(("what", "which"), [(name, str(value)) for name, value in rows], "lineage")
        with panel("Gate"):
            _gate(manifest.get("gate"))
    with panel("Measured"):
        _measured(manifest)
    with panel("Model card"), part("details"):
        text("summary", "read it")
        text("pre", model_card(release_id, manifest), "card-text").props('tabindex="0"')


def _gate(gate: dict[str, Any] | None) -> None:
    if gate is None:
        note("No gate was asked.")
        return
    if gate.get("forced"):
        badge("published with force=true", "bad")
        note(gate["forced"])
    rows = [
        (c["name"], c["value"], c["live"], c["bound"], "passed" if c.get("passed", True) else "failed")
        for c in gate.get("checks", ())
    ]
    table(
        ("check", "this release", gate.get("against") or "live", "bound", "outcome"), rows, "checks before publishing"
    )
    for failed in gate.get("failed", ()):
        note(failed, "problem")


def _measured(manifest: dict[str, Any]) -> None:
    try:
        report = report_of(manifest)
    except UserError as e:
        note(str(e))
        return
    names = [f"{metric}@{report.k}" for metric in METRICS]
    note(f"{report.num_queries:,} users of the {report.split} part; every item of the catalogue is a candidate.")
    with part("div", "plots"):
        by_ranking = {ranking: [values.get(name) for name in names] for ranking, values in report.rankings.items()}
        with part("div"):
            bars(f"metrics at {report.k}, beside baselines", names, by_ranking)
        for group in dict.fromkeys(one["group"] for one in report.slices):
            slices = [one for one in report.slices if one["group"] == group]
            rankings = [name for name in report.rankings if name in slices[0]["recall"]]
            series = {ranking: [one["recall"][ranking] for one in slices] for ranking in rankings}
            with part("div"):
                bars(f"recall@{report.k} by {group}", [one["name"] for one in slices], series)
    rows = []
    for ranking, values in report.rankings.items():
        bounds = report.intervals.get(ranking, {})
        cells = [
            f"{values[n]:.4f}" + (f" ({bounds[n][0]:.4f} to {bounds[n][1]:.4f})" if n in bounds else "")
            for n in names
            if n in values
        ]
        rows.append((ranking, *cells))
    table(("ranking", *(n for n in names if n in report.metrics)), rows, "95 % bootstrap intervals over users")
