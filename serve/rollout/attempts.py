"""Attempts: what a rollout stages as long as it goes on, and what it requires of the live pointer to go on at all."""

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from data.cluster.console import ProgressReporter
from serve.releases.pointer import LivePointer, Traffic, staging, unstaged
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import ReleaseError
from serve.rollout.heartbeats import Heartbeat, attempt_key


@contextmanager
def staged(
    registry: ReleaseRegistry,
    releases: list[str],
    change: Callable[[LivePointer], LivePointer],
    heartbeats: Iterable[Heartbeat],
) -> Iterator[str]:
    """Asks the replicas to load releases; yields the name of the attempt.

    If the block raises (also at Ctrl-C), the replicas must not go on loading what is no longer wanted: the releases are
    staged no longer, unless another attempt has staged them.

    Where the same releases are staged already, that attempt is shared. One under which a replica has refused them is
    that of a killed promotion: it gives way to a new one, since a replica tries no release twice for one attempt.

    Args:
        change: what the block will make of the pointer; where it raises, nothing is staged.
        heartbeats: of the replicas, as they are before.
    """
    attempt = uuid.uuid4().hex
    failed = {key for heartbeat in heartbeats for key in heartbeat.failed}

    def staging_some(now: LivePointer | None) -> LivePointer:
        now = require_some(now)
        change(now)
        is_refused = any(attempt_key(release_id, now.attempt) in failed for release_id in releases)
        if now.staged == releases and is_refused:
            now = unstaged(now, now.attempt)
        return now if releases == [now.release] else staging(now, releases, attempt)

    try:
        live = registry.update_pointer(staging_some)
        if live.staged == releases:  # another rollout may have staged the same before, and share its attempt
            attempt = live.attempt or attempt
        yield attempt
    except BaseException:
        registry.update_pointer(lambda now: unstaged(require_some(now), attempt))
        raise


def require_some(live: LivePointer | None) -> LivePointer:
    """The pointer; raises ReleaseError where it was removed."""
    if live is None:
        raise ReleaseError("the live pointer was removed; run python -m serve.promote again")
    return live


def require_traffic(live: LivePointer | None, expected: Traffic | str | None) -> LivePointer | None:
    """The pointer; raises ReleaseError where the traffic is not as expected (an id stands for that release alone)."""
    expected = Traffic(expected) if isinstance(expected, str) else expected
    if expected is not None and Traffic.of(live) != expected:
        alone = " alone" if expected.experiment is None else ""
        wanted = f"release {expected}: is not what is live{alone}" if expected.release else "a release is live by now"
        raise ReleaseError(
            f"{wanted} (live: {Traffic.of(live)}); nothing has changed. Run the command again if it is still wanted"
        )
    return live


def require_attempt(live: LivePointer, releases: list[str], attempt: str) -> LivePointer:
    """The pointer; raises ReleaseError where another rollout has moved it, or has staged other releases, meanwhile."""
    if live.attempt != attempt:
        raise ReleaseError(
            f"release {', '.join(releases)}: somebody else has changed what is live meanwhile (live:"
            f" {Traffic.of(live)}, asked for: {', '.join(live.staged) or 'nothing'}); run the command again if it is"
            " still wanted"
        )
    return live


def say_if_damaged(registry: ReleaseRegistry, live: LivePointer, progress: ProgressReporter) -> None:
    """Says where the live release is gone or damaged: what gets traffic in its place may have no way back to it."""
    try:
        registry.manifest(live.release)
    except ReleaseError as e:
        progress(f"promote: the live release is damaged, and a rollback cannot return to it before it is whole: {e}")
