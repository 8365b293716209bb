"""Values for Milvus' own Helm chart, version 5."""

from serve.operations.config import MilvusChart
from serve.operations.kubernetes.deployed import Manifest


def milvus_values(chart: MilvusChart) -> Manifest:
    """Returns the values: a cluster with its log in Woodpecker, its data in an object store, and authorization on.

    Credentials are in none of them: the object store's come from a role or from a Secret, and Milvus' own password is
    changed after the installation.
    """
    memory = f"{int(chart.query_node_memory_gib * 1024)}Mi"
    return {
        "image": {"all": {"tag": chart.tag}},
        "cluster": {"enabled": True},
        "streaming": {"enabled": True, "woodpecker": {"embedded": True}},
        "pulsarv3": {"enabled": False},
        "minio": {"enabled": False},
        "externalS3": {
            "enabled": True,
            "host": chart.endpoint,
            "port": "443",
            "useSSL": True,
            "bucketName": chart.bucket,
            "useIAM": True,
        },
        "etcd": {"replicaCount": 3, "pdb": {"create": True}},
        "mixCoordinator": {"replicas": 2, "activeStandby": {"enabled": True}},
        "queryNode": {
            "replicas": chart.query_nodes,
            "resources": {"requests": {"memory": memory}, "limits": {"memory": memory}},
        },
        "metrics": {"serviceMonitor": {"enabled": True}},
        "extraConfigFiles": {"user.yaml": "common:\n  security:\n    authorizationEnabled: true\n"},
    }
