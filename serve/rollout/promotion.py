"""Promotion: a verified release gets all of the traffic (promote), or some releases get shares of it (split)."""

from data.artifacts.errors import ConfigError
from data.cluster.console import ProgressReporter
from serve.experiments.assignment import Experiment, TrafficConfig
from serve.index.config import IndexConfig
from serve.releases.pointer import now
from serve.releases.registry import Registry
from serve.releases.release import ReleaseError
from serve.releases.verify import verify
from serve.rollout.switch import Switched, share, switch


def promote(
    config: IndexConfig,
    registry: Registry,
    release_id: str | None,
    within_s: float,
    progress: ProgressReporter = print,
    percent: float = 100,
    instead_of: str | None = None,
) -> Switched:
    """Verifies a release (None: the newest), has all replicas make it ready, and gives it the traffic, or a part of it.

    Args:
        percent: of the users.
        instead_of: see serve.rollout.switch.

    Raises:
        ValueError: percent is not above 0 and at most 100.
        ReleaseError, NotSealed, CheckpointError: there is no such release, or it is not sound; nothing has changed.
        PointerError: a part is asked for, and nothing is live beside it.
        IndexUnavailable: its collection cannot be looked at.
    """
    if not 0 < percent <= 100:
        raise ConfigError(f"percent: {percent:g} must be above 0 and at most 100")
    if release_id is None:
        ids = registry.ids()
        if not ids:
            raise ReleaseError(f"{registry.folder}: no release to promote; run python -m serve.publish")
        release_id = ids[-1]
    verify(config, registry, release_id, progress)
    if percent == 100:
        return switch(registry, release_id, within_s, progress, instead_of)
    canary = Experiment(f"canary-{release_id}", {release_id: percent / 100}, now())
    return share(registry, canary, within_s, progress)


def told(switched: Switched) -> str:
    """What a change of release did, for people."""
    if not switched.replicas and not switched.behind:
        return "no endpoint runs"
    behind = f"; {', '.join(switched.behind)} still load it" if switched.behind else ""
    return (
        f"{switched.replicas} replica{'s' if switched.replicas != 1 else ''} made it ready in {switched.ready_s:.1f} s"
        f" ({switched.mib:.0f} MiB each at most) and answer by it since {switched.moved_s:.1f} s later{behind}"
    )


def split(
    config: IndexConfig, registry: Registry, traffic: TrafficConfig, within_s: float, progress: ProgressReporter = print
) -> Switched:
    """Begins an experiment, every release of it verified and held by all replicas first, or ends the one that runs.

    Raises:
        ReleaseError, NotSealed, CheckpointError: a release is missing or not sound; nothing has changed.
        PointerError: nothing is live, or the live release is among the shares.
    """
    if not traffic.shares:
        return switch(registry, registry.chosen(None), within_s, progress)
    for release_id in traffic.shares:
        verify(config, registry, release_id, progress)
    return share(registry, Experiment(traffic.name, dict(traffic.shares), now()), within_s, progress)
