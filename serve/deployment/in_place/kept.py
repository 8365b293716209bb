"""Which values of an endpoint that runs a command would change untyped, and the overrides that keep them."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from data.artifacts.errors import ConfigError
from data.cluster.typed_commands import override
from serve.deployment.in_place.values import OPEN, PLUGINS, ROOT, STORE, Values, is_among

CHOICES = {"serve": "serve.topology", "auth": "auth.kind", "events": STORE, "index": "index.kind"}
"""The value that is called as its group's choice, by group: with `serve=staged` that of serve.topology is staged."""

Compose = Callable[[Sequence[str]], Values]
"""Returns the values of a command by its overrides; raises ConfigError where it does not take one of them."""


def kept_overrides(running: Values, typed: Sequence[str], compose: Compose) -> list[str]:
    """Returns the overrides by which a command keeps what it was not told to change; none where it does so anyway.

    A typed choice of a group, such as `serve=staged`, may change what the former choice brought, and no other value. A
    value that this version has, and that which runs has not, is none that changes.

    Args:
        running: the values of the endpoint that runs, as far as its Serve config names them.
        typed: the overrides of the command.
        compose: the values of the command by its overrides.
    """
    names, new = typed_keys(typed), compose(typed)
    free = {name for name in names if "." in name or name == PLUGINS}
    free |= _brought(running, new, typed, names, compose)
    chosen = list(_choices(running, new, typed, free, compose))
    return [*chosen, *_differences(running, compose([*typed, *chosen]) if chosen else new, free)]


def typed_keys(overrides: Sequence[str]) -> set[str]:
    """Returns the keys that overrides set or delete: groups, values, and of a mapping those of its entries."""
    found: set[str] = set()
    for each in OverridesParser.create().parse_overrides(list(overrides)):
        found |= set(_leaves(each.key_or_group.replace("/", "."), None if each.is_delete() else each.value()))
    return found


def _leaves(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}", inner)
    else:
        yield key


def _brought(running: Values, new: Values, typed: Sequence[str], names: Collection[str], compose: Compose) -> set[str]:
    """The keys of values that are as the running choice of a group has brought them, where another one is typed."""
    found = set()
    for group, key in CHOICES.items():
        if group in names and running.get(key, new[key]) != new[key]:
            others = [each for each in typed if each.partition("=")[0] != group]
            before = _composed(compose, [*others, f"{group}={running[key]}"])
            same = {name for name, value in running.items() if name in before and before[name] == value}
            found |= {key} | {name for name in same if name.startswith(f"{group}.")}
    return found


def _choices(
    running: Values, new: Values, typed: Sequence[str], free: Collection[str], compose: Compose
) -> Iterator[str]:
    """The storage and the choices of groups that run: beside them, few values need an override of their own."""
    if ROOT not in free and running.get(ROOT, new[ROOT]) != new[ROOT]:
        yield override(ROOT, running[ROOT])
    for group, key in CHOICES.items():
        if key not in free and running.get(key, new[key]) != new[key]:
            choice = f"{group}={running[key]}"
            if _composed(compose, [*typed, choice]).get(key) == running[key]:
                yield choice


def _composed(compose: Compose, overrides: Sequence[str]) -> Values:
    """The values by these overrides; none where a group has no such choice, as of a back end of a plugin."""
    try:
        return compose(overrides)
    except ConfigError:
        return {}


def _differences(running: Values, new: Values, free: Collection[str]) -> Iterator[str]:
    for key, value in running.items():
        if key not in new or value == new[key]:
            continue
        if OPEN.fullmatch(key):
            yield from _entries(key, value, new[key], free)
        elif not is_among(key, free):
            yield override(key, value)


def _entries(key: str, running: Mapping[str, Any], new: Mapping[str, Any], free: Collection[str]) -> Iterator[str]:
    """The overrides for the entries of a mapping whose keys the user chooses.

    Entries of `new` alone are none that change: replicas add what their Serve config names to what they have anyway.
    """
    for name, value in running.items():
        entry, other = f"{key}.{name}", new.get(name)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            for field in filter(other.__contains__, value):
                if value[field] != other[field] and not is_among(f"{entry}.{field}", free):
                    yield override(f"{entry}.{field}", value[field])
        elif value != other and not is_among(entry, free):
            yield f"++{override(entry, value)}"
