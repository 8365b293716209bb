"""Translates the overrides on a command line into those of Hydra: `seeds=N`, and config keys that were renamed.

Also finds event types that are misspelt, which Hydra would add as further ones.
"""

import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from conf.verbs import VERBS, override_key, uses
from data.artifacts.errors import ConfigError

RENAMED = {"evaluate.floors": "evaluate.baselines", "evaluate.peers": "evaluate.published"}
"""New names of config keys by their old ones, which are still accepted, with a note that gives the new name."""


BROUGHT_BY = {
    "launcher": ("BasicLauncherConf", "hydra/launcher=ray"),
    "sweeper": ("BasicSweeperConf", "hydra/sweeper=optuna"),
}
"""Hydra's settings groups: the default choice, which has hardly any options, and the choice that has them."""

OPEN_MAPPINGS = re.compile(
    r"\+{0,2}(traffic\.shares|train\.labels|serve\.\w+\.labels|loss\.negatives|evaluate\.published_on|data\.events"
    r"|events\.types|capacity\.machines|rerank\.goals|ingest\.(properties|schemas)|hydra\.launcher\.runtime_env)(\.[^=]+)?="
)
"""Mappings whose keys the user chooses: releases, node labels, registered negative samplers, counts, event types, of
which some are goals, machines, properties and schemas of Kafka, environments. An entry may be given, or a mapping."""

RELEASE_ID = re.compile(r"[\w.-]+")
"""What a word without a key is taken for, where a command takes a release."""

COMPLETION = re.compile(r"(install|uninstall|query)=(bash|fish|zsh)")
"""What Hydra's shell completion can be asked for."""

ENTRY = re.compile(r"\+{0,2}(data\.events|events\.types|capacity\.machines)\.([^.=]+)(?:\.(\w+))?=([^(]*)", re.DOTALL)
"""A value of an event type or a machine, or all of them, with `+` or without; not by a function, such as range(1,3).

Hydra makes a mapping of dataclasses from a whole mapping alone.
"""

EVENT_TYPES = re.compile(r"\+{0,2}(data\.events|events\.types)(?:\.([^.=]+)[.=]|=)")
"""The beginning of an override of an event type, or of a mapping of them."""

NEAR = 0.75
"""How alike a name is to a misspelling of it, by difflib: view is to viev, and like not to dislike."""

NO_LIST = "is not a ListConfig, list or tuple"
"""What OmegaConf says of a word for a key that holds a list."""

MERGED = re.compile(r"\(Error merging override ([^=]+)=(.*)\)$", re.DOTALL)
"""Where Hydra names the override that an error is about."""

CHOICE = re.compile(r"""(?:"[^"]*"|'[^']*'|\{[^{}]*\}|\[[^\[\]]*\]|[^,])+""")
"""One of the values of a sweep."""


def with_release(verb: str, arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with `release=ID` in the place of a bare ID, for commands that take a release."""
    parser, found = get_args_parser(), list(arguments)
    bare = [word for word in parser.parse_known_args(found)[0].overrides if RELEASE_ID.fullmatch(word)]
    if len(bare) != 1 or verb not in VERBS or not uses(verb, "release"):
        return found
    for place, word in enumerate(found):
        named = [*found[:place], f"release={word}", *found[place + 1 :]]
        if word == bare[0] and f"release={word}" in parser.parse_known_args(named)[0].overrides:
            return named
    return found


def refuse_completion_of_nothing(arguments: Sequence[str]) -> None:
    """Raises ConfigError where Hydra is asked for shell completion, and not told of which shell."""
    typed_in = get_args_parser().parse_known_args(list(arguments))[0]
    if typed_in.shell_completion and not any(map(COMPLETION.fullmatch, typed_in.overrides)):
        raise ConfigError("-sc: name what to do, and a shell (bash, fish or zsh), such as -sc install=bash")


def expanded(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with `seeds=3` replaced by `seed=0,1,2`, so that a sweep runs each point three times.

    Raises:
        ConfigError: `seeds` is not a whole number above 0, or the command is not a sweep (-m).
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
    """Returns the overrides under the present names of their keys; prints a note on stderr for each old name."""
    found = []
    for argument in arguments:
        key = override_key(argument)
        old = next((name for name in RENAMED if key == name or key.startswith(f"{name}.")), None)
        if old is not None and "=" in argument:
            print(f"note: {old} is now called {RENAMED[old]}", file=sys.stderr)
            argument = argument.replace(old, RENAMED[old], 1)
        found.append(argument)
    return found


def opened(arguments: Sequence[str]) -> list[str]:
    """The same overrides; one that gives a mapping a key of its own need not say so with `+`.

    Hydra takes `traffic.shares.ID=0.1` for a misspelt name, because no default has that key. Of
    `data.events.buy.weight=5` it can make no event type, but of `data.events={buy: {weight: 5}}`; and of a sweep over
    `data.events.buy.weight=1,5` one over two such mappings.
    """
    whole = [_with_whole_entry(argument) for argument in arguments]
    return [f"++{argument.lstrip('+')}" if OPEN_MAPPINGS.match(argument) else argument for argument in whole]


def refuse_misspelt_types(overrides: Sequence[str], composed: Callable[[Sequence[str]], DictConfig]) -> None:
    """Refuses event types that are nearly called like a known one; says on stderr which others are new.

    Those typed with `+` or `++` are meant as new ones.

    Args:
        overrides: as typed.
        composed: returns the config by overrides, as Hydra composes it.

    Raises:
        ConfigError: such a name; the message has the known one, and how to add one of this name all the same.
    """
    try:
        typed_in = {each: list(_event_types(each)) for each in overrides if EVENT_TYPES.match(each)}
        if not typed_in:
            return
        parser = OverridesParser.create()
        others = [each for each in overrides if each not in typed_in]
        config = composed([each for each in others if not parser.parse_override(each).is_sweep_override()])
    except (HydraException, OmegaConfBaseException, ConfigError):
        return  # a mistake about something else, which Hydra is about to meet in the same way, and reports
    new = {}
    for override, types in typed_in.items():
        for mapping, name in types:
            known = list(map(str, OmegaConf.select(config, mapping) or ()))
            near = get_close_matches(name, [one for one in known if abs(len(one) - len(name)) <= 1], 1, NEAR)
            if near and name not in known and not override.startswith("+"):
                raise ConfigError(
                    f"{mapping}.{name}: there is no event type {name}; did you mean {near[0]}? To add one of this name,"
                    f" write ++{override}"
                )
            if known and name not in known:
                new[f"{mapping}.{name}"] = known
    for key, known in new.items():
        print(f"note: {key} is a new event type, beside {', '.join(known)}", file=sys.stderr)


def _event_types(override: str) -> Iterator[tuple[str, str]]:
    """The mapping and the name of each event type that an override is about."""
    found = EVENT_TYPES.match(override)
    assert found is not None
    if found[2] is not None:
        yield found[1], found[2]
        return
    value = OverridesParser.create().parse_override(override).value()
    yield from ((found[1], str(name)) for name in value) if isinstance(value, Mapping) else ()


def _with_whole_entry(argument: str) -> str:
    if (found := ENTRY.fullmatch(argument)) is None:
        return argument
    mapping, name, field, value = found.groups()
    values = CHOICE.findall(value) or [value]
    entries = values if field is None else [f"{{{field}: {each}}}" for each in values]
    return f"{mapping}={','.join(f'{{{name}: {entry}}}' for entry in entries)}"


def complaint(text: str, error: BaseException | None = None) -> str:
    """Returns an error message of Hydra's with what to do about it, where we know it.

    Args:
        text: the message on one line.
        error: the error that it comes from. If Hydra could not read an override, the message names it, and says how to
            quote its value. If it is about an old name of a config key, the new name is added.
    """
    if isinstance(error, OverrideParseException):
        return _misread(error.override, text)
    for old, new in RENAMED.items():
        if f"Key '{old.rpartition('.')[2]}' not in" in text:
            return f"{text} ({old} is now called {new})"
    for setting, (basic, option) in BROUGHT_BY.items():
        if text.startswith(f"hydra.{setting}.") and f"not in '{basic}'" in text:
            return f"{text}; {option} brings such options: give it too"
    if NO_LIST in text:
        found = MERGED.search(text)
        return f"{text}; a list stands in brackets: {f'{found[1]}=[{found[2]}]' if found else '[one, another]'}"
    if "mismatched input '='" in text:
        return f"{text}; a value that holds = stands in quotes of its own, such as 'key=\"a=b\"'"
    return text


def _misread(override: str, text: str) -> str:
    """The message about an override that Hydra cannot read, such as one with a path that holds "="."""
    key, _, value = override.partition("=")
    plain, _, _ = text.partition(" See https://hydra.cc")
    if not value or set(value) & {'"', "'"}:
        return f"{override}: cannot be read as an override ({plain}); mind its quotes and brackets"
    backslashes = value[len(value.rstrip("\\")) :]  # Hydra halves those before a quote, and no others
    cure = shlex.quote(f'{key}="{value}{backslashes}"')
    return f"{key}: {value!r} cannot be read as it stands ({plain}); put inner quotes around it: {cure}"
