"""A command that changes an endpoint in place says which values it would change untyped, and how to keep them."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.serve.schema import ServeDeploySchema

from conf.next_command import values_with
from conf.schema import load, translated
from data.artifacts.errors import ConfigError
from serve.deployment.declared import APPLICATION, BUILDER, deploy_config
from serve.deployment.in_place.check import as_deployed, refuse_kept
from serve.deployment.in_place.kept import kept_overrides
from serve.deployment.in_place.running import num_machines
from serve.deployment.in_place.values import SECTIONS, Values, declared_values

RAISED = ("cluster.address=auto", "serve.ingress.max_replicas=16")


def compose(overrides: Sequence[str], machines: int = 1) -> Values:
    return as_deployed(values_with(overrides, SECTIONS), machines)


def running(*overrides: str) -> Values:
    """The values of an endpoint that was started with these overrides, as Ray Serve keeps what was declared."""
    config = load(overrides)
    declared = ServeDeploySchema.model_validate(deploy_config(config, events=config.events.on_this_machine()))
    applications = declared.model_dump(exclude_unset=True)["applications"]
    return declared_values({application["name"]: application for application in applications})


def kept(runs: Values, *typed: str, machines: int = 1) -> list[str]:
    return kept_overrides(runs, translated(typed), partial(compose, machines=machines))


@pytest.mark.parametrize(
    ("started", "needed"),
    [
        ((), []),
        (("serve.ingress.max_replicas=8",), []),
        (("storage.root=/srv/x",), ["storage.root=/srv/x"]),
        (("serve=staged", "serve.reranker.num_gpus=0.5"), ["serve=staged", "serve.reranker.num_gpus=0.5"]),
        (("auth=keys", "auth.limits.rate=100/second"), ["auth=keys", "auth.limits.rate=100/second"]),
        (("auth=jwt", "auth.jwt.issuer=i", "auth.jwt.audience=a", "auth.jwt.jwks=https://i/k"),
         ["auth=jwt", "auth.jwt.issuer=i", "auth.jwt.audience=a", "auth.jwt.jwks=https://i/k"]),
        (("events=redis", "events.uri=redis://r:1/0"), ["events=redis", "events.uri=redis://r:1/0"]),
        (("events=off",), ["events=off"]),
        (("events.path=/srv/e.sqlite",), ["events.path=/srv/e.sqlite"]),
        (("events.types.view.seen=true",), ["events.types.view.seen=true"]),
        (("index=milvus", "index.uri=http://milvus:19530"), ["index=milvus", "index.uri=http://milvus:19530"]),
        (("guard.enabled=false",), ["guard.enabled=false"]),
        (("guard.max_deaths=5", "serve.timeout_ms=100"), ["serve.timeout_ms=100", "guard.max_deaths=5"]),
        (("+serve.ingress.labels.role=server",), ["++serve.ingress.labels.role=server"]),
        (("serve.ingress.max_queued_requests=7",), ["serve.ingress.max_queued_requests=7"]),
        (("serve.port=9000", "serve.host=0.0.0.0", "auth=none"), ["auth=none"]),
    ],
)  # fmt: skip
def test_what_was_not_typed_is_named_and_kept_by_what_is_named(started: Sequence[str], needed: list[str]) -> None:
    """It was reset without a word: events went over to another store, and seen items came back."""
    runs = running(*started)
    assert kept(runs, *RAISED) == needed
    assert kept(runs, *RAISED, *needed) == []
    typed = {"serve.ingress.max_replicas": 16}
    assert running(*RAISED, *needed) | typed == runs | typed


def test_all_of_a_cluster_is_kept_by_one_command() -> None:
    started = ["storage.root=s3://bucket/x", "index.uri=http://milvus:19530", "auth=keys", "serve=staged"]
    started.append("events=redis")
    runs = running(*started, "serve.retriever.max_replicas=9")
    needed = kept(runs, *RAISED)
    assert set(needed) == {*started, "serve.retriever.max_replicas=9"}
    assert running(*RAISED, *needed)["serve.retriever.max_replicas"] == 9


@pytest.mark.parametrize(
    ("started", "typed", "needed"),
    [
        ((), ("serve=staged",), []),
        (("serve=staged",), ("serve=fused",), []),
        (("serve.ingress.max_replicas=8",), ("serve=staged",), ["serve.ingress.max_replicas=8"]),
        (("serve=staged", "serve.timeout_ms=100"), ("serve=fused",), ["serve.timeout_ms=100"]),
        (("events=off",), ("events=redis",), []),
        (("auth=keys", "auth.refresh_s=9"), ("auth=none",), ["auth.refresh_s=9.0"]),
        (("serve=staged",), ("serve.topology=fused", "serve.ingress.num_cpus=1"), []),
    ],
)
def test_a_typed_choice_changes_what_the_former_one_brought_and_nothing_else(
    started: Sequence[str], typed: Sequence[str], needed: list[str]
) -> None:
    assert kept(running(*started), *typed) == needed


def test_event_types_of_ones_own_are_kept() -> None:
    runs = running("events.types.wish.weight=2", "events.types.wish.sign=negative", "events.types.view.weight=3")
    needed = kept(runs, "events.types.view.seen=true")
    assert needed[0] == "events.types.view.weight=3.0"
    assert needed[1].startswith("++events.types.wish={")
    wish = load(needed).events.types["wish"]
    assert (wish.weight, wish.sign.name) == (2.0, "negative")
    assert kept(runs, "events.types.view.seen=true", *needed) == []


def test_a_mapping_that_is_typed_types_its_entries_alone() -> None:
    runs = running("serve.ingress.max_replicas=8", "serve.ingress.num_cpus=2")
    assert kept(runs, "serve.ingress={max_replicas: 16}") == ["serve.ingress.num_cpus=2.0"]


@pytest.mark.parametrize(("cpus", "machines"), [([2.0], 1), ([0.0, 2.0], 2), ([0.0], 2), ([0.0, None], 3)])
def test_a_head_without_cpus_waits_for_a_machine(
    monkeypatch: pytest.MonkeyPatch, cpus: list[float | None], machines: int
) -> None:
    """Its autoscaler adds them after serve.run has looked, and then each has a SQLite file of its own."""
    nodes = [
        {"Alive": True, "NodeManagerHostname": f"{at}", "Resources": {} if of is None else {"CPU": of}}
        for at, of in enumerate(cpus)
    ]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    assert num_machines() == machines


def test_on_several_machines_events_are_off_before_and_after() -> None:
    config = load([])
    declared = deploy_config(config, events=config.events.for_machines())["applications"]
    runs = declared_values({application["name"]: application for application in declared})
    assert kept(runs, *RAISED, machines=2) == []
    assert kept(runs, *RAISED) == ["events=off"], "nothing is said of types that it does not use"


@pytest.mark.parametrize(
    "arguments",
    [
        {"overrides": ["auth=keys", "serve.timeout_ms=100"]},
        {"values": {"auth": {"kind": "keys"}, "serve": {"timeout_ms": 100}}},
    ],
)
def test_a_config_that_was_written_by_hand_is_kept_as_far_as_it_goes(arguments: dict[str, Any]) -> None:
    runs = declared_values({APPLICATION: {"name": APPLICATION, "import_path": BUILDER, "args": arguments}})
    assert kept(runs, *RAISED) == ["auth=keys", "serve.timeout_ms=100", "guard.enabled=false"]


def test_defaults_of_another_version_are_named_and_its_other_values_are_not() -> None:
    runs = running() | {"serve.timeout_ms": 150, "serve.of_before": 1}
    del runs["serve.lease_s"]
    assert kept(runs, *RAISED) == ["serve.timeout_ms=150"]


def test_plugins_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOTOWER_PLUGINS", "json")  # some module
    runs = running("serve.timeout_ms=100")
    monkeypatch.delenv("TWOTOWER_PLUGINS")
    assert kept(runs, "serve.timeout_ms=100") == ['plugins=["json"]']


def test_the_message_has_the_whole_command_and_no_secret() -> None:
    refuse_kept([], lambda kept: "unused")
    secret = 'storage.root="s3://KEY:Secret9@bucket/x"'
    with pytest.raises(ConfigError, match="would change: auth=keys, .*; add replace=true .*: run auth=keys") as refused:
        refuse_kept(["auth=keys", secret], lambda kept: f"run {' '.join(kept)}")
    assert "Secret9" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_paths_are_those_of_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same command in another folder is about another storage."""
    runs = running()
    monkeypatch.chdir(tmp_path)
    assert kept(runs)[0].startswith("storage.root=/")
