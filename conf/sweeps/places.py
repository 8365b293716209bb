"""Where trials are placed: a placement group each, with all its workers, once there are CPUs for its own tasks, too."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import ray
from ray.autoscaler.sdk import request_resources
from ray.util import placement_group, placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup

from conf.sweeps.settings import LauncherConfig

GIB = 1 << 30

A_PLACE = 0.001
"""CPUs of the bundle for a trial's own process: Ray wants more than none."""


@dataclass(kw_only=True)
class Running:
    """A trial that waits for its place, or works.

    Attributes:
        workers: what each of its workers asks for; labels: of their nodes.
        group: where it is placed; None as long as there is no room.
        task: of its process; None as long as it waits.
        epochs: (epoch, values) as reported.
        num_epochs: as many there will be at most; None where its config has none.
    """

    number: int
    overrides: list[str]
    asked_at: float
    workers: list[dict[str, float]] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    group: PlacementGroup | None = None
    started_at: float | None = None
    signed_at: float | None = None
    task: ray.ObjectRef | None = None
    epochs: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    num_epochs: int | None = None
    attempts: int = 1

    @property
    def worker_cpus(self) -> float:
        return sum(worker.get("CPU", 0.0) for worker in self.workers)

    @property
    def is_placed(self) -> bool:
        """Has it all that it asked for?"""
        return self.group is not None and placement_group_table(self.group)["state"] == "CREATED"

    def leave(self) -> None:
        """Frees its place; whatever process of it is left ends."""
        if self.group is not None:
            remove_placement_group(self.group)


class Places:
    """Gives trials their places, in their order, and has an autoscaling cluster hold room for all of them."""

    def __init__(self, settings: LauncherConfig) -> None:
        self._cpus, self._memory = settings.cpus, settings.memory_gib * GIB
        self._wanted: list[dict[str, float]] = []

    def give(self, trials: Sequence[Running]) -> None:
        """Asks for the places of those for which there are CPUs; one that is alone waits for a node."""
        total, taken = float(ray.cluster_resources().get("CPU", 0.0)), 0.0
        for trial in trials:
            taken += trial.worker_cpus + self._cpus
            if trial.group is None and taken > total and len(trials) > 1:
                break
            if trial.group is None:
                trial.group = self._group(trial)
        self._hold([bundle for trial in trials for bundle in (*trial.workers, {"CPU": self._cpus})])

    def close(self) -> None:
        """The cluster may shrink."""
        self._hold([])

    def _group(self, trial: Running) -> PlacementGroup:
        """A bundle for each worker, and one more for the trial's own process, which takes no CPU of theirs."""
        own = {"CPU": A_PLACE} | ({"memory": self._memory} if self._memory else {})
        selector = [trial.labels] * len(trial.workers) + [{}] if trial.labels else None
        return placement_group([*trial.workers, own], strategy="PACK", bundle_label_selector=selector)

    def _hold(self, wanted: list[dict[str, float]]) -> None:
        if wanted != self._wanted:
            self._wanted = wanted
            request_resources(bundles=[bundle for bundle in wanted if any(bundle.values())])
