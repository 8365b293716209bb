"""Values that manifests cannot be made of are refused in one line that names the value and the cure."""

from collections.abc import Callable

import pytest

from conf.schema import load
from data.artifacts.errors import ConfigError
from serve.manifests import notes
from serve.operations.kubernetes.deployed import Deployed
from serve.operations.written import files
from tests.serve.operations.conftest import ON_KUBERNETES

Deploy = Callable[..., Deployed]

IMPOSSIBLE = {
    "serve.ingress.labels.role=sever": "serve.ingress.labels.role: 'sever' is no node type that is to serve; nodes",
    "serve.ingress.labels.role=trainer": "serve.ingress.labels.role: 'trainer' is no node type that is to serve",
    "serve.ingress.labels.zone=a": "serve.ingress.labels.zone: no node has this label",
    "serve.ingress.max_replicas=400": "serve.ingress.max_replicas: 400 replicas of 0.5 CPUs (num_cpus) and",
    "serve.ingress.num_cpus=5 serve.ingress.max_replicas=32": "do not fit on the nodes, which hold 20 (1 on each",
    "serve=staged serve.ingress.max_replicas=300 serve.retriever.max_replicas=300": "all nodes together have 160 CPUs",
    "serve.ingress.num_gpus=1": "serve.ingress: a replica needs 0.5 CPUs (num_cpus) and 1 GPUs (num_gpus), which",
    "nodes.types.server.min_workers=30": "nodes.types.server.min_workers: 30 must be at most nodes.types",
    "nodes.types.server.max_workers=0": "nodes.types.server.max_workers: 0 must be at least 1",
    "nodes.types.gpu.max_workers=2": "nodes.types.gpu.max_workers: ",
    "serve.ingress.min_replicas=9": "serve.ingress.min_replicas: 9 must be at most serve.ingress.max_replicas (4)",
    "serve.ingress.max_replicas=0": "serve.ingress.max_replicas: 0 must be at least 1",
    "nodes.types.trainer.work=serve": "nodes.types: no node type is to train",
    "train.num_workers=256": "train.num_workers: 256 is more than the 192 for which 4 nodes",
    "manifests.image=shop/twotower:7": "manifests.image: shop/twotower:7 does not name Ray 2.60.0 in its tag",
    "manifests.image=shop/twotower:noray2.60.0": "manifests.image: shop/twotower:noray2.60.0 does not name Ray 2.60.0",
    "manifests.image=shop/twotower:ray2.60.01-cpu": "does not name Ray 2.60.0 in its tag",
    "manifests.image=rayproject/ray:2.60.01": "does not name Ray 2.60.0 in its tag",
    "manifests.upgrade=incremental manifests.gateway_class=istio manifests.hostname=shop.example.com": "without TLS",
    "manifests.upgrade=incremental": "manifests.gateway_class: null, but manifests.upgrade=incremental needs a Gateway",
    "manifests.hostname=shop.example.com": "manifests.gateway_class: null, but manifests.hostname needs a Gateway",
    "manifests.retrain=daily": "manifests.retrain: 'daily' must have the five fields of cron",
    "manifests.name=recommendations-of-the-european-shop": "has 36 characters, at most 33: with more, KubeRay refuses",
    "manifests.name=Two_Towers": "manifests.name: 'Two_Towers' must be lower case letters",
    "storage.root=s3://key:secret@bucket/x": "storage.root: s3://***@bucket/x holds credentials",
    "data=csv data.source.interactions=s3://k:secret@b/x": "data.source.interactions: s3://***@b/x holds credentials",
    "index.uri=http://root:secret@milvus:19530": "index.uri: the address http://milvus:19530 has a user and a password",
    "storage.root=./var": "storage.root: ./var is a folder of one machine",
    "index.uri=./var/milvus.db": "is Milvus Lite, a file of one machine",
}


@pytest.mark.parametrize("override", IMPOSSIBLE)
def test_what_cannot_be_is_refused_in_one_line(deploy: Deploy, override: str) -> None:
    with pytest.raises(ValueError, match=".") as caught:
        files(deploy(*override.split()))
    assert IMPOSSIBLE[override] in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("tag", ["ray2.60.0", "ray2.60.0-cpu", "v7-ray2.60.0_gpu", "ray2.60.0@sha256:0a"])
def test_an_image_with_the_pinned_ray_is_taken(deploy: Deploy, tag: str) -> None:
    assert deploy(f"manifests.image='shop/twotower:{tag}'").manifests.image.endswith(tag)
    assert deploy("manifests.image=rayproject/ray:2.60.0-py311-cpu")


def test_an_unknown_node_type_is_refused_by_its_name(deploy: Deploy) -> None:
    with pytest.raises(ConfigError, match="sever") as caught:
        deploy("nodes.types.sever.max_workers=9")
    assert "\n" not in str(caught.value)


def test_a_log_that_pods_may_not_have_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is on this machine, or where DATASETS says, which pods have by the Secret."""

    def of(*overrides: str) -> list[str]:
        return notes(load([*ON_KUBERNETES, *overrides]), ())

    monkeypatch.delenv("DATASETS", raising=False)
    train, test, validation = of("data=gowalla")
    assert train.startswith("data.source.train: pods look for ./datasets/gowalla/train.txt.gz in their image, as")
    assert "name an object store (data.source.validation=s3://...)" in validation
    assert "test.txt.gz" in test
    claimed = ("storage.root=/srv/twotower", "manifests.storage_claim=twotower")
    for found in (
        of(),
        of("data=parquet", "data.source.interactions=s3://bucket/clicks"),
        of(*claimed, "data=events", "data/source@data.source.base=table", "data.source.base.format=csv",
           "data.source.base_type=click", "data.source.base.interactions=/srv/twotower/clicks.csv"),
    ):  # fmt: skip
        assert not found
    (items,) = of("data=movielens", "data.source.path=s3://bucket/ml", "data.item_vectors=/home/me/titles.parquet")
    assert items.startswith("data.item_vectors: pods look for /home/me/titles.parquet in their image")
    monkeypatch.setenv("DATASETS", "s3://bucket/public")
    assert of("data=gowalla") == [
        "DATASETS is s3://bucket/public here; pods have it by that key of the Secret twotower"
    ]
