"""The Serve config: Ray Serve takes it with every key, and the applications that it names can be built."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from ray.serve.schema import (
    DeploymentSchema,
    HTTPOptionsSchema,
    LoggingConfig,
    RayActorOptionsSchema,
    ServeApplicationSchema,
    ServeDeploySchema,
)

from conf.schema import Config, load
from data.artifacts.errors import ConfigError
from serve.deployment.application import Arguments, _log_compactor
from serve.deployment.declared import COMPACTION, deploy_config
from serve.operations.kubernetes.deployed import Deployed
from serve.operations.kubernetes.ray_service import ray_service

Deploy = Callable[..., Deployed]


def known(values: dict[str, Any], model: type[BaseModel]) -> None:
    """Ray Serve ignores keys that it does not know."""
    assert set(values) <= set(model.model_fields), set(values) - set(model.model_fields)


@pytest.mark.parametrize("overrides", [(), ("serve=staged", "serve.grpc_port=9000"), ("guard.enabled=false",)])
def test_ray_serve_knows_every_key(deploy: Deploy, overrides: tuple[str, ...]) -> None:
    config = yaml.safe_load(yaml.safe_dump(deploy_config(deploy(*overrides))))
    ServeDeploySchema.model_validate(config)
    known(config, ServeDeploySchema)
    known(config["http_options"], HTTPOptionsSchema)
    known(config["logging_config"], LoggingConfig)
    for application in config["applications"]:
        known(application, ServeApplicationSchema)
        for deployment in application.get("deployments", []):
            known(deployment, DeploymentSchema)
            known(deployment["ray_actor_options"], RayActorOptionsSchema)


@pytest.mark.parametrize("overrides", [(), ("serve=staged",)])
def test_the_applications_are_built_from_their_arguments(deploy: Deploy, overrides: tuple[str, ...]) -> None:
    for application in deploy_config(deploy(*overrides))["applications"]:
        module, _, name = application["import_path"].partition(":")
        built = getattr(importlib.import_module(module), name)(Arguments.model_validate(application["args"]))
        deployments = {deployment["name"] for deployment in application.get("deployments", [])}
        assert deployments <= {node.name for node in _deployments(built)}


def test_every_application_imports_the_plugins_in_use(deploy: Deploy, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any("runtime_env" in application for application in deploy_config(deploy())["applications"])
    monkeypatch.setenv("TWOTOWER_PLUGINS", "shop,other")
    config = yaml.safe_load(yaml.safe_dump(deploy_config(deploy())))
    ServeDeploySchema.model_validate(config)
    assert len(config["applications"]) == 3
    for application in config["applications"]:
        assert application["runtime_env"] == {"env_vars": {"TWOTOWER_PLUGINS": "shop,other"}}
    assert "TWOTOWER_PLUGINS: shop,other" in ray_service(deploy())["spec"]["serveConfigV2"]


def _deployments(application: Any) -> list[Any]:
    bound = application._bound_deployment
    return [bound, *(argument for argument in bound.init_args if hasattr(argument, "_deployment_config"))] + [
        inner._bound_deployment for inner in bound.init_args if hasattr(inner, "_bound_deployment")
    ]


def test_arguments_are_overrides_and_values() -> None:
    given = Arguments(overrides=["serve.timeout_ms=100", "serve=staged"], values={"serve": {"timeout_ms": 150}})
    config = given.config()
    assert (config.serve.timeout_ms, config.serve.topology.value) == (150, "staged")
    with pytest.raises(ConfigError, match="timeout"):
        Arguments(values={"serve": {"timeoutms": 150}}).config()
    with pytest.raises(ValueError, match="overides"):
        Arguments.model_validate({"overides": []})


def test_a_change_of_limits_changes_no_argument(deploy: Deploy) -> None:
    before, after = deploy(), deploy("serve.ingress.max_replicas=9", "serve.ingress.max_queued_requests=5")
    one, other = (deploy_config(each)["applications"][0] for each in (before, after))
    assert one["args"] == other["args"]
    assert one["deployments"] != other["deployments"]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("auth.jwt.jwks=https://root:Secret9@host/keys", r"auth\.jwt\.jwks: https://\*\*\*@host/keys holds a password"),
        ("auth.jwt.jwks='https://host/keys?token=Secret9'", r"auth\.jwt\.jwks: https://host/keys\?\*\*\* holds"),
        ("events.uri=redis://:Secret9@host", r"events\.uri: redis://\*\*\*@host .* set EVENTS_REDIS_PASSWORD"),
        ("auth.file=s3://KEY:Secret9@bucket/keys.json", r"auth\.file: s3://\*\*\*@bucket.* AWS_ACCESS_KEY_ID"),
        ("storage.root=s3://KEY:Secret9@bucket", r"storage\.root: s3://\*\*\*@bucket .* AWS_ACCESS_KEY_ID"),
    ],
)
def test_an_address_with_a_password_is_not_declared(deploy: Deploy, override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        deploy_config(deploy(override))
    assert "Secret9" not in str(refused.value)


def test_a_password_is_not_declared(deploy: Deploy) -> None:
    with pytest.raises(ConfigError, match=r"^index\.uri: .* set MILVUS_TOKEN=user:password") as refused:
        deploy_config(deploy("index.uri=http://root:Secret9@milvus:19530"))
    assert "Secret9" not in str(refused.value)


def test_compaction_wants_the_key_of_hashes_as_the_endpoint_does(
    deploy: Deploy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs on another node, and without the key it would find nobody who was forgotten."""
    on_loopback = load([f"storage.root={tmp_path}"])
    monkeypatch.delenv("USER_HASH_KEY")
    _log_compactor(of_compaction(deploy_config(on_loopback)), lambda _: True)
    with pytest.raises(ConfigError, match="USER_HASH_KEY: must have at least 16 characters"):
        _log_compactor(of_compaction(deploy_config(deploy())), lambda _: True)


def of_compaction(declared: dict[str, Any]) -> Config:
    (compacting,) = (each for each in declared["applications"] if each["name"] == COMPACTION)
    return Arguments.model_validate(compacting["args"]).config()
