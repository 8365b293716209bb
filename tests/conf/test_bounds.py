"""Every number of every config has bounds, and a value outside of them is refused before anything starts.

The tests walk over all fields of the root config, of all sources, and of the launcher and the sweeper.
"""

import math
import typing
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Union

import pytest
from omegaconf import OmegaConf

from conf.schema import Config, load
from data.artifacts.bounds import BOUNDS, Bounds, bounded, check_bounds
from data.artifacts.errors import ConfigError
from data.artifacts.structured import structured, typed
from data.sources.source import SourceConfig, sources
from towers.sweeps.settings import LauncherConfig, SweeperConfig

REQUIRED: dict[str, dict[str, Any]] = {
    "table": {"format": "csv", "interactions": "x", "users": "x", "items": "x"},
    "movielens": {"path": "x"},
    "interaction_lists": {"train": "x"},
    "events": {"root": "x", "skipped": {}},
}
ELEMENTS: dict[str, dict[str, Any]] = {
    "evaluate.published": {"name": "x", "source": "y", "metrics": {"recall@20": 0.1}},
    "data.source.item_features": {"name": "price", "kind": "numeric"},
    "data.source.user_features": {"name": "age", "kind": "numeric"},
    "hydra.sweeper.objectives": {},
}
"""A value for each list of dataclasses, whose fields are checked too."""


def parts(of: Any) -> list[Any]:
    """The types in a type: itself, or those of a union."""
    is_union = typing.get_origin(of) in (Union, UnionType)
    return [part for part in typing.get_args(of) if part is not NoneType] if is_union else [of]


def numbers(of: type, key: str = "") -> Iterator[tuple[str, Bounds | None, Any]]:
    """The keys of all fields that hold numbers, with their declared bounds and the type that holds a number."""
    hints = typing.get_type_hints(of)
    for each in fields(of):
        inner = f"{key}.{each.name}".lstrip(".")
        for part in parts(hints[each.name]):
            origin, arguments = typing.get_origin(part), typing.get_args(part)
            if is_dataclass(part) and part is not SourceConfig:
                yield from numbers(part, inner)
            elif part in (int, float):
                yield inner, each.metadata.get(BOUNDS), (None, part)
            elif origin in (list, dict) and is_dataclass(arguments[-1]):
                yield from numbers(arguments[-1], f"{inner}[0]" if origin is list else f"{inner}.one")
            elif origin in (list, dict) and arguments[-1] in (int, float):
                yield inner, each.metadata.get(BOUNDS), (origin, arguments[-1])


ALL = [
    *numbers(Config),
    *(found for source in sources().values() for found in numbers(source, f"data.source<{source.__name__}>")),
    *numbers(LauncherConfig, "hydra.launcher"),
    *numbers(SweeperConfig, "hydra.sweeper"),
]


def outside(bounds: Bounds, kind: type) -> list[Any]:
    """Values that the bounds exclude, of a type that the field takes; huge ones are excluded everywhere."""
    beyond: list[Any] = [10**20, -(10**20)] if kind is int else [math.nan, math.inf, -math.inf, 1e39, -1e39, 1e300]
    if bounds.at_least is not None:
        beyond.append(kind(bounds.at_least - 1))
    if bounds.above is not None:
        beyond.append(kind(bounds.above))
    if bounds.at_most is not None:
        beyond.append(kind(max(bounds.at_most + 1, 2 * bounds.at_most)))  # adding 1 does not change 1e30
    if bounds.below is not None:
        beyond.append(kind(bounds.below))
    return beyond


def composed(key: str, value: Any) -> None:
    """Has the config of the dataclass that `key` begins with composed and typed, with this value at the key."""
    if key.startswith("data.source<"):
        name = key[len("data.source<") :].partition(">")[0]
        of, at = next((n, c) for n, c in sources().items() if c.__name__ == name), key.partition(">.")[2]
        tree: Any = {"data": {"source": OmegaConf.merge(OmegaConf.structured(of[1]), REQUIRED.get(of[0], {}))}}
        key = f"data.source.{at}"
    elif key.startswith("hydra.launcher"):
        tree = {"hydra": {"launcher": OmegaConf.structured(LauncherConfig)}}
    elif key.startswith("hydra.sweeper"):
        tree = {"hydra": {"sweeper": OmegaConf.structured(SweeperConfig)}}
    else:
        group = key.partition(".")[0]
        tree = {group: BASE[group]} if group != key else BASE  # a group alone is copied many times faster
    values = OmegaConf.create(tree)
    if (listed := key.partition("[0]")[0]) in ELEMENTS:
        OmegaConf.update(values, listed, [ELEMENTS[listed]])
    mapping, _, in_entry = key.partition(".one.")
    if in_entry:
        OmegaConf.update(values, mapping, {"one": {in_entry: value}}, force_add=True)
    else:
        OmegaConf.update(values, key.replace("[0]", ".0"), value, force_add=True)
    typed(values)


BASE = OmegaConf.structured(load())


def test_the_walk_finds_all_kinds_of_fields() -> None:
    keys = [key for key, _, _ in ALL]
    assert len(keys) == len(set(keys)) > 100
    assert {
        "seed", "train.epochs", "evaluate.ks", "evaluate.published[0].metrics", "serve.embedder.num_cpus",
        "traffic.shares", "data.min_weight", "data.source<SyntheticSource>.num_users",
        "data.source<TableSource>.item_features[0].max_values", "hydra.launcher.timeout_s",
        "hydra.sweeper.halving.factor", "data.events.one.weight",
    } <= set(keys)  # fmt: skip


@pytest.mark.parametrize(("key", "bounds"), [(key, bounds) for key, bounds, _ in ALL])
def test_every_number_declares_its_bounds(key: str, bounds: Bounds | None) -> None:
    assert bounds is not None, (
        f"{key}: use bounded(...); bounded() without a bound says that any finite number is right"
    )


@pytest.mark.parametrize(("key", "bounds", "holds"), ALL)
def test_a_value_outside_is_refused_before_anything_starts(key: str, bounds: Bounds, holds: Any) -> None:
    container, kind = holds
    name = key.replace("<", "").partition(">")[2].lstrip(".") or key
    for value in outside(bounds, kind):
        given = {None: value, list: [value], dict: {"one": value}}[container]
        with pytest.raises(ConfigError) as caught:
            composed(key, given)
        assert name in str(caught.value), "the message names the key"
        assert f"{value}" in str(caught.value), "and the value"
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.learning_rate=nan", "train.learning_rate: nan must lie in (0, 1e+30]"),
        ("train.learning_rate=inf", "train.learning_rate: inf must lie in (0, 1e+30]"),
        ("train.patience=-1", "train.patience: -1 must be at least 0, and finite"),
        ("serve.reranker.num_cpus=-.5", "serve.reranker.num_cpus: -0.5 must be at least 0, and finite"),
        ("data.min_weight=inf", "data.min_weight: inf must be a finite number, or null"),
        ("train.threads=0", "train.threads: 0 must lie in 1..4096, or null"),
        ("train.threads=100000000000", "train.threads: 100000000000 must lie in 1..4096, or null"),
        ("train.batch_size=100000000000000000000000", f"train.batch_size: {10**23} must be at most 2147483647"),
        ("data.users_per_part=100000000000000000000", f"data.users_per_part: {10**20} must be at most 2147483647"),
        ("rerank.batch_size=2147483648", "rerank.batch_size: 2147483648 must be at most 2147483647"),
        ("train.learning_rate=1e38", "train.learning_rate: 1e+38 must lie in (0, 1e+30]"),
        ("rerank.learning_rate=1e300", "rerank.learning_rate: 1e+300 must lie in (0, 1e+30]"),
        ("data.min_weight=1e39", "data.min_weight: 1e+39 must lie between -3.4e+38 and 3.4e+38, as float32 does"),
        (
            "loss.temperature=1e-300",
            "loss.temperature: 1e-300 is too near 0 for float32, whose smallest number is 1.2e-38",
        ),
        ("model.embedding_dim=5000", "model.embedding_dim: 5000 must lie in 1..4096"),
        ("model.dropout=1", "model.dropout: 1.0 must lie in [0, 1)"),
        ("model.num_heads=0", "model.num_heads: 0 must be at least 1, and finite"),
        ("evaluate.ks=[5,101]", "evaluate.ks[1]: 101 must lie in 1..100"),
        ("traffic.shares.a=nan", "traffic.shares.a: nan must lie in (0, 1)"),
        ("loss.negatives.hard=-1", "loss.negatives.hard: -1 must be at least 0, and finite"),
        ("seed=-1", "seed: -1 must lie in [0, 9223372036854775808)"),
    ],
)
def test_the_message_names_key_value_and_bounds(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load([override])
    assert str(caught.value) == message


def test_a_dataclass_made_by_code_is_checked_too() -> None:
    with pytest.raises(ConfigError, match=r"^hydra\.launcher\.timeout_s: nan must be above 0, and finite, or null$"):
        structured(LauncherConfig, {"timeout_s": math.nan})
    with pytest.raises(ConfigError, match=r"^hydra\.sweeper\.trials: 0 must be at least 1"):
        SweeperConfig(trials=0)


def test_a_whole_number_fits_in_32_bits_where_no_bound_says_otherwise() -> None:
    assert Bounds().holds(2**31 - 1)
    assert not Bounds().holds(2**31)
    assert not Bounds().holds(10**400)
    assert not Bounds(at_most=3).holds(-(2**31))
    assert Bounds(below=2**63).holds(2**40)


def test_a_number_fits_in_float32() -> None:
    assert all(Bounds().holds(value) for value in (0.0, -3.4e38, 1.2e-38))
    assert not any(Bounds().holds(value) for value in (3.5e38, -1e39, 1e-39))


def test_truth_values_are_no_numbers() -> None:
    from dataclasses import dataclass

    @dataclass
    class Flags:
        on: bool = bounded(False, at_least=1)

    check_bounds(Flags(), "flags")
