"""The release gate: runs all checks on a checkpoint that would become a release, and holds back one that fails."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from data.artifacts.errors import ConfigError
from data.artifacts.seals import NotSealed, named_in
from data.cluster.console import show
from data.dataset.prepared import PreparedDataset
from serve.releases.gate.checks import (
    Check,
    check_item_vectors,
    check_latency,
    check_over_popularity,
    compare_with_live,
)
from serve.releases.gate.comparison import in_rows_of, measure_answers, queries_for_both
from serve.releases.gate.config import GateConfig, GateError
from serve.releases.gate.judged import judged
from serve.releases.gate.lost_items import lost_items
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import Release
from towers.checkpoint.checkpoint import Checkpoint
from towers.checkpoint.tensor_files import CheckpointError
from towers.evaluation.config import EvaluateConfig

HELD_BACK = "It is held back; publish it all the same with force=true reason='...'"
"""How the message about failed checks ends."""


@dataclass(frozen=True, slots=True)
class GateReport:
    """The outcome of all checks.

    Attributes:
        against: id of the live release that the checkpoint was compared with; None where there was no comparison.
        checks: the outcome of each check.
        notes: what a reader should know about the comparison.
    """

    against: str | None
    checks: list[Check]
    notes: list[str]

    @property
    def failed(self) -> list[Check]:
        """The checks that did not pass."""
        return [check for check in self.checks if not check.passed]

    def as_json(self) -> dict[str, Any]:
        """The report as JSON values, for the release's manifest."""
        return asdict(self)

    def table(self) -> Table:
        """The report as a table."""
        against = f"against {self.against}" if self.against else "no release is live"
        table = Table(title=f"gate, {against}", caption="; ".join(self.notes) or None, caption_justify="left")
        for column in ("", "this checkpoint", "live", "bound", ""):
            table.add_column(column, justify="right" if column in ("this checkpoint", "live") else "left")
        for check in self.checks:
            live = "" if check.live is None else f"{check.live:.4g}"
            verdict = "ok" if check.passed else Text("FAILED", style="bold red")
            table.add_row(check.name, f"{check.value:.4g}", live, check.bound, verdict)
        return table


@dataclass(frozen=True, slots=True, kw_only=True)
class Gatekeeper:
    """Lets a checkpoint become a release, or holds it back.

    Attributes:
        config: the bounds.
        evaluate: how answers are measured.
        reason: if given, the checkpoint passes whatever fails, and the release's manifest records this reason.
        show: receives the report as a table.
    """

    config: GateConfig
    evaluate: EvaluateConfig
    reason: str | None = None
    show: Callable[[Table], None]

    @classmethod
    def of(cls, config: GateConfig, evaluate: EvaluateConfig, force: bool, reason: str | None) -> "Gatekeeper":
        """A gatekeeper that prints its report; with `force` it lets everything through and records the reason.

        Raises:
            ConfigError: it is forced without a reason.
        """
        if force and reason is None:
            raise ConfigError("reason: null; force=true needs a reason, for the release's manifest; reason='...'")
        return cls(config=config, evaluate=evaluate, reason=reason if force else None, show=show)

    def __call__(self, checkpoint: Checkpoint, registry: ReleaseRegistry) -> dict[str, Any]:
        """Runs the gate; returns the report as JSON values, with the reason where a check failed.

        Raises:
            GateError: a check failed and no reason was given.
        """
        try:
            report = run_gate(self.config, self.evaluate, checkpoint, _open_live(registry))
        except (GateError, FloatingPointError) as e:
            if self.reason is None:
                raise GateError(f"gate: {e}") from e
            return {"forced": self.reason, "failed": [f"{e}"]}
        self.show(report.table())
        failed = [f"{check.name}: {check.value:.4g}, {check.bound}" for check in report.failed]
        if failed and self.reason is None:
            raise GateError(f"gate: {'; '.join(failed)}. {HELD_BACK}")
        return report.as_json() | {"failed": failed, "forced": self.reason if failed else None}


def run_gate(config: GateConfig, evaluate: EvaluateConfig, checkpoint: Checkpoint, live: Release | None) -> GateReport:
    """Runs all checks on a checkpoint; those against the live release only where there is one.

    Items that were removed from either are in none of its answers. Those that were removed from this one are relevant
    to nobody.

    Raises:
        GateError: the checkpoint's dataset, with the held-out interactions, or its backtest does not exist any more; or
            no held-out user has chosen any of the items that are not removed.
        FloatingPointError: a stage gives values that are not finite.
    """
    checks, notes = [*check_item_vectors(config, checkpoint)], []
    try:
        checks.append(check_over_popularity(config, checkpoint))
    except (NotSealed, CheckpointError) as e:
        notes.append(f"not held against popular items, which its report lacks: {e}")
    checks.append(check_latency(config, checkpoint))
    if live is None:
        return GateReport(None, checks, notes)
    dataset = _open_dataset(checkpoint)
    compared = judged(checkpoint, live, dataset)
    removed = checkpoint.manifest.get("withdrawn", ())
    queries = queries_for_both(dataset, compared.live, evaluate.seen, removed)
    lost = [] if "refreshed" in checkpoint.manifest else [lost_items(live, checkpoint.items)]
    notes += [*compared.notes, *(f"{one}" for one in lost if one)]
    if removed and not len(queries.held_out.user_rows_Q):
        raise GateError(f"{len(removed):,} items are removed, and of the others no held-out user has chosen any")
    if not len(queries.held_out.user_rows_Q):
        note = f"not compared with {live.id}: it knows none of the held-out users"
        return GateReport(None, checks, [note, *notes])
    note = f"{len(queries.held_out.user_rows_Q):,} of {queries.num_all:,} held-out users are known to both"
    ours = measure_answers(compared.ours, queries.held_out, evaluate, removed)
    asked = in_rows_of(compared.live, queries.held_out, dataset)
    theirs = measure_answers(compared.live, asked, evaluate, live.removed_items)
    checks += compare_with_live(config, evaluate, queries, ours, theirs)
    return GateReport(live.id, checks, [note, *notes])


def _open_live(registry: ReleaseRegistry) -> Release | None:
    pointer = registry.live()
    try:
        return None if pointer is None else registry.open(pointer.release)
    except (ValueError, OSError) as e:
        # Broad on purpose: a live release may be damaged in any of its files, and each reader has errors of its own.
        raise GateError(f"the live release cannot be compared with: {e}; skip that with force=true reason='...'") from e


def _open_dataset(checkpoint: Checkpoint) -> PreparedDataset:
    folder = checkpoint.manifest["dataset"]["folder"]
    try:
        return PreparedDataset.open(named_in(checkpoint.folder, folder))
    except NotSealed as e:
        raise GateError(
            f"{folder}: the dataset whose test part this checkpoint is measured on is not there; prepare it again, or"
            " publish unmeasured with force=true reason='...'"
        ) from e
