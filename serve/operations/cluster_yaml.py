"""`cluster.yaml`, what `ray up` takes: a cluster on AWS with the node types of conf/nodes."""

from string import Template

from data.cluster.ray_compatibility.serve import DEFAULT_IN_FLIGHT, IN_FLIGHT, SETUP_HOOK
from serve import SETTINGS
from serve.operations.nodes import INSTALLED_RAY, NodesConfig, NodeType, Work

TEMPLATE = Template("""\
# A cluster on AWS: `ray up cluster.yaml`. A CPU head that runs no work, GPU nodes that come for training and go again,
# CPU nodes that come and go with traffic. Ray's schema for this file: ray/autoscaler/ray-schema.json.
#
# `python -m serve.manifests` writes it from the values of conf/nodes; numbers may as well be changed here.
#
# Before the first `ray up`: `ray get-auth-token --generate` (once, on this machine), and an instance profile that may
# read and write the bucket of storage.root.
#
# After a change: `ray up --no-restart cluster.yaml`. Without that option Ray starts anew on the head, which ends the
# endpoint and all jobs; that is for changes of what Ray is started with, below.
cluster_name: twotower
max_workers: $max_workers # of all types together
idle_timeout_minutes: $idle_timeout_minutes # a node without work for this long is given back
upscaling_speed: 1.0

provider:
  type: aws
  region: $region
  cache_stopped_nodes: false

auth:
  ssh_user: ubuntu

docker:
  image: rayproject/ray:$ray-py311-cpu
  container_name: ray
  pull_before_run: true

head_node_type: head
available_node_types:
  head:
    node_config: { InstanceType: $head }
    resources: { CPU: 0 } # the autoscaler, the dashboard and the drivers of jobs; no tasks
    labels: { role: head }
$types
file_mounts:
  /home/ray/twotower: .
  /home/ray/.ray/auth_token: ~/.ray/auth_token # nodes and clients without it are refused
rsync_exclude: ["**/.git", "**/.venv", "**/.venv-milvus", "**/var", "**/__pycache__"]

setup_commands: # torch first: its pin takes the CUDA build on these machines, which the CPU nodes do not mind
  - cd ~/twotower && pip install -q torch==2.13.0 -c constraints.txt
  - cd ~/twotower && pip install -q -c constraints.txt -e .

# RAY_AUTH_MODE and Ray Serve's settings are read when Ray starts, so they are set on every node before it does.
# Secrets of workers (MILVUS_TOKEN, USER_HASH_KEY) are exported here too, or lie in files (docs/operators.md).
head_start_ray_commands:
  - ray stop
  - >-
    export RAY_AUTH_MODE=token
    $settings;
    ulimit -n 65536;
    ray start --head --port=6379 --dashboard-host=127.0.0.1 --autoscaling-config=~/ray_bootstrap_config.yaml
worker_start_ray_commands:
  - ray stop
  - >-
    export RAY_AUTH_MODE=token
    $settings;
    ulimit -n 65536;
    ray start --address=$$RAY_HEAD_IP:6379
""")

NODE_TYPE = Template("""\
  $name: # $hint
    node_config: { InstanceType: $instance }
$docker    resources: { $resources }
    labels: { role: $name }
    min_workers: $min_workers
    max_workers: $max_workers
""")

HINTS = {
    Work.train: "raise max_workers here to train on more machines at once",
    Work.serve: "raise max_workers here, and serve.*.max_replicas, to answer more requests",
}

GPU_IMAGE = f"    docker: {{ worker_image: rayproject/ray:{INSTALLED_RAY}-py311-gpu }}\n"

INLINE_BYTES = 256 * 1024
"""Results of tasks up to this size go to their owner, and do not stay on the node of the task. Ray Serve's controller
keeps a result of 110 KiB (the config of a deployment) of the task that built an application and of each replica. With
Ray's limit of 100 KiB the object keeps the autoscaler from ever giving back the node on which it was made.
"""

ENVIRONMENT = SETTINGS | {
    "RAY_worker_niceness": "0",
    "RAY_max_direct_call_object_size": str(INLINE_BYTES),
    SETUP_HOOK[0]: SETUP_HOOK[1],
}
"""Environment variables of every node: Ray Serve's settings, and the changes to Ray for workers of any job."""


def cluster_yaml(nodes: NodesConfig, in_flight: int = DEFAULT_IN_FLIGHT) -> str:
    """Returns the text of cluster.yaml.

    Args:
        in_flight: requests that one ingress replica has at most, ongoing and queued (`ScaleConfig.in_flight`).
    """
    environment = ENVIRONMENT | ({IN_FLIGHT: str(in_flight)} if in_flight != DEFAULT_IN_FLIGHT else {})
    return TEMPLATE.substitute(
        max_workers=sum(node.max_workers for node in nodes.types.values()),
        idle_timeout_minutes=f"{nodes.idle_timeout_s / 60:g}",
        region=nodes.region,
        ray=INSTALLED_RAY,
        head=nodes.head.instance,
        types="".join(_node_type(name, node) for name, node in nodes.types.items()),
        settings="\n    ".join(f"{name}={value}" for name, value in environment.items()),
    )


def _node_type(name: str, node: NodeType) -> str:
    resources = {"CPU": node.cpus} | ({"GPU": node.gpus} if node.gpus else {})
    return NODE_TYPE.substitute(
        name=name,
        hint=HINTS[node.work],
        instance=node.instance,
        docker=GPU_IMAGE if node.gpus else "",
        resources=", ".join(f"{kind}: {number}" for kind, number in resources.items()),
        min_workers=node.min_workers,
        max_workers=node.max_workers,
    )
