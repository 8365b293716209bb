"""Where trials are placed: a placement group each, with all its workers, once there are CPUs for its own tasks, too."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import ray
from ray.autoscaler.sdk import request_resources
from ray.util import placement_group, placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup

from towers.sweeps.settings import LauncherConfig

GIB = 1 << 30

A_PLACE = 0.001
"""CPUs of the bundle for a trial's own process: Ray wants more than none."""

PATIENCE_S = 10.0
"""For so long nothing may run before it is said what is waited for."""


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
    def shown(self) -> str:
        """What its training asks for, for people."""
        kinds = [" and ".join(f"{amount:g} {name}" for name, amount in worker.items()) for worker in self.workers]
        each = [f"{kinds.count(kind)} worker(s) with {kind}" for kind in dict.fromkeys(kinds)]
        of = f" on nodes labelled {', '.join(f'{k}={v}' for k, v in self.labels.items())}" if self.labels else ""
        return f"trial {self.number} asks for {', '.join(each) or 'no workers'}{of}"

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

    def __init__(self, settings: LauncherConfig, grows: bool) -> None:
        """`grows`: nodes may come for what is asked; a Ray started on this machine stays as it is."""
        self._cpus, self._memory, self._grows = settings.cpus, settings.memory_gib * GIB, grows
        self._wanted: list[dict[str, float]] = []
        self._idle_since = time.monotonic()

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

    def lacking(self, trial: Running) -> str | None:
        """Why a trial will never have its place, where that is certain."""
        if self._grows:
            return None
        there, asked = ray.cluster_resources(), Counter({"CPU": self._cpus})
        for worker in trial.workers:
            asked.update(worker)
        short = {name: amount for name, amount in asked.items() if amount > there.get(name, 0.0)}
        if not (short or trial.labels):
            return None
        has = " and ".join(f"{there.get(name, 0.0):g} {name}" for name in short) or "no labels"
        return (
            f"{trial.shown}, and {self._cpus:g} CPU for its own process (hydra.launcher.cpus); the Ray started here has"
            f" {has}: set hydra.launcher.address to a cluster that has more, or train.num_workers,"
            " train.cpus_per_worker, train.use_gpu and train.labels to less"
        )

    def notice(self, trials: Sequence[Running]) -> str | None:
        """What is waited for, where nothing has run for a while for want of room."""
        now = time.monotonic()
        if not trials or any(trial.task is not None for trial in trials):
            self._idle_since = now
        if now - self._idle_since < PATIENCE_S:
            return None
        nodes, there = sum(node["Alive"] for node in ray.nodes()), ray.cluster_resources()
        has = f"{there.get('CPU', 0.0):g} CPU and {there.get('GPU', 0.0):g} GPU on {nodes} node(s)"
        return f"waits for room: {trials[0].shown}; the cluster has {has}, and has been asked to grow"

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
