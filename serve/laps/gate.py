"""The gate of a lap: its release gets traffic only beside a live release with which it was compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data.cluster.console import ProgressReporter
from data.dataset.catalogue import Catalogue
from serve.laps.config import CycleConfig, LapStopped
from serve.laps.record import LapRecord
from serve.releases.building.build import Gate
from serve.releases.gate.checks import check_over_live_report
from serve.releases.gate.config import GateError
from serve.releases.gate.gate import HELD_BACK
from serve.releases.gate.lost_items import LostItems, lost_items
from serve.releases.pointer import LivePointer
from serve.releases.registry import ReleaseRegistry
from towers.checkpoint.checkpoint import Checkpoint

AGAINST = "against"
"""The step at which a lap notes which release was live when the gate compared its own with it; null where none was."""


@dataclass(frozen=True, slots=True)
class LapGate:
    """The gate of `serve.publish`, with the bounds of a lap before it; it notes which release was live.

    Attributes:
        bounds: those of a lap, of which `max_report_loss` and `max_lost_items` are kept here.
        gate: that of `serve.publish`.
        registry: all releases, and the live pointer.
        record: the record of the lap, where the comparison is noted.
        progress: takes a line of text where the gate runs once more.
    """

    bounds: CycleConfig
    gate: Gate
    registry: ReleaseRegistry
    record: LapRecord
    progress: ProgressReporter

    def check_report(self, manifest: Mapping[str, Any], live: LivePointer | None) -> dict[str, Any]:
        """Checks the report of a model beside that of the live release; returns both values, as JSON values.

        Args:
            manifest: of the model's checkpoint or release.
            live: the live pointer; where it is None, nothing is checked.

        Raises:
            GateError: the model is worse than the bound.
        """
        if live is None:
            return {}
        check = check_over_live_report(self.bounds.max_report_loss, manifest, self.registry.manifest(live.release))
        if not check.passed:
            raise GateError(f"gate: {check.name}: {check.value:.4g}, {check.bound}")
        return {check.name: check.value, "live": check.live}

    def check_items(self, items: Catalogue, live: LivePointer) -> LostItems:
        """Checks how many items of the live release a catalogue lacks, and returns which.

        Raises:
            GateError: it lacks more than the bound.
        """
        lost = lost_items(self.registry.open_served(live.release), items)
        if lost.share > self.bounds.max_lost_items:
            raise GateError(
                f"items: {lost}. At most {self.bounds.max_lost_items:.1%} of them may go (cycle.max_lost_items)"
            )
        return lost

    def __call__(self, checkpoint: Checkpoint, registry: ReleaseRegistry) -> dict[str, Any] | None:
        """Runs the gate, as a `Gate` does, and notes beside which release that was.

        Raises:
            GateError: the checkpoint is held back.
        """
        live = registry.live()  # before the gate reads it: whatever becomes live meanwhile is compared with once more
        self.check_report(checkpoint.manifest, live)
        if live is not None:
            self.check_items(checkpoint.items, live)
        found = self.gate(checkpoint, registry)
        self.record.note(AGAINST, None if live is None else live.release)
        return found

    def judge_again(self, release_id: str) -> None:
        """Runs the gate on a lap's release again where another one is live by now than it was compared with.

        That is so where the lap was interrupted and somebody has promoted another release meanwhile, and where the
        release was published before, without this lap's gate.

        Raises:
            LapStopped: the release is held back beside the one that is live now. It stays published.
        """
        compared_with = self.record.steps.get
        while (live := self.registry.live()) is not None and live.release not in (release_id, compared_with(AGAINST)):
            self.progress(f"cycle: {release_id} was not compared with {live.release}, which is live: the gate runs")
            try:
                self(self.registry.open(release_id).parts, self.registry)
            except GateError as e:
                found = str(e).removesuffix(f". {HELD_BACK}")
                raise LapStopped(
                    f"{live.release} is live, and beside it {release_id} is held back: {found}. It is published: python"
                    f" -m serve.promote release={release_id} makes it live all the same"
                ) from e
