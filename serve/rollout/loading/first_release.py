"""Waiting for the first release: an endpoint may be deployed before any release is live, and answers once one is.

A replica waits as it starts. If it raised an error instead, Serve would give the application up after a few of them,
and nothing starts it again: KubeRay applies the Serve config of a RayService once. If it were ready instead, a cluster
that looks for its releases in the wrong place would take the traffic from one that answers.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

from data.cluster.failure_log import FailureLog
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import ReleaseError
from serve.rollout.heartbeats import HEARTBEAT_INTERVAL_S


async def wait_for_first(
    registry: ReleaseRegistry, poll_s: float, send_heartbeat: Callable[[], Awaitable[None]]
) -> None:
    """Returns as soon as a release is live. Until then it logs once a minute that none is.

    Args:
        poll_s: seconds between two readings of the pointer.
        send_heartbeat: called meanwhile, so that the promotion of the first release waits until this replica answers.

    Raises:
        ReleaseError, OSError: the pointer is damaged, or cannot be read.
    """
    log, sent_at = FailureLog("follower"), time.monotonic()
    while await asyncio.to_thread(registry.live) is None:
        log("waiting to start", ReleaseError(f"{registry.folder}: no release is live: run python -m serve.promote"))
        await asyncio.sleep(poll_s)
        if time.monotonic() - sent_at > HEARTBEAT_INTERVAL_S:
            await send_heartbeat()
            sent_at = time.monotonic()
