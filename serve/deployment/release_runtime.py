"""One release as the ingress holds it: its door, its stages wherever they run, and what is known of their health."""

from collections.abc import Iterable
from dataclasses import dataclass

from serve.api.adapter import Door
from serve.api.schemas import RecommendRequest
from serve.deployment.settings import ServeConfig
from serve.deployment.stages import LocalStages, RemoteStages
from serve.pipeline.breaker import Breaker
from serve.pipeline.budget import Patience
from serve.pipeline.request import STAGES, recommend
from serve.releases.release import Release

WARM_UP_S = 30.0


@dataclass(frozen=True)
class Served:
    """One release as the ingress holds it."""

    door: Door
    stages: LocalStages | RemoteStages
    breakers: dict[str, Breaker]

    def withdraw(self, item_ids: Iterable[str]) -> None:
        """Leaves items out of every answer from now on."""
        self.door.withdraw(item_ids)


def breakers(config: ServeConfig) -> dict[str, Breaker]:
    return {stage: Breaker(config.breaker_failures, config.breaker_pause_s) for stage in STAGES}


async def warm_up(served: Served, release: Release, breakers: dict[str, Breaker]) -> None:
    """One request before all others: what is built on first use is there then, and the stages' release."""
    users, items = (catalogue.ids.values[:1].to_pylist() for catalogue in (release.parts.users, release.parts.items))
    query, _ = served.door.query(RecommendRequest.model_validate({"user_id": users[0], "history": items}))
    await recommend(query, served.stages, served.door.popular, Patience(WARM_UP_S, WARM_UP_S, breakers))
