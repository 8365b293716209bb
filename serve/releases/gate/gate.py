"""What a release must hold before there is one: it is compared with the live one, and its vectors are looked at.

Shape legend: Q queries, N items, D dimension.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.artifacts.seals import NotSealed
from data.cluster.console import show
from data.dataset.prepared import PreparedDataset
from serve.releases.gate.checks import Check, _compared, _floor, _health
from serve.releases.gate.comparison import answers, in_rows_of, queries
from serve.releases.gate.config import GateConfig, GateError
from serve.releases.golden_queries import timed
from serve.releases.registry import Registry
from serve.releases.release import Release
from towers.checkpoint.checkpoint import Checkpoint
from towers.evaluation.config import EvaluateConfig


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

    @classmethod
    def of(cls, config: GateConfig, evaluate: EvaluateConfig, force: bool, reason: str | None) -> "Gatekeeper":
        """A gatekeeper that prints its report; with `force` it lets everything through, for the `reason` given.

        Raises:
            ValueError: it is forced without a reason.
        """
        if force and not reason:
            raise ConfigError("reason: force=true needs one, for the record; reason='...'")
        return cls(config=config, evaluate=evaluate, reason=reason if force else None, show=show)

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
