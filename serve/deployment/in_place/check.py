"""Refuses a change of an endpoint that runs where the command would change more than it was told to."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from data.artifacts.errors import ConfigError
from data.artifacts.plugins import in_use
from data.artifacts.secrets import recordable
from serve.deployment.in_place.kept import kept_overrides, typed_keys
from serve.deployment.in_place.running import num_machines, proxy_values, running_values
from serve.deployment.in_place.values import PLUGINS, STORE, Values, by_key, with_absolute_paths, with_effect
from serve.events.config import OFF, ON_ONE_MACHINE

ValuesWith = Callable[[Sequence[str]], Mapping[str, Any]]
"""Returns the sections of the root config (`serve.deployment.in_place.values.SECTIONS`) by a command's overrides."""


def refuse_untyped_changes(
    typed: Sequence[str], values_with: ValuesWith, same_command: Callable[[Sequence[str]], str]
) -> None:
    """Refuses a command that would change values of the endpoint that runs which it was not given.

    Args:
        typed: the overrides of the command.
        values_with: the values that the command has by other overrides; raises ConfigError where it does not take one.
        same_command: the command with further overrides, to be pasted into a shell.

    Raises:
        ConfigError: it would; the message has the command that keeps them. Or it would change what the proxies hold.
    """
    machines = num_machines()

    def compose(overrides: Sequence[str]) -> Values:
        return as_deployed(values_with(overrides), machines)

    _refuse_other_proxies(typed_keys(typed), by_key(values_with(typed)))
    refuse_kept(kept_overrides(running_values(), typed, compose), same_command)


def refuse_kept(kept: Sequence[str], same_command: Callable[[Sequence[str]], str]) -> None:
    """Raises ConfigError where there are overrides by which a command would keep what runs; the message has them.

    Args:
        kept: see `kept_overrides`; secrets in them are masked.
        same_command: the command with further overrides, to be pasted into a shell.
    """
    if kept:
        shown = list(map(_shown, kept))
        raise ConfigError(
            f"the endpoint that runs has values that were not typed, and would change: {', '.join(shown)}; add"
            f" replace=true to change them all the same; to keep them, give them too: {same_command(shown)}"
        )


def as_deployed(sections: Mapping[str, Any], machines: int) -> Values:
    """Returns the values of a command by dotted key, as `deploy` would declare them.

    Args:
        sections: those of the root config, as yaml has them.
        machines: on how many Ray runs.
    """
    values = with_absolute_paths(by_key(sections))
    if values[STORE] == ON_ONE_MACHINE and machines > 1:
        values[STORE] = OFF
    return with_effect(values) | {PLUGINS: sorted(in_use())}


def _refuse_other_proxies(names: set[str], new: Values) -> None:
    for key, value in proxy_values().items():
        if key in names and new[key] != value:
            raise ConfigError(
                f"{key}: {new[key]} takes no effect, since Ray Serve has read {value} when it started; leave it out, or"
                " stop the endpoint and start it again"
            )


def _shown(override: str) -> str:
    key, _, value = override.partition("=")
    return f"{key}={recordable(value)}"
