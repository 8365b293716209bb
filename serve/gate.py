"""What a release must hold before there is one: it is compared with the live one, and its vectors are looked at.

Shape legend: Q queries, N items, D dimension.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from rich.table import Table

from data.prepared import PreparedDataset
from data.storage import Folder, NotSealed
from serve.comparison import Answers, Queries, answers, in_rows_of, queries
from serve.golden import timed
from serve.release import Registry, Release
from towers.checkpoint import Checkpoint
from towers.compare import differences
from towers.report import RERANKED, EvaluateConfig


class GateError(ValueError):
    """A release is held back: the message names what it lacks."""


@dataclass(kw_only=True, slots=True)
class GateConfig:
    """The bounds, conf/gate.

    Attributes:
        max_loss: of nDCG, as a share of the live release's; and whatever the loss, a paired test must not call it clear
            (overall, and for the least active quarter of the users).
        max_coverage_loss: as a share of the live release's catalogue coverage.
        max_popular_rise: of the share that the most popular tenth of the items has in what is shown.
        min_over_popularity: nDCG of the re-ranked towers over that of popular items, in the checkpoint's own report.
        max_golden_ms: median of the golden queries through all stages in this process.
        max_mean_cosine: between two items' vectors; near 1 they have collapsed into one.
        min_effective_dims: participation ratio of the items' covariance: dimensions that are in use.
        max_norm_ratio: longest vector of an item over the first percentile of their lengths.
    """

    max_loss: float = 0.05
    max_coverage_loss: float = 0.2
    max_popular_rise: float = 0.1
    min_over_popularity: float = 1.0
    max_golden_ms: float = 50.0
    max_mean_cosine: float = 0.6
    min_effective_dims: float = 3.0
    max_norm_ratio: float = 20.0

    def __post_init__(self) -> None:
        for name in ("max_golden_ms", "max_norm_ratio"):
            if not getattr(self, name) > 0:
                raise ValueError(f"gate.{name}: {getattr(self, name)} must be above 0")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at. `bound` is in words; `live` is the same of the live release, where it has that."""

    name: str
    value: float
    live: float | None
    bound: str
    passed: bool


@dataclass(frozen=True, slots=True)
class GateReport:
    """All checks.

    Attributes:
        against: the live release, if there was one to compare with.
    """

    against: str | None
    checks: list[Check]
    notes: list[str]

    @property
    def failed(self) -> list[Check]:
        return [check for check in self.checks if not check.passed]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def table(self) -> Table:
        against = f"against {self.against}" if self.against else "no release is live"
        shown = Table(title=f"gate, {against}", caption="; ".join(self.notes) or None, caption_justify="left")
        for column in ("", "candidate", "live", "bound", ""):
            shown.add_column(column, justify="right" if column in ("candidate", "live") else "left")
        for check in self.checks:
            live = "" if check.live is None else f"{check.live:.4g}"
            verdict = "ok" if check.passed else "[bold red]FAILED[/]"
            shown.add_row(check.name, f"{check.value:.4g}", live, check.bound, verdict)
        return shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Gatekeeper:
    """Lets a checkpoint become a release, or holds it back.

    Attributes:
        reason: it is let through whatever it lacks, for this reason, which the release records.
        show: where the report goes.
    """

    config: GateConfig
    evaluate: EvaluateConfig
    reason: str | None = None
    show: Callable[[Table], None]

    def __call__(self, checkpoint: Checkpoint, registry: Registry) -> dict[str, Any]:
        """The report, and the reason where it was needed, as JSON.

        Raises:
            GateError: it is held back.
        """
        try:
            report = gate(self.config, self.evaluate, checkpoint, _live(registry))
        except (GateError, FloatingPointError) as e:
            if self.reason is None:
                raise GateError(f"gate: {e}") from e
            return {"forced": self.reason, "failed": [f"{e}"]}
        self.show(report.table())
        failed = [f"{check.name}: {check.value:.4g}, {check.bound}" for check in report.failed]
        if failed and self.reason is None:
            raise GateError(
                f"gate: {'; '.join(failed)}. There is no release; publish it all the same with force=true reason='...'"
            )
        return report.as_json() | {"failed": failed, "forced": self.reason if failed else None}


def gate(config: GateConfig, evaluate: EvaluateConfig, checkpoint: Checkpoint, live: Release | None) -> GateReport:
    """Looks at a checkpoint that would become a release.

    Raises:
        GateError: its dataset, with the held-out interactions, is not there.
    """
    checks, notes, against = [*_health(config, checkpoint), *_floor(config, checkpoint)], [], None
    ms = timed(checkpoint)
    checks.append(
        Check("golden queries, median ms", ms, None, f"at most {config.max_golden_ms:g}", ms <= config.max_golden_ms)
    )
    if live is not None:
        dataset = _dataset(checkpoint)
        asked = queries(dataset, live.parts)
        if len(asked.held_out.user_rows_Q):
            against = live.id
            notes.append(f"{len(asked.held_out.user_rows_Q):,} of {asked.num_all:,} held-out users are known to both")
            ours = answers(checkpoint, asked.held_out, evaluate)
            theirs = answers(live.parts, in_rows_of(live.parts, asked.held_out, dataset), evaluate)
            checks += _compared(config, evaluate, asked, ours, theirs)
        else:
            notes.append(f"not compared with {live.id}: it knows none of the held-out users")
    return GateReport(against, checks, notes)


def _compared(
    config: GateConfig, evaluate: EvaluateConfig, asked: Queries, ours: Answers, theirs: Answers
) -> list[Check]:
    every_Q = np.ones_like(asked.least_active_Q)
    return [
        _quality(f"nDCG@{evaluate.k}", ours, theirs, every_Q, evaluate, config.max_loss),
        _quality(f"nDCG@{evaluate.k}, least active quarter", ours, theirs, asked.least_active_Q, evaluate, None),
        _at_least("coverage", ours.coverage, theirs.coverage, (1 - config.max_coverage_loss) * theirs.coverage),
        _at_most(
            "share of popular", ours.popular_share, theirs.popular_share, theirs.popular_share + config.max_popular_rise
        ),
    ]


def _quality(
    name: str, ours: Answers, theirs: Answers, of_Q: np.ndarray, evaluate: EvaluateConfig, max_loss: float | None
) -> Check:
    """A paired test by user: not clearly worse, and the loss within its bound."""
    if not of_Q.any():
        return Check(name, 0.0, 0.0, "no such user", True)
    (found,) = differences(RERANKED, {name: ours.ndcg_Q[of_Q]}, {name: theirs.ndcg_Q[of_Q]}, evaluate)
    is_worse = found.difference < 0 and found.is_clear
    passed = not is_worse and (max_loss is None or found.difference >= -max_loss * found.baseline)
    low, high = found.interval
    bound = f"not worse: {found.difference:+.4f} ({low:+.4f} .. {high:+.4f}), p {found.p:.3g}"
    if max_loss is not None:
        bound += f"; at least {(1 - max_loss) * found.baseline:.4g}"
    return Check(name, found.checkpoint, found.baseline, bound, passed)


def _health(config: GateConfig, checkpoint: Checkpoint) -> list[Check]:
    """Of the items' vectors: lengths, whether they have collapsed, and how many dimensions they use."""
    item_ND = checkpoint.reranker.item_ID[1:].double()
    norm_N = torch.linalg.vector_norm(item_ND, dim=1)
    short = float(np.quantile(norm_N.numpy(), 0.01))  # a few items that nothing is known of may have none
    ratio = float(norm_N.max()) / short if short > 0 else float("inf")
    unit_ND = item_ND / norm_N.clamp_min(1e-12)[:, None]
    cosine = float(unit_ND.mean(0).square().sum())
    centred_ND = unit_ND - unit_ND.mean(0)
    spread_D = torch.linalg.eigvalsh(centred_ND.T @ centred_ND).clamp_min(0)
    dims = float(spread_D.sum().square() / spread_D.square().sum().clamp_min(1e-30))
    return [
        _at_most("items: longest vector / 1st percentile", ratio, None, config.max_norm_ratio),
        _at_most("items: mean cosine of two", cosine, None, config.max_mean_cosine),
        _at_least("items: dimensions in use", dims, None, config.min_effective_dims),
    ]


def _floor(config: GateConfig, checkpoint: Checkpoint) -> list[Check]:
    """By the checkpoint's own report, where it measured popularity."""
    manifest, name = checkpoint.manifest, f"ndcg@{checkpoint.manifest['k']}"
    if "popularity" not in manifest["floors"]:
        return []
    popular = manifest["floors"]["popularity"][name]
    ours, least = manifest["reranked"][name], config.min_over_popularity * popular
    return [Check(f"{name} on its test part", ours, None, f"at least {least:.4g} (popular items)", ours >= least)]


def _at_most(name: str, value: float, live: float | None, bound: float) -> Check:
    return Check(name, value, live, f"at most {bound:.4g}", value <= bound)


def _at_least(name: str, value: float, live: float | None, bound: float) -> Check:
    return Check(name, value, live, f"at least {bound:.4g}", value >= bound)


def _live(registry: Registry) -> Release | None:
    pointer = registry.live()
    try:
        return None if pointer is None else registry.open(pointer.release)
    except (ValueError, OSError) as e:
        raise GateError(f"the live release cannot be compared with: {e}; force=true reason='...' goes on") from e


def _dataset(checkpoint: Checkpoint) -> PreparedDataset:
    folder = checkpoint.manifest["dataset"]["folder"]
    try:
        return PreparedDataset.open(Folder.of(folder))
    except NotSealed as e:
        raise GateError(
            f"{folder}: the dataset whose test part this checkpoint is measured on is not there; prepare it again, or"
            " publish unmeasured with force=true reason='...'"
        ) from e
