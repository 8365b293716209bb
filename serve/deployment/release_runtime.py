"""The release runtime: what the ingress needs to answer requests by one release.

What needs torch is imported where a release is opened: who builds the application does without.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ray.serve.handle import DeploymentHandle

from serve.api.adapter import RequestAdapter
from serve.api.schemas import RecommendRequest
from serve.deployment.replica import ReplicaSettings
from serve.deployment.settings import ServeConfig
from serve.deployment.stages.remote import RemoteStages
from serve.pipeline.breaker import CircuitBreaker
from serve.pipeline.budget import BudgetLimits
from serve.pipeline.messages import Query
from serve.pipeline.request import STAGES, recommend
from serve.releases.release import Release

if TYPE_CHECKING:
    from serve.deployment.stages.local import LocalStages

WARM_UP_S = 30.0
"""Seconds that the first request to a release may take."""


@dataclass(frozen=True)
class ReleaseRuntime:
    """One release in the ingress.

    Attributes:
        adapter: Translates between external ids and rows of this release.
        stages: The release's stages, in this process or in deployments of their own.
        breakers: The circuit breaker of each stage.
    """

    adapter: RequestAdapter
    stages: "LocalStages | RemoteStages"
    breakers: dict[str, CircuitBreaker]

    async def release_history(self, user_id: str) -> list[str]:
        """Returns the items of a user in the log that the release was trained on, oldest first.

        The user encoder knows them; in the staged topology this process does not.
        """
        query = Query(release_id=self.adapter.release_id, user_id=user_id, k=1, num_candidates=1)
        return self.adapter.ids((await self.stages.embed(query)).history.tolist())

    async def close(self) -> None:
        """Closes the stages, when no request needs the release any more."""
        await self.stages.close()

    def set_denylist(self, item_ids: Iterable[str]) -> None:
        """Keeps these items out of all answers from now on; they replace those of the call before."""
        self.adapter.set_denylist(item_ids)


def new_breakers(config: ServeConfig) -> dict[str, CircuitBreaker]:
    """Returns a closed circuit breaker for each stage."""
    return {stage: CircuitBreaker(config.breaker_failures, config.breaker_pause_s) for stage in STAGES}


async def open_runtime(settings: ReplicaSettings, release: Release, *handles: DeploymentHandle) -> ReleaseRuntime:
    """Builds the runtime of a release. Whatever grows with its items or users is read and built in threads.

    Args:
        handles: Staged topology: those of user encoder, retriever and re-ranker. Fused topology: none.

    Raises:
        ReleaseError: It does not reproduce its golden queries.
        NotSealed, CheckpointError: One of its files is missing, changed or damaged.
    """

    from serve.deployment.stages.local import LocalStages
    from serve.releases.golden_queries import check_items

    def adapt() -> RequestAdapter:
        check_items(release)
        return RequestAdapter(release, settings.serve.num_candidates)

    adapter = await asyncio.to_thread(adapt)
    stages = RemoteStages(release.id, *handles) if handles else await LocalStages.build(settings, release)
    runtime = ReleaseRuntime(adapter, stages, new_breakers(settings.serve))
    await warm_up(runtime, release, settings.serve)
    return runtime


async def warm_up(runtime: ReleaseRuntime, release: Release, config: ServeConfig) -> None:
    """Sends one request through the stages before any other, so that what is built on first use is built then.

    In the staged topology this also makes each stage load the release. The request has circuit breakers of its own:
    its failures do not count against the requests that follow.
    """
    from serve.releases.golden_queries import read_golden

    golden = (await asyncio.to_thread(read_golden, release))[0]
    # Releases of earlier versions name neither. It is not validated: a log may have longer ids than a request.
    asked = RecommendRequest.model_construct(user_id=golden.user_id, history=golden.item_ids[:1])
    query, _ = runtime.adapter.query(asked)
    limits = BudgetLimits(WARM_UP_S, WARM_UP_S, new_breakers(config))
    await recommend(query, runtime.stages, runtime.adapter.fallback, limits)
