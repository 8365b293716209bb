"""The endpoint as a Serve config names it: `serve.deployment.application:app`.

    applications:
      - name: recommender
        route_prefix: /
        import_path: serve.deployment.application:app
        args: { overrides: ["storage.root=s3://bucket/twotower", "index.uri=http://milvus:19530"] }

The arguments are Hydra overrides as on the command line, or `values` by key, or both. `serve deploy`, the dashboard's
PUT, KubeRay's RayService and `serve.run` all build the endpoint by this function. Serve configs of before name `guard`
and `compaction` of this module too.
"""

from ray import serve

from serve.deployment.arguments import Arguments
from serve.deployment.deployments import build_application
from serve.deployment.stages import ReplicaSettings
from serve.deployment.watching import compaction, guard

__all__ = ["app", "compaction", "guard"]


def app(arguments: Arguments) -> serve.Application:
    """Builds the endpoint in the topology that the arguments ask for."""
    config = arguments.config()
    return build_application(ReplicaSettings.of(config, config.events.on_this_machine()))
