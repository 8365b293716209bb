"""The endpoint as a RayService of KubeRay."""

import yaml

from serve.deployment.declared import deploy_config
from serve.operations.config import Upgrade
from serve.operations.kubernetes.deployed import Deployed, Manifest, manifest
from serve.operations.kubernetes.ray_cluster import ENDPOINT, cluster_spec, gcs_fault_tolerance
from serve.operations.nodes import Work


def ray_service(deployed: Deployed) -> Manifest:
    """Returns the RayService. Its proxies listen on all addresses of their pods; the NetworkPolicy says who may call.

    Nodes that train are not in it: KubeRay counts a worker ready once its Serve proxy answers, and they have none.
    """
    cluster = cluster_spec(deployed, deployed.nodes.of(Work.serve), ENDPOINT) | gcs_fault_tolerance(deployed)
    spec = {
        "serveConfigV2": yaml.safe_dump(deploy_config(deployed, host="0.0.0.0"), sort_keys=False, width=120),
        "excludeHeadPodFromServeSvc": True,
        "rayClusterDeletionDelaySeconds": 120,
        "upgradeStrategy": _upgrade(deployed),
        "rayClusterConfig": cluster,
    }
    return manifest("ray.io/v1", "RayService", deployed.metadata(component=ENDPOINT), spec)


def _upgrade(deployed: Deployed) -> Manifest:
    values = deployed.manifests
    if values.upgrade is not Upgrade.incremental:
        return {"type": values.upgrade.value}
    options = {
        "gatewayClassName": values.gateway_class,
        "stepSizePercent": values.step_size_percent,
        "intervalSeconds": values.interval_s,
        "maxSurgePercent": values.max_surge_percent,
    }
    return {"type": values.upgrade.value, "clusterUpgradeOptions": options}
