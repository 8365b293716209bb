"""The deployments and how `serve=fused|staged` binds them: the ingress (app.py) alone, or each stage one of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from ray import serve
from ray.serve.config import AutoscalingConfig, BackpressureConfig

from serve.deployment.ingress import Recommender
from serve.deployment.settings import ScaleConfig, Topology
from serve.deployment.stages import (
    Setting,
    build_embedder,
    build_reranker,
    build_retriever,
    prepare_process,
    replica_name,
)
from serve.releases.release import Release

RETRY_AFTER_S = 1.0


class StageReplica:
    """A replica of one stage (staged topology): the stage of whichever release the ingress asks for."""

    async def __init__(self, setting: Setting, build: Callable[[Setting, Release], Awaitable[Any]]) -> None:  # type: ignore[misc]
        prepare_process(setting.serve)
        self._releases = await setting.follow(build, replica_name()).start()

    async def __call__(self, release_id: str, method: str, calls: list[tuple[Any, ...]]) -> list[Any]:
        """An answer to each call, or the exception in its place."""
        ask = getattr(await self._releases.get(release_id), method)
        return await asyncio.gather(*(ask(*arguments) for arguments in calls), return_exceptions=True)


def build(setting: Setting) -> serve.Application:
    """The application in the topology that the setting asks for."""
    config = setting.serve
    ingress = _deployment(Recommender, "Recommender", config.ingress)
    if config.topology is Topology.fused:
        return ingress.bind(setting)
    stages = (
        ("UserEmbedder", config.embedder, build_embedder),
        ("Retriever", config.retriever, build_retriever),
        ("Reranker", config.reranker, build_reranker),
    )
    return ingress.bind(
        setting, *(_deployment(StageReplica, name, scale).bind(setting, make) for name, scale, make in stages)
    )  # fmt: skip


def _deployment(replica: type, name: str, scale: ScaleConfig) -> serve.Deployment:
    return serve.deployment(
        replica,
        name=name,
        ray_actor_options={
            "num_cpus": scale.num_cpus,
            "num_gpus": scale.num_gpus,
            "label_selector": dict(scale.labels),
        },
        max_ongoing_requests=scale.max_ongoing_requests,
        max_queued_requests=scale.in_flight,  # of a burst, all are queued for a moment
        backpressure_config=BackpressureConfig(retry_after_s=RETRY_AFTER_S),
        autoscaling_config=AutoscalingConfig(
            min_replicas=scale.min_replicas,
            max_replicas=scale.max_replicas,
            target_ongoing_requests=scale.target_ongoing_requests,
            look_back_period_s=scale.look_back_s,
            upscale_delay_s=scale.upscale_delay_s,
            downscale_delay_s=scale.downscale_delay_s,
        ),
    )
