"""The Ray Serve deployments: the ingress alone (`serve=fused`), or one for each stage too (`serve=staged`).

The module imports no torch: the process that builds the application ends with it.
"""

from typing import Any

from ray import serve
from ray.serve.config import AutoscalingConfig, BackpressureConfig

from data.cluster.ray_compatibility.serve import replica_name
from serve.deployment.declared import autoscaling
from serve.deployment.ingress import RecommenderIngress
from serve.deployment.replica import ReplicaSettings, prepare_process
from serve.deployment.settings import RETRY_AFTER_S, ScaleConfig, Topology
from serve.deployment.stages.remote import EMBEDDER, RERANKER, RETRIEVER
from serve.pipeline.retriever import Retriever
from serve.pipeline.stage_calls import Arguments, answer_calls


class StageReplica:
    """A replica of one stage in the staged topology; it holds the stage of every release that the live pointer names.

    Args:
        settings: What every replica is started with.
        stage: The name of the stage's deployment.
    """

    async def __init__(self, settings: ReplicaSettings, stage: str) -> None:  # type: ignore[misc]
        from serve.deployment.stages.local import BUILDERS

        prepare_process(settings.serve)
        self._releases = settings.follow(BUILDERS[stage], replica_name(), close=_close)
        await self._releases.start()

    async def __del__(self) -> None:
        """Says that this replica stops by itself. Serve awaits this after its last answer."""
        if hasattr(self, "_releases"):
            await self._releases.stop()

    async def __call__(self, release_id: str, method: str, calls: list[Arguments], alone: bool = False) -> list[Any]:
        """Calls a method of the release's stage once for each tuple of arguments, see `answer_calls`."""
        return await answer_calls(await self._releases.get(release_id), method, calls, alone=alone)

    def check_health(self) -> None:
        """Called by Serve again and again; raises RuntimeError where the live pointer is not followed any more."""
        if not self._releases.following.is_running:
            raise RuntimeError("the task that follows the live pointer has ended")


async def _close(stage: object) -> None:
    """Closes a retriever, the one stage that holds more than memory."""
    if isinstance(stage, Retriever):
        await stage.close()


def build_application(settings: ReplicaSettings) -> serve.Application:
    """Returns the Ray Serve application in the topology that the settings ask for."""
    config = settings.serve
    ingress = _deployment(RecommenderIngress, "Recommender", config.ingress)
    if config.topology is Topology.fused:
        return ingress.bind(settings)
    scales = {EMBEDDER: config.embedder, RETRIEVER: config.retriever, RERANKER: config.reranker}
    stages = (_deployment(StageReplica, name, scale).bind(settings, name) for name, scale in scales.items())
    return ingress.bind(settings, *stages)


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
        max_queued_requests=scale.in_flight,  # in a burst, all of them are queued for a moment
        backpressure_config=BackpressureConfig(retry_after_s=RETRY_AFTER_S),
        max_surge_percent=scale.max_surge_percent,
        rolling_update_percentage=scale.rolling_update_percentage,
        autoscaling_config=AutoscalingConfig(**autoscaling(scale)),
    )
