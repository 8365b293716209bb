"""The release runtime: what the ingress needs to answer requests by one release."""

from collections.abc import Iterable
from dataclasses import dataclass

from serve.api.adapter import RequestAdapter
from serve.api.schemas import RecommendRequest
from serve.deployment.settings import ServeConfig
from serve.deployment.stages import LocalStages, RemoteStages
from serve.pipeline.breaker import CircuitBreaker
from serve.pipeline.budget import BudgetLimits
from serve.pipeline.request import STAGES, recommend
from serve.releases.release import Release

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
    stages: LocalStages | RemoteStages
    breakers: dict[str, CircuitBreaker]

    async def close(self) -> None:
        """Closes the stages, when no request needs the release any more."""
        await self.stages.close()

    def set_denylist(self, item_ids: Iterable[str]) -> None:
        """Keeps these items out of all answers from now on; they replace those of the call before."""
        self.adapter.set_denylist(item_ids)


def new_breakers(config: ServeConfig) -> dict[str, CircuitBreaker]:
    """Returns a closed circuit breaker for each stage."""
    return {stage: CircuitBreaker(config.breaker_failures, config.breaker_pause_s) for stage in STAGES}


async def warm_up(runtime: ReleaseRuntime, release: Release, config: ServeConfig) -> None:
    """Sends one request through the stages before any other, so that what is built on first use is built then.

    In the staged topology this also makes each stage load the release. The request has circuit breakers of its own:
    its failures do not count against the requests that follow.
    """
    users, items = (catalogue.ids.values[:1].to_pylist() for catalogue in (release.parts.users, release.parts.items))
    query, _ = runtime.adapter.query(RecommendRequest.model_validate({"user_id": users[0], "history": items}))
    limits = BudgetLimits(WARM_UP_S, WARM_UP_S, new_breakers(config))
    await recommend(query, runtime.stages, runtime.adapter.fallback, limits)
