"""Overrides as they are typed, made into what Hydra takes: repeated seeds, and names that have changed."""

import sys
from collections.abc import Sequence

from conf.verbs import override_key
from data.artifacts.errors import ConfigError

RENAMED = {"evaluate.floors": "evaluate.baselines", "evaluate.peers": "evaluate.published"}
"""Old names of config keys. They are still taken, with a notice that says the new one."""


def expanded(arguments: Sequence[str]) -> list[str]:
    """`seeds=3` of a sweep becomes `seed=0,1,2`: each point three times.

    Raises:
        ConfigError: it is no number, or there is no sweep.
    """
    found = []
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name != "seeds":
            found.append(argument)
            continue
        if not value.isdigit() or int(value) < 1 or not {"-m", "--multirun"} & set(arguments):
            raise ConfigError(f"seeds: {value!r} must be a whole number above 0, in a sweep (-m)")
        found.append(f"seed={','.join(map(str, range(int(value))))}")
    return found


def renamed(arguments: Sequence[str]) -> list[str]:
    """The same overrides under today's names; says on stderr which names have changed."""
    found = []
    for argument in arguments:
        key = override_key(argument)
        old = next((name for name in RENAMED if key == name or key.startswith(f"{name}.")), None)
        if old is not None and "=" in argument:
            print(f"note: {old} is now called {RENAMED[old]}", file=sys.stderr)
            argument = argument.replace(old, RENAMED[old], 1)
        found.append(argument)
    return found


def complaint(text: str) -> str:
    """A complaint of Hydra's about the config, with the new name of a key that it does not know any more."""
    for old, new in RENAMED.items():
        if f"Key '{old.rpartition('.')[2]}' not in" in text:
            return f"{text} ({old} is now called {new})"
    return text
