"""Promotion: a verified release gets all of the traffic (`promote`), or several get shares of it (`split`)."""

from data.artifacts.errors import ConfigError
from data.cluster.console import ProgressReporter
from serve.experiments.assignment import Experiment, TrafficConfig
from serve.index.config import IndexConfig
from serve.releases.audit.approvals import Approvals
from serve.releases.pointer import LivePointer, Traffic, utc_timestamp
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import ReleaseError
from serve.rollout.two_phase import RolloutResult, end_experiment, roll_out, roll_out_shares


def promote(
    config: IndexConfig,
    registry: ReleaseRegistry,
    release_id: str | None,
    within_s: float,
    progress: ProgressReporter = print,
    percent: float = 100,
    expected_live: Traffic | str | None = None,
    since: str | None = None,
) -> RolloutResult:
    """Verifies a release, has all replicas load it, and gives it all of the traffic or, as a canary, a part of it.

    Args:
        release_id: None stands for the newest release.
        within_s: seconds that the replicas may take to load it.
        percent: share of the users in percent; below 100 the release is a canary.
        expected_live: if given, the release gets traffic only where the traffic is like this when the pointer moves. A
            release id stands for that release alone, without an experiment.
        since: ISO timestamp at which the canary begins; None means now.

    Raises:
        ConfigError: percent is not above 0 and at most 100.
        ReleaseError, NotSealed, CheckpointError: the release does not exist or is not sound; nothing has changed.
        PointerError: percent is below 100, and no other release is live.
        IndexUnavailable: its collection cannot be searched.
        NeedsApproval: a second operator must approve it first.
    """
    if not 0 < percent <= 100:
        raise ConfigError(f"percent: {percent:g} must be above 0 and at most 100")
    if release_id is None:
        ids = registry.ids()
        if not ids:
            raise ReleaseError(f"{registry.folder}: no release to promote; run python -m serve.publish")
        release_id = ids[-1]
    _verify(config, registry, release_id, progress)
    Approvals(registry.folder).check("promote", release=release_id, percent=percent)
    if percent == 100:
        return roll_out(registry, release_id, within_s, progress, expected_live)
    experiment = canary(release_id, percent, since or utc_timestamp())
    return roll_out_shares(registry, experiment, within_s, progress, expected_live)


def canary(release_id: str, percent: float, since: str) -> Experiment:
    """The experiment in which a release answers a part of the users, from a moment (an ISO timestamp) on."""
    return Experiment(f"canary-{release_id}", {release_id: percent / 100}, since)


def split(
    config: IndexConfig,
    registry: ReleaseRegistry,
    traffic: TrafficConfig,
    within_s: float,
    progress: ProgressReporter = print,
) -> RolloutResult:
    """Begins an experiment or, where no shares are given, ends the running one, whichever release is live by then.

    Each release of the experiment is first verified and loaded by all replicas.

    Args:
        traffic: the name of the experiment, and the share of each release.
        within_s: seconds that the replicas may take to load the releases.

    Raises:
        ReleaseError, NotSealed, CheckpointError: a release does not exist or is not sound; nothing has changed.
        PointerError: no release is live, or the live release is among the shares; or another experiment than the one
            that was to end has begun meanwhile.
        NeedsApproval: a second operator must approve it first.
    """
    if not traffic.shares:
        return end_experiment(registry, within_s)
    for release_id in traffic.shares:
        _verify(config, registry, release_id, progress)
    Approvals(registry.folder).check("promote", experiment=traffic.name, shares=dict(traffic.shares))
    experiment = Experiment(traffic.name, dict(traffic.shares), utc_timestamp())
    return roll_out_shares(registry, experiment, within_s, progress)


def _verify(config: IndexConfig, registry: ReleaseRegistry, release_id: str, progress: ProgressReporter) -> None:
    """`verify`, imported when there is a release to verify: it brings torch and the client of Milvus."""
    registry.manifest(release_id)
    from serve.releases.verify import verify

    verify(config, registry, release_id, progress)


def ended_by(before: LivePointer | None, after: LivePointer) -> str | None:
    """Says which experiment a change of the traffic has ended; None where it has ended none."""
    over = None if before is None else before.experiment
    if over is None or (after.experiment is not None and after.experiment.key == over.key):
        return None
    return f"experiment {over.name}, begun at {over.since}, is over"


def describe(rollout: RolloutResult) -> str:
    """Returns a sentence about a rollout for the output of a command."""
    if not rollout.replicas and not rollout.behind:
        return "no endpoint is running"
    behind = f"; {', '.join(rollout.behind)} still loading it" if rollout.behind else ""
    return (
        f"{rollout.replicas} replica{'s' if rollout.replicas != 1 else ''} loaded it in {rollout.ready_s:.1f} s"
        f" ({rollout.memory_mib:.0f} MiB each at most) and answered with it {rollout.followed_s:.1f} s later{behind}"
    )
