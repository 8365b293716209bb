"""All private parts of Ray 2.60 that this project imports or patches, with the reason and the upstream issue.

Ray has no option for any of this. `PRIVATE_PARTS` lists each part; tests/data/cluster/test_ray_compatibility.py checks
that the installed Ray has it, and names a part that has changed. Run that test first after an upgrade of Ray.

- core.py makes a Ray that is started on this machine listen on loopback alone, and finds the one to join.
- tokens.py shows Ray's token to a Ray of this machine that asks for it.
- train.py runs Ray Train without its watch over placement groups, and in a placement group that exists already, reports
  users' mistakes that a worker finds, and replaces the list of saved states as a whole.
- serve.py patches modules of Ray Serve as its processes import them.
- shutdown.py stops Ray Serve without an error that Ray prints on the way.
- leftovers.py stops Ray as it stops itself when a process ends, and knows where HAProxy's files are.
"""

from dataclasses import dataclass

RAY_VERSION = "2.60"
"""The version of Ray that this package was written for."""


@dataclass(frozen=True, slots=True)
class PrivatePart:
    """Something of Ray's that has no public name.

    Attributes:
        module: dotted path of Ray's module.
        name: dotted path within the module.
        used_for: what stops working when it changes.
        upstream: the issue or pull request in Ray's repository that would make it unnecessary, or about its cause.
        is_of_instances: whether only instances of the class have it, because `__init__` sets it.
    """

    module: str
    name: str
    used_for: str
    upstream: str
    is_of_instances: bool = False


MANAGER = "ray.train.v2._internal.execution.checkpoint.checkpoint_manager"
SNAPSHOTS = "trainings that go on after a kill or a full disk while Ray Train wrote its list of states"

PRIVATE_PARTS = (
    PrivatePart("ray._private.ray_constants", "ENABLE_RAY_CLUSTER", "a local Ray on loopback", "ray-project/ray#26293"),
    PrivatePart("ray._private.services", "find_gcs_addresses", "joining the Ray that runs here", "none yet"),
    PrivatePart("ray._private.services", "find_bootstrap_address", "joining the Ray that runs here", "none yet"),
    PrivatePart("ray._private.services", "resolve_ip_for_localhost", "joining a Ray on loopback", "none yet"),
    PrivatePart(
        "ray._private.authentication.authentication_token_setup",
        "_enable_token_auth",
        "joining a Ray of this machine that asks for its token",
        "none yet",
    ),
    PrivatePart(
        "ray.train.v2._internal.callbacks.placement_group_callback",
        "PlacementGroupCleanerCallback",
        "trainings that end 12 s sooner",
        "ray-project/ray#58515, ray-project/ray#65447",
    ),
    PrivatePart(
        "ray.train.v2.api.data_parallel_trainer",
        "DataParallelTrainer._create_default_callbacks",
        "trainings that end 12 s sooner",
        "ray-project/ray#65447",
    ),
    PrivatePart(
        "ray.train.v2.api.data_parallel_trainer",
        "DataParallelTrainer._initialize_and_run_controller",
        "mistakes that end a training at the first attempt",
        "none yet",
    ),
    PrivatePart(
        "ray.train.v2._internal.execution.failure_handling.default",
        "DefaultFailurePolicy._is_retryable_error",
        "mistakes that end a training at the first attempt",
        "none yet",
    ),
    PrivatePart(
        "ray.train.v2._internal.execution.callback",
        "WorkerGroupCallback.before_worker_group_start",
        "trials that train in the placement group reserved for them",
        "ray-project/ray#28924",
    ),
    PrivatePart(
        "ray.train.v2._internal.execution.worker_group",
        "WorkerGroup._create_placement_group",
        "trials that train in the placement group reserved for them",
        "ray-project/ray#28924",
    ),
    PrivatePart(
        "ray.train.v2._internal.execution.worker_group.placement_group_handle",
        "DefaultPlacementGroupHandle.shutdown",
        "trials that train in the placement group reserved for them",
        "ray-project/ray#28924",
    ),
    PrivatePart(
        "ray.train.v2._internal.constants",
        "CHECKPOINT_MANAGER_SNAPSHOT_FILENAME",
        "a word where a training goes on from what other code has saved",
        "none known",
    ),
    PrivatePart(MANAGER, "CheckpointManager._write_state_to_storage", SNAPSHOTS, "none known"),
    PrivatePart(MANAGER, "CheckpointManager._save_state", SNAPSHOTS, "none known"),
    PrivatePart(MANAGER, "CheckpointManager._storage_context", SNAPSHOTS, "none known", is_of_instances=True),
    PrivatePart(
        "ray.train.v2._internal.execution.callback",
        "ControllerCallback.after_controller_start",
        SNAPSHOTS,
        "none known",
    ),
    PrivatePart(
        "ray.train.v2._internal.execution.storage",
        "StorageContext._check_validation_file",
        "workers that each save their rows of sharded tables",
        "none known",
    ),
    PrivatePart(
        "ray.train.v2._internal.util",
        "logger",
        "mistakes of users that a worker finds without their traceback",
        "none known",
    ),
    PrivatePart(
        "ray.train.v2._internal.exceptions",
        "WorkerHealthCheckFailedError.health_check_failure",
        "trials whose lost worker process is told from an error of the trial",
        "none known",
        is_of_instances=True,
    ),
    PrivatePart(
        "ray.serve._private.haproxy_templates",
        "HAPROXY_CONFIG_TEMPLATE",
        "refusals by HAProxy, and its statistics on loopback",
        "ray-project/ray#65879",
    ),
    PrivatePart(
        "ray.serve._private.haproxy",
        "HAProxyApi._start_and_wait_for_haproxy",
        "HAProxy's niceness",
        "ray-project/ray#65879",
    ),
    PrivatePart(
        "ray.serve._private.http_util",
        "send_http_response_on_exception",
        "refusals in JSON by Ray Serve's own proxy",
        "none known",
    ),
    PrivatePart(
        "ray.serve._private.http_util",
        "RequestIdMiddleware",
        "ids of requests that events may name, and requests with bytes that are no UTF-8 in a header of Ray's",
        "none known",
    ),
    PrivatePart("ray.serve.grpc_util", "RayServegRPCContext.request_id", "the same over gRPC", "none known"),
    PrivatePart(
        "ray.serve._private.proxy_request_response",
        "gRPCProxyRequest.setup_variables",
        "the same over gRPC through Ray Serve's own proxy",
        "none known",
    ),
    PrivatePart("ray.serve._private.utils", "pd", "processes of Ray Serve that start without pandas", "none known"),
    PrivatePart(
        "ray.serve._private.logging_utils",
        "configure_component_logger",
        "logs of replicas, which a library that configures logging would end",
        "none known",
    ),
    PrivatePart(
        "ray.serve._private.replica",
        "add_port_to_grpc_server",
        "gRPC between deployments on the node's own address",
        "ray-project/ray#64623",
    ),
    PrivatePart(
        "ray.serve._private.default_impl",
        "add_grpc_address",
        "gRPC on loopback where the endpoint is, and otherwise on the node's own address",
        "ray-project/ray#59852",
    ),
    PrivatePart(
        "ray.serve._private.controller",
        "ServeController.get_http_config",
        "gRPC on loopback where the endpoint is",
        "ray-project/ray#59852",
    ),
    PrivatePart(
        "ray.serve._private.controller",
        "ServeController.get_http_config",
        "refusal of an endpoint that others reach and that asks nobody for a key, where `serve deploy` starts it",
        "none known",
    ),
    PrivatePart(
        "ray.serve._private.constants", "SERVE_CONTROLLER_NAME", "gRPC on loopback where the endpoint is", "none known"
    ),
    PrivatePart(
        "ray.serve._private.constants", "SERVE_NAMESPACE", "gRPC on loopback where the endpoint is", "none known"
    ),
    PrivatePart(
        "ray.serve.context", "_get_internal_replica_context", "names of replicas in files and heartbeats", "none known"
    ),
    PrivatePart(
        "ray.serve.context",
        "_get_global_client",
        "an endpoint that is started and changed by a Serve config",
        "none known",
    ),
    PrivatePart(
        "ray.serve._private.client",
        "ServeControllerClient.deploy_apps",
        "an endpoint that is started and changed by a Serve config, on a Ray without its dashboard",
        "none known",
    ),
    PrivatePart(
        "ray._private.ray_constants",
        "WORKER_PROCESS_SETUP_HOOK_ENV_VAR",
        "changes to Ray Serve's processes on a cluster, without a driver's job",
        "none known",
    ),
    PrivatePart(
        "ray.serve._private.controller",
        "ServeController.graceful_shutdown",
        "an endpoint that ends without an error on the screen",
        "none known",
    ),
    PrivatePart(
        "ray.serve._private.client",
        "ServeControllerClient.shutdown_cached_handles",
        "an endpoint that ends without an error on the screen",
        "none known",
    ),
    PrivatePart(
        "ray.serve._private.client",
        "ServeControllerClient._controller",
        "an endpoint that ends without an error on the screen",
        "none known",
        is_of_instances=True,
    ),
    PrivatePart(
        "ray.serve._private.constants",
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE",
        "removal of HAProxy's folder once its endpoint has ended",
        "none known",
    ),
    PrivatePart("ray.serve._private.constants", "SERVE_CONTROLLER_NAME", "stopping Ray Serve", "none known"),
    PrivatePart("ray.serve._private.constants", "SERVE_NAMESPACE", "stopping Ray Serve", "none known"),
    PrivatePart("ray.serve.context", "_disconnect", "an endpoint that is started again in one process", "none known"),
    PrivatePart("ray.serve.context", "_get_serve_request_context", "request ids in answers", "none known"),
)
