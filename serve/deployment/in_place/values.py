"""The values of an endpoint by their keys in the root config: of a Serve config, and of a command."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from data.artifacts.plugins import VARIABLE
from data.cluster.typed_commands import is_within
from serve.deployment.application import Arguments
from serve.deployment.declared import APPLICATION, GUARD, ON_PROXIES, SCALES, absolute, values_of
from serve.deployment.settings import Topology
from serve.events.config import OFF, ON_ONE_MACHINE
from serve.index.address import MilvusAddress

Values = dict[str, Any]
"""Values by dotted key, such as {"serve.timeout_ms": 200}; a mapping whose keys the user chooses is one value."""

SECTIONS = ("storage", "index", "serve", "auth", "guard", "events")
"""The sections of the root config that an endpoint has."""

OPEN = re.compile(r"events\.types|serve\.\w+\.labels")
"""Keys of mappings whose keys the user chooses."""

ROOT, STORE, FILE_OF_EVENTS, PLUGINS = "storage.root", "events.store", "events.path", "plugins"

SAME_IN_SERVE = ("min_replicas", "max_replicas", "target_ongoing_requests", "upscale_delay_s", "downscale_delay_s")
"""Values of a scale that Ray Serve calls the same in its autoscaling."""


def by_key(values: Mapping[str, Any], key: str = "") -> Values:
    """Returns nested values by dotted key.

    Args:
        key: that of the values themselves.
    """
    found: Values = {}
    for name, value in values.items():
        inner = f"{key}.{name}".lstrip(".")
        if isinstance(value, Mapping) and not OPEN.fullmatch(inner):
            found |= by_key(value, inner)
        else:
            found[inner] = dict(value) if isinstance(value, Mapping) else value
    return found


def with_absolute_paths(values: Values) -> Values:
    """Returns the same with paths that mean the same to processes with another working folder."""
    found = dict(values)
    for key in (ROOT, "auth.file", "auth.jwt.jwks"):
        if found.get(key):
            found[key] = absolute(found[key])
    if FILE_OF_EVENTS in found:
        found[FILE_OF_EVENTS] = str(Path(found[FILE_OF_EVENTS]).expanduser().absolute())
    if "index.uri" in found and (database := MilvusAddress.of(found["index.uri"]).database) is not None:
        found["index.uri"] = str(database.absolute())
    return found


def declared_values(applications: Mapping[str, Mapping[str, Any]]) -> Values:
    """Returns the values that the applications of a Serve config hold and that have an effect.

    Args:
        applications: by name, as `deploy_config` returns them or as Ray Serve keeps them; the endpoint is among them.

    Raises:
        ConfigError: their arguments are overrides that this version does not take.
    """
    endpoint, guard = applications[APPLICATION], applications.get(GUARD)
    found = {key: value for key, value in _arguments(endpoint).items() if not key.startswith("guard.")}
    for deployment in endpoint.get("deployments") or []:
        found |= _scale(deployment)
    if guard is None:
        found["guard.enabled"] = False
    else:
        found |= {key: value for key, value in _arguments(guard).items() if key.startswith("guard.")}
    variables = (endpoint.get("runtime_env") or {}).get("env_vars") or {}
    found[PLUGINS] = sorted(filter(None, variables.get(VARIABLE, "").split(",")))
    return with_effect(with_absolute_paths(found))


def with_effect(values: Values) -> Values:
    """Returns the same without values that have no effect beside the others, or that the proxies hold."""
    store = values.get(STORE, ON_ONE_MACHINE)
    without = [f"serve.{name}" for name in ON_PROXIES]
    without += [] if store == ON_ONE_MACHINE else [FILE_OF_EVENTS]
    without += ["events.types"] if store == OFF else []
    if values.get("serve.topology") == Topology.fused.name:
        without += [f"serve.{section}" for section in SCALES.values() if section != "ingress"]
    return {key: value for key, value in values.items() if not is_among(key, without)}


def is_among(key: str, keys: Collection[str]) -> bool:
    """Returns whether one of the keys is this one, or that of a mapping around it."""
    return any(is_within(key, each) for each in keys)


def _arguments(application: Mapping[str, Any]) -> Values:
    given = application.get("args") or {}
    if not given.get("overrides"):
        return by_key(given.get("values") or {})
    config = Arguments.model_validate(given).config()
    return by_key({section: values_of(getattr(config, section)) for section in SECTIONS})


def _scale(deployment: Mapping[str, Any]) -> Values:
    """Returns the scale from which `serve.deployment.declared.deployment` made this, as far as it is named here."""
    section = SCALES.get(deployment["name"])
    if section is None:
        return {}
    actor, scaling = deployment.get("ray_actor_options") or {}, deployment.get("autoscaling_config") or {}
    ongoing, in_flight = deployment.get("max_ongoing_requests"), deployment.get("max_queued_requests")
    found = {
        **{name: scaling.get(name) for name in SAME_IN_SERVE},
        "look_back_s": scaling.get("look_back_period_s"),
        "max_ongoing_requests": ongoing,
        "max_queued_requests": None if ongoing is None or in_flight is None else max(in_flight - ongoing, 0),
        **{name: deployment.get(name) for name in ("max_surge_percent", "rolling_update_percentage")},
        **{name: actor.get(name) for name in ("num_cpus", "num_gpus")},
        "labels": actor.get("label_selector"),
    }
    return {f"serve.{section}.{name}": value for name, value in found.items() if value is not None}
