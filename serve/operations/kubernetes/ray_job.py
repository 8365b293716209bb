"""The training as a RayJob with a cluster of its own, and a CronJob that makes one by the clock."""

import shlex

import yaml

from serve.operations.fitting import trainers
from serve.operations.kubernetes.deployed import Deployed, Manifest, manifest
from serve.operations.kubernetes.ray_cluster import GROUP, SECURITY, TRAINING, cluster_spec

SUFFIX = "-train"
RETRAIN = "-retrain"

EVENTS = "data=events"
"""The override with which a training learns from the events of the endpoint."""

RUN = "/tmp/training"
"""The folder of the training's run in the pod that starts it."""


def ray_job(deployed: Deployed, by_the_clock: bool = False) -> Manifest:
    """Returns the RayJob: it trains, publishes what it has trained if the gate lets it, and gives its nodes back.

    Args:
        by_the_clock: whether it is made again and again; where it learns from events it then is a lap of the cycle.
    """
    name, node = trainers(deployed.train, deployed.nodes)
    is_lap = by_the_clock and EVENTS in deployed.cycle
    spec = {
        "entrypoint": entrypoint(deployed, name, node.gpus > 0, is_lap),
        "submissionMode": "HTTPMode",  # by KubeRay, which the NetworkPolicy admits; a submitter pod has no labels
        "backoffLimit": 0,  # KubeRay tells no verdict from a fault; Ray Train starts again after lost workers by itself
        "activeDeadlineSeconds": deployed.manifests.train_timeout_s,
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": 600,
        "rayClusterSpec": cluster_spec(deployed, {name: node}, TRAINING),
    }
    return manifest("ray.io/v1", "RayJob", deployed.metadata(SUFFIX, TRAINING), spec)


def entrypoint(deployed: Deployed, role: str, use_gpu: bool, is_lap: bool = False) -> str:
    """Returns the command of the training and that which publishes what it has trained, or that of a lap.

    The checkpoint is named by the folder of the training's run: by the values of the training it would not be found
    again where files have come to the log meanwhile.

    Args:
        role: the name of the node type that trains, where the overrides do not say on which labels.
        use_gpu: whether it trains on GPUs, where the overrides do not say so.
        is_lap: whether it is `serve.cycle`, which promotes too.
    """
    added = [] if deployed.train.labels else [f"++train.labels.role={role}"]
    if use_gpu and not any("train.use_gpu=" in override for override in deployed.recipe):
        added.append("train.use_gpu=true")

    def command(verb: str, *overrides: str) -> str:
        return shlex.join(("python", "-m", verb, *deployed.options, *overrides))

    if is_lap:
        return command("serve.cycle", *deployed.cycle, *added)
    train = command("towers.train", *deployed.recipe, *added, f"hydra.run.dir={RUN}")
    publish = command("serve.publish", f"checkpoint={RUN}", *deployed.publish)
    return shlex.join(("bash", "-c", f"{train} && {publish}"))


def retraining(deployed: Deployed) -> list[Manifest]:
    """Returns the CronJob that makes a RayJob, the RayJob as it makes it, and what it needs to be allowed to."""
    job = ray_job(deployed, by_the_clock=True)
    metadata = {name: value for name, value in job["metadata"].items() if name != "name"}
    job["metadata"] = metadata | {"generateName": f"{deployed.manifests.name}{RETRAIN}-"}
    kept = manifest("v1", "ConfigMap", deployed.metadata(RETRAIN, TRAINING), None)
    kept["data"] = {"ray-job.yaml": yaml.safe_dump(job, sort_keys=False, width=120)}
    cron = {
        "schedule": deployed.manifests.retrain,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 600,
        "jobTemplate": {"spec": {"backoffLimit": 2, "template": {"spec": _creating(deployed)}}},
    }
    return [
        *_allowed(deployed),
        kept,
        manifest("batch/v1", "CronJob", deployed.metadata(RETRAIN, TRAINING), cron),
    ]


def _creating(deployed: Deployed) -> Manifest:
    """The pod that makes the RayJob."""
    name = f"{deployed.manifests.name}{RETRAIN}"
    container = {
        "name": "create",
        "image": deployed.manifests.kubectl_image,
        "args": ["create", "-f", "/manifests/ray-job.yaml"],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": SECURITY | {"readOnlyRootFilesystem": True},
        "volumeMounts": [{"name": "manifests", "mountPath": "/manifests", "readOnly": True}],
    }
    return {
        "restartPolicy": "Never",
        "serviceAccountName": name,
        "securityContext": {"fsGroup": GROUP},
        "containers": [container],
        "volumes": [{"name": "manifests", "configMap": {"name": name}}],
    }


def _allowed(deployed: Deployed) -> list[Manifest]:
    """The account that may make RayJobs, and nothing else."""
    metadata = deployed.metadata(RETRAIN, TRAINING)
    role = manifest("rbac.authorization.k8s.io/v1", "Role", metadata, None)
    role["rules"] = [{"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create"]}]
    binding = manifest("rbac.authorization.k8s.io/v1", "RoleBinding", metadata, None)
    binding["roleRef"] = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": metadata["name"]}
    binding["subjects"] = [
        {"kind": "ServiceAccount", "name": metadata["name"], "namespace": deployed.manifests.namespace}
    ]
    return [manifest("v1", "ServiceAccount", metadata, None), role, binding]
