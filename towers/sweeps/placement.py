"""Where a trial is placed: each gets one placement group with all its workers, or waits until the cluster has room.

Ray Data's tasks run outside of any placement group, so a trial is placed only where CPUs remain for its own tasks too.
"""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from omegaconf import DictConfig
from ray.autoscaler.sdk import request_resources
from ray.util import placement_group, placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup

from towers.sweeps.settings import LauncherConfig

BYTES_PER_GIB = 1 << 30

PROCESS_BUNDLE_CPU = 0.001
"""CPUs of the bundle for a trial's own process: Ray does not accept an empty bundle."""

NOTICE_AFTER_S = 10.0
"""After this long without a running trial, because there is no room for one, a notice says what is waited for."""


@dataclass(kw_only=True)
class RunningTrial:
    """A trial that waits for its place, or runs.

    Attributes:
        number: the number of the trial within its sweep.
        overrides: the Hydra overrides that make its config.
        worker_bundles: the resources of each of its training workers.
        labels: labels that the nodes of these workers must have.
        queued_at, started_at, last_report_at: unix seconds; the last two are None before it has started.
        group: its placement group; None until it has been requested.
        task: the Ray task of its own process; None while it waits.
        epochs: (epoch, values) as reported so far.
        num_epochs: the largest number of epochs that it may have; None where its config does not set it.
        attempts: how often it was started, this time included.
        inputs: what it is run with, as records hold it; None until its config has been composed.
        config: its config; None until it has been composed.
    """

    number: int
    overrides: list[str]
    queued_at: float
    worker_bundles: list[dict[str, float]] = field(default_factory=list)
    labels: dict[str, str] = field(default_factory=dict)
    group: PlacementGroup | None = None
    started_at: float | None = None
    last_report_at: float | None = None
    task: ray.ObjectRef | None = None
    epochs: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    num_epochs: int | None = None
    attempts: int = 1
    inputs: dict[str, Any] | None = None
    config: DictConfig | None = None

    @property
    def worker_cpus(self) -> float:
        """CPUs of all its workers together."""
        return sum(bundle.get("CPU", 0.0) for bundle in self.worker_bundles)

    @property
    def is_trained(self) -> bool:
        """Whether it has had the last of its epochs, as far as their number is known."""
        return bool(self.epochs) and self.epochs[-1][0] == self.num_epochs

    @property
    def demand(self) -> str:
        """A text that names the resources that its training asks for."""
        kinds = [" and ".join(f"{amount:g} {name}" for name, amount in of.items()) for of in self.worker_bundles]
        workers = [f"{kinds.count(kind)} worker(s) with {kind}" for kind in dict.fromkeys(kinds)]
        labels = ", ".join(f"{key}={value}" for key, value in self.labels.items())
        on_nodes = f" on nodes labelled {labels}" if labels else ""
        return f"trial {self.number} asks for {', '.join(workers) or 'no workers'}{on_nodes}"

    @property
    def is_placed(self) -> bool:
        """Whether everything that it asks for is reserved."""
        return self.group is not None and placement_group_table(self.group)["state"] == "CREATED"

    def overdue(self, settings: LauncherConfig) -> str | None:
        """Why it is given up; None where it is not."""
        now = time.time()
        if self.started_at is None or self.last_report_at is None:
            return None
        if settings.timeout_s is not None and now - self.started_at > settings.timeout_s:
            return f"took longer than hydra.launcher.timeout_s={settings.timeout_s:g}"
        if settings.hangs_after_s is not None and now - self.last_report_at > settings.hangs_after_s:
            return f"hung: no epoch for hydra.launcher.hangs_after_s={settings.hangs_after_s:g}"
        return None

    def release(self) -> None:
        """Removes its placement group. Ray ends all processes of the trial that still run in it."""
        if self.group is not None:
            remove_placement_group(self.group)


class TrialPlacer:
    """Places trials in their order, and asks an autoscaling cluster for room for all that wait."""

    def __init__(self, settings: LauncherConfig, can_grow: bool) -> None:
        """Requests nothing yet.

        Args:
            settings: the resources of a trial's own process.
            can_grow: whether nodes may be added to the cluster; False for a Ray that was started on this machine.
        """
        self._process_cpus, self._memory = settings.cpus, settings.memory_gib * BYTES_PER_GIB
        self._can_grow = can_grow
        self._requested: list[dict[str, float]] = []
        self._idle_since = time.monotonic()

    def place(self, trials: Sequence[RunningTrial]) -> None:
        """Requests placement groups in order, as long as the cluster has CPUs for them and their own tasks.

        If there is only one trial, its group is requested in any case, and the trial waits for a node.
        """
        total, taken = float(ray.cluster_resources().get("CPU", 0.0)), 0.0
        for trial in trials:
            taken += trial.worker_cpus + self._process_cpus
            if trial.group is None and taken > total and len(trials) > 1:
                break
            if trial.group is None:
                trial.group = self._placement_group(trial)
        self._request([bundle for t in trials for bundle in (*t.worker_bundles, {"CPU": self._process_cpus})])

    def infeasible(self, trial: RunningTrial) -> str | None:
        """Why a trial will never find room, where that is certain; None otherwise."""
        if self._can_grow:
            return None
        available, needed = ray.cluster_resources(), Counter({"CPU": self._process_cpus})
        for bundle in trial.worker_bundles:
            needed.update(bundle)
        lacking = {name: amount for name, amount in needed.items() if amount > available.get(name, 0.0)}
        if not (lacking or trial.labels):
            return None
        has = " and ".join(f"{available.get(name, 0.0):g} {name}" for name in lacking) or "no labels"
        return (
            f"{trial.demand}, and {self._process_cpus:g} CPU for its own process (hydra.launcher.cpus); the Ray started"
            f" here has {has}: set hydra.launcher.address to a cluster that has more, or train.num_workers,"
            " train.cpus_per_worker, train.use_gpu and train.labels to less"
        )

    def waiting_notice(self, trials: Sequence[RunningTrial]) -> str | None:
        """A line about what is waited for, once no trial has run for NOTICE_AFTER_S because there is no room for one.

        Returns None otherwise. The runner calls this in every round.
        """
        now = time.monotonic()
        if not trials or any(trial.task is not None for trial in trials):
            self._idle_since = now
        if now - self._idle_since < NOTICE_AFTER_S:
            return None
        num_nodes, available = sum(node["Alive"] for node in ray.nodes()), ray.cluster_resources()
        has = f"{available.get('CPU', 0.0):g} CPU and {available.get('GPU', 0.0):g} GPU on {num_nodes} node(s)"
        return f"waiting for room: {trials[0].demand}; the cluster has {has}, and has been asked to grow"

    def close(self) -> None:
        """Withdraws all requests, so that the cluster may shrink."""
        self._request([])

    def _placement_group(self, trial: RunningTrial) -> PlacementGroup:
        """A bundle for each worker, and a last one for the trial's own process, which takes none of their CPUs."""
        process = {"CPU": PROCESS_BUNDLE_CPU} | ({"memory": self._memory} if self._memory else {})
        selector = [trial.labels] * len(trial.worker_bundles) + [{}] if trial.labels else None
        return placement_group([*trial.worker_bundles, process], strategy="PACK", bundle_label_selector=selector)

    def _request(self, bundles: list[dict[str, float]]) -> None:
        if bundles != self._requested:
            self._requested = bundles
            request_resources(bundles=[bundle for bundle in bundles if any(bundle.values())])
